"""Figures of training and of predictions. Each function returns a matplotlib Figure; save it with savefig.

The colours are those of Okabe & Ito (2008), which people with any common colour vision deficiency can tell apart.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nn.fields import lookup
from nn.history import History
from nn.labels import check_labels, distinct_labels, indices_of
from nn.metrics import confusion_matrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
# the line styles of a comparison; yellow is left out, because it is hard to see on white
LINES = [(colour, dashes) for dashes in ("-", (0, (4, 1.5)), (0, (1, 1.2))) for colour in COLOURS[:7]]
AXES = {"epoch": "epoch", "seconds": "seconds of training", "passes": "passes over the training data"}


def curves(history: History, title: str = "", validation: str | None = "validation",
           names: Sequence[str] = ("accuracy", "loss")) -> "Figure":
    """Plot accuracy and loss against epochs, of the training data and of the validation data.

    Parameters
    ----------
    history : History
        The history, from `Model.fit`. Without accuracies there is only the panel of the loss; without validation data
        there are only the lines of the training data.
    title : str
        The title; none by default.
    validation : str or None
        What the figure calls the validation data, such as "test"; None to show only the training data.
    names : sequence of str
        The columns of the history to plot, each in a panel with its validation data, if there are some. Columns that
        callbacks have added can be named, too: ``["loss", "f1", "gradient_norm"]``.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    ValueError
        If there is no such column.

    Notes
    -----
    A value of the training data is the mean over the steps of an epoch, each measured before its step. A value of the
    validation data is measured after the epoch, so it can be the better one while training is fast.

    Examples
    --------
    >>> from nn import Dense, MeanSquaredError, Model, plots
    >>> from optimizers import get
    >>> history = Model([Dense(1, 1)], MeanSquaredError()).fit([[1.0]], [2.0], get("gd"), epochs=5, progress=False)
    >>> figure = plots.curves(history, "a line")
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['loss']
    """
    if isinstance(names, str) or not isinstance(history, History):
        raise ValueError("curves takes a History, from Model.fit, and a list of names, such as ['loss']")
    names = [name.removeprefix("val_") for name in names]
    if history and (unknown := [name for name in names if not {name, f"val_{name}"} & set(history.columns)]):
        raise ValueError(f"there is no column {unknown[0]!r} to plot: choose from {', '.join(history.columns)}")
    parts = _parts([history], validation, names)
    panels = {name: lines for name in names
              if (lines := [line for line in zip(parts, COLOURS) if _any_value([history], line[0].prefix + name)])}
    if not panels:
        return _empty(title, "there are no values" if history else "no epoch was completed")
    figure = _figure(5.4 * len(panels), 4.2, title)
    legend: dict[str, Any] = {}
    for ax, (name, lines) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items()):
        for part, colour in lines:
            _plot_mean(ax, part.name + part.measured, [history], "epoch", part.prefix + name, (colour, "-"))
        _label_axes(ax, "epoch", name)
        legend |= {str(line.get_label()): line for line in ax.lines}
    figure.legend(list(legend.values()), list(legend), loc="outside lower center",
                  ncols=2 if len(panels) > 1 else 1, frameon=False)
    return figure


def compare(histories: Mapping[str, History | Sequence[History]], against: str = "epoch", title: str = "",
            validation: str | None = "validation") -> "Figure":
    """Plot accuracy and loss of several trainings, with one line for each name.

    Parameters
    ----------
    histories : mapping
        For each name one History, or several from different seeds. If there are several, the line is their mean, and a
        band shows one standard deviation on each side, limited to the smallest and the largest value. If their lengths
        differ, all are cut to the shortest one with an epoch.
    against : {"epoch", "seconds", "passes"}
        The horizontal axis. A pass costs as much as one gradient of the whole training set.
    title : str
        The title; none by default.
    validation : str or None
        What the figure calls the validation data, such as "test"; None to show only the training data.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, with panels for the training data and, if there are some, for the validation data. Without
        accuracies there are only panels of the loss; a loss that varies by more than a factor of 10 has a logarithmic
        axis. Beside each panel are the last values of the lines, in the order in which the lines end.

    Raises
    ------
    ValueError
        If `against` is something else.

    Notes
    -----
    A value of the training data is the mean over the steps of an epoch, each measured before its step. A value of the
    validation data is measured after the epoch, so it can be the better one while training is fast.

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
    if isinstance(histories, History):
        raise ValueError("compare takes a dict of a History for each name: for one History write curves(history)")
    lists = {name: [entry] if isinstance(entry, History) else entry for name, entry in histories.items()}
    every = [history for entries in lists.values() for history in entries]
    panels = list(product(_metrics(every), _parts(every, validation)))
    if not panels:
        return _empty(title)
    columns = min(2, len(panels))
    rows = len(panels) // columns
    width = 5.9 + 0.08 * max(len(str(name)) for name in lists)
    figure = _figure(width * columns, max(3.6, 0.2 * len(lists) + 0.8) * rows, title)
    for ax, (metric, part) in zip(figure.subplots(rows, columns, squeeze=False).flat, panels):
        for i, (name, entries) in enumerate(lists.items()):
            _plot_mean(ax, name, entries, against, part.prefix + metric, LINES[i % len(LINES)])
        _label_axes(ax, against, metric)
        ax.set_title(f"{part.name} {metric}{part.measured}", fontsize=10)
        _rank_lines(ax, metric)
    return figure


