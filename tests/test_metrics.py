"""Accuracy, the confusion matrix, and Metrics: what functions of users get, and where their values are."""

from functools import partial

import numpy as np
import pytest
from test_checkpoint import StopAt
from test_model import small, small_data

from nn import (
    BinaryCrossEntropy,
    Checkpoint,
    CSVLog,
    Dense,
    EarlyStopping,
    History,
    MeanSquaredError,
    Metrics,
    Model,
    Sigmoid,
    accuracy,
    confusion_matrix,
    plots,
)
from optimizers import get


def test_a_small_example():
    true, predicted = [0, 0, 1, 2, 2, 2], [0, 1, 1, 2, 0, 2]
    assert accuracy(true, predicted) == 4 / 6
    np.testing.assert_array_equal(confusion_matrix(true, predicted), [[1, 1, 0], [0, 1, 0], [1, 0, 2]])
    assert confusion_matrix(true, predicted, 5).shape == (5, 5)
    assert confusion_matrix(np.array(true, np.uint8), np.array(predicted, np.uint8), 20).sum() == 6


@pytest.mark.parametrize(("true", "predicted", "classes", "expected"), [
    (["b", "a", "b"], ["b", "b", "a"], None, [[0, 1], [1, 1]]),
    (["b", "a", "b"], ["b", "b", "a"], ["b", "a"], [[1, 1], [1, 0]]),
    ([True, False], [True, True], None, [[0, 1], [0, 1]]), ([-1, 1], [1, 1], None, [[0, 1], [0, 1]]),
    ([1, 2], [2, 2], (1, 2, 3), [[0, 1, 0], [0, 1, 0], [0, 0, 0]]), ([0, 1], [1, 1], ["cat", "dog"], [[0, 1], [0, 1]]),
    (np.array(["x", "y"], object), ["x", "y"], None, [[1, 0], [0, 1]])])
def test_labels_of_any_kind(true, predicted, classes, expected):
    np.testing.assert_array_equal(confusion_matrix(true, predicted, classes), expected)
    assert accuracy(true, predicted) == np.trace(expected) / np.sum(expected)
    figure = plots.confusion(true, predicted, classes)
    counts = [int(text.get_text()) for text in figure.axes[0].texts]
    assert counts == [count for row in expected for count in row if count]
    names = [str(name) for name in (sorted(set(true)) if classes is None else classes)]
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == names


@pytest.mark.parametrize(("true", "predicted", "message"), [
    (["a", "b"], [0, 1], "y_true holds <U1 and y_pred int64: give labels of one kind"),
    ([0, 1], [0], r"y_true \(2,\) and y_pred \(1,\) must be labels of the same shape"),
    ([], [], "N at least 1"),
    ([[0]], [[0]], r"must be labels of shape \(N,\), with N at least 1"),
    ([0, 1], [0.0, 1.0], "y_pred holds float64, not integer labels"),
    ([0, 5], [0, 1], "labels reach from 0 to 5, but there are 3 classes"),
    ([0, -1], [0, 1], "labels reach from -1 to 1"),
    ([[1, 0], [0, 1]], [0, 1], r"y_true has shape \(2, 2\).*: for one-hot rows .* give y_true\.argmax\(axis=1\)"),
])
def test_wrong_labels_are_named(true, predicted, message):
    with pytest.raises(ValueError, match=message):
        confusion_matrix(true, predicted, 3)


def errors(y_true, y_predicted):
    """Return the number of labels that differ."""
    return np.count_nonzero(y_true != y_predicted)


def worst(y_true, y_predicted):
    """Return the largest difference."""
    return abs(y_true - y_predicted).max()


class Keeps:
    """A metric that keeps its arguments."""

    def __call__(self, y_true, y_predicted):
        self.arguments = y_true.copy(), y_predicted.copy()
        return 0.0


def arguments(model, x, y, **options):
    """Return what a metric gets."""
    keeps = Keeps()
    model.fit(x, y, get("gd"), metrics={"name": keeps}, progress=False, **options)
    return keeps.arguments


