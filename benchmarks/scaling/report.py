"""SCALING.md: the tables and the text, from what was measured."""

from collections.abc import Iterable, Mapping
from functools import partial
from itertools import product
import statistics
from typing import Any

from benchmarks.report import table
from benchmarks.scaling import figures
from benchmarks.scaling.cost import TERMS, Cluster, step_amounts
from benchmarks.scaling.measure import TWO_RANKS
from benchmarks.scaling.prediction import (
    GOAL,
    LARGEST,
    MACHINES,
    NETWORKS,
    SPEEDS,
    Measured,
    Point,
    fit_without,
    held_out,
    largest,
    leave_one_out,
    locals_of,
    optimizer_steps,
    points_of,
    predicted,
    strong,
    triangle_steps,
    ways,
    weak,
    workload_steps,
)
from benchmarks.speed import WORKLOADS
from benchmarks.turns import ratio

SHOWN = "keras"  # the workload whose optimizers are compared
COUNT = 64  # machines in the figure of accuracies against seconds


def shown(measured: Measured) -> str:
    """Return the workload whose optimizers are compared: the last one if SHOWN was not measured."""
    return SHOWN if SHOWN in measured["parts"] else list(measured["parts"])[-1]


def epochs(measured: Measured) -> str:
    """Return the table of full epochs."""
    found = measured["epochs"]
    programs = list(dict.fromkeys(program for turns in found.values() for program in turns))
    rows = [[program, *(f"{statistics.median(turns[program]):.3f} ({ratio(turns[TWO_RANKS], turns[program]):.2f})"
                        for turns in found.values())] for program in programs]
    rounds = len(next(iter(found.values()))[TWO_RANKS])
    return f"""{table(["", *found], rows)}

Seconds of an epoch: the median of {rounds} rounds. In each round all train one epoch, one after the other. In brackets
is the median of the ratios of the epochs of {TWO_RANKS} to those of the row, of the same round: below 1 if the ranks
are faster. Two ranks divide each batch, as the two processes of torch do. Adam, float32.

Each rank updates all parameters, while the threads of one process divide them. On large networks with small batches
this is what two ranks lose against two threads: see the terms "update" and "neighbour" of the model below."""


def steps(measured: Measured, cores: int) -> str:
    """Return the table of strong and weak scaling."""
    points = points_of(measured)
    ranks = sorted({point.ranks for point in points})
    rows = []
    for workload, shared in product(measured["parts"], (True, False)):
        batch = WORKLOADS[workload][1]
        found = {(p.ranks, p.batch, p.shared): p.seconds for p in points if p.workload == workload}
        one = found[1, batch, False]
        cells = [f"{1000 * one:.3f}"]
        for grows in (False, True):
            for N in ranks[1:]:
                batches = N if grows else 1
                seconds = found.get((N, batches * batch, shared))
                efficiency = 100 * batches * one / (min(N, cores) * seconds) if seconds else 0.0
                cells.append(f"{1000 * seconds:.3f} ({efficiency:.0f} %)" if seconds else "")
        rows.append([f"{workload}, batch {batch:,}{'' if shared else ', by messages'}", *cells])
    head = ["", "1 rank", *(f"{kind}, {N} ranks" for kind in ("strong", "weak") for N in ranks[1:])]
    return f"""{table(head, rows)}

Milliseconds of a step, and the efficiency: the examples in a second, divided by those of one rank and by the number of
cores in use. This machine has {cores} cores, which more ranks must share. In strong scaling the ranks divide one batch,
in weak scaling each has a batch of this size. The ranks share memory in which they add up the gradients; in the rows
"by messages" they do not, as if each was on another machine."""


def memory(measured: Measured) -> str:
    """Return the table of the memory of each rank."""
    found, rows = measured["memory"], []
    for run in found["runs"]:
        growth = [rank["peak"] - rank["before"] for rank in run["of each"]]
        label = "1 rank, the whole file in memory" if run["in memory"] else f"{run['ranks']} ranks, in blocks"
        rows.append([label.replace("1 ranks", "1 rank"), f"{run['of each'][0]['before']:.0f}", f"{max(growth):.0f}",
                     f"{run['of each'][0]['seconds']:.2f}"])
    head = ["", "MB before", "MB more while it trains, at most", "seconds of an epoch"]
    return f"""{table(head, rows)}

Resident memory of each rank that trains {found["workload"]}, batch {WORKLOADS[found["workload"]][1]:,}, on a file .npy
of {found["rows"]:,} rows and {found["megabytes"]:,.0f} MB. The second number is the largest of all ranks, and includes
the gradient, the state of the optimizer and the activations of its rows."""


def title(point: Point) -> str:
    """Return the name of a configuration."""
    return (f"{point.workload}, {point.ranks} ranks, batch {point.batch:,}"
            + (", by messages" if point.ranks > 1 and not point.shared else ""))


