"""The figures of SCALING.md."""

from collections.abc import Callable, Iterable, Mapping, Sequence
import statistics
from typing import Any

from benchmarks.scaling.cost import Cluster, predict, sum_amounts
from benchmarks.scaling.prediction import (
    NETWORKS,
    POWERS,
    Measured,
    locals_of,
    optimizer_steps,
    points_of,
    predicted,
    strong,
    ways,
    weak,
    workload_steps,
)
from benchmarks.speed import WORKLOADS
from nn.plots import COLOURS, LINES

Steps = Mapping[str, Callable[[int], float]]


def new_figure(panels: int, width: float = 13, height: float = 4) -> tuple[Any, Sequence[Any]]:
    """Return a figure and its panels, side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


def count_axis(ax: Any, numbers: Iterable[int], label: str) -> None:
    """Give a panel a logarithmic x axis of these numbers."""
    ax.set_xscale("log", base=2)
    ax.set_xticks(list(numbers), [f"{number:,}" for number in numbers])
    ax.set_xlabel(label)


def here(measured: Measured, constants: Mapping[str, float], cores: int) -> Any:
    """Return a figure of the measured steps and sums, beside the model's."""
    figure, (fixed, growing, sums) = new_figure(3)
    points = points_of(measured)
    for colour, workload in zip(COLOURS, measured["parts"]):
        batch = WORKLOADS[workload][1]
        for ax, grows in ((fixed, False), (growing, True)):
            line = [point for point in points
                    if point.workload == workload and point.batch == batch * (point.ranks if grows else 1)
                    and point.shared == (point.ranks > 1)]
            ax.plot([p.ranks for p in line], [1000 * p.seconds for p in line], "o", color=colour, label=workload)
            ax.plot([p.ranks for p in line], [1000 * predicted(measured, constants, p, cores) for p in line], "--",
                    color=colour, lw=1)
    ranks = sorted({point.ranks for point in points})
    for ax, name in ((fixed, "strong scaling: one batch"), (growing, "weak scaling: a batch for each rank")):
        count_axis(ax, ranks, "ranks")
        ax.set(title=name, ylabel="milliseconds of a step", yscale="log")
    kinds = sorted({(entry["shared"], entry["ranks"]) for entry in measured["sums"]})
    for colour, (shared, N) in zip(COLOURS, kinds):
        added = [entry for entry in measured["sums"] if (entry["shared"], entry["ranks"]) == (shared, N)]
        sizes = [entry["bytes"] for entry in added]
        sums.plot(sizes, [1e6 * entry["seconds"] for entry in added], "o", color=colour,
                  label=f"{N} ranks, {'shared memory' if shared else 'messages'}")
        sums.plot(sizes, [1e6 * predict(constants, sum_amounts(size, N, cores, shared)) for size in sizes], "--",
                  color=colour, lw=1)
    sums.set(title="a sum over the ranks", xlabel="bytes", ylabel="microseconds", xscale="log", yscale="log")
    for ax in (fixed, sums):
        ax.legend(frameon=False)
    return figure


def efficiencies(steps: Mapping[str, Steps], titles: Sequence[str],
                 kinds: Sequence[Callable[[Callable[[int], float], Iterable[int]], Mapping[int, float]]]) -> Any:
    """Return a figure of efficiencies against machines: a panel for each of the mappings in `steps`."""
    figure, axes = new_figure(len(steps), 4.5 * len(steps) + 2)
    for ax, name, lines, kind in zip(axes, titles, steps.values(), kinds):
        for (colour, dashes), (label, step) in zip(LINES, lines.items()):
            found = kind(step, POWERS)
            ax.plot(list(found), [100 * value for value in found.values()], color=colour, ls=dashes, label=label)
        ax.axhline(50, color="0.6", lw=1)
        count_axis(ax, POWERS[::2], "machines")
        ax.set(title=name, ylabel="efficiency, %", ylim=(0, 105))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    return figure


def machines(measured: Measured, constants: Mapping[str, float]) -> Any:
    """Return a figure of the predicted efficiency of each workload in each network."""
    steps: dict[str, dict[str, Callable[[int], float]]] = {}
    kinds = []
    for network in NETWORKS:
        cluster = Cluster(network, constants)
        pairs = {name: workload_steps(local, WORKLOADS[name][1], cluster)
                 for name, local in locals_of(measured).items()}
        for k, (name, kind) in enumerate((("strong", strong), ("weak", weak))):
            steps[f"{name} scaling, {network.name}"] = {workload: pair[k] for workload, pair in pairs.items()}
            kinds.append(kind)
    return efficiencies(steps, list(steps), kinds)


def optimizers(measured: Measured, constants: Mapping[str, float], workload: str) -> Any:
    """Return a figure of the predicted efficiency of each class of optimizers on one network."""
    steps = {f"{workload}, {network.name}": optimizer_steps(measured, Cluster(network, constants), workload)
             for network in NETWORKS}
    return efficiencies(steps, list(steps), [strong] * len(steps))


def batches(measured: Measured) -> Any:
    """Return a figure of the last test accuracy by the size of a batch, for each rule and optimizer."""
    names = list(dict.fromkeys(run["optimizer"] for run in measured["batches"]))
    figure, axes = new_figure(len(names))
    for ax, name in zip(axes, names):
        runs = [run for run in measured["batches"] if run["optimizer"] == name]
        first = min(run["batch"] for run in runs)
        rules = list(dict.fromkeys(run["rule"] for run in runs))
        for colour, rule in zip(COLOURS, rules):
            for warmup in (False, True):
                chosen: dict[int, list[float]] = {}
                for run in runs:
                    if run["batch"] == first or (run["rule"], run["warmup"]) == (rule, warmup):
                        last = 0.0 if run["failed"] else 100 * run["accuracies"][-1]
                        chosen.setdefault(run["batch"], []).append(last)
                ax.errorbar(list(chosen), [statistics.mean(values) for values in chosen.values()],
                            [statistics.pstdev(values) for values in chosen.values()], color=colour, marker="o", ms=4,
                            ls="--" if warmup else "-", capsize=2, label=rule + (", warm-up" if warmup else ""))
        best = max(100 * max(run["accuracies"][-1:], default=0.0) for run in runs)
        count_axis(ax, sorted({run["batch"] for run in runs}), "examples of a batch")
        ax.set(title=name, ylabel="test accuracy, %", ylim=(best - 8, best + 0.5))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    return figure


def passes(measured: Measured, constants: Mapping[str, float], workload: str, count: int) -> Any:
    """Return a figure of test accuracies against passes, and against predicted seconds on so many machines."""
    figure, (by_passes, by_seconds) = new_figure(2)
    cluster = Cluster(NETWORKS[0], constants)
    for (colour, dashes), way in zip(LINES, ways(measured, workload)):
        accuracies = [100 * accuracy for *_, accuracy in way.points]
        step = way.step(cluster, count)
        by_passes.plot([done for _, done, _ in way.points], accuracies, color=colour, ls=dashes, label=way.name)
        by_seconds.plot([steps * step for steps, *_ in way.points], accuracies, color=colour, ls=dashes)
    low = max(0.0, max(100 * way.best() for way in ways(measured, workload)) - 10)
    by_passes.set(xlabel="passes over the training data", ylabel="test accuracy, %", ylim=(low, None), title=workload)
    by_seconds.set(xlabel="seconds, predicted", xscale="log", ylim=(low, None),
                   title=f"{count} machines, {cluster.network.name}")
    figure.legend(*by_passes.get_legend_handles_labels(), loc="outside right center", frameon=False)
    return figure
