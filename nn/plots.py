"""Pictures of training and of what was learned. Each function returns a matplotlib Figure; save it with savefig.

Colours are Okabe & Ito's (2008), which people with any common kind of colour blindness can tell apart.
"""

from collections.abc import Mapping, Sequence
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from nn.buffers import Array
from nn.history import History
from nn.metrics import confusion_matrix

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def curves(history: History, title: str = "") -> "Figure":
    """Accuracy and loss against epochs, of the training data and, where there are any, of the validation data."""
    panels = [name for name in ("accuracy", "loss") if any(value is not None for value in history.column(name))]
    figure = _figure(5 * max(1, len(panels)), 3.8)
    axes = figure.subplots(1, max(1, len(panels)), squeeze=False)[0]
    for ax, name in zip(axes, panels):
        for colour, key, label in ((COLOURS[0], name, "training"), (COLOURS[1], f"val_{name}", "test")):
            points = [(epoch["epoch"], epoch[key]) for epoch in history.epochs if epoch[key] is not None]
            if points:
                marker = "o" if len(points) < 3 else None
                ax.plot(*zip(*points), color=colour, label=label, marker=marker)
        ax.set(xlabel="epoch", ylabel=name)
        if name == "accuracy":
            ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.grid(alpha=0.3)
        ax.legend(frameon=False)
    if not panels:
        axes[0].set_axis_off()
        axes[0].text(0.5, 0.5, "no epoch was completed", ha="center", va="center")
    if title:
        figure.suptitle(title)
    return figure


# how the lines of a comparison are told apart, without the yellow, which is faint on white
LINES = [(colour, dashes) for dashes in ("-", (0, (4, 1.5)), (0, (1, 1.2))) for colour in COLOURS[:7]]
AXES = {"epoch": "epoch", "seconds": "seconds of training", "passes": "passes over the training data"}


def compare(histories: Mapping[str, Sequence[History]], against: str = "epoch", title: str = "") -> "Figure":
    """Accuracy and cost of the training data against "epoch", "seconds" or "passes", a line for each name.

    histories: for each name one History or several, of several seeds: the line is their mean, a band one standard
    deviation to each side, and no further than the seeds themselves. Histories that were cut short count as far as all
    of a name go.
    """
    figure = _figure(12, 5.2)
    for ax, key in zip(figure.subplots(1, 2), ("accuracy", "loss")):
        ends = []
        for i, (name, several) in enumerate(histories.items()):
            several = [several] if isinstance(several, History) else several
            length = min(len(history.epochs) for history in several)
            if not length:
                continue
            x = np.mean([history.column(against)[:length] for history in several], axis=0)
            y = np.array([history.column(key)[:length] for history in several])
            mean, spread = y.mean(axis=0), y.std(axis=0)
            colour, dashes = LINES[i % len(LINES)]
            ax.plot(x, mean, color=colour, linestyle=dashes, linewidth=1.6, label=name)
            if len(several) > 1:
                low, high = np.maximum(mean - spread, y.min(axis=0)), np.minimum(mean + spread, y.max(axis=0))
                ax.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
            ends.append((name, colour, x[-1], mean[-1]))
        ax.set(xlabel=AXES[against], ylabel="cost" if key == "loss" else key)
        ax.xaxis.get_major_locator().set_params(integer=against == "epoch")
        ax.grid(alpha=0.3)
        if not ends:
            continue
        if key == "accuracy":
            ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
            worst_end = min(end[3] for end in ends)
            ax.set_ylim(max(0, worst_end - 0.25 * (1.02 - worst_end) - 0.05), 1.005)
        else:
            ax.set_yscale("log")
            low, high = ax.get_ylim()
            ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            # where there are few decades, labels at these alone would say little
            between = "25" if math.log10(high / low) < 2.5 else ()
            ax.yaxis.set_minor_formatter(lambda value, _, between=between:
                                         f"{value:g}" if f"{value:e}"[0] in between else "")
        _label_ends(ax, ends)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", frameon=False,
                  ncols=math.ceil(len(histories) / math.ceil(len(histories) / 8)))
    if title:
        figure.suptitle(title)
    return figure