def model(measured: Measured, cores: int) -> str:
    """Return the constants of the model, and how well it predicts what it was not fitted to."""
    point = held_out(measured)
    without, everything = fit_without(measured, cores, [point]), fit_without(measured, cores)
    guess = predicted(measured, without, point, cores)
    error = guess / point.seconds - 1
    errors = leave_one_out(measured, cores)
    sizes = sorted(abs(error) for error in errors.values())
    worst = max(errors, key=lambda point: abs(errors[point]))
    constants = table(["", "constant", "the amount"],
                      [[term, f"{everything[term]:.3g}", meaning] for term, meaning in TERMS.items()])
    local = locals_of(measured)
    amounts = {name + kind: step_amounts(local[name], WORKLOADS[name][1], 2, cores, shared=not kind)
               for name in local for kind in ("", ", by messages")}
    rows = [[term, *(f"{1000 * everything[term] * row.get(term, 0):.3f}" for row in amounts.values())]
            for term in TERMS]
    return f"""{constants}

The seconds of a step are the sum of these amounts, each times its constant. The constants minimize the squares of the
relative errors of {len(errors)} measured steps and {len(measured["sums"])} sums; none is negative. If ranks
share a core, every amount is multiplied by their number.

The configuration {title(point)} was left out of another fit. It predicts
{1000 * guess:.3f} ms for this configuration, and {1000 * point.seconds:.3f} ms were measured: an error of {error:+.1%}.

If each measured step is left out in turn, the median of the absolute errors is {100 * statistics.median(sizes):.1f} %,
and the largest is {100 * sizes[-1]:.1f} % ({title(worst)}).

Milliseconds of each term in a step on 2 ranks here:

{table(["", *amounts], rows)}"""


def cells(step: Any, kind: Any) -> list[str]:
    """Return the efficiencies on some numbers of machines, and the largest number with at least 50 %."""
    found = kind(step, MACHINES)
    return [*(f"{100 * found[N]:.0f}" for N in MACHINES), largest(partial(kind, step))]


def clusters(constants: Mapping[str, float]) -> Iterable[tuple[str, Cluster]]:
    """Yield the title and the cluster of each network and speed of machines."""
    for speed in SPEEDS:
        for network in NETWORKS:
            yield (f"{network.name}, machines of {speed:g} times the speed of a core here",
                   Cluster(network, constants, speed))


def workloads(measured: Measured, constants: Mapping[str, float]) -> str:
    """Return the tables of what is predicted for each workload."""
    parts = []
    head = ["", *(f"{kind}: {N}" for kind in ("strong", "weak") for N in (*MACHINES, "at least 50 %"))]
    for name, cluster in clusters(constants):
        rows = []
        for workload, local in locals_of(measured).items():
            fixed, growing = workload_steps(local, WORKLOADS[workload][1], cluster)
            rows.append([f"{workload}, batch {WORKLOADS[workload][1]:,}", *cells(fixed, strong), *cells(growing, weak)])
        parts.append(f"{name}:\n\n{table(head, rows)}")
    return "\n\n".join(parts)


def optimizers(measured: Measured, constants: Mapping[str, float]) -> str:
    """Return the tables of what is predicted for each class of optimizers."""
    parts = []
    head = ["", "seconds of a step on 1", *(f"{N:,}" for N in MACHINES), "at least 50 %"]
    names = [name for name in measured["parts"] if any(e["workload"] == name for e in measured["second_order"])]
    for name, cluster in clusters(constants):
        rows = []
        for workload in names:
            for label, step in optimizer_steps(measured, cluster, workload).items():
                rows.append([f"{workload}: {label}", f"{step(1):.3g}", *cells(step, strong)])
        for entry in measured["triangles"]:
            step = triangle_steps(entry, cluster)
            label = f"{entry['network']}: lm, qr, all {entry['examples']:,}"
            rows.append([label, f"{step(1):.3g}", *cells(step, strong)])
        parts.append(f"{name}:\n\n{table(head, rows)}")
    return "\n\n".join(parts)


def work(measured: Measured) -> str:
    """Return the table of the work of a step of the second-order methods."""
    rows = [[f"{entry['workload']}, {entry['method']}", f"{entry['steps']}", f"{entry['gradients']:.2f}",
             f"{entry['vectors']:.1f}", f"{entry['values']:.1f}", f"{1000 * entry['rest']:.1f}"]
            for entry in measured["second_order"]]
    return table(["", "steps", "gradients", "messages of P numbers", "short messages", "ms that are not divided"], rows)


def batches(measured: Measured) -> str:
    """Return the table of the test accuracies with larger batches."""
    runs = measured["batches"]
    sizes = sorted({run["batch"] for run in runs})
    rows = []
    for optimizer in dict.fromkeys(run["optimizer"] for run in runs):
        cases = dict.fromkeys((run["rule"], run["warmup"]) for run in runs if run["optimizer"] == optimizer)
        for case in cases:
            chosen = []
            for size in sizes:
                last = [0.0 if run["failed"] else 100 * run["accuracies"][-1] for run in runs
                        if (run["optimizer"], run["batch"], run["rule"], run["warmup"]) == (optimizer, size, *case)]
                chosen.append(f"{statistics.mean(last):.2f} ± {statistics.pstdev(last):.2f}" if last else "")
            rows.append([f"{optimizer}, {case[0]}{', warm-up' if case[1] else ''}", *chosen])
    return table(["", *(f"batch {size:,}" for size in sizes)], rows)


