"""Tables: a user's own data from a file of columns (.csv, .parquet) or of arrays (.npz), as a dataset."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np

from datasets.columns import Columns, read_arrays, read_columns
from datasets.dataset import Dataset
from datasets.idx import DataError

SUFFIXES = (".csv", ".npz", ".parquet")
MAX_CLASSES = 20  # a column of more different integers holds numbers, not classes
SHOWN = 8  # names in a message


@dataclass(frozen=True)
class Choices:
    """What to do with the columns of a table.

    Parameters
    ----------
    target : sequence of str
        The column to predict, or several columns of numbers.
    drop : sequence of str
        Columns to leave out.
    one_hot : sequence of str
        Columns of texts, or of numbers that stand for kinds: each becomes one column of 0 and 1 for each value.
    missing : "mean" or None
        Whether a missing number becomes the mean of its column in the training part.
    test_share : float
        The share of the rows that is held out for the test, above 0 and below 1. It is drawn at random, always the
        same.
    classify : bool or None
        Whether the target is a class; None: it is one if it holds texts, bools, or few different integers.

    Examples
    --------
    >>> from datasets import Choices
    >>> Choices(target=["Survived"], drop=["Name"], one_hot=["Sex"], missing="mean").test_share
    0.2
    """

    target: Sequence[str] = ()
    drop: Sequence[str] = ()
    one_hot: Sequence[str] = ()
    missing: Literal["mean"] | None = None
    test_share: float = 0.2
    classify: bool | None = None


def is_table(name: object) -> bool:
    """Return whether this is the path of a table, judged by its ending."""
    return isinstance(name, (str, os.PathLike)) and Path(name).suffix.lower() in SUFFIXES


def load_table(path: str | os.PathLike[str], choices: Choices) -> Dataset:
    r"""Read a user's own data.

    Parameters
    ----------
    path : str or path-like
        A file .csv or .parquet with named columns, or .npz with arrays.
    choices : Choices
        What to do with its columns.

    Returns
    -------
    Dataset
        The examples, of which a share is held out for the test.

    Raises
    ------
    DataError
        If the file cannot be read, or a column cannot be used. The message says which, and what to do.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from datasets import Choices, load_table
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "irises.csv"
    ...     _ = path.write_text("length,width,kind\n" + "5.1,3.5,setosa\n6.2,2.9,virginica\n" * 5)
    ...     data = load_table(path, Choices(target=["kind"]))
    >>> data
    Dataset('irises', 8 + 2 examples of 2 features, 2 classes)
    >>> data.feature_names, data.labels
    (('length', 'width'), ('setosa', 'virginica'))
    """
    path = Path(path)
    if path.suffix.lower() == ".npz":
        return _from_arrays(path, read_arrays(path), choices)
    columns = read_columns(path)
    target = _chosen(path, columns, choices)
    features = {name: column for name, column in columns.items() if name not in {*target, *choices.drop}}
    if not features:
        raise DataError(f"{path}: no column is left besides the target")
    test = _test_rows(path, len(next(iter(columns.values()))), choices.test_share)
    y, labels = _encode_target(path, [columns[name] for name in target], choices.classify, ", ".join(target))
    names = feature_names(features, choices.one_hot)
    _check_features(path, features, choices)
    x = select_features(features, names)
    if choices.missing:
        x = fill(x, means(x[~test]))
    return _dataset(path, x, y, test, labels, names)


def _from_arrays(path: Path, arrays: Mapping[str, np.ndarray], choices: Choices) -> Dataset:
    """Return the dataset of arrays x and y, or x_train, y_train, x_test and y_test."""
    for choice in ("drop", "one_hot", "missing"):
        if getattr(choices, choice):
            raise DataError(f"{path} holds arrays without columns: leave out {choice}")
    parts = ("x_train", "y_train", "x_test", "y_test")
    if set(parts) <= set(arrays) and not choices.target:
        x = np.concatenate([arrays["x_train"], arrays["x_test"]])
        y = np.concatenate([arrays["y_train"], arrays["y_test"]])
        test = np.arange(len(x)) >= len(arrays["x_train"])
    else:
        usual = (name for name in ("y", "target", "labels") if name in arrays)
        target = choices.target[0] if choices.target else next(usual, "")
        others = [name for name in arrays if name != target]
        name = next((n for n in ("x", "X", "data", "images") if n in others), others[0] if len(others) == 1 else "")
        if target not in arrays or not name:
            raise DataError(f"{path} holds the arrays {_names(list(arrays))}: name them x and y, or x_train, y_train, "
                            "x_test and y_test, or choose the target among them")
        x, y = arrays[name], arrays[target]
        test = _test_rows(path, len(x) if x.ndim else 0, choices.test_share)
    if x.ndim < 2 or x.dtype.kind not in "buif" or not x.size:
        raise DataError(f"{path}: x must be numbers of shape (N, ...), not {x.dtype} of shape {x.shape}")
    if y.ndim not in (1, 2) or len(y) != len(x):
        raise DataError(f"{path}: x has {len(x)} rows, but y has shape {y.shape}: it must have one value for each")
    columns = [y] if y.ndim == 1 else list(y.T)
    y, labels = _encode_target(path, columns, choices.classify, "y")
    rows = x.reshape(len(x), -1)
    wrong = np.count_nonzero(~np.isfinite(rows).all(axis=1))
    if wrong:
        raise DataError(f"{path}: {wrong} rows of x hold NaN or infinity: remove or correct them")
    image_shape = (x.shape[1], x.shape[2]) if x.ndim == 3 else None
    return _dataset(path, rows, y, test, labels, (), image_shape)


def _dataset(path: Path, x: np.ndarray, y: np.ndarray, test: np.ndarray, labels: tuple[str | int | bool, ...] | None,
             names: tuple[str, ...], image_shape: tuple[int, int] | None = None) -> Dataset:
    return Dataset(path.stem, x[~test], y[~test], x[test], y[test], image_shape,
                   () if labels is None else tuple(map(str, labels)), labels, names)


def _test_rows(path: Path, N: int, share: float) -> np.ndarray:
    """Return which rows are held out for the test, drawn at random from a fixed seed."""
    count = max(1, round(share * N))
    if count >= N:
        raise DataError(f"{path} has {N} rows, of which none are left to train on: give more rows or a smaller share")
    held_out = np.zeros(N, bool)
    held_out[np.random.default_rng(0).permutation(N)[:count]] = True
    return held_out


def _chosen(path: Path, columns: Columns, choices: Choices) -> list[str]:
    """Return the target's columns. Raises DataError if a chosen column does not exist."""
    for choice in ("target", "drop", "one_hot"):
        for name in getattr(choices, choice):
            if name not in columns:
                raise DataError(f"{path} has no column {name!r} ({choice}): choose from {_names(list(columns), 40)}")
    if not choices.target:
        raise DataError(f"{path}: choose the target, the column to predict, among {_names(list(columns), 40)}")
    return list(choices.target)


