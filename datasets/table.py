"""Tables: a user's own data from a file of columns (.csv, .tsv, .parquet) or of arrays (.npz), as a dataset."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np

from datasets.columns import LENGTH, MISSING, Columns, name_list, printable, read_arrays, read_columns
from datasets.dataset import Dataset
from datasets.idx import DataError

SUFFIXES = (".csv", ".tsv", ".npz", ".parquet")
EXAMPLES = ("x", "X", "data", "images")  # the usual names of the examples in a file of arrays
MAX_CLASSES = 20  # a column of more different integers holds numbers, not classes
MAX_VALUES = 1000  # of a column that is coded


@dataclass(frozen=True)
class Choices:
    """What to do with the columns of a table.

    Parameters
    ----------
    target : str or sequence of str
        The column to predict, or several columns of numbers.
    drop : str or sequence of str
        Columns to leave out.
    one_hot : str or sequence of str
        Columns of texts, or of numbers that stand for kinds: each becomes one column of 0 and 1 for each value. Their
        values are the texts of the file: 1 and 1.0 are different ones.
    missing : "mean" or None
        Whether a missing number becomes the mean of its column in the training part, and a missing text of a column
        in `one_hot` becomes 0 in each of its columns. None: missing values are an error.
    test_share : float
        The share of the rows that is held out for the test, above 0 and below 1. It is drawn at random, always the
        same.
    classify : bool or None
        Whether the target is a class; None: it is one if it holds texts, bools, or few different integers.

    Raises
    ------
    ValueError
        If a value is not one of these, or a column is named twice.

    Examples
    --------
    >>> from datasets import Choices
    >>> Choices(target="Survived", drop=["Name"], one_hot=["Sex"], missing="mean").target
    ('Survived',)
    """

    target: str | Sequence[str] = ()
    drop: str | Sequence[str] = ()
    one_hot: str | Sequence[str] = ()
    missing: Literal["mean"] | None = None
    test_share: float = 0.2
    classify: bool | None = None

    def __post_init__(self) -> None:
        used: dict[str, str] = {}
        for choice in ("target", "drop", "one_hot"):
            names = column_names(choice, getattr(self, choice))
            object.__setattr__(self, choice, names)  # the class is frozen
            for name in names:
                if name in used:
                    places = choice if used[name] == choice else f"{used[name]} and {choice}"
                    raise ValueError(f"the column {printable(name)!r} is named twice, in {places}: name it once")
                used[name] = choice
        if self.missing not in (None, "mean"):
            raise ValueError(f"missing must be 'mean' or None, not {self.missing!r}")
        if not 0 < self.test_share < 1:
            raise ValueError(f"test_share must be above 0 and below 1, not {self.test_share!r}")


def column_names(choice: str, value: Any) -> tuple[str, ...]:
    """Return a name of a column, or several, as a tuple. Raises ValueError, with the choice, if it is neither."""
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{choice} must hold names of columns, not {printable(repr(value))}")
    return tuple(names)


def is_table(name: object) -> bool:
    """Return whether this is the path of a table, judged by its ending."""
    return isinstance(name, (str, os.PathLike)) and Path(name).suffix.lower() in SUFFIXES


def load_table(path: str | os.PathLike[str], choices: Choices) -> Dataset:
    r"""Read a user's own data.

    Parameters
    ----------
    path : str or path-like
        A file .csv, .tsv or .parquet with named columns, or .npz with arrays.
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
    columns = read_columns(path, choices.one_hot)
    target = _chosen(path, columns, choices)
    features = {name: column for name, column in columns.items() if name not in {*target, *choices.drop}}
    if not features:
        raise DataError(f"{path}: no column is left besides the target")
    test = _test_rows(path, len(next(iter(columns.values()))), choices.test_share)
    y, labels = _encode_target(path, [columns[name] for name in target], choices.classify, name_list(target))
    _check_features(path, features, choices)
    names = feature_names(features, choices.one_hot, str(path))
    x = select_features(features, names, choices.one_hot, choices.missing, str(path))
    if choices.missing:
        x = fill(x, means(x[~test]))
    return _dataset(path, x, y, test, labels, names)


