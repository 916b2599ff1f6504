"""The figures contain the expected lines, numbers and titles. Their appearance was checked by eye."""

import io
from itertools import combinations

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


def test_curves_say_how_the_values_were_measured():
    def legend(*arguments):
        return [text.get_text() for text in plots.curves(*arguments).legends[0].texts]

    training = "training: mean over each epoch, before each step"
    assert legend(history(9)) == [training, "validation: after each epoch"]
    assert legend(history(9), "", "test") == [training, "test: after each epoch"]
    assert legend(history(9, val=False)) == legend(history(9), "", None) == ["training"]


@pytest.mark.parametrize("against", [
    "seconds", *(pytest.param(axis, marks=pytest.mark.slow) for axis in ("epoch", "passes"))])
def test_a_comparison_has_a_line_a_band_and_a_label_for_each_name(against):
    names = [f"rule {i}" for i in range(13)]
    figure = plots.compare({name: [history(10 + i, 0.9), history(8, 0.5)] for i, name in enumerate(names)}, against)
    assert len(figure.axes) == 4
    for ax in figure.axes:
        assert [line.get_label() for line in ax.lines] == names
        assert len({(line.get_color(), str(line._dash_pattern)) for line in ax.lines}) == 13
        assert len(ax.collections) == 13
        assert sorted(text.get_text().split("  ")[0] for text in ax.get_legend().texts) == sorted(names)
    assert figure.axes[0].lines[0].get_ydata()[0] == pytest.approx(0.7)
    assert len(figure.axes[0].lines[0].get_xdata()) == 8  # the length of the shortest history
    figure.draw_without_rendering()


def drawn(figure):
    """Return the title, and the name and the values of each line, of each panel."""
    return {ax.get_title(): {line.get_label(): line.get_ydata().tolist() for line in ax.lines} for ax in figure.axes}


def legends(figure):
    """Return the texts of the legend of each panel."""
    return [[text.get_text() for text in ax.get_legend().texts] for ax in figure.axes]


def test_a_comparison_shows_both_parts_of_the_data_and_says_how_they_were_measured():
    figure = plots.compare({"gd": history(2, 0.25), "adam": history(2, 0.75)}, validation="test")
    assert drawn(figure) == {
        "training accuracy: mean over each epoch, before each step": {"gd": [0.25, 0.25], "adam": [0.75, 0.75]},
        "test accuracy: after each epoch": {"gd": [0.25, 0.25], "adam": [0.75, 0.75]},
        "training loss: mean over each epoch, before each step": {"gd": [1.0, 0.5], "adam": [1.0, 0.5]},
        "test loss: after each epoch": {"gd": [2.0, 1.0], "adam": [2.0, 1.0]}}
    assert "validation loss: after each epoch" in drawn(plots.compare({"gd": history(2)}))
    for training in (plots.compare({"gd": history(2, val=False)}), plots.compare({"gd": history(2)}, validation=None)):
        assert list(drawn(training)) == ["training accuracy", "training loss"]
    only = drawn(plots.compare({"gd": history(2, val=False), "adam": history(2)}))
    assert [list(lines) for lines in only.values()] == [["gd", "adam"], ["adam"], ["gd", "adam"], ["adam"]]


def test_the_legend_has_the_last_values_in_the_order_in_which_the_lines_end():
    figure = plots.compare({"gd": history(2, 0.25), "adam": history(4, 0.75), "cg": history(3, 0.5)})
    accuracies = ["adam  75.00 %", "cg  50.00 %", "gd  25.00 %"]
    assert legends(figure) == [accuracies, accuracies, ["gd  0.5", "cg  0.333", "adam  0.25"],
                               ["gd  1", "cg  0.667", "adam  0.5"]]


@pytest.mark.parametrize("count", [16, *(pytest.param(count, marks=pytest.mark.slow) for count in (2, 30))])
def test_the_names_beside_a_panel_cover_neither_each_other_nor_another_panel(count):
    figure = plots.compare({f"a rather long name, number {i}": history(9) for i in range(count)})
    figure.draw_without_rendering()  # this arranges everything
    boxes = [ax.get_legend().get_window_extent() for ax in figure.axes] + [ax.get_window_extent() for ax in figure.axes]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)
    assert all(ax.get_window_extent().width > 300 for ax in figure.axes)
    names = [text.get_window_extent() for text in figure.axes[0].get_legend().texts]
    assert not any(a.overlaps(b) for a, b in combinations(names, 2))


@pytest.mark.parametrize(("first", "last", "scale"), [
    (1.0, 0.2, "linear"), (1.0, 0.09, "log"), (1.0, 0.0, "linear"), (0.0, 0.0, "linear"), (1.0, -1.0, "linear"),
    (1.0, np.nan, "linear"), (np.inf, 1e-9, "linear")])
