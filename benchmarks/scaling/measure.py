"""The measurements that the cost model is fitted to. Each returns what is stored as JSON."""

from collections.abc import Mapping
import importlib.util
import statistics
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.networks import new_model, parameters
from benchmarks.peers import LR
from benchmarks.scaling.ranks import launcher, measure_sums
from benchmarks.scaling.settings import Settings
from benchmarks.speed import COLD, WORKLOADS
from benchmarks.steps import interleaved
from benchmarks.turns import Program, take_turns
from datasets import Dataset
from nn import blas
from nn.batches import Batches
from nn.denormals import FlushDenormals
from optimizers import FirstOrder, compiled, get

SERIAL, OWN_THREADS, TWO_RANKS = "1 thread", "2 threads", "2 ranks of 1 thread"
MESSAGES = "2 ranks of 1 thread that share no memory"
DDP = "torch DDP, 2 processes of 1 thread"


def epochs(settings: Settings) -> dict[str, dict[str, list[float]]]:
    """Return the seconds of full epochs: two ranks beside one rank of two threads and torch's, in turns."""
    data, found = settings.load(), {}
    for name in settings.workloads:
        common = {"widths": settings.widths(name, data), "batch": WORKLOADS[name][1], "dataset": settings.dataset,
                  "data_dir": settings.data_dir}

        def ours(ranks: int, threads: int, shared: bool = True, common: Mapping[str, Any] = common) -> Program:
            arguments = {**common, "ranks": ranks, "steps": 0, "threads": threads, "shared": shared}
            return Program("benchmarks.scaling.ranks:turn", arguments, launcher=launcher(ranks) if ranks else ())

        programs = {SERIAL: ours(0, 1), OWN_THREADS: ours(0, 2), TWO_RANKS: ours(2, 1),
                    MESSAGES: ours(2, 1, shared=False)}
        if importlib.util.find_spec("torch"):
            programs[DDP] = Program("benchmarks.ddp_peer:turn", {**common, "processes": 2})
        turns = take_turns(programs, COLD + settings.rounds, f"epochs: {name}")
        found[name] = {program: seconds[COLD:] for program, seconds in turns.items()}
    return found


def configurations(settings: Settings, batch: int, examples: int) -> list[tuple[int, int, bool]]:
    """Return the numbers of ranks, the batches, and whether memory is shared.

    Strong and weak scaling, with and without shared memory, and smaller serial batches.
    """
    serial = [(1, batch // 4, False), (1, batch // 2, False), (1, batch, False)]
    scaled = [(ranks, size, shared) for shared in (False, True) for ranks in settings.ranks if ranks > 1
              for size in (batch, ranks * batch)]
    return [(ranks, size, shared) for ranks, size, shared in serial + scaled if 0 < size <= examples]


def steps(settings: Settings) -> list[dict[str, Any]]:
    """Return the seconds of a step of each workload, number of ranks and batch: the median over the rounds."""
    data, found = settings.load(), []
    for name in settings.workloads:
        tried = configurations(settings, WORKLOADS[name][1], len(data.x_train))
        programs, counts = {}, []
        for ranks, batch, shared in tried:
            counts.append(max(1, min(settings.steps, len(data.x_train) // batch)))
            arguments = {"ranks": ranks, "widths": settings.widths(name, data), "batch": batch, "steps": counts[-1],
                         "threads": 1, "dataset": settings.dataset, "data_dir": settings.data_dir, "shared": shared}
            programs[f"{ranks} {batch} {shared}"] = Program("benchmarks.scaling.ranks:turn", arguments,
                                                            launcher=launcher(ranks))
        turns = take_turns(programs, COLD + settings.rounds, f"steps: {name}")
        found += [{"workload": name, "ranks": ranks, "batch": batch, "shared": shared,
                   "seconds": statistics.median(seconds[COLD:]) / count}
                  for (ranks, batch, shared), count, seconds in zip(tried, counts, turns.values())]
    return found


def sums(settings: Settings) -> list[dict[str, Any]]:
    """Return the seconds of a sum over the ranks, by their number, the bytes, and whether memory is shared."""
    found = []
    for ranks in tqdm([ranks for ranks in settings.ranks if ranks > 1], desc="sums", unit=" numbers of ranks"):
        for size, pair in zip(settings.message_bytes, measure_sums(ranks, settings.message_bytes, settings.repeats)):
            found += [{"ranks": ranks, "bytes": size, "shared": shared, "seconds": seconds}
                      for shared, seconds in zip((False, True), pair) if seconds is not None]
    return found


def parts(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the seconds of each part of a step on one core: gradients and gathering by examples, the update."""
    data, found = settings.load(), {}
    for name in settings.workloads:
        rows = [n for n in settings.rows if n <= len(data.x_train)]
        with tqdm(desc=f"parts: {name}", unit=" rounds") as bar, blas.limited(1), FlushDenormals():
            found[name] = {"parameters": parameters(settings.widths(name, data)), "rows": rows,
                           **parts_of_step(settings.widths(name, data), rows, data, settings, bar)}
    return found


def parts_of_step(widths: tuple[int, ...], rows: list[int], data: Dataset, settings: Settings,
                  bar: Any) -> dict[str, Any]:
    """Return the seconds of the parts of a step of one network: a list by the number of examples, or one number."""
    model, optimizer = new_model(widths), get("adam", lr=LR)
    x, target = model.check_data(data.x_train, data.y_train)
    theta, grad = model.theta.copy(), np.full_like(model.theta, 1e-3)
    order = np.random.default_rng(0).permutation(len(x))
    assert isinstance(optimizer, FirstOrder)
    optimizer.start(theta)

    def update() -> None:
        optimizer.t += 1
        if theta.size >= compiled.MIN_SIZE and compiled.available():
            compiled.rule(optimizer, theta)(slice(None), grad)
        else:
            optimizer.clip_and_update(theta, grad)

    runs: dict[str, Any] = {"update": update}
    for n in rows:
        batches = Batches(x, target, n, 0)
        runs[f"gradient {n}"] = model.objective(data.x_train[:n], data.y_train[:n]).value_and_gradient
        runs[f"gather {n}"] = lambda batches=batches, n=n: batches.gather(order[:n], *batches.arrays(order[:n]))
    ms = interleaved(runs, settings.rounds, max(1, settings.steps // 10), bar)
    return {"update": ms["update"] / 1000, **{part: [ms[f"{part} {n}"] / 1000 for n in rows]
                                              for part in ("gradient", "gather")}}
