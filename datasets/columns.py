"""Columns of numbers and texts from files .csv, .tsv and .parquet, and arrays from files .npz."""

from collections.abc import Collection, Sequence
import csv
import lzma
import os
from pathlib import Path
import re
import struct
import tokenize
from typing import Any
import zipfile
import zlib

import numpy as np

from datasets.idx import DataError

MISSING = {"", "na", "n/a", "nan", "null", "none", "?"}  # texts that stand for no value, in lower case
MAX_RATIO = 1000  # of the size of the arrays, or the number of values, in a compressed file to the size of the file
PLAUSIBLE = 10_000_000  # values of a Parquet file of any size: equal ones take almost no space
SHOWN, LENGTH = 8, 40  # names in a message, and characters of each
DAMAGED = (OSError, ValueError, KeyError, IndexError, TypeError, SyntaxError, OverflowError, RuntimeError, EOFError,
           struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)  # of readers of .npz

Columns = dict[str, np.ndarray]
"""The columns of a table by name: numbers, with NaN for missing ones, or texts, with None for missing ones."""


def printable(text: str, length: int = LENGTH) -> str:
    """Return the first characters of a text from a file in one line, with ? for those that a terminal would obey."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in " ".join(text[:length].split()))
    return shown + "..." * (len(text) > length)


def name_list(names: Sequence[str], shown: int = SHOWN, length: int = LENGTH) -> str:
    """Return the first names in one line, and how many there are if there are more."""
    text = ", ".join(printable(name, length) for name in names[:shown])
    return text if len(names) <= shown else f"{text}, ... ({len(names)})"


def first_line(error: BaseException) -> str:
    """Return the first line of the message of an error, or its type if it has no message."""
    return printable(next(iter(str(error).splitlines()), ""), 300) or type(error).__name__


def check_file(path: Path) -> None:
    """Raise DataError unless there is such a file."""
    if not path.is_file():
        raise DataError(f"{path} is not a file" if path.exists() else f"{path}: there is no such file")


def read_columns(path: str | os.PathLike[str], texts: Collection[str] = ()) -> Columns:
    """Read the columns of a file .csv, .tsv or .parquet.

    Parameters
    ----------
    path : str or path-like
        The file.
    texts : collection of str
        The columns whose values are kept as the texts of the file, whatever they look like. The type of the others
        depends on all their values: the same value may be an integer in one file and a float in another.

    Returns
    -------
    dict
        The columns by name, all of one length, at least 1.

    Raises
    ------
    DataError
        If the file cannot be read as such a table.

    Notes
    -----
    Parquet is read by polars. A file whose beginning, end or number of values is wrong is refused before. But a few
    kinds of damage within its pages, such as a wrong size, make polars end the process, which cannot be prevented
    here.
    """
    path = Path(path)
    check_file(path)
    try:
        columns = _read_parquet(path, texts) if path.suffix.lower() == ".parquet" else _read_csv(path, texts)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a table: {first_line(error)}") from None
    if not columns or not len(next(iter(columns.values()))):
        raise DataError(f"{path} holds no rows")
    return columns


def _read_csv(path: Path, texts: Collection[str]) -> Columns:
    with open(path, newline="", encoding="utf-8-sig") as file:
        header = file.readline()
        unquoted = re.sub(r'"[^"]*("|$)', "", header)
        file.seek(0)
        delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=unquoted.count)
        lines = csv.reader(file, delimiter=delimiter, strict=True)
        names = [name.strip() for name in next(lines, [])]
        _check_header(path, names, repr(printable(header, 60)))
        rows = []
        for row in lines:
            if not row:
                continue
            if len(row) != len(names):
                raise DataError(f"{path}: line {lines.line_num} has {len(row)} values, but there are {len(names)} "
                                "columns")
            rows.append(row)
    columns = {name: [row[i].strip() for row in rows] for i, name in enumerate(names)}
    return {name: _as_texts(column) if name in texts else _typed(column) for name, column in columns.items()}


def _check_header(path: Path, names: Sequence[str], header: str) -> None:
    """Raise DataError unless the names of the columns are such."""
    if len(names) > 1 and names[0] == "" and all(names[1:]):
        raise DataError(f"{path}: the first column has no name: write the file without the index (index=False in "
                        "pandas), or give the column a name and leave it out (--drop NAME)")
    if not names or any(map(_is_number, names)):
        raise DataError(f"{path}: the first line must hold the names of the columns, not {header}")
    if len(set(names)) < len(names) or "" in names:
        raise DataError(f"{path}: each column needs a name of its own, but the first line is {header}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # Python takes 1_000 as a number


def _typed(texts: Sequence[str]) -> np.ndarray:
    """Return a column as integers, bools or floats if all texts are such; else as texts."""
    missing = [text.lower() in MISSING for text in texts]
    given = [text for text, gone in zip(texts, missing) if not gone]
    if len(given) == len(texts) and all(text in ("True", "False", "true", "false") for text in texts):
        return np.array([text in ("True", "true") for text in texts])
    if any("_" in text for text in given):
        return _as_texts(texts)
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
        return _as_texts(texts)


def _as_texts(texts: Sequence[str]) -> np.ndarray:
    return np.array([None if text.lower() in MISSING else text for text in texts], object)


def import_polars() -> Any:
    """Return polars. Raises DataError, with what to install, if there is none."""
    try:
        import polars
    except ImportError:
        raise DataError("to read .parquet, install polars: pip install 'feedforward[parquet]'") from None
    return polars


def _read_parquet(path: Path, texts: Collection[str]) -> Columns:
    polars = import_polars()
    check_footer(path)
    try:
        description = polars.scan_parquet(path, glob=False)
        width, height = len(description.collect_schema()), description.select(polars.len()).collect().item()
        if width * height > max(PLAUSIBLE, MAX_RATIO * path.stat().st_size):
            raise DataError(f"{path} says that it holds {height:,} rows of {width:,} columns, which is not plausible "
                            f"for {path.stat().st_size:,} bytes")
        table = polars.read_parquet(path, glob=False)
    except (polars.exceptions.PolarsError, polars.exceptions.PanicException, OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a table: {first_line(error)}") from None
    return {series.name: from_series(series, series.name in texts) for series in table}


def check_footer(path: Path) -> None:
    """Raise DataError unless a file begins and ends as Parquet does: polars may not survive others."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(4)
        file.seek(max(0, size - 8))
        end = file.read(8)
    if size < 12 or start != b"PAR1" or end[4:] != b"PAR1":
        raise DataError(f"{path} cannot be read as a table: it does not begin and end as a Parquet file does")
    if int.from_bytes(end[:4], "little") > size - 12:
        raise DataError(f"{path} cannot be read as a table: its description would be larger than the file")


