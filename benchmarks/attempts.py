"""Attempts to make steps on large networks faster that did not help, each next to the current code.

    python -m benchmarks.attempts
"""

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import patch

import numpy as np
from tqdm import tqdm

from benchmarks.networks import new_model, parameters
from benchmarks.report import machine, replace_part, table, versions
from benchmarks.speed import COLD, WORKLOADS, products
from benchmarks.steps import interleaved
from datasets import Dataset, load
from nn import History, workers
from nn.network import Network
from optimizers import compiled, get
from optimizers.first_order import Adam

LARGE = ("keras", "adam-paper")
Call = Callable[[], object]


def halves(data: Dataset, name: str) -> tuple[Call, Call]:
    """Return an epoch with BLAS on all threads, and one with half of each batch on each of two threads."""
    def epochs(halved: bool) -> Call:
        widths, batch = WORKLOADS[name]
        model, optimizer, history = new_model(widths), get("adam"), History()

        def count(network: Network, batch_size: int, threads: int) -> int:
            return min(2, threads) if halved else 1

        def epoch() -> None:
            with patch.object(workers, "thread_count", count):
                model.fit(data.x_train, data.y_train, optimizer, 1, batch, progress=False, history=history)

        return epoch

    return epochs(False), epochs(True)


def adam(P: int) -> tuple[Adam, np.ndarray, np.ndarray]:
    """Return an Adam after its first step, a theta and a gradient, for P parameters."""
    rng = np.random.default_rng(0)
    optimizer, theta, grad = Adam(), rng.normal(size=P).astype("float32"), rng.normal(size=P).astype("float32")
    optimizer.start(theta)
    optimizer.t = 1
    return optimizer, theta, grad


def split(data: Dataset, name: str, pool: ThreadPoolExecutor) -> tuple[Call, Call]:
    """Return the products of a step and the compiled update after them: the update on one thread, and on two."""
    widths, batch = WORKLOADS[name]
    one_step = products(data, widths, len(data.x_train), rows=batch)
    P = parameters(widths)
    all_parameters, first_half, second_half = adam(P), adam(P // 2), adam(P - P // 2)

    def on_one() -> None:
        one_step()
        compiled.run(*all_parameters)

    def on_two() -> None:
        one_step()
        future = pool.submit(compiled.run, *second_half)
        compiled.run(*first_half)
        future.result()

    return on_one, on_two


def blocks(name: str, size: int = 1 << 16) -> tuple[Call, Call]:
    """Return Adam's update in NumPy on the whole vectors, and on blocks of them; each block fits in the cache."""
    P = parameters(WORKLOADS[name][0])
    all_parameters = adam(P)
    parts = [adam(min(size, P - start)) for start in range(0, P, size)]

    def update(optimizer: Adam, theta: np.ndarray, grad: np.ndarray) -> None:
        optimizer.update(theta, grad)

    def by_blocks() -> None:
        for part in parts:
            update(*part)

    return lambda: update(*all_parameters), by_blocks


def transposed(name: str) -> tuple[Call, Call]:
    """Return dx = dy W^T of a hidden layer: by a product, and by one that writes its transpose, then copied."""
    (_, n_in, n_out, *_), n = WORKLOADS[name]
    rng = np.random.default_rng(0)
    dy, W = (rng.normal(size=shape).astype("float32") for shape in ((n, n_out), (n_in, n_out)))
    dx, dx_transposed = np.empty((n, n_in), "float32"), np.empty((n_in, n), "float32")

    def copied() -> None:
        np.matmul(dy, W.T, out=dx_transposed.T)
        np.copyto(dx, dx_transposed.T)

    return lambda: np.matmul(dy, W.T, out=dx), copied


def attempts(data: Dataset, pool: ThreadPoolExecutor) -> Iterator[tuple[str, str, tuple[Call, Call], int]]:
    """Yield a description, its workload, the current code and the attempt, and the number of calls in a round."""
    for name in LARGE:
        yield "half of each batch on each thread, instead of BLAS on both: an epoch", name, halves(data, name), 1
        yield "the compiled update on two threads: products and update of a step", name, split(data, name, pool), 50
        yield "NumPy's Adam in blocks of 65,536: an update", name, blocks(name), 20
        yield "dx of one hidden layer, written as its transpose and then copied", name, transposed(name), 50


def main() -> None:
    """Measure, and write the part "attempts" of RESULTS.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attempts", description=__doc__)
    parser.add_argument("--data-dir", help="the folder of the MNIST files")
    args = parser.parse_args()
    rows = []
    with ThreadPoolExecutor(1) as pool, tqdm(desc="attempts", unit=" rounds") as bar:
        for description, name, (current, attempt), calls in attempts(load("mnist", args.data_dir), pool):
            for call in (current, attempt):
                for _ in range(COLD):
                    call()
            milliseconds = interleaved({"current": current, "attempt": attempt}, 5, calls, bar)
            a, b = milliseconds["current"], milliseconds["attempt"]
            rows.append([description, name, f"{a:.3g}", f"{b:.3g}", f"{b / a:.2f}"])
    text = table(["attempt", "", "current code, ms", "attempt, ms", "attempt / current code"], rows)
    print(text)
    replace_part("attempts", f"""
{text}

Medians of 5 rounds. Each round measures both. Measured by `python -m benchmarks.attempts` on {machine()};
{versions("numba")}.
""")


if __name__ == "__main__":
    main()
