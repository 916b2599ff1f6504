"""Labels: what users call the classes, and the indices from 0 that models compute with."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Label = str | int | bool
SHOWN = 10  # labels in a message
MAX_CLASSES = 1000  # of a confusion matrix whose classes are not given


def check_classes(classes: Any, width: int) -> tuple[Label, ...] | None:
    """Return the labels of the classes as a tuple of Python's texts, integers or bools.

    Parameters
    ----------
    classes : sequence or None
        The label of each class, in the order of the outputs.
    width : int
        The number of outputs, K. One output stands for two classes, the second if it is above 1/2.

    Returns
    -------
    tuple or None
        The labels; None if there are none.

    Raises
    ------
    ValueError
        If they are not different labels of one type, one for each class.
    """
    if classes is None:
        return None
    count = max(width, 2)
    if isinstance(classes, str) or not hasattr(classes, "__len__") or isinstance(classes, (dict, set)):
        raise ValueError(f"classes must be a list of {count} labels, such as ['cat', 'dog'], not {classes!r}")
    labels = tuple(label.item() if isinstance(label, np.generic) else label for label in classes)
    if len(labels) != count:
        raise ValueError(f"there are {len(labels)} classes, but the model has {width} "
                         f"output{'s' if width > 1 else ', which stands for 2'}: give {count} labels")
    kinds = {type(label) for label in labels}
    if len(kinds) > 1 or not kinds <= {str, int, bool} or len(set(labels)) < count:
        raise ValueError("classes must be different texts, or different integers, or False and True, not "
                         f"{shown(labels)}")
    return labels


def is_missing(value: Any) -> bool:
    """Return whether an object stands for a missing value: None, NaN, or the NA of pandas.

    Parameters
    ----------
    value : object
        An element of a column.

    Returns
    -------
    bool
        Whether it is missing.
    """
    try:
        return value is None or bool(value != value)
    except TypeError:  # NA is neither equal to itself nor different
        return True


def as_labels(y: np.ndarray) -> np.ndarray:
    """Return an array of objects as one of texts, integers or bools; other arrays as they are.

    Raises ValueError if there are other objects, or missing ones.
    """
    if y.dtype != object:
        return y
    missing = [row for row, label in enumerate(y.ravel()) if is_missing(label)]
    if missing:
        raise ValueError(f"y lacks {len(missing)} labels, the first in row {missing[0]}: remove those rows")
    kinds = {type(label.item() if isinstance(label, np.generic) else label) for label in y.ravel()}
    for kind in (str, bool, int, float):
        if kinds == {kind}:
            return np.array(y.tolist(), dtype=kind)
    raise ValueError(f"y holds objects of the types {', '.join(sorted(kind.__name__ for kind in kinds))}: give labels "
                     "of one type: texts, integers or bools")


def learn_classes(y: np.ndarray, width: int) -> tuple[Label, ...] | None:
    """Return the classes that the labels of a training set stand for; None if they are indices from 0.

    Parameters
    ----------
    y : ndarray of shape (N,) or (N, K)
        The targets, from `as_labels`.
    width : int
        The number of outputs, K.

    Returns
    -------
    tuple or None
        The different labels, sorted, if they are texts, False and True, or K integers that are not 0 to K - 1.

    Raises
    ------
    ValueError
        If there are not as many texts as classes.
    """
    count = max(width, 2)
    if y.ndim != 1 or y.dtype.kind not in "USbiu" or not len(y):
        return None
    if y.dtype.kind in "iu" and y.min() >= 0 and y.max() < count:
        return None
    if y.dtype.kind == "b":
        return (False, True) if count == 2 else None
    distinct = np.unique(y).tolist()
    if len(distinct) != count and y.dtype.kind in "iu":
        return None  # the loss says which labels it takes
    if len(distinct) != count:
        raise ValueError(f"y holds {len(distinct)} different labels ({shown(distinct)}), but the model has "
                         f"{width} output{'s' if width > 1 else ', which stands for 2 classes'}: end it with as many "
                         "outputs as there are labels, or name all classes by Model(..., classes=[...])")
    return tuple(distinct)


def to_indices(y: np.ndarray, classes: Sequence[Label]) -> np.ndarray:
    """Return the index of the class of each label.

    Parameters
    ----------
    y : ndarray of shape (N,)
        The labels, from `as_labels`.
    classes : sequence
        The label of each class.

    Returns
    -------
    ndarray of int, shape (N,)
        The indices.

    Raises
    ------
    ValueError
        If a label is not one of the classes.
    """
    known = np.asarray(classes)
    if are_texts(known) != are_texts(y):
        raise ValueError(f"y holds {y.dtype}, but the classes are {shown(classes)}")
    order = np.argsort(known)
    found = order[np.minimum(np.searchsorted(known, y, sorter=order), len(known) - 1)]
    wrong = np.flatnonzero(known[found] != y)
    if len(wrong):
        raise ValueError(f"y holds the label {y[wrong[0]].item()!r} in row {wrong[0]}, which is none of the classes "
                         f"{shown(classes)}")
    return found


def class_indices(rows: np.ndarray) -> np.ndarray:
    """Return the index of the class (n,) of each row of targets or outputs (n, K), if each stands for one class."""
    return rows.argmax(axis=1) if rows.shape[1] > 1 else (rows[:, 0] > 0.5).astype(np.int64)


def from_indices(indices: np.ndarray, classes: Sequence[Label] | None) -> np.ndarray:
    """Return the label of each index; without classes, the index."""
    return indices if classes is None else np.asarray(classes)[indices]


def distinct_labels(y_true: ArrayLike, y_pred: ArrayLike) -> Sequence[Label]:
    """Return the classes that labels stand for: integers from 0 to the largest, or, if that is large, those that occur.

    Parameters
    ----------
    y_true : array_like of shape (N,)
        The true labels.
    y_pred : array_like of shape (N,)
        The predicted labels.

    Returns
    -------
    sequence
        The label of each class.

    Raises
    ------
    ValueError
        If they are not labels of the same length, at least 1.
    """
    true, predicted = label_pair(y_true, y_pred)
    if true.dtype.kind == "i" and min(true.min(), predicted.min()) >= 0:
        largest = int(max(true.max(), predicted.max()))
        if largest < MAX_CLASSES:
            return range(largest + 1)
    labels: list[Label] = np.unique(np.concatenate([true, predicted])).tolist()
    if len(labels) > MAX_CLASSES:
        raise ValueError(f"there are {len(labels):,} different labels: a confusion matrix has at most {MAX_CLASSES:,} "
                         "classes")
    return labels


def indices_of(y: np.ndarray, classes: Sequence[Label]) -> np.ndarray:
    """Return the index of the class of each label; labels that are indices already, of classes with texts as names.

    Parameters
    ----------
    y : ndarray of shape (N,)
        The labels, from `check_labels`.
    classes : sequence
        The label or the name of each class.

    Returns
    -------
    ndarray of int, shape (N,)
        The indices.

    Raises
    ------
    ValueError
        If a label is not one of the classes.
    """
    names = np.asarray(classes)
    if names.dtype.kind in "biuUS" and are_texts(names) == are_texts(y):
        return to_indices(y, classes)
    return y.astype(np.int64) if not are_texts(y) else to_indices(y, list(map(str, classes)))


def are_texts(y: np.ndarray) -> bool:
    """Return whether an array holds texts."""
    return y.dtype.kind in "US"


def check_labels(name: str, y: ArrayLike) -> np.ndarray:
    """Return y as labels (N,).

    Parameters
    ----------
    name : str
        The name of the argument, for messages.
    y : array_like of shape (N,)
        The labels.

    Returns
    -------
    ndarray of shape (N,)
        The labels: int64, texts or bools.

    Raises
    ------
    ValueError
        If y is not such an array, for example one-hot rows or probabilities.
    """
    array = as_labels(np.asarray(y))
    if array.ndim == 2 and array.shape[1] > 1:
        raise ValueError(f"{name} has shape {array.shape}, but must be labels (N,): for one-hot rows or rows of "
                         f"probabilities give {name}.argmax(axis=1)")
    if array.ndim != 1 or not len(array):
        raise ValueError(f"{name} has shape {array.shape}, but must be labels of shape (N,), with N at least 1")
    if array.dtype.kind in "USb":
        return array
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} holds {array.dtype}, not integer labels: convert them with astype(int)")
    return array.astype(np.int64)


def label_pair(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return true and predicted labels. Raises ValueError if they are not labels of one kind and one length."""
    true, predicted = check_labels("y_true", y_true), check_labels("y_pred", y_pred)
    if true.shape != predicted.shape:
        raise ValueError(f"y_true {true.shape} and y_pred {predicted.shape} must be labels of the same shape (N,)")
    if are_texts(true) != are_texts(predicted):
        raise ValueError(f"y_true holds {true.dtype} and y_pred {predicted.dtype}: give labels of one kind")
    return true, predicted


def shown(labels: Sequence[Any]) -> str:
    """Return labels as a message shows them."""
    text = ", ".join(map(repr, labels[:SHOWN]))
    return text if len(labels) <= SHOWN else f"{text}, ..."
