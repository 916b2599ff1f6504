"""Frames: arrays and column names from the tables of pandas, polars and others, which are not imported here."""

from collections.abc import Sequence
from typing import Any

import numpy as np

SHOWN = 8  # names in a message


def columns(x: Any) -> tuple[Any, ...] | None:
    """Return what names the columns of a frame, of any type; None for other data.

    Parameters
    ----------
    x : object
        The data that a user passes.

    Returns
    -------
    tuple or None
        The names.

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
    names = columns(x)
    return names if names and all(isinstance(name, str) for name in names) else None


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
        raise ValueError(f"the columns {', '.join(map(repr, others))} of x do not hold numbers: leave them out, or "
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
        more = f" and {len(missing) - SHOWN:,} more" if len(missing) > SHOWN else ""
        raise ValueError(f"x lacks the columns {', '.join(map(repr, missing[:SHOWN]))}{more}, which the model was "
                         "trained on")
    what = "other columns too" if len(names) > len(expected) else "its columns in another order"
    raise ValueError(f"x has {what}: the model was trained on {len(expected)} columns, "
                     f"{', '.join(map(repr, expected[:5]))}{', ...' if len(expected) > 5 else ''}; write "
                     "x[list(model.feature_names)]")