def _from_arrays(path: Path, arrays: Mapping[str, np.ndarray], choices: Choices) -> Dataset:
    """Return the dataset of arrays x and y, or x_train, y_train, x_test and y_test."""
    for choice in ("drop", "one_hot", "missing"):
        if getattr(choices, choice):
            raise DataError(f"{path} holds arrays without columns: leave out {choice}")
    if len(choices.target) > 1:
        raise DataError(f"{path} holds arrays: choose one of them as the target, not {name_list(choices.target)}")
    parts = ("x_train", "y_train", "x_test", "y_test")
    if set(parts) <= set(arrays) and not choices.target:
        for x_name, y_name in (parts[:2], parts[2:]):
            _check_arrays(path, x_name, arrays[x_name], y_name, arrays[y_name])
        for name, other in (("x_train", "x_test"), ("y_train", "y_test")):
            if arrays[name].shape[1:] != arrays[other].shape[1:] or (
                    "U" in (kinds := {arrays[name].dtype.kind, arrays[other].dtype.kind}) and len(kinds) > 1):
                raise DataError(f"{path}: {name} holds {arrays[name].dtype} of shape {arrays[name].shape}, and {other} "
                                f"{arrays[other].dtype} of shape {arrays[other].shape}: only their rows may differ")
        x = np.concatenate([arrays["x_train"], arrays["x_test"]])
        y = np.concatenate([arrays["y_train"], arrays["y_test"]])
        test = np.arange(len(x)) >= len(arrays["x_train"])
    else:
        usual = (name for name in ("y", "target", "labels") if name in arrays)
        target = choices.target[0] if choices.target else next(usual, "")
        others = [name for name in arrays if name != target]
        name = next((n for n in EXAMPLES if n in others), others[0] if len(others) == 1 else "")
        if target not in arrays or not name:
            raise DataError(f"{path} holds the arrays {name_list(list(arrays))}: name them x and y, or x_train, "
                            "y_train, x_test and y_test, or choose the target among them")
        x, y = arrays[name], arrays[target]
        _check_arrays(path, name, x, target, y)
        test = _test_rows(path, len(x), choices.test_share)
    y, labels = _encode_array(path, y, choices.classify)
    rows = x.reshape(len(x), -1)
    wrong = np.count_nonzero(~np.isfinite(rows).all(axis=1))
    if wrong:
        raise DataError(f"{path}: {wrong} rows of x hold NaN or infinity: remove or correct them")
    image_shape = (x.shape[1], x.shape[2]) if x.ndim == 3 else None
    return _dataset(path, rows, y, test, labels, (), image_shape)


def _check_arrays(path: Path, x_name: str, x: np.ndarray, y_name: str, y: np.ndarray) -> None:
    """Raise DataError unless x holds rows of numbers, and y one value or one row for each."""
    x_name, y_name = printable(x_name), printable(y_name)
    if x.ndim < 2 or x.dtype.kind not in "buif" or not x.size:
        raise DataError(f"{path}: {x_name} must be numbers of shape (N, ...), not {x.dtype} of shape {x.shape}")
    if y.ndim not in (1, 2) or len(y) != len(x) or not y.size:
        raise DataError(f"{path}: {x_name} has {len(x)} rows, but {y_name} has shape {y.shape}: it must have one value "
                        "for each")
    if y.dtype.kind not in "buifU":
        raise DataError(f"{path}: {y_name} must hold numbers or texts, not {y.dtype}")


def _encode_array(path: Path, y: np.ndarray, classify: bool | None,
                  ) -> tuple[np.ndarray, tuple[str | int | bool, ...] | None]:
    """Return the targets and labels as _encode_target does; rows with a single 1 are one-hot classes 0 to K - 1."""
    if y.ndim == 2 and y.shape[1] > 1 and classify is not False and y.dtype.kind in "buif" and (
            ((y == 0) | (y == 1)).all() and (np.count_nonzero(y, axis=1) == 1).all()):
        return y.argmax(axis=1).astype(np.int64), tuple(range(y.shape[1]))
    return _encode_target(path, [y] if y.ndim == 1 else list(y.T), classify, "y")


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
                raise DataError(f"{path} has no column {printable(name)!r} ({choice}): choose from "
                                f"{name_list(list(columns), 40)}")
    if not choices.target:
        raise DataError(f"{path}: choose the target, the column to predict, among {name_list(list(columns), 40)}")
    return list(choices.target)


