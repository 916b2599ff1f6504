"""Attempts to make epochs faster where we are slower than JAX, each in turns with the others.

    python -m benchmarks.attempts
"""

import argparse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
import contextvars
import ctypes
from itertools import pairwise
import statistics
from threading import Thread
from typing import Any

import numpy as np

from benchmarks import speed
from benchmarks.peers import Epoch
from benchmarks.report import machine, replace_part, table, versions
from benchmarks.turns import Program, ratio, take_turns
from nn import blas, fit, objective, workers
from nn.denormals import flush_on_this_thread
from nn.division import BLOCK, Division, Use
from nn.team import Team
from nn.undo import Undo
from optimizers import compiled

COLD = 2


def one_thread() -> None:
    """One thread runs Python, and BLAS divides each product."""
    workers.thread_count = lambda network, batch_size, threads: 1


def one_thread_of_blas() -> None:
    """One thread runs everything."""
    one_thread()
    blas.limited(1).__enter__()


def compiled_rule() -> None:
    """As `one_thread`, with a compiled rule, whatever the size."""
    one_thread()
    compiled.MIN_SIZE = 1


def one_thread_of_blas_and_compiled_rule() -> None:
    """One thread runs everything, with a compiled rule, whatever the size."""
    one_thread_of_blas()
    compiled.MIN_SIZE = 1


def two_phases() -> None:
    """Threads divide the examples and then the parameters."""
    workers.thread_count = lambda network, batch_size, threads: min(2, threads)
    workers.divides_parameters = lambda network, batch_size: True


def examples() -> None:
    """Threads divide the examples alone, and their gradients are added up."""
    workers.thread_count = lambda network, batch_size, threads: min(2, threads)
    workers.divides_parameters = lambda network, batch_size: False


