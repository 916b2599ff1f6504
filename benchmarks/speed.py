"""An epoch of MNIST with Adam, by us and by every peer that is installed, interleaved; and the matrix products alone.

    python -m benchmarks.speed

Every epoch draws an order, gathers its batches, and keeps a running loss and accuracy. The first ones, cold, are not
counted.
"""

import argparse
from collections.abc import Callable
from functools import partial
import importlib.util
from itertools import pairwise
import os
import statistics
from time import perf_counter
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.networks import ARTICLE, new_model
from benchmarks.report import machine, replace_part, save_figure, table, versions
from datasets import Dataset, load
from nn import History
from nn.batches import Batches
from nn.plots import COLOURS
from optimizers import FirstOrder, fused, get

WORKLOADS = {  # the widths of the layers, and the batch
    "seed": (ARTICLE, 6000),
    "small": (ARTICLE, 128),
    "keras": ((784, 512, 512, 10), 128),
    "adam-paper": ((784, 1000, 1000, 10), 128),
}
LR = 0.001
COLD = 2  # epochs before those that count: ours compiles in its first, and others as well
Epoch = Callable[[], object]  # trains one; gives its seconds, or nothing where the whole call is to be timed


def ours(data: Dataset, widths: tuple[int, ...], batch: int, compiled: bool) -> Epoch:
    """By our own clock, which leaves out only what fit checks before its first epoch; without numba if not compiled."""
    model, optimizer, history = new_model(widths), get("adam", lr=LR), History()
    smallest = fused.SMALLEST

    def epoch() -> float:
        before = history.epochs[-1]["seconds"] if history.epochs else 0.0
        fused.SMALLEST = smallest if compiled else 1 << 60
        model.fit(data.x_train, data.y_train, optimizer, 1, batch, progress=False, history=history)
        fused.SMALLEST = smallest
        return float(history.epochs[-1]["seconds"] - before)

    return epoch


def products(data: Dataset, widths: tuple[int, ...], batch: int, rows: int | None = None) -> Epoch:
    """Only the matrix products that a step cannot do without: forward, dW, and dx but for the first layer.

    rows: how many a step has, where that is not `batch`, which says how many steps there are.
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


def torch_epoch(data: Dataset, widths: tuple[int, ...], batch: int, fused: bool) -> Epoch:
    import torch

    layers: list[Any] = []
    for pair in pairwise(widths):
        layers += [torch.nn.Linear(*pair), torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(net.parameters(), lr=LR, fused=fused or None)
    x, y = torch.from_numpy(data.x_train), torch.from_numpy(data.y_train)

    def epoch() -> tuple[float, float]:
        order = torch.randperm(len(x))
        total, correct = torch.zeros(()), torch.zeros((), dtype=torch.int64)
        for rows in order.split(batch):
            z, target = net(x[rows]), y[rows]
            loss = torch.nn.functional.cross_entropy(z, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(rows)
            correct += (z.detach().argmax(1) == target).sum()
        return float(total), float(correct)

    return epoch


def jax_epoch(data: Dataset, widths: tuple[int, ...], batch: int, scan: bool) -> Epoch:
    import jax
    import jax.numpy as jnp
    import optax

    keys = jax.random.split(jax.random.key(0), len(widths))
    params = [(jax.random.normal(key, pair) * (2 / pair[0]) ** 0.5, jnp.zeros(pair[1]))
              for key, pair in zip(keys, pairwise(widths))]
    x, y = jnp.asarray(data.x_train), jnp.asarray(data.y_train)
    optimizer = optax.adam(LR)
    state = optimizer.init(params)

    def loss(params: Any, xb: Any, yb: Any) -> Any:
        for W, b in params[:-1]:
            xb = jax.nn.relu(xb @ W + b)
        z = xb @ params[-1][0] + params[-1][1]
        value = optax.softmax_cross_entropy_with_integer_labels(z, yb).mean()
        return value, (z.argmax(1) == yb).sum()

    def step(carry: Any, rows: Any) -> Any:
        params, state = carry
        (value, correct), gradient = jax.value_and_grad(loss, has_aux=True)(params, x[rows], y[rows])
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), (value * len(rows), correct)

    jitted = jax.jit(step, donate_argnums=0)
    whole = jax.jit(lambda carry, rows: jax.lax.scan(step, carry, rows), donate_argnums=0)
    held = {"carry": (params, state)}
    rng = np.random.default_rng(0)

    def epoch() -> tuple[float, float]:
        order = rng.permutation(len(x))
        full = len(x) // batch * batch
        sums = []
        if scan:
            held["carry"], both = whole(held["carry"], order[:full].reshape(-1, batch))
            sums.append([part.sum() for part in both])
        else:
            for rows in order[:full].reshape(-1, batch):
                held["carry"], both = jitted(held["carry"], rows)
                sums.append(both)
        if full < len(x):
            held["carry"], both = jitted(held["carry"], order[full:])
            sums.append(both)
        return float(sum(value for value, _ in sums)), float(sum(correct for _, correct in sums))

    return epoch


def sklearn_epoch(data: Dataset, widths: tuple[int, ...], batch: int) -> Epoch:
    from sklearn.neural_network import MLPClassifier

    net = MLPClassifier(widths[1:-1], batch_size=batch, learning_rate_init=LR, alpha=0.0)
    classes = np.unique(data.y_train)
    return lambda: net.partial_fit(data.x_train, data.y_train, classes=classes)


def keras_epoch(data: Dataset, widths: tuple[int, ...], batch: int) -> Epoch:
    import keras

    layers = [keras.layers.Dense(n, "relu") for n in widths[1:-1]]
    net = keras.Sequential([keras.Input((widths[0],)), *layers, keras.layers.Dense(widths[-1], "softmax")])
    net.compile(keras.optimizers.Adam(LR), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return lambda: net.fit(data.x_train, data.y_train, batch_size=batch, epochs=1, verbose=0)


OURS = "feedforward"
RUNNERS: dict[str, tuple[str, Callable[[Dataset, tuple[int, ...], int], Epoch]]] = {  # what it needs, how it is made
    OURS: ("numba", partial(ours, compiled=True)),
    "feedforward, NumPy alone": ("numpy", partial(ours, compiled=False)),
    "products alone": ("numpy", products),
    "torch": ("torch", partial(torch_epoch, fused=False)),
    "torch, fused": ("torch", partial(torch_epoch, fused=True)),
    "JAX, a step": ("optax", partial(jax_epoch, scan=False)),
    "JAX, an epoch": ("optax", partial(jax_epoch, scan=True)),
    "scikit-learn": ("sklearn", sklearn_epoch),
    "Keras on JAX": ("keras", keras_epoch),
}


def measure(data: Dataset, name: str, rounds: int) -> dict[str, float]:
    """The median of each one's warm epochs, in seconds; all see the same weather on the machine."""
    runners = {runner: make(data, *WORKLOADS[name]) for runner, (needs, make) in RUNNERS.items()
               if importlib.util.find_spec(needs)}
    seconds: dict[str, list[float]] = {runner: [] for runner in runners}
    with tqdm(total=(COLD + rounds) * len(runners), desc=name, unit=" epochs") as bar:
        for _ in range(COLD + rounds):
            for runner, run in runners.items():
                began = perf_counter()
                own = run()
                seconds[runner].append(own if isinstance(own, float) else perf_counter() - began)
                bar.update()
    return {runner: statistics.median(several[COLD:]) for runner, several in seconds.items()}


