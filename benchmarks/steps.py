"""The time of a step of each rule next to torch's, and that of a gradient, a Hessian and a Gauss-Newton product.

    python -m benchmarks.steps
"""

import argparse
from collections.abc import Callable, Mapping
import importlib.util
import statistics
from time import perf_counter
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.networks import ARTICLE, new_model, parameters
from benchmarks.report import machine, replace_part, table, versions
from datasets import Dataset, load
from nn import blas
from nn.division import cut
from nn.team import Team
from optimizers import OPTIMIZERS, FirstOrder, compiled, get
from tests.references.rules import CASES

NETWORKS = (ARTICLE, (784, 512, 512, 10))
FUSED = ("SGD", "Adam", "AdamW", "Adagrad")  # torch's optimizers that have a fused form on a CPU
COLUMNS = ("NumPy alone", "compiled", "compiled, all threads", "torch", "torch, fused")
ROUNDS, STEPS = 9, 20


def interleaved(runs: Mapping[str, Callable[[], object]], rounds: int, steps: int, bar: Any) -> dict[str, float]:
    """Return the median milliseconds of a call of each run, over rounds that call all of them, one after the other."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds + 1):
        for name, run in runs.items():
            started = perf_counter()
            for _ in range(steps):
                run()
            seconds[name].append((perf_counter() - started) / steps)
            bar.update()
    return {name: 1000 * statistics.median(values[1:]) for name, values in seconds.items()}


def our_step(name: str, theta: np.ndarray, gradient: np.ndarray, team: Team | None) -> Callable[[], None]:
    """Return a step of our rule: compiled on the threads of a team, or by NumPy on one."""
    optimizer, grad = get(name), np.empty_like(theta)
    assert isinstance(optimizer, FirstOrder)
    optimizer.start(theta)
    parts = cut(len(theta), team.size) if team else []

    def step() -> None:
        optimizer.t += 1
        if team:
            rule = compiled.rule(optimizer, theta)
            team.run(lambda k: rule(parts[k], gradient[parts[k]]), len(parts))
        else:
            np.copyto(grad, gradient)  # without a loop, rules may overwrite it
            optimizer.clip_and_update(theta, grad)

    return step


def torch_step(name: str, arguments: Any, theta: np.ndarray, gradient: np.ndarray, fused: bool) -> Callable[[], None]:
    """Return a step of torch's rule on one parameter, which is its fastest case."""
    import torch

    parameter = torch.nn.Parameter(torch.tensor(theta))
    parameter.grad = torch.tensor(gradient)
    form = {"fused": True} if fused else {}
    optimizer = getattr(torch.optim, name)([parameter], **{"lr": 0.01, **arguments, **form})
    step: Callable[[], None] = optimizer.step
    return step


def rules(P: int, one: Team, team: Team, bar: Any) -> list[list[str]]:
    """Return the rows of the table of rules, for P parameters: compiled on one thread, and on the team's."""
    rng = np.random.default_rng(0)
    theta, gradient = rng.normal(size=P).astype("float32"), rng.normal(size=P).astype("float32")
    rows = []
    for name, kind in OPTIMIZERS.items():
        if not issubclass(kind, FirstOrder):
            continue
        runs = {"NumPy alone": our_step(name, theta.copy(), gradient, None)}
        if compiled.available():
            runs["compiled"] = our_step(name, theta.copy(), gradient, one)
            runs["compiled, all threads"] = our_step(name, theta.copy(), gradient, team)
        if importlib.util.find_spec("torch"):
            _, _, torch_name, arguments = CASES[name]
            runs["torch"] = torch_step(torch_name, arguments, theta, gradient, fused=False)
            if torch_name in FUSED:
                runs["torch, fused"] = torch_step(torch_name, arguments, theta, gradient, fused=True)
        milliseconds = interleaved(runs, ROUNDS, STEPS, bar)
        best = min((milliseconds[key] for key in milliseconds if key.startswith("torch")), default=None)
        cells = [f"{milliseconds[key]:.3f}" if key in milliseconds else "" for key in COLUMNS]
        ratios = [f"{milliseconds[key] / best:.2f}" if best and key in milliseconds else "" for key in COLUMNS[:3]]
        rows.append([name, *cells, *ratios])
    return rows


def passes(data: Dataset, bar: Any) -> list[list[str]]:
    """Return the rows of the table of a gradient over the whole training set, and of both products at one theta."""
    model = new_model()
    objective = model.objective(data.x_train, data.y_train)
    v = np.random.default_rng(0).normal(size=len(model.theta)).astype("float32")
    milliseconds = interleaved({"gradient": objective.value_and_gradient,
                                "Hessian product": lambda: objective.hessian_product(v),
                                "Gauss-Newton product": lambda: objective.gauss_newton_product(v)}, ROUNDS, 2, bar)
    return [[name, f"{ms:.0f}", f"{1000 / ms:.1f}", f"{ms / milliseconds['gradient']:.2f}"]
            for name, ms in milliseconds.items()]


def main() -> None:
    """Measure, and write the part "steps" of RESULTS.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steps", description=__doc__)
    parser.add_argument("--data-dir", help="the folder of the MNIST files")
    args = parser.parse_args()
    data = load("mnist", args.data_dir)
    head = ["", *COLUMNS, *(f"{ours} / torch's best" for ours in COLUMNS[:3])]
    with tqdm(desc="rules and products", unit=" rounds") as bar, Team(1) as one, Team(blas.threads()) as team:
        parts = [f"Milliseconds of a step on {(P := parameters(widths)):,} parameters, those of "
                 f"{'-'.join(map(str, widths))}:\n\n{table(head, rules(P, one, team, bar))}\n" for widths in NETWORKS]
        products = table(["", "ms", "per second", "gradients"], passes(data, bar))
    text = "\n".join([*parts, "784-50-10 on all 60,000 images at once; both products are at a theta whose gradient is "
                      "known:\n", products])
    print(text)
    replace_part("steps", f"""
{text}

float32. The numbers are medians of {ROUNDS} rounds. Each round measures all, one after the other. With NumPy alone a
step includes a copy of the gradient, which rules may overwrite. Training uses the compiled rules from
{compiled.MIN_SIZE:,} parameters on; here they are also measured below that number. torch works on a single tensor.

Measured by `python -m benchmarks.steps` on {machine()};
{versions("torch", "numba")}.
""")


if __name__ == "__main__":
    main()
