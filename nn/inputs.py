"""Checks of the arguments that users pass. An argument that does not fit raises a ValueError that says why."""

from collections.abc import Sequence
import math
from typing import Annotated, Any

import numpy as np

from nn.fields import Bounds, Count, check_value
from nn.frames import check_columns, column_keys, column_names, frame_to_array
from nn.labels import Label, as_labels, shown, to_indices
from nn.layers import Layer
from nn.losses import Loss
from nn.network import chunks
from nn.scaling import Flatten, Standardize

LARGE = 100  # inputs that are larger may be a mistake


def check_layers(layers: Sequence[Layer]) -> tuple[int, int]:
    """Return the number of inputs and of outputs of these layers in sequence.

    Parameters
    ----------
    layers : sequence of Layer
        The layers that a user passes to a model.

    Returns
    -------
    n_in, n_out : int
        The numbers of inputs and outputs.

    Raises
    ------
    ValueError
        If one is not a layer, or does not fit the previous layer; the message names it.
    """
    for i, layer in enumerate[Any](layers):
        if not isinstance(layer, Layer):
            advice = f"write {layer.__name__}()" if isinstance(layer, type) and issubclass(layer, Layer) else (
                "give Layer objects, such as Dense(784, 50) and ReLU()")
            raise ValueError(f"layer {i} is {layer!r}, which is not a layer: {advice}")
    n_in: int | None = None
    width: int | None = None
    for i, layer in enumerate(layers):
        try:
            width = layer.output_width(width)
        except ValueError as error:
            raise ValueError(f"layer {i} ({layer}) {error}") from None
        if n_in is None and width is not None:
            n_in = layer.input_width
            if n_in is None:
                raise ValueError(f"layer {i} ({layer}) has {width} outputs but does not say how many inputs: define "
                                 "its property input_width")
    if n_in is None or width is None:
        raise ValueError("a model needs at least one layer with weights: give Dense(n_in, n_out) among its layers")
    return n_in, width


def check_names(feature_names: Any, n_in: int) -> tuple[str, ...] | None:
    """Return the names of the columns of x as a tuple. Raises ValueError if they are not texts, one for each input."""
    if feature_names is None:
        return None
    names = tuple(feature_names)
    if isinstance(feature_names, str) or len(names) != n_in or not all(isinstance(name, str) for name in names):
        raise ValueError(f"feature_names must be {n_in} texts, one for each input, not {shown(names)}")
    if len(set(names)) < len(names):
        raise ValueError("feature_names must be different texts")
    return tuple(map(str, names))


def check_examples(x: Any, n_in: int, dtype: np.dtype[Any], layers: Sequence[Layer],
                   feature_names: Sequence[str] | None = None) -> np.ndarray:
    """Return x as finite rows in the dtype of the model.

    Parameters
    ----------
    x : array_like
        The examples that a user passes.
    n_in : int
        The number of inputs of the model.
    dtype : dtype
        The dtype of the model.
    layers : sequence of Layer
        The layers of the model, for the message.
    feature_names : sequence of str, optional
        The names of the columns that x must have if it is a frame.

    Returns
    -------
    ndarray of shape (N, n_in)
        The examples; x itself if it already is such an array.

    Raises
    ------
    ValueError
        If x is not an array of at least one row of finite numbers, or has other columns.
    """
    names, keys = column_names(x), column_keys(x)
    if names is not None and feature_names is not None:
        check_columns(names, feature_names)
    array = as_array("x", x) if keys is None else frame_to_array(x, keys)
    expected = layers[0].shape if isinstance(layers[0], Flatten) else ()
    if array.ndim > 2 and array.shape[1:] == (expected or array.shape[1:]) and math.prod(array.shape[1:]) == n_in:
        array = array.reshape(len(array), n_in)
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer) or array.dtype == bool):
        raise ValueError(f"x holds {array.dtype}, not real numbers: give an array of floats (N, {n_in})")
    if array.ndim != 2 or array.shape[1] != n_in:
        first = next(i for i, layer in enumerate(layers) if layer.input_width is not None)
        wanted = f"(N, {', '.join(map(str, expected or (n_in,)))})"
        advice = _shape_advice(array, n_in) if not expected else "give examples of that shape, or as rows"
        raise ValueError(f"layer {first} ({layers[first]}) expects x of shape {wanted}, but x has shape {array.shape}: "
                         f"{advice}")
    if not len(array):
        raise ValueError(f"x holds no examples: its shape is {array.shape}; give at least one row")
    with np.errstate(over="ignore"):  # values that become infinite are reported below
        rows = np.ascontiguousarray(array, dtype)
    for part in chunks(len(rows)):
        finite = np.isfinite(rows[part])
        if not finite.all():
            row = part.start + int(np.argmin(finite.all(axis=1)))
            raise ValueError(f"x holds NaN or infinity (as {dtype}), first in row {row}{_where(rows, names)}: "
                             "remove or correct those rows")
    return rows


