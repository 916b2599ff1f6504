"""How good the answers are: accuracy, and which class is taken for which."""

from typing import Any

import numpy as np

from nn.buffers import Array


def accuracy(y_true: Any, y_pred: Any) -> float:
    """The share of labels (N,) that are equal, from 0 to 1. Raises ValueError where the shapes differ."""
    y_true, y_pred = _labels(y_true, y_pred)
    return float(np.mean(y_true == y_pred))


def confusion_matrix(y_true: Any, y_pred: Any, classes: int | None = None) -> Array:
    """An array (classes, classes) of counts: row i, column j says how many of class i were taken for class j.

    classes: how many there are; by default as many as the labels show. Raises ValueError for labels out of range.
    """
    y_true, y_pred = _labels(y_true, y_pred)
    low, high = min(y_true.min(), y_pred.min()), max(y_true.max(), y_pred.max())
    classes = int(high) + 1 if classes is None else classes
    if low < 0 or high >= classes:
        raise ValueError(f"labels reach from {low} to {high}, but there are {classes} classes: "
                         f"labels must be 0 to {classes - 1}")
    return np.bincount(y_true * classes + y_pred, minlength=classes**2).reshape(classes, classes)


def _labels(y_true: Any, y_pred: Any) -> tuple[Array, Array]:
    y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
    if y_true.shape != y_pred.shape or y_true.ndim != 1 or not len(y_true):
        raise ValueError(f"y_true {y_true.shape} and y_pred {y_pred.shape} must be labels of one shape (N,), "
                         "N at least 1")
    for name, y in (("y_true", y_true), ("y_pred", y_pred)):
        if not np.issubdtype(y.dtype, np.integer):
            raise ValueError(f"{name} holds {y.dtype}, not integer labels: for rows of probabilities take "
                             "argmax(axis=1)")
    return y_true.astype(np.int64), y_pred.astype(np.int64)