def _figure(width: float, height: float, title: str = "") -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    if title:
        figure.suptitle(title, parse_math=False)
    return figure


def _empty(title: str, text: str = "no epoch was completed") -> "Figure":
    figure = _figure(5, 3.8, title)
    figure.text(0.5, 0.5, text, ha="center", va="center")
    return figure


class _Part(NamedTuple):
    """A part of the data: the prefix of its keys in a history, its name, and how its values are measured."""

    prefix: str
    name: str
    measured: str


def _parts(histories: Sequence[History], validation: str | None, names: Sequence[str] = ("loss",)) -> list[_Part]:
    """Return the training data and, if there are values of them, the validation data."""
    if validation is None or not any(_any_value(histories, f"val_{name}") for name in names):
        return [_Part("", "training", "")]
    return [_Part("", "training", ": mean over each epoch, before each step"),
            _Part("val_", validation, ": after each epoch")]


def _metrics(histories: Sequence[History]) -> list[str]:
    return [metric for metric in ("accuracy", "loss") if _any_value(histories, metric)]


def _any_value(histories: Sequence[History], key: str) -> bool:
    return any(value is not None for history in histories if key in history.columns for value in history[key])


def _plot_mean(ax: "Axes", name: str, histories: Sequence[History], against: str, key: str,
               style: tuple[str, Any]) -> None:
    """Plot the mean of several histories, with a band. Values that are None, NaN or infinite are not drawn."""
    histories = [history for history in histories if history]  # a run may have ended within its first epoch
    length, (colour, dashes) = min(map(len, histories), default=0), style
    y = np.array([history[key][:length] for history in histories], dtype=float)  # None becomes NaN
    y[np.isinf(y)] = np.nan
    if not (length and np.isfinite(y.mean(axis=0)).any()):
        return
    x = np.mean([history[against][:length] for history in histories], axis=0)
    mean, spread = y.mean(axis=0), y.std(axis=0)
    ax.plot(x, mean, color=colour, linestyle=dashes, linewidth=1.6, label=name, marker="o" if length < 3 else None)
    if len(histories) > 1:
        low, high = np.maximum(mean - spread, y.min(axis=0)), np.minimum(mean + spread, y.max(axis=0))
        ax.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)


def _label_axes(ax: "Axes", against: str, metric: str) -> None:
    ax.set(xlabel=AXES[against], ylabel=metric)
    ax.locator_params(axis="x", integer=against == "epoch")
    if metric == "accuracy":
        ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    ax.grid(alpha=0.3)


def _rank_lines(ax: "Axes", metric: str) -> None:
    """Scale the axes to the lines, and write the last value of each line beside them, in the order of these values."""
    ax.set_xlim(left=0)
    ends = [(_finite(line)[-1], line) for line in ax.lines]
    if not ends:
        return
    ends.sort(key=lambda end: end[0], reverse=True)
    if metric == "accuracy":
        lowest = ends[-1][0]  # the axes show where the lines end; many begin far below
        ax.set_ylim(max(0, lowest - 0.25 * (1.02 - lowest) - 0.05), 1.005)
    else:
        _scale_loss(ax)
    texts = [f"{line.get_label()}  " + (f"{100 * value:.2f} %" if metric == "accuracy" else f"{value:.3g}")
             for value, line in ends]
    ax.legend([line for _, line in ends], texts, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8.5,
              labelspacing=0.3, frameon=False)


def _finite(line: "Line2D") -> np.ndarray:
    """Return the values of a line that are drawn."""
    values = np.asarray(line.get_ydata(), dtype=float)
    finite: np.ndarray = values[np.isfinite(values)]
    return finite


def _scale_loss(ax: "Axes") -> None:
    """Use a logarithmic scale if the values differ much, with labels also at 2 and 5 if there are few powers of ten."""
    values = np.concatenate([_finite(line) for line in ax.lines])
    positive = values[values > 0]  # 0 has no place on a logarithmic scale; a user's own loss may be negative
    if values.min() < 0 or not positive.size or positive.max() < 10 * positive.min():
        return
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    minor_digits = "25" if math.log10(high / low) < 2.5 else ()
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in minor_digits else "")


