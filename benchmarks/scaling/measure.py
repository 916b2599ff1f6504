"""The measurements that the cost model is fitted to. Each returns what is stored as JSON."""

from collections.abc import Mapping
import importlib.util
import statistics
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.networks import new_model, parameters
from benchmarks.peers import LR
from benchmarks.scaling.ranks import launcher, measure_allreduce
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
DDP = "torch DDP, 2 processes of 1 thread"


def epochs(settings: Settings) -> dict[str, dict[str, list[float]]]:
    """Return the seconds of full epochs: two ranks beside one rank of two threads and torch's, in turns."""
    data, found = settings.load(), {}
    for name in settings.workloads:
        common = {"widths": settings.widths(name, data), "batch": WORKLOADS[name][1], "dataset": settings.dataset,
                  "data_dir": settings.data_dir}

        def ours(ranks: int, threads: int, common: Mapping[str, Any] = common) -> Program:
            arguments = {**common, "ranks": ranks, "steps": 0, "threads": threads}
            return Program("benchmarks.scaling.ranks:turn", arguments, launcher=launcher(ranks) if ranks else ())

        programs = {SERIAL: ours(0, 1), OWN_THREADS: ours(0, 2), TWO_RANKS: ours(2, 1)}
        if importlib.util.find_spec("torch"):
            programs[DDP] = Program("benchmarks.ddp_peer:turn", {**common, "processes": 2})
        turns = take_turns(programs, COLD + settings.rounds, f"epochs: {name}")
        found[name] = {program: seconds[COLD:] for program, seconds in turns.items()}
    return found


def configurations(settings: Settings, batch: int, examples: int) -> list[tuple[int, int]]:
    """Return the numbers of ranks and the batches to measure: strong and weak scaling, and smaller serial batches."""
    serial = [(1, batch // 4), (1, batch // 2)]
    scaled = [(ranks, size) for ranks in settings.ranks for size in dict.fromkeys([batch, ranks * batch])]
    return [(ranks, size) for ranks, size in serial + scaled if 0 < size <= examples]


def steps(settings: Settings) -> list[dict[str, Any]]:
    """Return the seconds of a step of each workload, number of ranks and batch: the median over the rounds."""
    data, found = settings.load(), []
    for name in settings.workloads:
        tried = configurations(settings, WORKLOADS[name][1], len(data.x_train))
        programs, counts = {}, []
        for ranks, batch in tried:
            counts.append(max(1, min(settings.steps, len(data.x_train) // batch)))
            arguments = {"ranks": ranks, "widths": settings.widths(name, data), "batch": batch, "threads": 1,
                         "steps": counts[-1], "dataset": settings.dataset, "data_dir": settings.data_dir}
            programs[f"{ranks} {batch}"] = Program("benchmarks.scaling.ranks:turn", arguments, launcher=launcher(ranks))
        turns = take_turns(programs, COLD + settings.rounds, f"steps: {name}")
        found += [{"workload": name, "ranks": ranks, "batch": batch,
                   "seconds": statistics.median(seconds[COLD:]) / count}
                  for (ranks, batch), count, seconds in zip(tried, counts, turns.values())]
    return found


def allreduce(settings: Settings) -> list[dict[str, float]]:
    """Return the seconds of an allreduce, by the number of ranks and the bytes of the message."""
    found = []
    for ranks in tqdm([ranks for ranks in settings.ranks if ranks > 1], desc="allreduce", unit=" numbers of ranks"):
        seconds = measure_allreduce(ranks, settings.message_bytes, settings.repeats)
        found += [{"ranks": ranks, "bytes": size, "seconds": median}
                  for size, median in zip(settings.message_bytes, seconds)]
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