def test_the_axis_of_the_loss_fits_its_values(first, last, scale):
    losses = history(2, accuracy=None, val=False)
    losses.epochs[0]["loss"], losses.epochs[1]["loss"] = first, last
    figure = plots.compare({"adam": losses})
    assert len(figure.axes[0].lines) == 1
    assert figure.axes[0].get_yscale() == scale
    figure.draw_without_rendering()  # matplotlib would warn if there were no place for the axes


def test_a_loss_of_zero_can_be_drawn_beside_others():
    finished = history(12, accuracy=None, val=False)
    finished.epochs[-1]["loss"] = 0.0
    figure = plots.compare({"gd": [history(12, accuracy=None, val=False)], "adam": [finished]})
    assert figure.axes[0].get_yscale() == "log"
    figure.draw_without_rendering()


def test_values_that_are_not_finite_are_not_drawn():
    broken = history(3)
    for epoch in broken.epochs:
        epoch["val_loss"] = np.inf
    figure = plots.compare({"adam": [broken, history(3)]})
    assert [len(ax.lines) for ax in figure.axes] == [1, 1, 1, 0]
    assert png(figure).startswith(b"\x89PNG")


def test_one_epoch_is_a_point():
    for figure in (plots.compare({"gd": history(1), "adam": [history(1), history(7)]}), plots.curves(history(1))):
        assert all(line.get_marker() == "o" for ax in figure.axes for line in ax.lines)
        figure.draw_without_rendering()


def test_interrupted_runs_end_early_and_runs_without_an_epoch_are_left_out():
    figure = plots.compare({"gd": [history(5)], "adam": [history(2), History()], "cg": [History()]})
    for lines in drawn(figure).values():
        assert {name: len(values) for name, values in lines.items()} == {"gd": 5, "adam": 2}
    figure.draw_without_rendering()


def test_a_figure_without_an_epoch_says_so():
    for figure in (plots.curves(History(), "t"), plots.compare({"gd": [History()]}, title="t"),
                   plots.compare({}, title="t")):
        assert [text.get_text() for text in figure.texts] == ["t", "no epoch was completed"]
        assert png(figure).startswith(b"\x89PNG")


def test_a_comparison_of_regressions_has_no_accuracy():
    figure = plots.compare({"gd": history(5, accuracy=None), "adam": [history(3, accuracy=None)]}, "seconds")
    assert [ax.get_ylabel() for ax in figure.axes] == ["loss", "loss"]
    assert [len(line.get_xdata()) for line in figure.axes[0].lines] == [5, 3]
    assert png(figure).startswith(b"\x89PNG")


def test_an_unknown_axis_is_named():
    with pytest.raises(ValueError, match=r"unknown horizontal axis 'steps': .*choose from epoch, seconds, passes"):
        plots.compare({"gd": history(3)}, "steps")


def test_confusion_shows_the_counts():
    figure = plots.confusion([0, 0, 1, 2], [0, 1, 1, 2], ["Trouser", "Coat", "Bag"])
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ["1", "1", "1", "1"]
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["Trouser", "Coat", "Bag"]
    assert png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize(("classes", "names"), [
    (range(3), "0 1 2"), ([3, 5, 8], "3 5 8"), (np.array([3, 5, 8]), "3 5 8"), (np.array(["a", "b", "c"]), "a b c"),
    ((0.5, True, None), "0.5 True None"), ("abc", "a b c"), (None, "0 1 2"), ({"x": 1, "y": 2, "z": 3}, "x y z"),
    (["$1", "$2", "$_"], "$1 $2 $_")], ids=str)  # $...$ is not a formula
def test_classes_are_a_sequence_of_any_type(classes, names):
    first, second, third = [3, 5, 8] if names == "3 5 8" else [0, 1, 2]  # integers are labels
    figure = plots.confusion([first, first, second, third], [first, second, second, third], classes)
    ax = figure.axes[0]
    for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
        assert " ".join(label.get_text() for label in labels) == names
    figure.draw_without_rendering()
    figure = plots.worst(np.eye(3), [first, second, third], np.full((3, 3), 1 / 3), (1, 3), classes)
    name = names.split()[0]
    assert [ax.get_title().split(",")[0] for ax in figure.axes if ax.images] == names.split()
    assert figure.axes[1].get_title().endswith(f"predicted: {name}\n(33%)")
    figure.draw_without_rendering()


def test_the_number_of_classes_is_not_their_names():
    with pytest.raises(ValueError, match="classes must be a sequence with the name of each class, not 3"):
        plots.confusion([0, 1], [0, 2], 3)


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