def _encode_target(path: Path, columns: Sequence[np.ndarray], classify: bool | None,
                   name: str) -> tuple[np.ndarray, tuple[str | int | bool, ...] | None]:
    """Return the targets and the labels of the classes; None if they are numbers."""
    for column in columns:
        missing = np.array([value is None or value != value for value in column.tolist()], bool)
        if missing.any():
            raise DataError(f"{path}: {missing.sum()} rows lack the target {name}: remove them")
    if len(columns) == 1 and classify is not False and (classify or _is_class(columns[0])):
        column = columns[0].astype(str) if columns[0].dtype == object else columns[0]
        if column.dtype.kind == "f":
            if (column != np.floor(column)).any():
                raise DataError(f"{path}: the target {name} holds fractions, which are no classes: choose "
                                "mean-squared-error, or leave out the loss")
            column = column.astype(np.int64)
        labels, y = np.unique(column, return_inverse=True)
        if len(labels) < 2:
            raise DataError(f"{path}: the target {name} is always {labels[0]}: there is nothing to learn")
        return y.astype(np.int64), tuple(labels.tolist())
    for column in columns:
        if column.dtype.kind not in "buif":
            raise DataError(f"{path}: the target {name} holds texts, which a regression cannot predict: leave out the "
                            "loss, or choose cross-entropy and one target")
    return np.stack([np.asarray(column, float) for column in columns], axis=1), None