def confusion(y_true: ArrayLike, y_pred: ArrayLike, classes: Iterable[Any] | None = None, title: str = "") -> "Figure":
    """Plot the confusion matrix as a heat map.

    Parameters
    ----------
    y_true : array_like of shape (N,)
        The true labels: integers, texts or bools.
    y_pred : array_like of shape (N,)
        The predicted labels, as `Model.predict_classes` returns them.
    classes : sequence, optional
        The label of each class, such as `Model.classes`, or the names of the classes if labels are 0 to K - 1. By
        default as for `confusion_matrix`.
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
        If they are not labels (N,), or not of these classes.

    Examples
    --------
    >>> from nn import plots
    >>> figure = plots.confusion([0, 0, 1], [0, 1, 1], ["cat", "dog"])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['1', '1', '1']
    """
    labels_of_classes = distinct_labels(y_true, y_pred) if classes is None else _sequence(classes)
    counts, names = confusion_matrix(y_true, y_pred, labels_of_classes), list(map(str, labels_of_classes))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(4.5, 0.55 * len(names) + 1.5)
    figure = _figure(side + 0.6, side)
    ax = figure.subplots()
    ax.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(names))
    rotation = 45 if max(map(len, names)) > 3 else 0
    ax.set_xticks(ticks, names, rotation=rotation, ha="right" if rotation else "center", parse_math=False)
    ax.set_yticks(ticks, names, parse_math=False)
    ax.set(xlabel="predicted", ylabel="true")
    ax.set_title(title, parse_math=False)
    for i in ticks:
        for j in ticks:
            if counts[i, j]:
                ax.text(j, i, counts[i, j], ha="center", va="center", fontsize=8,
                        color="white" if shares[i, j] > 0.4 else "black")
    return figure


def _sequence(classes: Iterable[Any]) -> list[Any]:
    """Return the classes as a list. Raises ValueError if they are not a sequence, such as their number."""
    try:
        return list(classes)
    except TypeError:
        raise ValueError(f"classes must be a sequence with the name of each class, not {classes!r}") from None


def worst(x: ArrayLike, y_true: ArrayLike, probabilities: ArrayLike, image_shape: tuple[int, int],
          classes: Iterable[Any] | None = None, count: int = 25) -> "Figure":
    """Show the images whose true class has the smallest predicted probability.

    Parameters
    ----------
    x : array_like of shape (N, h * w)
        The images, a row for each.
    y_true : array_like of shape (N,)
        The true labels: integers, texts or bools.
    probabilities : array_like of shape (N, K)
        The probabilities, from `Model.predict`.
    image_shape : tuple of int
        (h, w): height and width in pixels.
    classes : sequence, optional
        The label of each class, or the names of the classes if labels are 0 to K - 1. By default 0 to K - 1.
    count : int
        The largest number of images to show.

    Returns
    -------
    matplotlib.figure.Figure
        The figure: the smallest probability first.

    Raises
    ------
    ValueError
        If the shapes do not fit, or the labels are not (N,), such as one-hot rows, or not of these classes.

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
    classes = range(p.shape[-1]) if classes is None else _sequence(classes)
    names = list(map(str, classes))
    true = _check_images(images, indices_of(check_labels("y_true", y_true), classes), p, image_shape, len(names))
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
        result = "correct" if predicted == true[row] else f"predicted: {names[predicted]}"
        ax.set_title(f"{names[true[row]]}, {result}\n({p[row, predicted]:.0%})", fontsize=8, parse_math=False)
    figure.suptitle(f"Smallest probability{chr(10) if columns == 1 else ' '}of the true class", fontsize=10)
    return figure


def _check_images(x: np.ndarray, true: np.ndarray, p: np.ndarray, image_shape: tuple[int, int],
                  K: int) -> np.ndarray:
    """Return the true labels (N,). Raises ValueError if the arguments of `worst` do not fit together."""
    N, pixels = len(true), math.prod(image_shape)
    for name, array, shape in (("x", x, (N, pixels)), ("probabilities", p, (N, K))):
        if array.shape != shape:
            raise ValueError(f"{name} has shape {array.shape}, but {N} labels, {K} classes and images of {image_shape} "
                             f"need {shape}")
    if N and not (true.min() >= 0 and true.max() < K):
        raise ValueError(f"y_true reaches from {true.min()} to {true.max()}, but there are {K} classes: labels must be "
                         f"0 to {K - 1}")
    return true