def _label_ends(ax: Any, ends: Sequence[tuple[str, str, float, float]], gap: float = 0.045) -> None:
    """Write each line's name beside the axes, at the height where the line ends, spread apart where ends are close:
    (name, colour, x, y) each.
    """
    low, high = ax.get_ylim()
    ax.set_xlim(0, max(end[2] for end in ends))

    def height(y: float) -> float:
        """Where y is between the foot of the axes, 0, and their top, 1."""
        if ax.get_yscale() == "log":
            low_, high_, y = math.log(low), math.log(high), math.log(max(y, 1e-300))
            return (y - low_) / (high_ - low_)
        return (y - low) / (high - low)

    ends = sorted(ends, key=lambda end: end[3])
    places = [min(max(height(end[3]), 0), 1) for end in ends]
    for _ in range(200):  # push neighbours apart until all have room
        for i in range(len(places) - 1):
            if (overlap := gap - (places[i + 1] - places[i])) > 1e-6:
                places[i], places[i + 1] = places[i] - overlap / 2, places[i + 1] + overlap / 2
        places = [min(max(place, 0.02 + gap * i), 1.02 - gap * (len(places) - 1 - i)) for i, place in enumerate(places)]
    for (name, colour, x, y), place in zip(ends, places):
        ax.annotate(name, (x, y), (1.03, place), textcoords="axes fraction", color=colour, fontsize=9, va="center",
                    annotation_clip=False,
                    arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.5, "alpha": 0.6, "relpos": (0, 0.5)})


def confusion(y_true: Any, y_pred: Any, classes: Sequence[str], title: str = "") -> "Figure":
    """The confusion matrix as a heat map: rows are the true classes, columns the predicted, numbers are counts.

    Colours show each row's shares, on a scale by square roots, so that a few mistakes among many right answers show.
    """
    counts = confusion_matrix(y_true, y_pred, len(classes))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(4.5, 0.55 * len(classes) + 1.5)
    figure = _figure(side + 0.6, side)
    ax = figure.subplots()
    ax.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(classes))
    turned = 45 if max(map(len, classes)) > 3 else 0
    ax.set_xticks(ticks, classes, rotation=turned, ha="right" if turned else "center")
    ax.set_yticks(ticks, classes)
    ax.set(xlabel="predicted", ylabel="true", title=title)
    for i in ticks:
        for j in ticks:
            if counts[i, j]:
                ax.text(j, i, counts[i, j], ha="center", va="center", fontsize=8,
                        color="white" if shares[i, j] > 0.4 else "black")
    return figure


def worst(x: Array, y_true: Any, probabilities: Array, image_shape: tuple[int, int], classes: Sequence[str],
          count: int = 25) -> "Figure":
    """The `count` images to whose true class the model gave the least probability, worst first.

    x: (N, h * w); probabilities: (N, K), as model.predict gives them; image_shape: (h, w).
    """
    y_true = np.asarray(y_true)
    given = probabilities[np.arange(len(y_true)), y_true]
    rows = np.argsort(given, kind="stable")[:count]
    columns = max(1, math.ceil(math.sqrt(len(rows))))
    lines = max(1, math.ceil(len(rows) / columns))
    figure = _figure(1.5 * columns, 1.75 * lines + 0.4)
    for ax in figure.subplots(lines, columns, squeeze=False).flat:
        ax.set_axis_off()
    for ax, row in zip(figure.axes, rows):
        guess = int(np.argmax(probabilities[row]))
        ax.imshow(x[row].reshape(image_shape), cmap="gray_r")
        ax.set_title(f"{classes[y_true[row]]}, taken for {classes[guess]}\n({probabilities[row, guess]:.0%})"
                     if guess != y_true[row] else f"{classes[guess]}, right\n({given[row]:.0%})", fontsize=8)
    figure.suptitle("Least sure of the true class", fontsize=10)
    return figure

