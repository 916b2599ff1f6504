"""Weights of examples and of classes: by how much each example counts in the loss."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nn.inputs import as_array
from nn.labels import Label, shown
from nn.losses import Loss


def check_weights(sample_weight: Any, class_weight: Any, target: np.ndarray, loss: Loss,
                  classes: Sequence[Label] | None = None) -> np.ndarray | None:
    """Return the weights of the examples, with mean 1.

    Parameters
    ----------
    sample_weight : array_like of shape (n,) or None
        By how much each example counts.
    class_weight : mapping, "balanced" or None
        By how much the examples of each class count, by its label; 1 for classes that are not in it. "balanced": each
        class as much as any other.
    target : ndarray of shape (n, K)
        The targets.
    loss : Loss
        The loss, which knows whether the targets are classes.
    classes : sequence, optional
        The label of each class; 0 to K - 1 by default.

    Returns
    -------
    ndarray of shape (n,) or None
        The product of both, in the dtype of the target; None if both are None.

    Raises
    ------
    ValueError
        If they are not numbers of at least 0, one of them above 0, or the classes are not those of the target.
    """
    if sample_weight is None and class_weight is None:
        return None
    weight = np.ones(len(target))
    if sample_weight is not None:
        weight = check_sample_weight(sample_weight, len(target))
        weight = weight / weight.max()
    if class_weight is not None:
        weight = weight * _weights_of_classes(class_weight, weight, target, loss, classes)
    if not (np.isfinite(weight).all() and (weight >= 0).all() and weight.any()):
        raise ValueError("sample_weight and class_weight must be finite numbers of at least 0, not all zero")
    weight = weight / weight.max()  # the mean of very large weights would be infinite
    return np.asarray(weight / weight.mean(), target.dtype)


def check_sample_weight(sample_weight: Any, n: int) -> np.ndarray:
    """Return the weights that a user passes, as numbers.

    Parameters
    ----------
    sample_weight : array_like of shape (n,)
        By how much each example counts.
    n : int
        The number of examples.

    Returns
    -------
    ndarray of float64, shape (n,)
        The weights.

    Raises
    ------
    ValueError
        If they are not finite numbers of at least 0, one for each example, not all zero.
    """
    weight = as_array("sample_weight", sample_weight)
    if weight.shape != (n,):
        raise ValueError(f"sample_weight has shape {weight.shape}, but there are {n} examples: give one number for "
                         "each")
    if weight.dtype.kind not in "buif":
        raise ValueError(f"sample_weight holds {weight.dtype}, not numbers")
    if not (np.isfinite(weight).all() and (weight >= 0).all() and weight.any()):
        raise ValueError("sample_weight must be finite numbers of at least 0, not all zero")
    return np.asarray(weight, np.float64)


def _weights_of_classes(class_weight: Any, weight: np.ndarray, target: np.ndarray, loss: Loss,
                        classes: Sequence[Label] | None) -> np.ndarray:
    K = target.shape[1]
    one_hot = bool(((target == 0) | (target == 1)).all()) and (K == 1 or bool((target.sum(axis=1) == 1).all()))
    if not loss.classifies(target) or not one_hot:
        raise ValueError("class_weight needs a class for each example, but the targets are numbers: give sample_weight")
    indices = target[:, 0].astype(int) if K == 1 else target.argmax(axis=1)
    labels = range(max(K, 2)) if classes is None else classes
    if isinstance(class_weight, str) and class_weight == "balanced":
        return np.asarray(balanced_factors(indices, weight, len(labels))[indices])
    if not isinstance(class_weight, Mapping):
        raise ValueError(f"class_weight must be a dict of a number for each label, or 'balanced', not {class_weight!r}")
    if unknown := [label for label in class_weight if label not in labels]:
        known = f"0 to {len(labels) - 1}" if classes is None else shown(classes)
        raise ValueError(f"class_weight has the label {unknown[0]!r}, but labels are {known}")
    given = [class_weight.get(label, 1) for label in labels]
    if wrong := [value for value in given if not isinstance(value, (int, float, np.number))]:
        raise ValueError(f"class_weight must hold a number for each label, not {wrong[0]!r}")
    weights: np.ndarray = np.array(given, float)[indices]
    return weights


def balanced_factors(indices: np.ndarray, weight: np.ndarray, K: int) -> np.ndarray:
    """Return by how much the examples of each class must count so that all classes together count the same.

    Parameters
    ----------
    indices : ndarray of int, shape (n,)
        The class of each example, from 0 to K - 1.
    weight : ndarray of shape (n,)
        By how much each example counts: a weight of 2 is the same as the example given twice.
    K : int
        The number of classes.

    Returns
    -------
    ndarray of shape (K,)
        The factors. Those of classes without examples have no effect.
    """
    sums = np.bincount(indices, weight, K)
    factors: np.ndarray = weight.sum() / (np.count_nonzero(sums) * np.where(sums > 0, sums, 1))
    return factors