def from_series(series: Any, text: bool) -> np.ndarray:
    """Return a column of polars."""
    if str(series.dtype) == "Null" and not text:
        return np.full(len(series), np.nan)
    numbers = not text and (series.dtype.is_numeric() or str(series.dtype) == "Boolean")
    if numbers and not series.dtype.is_decimal() and (series.dtype.is_float() or not series.null_count()):
        return np.asarray(series.to_numpy())
    if numbers:
        return np.array([np.nan if value is None else float(value) for value in series.to_list()])
    return np.array([None if value is None or value != value else str(value) for value in series.to_list()], object)


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
    check_file(path)
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
    except DAMAGED as error:
        raise DataError(f"{path} cannot be read as a file of arrays: {first_line(error)}") from None


def _check_size(path: Path, name: str, member: Any, size: int) -> None:
    """Raise DataError unless the array is as large as its header says."""
    version = np.lib.format.read_magic(member)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read_header:
        raise DataError(f"{path}: its array {printable(name)} has the unknown version {version}")
    shape, _, dtype = read_header[version](member)
    expected = dtype.itemsize
    for n in shape:
        expected *= n
    if member.tell() + expected != size and not dtype.hasobject:
        raise DataError(f"{path}: its array {printable(name)} says that it has shape {shape}, but the file "
                        f"holds {size} bytes of it")