def _encode_target(path: Path, columns: Sequence[np.ndarray], classify: bool | None,
                   name: str) -> tuple[np.ndarray, tuple[str | int | bool, ...] | None]:
    """Return the targets and the labels of the classes; None if they are numbers."""
    for column in columns:
        missing = np.array([value is None or value != value for value in column.tolist()], bool)
        if missing.any():
            texts = ", ".join(sorted(MISSING - {""}))
            raise DataError(f"{path}: {missing.sum()} rows lack the target {name}: remove them (empty values and the "
                            f"texts {texts} count as missing)")
        if column.dtype.kind == "f" and not np.isfinite(column).all():
            raise DataError(f"{path}: the target {name} holds infinite values: correct or remove them")
    if len(columns) == 1 and classify is not False and (classify or _is_class(columns[0])):
        column = columns[0].astype(str) if columns[0].dtype == object else columns[0]
        if column.dtype.kind == "f":
            if ((column != np.floor(column)) | (np.abs(column) > 2**53)).any():
                raise DataError(f"{path}: the target {name} holds fractions, which are no classes: choose "
                                "mean-squared-error, or leave out the loss")
            column = column.astype(np.int64)
        labels, y = np.unique(column, return_inverse=True)
        if len(labels) < 2:
            raise DataError(f"{path}: the target {name} is always {printable(str(labels[0]))}: there is nothing to "
                            "learn")
        if not classify and column.dtype.kind == "U" and 2 * len(labels) > len(column):
            raise DataError(f"{path}: the target {name} holds {len(labels)} different texts in {len(column)} rows, "
                            "which hardly are classes: choose another target, or the loss cross-entropy to train on it")
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


def feature_names(features: Columns, one_hot: Sequence[str], where: str = "the table") -> tuple[str, ...]:
    """Return the names of the inputs: those of the columns, and "column=value" for each value of the coded ones.

    Parameters
    ----------
    features : dict
        The columns.
    one_hot : sequence of str
        The columns to code. They hold texts: see `read_columns`.
    where : str
        What the columns are from, for messages.

    Returns
    -------
    tuple of str
        The names in the order of the columns.

    Raises
    ------
    DataError
        If a coded column holds no values or too many different ones, or if two inputs could have one name.
    """
    names: list[str] = []
    for name, column in features.items():
        coded = next((coded for coded in one_hot if name.startswith(f"{coded}=")), None)
        if coded is not None:
            raise DataError(f"{where}: the column {printable(name)!r} has a name as those of the values of "
                            f"{printable(coded)!r}, which is coded: rename it, or leave it out (--drop NAME)")
        if name not in one_hot:
            names.append(name)
            continue
        values = sorted({value for value in column.tolist() if value})
        if not 0 < len(values) <= MAX_VALUES:
            raise DataError(f"{where}: the column {printable(name)!r} holds {len(values):,} different values, but "
                            f"only 1 to {MAX_VALUES:,} can be coded (--one-hot): leave it out (--drop NAME)")
        names += [f"{name}={value}" for value in values]
    return tuple(names)


