"""What was tried to make the step on large networks quicker still, and left out: each beside what is done instead.

    python -m benchmarks.attempts
"""

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from benchmarks.networks import new_model, parameters
from benchmarks.report import machine, replace_part, table, versions
from benchmarks.speed import COLD, WORKLOADS, products
from benchmarks.steps import interleaved
from datasets import Dataset, load
from nn import History, sharing
from nn.buffers import Array
from optimizers import fused, get
from optimizers.first_order import Adam

LARGE = ("keras", "adam-paper")
Turn = Callable[[], object]


def halves(data: Dataset, name: str) -> tuple[Turn, Turn]:
    """An epoch with BLAS on all threads, and with half of each batch on each."""
    def epochs(halved: bool) -> Turn:
        widths, batch = WORKLOADS[name]
        model, optimizer, history = new_model(widths), get("adam"), History()
        parts = sharing.parts

        def epoch() -> None:
            sharing.parts = lambda network, batch, threads: min(2, threads) if halved else 1
            model.fit(data.x_train, data.y_train, optimizer, 1, batch, progress=False, history=history)
            sharing.parts = parts

        return epoch

    return epochs(False), epochs(True)


def adam(P: int) -> tuple[Adam, Array, Array]:
    rng = np.random.default_rng(0)
    optimizer, theta, grad = Adam(), rng.normal(size=P).astype("float32"), rng.normal(size=P).astype("float32")
    optimizer.start(theta)
    optimizer.t = 1
    return optimizer, theta, grad


def split(data: Dataset, name: str, pool: ThreadPoolExecutor) -> tuple[Turn, Turn]:
    """A step's products and the compiled update after them, on one thread, and with half of it on each of two."""
    widths, batch = WORKLOADS[name]
    one_step = products(data, widths, len(data.x_train), rows=batch)
    P = parameters(widths)
    whole, first, second = adam(P), adam(P // 2), adam(P - P // 2)

    def update(optimizer: Adam, theta: Array, grad: Array) -> None:
        fused.run(optimizer, theta, grad)

    def on_one() -> None:
        one_step()
        update(*whole)

    def on_two() -> None:
        one_step()
        other = pool.submit(update, *second)
        update(*first)
        other.result()

    return on_one, on_two


def blocks(name: str, size: int = 1 << 16) -> tuple[Turn, Turn]:
    """Adam in NumPy on the whole vectors, and block by block, so that each stays in the cache."""
    P = parameters(WORKLOADS[name][0])
    whole = adam(P)
    several = [adam(min(size, P - start)) for start in range(0, P, size)]

    def update(optimizer: Adam, theta: Array, grad: Array) -> None:
        optimizer.update(theta, grad)

    def by_blocks() -> None:
        for one in several:
            update(*one)

    return lambda: update(*whole), by_blocks


def turned(name: str) -> tuple[Turn, Turn]:
    """dx = dy W^T of a hidden layer as it is, and by a product that writes it transposed, which is then turned."""
    (_, n_in, n_out, *_), n = WORKLOADS[name]
    rng = np.random.default_rng(0)
    dy, W = (rng.normal(size=shape).astype("float32") for shape in ((n, n_out), (n_in, n_out)))
    dx, across = np.empty((n, n_in), "float32"), np.empty((n_in, n), "float32")

    def turn() -> None:
        np.matmul(dy, W.T, out=across.T)
        np.copyto(dx, across.T)

    return lambda: np.matmul(dy, W.T, out=dx), turn


def attempts(data: Dataset, pool: ThreadPoolExecutor) -> Iterator[tuple[str, str, tuple[Turn, Turn], int]]:
    """What, on which workload, as it is and as it might be, and how often in a round."""
    for name in LARGE:
        yield "half of each batch on each thread, instead of BLAS on both: an epoch", name, halves(data, name), 1
        yield "the compiled update on two threads: products and update of a step", name, split(data, name, pool), 50
        yield "NumPy's Adam in blocks of 65,536: an update", name, blocks(name), 20
        yield "dx written transposed and turned: one hidden layer's", name, turned(name), 50


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attempts", description=__doc__)
    parser.add_argument("--data-dir", help="the folder that has MNIST")
    args = parser.parse_args()
    rows = []
    with ThreadPoolExecutor(1) as pool, tqdm(desc="attempts", unit=" rounds") as bar:
        for what, name, (as_it_is, instead), often in attempts(load("mnist", args.data_dir), pool):
            for turn in (as_it_is, instead):
                for _ in range(COLD):
                    turn()
            took = interleaved({"is": as_it_is, "instead": instead}, 5, often, bar)
            now, then = took["is"], took["instead"]
            rows.append([what, name, f"{now:.3g}", f"{then:.3g}", f"{then / now:.2f}"])
    text = table(["tried", "", "as it is, ms", "instead, ms", "instead / as it is"], rows)
    print(text)
    replace_part("attempts", f"""
{text}

Medians of 5 rounds in which both take turns. Measured by `python -m benchmarks.attempts` on {machine()};
{versions("numba")}.
""")


if __name__ == "__main__":
    main()
