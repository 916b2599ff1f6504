"""The fitted model, and what it predicts: efficiencies on many machines, and the seconds to an accuracy."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
import math
import statistics
from typing import Any, NamedTuple

from benchmarks.scaling.cost import (
    Cluster,
    Local,
    Network,
    Triangles,
    Work,
    fit,
    limit,
    predict,
    step_amounts,
    sum_amounts,
)
from benchmarks.scaling.training import METHODS
from benchmarks.speed import WORKLOADS

NETWORKS = (Network("10 Gbit/s", 30e-6, 10e9 / 8), Network("100 Gbit/s", 3e-6, 100e9 / 8))
SPEEDS = (1.0, 16.0)
MACHINES = (8, 64, 1024)
LARGEST = 1024
POWERS = tuple(2**k for k in range(11))
HELD_OUT = ("adam-paper", 2, 256, True)  # workload, ranks, batch, shared
GOAL = 0.97  # of the test accuracy
Measured = Mapping[str, Any]  # the content of the JSON file, by parts


def locals_of(measured: Measured) -> dict[str, Local]:
    """Return what the parts of a step of each workload take."""
    return {name: Local(**part) for name, part in measured["parts"].items()}


class Point(NamedTuple):
    """A measured step: its workload, the ranks, the batch, whether they share memory, and its seconds."""

    workload: str
    ranks: int
    batch: int
    shared: bool
    seconds: float


def points_of(measured: Measured) -> list[Point]:
    """Return the measured steps."""
    return [Point(**step) for step in measured["steps"]]


def amounts_of(measured: Measured, point: Point, cores: int) -> dict[str, float]:
    """Return the amounts of a measured step."""
    return step_amounts(locals_of(measured)[point.workload], point.batch, point.ranks, cores, point.shared)


def fit_without(measured: Measured, cores: int, left_out: Sequence[Point] = ()) -> dict[str, float]:
    """Return the constants, fitted to all steps but those of the configurations that are left out, shared or not."""
    out = [point[:3] for point in left_out]
    points = [point for point in points_of(measured) if point[:3] not in out]
    rows: list[Mapping[str, float]] = [amounts_of(measured, point, cores) for point in points]
    rows += [sum_amounts(entry["bytes"], entry["ranks"], cores, entry["shared"]) for entry in measured["sums"]]
    seconds = [point.seconds for point in points] + [entry["seconds"] for entry in measured["sums"]]
    return fit(rows, seconds)


def predicted(measured: Measured, constants: Mapping[str, float], point: Point, cores: int) -> float:
    """Return the predicted seconds of a step that was measured."""
    return predict(constants, amounts_of(measured, point, cores))


def held_out(measured: Measured) -> Point:
    """Return the configuration that is left out of the fit: the last one if that of HELD_OUT was not measured."""
    points = points_of(measured)
    return next((point for point in points if point[:4] == HELD_OUT), points[-1])


def leave_one_out(measured: Measured, cores: int) -> dict[Point, float]:
    """Return the relative error of each measured step, predicted by a fit to all the others."""
    return {point: predicted(measured, fit_without(measured, cores, [point]), point, cores) / point.seconds - 1
            for point in points_of(measured)}


def strong(step: Callable[[int], float], machines: Iterable[int]) -> dict[int, float]:
    """Return the efficiencies if the work of a step is the same on any number of machines; `step` takes the number."""
    one = step(1)
    return {N: one / (N * step(N)) for N in machines}


def weak(step: Callable[[int], float], machines: Iterable[int]) -> dict[int, float]:
    """Return the efficiencies if `step` takes a number of machines and divides so many times the work among them."""
    one = step(1)
    return {N: one / step(N) for N in machines}


def largest(efficiencies: Callable[[Iterable[int]], Mapping[int, float]]) -> str:
    """Return the largest number of machines with an efficiency of at least 50 %, as text."""
    number = limit(dict(efficiencies(range(1, LARGEST + 1))))
    return f"{number:,}" if number < LARGEST else f"above {LARGEST:,}"


def workload_steps(local: Local, batch: int, cluster: Cluster) -> tuple[Callable[[int], float], Callable[[int], float]]:
    """Return the seconds of a step by the number of machines: for one batch, and for a batch of that size on each."""
    return partial(cluster.first_order, local, batch), lambda N: cluster.first_order(local, N * batch, N)


def optimizer_steps(measured: Measured, cluster: Cluster, workload: str) -> dict[str, Callable[[int], float]]:
    """Return the seconds of a step of each class of optimizers on one network, by the number of machines."""
    local, batch = locals_of(measured)[workload], WORKLOADS[workload][1]
    steps: dict[str, Callable[[int], float]] = {
        f"first order, batch {size:,}": partial(cluster.first_order, local, size)
        for size in dict.fromkeys([batch, 16 * batch])}
    examples = max(entry["examples"] for entry in measured["second_order"])
    for entry in measured["second_order"]:
        if entry["workload"] == workload:
            steps[f"{title(entry['method'])}, all {examples:,}"] = partial(cluster.second_order, local, examples,
                                                                            work_of(entry))
    return steps


def title(method: str) -> str:
    """Return the name of a method with its form."""
    form = METHODS[method].get("form")
    return f"{method}, {form}" if form else method


def work_of(entry: Mapping[str, Any]) -> Work:
    """Return the work of a step of a second-order method that was measured."""
    return Work(**{name: entry[name] for name in Work._fields})


def triangle_steps(entry: Mapping[str, Any], cluster: Cluster) -> Callable[[int], float]:
    """Return the seconds of a step of Levenberg-Marquardt, form "qr", by the number of machines."""
    work = Triangles(**{name: entry[name] for name in Triangles._fields})
    return partial(cluster.triangles, entry["examples"], work)


class Way(NamedTuple):
    """A way to train: its name, its steps and passes until the test accuracy is GOAL, and the best test accuracy.

    `points` are its steps, passes and accuracies; `step` takes a cluster and a number of machines.
    """

    name: str
    points: Sequence[tuple[float, float, float]]
    step: Callable[[Cluster, int], float]

    def reached(self) -> tuple[float, float] | None:
        """Return the steps and the passes at which the test accuracy is GOAL; None if it never is."""
        return next(((steps, passes) for steps, passes, accuracy in self.points if accuracy >= GOAL), None)

    def best(self) -> float:
        """Return the best test accuracy."""
        return max(accuracy for *_, accuracy in self.points)


def first_order_step(local: Local, batch: int, cluster: Cluster, machines: int) -> float:
    """Return the seconds of a step of a first-order rule."""
    return cluster.first_order(local, batch, machines)


def second_order_step(local: Local, examples: int, work: Work, cluster: Cluster, machines: int) -> float:
    """Return the seconds of a step of a second-order method."""
    return cluster.second_order(local, examples, work, machines)


def ways(measured: Measured, workload: str) -> list[Way]:
    """Return Adam with each size of a batch and its best rule, and the second-order methods, on one network."""
    local = locals_of(measured)[workload]
    examples = max(entry["examples"] for entry in measured["second_order"])
    found = []
    for size in dict.fromkeys(run["batch"] for run in measured["batches"] if run["optimizer"] == "adam"):
        (rule, warmup), curve = max(curves(measured, "adam", size).items(), key=lambda item: item[1][-1])
        steps = math.ceil(examples / size)
        found.append(Way(f"adam, batch {size:,}, {rule}{', warm-up' if warmup else ''}",
                         [(steps * (i + 1), i + 1, accuracy) for i, accuracy in enumerate(curve)],
                         partial(first_order_step, local, size)))
    for entry in measured["second_order"]:
        if entry["workload"] == workload:
            points = [(i + 1, passes, accuracy) for i, (passes, accuracy) in enumerate(entry["points"])]
            found.append(Way(title(entry["method"]), points,
                             partial(second_order_step, local, examples, work_of(entry))))
    return found


def curves(measured: Measured, optimizer: str, batch: int) -> dict[tuple[str, bool], list[float]]:
    """Return the mean test accuracy of each epoch, by the rule and whether there is a warm-up; failed runs count 0."""
    found: dict[tuple[str, bool], list[list[float]]] = {}
    epochs = max(len(run["accuracies"]) for run in measured["batches"])
    for run in measured["batches"]:
        if (run["optimizer"], run["batch"]) == (optimizer, batch):
            accuracies = run["accuracies"] + [0.0] * (epochs - len(run["accuracies"]))
            found.setdefault((run["rule"], run["warmup"]), []).append(accuracies)
    return {case: [statistics.mean(epoch) for epoch in zip(*runs)] for case, runs in found.items()}