def _where(rows: np.ndarray, names: Sequence[str] | None) -> str:
    """Return which columns of a frame hold numbers that are not finite, and how many."""
    counts = np.count_nonzero(~np.isfinite(rows), axis=0)
    columns = [f"{name!r} ({count})" for name, count in zip(names or (), counts) if count]
    return f", in the columns {', '.join(columns)}" if columns else ""


def unusual(x: Any, rows: np.ndarray, layers: Sequence[Layer]) -> list[str]:
    """Return what is allowed in the examples of a fit, but may be a mistake.

    Parameters
    ----------
    x : array_like
        The examples that a user passes.
    rows : ndarray of shape (N, n_in)
        The rows that `check_examples` has made of them.
    layers : sequence of Layer
        The layers of the model.

    Returns
    -------
    list of str
        Messages of one line.
    """
    messages = []
    if np.ndim(x) > 2 and not isinstance(layers[0], Flatten):
        shape = np.shape(x)[1:]
        messages.append(f"each example of x, of shape {shape}, is flattened to a row of {rows.shape[1]}: to say so, "
                        f"begin the model with Flatten({shape})")
    low, high = float(rows.min()), float(rows.max())
    if max(-low, high) > LARGE and not any(isinstance(layer, Standardize) for layer in layers[:2]):
        messages.append(f"x reaches from {low:g} to {high:g}, and networks learn best from numbers of about 1: divide x"
                        f"{', such as by 255' if (low, high) == (0, 255) else ''}, or begin the model with "
                        "Standardize.of(x)")
    return messages


def _shape_advice(x: np.ndarray, n_in: int) -> str:
    if x.ndim == 2:
        return f"give x with {n_in} columns, or start the model with Dense({x.shape[1]}, ...)"
    if x.shape == (n_in,):
        return "one example is a row: write x[None]"
    if x.ndim and x.size == len(x) * n_in:
        return f"write x.reshape(len(x), {n_in})"
    return f"give an array of shape (N, {n_in})"


def as_targets(y: Any) -> np.ndarray:
    """Return y as an array of numbers or labels; a frame or an array of texts with one column becomes (N,).

    Raises ValueError if it is none.
    """
    keys = column_keys(y)
    if keys is not None and len(keys) > 1:
        return frame_to_array(y, keys)
    array = as_array("y", y)
    if array.dtype.kind in "US" and isinstance(y, (list, tuple)):
        array = np.array(y, dtype=object)  # NumPy makes texts of numbers and of NaN among texts
    array = as_labels(array)
    one_column = array.ndim == 2 and array.shape[1] == 1
    return array.ravel() if one_column and (keys is not None or array.dtype.kind in "US") else array