def shares(data: Dataset, name: str, whole: float) -> dict[str, float]:
    """Where `whole`, the seconds of our epoch, goes: each part's work by itself, and what is left."""
    widths, batch = WORKLOADS[name]
    model, optimizer = new_model(widths), get("adam", lr=LR)
    n, theta, grad = len(data.x_train), model.theta, np.full_like(model.theta, 1e-3)
    batches = Batches(data.x_train, model.targets(data.y_train, n), batch, model.seed)
    assert isinstance(optimizer, FirstOrder)
    optimizer.start(theta)

    def gather() -> None:
        for rows in batches.rows(1):
            batches.take(rows)

    def update() -> None:
        for _ in range(len(batches)):
            optimizer.t += 1
            (fused.run if fused.fits(optimizer, theta) else FirstOrder.move)(optimizer, theta, grad)

    def keep() -> None:
        for _ in range(len(batches)):
            np.copyto(grad, theta)

    parts = {"products": products(data, widths, batch), "gathering": gather, "Adam's rule": update,
             "a copy of theta, kept in case": keep}
    took = {}
    for part, run in parts.items():
        run()
        times = []
        for _ in range(3):
            began = perf_counter()
            run()
            times.append(perf_counter() - began)
        took[part] = statistics.median(times)
    return {**took, "the rest": whole - sum(took.values())}


def picture(seconds: dict[str, dict[str, float]]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 0.9 + 0.32 * len(next(iter(seconds.values())))), layout="constrained")
    for ax, (name, row) in zip(figure.subplots(1, len(seconds), sharey=True), seconds.items()):
        names = list(row)[::-1]
        ax.barh(names, [row[peer] for peer in names],
                color=[COLOURS[1] if peer.startswith(OURS) else COLOURS[6] if "products" in peer else COLOURS[5]
                       for peer in names])
        ax.set(title=name, xlabel="seconds an epoch")
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--data-dir", help="the folder that has MNIST")
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
    profile = [[part, *(f"{row[part]:.3f}" for row in parts.values())] for part in next(iter(parts.values()))]
    text = table(["", *seconds], rows)
    print(text, table(["", *seconds], profile), sep="\n\n")
    if set(seconds) == set(WORKLOADS):
        pinned = os.environ.get("OPENBLAS_CORETYPE")
        figure = "speed-pinned.png" if pinned else "speed.png"
        save_figure(picture(seconds), figure)
        replace_part("speed, pinned" if pinned else "speed", f"""
{text}

Seconds of a warm epoch, the median of {args.rounds} rounds in which each trains one epoch after the other; in brackets
those of {first} over theirs, below 1 where we are faster. Adam, float32.

Where the seconds of {first} go, each part's work measured by itself, on all of BLAS's threads or on one. The rest is
activations, biases, the loss, what is counted and what Python takes; less what two threads save on the seed's batches;
and, on adam-paper, the parts' waiting for memory: by itself each finds its matrices in the caches, but theta, its
gradient, both of Adam's averages and the copies take 43 MB there, and the caches 32.

{table(["", *seconds], profile)}

![Seconds of an epoch](benchmarks/figures/{figure})

Measured by `{f"OPENBLAS_CORETYPE={pinned} " if pinned else ""}python -m benchmarks.speed` on {machine()};
{versions("torch", "jax", "optax", "scikit-learn", "keras", "numba")}.
""")


if __name__ == "__main__":
    main()
