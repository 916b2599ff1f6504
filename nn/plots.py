"""Figures of training and of predictions. Each function returns a matplotlib Figure; save it with savefig.

The colours are those of Okabe & Ito (2008), which people with any common colour vision deficiency can tell apart.
"""

from collections.abc import Mapping, Sequence
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nn.fields import lookup
from nn.history import History
from nn.metrics import confusion_matrix, labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
# the line styles of a comparison; yellow is left out, because it is hard to see on white
LINES = [(colour, dashes) for dashes in ("-", (0, (4, 1.5)), (0, (1, 1.2))) for colour in COLOURS[:7]]
AXES = {"epoch": "epoch", "seconds": "seconds of training", "passes": "passes over the training data"}


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def curves(history: History, title: str = "") -> "Figure":
    """Plot accuracy and loss against epochs, of the training data and of the validation data.

    Parameters
    ----------
    history : History
        The history, from `Model.fit`. Without accuracies there is only the panel of the loss; without validation data
        there are only the lines of the training data.
    title : str
        The title; none by default.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Examples
    --------
    >>> from nn import Dense, MeanSquaredError, Model, plots
    >>> from optimizers import get
    >>> history = Model([Dense(1, 1)], MeanSquaredError()).fit([[1.0]], [2.0], get("gd"), epochs=5, progress=False)
    >>> figure = plots.curves(history, "a line")
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['loss']
    """
    panels = [name for name in ("accuracy", "loss") if any(value is not None for value in history[name])]
    figure = _figure(5 * max(1, len(panels)), 3.8)
    axes = figure.subplots(1, max(1, len(panels)), squeeze=False)[0]
    for ax, name in zip(axes, panels):
        for colour, key, label in ((COLOURS[0], name, "training"), (COLOURS[1], f"val_{name}", "test")):
            points = [(epoch, value) for epoch, value in zip(history["epoch"], history[key]) if value is not None]
            if points:
                marker = "o" if len(points) < 3 else None
                ax.plot(*zip(*points), color=colour, label=label, marker=marker)
        ax.set(xlabel="epoch", ylabel=name)
        if name == "accuracy":
            _show_percent(ax)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.grid(alpha=0.3)
        ax.legend(frameon=False)
    if not panels:
        axes[0].set_axis_off()
        axes[0].text(0.5, 0.5, "no epoch was completed", ha="center", va="center")
    if title:
        figure.suptitle(title)
    return figure


class _End(NamedTuple):
    """The last point of a line."""

    name: str
    colour: str
    x: float
    y: float


def compare(histories: Mapping[str, History | Sequence[History]], against: str = "epoch", title: str = "") -> "Figure":
    """Plot accuracy and loss of the training data of several trainings, one line for each name.

    Parameters
    ----------
    histories : mapping
        For each name one History, or several from different seeds. If there are several, the line is their mean, and a
        band shows one standard deviation on each side, limited to the smallest and the largest value. If their lengths
        differ, all are cut to the shortest.
    against : {"epoch", "seconds", "passes"}
        The horizontal axis. A pass costs as much as one gradient of the whole training set.
    title : str
        The title; none by default.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, with a logarithmic axis for the loss. Without accuracies there is only the panel of the loss.

    Raises
    ------
    ValueError
        If `against` is something else.

    Examples
    --------
    >>> from nn import Dense, MeanSquaredError, Model, plots
    >>> from optimizers import get
    >>> histories = {}
    >>> for name in ("gd", "adam"):
    ...     model = Model([Dense(1, 1)], MeanSquaredError())
    ...     histories[name] = model.fit([[1.0]], [2.0], get(name), epochs=5, progress=False)
    >>> figure = plots.compare(histories, against="passes")
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['gd', 'adam']
    """
    lookup("horizontal axis", against, AXES)
    lists = {name: [entry] if isinstance(entry, History) else entry for name, entry in histories.items()}
    classifies = all(None not in history["accuracy"] for entries in lists.values() for history in entries)
    panels = ("accuracy", "loss") if classifies else ("loss",)
    figure = _figure(6 * len(panels), 5.2)
    for ax, key in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels):
        ends = []
        for i, (name, entries) in enumerate(lists.items()):
            end = _plot_mean(ax, name, entries, against, key, LINES[i % len(LINES)])
            if end is not None:
                ends.append(end)
        ax.set(xlabel=AXES[against], ylabel="cost" if key == "loss" else key)
        ax.xaxis.get_major_locator().set_params(integer=against == "epoch")
        ax.grid(alpha=0.3)
        if ends:
            (_scale_accuracy if key == "accuracy" else _scale_loss)(ax, ends)
            _label_ends(ax, ends)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", frameon=False,
                  ncols=math.ceil(len(histories) / math.ceil(len(histories) / 8)))
    if title:
        figure.suptitle(title)
    return figure


