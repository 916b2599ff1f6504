"""Metrics of predicted labels: accuracy and the confusion matrix."""

import numpy as np
from numpy.typing import ArrayLike


def accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Return the share of labels that are predicted correctly.

    Parameters
    ----------
    y_true : array_like of int, shape (N,)
        The true labels.
    y_pred : array_like of int, shape (N,)
        The predicted labels.

    Returns
    -------
    float
        The accuracy, from 0 to 1.

    Raises
    ------
    ValueError
        If they are not integer labels of the same length, at least 1.

    Examples
    --------
    >>> from nn import accuracy
    >>> accuracy([0, 1, 2, 2], [0, 1, 2, 0])
    0.75
    """
    true, predicted = _pair(y_true, y_pred)
    return float(np.mean(true == predicted))


def confusion_matrix(y_true: ArrayLike, y_pred: ArrayLike, classes: int | None = None) -> np.ndarray:
    """Count how many examples of each class were predicted as each class.

    Parameters
    ----------
    y_true : array_like of int, shape (N,)
        The true labels, at least 0.
    y_pred : array_like of int, shape (N,)
        The predicted labels, at least 0.
    classes : int, optional
        The number of classes, K; by default the largest label + 1.

    Returns
    -------
    ndarray of int, shape (K, K)
        Row i, column j is the number of examples of class i that were predicted as class j, as in scikit-learn.

    Raises
    ------
    ValueError
        If they are not integer labels of the same length, at least 1, or out of range.

    Examples
    --------
    >>> from nn import confusion_matrix
    >>> confusion_matrix([0, 0, 1, 2], [0, 1, 1, 2])
    array([[1, 1, 0],
           [0, 1, 0],
           [0, 0, 1]])
    """
    true, predicted = _pair(y_true, y_pred)
    low, high = min(true.min(), predicted.min()), max(true.max(), predicted.max())
    K = int(high) + 1 if classes is None else classes
    if low < 0 or high >= K:
        raise ValueError(f"labels reach from {low} to {high}, but there are {K} classes: labels must be 0 to {K - 1}")
    counts: np.ndarray = np.bincount(true * K + predicted, minlength=K**2).reshape(K, K)
    return counts


def labels(name: str, y: ArrayLike) -> np.ndarray:
    """Return y as labels (N,).

    Parameters
    ----------
    name : str
        The name of the argument, for messages.
    y : array_like of int, shape (N,)
        The labels.

    Returns
    -------
    ndarray of int64, shape (N,)
        The labels.

    Raises
    ------
    ValueError
        If y is not such an array, for example one-hot rows or probabilities.
    """
    array = np.asarray(y)
    if array.ndim == 2 and array.shape[1] > 1:
        raise ValueError(f"{name} has shape {array.shape}, but must be labels (N,): for one-hot rows or rows of "
                         f"probabilities give {name}.argmax(axis=1)")
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{name} has shape {array.shape}, but must be labels of shape (N,), with N at least 1")
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} holds {array.dtype}, not integer labels: convert them with astype(int)")
    return array.astype(np.int64)


def _pair(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    true, predicted = labels("y_true", y_true), labels("y_pred", y_pred)
    if true.shape != predicted.shape:
        raise ValueError(f"y_true {true.shape} and y_pred {predicted.shape} must be labels of the same shape (N,)")
    return true, predicted