def _is_class(column: np.ndarray) -> bool:
    if column.dtype.kind in "iu":
        distinct = len(np.unique(column))
        return distinct <= MAX_CLASSES and 2 * distinct <= len(column)
    return column.dtype.kind not in "f"


def feature_names(features: Columns, one_hot: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the inputs: those of the columns, and "column=value" for each value of the coded ones.

    Parameters
    ----------
    features : dict
        The columns.
    one_hot : sequence of str
        The columns to code.

    Returns
    -------
    tuple of str
        The names in the order of the columns.
    """
    names: list[str] = []
    for name, column in features.items():
        values = sorted({_text(value) for value in column.tolist()} - {""}) if name in one_hot else None
        names += [name] if values is None else [f"{name}={value}" for value in values]
    return tuple(names)


def _text(value: Any) -> str:
    """Return a value as text, 3 and 3.0 as the same; empty if it is missing."""
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _check_features(path: Path, features: Columns, choices: Choices) -> None:
    """Raise DataError, with what to do, if columns hold texts or lack values."""
    others = {name: column for name, column in features.items() if name not in choices.one_hot}
    texts = [f"{name} ({len(set(column.tolist()))} different)" for name, column in others.items()
             if column.dtype == object]
    lacking = {name: count for name, column in others.items() if choices.missing is None and column.dtype != object
               and (count := int(np.count_nonzero(~np.isfinite(column))))}
    if not texts and not lacking:
        return
    problems = [f"the columns {', '.join(texts)} hold texts"] * bool(texts)
    rows = ", ".join(f"{name} ({count} rows)" for name, count in lacking.items())
    problems += [f"{'' if texts else 'the columns '}{rows} lack values"] * bool(lacking)
    advice = ["leave out columns (--drop NAME ...)"]
    advice += ["code each text as a column of 0 and 1 (--one-hot NAME ...)"] * bool(texts)
    advice += ["replace missing numbers by their mean (--missing mean)"] * bool(lacking)
    raise DataError(f"{path}: {', and '.join(problems)}: {', or '.join(advice)}")


def select_features(columns: Columns, names: Sequence[str], where: str = "the table") -> np.ndarray:
    """Return the inputs of a network from the columns of a table.

    Parameters
    ----------
    columns : dict
        The columns; others than those that are needed may be among them.
    names : sequence of str
        The names of the inputs, from `feature_names`.
    where : str
        What the columns are from, for messages.

    Returns
    -------
    ndarray of shape (N, inputs)
        The inputs as float64, with NaN for missing numbers.

    Raises
    ------
    DataError
        If a column is missing, or holds texts.
    """
    inputs = []
    for name in names:
        column, _, value = name.partition("=")
        if name in columns:
            if columns[name].dtype.kind not in "buif":
                raise DataError(f"{where}: the column {name!r} holds texts, but the network takes numbers")
            inputs.append(np.asarray(columns[name], float))
        elif value and column in columns:
            inputs.append(np.array([_text(entry) == value for entry in columns[column].tolist()], float))
        else:
            raise DataError(f"{where} has no column {column if value else name!r}, which the network takes: it has "
                            f"{_names(list(columns))}")
    return np.stack(inputs, axis=1)


def means(x: np.ndarray) -> np.ndarray:
    """Return the mean of each column without its missing numbers; 0 if all are missing.

    Parameters
    ----------
    x : ndarray of shape (N, inputs)
        The numbers, with NaN for missing ones.

    Returns
    -------
    ndarray of shape (inputs,)
        The means.
    """
    given = np.isfinite(x)
    totals = np.where(given, x, 0).sum(axis=0)
    result: np.ndarray = totals / np.maximum(given.sum(axis=0), 1)
    return result


def fill(x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return x with the value of its column in place of each missing number.

    Parameters
    ----------
    x : ndarray of shape (N, inputs)
        The numbers, with NaN for missing ones.
    values : ndarray of shape (inputs,)
        The values.

    Returns
    -------
    ndarray of shape (N, inputs)
        A new array.
    """
    return np.where(np.isfinite(x), x, values)


def _names(names: Sequence[str], shown: int = SHOWN) -> str:
    text = ", ".join(names[:shown])
    return text if len(names) <= shown else f"{text}, ... ({len(names)})"
