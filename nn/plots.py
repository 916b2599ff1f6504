"""Pictures of training and of what was learned. Each function returns a matplotlib Figure; save it with savefig.

Colours are Okabe & Ito's (2008), which people with any common kind of colour blindness can tell apart.
"""

from collections.abc import Sequence
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from nn.buffers import Array
from nn.metrics import confusion_matrix
from nn.training import History

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

