"""Frames: arrays and column names from the tables of pandas, polars and others, which are not imported here."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nn.labels import is_missing, shown


def column_keys(x: Any) -> tuple[Any, ...] | None:
    """Return the keys of the columns of a frame, names or others such as integers; None for other data.

    Parameters
    ----------
    x : object
        The data that a user passes.

    Returns
    -------
    tuple or None
        The keys: ``x[key]`` is a column.

    Raises
    ------
    ValueError
        If it is a query that was not run.
    """
    if type(x).__name__ == "LazyFrame":
        raise ValueError("x is a LazyFrame, which holds no data yet: write x.collect()")
    names = getattr(x, "columns", None)
    return None if names is None or isinstance(names, (str, bytes)) else tuple(names)


def column_names(x: Any) -> tuple[str, ...] | None:
    """Return the names of the columns of a frame; None for other data, and for names that are not texts.

    Parameters
    ----------
    x : object
        The data that a user passes.

    Returns
    -------
    tuple of str or None
        The names.
    """
    names = column_keys(x)
    return names if names and all(isinstance(name, str) for name in names) else None


def frame_to_array(x: Any, names: Sequence[Any]) -> np.ndarray:
    """Return a frame as an array of numbers; missing values are NaN.

    Parameters
    ----------
    x : frame
        The frame; ``x[name]`` is a column.
    names : sequence
        The names of its columns.

    Returns
    -------
    ndarray of shape (N, columns)
        The numbers.

    Raises
    ------
    ValueError
        If columns hold something else; the message names them.
    """
    array = np.asarray(x)
    if array.dtype.kind in "buif":
        return array
    if len(set(names)) < len(names):
        raise ValueError("two columns of x have the same name: give each a name of its own")
    numbers, others = [], []
    for name in names:
        column = np.asarray(x[name])
        if column.dtype == object:  # pandas: integers or bools with missing values
            missing = np.array([is_missing(value) for value in column], bool)
            if all(isinstance(value, (int, float, np.number, np.bool_)) for value in column[~missing]):
                column = np.array([np.nan if gone else float(value) for value, gone in zip(column, missing)])
        if column.dtype.kind in "buif":
            numbers.append(np.asarray(column, float))
        else:
            others.append(name)
    if others:
        raise ValueError(f"the columns {shown(others)} of x do not hold numbers: leave them out, or "
                         "code them as numbers, such as by pandas.get_dummies(x) or x.to_dummies() of polars")
    return np.stack(numbers, axis=1)


def check_columns(names: Sequence[str], expected: Sequence[str]) -> None:
    """Check that a frame has the columns that a model was trained on, in their order.

    Parameters
    ----------
    names : sequence of str
        The names of the columns of the frame.
    expected : sequence of str
        The names that the model was trained on.

    Raises
    ------
    ValueError
        If they differ; the message says how.
    """
    if list(names) == list(expected):
        return
    missing = [name for name in expected if name not in names]
    if missing:
        raise ValueError(f"x lacks the columns {shown(missing)}, which the model was trained on")
    what = "other columns too" if len(names) > len(expected) else "its columns in another order"
    raise ValueError(f"x has {what}: the model was trained on {len(expected)} columns, {shown(expected)}; write "
                     "x[list(model.feature_names)]")