def _plot_mean(ax: "Axes", name: str, histories: Sequence[History], against: str, key: str,
               style: tuple[str, Any]) -> _End | None:
    """Plot the mean of several histories, with a band. Return the end of the line, or None if there is no epoch."""
    length, (colour, dashes) = min(len(history) for history in histories), style
    if not length:
        return None
    x = np.mean([history[against][:length] for history in histories], axis=0)
    y = np.array([history[key][:length] for history in histories])
    mean, spread = y.mean(axis=0), y.std(axis=0)
    ax.plot(x, mean, color=colour, linestyle=dashes, linewidth=1.6, label=name)
    if len(histories) > 1:
        low, high = np.maximum(mean - spread, y.min(axis=0)), np.minimum(mean + spread, y.max(axis=0))
        ax.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
    return _End(name, colour, x[-1], mean[-1])


def _show_percent(ax: "Axes") -> None:
    ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")


def _scale_accuracy(ax: "Axes", ends: Sequence[_End]) -> None:
    """Show the upper part of the axes, which contains the ends of the lines."""
    _show_percent(ax)
    lowest = min(end.y for end in ends)
    ax.set_ylim(max(0, lowest - 0.25 * (1.02 - lowest) - 0.05), 1.005)


def _scale_loss(ax: "Axes", ends: Sequence[_End]) -> None:
    """Use a logarithmic scale, with labels also at 2 and 5 if there are few powers of ten."""
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    minor_digits = "25" if math.log10(high / low) < 2.5 else ()
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in minor_digits else "")


def _label_ends(ax: "Axes", ends: Sequence[_End], gap: float = 0.045) -> None:
    """Write the name of each line beside the axes, at the height where the line ends, without overlaps."""
    ax.set_xlim(0, max(end.x for end in ends))
    lowest = ax.get_ylim()[0]  # a loss of 0 has no place on a logarithmic scale
    ends = sorted((end._replace(y=max(end.y, lowest)) for end in ends), key=lambda end: end.y)
    heights = [min(max(_relative_height(ax, end.y), 0.0), 1.0) for end in ends]
    last = len(heights) - 1
    for _ in range(200):  # move neighbours apart until no names overlap
        for i in range(last):
            if (overlap := gap - (heights[i + 1] - heights[i])) > 1e-6:
                heights[i], heights[i + 1] = heights[i] - overlap / 2, heights[i + 1] + overlap / 2
        heights = [min(max(height, 0.02 + gap * i), 1.02 - gap * (last - i)) for i, height in enumerate(heights)]
    for end, height in zip(ends, heights):
        ax.annotate(end.name, (end.x, end.y), (1.03, height), textcoords="axes fraction", color=end.colour, fontsize=9,
                    va="center", annotation_clip=False,
                    arrowprops={"arrowstyle": "-", "color": end.colour, "lw": 0.5, "alpha": 0.6, "relpos": (0, 0.5)})


def _relative_height(ax: "Axes", y: float) -> float:
    """Return the height of y: 0 at the bottom of the axes, 1 at the top."""
    low, high = ax.get_ylim()
    if ax.get_yscale() == "log":
        low, high, y = math.log(low), math.log(high), math.log(max(y, 1e-300))
    return (y - float(low)) / float(high - low)


