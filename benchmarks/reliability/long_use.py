"""Many trainings in many ways: each must give the same weights, and none may leave memory, files or threads."""

from collections.abc import Callable
import gc
import os
from pathlib import Path
import resource
import subprocess
from tempfile import TemporaryDirectory
import threading
import weakref

import numpy as np

from benchmarks.reliability.saves import ROWS, command, state_of
from benchmarks.report import ROOT
from datasets import load
from nn import CrossEntropy, Dense, Model, ReLU, Softmax
from optimizers import get


def determinism(processes: int) -> list[str]:
    """Run one command in processes with different hash seeds; return a line if their results differ."""
    states = []
    with TemporaryDirectory() as parent:
        for number in range(processes):
            folder = Path(parent, str(number))
            subprocess.run(command(folder), cwd=ROOT, check=True, capture_output=True,
                           env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": str(number)})
            states.append(state_of(folder))
    return [] if len(set(states)) == 1 else [f"{len(set(states))} different results of {processes}"]


def other_threads(tolerance: float = 1e-12) -> tuple[float, list[str]]:
    """Train on 1 to 4 threads, in float64; return the largest relative difference of weights, and each above this."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3000, 200)), rng.integers(0, 10, 3000)
    thetas = []
    for threads in range(1, 5):
        model = Model([Dense(200, 300), ReLU(), Dense(300, 10), Softmax()], CrossEntropy(), seed=0, dtype="float64")
        model.fit(x, y, get("momentum"), 5, 1000, progress=False, threads=threads)
        thetas.append(model.theta)
    differences = [float(np.abs(theta - thetas[0]).max() / np.abs(thetas[0]).max()) for theta in thetas]
    return max(differences), [f"{threads} threads: weights differ by {difference:.1e}"
                              for threads, difference in enumerate(differences, 1) if difference > tolerance]


def small_fit(seed: int) -> np.ndarray:
    """Train a small model and return its weights."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(20, 6)), rng.integers(0, 3, 20)
    model = Model([Dense(6, 5), ReLU(), Dense(5, 3), Softmax()], CrossEntropy(), seed=seed)
    model.fit(x, y, get("adam"), 3, 8, progress=False, threads=1)
    return model.theta.copy()


def leaks(cycles: int, warm_up: int = 100, progress: Callable[[], object] = lambda: None) -> tuple[float, list[str]]:
    """Fit and predict so many times; return the bytes by which the memory grows in a cycle, and what is left."""
    data, problems = load("digits"), []

    def cycle() -> None:
        model = Model([Dense(64, 10), ReLU(), Dense(10, 10), Softmax()], CrossEntropy(), seed=0)
        model.fit(data.x_train[ROWS], data.y_train[ROWS], get("adam"), 1, 200, progress=False, threads=2)
        model.predict(data.x_test)

    for _ in range(warm_up):
        cycle()
    gc.collect()
    before = resident(), len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(cycles):
        cycle()
        progress()
    gc.collect()
    after = resident(), len(os.listdir("/proc/self/fd")), threading.active_count()
    if after[1:] != before[1:]:
        problems.append(f"file descriptors and threads were {before[1:]} and are {after[1:]}")
    gc.disable()
    try:
        model = Model([Dense(6, 5), Softmax()], CrossEntropy())
        model.fit(np.ones((4, 6)), [0, 1, 2, 3], get("adam"), progress=False)
        reference = weakref.ref(model)
        del model
        if reference() is not None:
            problems.append("a reference cycle keeps a model alive")
    finally:
        gc.enable()
    growth = (after[0] - before[0]) / cycles
    return growth, problems + ([f"memory grows by {growth:,.0f} bytes a cycle"] if growth > 1000 else [])


def resident() -> int:
    """Return the resident memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def soak(fits: int, progress: Callable[[], object] = lambda: None) -> list[str]:
    """Train in two threads at once, after a fork, and many times in a row; return each result that is not as alone."""
    problems, expected = [], [small_fit(seed) for seed in range(20)]

    def check(what: str, results: list[np.ndarray]) -> None:
        if any(not np.array_equal(a, b) for a, b in zip(results, expected, strict=True)):
            problems.append(f"{what}: another result")

    found: list[list[np.ndarray]] = [[], []]
    threads = [threading.Thread(target=lambda k=k: found[k].extend(small_fit(seed) for seed in range(20)))
               for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for results in found:
        check("two threads", results)
    child = os.fork()
    if not child:
        os._exit(0 if all(np.array_equal(small_fit(seed), theta) for seed, theta in enumerate(expected)) else 1)
    if os.waitpid(child, 0)[1]:
        problems.append("after a fork: another result")
    for number in range(fits):
        if not np.array_equal(small_fit(number % 20), expected[number % 20]):
            problems.append(f"fit {number}: another result")
        progress()
    return problems
