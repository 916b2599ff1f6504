"""The figures contain the expected lines, numbers and titles. Their appearance was checked by eye."""

import io
from itertools import pairwise

import numpy as np
import pytest
from test_model import small, small_data

from nn import plots
from nn.history import History

X, Y = small_data()
P = small().predict(X)


def history(epochs, accuracy=0.5, val=True):
    result = History()
    result.epochs = [{"epoch": e, "loss": 1 / e, "accuracy": accuracy, "val_loss": 2 / e if val else None,
                      "val_accuracy": accuracy if val else None, "lr": 0.1, "seconds": e, "passes": e}
                     for e in range(1, epochs + 1)]
    return result


def png(figure):
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


@pytest.mark.parametrize(("curve", "panels", "lines"), [
    (history(10), 2, 2), (history(1), 2, 2), (history(10, val=False), 2, 1), (history(10, accuracy=None), 1, 2)])
def test_curves(curve, panels, lines):
    figure = plots.curves(curve, "mnist, adam")
    assert len(figure.axes) == panels
    for ax in figure.axes:
        assert len(ax.lines) == lines
        assert ax.get_xlabel() == "epoch"
    np.testing.assert_array_equal(figure.axes[-1].lines[0].get_ydata(), curve.column("loss"))
    assert figure.get_suptitle() == "mnist, adam"
    assert png(figure).startswith(b"\x89PNG")


def test_a_loss_of_zero_can_be_drawn_beside_others():
    finished = history(3)
    finished.epochs[-1]["loss"] = 0.0
    figure = plots.compare({"gd": [history(3)], "adam": [finished]}, "epoch", "t")
    assert png(figure).startswith(b"\x89PNG")  # matplotlib would warn that there is no place for the axes
    assert plots.compare({"adam": [finished]}, "epoch", "t")


def test_curves_of_a_fit_without_a_complete_epoch():
    assert png(plots.curves(History())).startswith(b"\x89PNG")


@pytest.mark.parametrize("against", ["epoch", "seconds", "passes"])
def test_a_comparison_has_a_line_a_band_and_a_label_for_each_name(against):
    names = [f"rule {i}" for i in range(13)]
    figure = plots.compare({name: [history(10 + i, 0.9), history(8, 0.5)] for i, name in enumerate(names)}, against)
    for ax in figure.axes:
        assert [line.get_label() for line in ax.lines] == names
        assert len({(line.get_color(), line.get_linestyle()) for line in ax.lines}) >= 8
        assert len(ax.collections) == 13
        assert sorted(text.get_text() for text in ax.texts) == sorted(names)
        heights = sorted(text.xyann[1] for text in ax.texts)
        assert min(b - a for a, b in pairwise(heights)) > 0.035  # no label covers another
    assert figure.axes[0].lines[0].get_ydata()[0] == pytest.approx(0.7)
    assert len(figure.axes[0].lines[0].get_xdata()) == 8  # the length of the shortest history
    assert png(figure).startswith(b"\x89PNG")


def test_a_comparison_of_regressions_has_no_accuracy():
    figure = plots.compare({"gd": history(5, accuracy=None), "adam": [history(3, accuracy=None)]}, "seconds")
    assert [ax.get_ylabel() for ax in figure.axes] == ["cost"]
    assert [len(line.get_xdata()) for line in figure.axes[0].lines] == [5, 3]
    assert png(figure).startswith(b"\x89PNG")


def test_an_unknown_axis_is_named():
    with pytest.raises(ValueError, match=r"unknown horizontal axis 'steps': .*choose from epoch, seconds, passes"):
        plots.compare({"gd": history(3)}, "steps")


def test_a_comparison_without_epochs_is_a_figure():
    assert png(plots.compare({"gd": [History()]})).startswith(b"\x89PNG")


def test_confusion_shows_the_counts():
    figure = plots.confusion([0, 0, 1, 2], [0, 1, 1, 2], ["Trouser", "Coat", "Bag"])
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ["1", "1", "1", "1"]
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["Trouser", "Coat", "Bag"]
    assert png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize("count", [1, 7, 25])
def test_worst_starts_with_the_smallest_probability(count):
    model, (x, y) = small(), small_data()
    p = model.predict(x)
    figure = plots.worst(x, y, p, (2, 3), "abc", count=count)
    shown = [ax for ax in figure.axes if ax.images]
    assert len(shown) == count
    worst = np.argmin(p[np.arange(len(y)), y])
    np.testing.assert_array_equal(shown[0].images[0].get_array().ravel(), x[worst])
    assert png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize(("x", "y", "p", "message"), [
    (X, np.eye(3)[Y], P, r"y_true has shape \(40, 3\), but must be labels \(N,\): for one-hot rows or rows of "
                         r"probabilities give y_true\.argmax\(axis=1\)"),
    (X, Y.astype(float), P, "y_true holds float64, not integer labels"),
    (X, Y + 1, P, "y_true reaches from 1 to 3, but there are 3 classes: labels must be 0 to 2"),
    (X[:7], Y, P, r"x has shape \(7, 6\), but 40 labels, 3 classes and images of \(2, 3\) need \(40, 6\)"),
    (X, Y, P[:, :2], r"probabilities has shape \(40, 2\)"),
])
def test_arguments_of_worst_that_do_not_fit_are_named(x, y, p, message):
    with pytest.raises(ValueError, match=message) as caught:
        plots.worst(x, y, p, (2, 3), "abc")
    assert "\n" not in str(caught.value)
