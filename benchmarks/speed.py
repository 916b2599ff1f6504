"""The time of an epoch of MNIST with Adam: ours, that of every other installed framework, and that of its products.

    python -m benchmarks.speed

Every epoch draws an order, gathers its batches, and computes the mean loss and accuracy. The frameworks take turns,
epoch by epoch. The first epochs are not counted.
"""

import argparse
from collections.abc import Callable
from functools import partial
import importlib.util
from itertools import pairwise
import os
import statistics
import sys
from time import perf_counter
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.networks import ARTICLE, new_model
from benchmarks.peers import LR, Epoch, jax_epoch, keras_epoch, sklearn_epoch, torch_epoch
from benchmarks.report import file_name, machine, processor, replace_on_this_machine, save_figure, table, versions
from benchmarks.turns import Program, ratio, take_turns
from datasets import Dataset, load
from nn import History
from nn.batches import Batches
from optimizers import FirstOrder, compiled, get

WORKLOADS = {  # the widths of the layers, and the size of a batch
    "seed": (ARTICLE, 6000),
    "small": (ARTICLE, 128),
    "keras": ((784, 512, 512, 10), 128),
    "adam-paper": ((784, 1000, 1000, 10), 128),
}
COLD = 2  # epochs before those that count: several frameworks, ours included, compile in their first epoch


def our_epoch(data: Dataset, widths: tuple[int, ...], batch: int, numba: bool) -> Epoch:
    """Return our epoch, with or without numba. Its seconds leave out only the checks of fit before its first epoch."""
    model, optimizer, history = new_model(widths), get("adam", lr=LR), History()

    def epoch() -> float:
        before = history[-1]["seconds"] if history else 0.0
        with patch.object(compiled, "MIN_SIZE", compiled.MIN_SIZE if numba else sys.maxsize):
            model.fit(data.x_train, data.y_train, optimizer, 1, batch, progress=False, history=history)
        return history[-1]["seconds"] - before

    return epoch