def goals(measured: Measured, constants: Mapping[str, float]) -> str:
    """Return the table of the ways to an accuracy, with the seconds that are predicted for them."""
    head = ["", "best test accuracy, %", f"steps to {100 * GOAL:g} %", "passes",
            *(f"{network.name}: {N:,}" for network in NETWORKS for N in (1, *MACHINES))]
    rows = []
    for way in ways(measured, shown(measured)):
        reached = way.reached()
        seconds = [f"{reached[0] * way.step(Cluster(network, constants), N):.3g}" if reached else ""
                   for network in NETWORKS for N in (1, *MACHINES)]
        rows.append([way.name, f"{100 * way.best():.2f}", *(f"{number:.4g}" for number in reached or ()),
                     *([""] * (0 if reached else 2)), *seconds])
    return table(head, rows)


def draw(measured: Measured, cores: int) -> dict[str, Any]:
    """Return all figures by the names of their files."""
    constants = fit_without(measured, cores)
    return {"scaling-here.png": figures.here(measured, constants, cores),
            "scaling-machines.png": figures.machines(measured, constants),
            "scaling-optimizers.png": figures.optimizers(measured, constants, shown(measured)),
            "scaling-batches.png": figures.batches(measured),
            "scaling-passes.png": figures.passes(measured, constants, shown(measured), COUNT)}


def report(measured: Measured, cores: int, machine: str) -> str:
    """Return the text of SCALING.md."""
    constants = fit_without(measured, cores)
    networks = "; ".join(f"{network.name} with a latency of {1e6 * network.latency:g} us" for network in NETWORKS)
    batch_runs = measured["batches"]
    seeds = len({run["seed"] for run in batch_runs})
    count = max(len(run["accuracies"]) for run in batch_runs)
    return f"""# Scaling

Training on several ranks, which are processes that divide each batch: measured on one machine, and predicted for many.

## Two ranks beside two threads, and beside torch

{epochs(measured)}

## Strong and weak scaling on this machine

{steps(measured, cores)}

![Steps and sums, measured (points) and by the model (lines)](benchmarks/figures/scaling-here.png)

## The memory of a rank

{memory(measured)}

## The cost model

{model(measured, cores)}

## What it predicts for 8 to {LARGEST:,} machines

Each machine has one rank. The constants of the computation are those above, without that of neighbours. The messages
are those of two networks: {networks}.
The latencies are assumptions, typical of small messages of MPI over TCP and over RDMA. Links are assumed to work at
their full rate. An allreduce takes the time of the faster of two algorithms: log2 N rounds of the whole message, or
2 log2 N rounds that send 2 (N - 1) / N of it. It does not overlap with the computation.

Efficiencies in %, and the largest number of machines with at least 50 %. In strong scaling the machines divide one
batch, in weak scaling each has a batch of this size. An efficiency is above 100 % if a core computes the gradient of
fewer examples at a higher rate, because they fit into its caches.

{workloads(measured, constants)}

![Predicted efficiencies of the workloads](benchmarks/figures/scaling-machines.png)

## Where each optimizer stops scaling

A step of a first-order rule is one gradient of a batch, one message of P numbers, and an update of all parameters on
every machine. A second-order method divides all examples, so that there is more to compute between two messages. The
work of its step, measured on one thread:

{work(measured)}

The second column is the time of all evaluations and products, divided by that of a gradient of all examples. Each
gradient and each product is one message of P numbers; that of a value is short. Levenberg-Marquardt in the form "qr"
instead exchanges triangles of P^2 numbers in log2 N rounds.

Efficiencies in % in strong scaling, and the largest number of machines with at least 50 %:

{optimizers(measured, constants)}

![Predicted efficiencies of the optimizers](benchmarks/figures/scaling-optimizers.png)

## What to do then: larger batches

The test accuracy in % after {count} epochs of the network {shown(measured)}, mean ± population standard deviation over
{seeds} seeds. k is the size of the batch divided by the smallest one. A warm-up increases the learning rate linearly
during the first tenth of the epochs. A run that diverged counts as 0.

{batches(measured)}

![Test accuracy by the size of a batch](benchmarks/figures/scaling-batches.png)

## What to do then: fewer, more expensive steps

The network {shown(measured)}: Adam with each size of a batch and the rule that was best for it, and second-order
methods on all examples. The last columns are the predicted seconds until the test accuracy is {100 * GOAL:g} %, by the
number of machines, each as fast as one core here. Empty cells mean that this accuracy was not reached.

{goals(measured, constants)}

![Test accuracy against passes and predicted seconds](benchmarks/figures/scaling-passes.png)

Measured by `python -m benchmarks.scaling` on {machine}.
"""
