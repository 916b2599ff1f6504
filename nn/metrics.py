"""Metrics: accuracy, the confusion matrix, and a callback that evaluates any function of targets and predictions."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nn.blocks import Blocks
from nn.fit import Plan
from nn.history import Epoch, plain_number
from nn.labels import Label, are_texts, class_indices, distinct_labels, from_indices, indices_of, label_pair
from nn.rows import CheckedRows
from nn.stream import Stream

Metric = Callable[[Any, Any], Any]
"""Takes the true and the predicted targets of all examples, returns a number."""


class Metrics:
    """Evaluate functions of targets and predictions at the end of each epoch, and add their values to it.

    It must precede the callbacks that use the values, such as CSVLog, EarlyStopping and Checkpoint.
    ``Model.fit(..., metrics=functions)`` adds it before all others.

    Parameters
    ----------
    functions : mapping or sequence of callable
        The functions by name, or functions whose ``__name__`` is the name. Each is called with y_true and y_predicted
        and returns a number, as those of sklearn.metrics do.

    Raises
    ------
    ValueError
        If one is not callable, has no name, or has the name of something that each epoch holds anyway; during the fit,
        if it does not return a number.

    Notes
    -----
    The functions get what `Model.fit` was given as y: labels (N,) if the targets are classes, and the predicted labels;
    0 and 1 in (N, K) if each example has several labels; else numbers, (N,) if there is one output. Weights of examples
    are not used.

    They are evaluated after the epoch, on the validation data of the fit: a function ``f1`` gives ``val_f1``. Without
    validation data they are evaluated on all training data: it gives ``f1``. A function may return None.

    The functions do not get probabilities. Those that need them, such as ``roc_auc_score``, need a callback of their
    own, which calls `Model.predict`.

    Examples
    --------
    >>> from nn import Dense, MeanSquaredError, Metrics, Model
    >>> from optimizers import get
    >>> def worst(y_true, y_predicted):
    ...     return abs(y_true - y_predicted).max()
    >>> model, x, y = Model([Dense(1, 1)], MeanSquaredError()), [[0.0], [1.0]], [1.0, 3.0]
    >>> history = model.fit(x, y, get("lbfgs"), 5, callbacks=[Metrics([worst])], progress=False)
    >>> round(history["worst"][-1], 3)
    0.0
    """

    def __init__(self, functions: Mapping[str, Metric] | Sequence[Metric]) -> None:
        given: Any = functions
        if isinstance(given, str) or not isinstance(given, (Mapping, Sequence)):
            raise ValueError(f"Metrics: give a list of functions or a dict, such as {{'f1': f1_score}}, not "
                             f"{functions!r}")
        named = functions.items() if isinstance(functions, Mapping) else [
            (getattr(function, "__name__", ""), function) for function in functions]
        self.functions: dict[str, Metric] = {}
        for name, function in named:
            if not callable(function):
                raise ValueError(f"Metrics: {function!r} is not a function of y_true and y_predicted")
            if not isinstance(name, str) or not name or name == "<lambda>":
                raise ValueError(f"Metrics: {function!r} has no name: write Metrics({{'name': function}})")
            if name in self.functions or {name, f"val_{name}"} & set(Epoch.__annotations__):
                raise ValueError(f"Metrics: an epoch has {name!r} already: give the function another name, by "
                                 "Metrics({'name': function})")
            self.functions[name] = function

    def on_fit_begin(self, model: Any, plan: Plan) -> None:
        """Choose the data.

        Parameters
        ----------
        model : Model
            The model that is trained.
        plan : dict
            See `nn.callbacks`.

        Raises
        ------
        ValueError
            If the examples are not in memory, because batches or rows are read one after the other.
        """
        training = plan["training"]
        validation, batches = training.validation, training.batches
        if isinstance(validation, CheckedRows) or (validation is None and isinstance(batches, (Stream, Blocks))):
            raise ValueError("Metrics: batches and rows that are read one after the other are not kept: give "
                             "validation_data, as arrays")
        self._prefix = "" if validation is None else "val_"
        self._x, self._target = (batches.x, batches.target) if validation is None else validation[:2]
        self._true = as_given(model, self._target, self._target)

    def on_epoch_end(self, model: Any, epoch: dict[str, Any]) -> None:
        """Evaluate the functions.

        Parameters
        ----------
        model : Model
            The model that is trained.
        epoch : dict
            The dict of the epoch.

        Raises
        ------
        ValueError
            If one does not return a number.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            predicted = as_given(model, model.predict(self._x), self._target)
        for name, function in self.functions.items():
            # copies: a function may work in place, and these may be the arrays that are trained on
            epoch[self._prefix + name] = plain_number(name, function(self._true.copy(), predicted.copy()))