def test_they_are_evaluated_after_each_epoch_on_the_validation_data(tmp_path):
    expected = []

    class Evaluates:
        def on_epoch_end(self, model, epoch):
            expected.append(errors(y, model.predict_classes(x)))

    model, (x, y) = small(), small_data(seed=5)
    callbacks = [CSVLog(tmp_path / "log"), EarlyStopping("val_errors", patience=100), Evaluates()]
    history = model.fit(*small_data(), get("adam", lr=0.05), 4, validation_data=(x, y, np.arange(40.0)),
                        callbacks=callbacks, metrics=[errors], progress=False)
    assert history["val_errors"] == expected == History.read(tmp_path / "log")["val_errors"]
    assert len(set(expected)) > 1
    assert callbacks[1].best == min(expected)
    assert history["val_accuracy"] == pytest.approx([1 - count / 40 for count in expected])


def test_without_validation_data_they_are_evaluated_on_the_training_data():
    model, (x, y) = small(), small_data()
    history = model.fit(x, y, get("adam"), 2, 16, metrics={"errors": errors}, progress=False)
    assert history["errors"][-1] == errors(y, model.predict_classes(x))
    assert "val_errors" not in history.columns


@pytest.mark.parametrize("one_hot", [False, True])
def test_labels_of_several_classes(one_hot):
    model, (x, y) = small(), small_data()
    true, predicted = arguments(model, x, np.eye(3)[y] if one_hot else y)
    np.testing.assert_array_equal(true, y)
    np.testing.assert_array_equal(predicted, model.predict_classes(x))
    assert true.dtype == predicted.dtype == np.int64


def test_labels_of_the_users():
    model, (x, y) = small(), small_data()
    labels = np.array(["cat", "dog", "eel"])[y]
    true, predicted = arguments(model, x, labels)
    np.testing.assert_array_equal(true, labels)
    np.testing.assert_array_equal(predicted, model.predict_classes(x))


@pytest.mark.parametrize("loss", [BinaryCrossEntropy, MeanSquaredError])
@pytest.mark.parametrize("labels", [[0, 1], [False, True], ["no", "yes"], [-1, 1]])
def test_two_classes_of_one_output(loss, labels):
    model, (x, y) = Model([Dense(6, 1), Sigmoid()], loss()), small_data()
    labels = np.array(labels)[(y > 0).astype(int)]
    true, predicted = arguments(model, x, labels)
    np.testing.assert_array_equal(true, labels)
    np.testing.assert_array_equal(predicted, model.predict_classes(x))
    assert true.dtype == labels.dtype


def test_several_labels_of_an_example_and_probabilities():
    model, (x, y) = Model([Dense(6, 3), Sigmoid()], BinaryCrossEntropy()), small_data()
    y = np.stack([y > 0, y > 1, y < 2], axis=1)
    true, predicted = arguments(model, x, y)
    np.testing.assert_array_equal(true, y)
    np.testing.assert_array_equal(predicted, model.predict(x) > 0.5)
    assert true.dtype == predicted.dtype == np.int64
    true, predicted = arguments(model, x, 0.9 * y)
    np.testing.assert_array_equal(true, np.float32(0.9 * y))
    np.testing.assert_array_equal(predicted, model.predict(x))


@pytest.mark.parametrize("columns", [1, 2])
def test_numbers(columns):
    model, (x, _) = Model([Dense(6, columns)], MeanSquaredError()), small_data()
    y = x[:, 0] if columns == 1 else x[:, :2]
    true, predicted = arguments(model, x, y, validation_data=(x[:9], y[:9]))
    np.testing.assert_array_equal(true, np.float32(y[:9]))
    np.testing.assert_array_equal(predicted, model.predict(x[:9]).reshape(true.shape))