def update_on_two_threads() -> None:
    """As `one_thread`, but two threads share the update of the parameters."""
    one_thread()
    team = Team(2).__enter__()

    def two_parts(gradient: np.ndarray, use: Callable[[slice, np.ndarray], None]) -> None:
        parts = [slice(*ends) for ends in pairwise((0, len(gradient) // 2, len(gradient)))]
        team.run(lambda k: use(parts[k], gradient[parts[k]]), 2)

    objective._one_part = two_parts


def one_block() -> None:
    """As `two_phases`, but each thread writes the gradients of all its blocks to the same memory."""
    two_phases()
    memory: dict[int, np.ndarray] = {}

    def gradient(division: Division, k: int, use: Use) -> None:
        out = memory.setdefault(k, np.zeros(2 * BLOCK, division._networks[k].theta.dtype))
        for i, rows, part in division._blocks[k]:
            x, dy, n_out = division._x[i], division._dy[i], division._dy[i].shape[1]
            block = out[: part.stop - part.start].reshape(-1, n_out)
            weights = x[:, rows].T
            np.matmul(weights, dy, out=block[: len(weights)])
            if len(weights) < len(block):
                np.sum(dy, axis=0, out=block[-1])
            use(part, block.reshape(-1))

    vars(workers)["Division"] = type("OneBlock", (Division,), {"gradient": gradient})


def no_undo() -> None:
    """As `two_phases`, but theta is not copied, so that a step cannot be undone."""
    two_phases()
    vars(fit)["Undo"] = type("NoUndo", (Undo,), {"keep": lambda self, part: None})


def no_update() -> None:
    """As `two_phases`, but theta does not change: what is left is the gradient."""
    two_phases()
    compiled.rule = lambda optimizer, theta: lambda part, gradient: None


class ExecutorTeam:
    """Threads of the standard library's executor."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __enter__(self) -> "ExecutorTeam":
        self._pool = ThreadPoolExecutor(max(self._size - 1, 1), initializer=flush_on_this_thread)
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown()

    def run(self, f: Callable[[int], Any], n: int) -> list[Any]:
        """Do what `Team.run` does."""
        futures = [self._pool.submit(contextvars.copy_context().run, f, k) for k in range(1, n)]
        try:
            first = f(0)
        finally:
            wait(futures)
        return [first, *(future.result() for future in futures)]


def two_phases_executor() -> None:
    """As `two_phases`, with the threads of the standard library's executor."""
    two_phases()
    vars(workers)["Team"] = ExecutorTeam


class SpinningTeam:
    """Two threads that wait for each other in a loop of the C library, without the interpreter's lock."""

    def __init__(self, size: int) -> None:
        library, self._size = ctypes.CDLL(None), size
        self._lock, self._unlock = library.pthread_spin_lock, ctypes.PyDLL(None).pthread_spin_unlock
        self._memory = (ctypes.c_int * 256)()
        self._begin, self._end = ctypes.byref(self._memory, 0), ctypes.byref(self._memory, 512)
        for lock in (self._begin, self._end):
            library.pthread_spin_init(lock, 0)
            self._lock(lock)
        self._job: Any = None

    def __enter__(self) -> "SpinningTeam":
        self._thread = Thread(target=self._work, daemon=True)
        if self._size > 1:
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._job = None
        if self._size > 1:
            self._unlock(self._begin)
            self._thread.join()

    def _work(self) -> None:
        flush_on_this_thread()
        while self._lock(self._begin) == 0 and self._job is not None:
            context, f, results = self._job
            results.append(context.run(f, 1))
            self._unlock(self._end)

    def run(self, f: Callable[[int], Any], n: int) -> list[Any]:
        """Do what `Team.run` does, for functions that raise nothing."""
        if n == 1:
            return [f(0)]
        results: list[Any] = []
        self._job = contextvars.copy_context(), f, results
        self._unlock(self._begin)
        first = f(0)
        self._lock(self._end)
        return [first, *results]


def two_phases_spinning() -> None:
    """As `two_phases`, but the threads wait for each other in a loop."""
    two_phases()
    vars(workers)["Team"] = SpinningTeam


def huge_pages() -> None:
    """As `one_thread`, but all arrays above 256 kB are on pages of 2 MB."""
    one_thread()
    zeros = np.zeros

    def large(shape: Any, dtype: Any = float) -> np.ndarray:
        size, itemsize = int(np.prod(shape)), np.dtype(dtype).itemsize
        if not 1 << 18 <= size * itemsize < 1 << 22:
            return zeros(shape, dtype)
        return zeros((1 << 22) // itemsize + 1, dtype)[:size].reshape(shape)  # NumPy asks for them from 4 MB on

    vars(np)["zeros"] = large


Attempts = dict[str, Callable[[], None]]
SMALL: Attempts = {
    "BLAS on all threads": one_thread, "BLAS on one thread": one_thread_of_blas,
    "BLAS on all threads, the rule compiled": compiled_rule,
    "BLAS on one thread, the rule compiled": one_thread_of_blas_and_compiled_rule,
    "two phases": two_phases, "half of the examples on each thread": examples}
LARGE: Attempts = {
    "BLAS on all threads": one_thread, "two phases": two_phases, "two phases, waiting in a loop": two_phases_spinning,
    "two phases, on a ThreadPoolExecutor": two_phases_executor,
    "two phases, the gradient of each block in the same memory": one_block,
    "two phases, no copies to undo a step": no_undo, "two phases, no update": no_update,
    "half of the examples on each thread": examples, "BLAS, and the update on two threads": update_on_two_threads,
    "BLAS, on pages of 2 MB": huge_pages}
ATTEMPTS = {"small": SMALL, "keras": LARGE, "adam-paper": LARGE}


def turn(attempt: str, workload: str, data_dir: str | None) -> Epoch:
    """Return the epoch of an attempt; a process of its own calls this."""
    ATTEMPTS[workload][attempt]()
    return speed.turn(speed.OURS, workload, data_dir)


def measure(workload: str, rounds: int, data_dir: str | None) -> list[list[str]]:
    """Return the rows of a workload: its name, the attempt, and the median of its times over those of the first."""
    programs = {name: Program("benchmarks.attempts:turn", {"attempt": name, "workload": workload, "data_dir": data_dir})
                for name in ATTEMPTS[workload]}
    seconds = {name: turns[COLD:] for name, turns in take_turns(programs, COLD + rounds, workload).items()}
    first = next(iter(seconds.values()))
    return [[f"{workload}: {name}", f"{statistics.median(turns):.3f}", f"{ratio(turns, first):.2f}"]
            for name, turns in seconds.items()]


def main() -> None:
    """Measure, and write the part "attempts" of RESULTS.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attempts", description=__doc__)
    parser.add_argument("--data-dir", help="the folder of the MNIST files")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    rows = [row for workload in ATTEMPTS for row in measure(workload, args.rounds, args.data_dir)]
    text = table(["attempt", "seconds", "ratio to the first"], rows)
    print(text)
    replace_part("attempts", f"""
{text}

Seconds of an epoch with Adam, medians of {args.rounds} rounds, and medians of the ratios to the first row of the same
workload. Each program runs in its own process, which sleeps while another one is measured. Measured by
`python -m benchmarks.attempts` on {machine()};
{versions("numba")}.
""")


if __name__ == "__main__":
    main()