def as_given(model: Any, rows: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return targets or outputs of a model in the form in which its users give targets.

    Parameters
    ----------
    model : Model
        The model.
    rows : ndarray of shape (N, K)
        The targets or the outputs.
    target : ndarray of shape (N, K)
        The targets, which tell whether rows are classes.

    Returns
    -------
    ndarray
        Labels (N,) if each example has one class; integers 0 and 1 (N, K) if it has several; else numbers, (N,) if
        there is one output.
    """
    K, one_or_zero = target.shape[1], model.classifies and bool(((target == 0) | (target == 1)).all())
    if model.network.loss.classifies(target) or (one_or_zero and K == 1):
        return from_indices(class_indices(rows), model.classes)
    if one_or_zero:
        return (rows > 0.5).astype(np.int64)
    return rows[:, 0] if K == 1 else rows


def accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Return the share of labels that are predicted correctly.

    Parameters
    ----------
    y_true : array_like of shape (N,)
        The true labels: integers, texts or bools.
    y_pred : array_like of shape (N,)
        The predicted labels.

    Returns
    -------
    float
        The accuracy, from 0 to 1.

    Raises
    ------
    ValueError
        If they are not labels of the same length, at least 1.

    Examples
    --------
    >>> from nn import accuracy
    >>> accuracy([0, 1, 2, 2], [0, 1, 2, 0])
    0.75
    """
    true, predicted = label_pair(y_true, y_pred)
    return float(np.mean(true == predicted))


def confusion_matrix(y_true: ArrayLike, y_pred: ArrayLike,
                     classes: int | Sequence[Label] | None = None) -> np.ndarray:
    """Count how many examples of each class were predicted as each class.

    Parameters
    ----------
    y_true : array_like of shape (N,)
        The true labels: integers, texts or bools.
    y_pred : array_like of shape (N,)
        The predicted labels.
    classes : int or sequence, optional
        The number of classes, K, if the labels are 0 to K - 1; or the label of each class, in the order of the rows. By
        default the integers up to the largest label, or the different labels, sorted. Texts may also name the classes 0
        to K - 1.

    Returns
    -------
    ndarray of int, shape (K, K)
        Row i, column j is the number of examples of class i that were predicted as class j, as in scikit-learn.

    Raises
    ------
    ValueError
        If they are not labels of the same length, at least 1, or not of these classes.

    Examples
    --------
    >>> from nn import confusion_matrix
    >>> confusion_matrix([0, 0, 1, 2], [0, 1, 1, 2])
    array([[1, 1, 0],
           [0, 1, 0],
           [0, 0, 1]])
    >>> confusion_matrix(["yes", "no"], ["yes", "yes"], ["no", "yes"])
    array([[0, 1],
           [0, 1]])
    """
    true, predicted = label_pair(y_true, y_pred)
    if classes is None:
        classes = distinct_labels(true, predicted)
    if not isinstance(classes, (int, np.integer)):
        true, predicted = indices_of(true, classes), indices_of(predicted, classes)
        classes = len(classes)
    elif are_texts(true):
        raise ValueError(f"y_true holds {true.dtype}: give the label of each class, not their number")
    low, high, K = min(true.min(), predicted.min()), max(true.max(), predicted.max()), int(classes)
    if low < 0 or high >= K:
        raise ValueError(f"labels reach from {low} to {high}, but there are {K} classes: labels must be 0 to {K - 1}")
    counts: np.ndarray = np.bincount(true * K + predicted, minlength=K**2).reshape(K, K)
    return counts