def test_batches_that_are_made_one_after_the_other():
    model, (x, y) = small(), small_data()
    batches = [(x[:20], y[:20]), (x[20:], y[20:])]
    history = model.fit_batches(batches, get("adam"), 2, (x, y), metrics=[errors], progress=False)
    assert history["val_errors"][-1] == errors(y, model.predict_classes(x))
    with pytest.raises(ValueError, match="batches and rows that are read one after the other are not kept: give"):
        model.fit_batches(batches, get("adam"), metrics=[errors], progress=False)


def test_functions_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed (extra sklearn)")
    model, (x, y) = small(), small_data()
    history = model.fit(x, y, get("adam"), 2, validation_data=(x, y), progress=False, metrics={
        "f1": partial(metrics.f1_score, average="macro"), "balanced": metrics.balanced_accuracy_score})
    assert history["val_f1"][-1] == metrics.f1_score(y, model.predict_classes(x), average="macro")
    model = Model([Dense(6, 2)], MeanSquaredError())
    history = model.fit(x, x[:, :2], get("adam"), 2, metrics=[metrics.r2_score], progress=False)
    assert history["r2_score"][-1] == pytest.approx(metrics.r2_score(x[:, :2], model.predict(x)), rel=1e-5)


def test_they_continue(tmp_path):
    def train(name, *stops):
        for stop in stops:
            model, (x, y), optimizer, checkpoint = small(), small_data(60), get("adam"), Checkpoint(tmp_path / name)
            history = checkpoint.restore(model, optimizer)
            model.fit(x, y, optimizer, 4 - len(history), 16, (x, y), [StopAt(stop), checkpoint], progress=False,
                      history=history, metrics=[errors, worst])
        return history["val_errors"] + history["val_worst"]

    assert train("a", 6, 100) == train("b", 100)


@pytest.mark.parametrize(("functions", "message"), [
    (errors, r"Metrics: give a list of functions or a dict, such as \{'f1': f1_score\}, not <function errors"),
    ({"f1": 3}, "Metrics: 3 is not a function of y_true and y_predicted"),
    ([partial(errors)], r"Metrics: functools.partial\(.*\) has no name: write Metrics\(\{'name': function\}\)"),
    ([lambda y_true, y_predicted: 0], "has no name"),
    ({"": errors}, "has no name"),
    ([errors, errors], "Metrics: an epoch has 'errors' already: give the function another name"),
    ([accuracy], "Metrics: an epoch has 'accuracy' already"),
    ({"lr": errors}, "Metrics: an epoch has 'lr' already"),
])
def test_wrong_functions_are_named(functions, message):
    with pytest.raises(ValueError, match=message):
        small().fit(*small_data(), get("adam"), metrics=functions, progress=False)


def test_a_function_that_returns_no_number_is_named():
    with pytest.raises(ValueError, match="the 'errors' of an epoch is of type ndarray: add numbers or None to epochs"):
        small().fit(*small_data(), get("adam"), metrics={"errors": lambda a, b: a - b}, progress=False)


def test_a_metric_that_works_in_place_changes_nothing():
    def in_place(y_true, y_predicted):
        y_true -= y_true.mean()
        y_predicted[:] = 0
        return 0.0

    x = np.linspace(0, 1, 20, dtype="float32")[:, np.newaxis]
    y = 3 * x[:, 0]
    models = [Model([Dense(1, 1)], MeanSquaredError()) for _ in range(2)]
    for model, metrics in zip(models, ([in_place], None)):
        model.fit(x, y, get("gd"), 5, progress=False, metrics=metrics)
    np.testing.assert_array_equal(models[0].theta, models[1].theta)
    np.testing.assert_array_equal(y, 3 * x[:, 0])


def test_large_labels_need_no_large_matrix():
    figure = plots.confusion([2019, 2020], [2020, 2020])
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["2019", "2020"]
    with pytest.raises(ValueError, match="there are 2,001 different labels: a confusion matrix has at most"):
        confusion_matrix(np.arange(2001), np.arange(2001))
    for wrong in ("accuracy", 3):
        with pytest.raises(ValueError, match="Metrics: give a list of functions or a dict"):
            Metrics(wrong)
