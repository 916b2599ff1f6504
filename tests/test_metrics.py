"""Accuracy and the confusion matrix of small examples, and the messages about wrong labels."""

import numpy as np
import pytest

from nn import accuracy, confusion_matrix


def test_a_small_example():
    true, predicted = [0, 0, 1, 2, 2, 2], [0, 1, 1, 2, 0, 2]
    assert accuracy(true, predicted) == 4 / 6
    np.testing.assert_array_equal(confusion_matrix(true, predicted), [[1, 1, 0], [0, 1, 0], [1, 0, 2]])
    assert confusion_matrix(true, predicted, 5).shape == (5, 5)
    assert confusion_matrix(np.array(true, np.uint8), np.array(predicted, np.uint8), 20).sum() == 6


@pytest.mark.parametrize(("true", "predicted", "message"), [
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