def confusion(y_true: ArrayLike, y_pred: ArrayLike, classes: Sequence[str], title: str = "") -> "Figure":
    """Plot the confusion matrix as a heat map.

    Parameters
    ----------
    y_true : array_like of int, shape (N,)
        The true labels, from 0 to K - 1.
    y_pred : array_like of int, shape (N,)
        The predicted labels, as `Model.predict_classes` returns them.
    classes : sequence of str
        The K names of the classes.
    title : str
        The title; none by default.

    Returns
    -------
    matplotlib.figure.Figure
        The figure: rows are the true classes, columns the predicted ones, numbers are counts. The colour shows the
        share of the row, on a square root scale, so that few errors among many correct predictions are visible.

    Raises
    ------
    ValueError
        If the labels are not integers (N,), or out of range.

    Examples
    --------
    >>> from nn import plots
    >>> figure = plots.confusion([0, 0, 1], [0, 1, 1], ["cat", "dog"])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['1', '1', '1']
    """
    counts = confusion_matrix(y_true, y_pred, len(classes))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(4.5, 0.55 * len(classes) + 1.5)
    figure = _figure(side + 0.6, side)
    ax = figure.subplots()
    ax.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(classes))
    rotation = 45 if max(map(len, classes)) > 3 else 0
    ax.set_xticks(ticks, classes, rotation=rotation, ha="right" if rotation else "center")
    ax.set_yticks(ticks, classes)
    ax.set(xlabel="predicted", ylabel="true", title=title)
    for i in ticks:
        for j in ticks:
            if counts[i, j]:
                ax.text(j, i, counts[i, j], ha="center", va="center", fontsize=8,
                        color="white" if shares[i, j] > 0.4 else "black")
    return figure


def worst(x: ArrayLike, y_true: ArrayLike, probabilities: ArrayLike, image_shape: tuple[int, int],
          classes: Sequence[str], count: int = 25) -> "Figure":
    """Show the images whose true class has the smallest predicted probability.

    Parameters
    ----------
    x : array_like of shape (N, h * w)
        The images, a row for each.
    y_true : array_like of int, shape (N,)
        The true labels, from 0 to K - 1.
    probabilities : array_like of shape (N, K)
        The probabilities, from `Model.predict`.
    image_shape : tuple of int
        (h, w): height and width in pixels.
    classes : sequence of str
        The K names of the classes.
    count : int
        The largest number of images to show.

    Returns
    -------
    matplotlib.figure.Figure
        The figure: the smallest probability first.

    Raises
    ------
    ValueError
        If the shapes do not fit, or the labels are not integers (N,), such as one-hot rows.

    Examples
    --------
    >>> from nn import plots
    >>> x, p = [[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]]
    >>> figure = plots.worst(x, [0, 1, 1], p, image_shape=(1, 2), classes=["left", "right"], count=1)
    >>> print(figure.axes[0].get_title())
    right, predicted: left
    (80%)
    """
    images, p = np.asarray(x), np.asarray(probabilities)
    true = _check_images(images, y_true, p, image_shape, classes)
    p_true = p[np.arange(len(true)), true]
    rows = np.argsort(p_true, kind="stable")[:count]
    columns = max(1, math.ceil(math.sqrt(len(rows))))
    lines = max(1, math.ceil(len(rows) / columns))
    figure = _figure(1.5 * columns, 1.75 * lines + 0.4)
    for ax in figure.subplots(lines, columns, squeeze=False).flat:
        ax.set_axis_off()
    for ax, row in zip(figure.axes, rows):
        predicted = int(np.argmax(p[row]))
        ax.imshow(images[row].reshape(image_shape), cmap="gray_r")
        result = "correct" if predicted == true[row] else f"predicted: {classes[predicted]}"
        ax.set_title(f"{classes[true[row]]}, {result}\n({p[row, predicted]:.0%})", fontsize=8)
    figure.suptitle("Smallest probability of the true class", fontsize=10)
    return figure


def _check_images(x: np.ndarray, y_true: ArrayLike, p: np.ndarray, image_shape: tuple[int, int],
                  classes: Sequence[str]) -> np.ndarray:
    """Return the true labels (N,). Raises ValueError if the arguments of `worst` do not fit together."""
    true = labels("y_true", y_true)
    N, K, pixels = len(true), len(classes), math.prod(image_shape)
    for name, array, shape in (("x", x, (N, pixels)), ("probabilities", p, (N, K))):
        if array.shape != shape:
            raise ValueError(f"{name} has shape {array.shape}, but {N} labels, {K} classes and images of {image_shape} "
                             f"need {shape}")
    if N and not (true.min() >= 0 and true.max() < K):
        raise ValueError(f"y_true reaches from {true.min()} to {true.max()}, but there are {K} classes: labels must be "
                         f"0 to {K - 1}")
    return true