def _check_features(path: Path, features: Columns, choices: Choices) -> None:
    """Raise DataError, with what to do, if columns hold texts or lack values."""
    others = {name: column for name, column in features.items() if name not in choices.one_hot}
    texts = [f"{printable(name)} ({len(set(column.tolist()))} different)" for name, column in others.items()
             if column.dtype == object]
    lacking = {} if choices.missing else {
        name: count for name, column in features.items() if (column.dtype != object or name in choices.one_hot)
        and (count := int(np.count_nonzero(_is_missing(column))))}
    if not texts and not lacking:
        return
    problems = [f"the columns {name_list(texts, length=2 * LENGTH)} hold texts"] * bool(texts)
    rows = name_list([f"{printable(name)} ({count} rows)" for name, count in lacking.items()], length=2 * LENGTH)
    problems += [f"{'' if texts else 'the columns '}{rows} lack values"] * bool(lacking)
    advice = ["leave out columns (--drop NAME ...)"]
    advice += ["code each text as a column of 0 and 1 (--one-hot NAME ...)"] * bool(texts)
    advice += ["replace missing numbers by their mean (--missing mean)"] * bool(lacking)
    raise DataError(f"{path}: {', and '.join(problems)}: {', or '.join(advice)}")


def _is_missing(column: np.ndarray) -> np.ndarray:
    """Return which values of a column of numbers or texts are missing."""
    if column.dtype == object:
        return np.array([not text for text in column.tolist()], bool)
    return np.asarray(np.isnan(column))


def select_features(columns: Columns, names: Sequence[str], one_hot: Sequence[str] = (),
                    missing: Literal["mean"] | None = None, where: str = "the table") -> np.ndarray:
    """Return the inputs of a network from the columns of a table.

    Parameters
    ----------
    columns : dict
        The columns; others than those that are needed may be among them.
    names : sequence of str
        The names of the inputs, from `feature_names`.
    one_hot : sequence of str
        The columns that are coded. They hold texts: see `read_columns`.
    missing : "mean" or None
        Whether a missing value of a coded column becomes 0 in all its inputs. None: it is an error.
    where : str
        What the columns are from, for messages.

    Returns
    -------
    ndarray of shape (N, inputs)
        The inputs as float64, with NaN for missing numbers.

    Raises
    ------
    DataError
        If a column does not exist, holds texts or infinite numbers, or a coded one holds unknown values.
    """
    x = np.empty((len(next(iter(columns.values()))), len(names)))
    coded: dict[str, dict[str, int]] = {}  # of each coded column, the inputs of its values
    for k, name in enumerate(names):
        source = next((column for column in one_hot if name.startswith(f"{column}=")), name)
        if source not in columns:
            raise DataError(f"{where} has no column {printable(source)!r}, which the network takes: it has "
                            f"{name_list(list(columns))}")
        if source != name:
            coded.setdefault(source, {})[name.removeprefix(f"{source}=")] = k
            continue
        if columns[name].dtype.kind not in "buif":
            raise DataError(f"{where}: the column {printable(name)!r} holds texts, but the network takes numbers")
        x[:, k] = columns[name]
        if np.isinf(x[:, k]).any():
            raise DataError(f"{where}: the column {printable(name)!r} holds {np.isinf(x[:, k]).sum()} infinite values: "
                            "correct or remove them")
    for name, places in coded.items():
        x[:, list(places.values())] = _code(columns[name], places, name, missing, where)
    return x


def _code(column: np.ndarray, places: Mapping[str, int], name: str, missing: str | None, where: str) -> np.ndarray:
    """Return a column of 0 and 1 for each known value of a column of texts."""
    values, inverse = np.unique(np.array([text or "" for text in column.tolist()], object), return_inverse=True)
    unknown = [k for k, value in enumerate(values) if value and value not in places]
    if unknown:
        rows = np.count_nonzero(np.isin(inverse, unknown))
        raise DataError(f"{where}: the column {printable(name)!r} holds {name_list(list(values[unknown]))} in {rows} "
                        f"rows, but the network only knows {name_list(list(places))}: correct these values, leave them "
                        "empty if --missing mean was given, or remove the rows")
    if missing is None and "" in values:
        raise DataError(f"{where}: {np.count_nonzero(inverse == 0)} rows lack {printable(name)}: remove them, or train "
                        "with --missing mean, so that they count as none of its values")
    known = {value: k for k, value in enumerate(places)}
    codes = np.array([known.get(value, -1) for value in values.tolist()])[inverse]
    return np.asarray(codes[:, None] == np.arange(len(places)))


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