def products(data: Dataset, widths: tuple[int, ...], batch: int, rows: int | None = None) -> Epoch:
    """Return only the matrix products of an epoch: forward, dW, and dx except that of the first layer.

    `rows` is the number of rows in a step, if it is not `batch`, which determines the number of steps.
    """
    rng = np.random.default_rng(0)
    x = [rng.normal(size=(rows or batch, n)).astype(np.float32) for n in widths]
    W = [rng.normal(size=pair).astype(np.float32) for pair in pairwise(widths)]
    dW = [np.empty_like(w) for w in W]
    steps = -(-len(data.x_train) // batch)

    def epoch() -> None:
        for _ in range(steps):
            for i, w in enumerate(W):
                np.matmul(x[i], w, out=x[i + 1])
            for i in reversed(range(len(W))):
                np.matmul(x[i].T, x[i + 1], out=dW[i])
                if i:
                    np.matmul(x[i + 1], W[i].T, out=x[i])

    return epoch


OURS = "feedforward"
# the package that each runner needs, and the function that makes its epoch
RUNNERS: dict[str, tuple[str, Callable[[Dataset, tuple[int, ...], int], Epoch]]] = {
    OURS: ("numba", partial(our_epoch, numba=True)),
    "feedforward, NumPy alone": ("numpy", partial(our_epoch, numba=False)),
    "products alone": ("numpy", products),
    "torch": ("torch", partial(torch_epoch, fused=False)),
    "torch, fused": ("torch", partial(torch_epoch, fused=True)),
    "JAX, a step": ("optax", partial(jax_epoch, scan=False)),
    "JAX, an epoch": ("optax", partial(jax_epoch, scan=True)),
    "scikit-learn": ("sklearn", sklearn_epoch),
    "Keras on JAX": ("keras", keras_epoch),
}


def turn(runner: str, workload: str, data_dir: str | None) -> Epoch:
    """Return the epoch of a runner; a process of its own calls this."""
    return RUNNERS[runner][1](load("mnist", data_dir), *WORKLOADS[workload])


def measure(name: str, rounds: int, data_dir: str | None) -> dict[str, list[float]]:
    """Return the seconds of the warm epochs of each runner that is installed. They take turns, each in its process."""
    programs = {runner: Program("benchmarks.speed:turn", {"runner": runner, "workload": name, "data_dir": data_dir})
                for runner, (needs, _) in RUNNERS.items() if importlib.util.find_spec(needs)}
    return {runner: seconds[COLD:] for runner, seconds in take_turns(programs, COLD + rounds, name).items()}


def shares(data: Dataset, name: str, epoch_seconds: float) -> dict[str, float]:
    """Return the seconds of each part of our epoch, measured separately, and the rest of `epoch_seconds`."""
    widths, batch = WORKLOADS[name]
    model, optimizer = new_model(widths), get("adam", lr=LR)
    theta, grad = model.theta, np.full_like(model.theta, 1e-3)
    batches = Batches(*model.check_data(data.x_train, data.y_train), batch, model.seed)
    assert isinstance(optimizer, FirstOrder)
    optimizer.start(theta)

    def gather() -> None:
        for rows in batches.rows(1):
            batches.gather(rows, *batches.arrays(rows))

    def update() -> None:
        for _ in range(len(batches)):
            optimizer.t += 1
            if theta.size >= compiled.MIN_SIZE:
                compiled.rule(optimizer, theta)(slice(None), grad)
            else:
                optimizer.clip_and_update(theta, grad)

    def copy() -> None:
        for _ in range(len(batches)):
            np.copyto(grad, theta)

    parts = {"products": products(data, widths, batch), "gathering": gather, "Adam's rule": update,
             "a copy of theta, to undo the step": copy}
    seconds = {}
    for part, run in parts.items():
        run()
        times = []
        for _ in range(3):
            started = perf_counter()
            run()
            times.append(perf_counter() - started)
        seconds[part] = statistics.median(times)
    return {**seconds, "the rest": epoch_seconds - sum(seconds.values())}


def draw(seconds: dict[str, dict[str, list[float]]]) -> Any:
    """Return a figure of the seconds of each epoch, one after the other, for each workload."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 4), layout="constrained")
    for ax, (name, row) in zip(figure.subplots(1, len(seconds)), seconds.items()):
        for runner, turns in row.items():
            ours = runner.startswith(OURS)
            ax.plot(range(COLD + 1, COLD + len(turns) + 1), turns, "-" if ours else "--", lw=2 if ours else 1,
                    label=runner)
        ax.set(title=name, xlabel="epoch", ylim=(0, None))
        ax.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set(ylabel="seconds")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    return figure


def report(seconds: dict[str, dict[str, list[float]]], rounds: int, epochs: str, profile: str) -> None:
    """Draw, and write what was measured on this machine into the part "speed" of RESULTS.md."""
    figure = f"speed-{file_name(processor())}.png"
    save_figure(draw(seconds), figure)
    replace_on_this_machine("speed", f"""
{epochs}

Seconds of a warm epoch: the median of {rounds} rounds. In each round all train one epoch, one after the other, each in
a process of its own, which sleeps while another one is measured. In brackets is the median of the ratios of the epochs
of {OURS} to those of the row, of the same round: below 1 if we are faster. Adam, float32.

The next table divides the seconds of {OURS} among the parts of an epoch. Each part is measured separately, on all of
BLAS's threads or on one. The rest is activations, biases, the loss, the metrics, copies of theta and Python itself,
minus what threads save. A part that is measured separately finds its matrices in the caches.

{profile}

![Seconds of each epoch](benchmarks/figures/{figure})

Measured by `python -m benchmarks.speed --rounds {rounds}` on {machine()};
{versions("torch", "jax", "optax", "scikit-learn", "keras", "numba")}.
""")


def main() -> None:
    """Measure and print; write the results if all workloads were measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--data-dir", help="the folder of the MNIST files")
    parser.add_argument("--rounds", type=int, default=28)
    parser.add_argument("--workload", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    args = parser.parse_args()
    os.environ.setdefault("KERAS_BACKEND", "jax")
    seconds = {name: measure(name, args.rounds, args.data_dir) for name in args.workload}
    medians = {name: {runner: statistics.median(turns) for runner, turns in row.items()}
               for name, row in seconds.items()}
    rows = [[runner, *(f"{medians[name][runner]:.3f} ({ratio(row[OURS], row[runner]):.2f})"
                       for name, row in seconds.items())] for runner in next(iter(seconds.values()))]
    data = load("mnist", args.data_dir)
    parts = {name: shares(data, name, row[OURS]) for name, row in medians.items()}
    shared = [[part, *(f"{row[part]:.3f}" for row in parts.values())] for part in next(iter(parts.values()))]
    epochs, profile = table(["", *seconds], rows), table(["", *seconds], shared)
    print(epochs, profile, sep="\n\n")
    if set(seconds) == set(WORKLOADS):
        report(seconds, args.rounds, epochs, profile)


if __name__ == "__main__":
    main()
