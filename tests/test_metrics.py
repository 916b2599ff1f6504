"""Accuracy and the confusion matrix, by hand, and what they say of bad labels."""

import numpy as np
import pytest

from nn import accuracy, confusion_matrix


def test_by_hand():
    true, guess = [0, 0, 1, 2, 2, 2], [0, 1, 1, 2, 0, 2]
    assert accuracy(true, guess) == 4 / 6
    np.testing.assert_array_equal(confusion_matrix(true, guess), [[1, 1, 0], [0, 1, 0], [1, 0, 2]])
    assert confusion_matrix(true, guess, 5).shape == (5, 5)
    assert confusion_matrix(np.array(true, np.uint8), np.array(guess, np.uint8), 20).sum() == 6


@pytest.mark.parametrize(("true", "guess", "message"), [
    ([0, 1], [0], r"y_true \(2,\) and y_pred \(1,\) must be labels of one shape"),
    ([], [], "N at least 1"),
    ([[0]], [[0]], "must be labels of one shape"),
    ([0, 1], [0.0, 1.0], "y_pred holds float64, not integer labels"),
    ([0, 5], [0, 1], "labels reach from 0 to 5, but there are 3 classes"),
    ([0, -1], [0, 1], "labels reach from -1 to 1"),
])
def test_bad_labels_are_named(true, guess, message):
    with pytest.raises(ValueError, match=message):
        confusion_matrix(true, guess, 3)
