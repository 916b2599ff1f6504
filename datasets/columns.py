"""Columns of numbers and texts from files .csv and .parquet, and arrays from files .npz."""

from collections.abc import Sequence
import csv
import os
from pathlib import Path
from typing import Any
import zipfile

import numpy as np

from datasets.idx import DataError

MISSING = {"", "na", "n/a", "nan", "null", "none", "?"}  # texts that stand for no value, in lower case
MAX_RATIO = 1000  # of the size of the arrays in a compressed file to the size of the file

Columns = dict[str, np.ndarray]
"""The columns of a table by name: numbers, with NaN for missing ones, or texts, with None for missing ones."""


def read_columns(path: str | os.PathLike[str]) -> Columns:
    """Read the columns of a file .csv or .parquet.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    dict
        The columns by name, all of one length, at least 1.

    Raises
    ------
    DataError
        If the file cannot be read as such a table.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        columns = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from None
    if not columns or not len(next(iter(columns.values()))):
        raise DataError(f"{path} holds no rows")
    return columns


def _read_csv(path: Path) -> Columns:
    with open(path, newline="", encoding="utf-8-sig") as file:
        header = file.readline()
        delimiter = max(",;\t", key=header.count)
        file.seek(0)
        lines = csv.reader(file, delimiter=delimiter, strict=True)
        names = [name.strip() for name in next(lines, [])]
        if not names or any(map(_is_number, names)):
            raise DataError(f"{path}: the first line must hold the names of the columns, not {header[:60].strip()!r}")
        if len(set(names)) < len(names) or "" in names:
            raise DataError(f"{path}: each column needs a name of its own, but the first line is "
                            f"{header[:60].strip()!r}")
        rows = []
        for row in lines:
            if not row:
                continue
            if len(row) != len(names):
                raise DataError(f"{path}: line {lines.line_num} has {len(row)} values, but there are {len(names)} "
                                "columns")
            rows.append(row)
    return {name: _typed([row[i].strip() for row in rows]) for i, name in enumerate(names)}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _typed(texts: Sequence[str]) -> np.ndarray:
    """Return a column as integers, bools or floats if all texts are such; else as texts."""
    missing = [text.lower() in MISSING for text in texts]
    given = [text for text, gone in zip(texts, missing) if not gone]
    if len(given) == len(texts) and all(text in ("True", "False", "true", "false") for text in texts):
        return np.array([text in ("True", "true") for text in texts])
    try:
        if len(given) == len(texts):
            return np.array([int(text) for text in texts], np.int64)
    except (ValueError, OverflowError):
        pass
    try:
        numbers = np.full(len(texts), np.nan)
        numbers[~np.array(missing, bool)] = np.array(given, float)
        return numbers
    except ValueError:
        return np.array([None if gone else text for text, gone in zip(texts, missing)], object)


def _read_parquet(path: Path) -> Columns:
    try:
        import polars
    except ImportError:
        raise DataError("to read .parquet, install polars: pip install 'feedforward[parquet]'") from None
    try:
        table = polars.read_parquet(path)
    except (polars.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} cannot be read as a table: {str(error).splitlines()[0]}") from None
    return {series.name: _from_series(series) for series in table}


def _from_series(series: Any) -> np.ndarray:
    """Return a column of polars."""
    numbers = series.dtype.is_numeric() or str(series.dtype) == "Boolean"
    if numbers and (series.dtype.is_float() or not series.null_count()):
        return np.asarray(series.to_numpy())
    if numbers:
        return np.array([np.nan if value is None else float(value) for value in series.to_list()])
    return np.array([None if value is None else str(value) for value in series.to_list()], object)


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read the arrays of a file .npz.

    Parameters
    ----------
    path : str or path-like
        The file. Nothing in it is executed, and no memory is allocated for arrays that it does not hold.

    Returns
    -------
    dict
        The arrays by name.

    Raises
    ------
    DataError
        If it is not such a file, or an array holds objects.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
            if sum(sizes.values()) > MAX_RATIO * path.stat().st_size:
                raise DataError(f"{path} would become more than {MAX_RATIO} times as large as the file")
            for name, size in sizes.items():
                with archive.open(name) as member:
                    _check_size(path, name, member, size)
        with np.load(path) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be read as a file of arrays: {str(error).splitlines()[0]}") from None


def _check_size(path: Path, name: str, member: Any, size: int) -> None:
    """Raise DataError unless the array is as large as its header says."""
    version = np.lib.format.read_magic(member)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read_header:
        raise DataError(f"{path}: its array {name} has the unknown version {version}")
    shape, _, dtype = read_header[version](member)
    expected = dtype.itemsize
    for n in shape:
        expected *= n
    if member.tell() + expected != size and not dtype.hasobject:
        raise DataError(f"{path}: its array {name} says that it has shape {shape}, but the file holds {size} bytes of "
                        "it")
