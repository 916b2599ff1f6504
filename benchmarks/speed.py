"""An epoch of MNIST with Adam, by us and by every peer that is installed, interleaved; and the matrix products alone.

    python -m benchmarks.speed

Every epoch draws an order, gathers its batches, and keeps a running loss and accuracy. The first one, cold, is not
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

from benchmarks.report import machine, replace_part, save_figure, table
from datasets import Dataset, load
from nn import CrossEntropy, Dense, Layer, Model, ReLU, Softmax
from nn.plots import COLOURS
from optimizers import get

WORKLOADS = {  # the widths of the layers, and the batch
    "seed": ((784, 50, 10), 6000),
    "small": ((784, 50, 10), 128),
    "keras": ((784, 512, 512, 10), 128),
    "adam-paper": ((784, 1000, 1000, 10), 128),
}
LR = 0.001
Epoch = Callable[[], object]


def products(data: Dataset, widths: tuple[int, ...], batch: int) -> Epoch:
    """Only the matrix products that a step cannot do without: forward, dW, and dx but for the first layer."""
    rng = np.random.default_rng(0)
    x = [rng.normal(size=(batch, n)).astype(np.float32) for n in widths]
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


PEERS: dict[str, tuple[str, Callable[[Dataset, tuple[int, ...], int], Epoch]]] = {  # what it needs, and how it is made
    "products alone": ("numpy", products),
    "torch": ("torch", partial(torch_epoch, fused=False)),
    "torch, fused": ("torch", partial(torch_epoch, fused=True)),
    "JAX, a step": ("optax", partial(jax_epoch, scan=False)),
    "JAX, an epoch": ("optax", partial(jax_epoch, scan=True)),
    "scikit-learn": ("sklearn", sklearn_epoch),
    "Keras": ("keras", keras_epoch),
}


class Rounds:
    """Trains each peer for an epoch whenever ours has ended one: so all see the same weather on the machine."""

    def __init__(self, peers: dict[str, Epoch], bar: Any) -> None:
        self.peers, self.bar = peers, bar
        self.seconds: dict[str, list[float]] = {name: [] for name in peers}

    def on_epoch_end(self, model: Model, epoch: dict[str, Any]) -> None:
        for name, run in self.peers.items():
            began = perf_counter()
            run()
            self.seconds[name].append(perf_counter() - began)
            self.bar.update()


def measure(data: Dataset, name: str, rounds: int) -> dict[str, float]:
    """The median of each one's warm epochs, in seconds."""
    widths, batch = WORKLOADS[name]
    layers: list[Layer] = []
    for pair in pairwise(widths):
        layers += [Dense(*pair), ReLU()]
    model = Model([*layers[:-1], Softmax()], CrossEntropy())
    peers = {peer: make(data, widths, batch) for peer, (needs, make) in PEERS.items()
             if importlib.util.find_spec(needs)}
    with tqdm(total=(rounds + 1) * len(peers), desc=name, unit=" epochs") as bar:
        interleaved = Rounds(peers, bar)
        history = model.fit(data.x_train, data.y_train, get("adam", lr=LR), rounds + 1, batch, callbacks=[interleaved],
                            progress=False)
    ours = np.diff(history.column("seconds")).tolist()
    return {"feedforward": statistics.median(ours),
            **{peer: statistics.median(seconds[1:]) for peer, seconds in interleaved.seconds.items()}}


def picture(seconds: dict[str, dict[str, float]]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 0.9 + 0.32 * len(next(iter(seconds.values())))), layout="constrained")
    for ax, (name, row) in zip(figure.subplots(1, len(seconds), sharey=True), seconds.items()):
        names = list(row)[::-1]
        ax.barh(names, [row[peer] for peer in names],
                color=[COLOURS[1] if peer == "feedforward" else COLOURS[5] for peer in names])
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
    peers = list(next(iter(seconds.values())))
    rows = [[peer, *(f"{row[peer]:.3f} ({row['feedforward'] / row[peer]:.2f})" for row in seconds.values())]
            for peer in peers]
    text = table(["", *seconds], rows)
    print(text)
    if set(seconds) == set(WORKLOADS):
        save_figure(picture(seconds), "speed.png")
        replace_part("speed", f"""
{text}

Seconds of a warm epoch, the median of {args.rounds} rounds in which each trains one epoch after the other; in brackets
ours over theirs, below 1 where we are faster. Adam, float32.

![Seconds of an epoch](benchmarks/figures/speed.png)

Measured by `python -m benchmarks.speed` on {machine()}.
""")


if __name__ == "__main__":
    main()
