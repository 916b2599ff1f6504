"""The time of an epoch of MNIST with Adam: ours, that of every other installed framework, and that of its products.

    python -m benchmarks.speed

Every epoch draws an order, gathers its batches, and computes the mean loss and accuracy. The frameworks train one epoch
each, one after the other, round by round. The first rounds are not counted.
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
from tqdm import tqdm

from benchmarks.networks import ARTICLE, new_model
from benchmarks.peers import LR, Epoch, jax_epoch, keras_epoch, sklearn_epoch, torch_epoch
from benchmarks.report import machine, replace_part, save_figure, table, versions
from datasets import Dataset, load
from nn import History
from nn.batches import Batches
from nn.plots import COLOURS
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


def measure(data: Dataset, name: str, rounds: int) -> dict[str, float]:
    """Return the median seconds of the warm epochs of each runner. They take turns, so that conditions are equal."""
    runners = {runner: make(data, *WORKLOADS[name]) for runner, (needs, make) in RUNNERS.items()
               if importlib.util.find_spec(needs)}
    seconds: dict[str, list[float]] = {runner: [] for runner in runners}
    with tqdm(total=(COLD + rounds) * len(runners), desc=name, unit=" epochs") as bar:
        for _ in range(COLD + rounds):
            for runner, run in runners.items():
                started = perf_counter()
                result = run()
                seconds[runner].append(result if isinstance(result, float) else perf_counter() - started)
                bar.update()
    return {runner: statistics.median(values[COLD:]) for runner, values in seconds.items()}


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
            batches.gather(rows, *batches.arrays(len(rows)))

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


def draw(seconds: dict[str, dict[str, float]]) -> Any:
    """Return a figure with a bar chart for each workload."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 0.9 + 0.32 * len(next(iter(seconds.values())))), layout="constrained")
    for ax, (name, row) in zip(figure.subplots(1, len(seconds), sharey=True), seconds.items()):
        names = list(row)[::-1]
        ax.barh(names, [row[runner] for runner in names],
                color=[COLOURS[1] if runner.startswith(OURS) else COLOURS[6] if "products" in runner else COLOURS[5]
                       for runner in names])
        ax.set(title=name, xlabel="seconds per epoch")
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def report(seconds: dict[str, dict[str, float]], rounds: int, epochs: str, profile: str) -> None:
    """Draw, and write the part "speed" of RESULTS.md, or "speed, pinned" if the kernels of OpenBLAS are chosen."""
    first = next(iter(next(iter(seconds.values()))))
    kernels = os.environ.get("OPENBLAS_CORETYPE")
    figure = "speed-pinned.png" if kernels else "speed.png"
    save_figure(draw(seconds), figure)
    replace_part("speed, pinned" if kernels else "speed", f"""
{epochs}

Seconds of a warm epoch: the median of {rounds} rounds. In each round all train one epoch, one after the other. In
brackets are the seconds of {first} divided by those of the row: below 1 if we are faster. Adam, float32.

The next table divides the seconds of {first} among the parts of an epoch. Each part is measured separately, on all of
BLAS's threads or on one. The rest is activations, biases, the loss, the metrics and Python itself, minus what two
threads save on the batches of seed. On adam-paper it is also waiting for memory: theta, its gradient, both of Adam's
averages and the copies take 43 MB there, and the caches hold 32 MB. A part that is measured separately finds its
matrices in the caches.

{profile}

![Seconds of an epoch](benchmarks/figures/{figure})

Measured by `{f"OPENBLAS_CORETYPE={kernels} " if kernels else ""}python -m benchmarks.speed` on {machine()};
{versions("torch", "jax", "optax", "scikit-learn", "keras", "numba")}.
""")


def main() -> None:
    """Measure and print; write the results if all workloads were measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--data-dir", help="the folder of the MNIST files")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workload", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    args = parser.parse_args()
    os.environ.setdefault("KERAS_BACKEND", "jax")
    data = load("mnist", args.data_dir)
    seconds = {name: measure(data, name, args.rounds) for name in args.workload}
    runners = list(next(iter(seconds.values())))
    first = runners[0]
    rows = [[runner, *(f"{row[runner]:.3f} ({row[first] / row[runner]:.2f})" for row in seconds.values())]
            for runner in runners]
    parts = {name: shares(data, name, row[first]) for name, row in seconds.items()}
    shared = [[part, *(f"{row[part]:.3f}" for row in parts.values())] for part in next(iter(parts.values()))]
    epochs, profile = table(["", *seconds], rows), table(["", *seconds], shared)
    print(epochs, profile, sep="\n\n")
    if set(seconds) == set(WORKLOADS):
        report(seconds, args.rounds, epochs, profile)


if __name__ == "__main__":
    main()
