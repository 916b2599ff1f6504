"""The pictures hold what they should: lines, numbers and titles; that they look right was seen by eye."""

import io
from itertools import pairwise

import numpy as np
import pytest
from test_model import small, small_data

from nn import plots
from nn.history import History


def history(epochs, accuracy=0.5, val=True):
    kept = History()
    kept.epochs = [{"epoch": e, "loss": 1 / e, "accuracy": accuracy, "val_loss": 2 / e if val else None,
                    "val_accuracy": accuracy if val else None, "lr": 0.1, "seconds": e, "passes": e}
                   for e in range(1, epochs + 1)]
    return kept


def png(figure):
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()


@pytest.mark.parametrize(("kept", "panels", "lines"), [
    (history(10), 2, 2), (history(1), 2, 2), (history(10, val=False), 2, 1), (history(10, accuracy=None), 1, 2)])
def test_curves(kept, panels, lines):
    figure = plots.curves(kept, "mnist, adam")
    assert len(figure.axes) == panels
    for ax in figure.axes:
        assert len(ax.lines) == lines
        assert ax.get_xlabel() == "epoch"
    np.testing.assert_array_equal(figure.axes[-1].lines[0].get_ydata(), kept.column("loss"))
    assert figure.get_suptitle() == "mnist, adam"
    assert png(figure).startswith(b"\x89PNG")


def test_curves_of_a_fit_that_was_cut_before_its_first_epoch():
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
    assert len(figure.axes[0].lines[0].get_xdata()) == 8  # as far as all seeds go
    assert png(figure).startswith(b"\x89PNG")


def test_a_comparison_of_nothing_is_no_error():
    assert png(plots.compare({"gd": [History()]})).startswith(b"\x89PNG")


def test_confusion_shows_the_counts():
    figure = plots.confusion([0, 0, 1, 2], [0, 1, 1, 2], ["Trouser", "Coat", "Bag"])
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ["1", "1", "1", "1"]
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["Trouser", "Coat", "Bag"]
    assert png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize("count", [1, 7, 25])
def test_worst_begins_with_the_least_sure(count):
    model, (x, y) = small(), small_data()
    p = model.predict(x)
    figure = plots.worst(x, y, p, (2, 3), "abc", count=count)
    shown = [ax for ax in figure.axes if ax.images]
    assert len(shown) == count
    worst = np.argmin(p[np.arange(len(y)), y])
    np.testing.assert_array_equal(shown[0].images[0].get_array().ravel(), x[worst])
    assert png(figure).startswith(b"\x89PNG")