def check_targets(y: Any, n: int, width: int, dtype: np.dtype[Any], loss: Loss,
                  classes: Sequence[Label] | None = None) -> np.ndarray:
    """Return y as targets in the dtype of the model.

    Parameters
    ----------
    y : array_like
        The targets that a user passes.
    n : int
        The number of examples.
    width : int
        The number of outputs of the model.
    dtype : dtype
        The dtype of the model.
    loss : Loss
        The loss of the model, which encodes the targets.
    classes : sequence, optional
        The label of each class.

    Returns
    -------
    ndarray of shape (n, width)
        The targets.

    Raises
    ------
    ValueError
        If the targets do not fit the examples, the model or the loss.
    """
    array = as_targets(y)
    if array.ndim < 1 or len(array) != n:
        raise ValueError(f"x has {n} rows but y has shape {array.shape}: give one target for each row")
    if classes is not None and array.ndim == 1:
        array = to_indices(array, classes)
    elif array.dtype.kind in "US":
        raise ValueError(f"y holds labels, such as {array.ravel()[0].item()!r}, but the model {_knows(loss)}")
    return loss.encode(array, width, dtype)


def _knows(loss: Loss) -> str:
    if loss.is_regression:
        return f"predicts numbers, because its loss is {type(loss).__name__}: end it with Softmax() and CrossEntropy()"
    return "has no classes: train it by fit, which learns them, or name them by Model(..., classes=[...])"


def check_validation(data: Any) -> tuple[Any, Any, Any]:
    """Return x, y and the weights or None. Raises ValueError if the data are not a pair or a triple."""
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
        raise ValueError("validation_data must be a pair (x, y), or (x, y, sample_weight)")
    return data[0], data[1], data[2] if len(data) == 3 else None


def check_fit(epochs: Any, batch_size: Any, n: int, threads: Any = None, least: int = 1) -> None:
    """Check the numbers that a user passes to `Model.fit`.

    Parameters
    ----------
    epochs : int
        The number of epochs.
    batch_size : int
        The number of examples in a step.
    n : int
        The number of examples.
    threads : int, optional
        The number of threads.
    least : int
        The smallest number of epochs.

    Raises
    ------
    ValueError
        If one is not a whole number of at least 1, or there are fewer examples than in a batch.
    """
    check_value("fit", "epochs", Annotated[int, Bounds(least=least)], epochs)
    for name, value in (("batch_size", batch_size), ("threads", threads)):
        if value is not None:
            check_value("fit", name, Count, value)
    if batch_size > n:
        raise ValueError(f"batch_size {batch_size} is larger than the data, {n} examples: give at most {n}")


def check_takes_steps(optimizer: Any) -> None:
    """Check the optimizer that a user passes.

    Parameters
    ----------
    optimizer : object
        An object that must have a method ``step(objective)``.

    Raises
    ------
    ValueError
        If it has none, for example if it is a name or a class; the message says what to write.
    """
    if isinstance(optimizer, type):
        raise ValueError(f"optimizer is the class {optimizer.__name__}: write optimizer={optimizer.__name__}()")
    if not callable(getattr(optimizer, "step", None)):
        name = optimizer if isinstance(optimizer, str) else "adam"
        raise ValueError(f"optimizer must have a method step(objective), but {optimizer!r} has none: "
                         f"write optimizer=optimizers.get({name!r}, lr=0.01)")


def as_array(name: str, values: Any) -> np.ndarray:
    """Return values as an array. Raises ValueError, with the name, if they are masked, sparse, ragged or times."""
    if hasattr(values, "toarray"):
        raise ValueError(f"{name} is sparse: write {name}.toarray()")
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise ValueError(f"{name} is a masked array, and masks are not used: remove the masked rows, or write "
                         f"{name}.filled(value)")
    try:
        array = np.asarray(values)
    except ValueError:
        raise ValueError(f"{name} is ragged: give rows of one length, an array (N, ...)") from None
    if array.dtype.kind in "mM":
        raise ValueError(f"{name} holds times ({array.dtype}), not numbers: convert it, for example to seconds by "
                         f"{name} / np.timedelta64(1, 's')")
    return array
