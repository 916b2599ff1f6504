"""Parquet files, read row group by row group."""

from collections.abc import Iterator, Sequence
import os
from pathlib import Path
from typing import Any

import numpy as np

from datasets.array_files import join, parts_of_rows
from datasets.columns import (
    DAMAGED,
    check_file,
    check_footer,
    first_line,
    from_series,
    import_polars,
    name_list,
    printable,
)
from datasets.idx import DataError

SMALL = 1024  # rows; smaller row groups are read together
SINGLE = {"Float32", "Int8", "Int16", "UInt8", "UInt16", "Boolean"}  # types whose values float32 holds exactly
BYTE, BINARY, LIST, SET, MAP, STRUCT = 3, 8, 9, 10, 11, 12  # types of Thrift; 1 and 2 are true and false, and
NUMBERS, BYTES = (4, 5, 6), {BYTE: 1, 7: 8, 13: 16}  # integers; types of so many bytes


class ParquetRows:
    """The rows of Parquet files with the same columns, one file after the other.

    `datasets.open_rows` makes it, which has the same `target` and `drop`.

    Parameters
    ----------
    files : sequence of Path
        The files.
    target : sequence of str
        The column to predict, or several columns of numbers.
    drop : sequence of str
        Columns to leave out.

    Attributes
    ----------
    n_in : int
        The number of inputs.
    feature_names : tuple of str
        The names of their columns.
    block_ends : ndarray of int
        The row after the last one of each block: a row group, or several small ones.

    Raises
    ------
    DataError
        If polars is not installed, a file cannot be read, or the columns do not fit.
    """

    def __init__(self, files: Sequence[Path], target: Sequence[str], drop: Sequence[str] = ()) -> None:
        self._files, self._target = list(files), list(target)
        groups: list[list[int]] = []
        self._types: dict[str, str] = {}
        for path in self._files:
            groups.append(row_groups(path))
            types = {name: str(kind) for name, kind in _scan(path).items()}
            self._types = self._types or types
            if types != self._types:
                raise DataError(f"{path} has the columns {_described(types)}, but {self._files[0]} has "
                                f"{_described(self._types)}: all files must have the same")
        self.feature_names = self._choose(drop)
        self.n_in = len(self.feature_names)
        self._ends = np.cumsum([sum(sizes) for sizes in groups])
        self.block_ends: np.ndarray | None = _join(np.cumsum(np.concatenate(groups)))

    def __len__(self) -> int:
        return int(self._ends[-1])

    def _choose(self, drop: Sequence[str]) -> tuple[str, ...]:
        """Return the columns of inputs. Raises DataError, with what to do, if columns do not fit."""
        first = self._files[0]
        if not self._target:
            raise DataError(f"{first}: choose the target, the column to predict, among {name_list(list(self._types))}")
        for name in (*self._target, *drop):
            if name not in self._types:
                raise DataError(f"{first} has no column {printable(name)!r}: choose from "
                                f"{name_list(list(self._types))}")
        names = [name for name in self._types if name not in {*self._target, *drop}]
        wrong = [name for name in names if not _is_numeric(self._types[name])]
        wrong += [name for name in self._target if len(self._target) > 1 and not _is_numeric(self._types[name])]
        if wrong:
            columns = _described({name: self._types[name] for name in wrong})
            raise DataError(f"{first}: the columns {columns} hold no numbers, and rows that are read block by block "
                            "can only be numbers: leave these columns out (drop), or convert them in the file")
        if not names:
            raise DataError(f"{first}: no column is left besides the target")
        return tuple(names)

    def read(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Return some consecutive rows.

        Parameters
        ----------
        start, stop : int
            The first row, and the one after the last.

        Returns
        -------
        x : ndarray of shape (n, n_in)
            The inputs, float32 or float64.
        y : ndarray of shape (n,) or (n, K)
            The targets.

        Raises
        ------
        DataError
            If a file cannot be read, or lacks values.
        """
        x, y = zip(*(self._read(self._files[k], *part) for k, *part in parts_of_rows(self._ends, start, stop)))
        return join(x), join(y)

    def _read(self, path: Path, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        polars = import_polars()
        single = {self._types[name] for name in self.feature_names} <= SINGLE
        try:
            table = polars.scan_parquet(path, glob=False).select(*self.feature_names, *self._target)
            frame = table.slice(start, stop - start).collect()
            lacking = [name for name, count in frame.null_count().row(0, named=True).items() if count]
            numbers = frame.select(self.feature_names).cast(polars.Float32 if single else polars.Float64)
            x = np.asarray(numbers.to_numpy(order="c"))
        except (polars.exceptions.PolarsError, polars.exceptions.PanicException, OSError, ValueError) as error:
            raise DataError(f"{path}: rows {start:,} to {stop - 1:,} cannot be read: {first_line(error)}") from None
        if lacking:
            row = start + int(frame[lacking[0]].is_null().arg_true()[0])
            raise DataError(f"{path}: row {row:,}, numbered from 0, lacks a value of {printable(lacking[0])!r}: remove "
                            "such rows, or leave out this column (drop)")
        if len(frame) != stop - start:
            raise DataError(f"{path} has changed since it was opened: it has no rows {start:,} to {stop - 1:,}")
        targets = [from_series(frame[name], not _is_numeric(self._types[name])) for name in self._target]
        return x, targets[0] if len(targets) == 1 else np.stack([np.asarray(y, float) for y in targets], axis=1)


def _scan(path: Path) -> Any:
    """Return the type of each column."""
    polars = import_polars()
    try:
        return polars.scan_parquet(path, glob=False).collect_schema()
    except (polars.exceptions.PolarsError, polars.exceptions.PanicException, OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a table: {first_line(error)}") from None


def _is_numeric(kind: str) -> bool:
    return kind.startswith(("Float", "Int", "UInt", "Boolean", "Decimal"))


def _described(types: dict[str, str]) -> str:
    return name_list([f"{printable(name)} ({printable(kind)})" for name, kind in types.items()])


def _join(ends: np.ndarray) -> np.ndarray:
    """Return only so many of the ends of row groups that each block but the last has at least SMALL rows."""
    kept: list[int] = []
    for end in ends.tolist():
        if end - (kept[-1] if kept else 0) >= SMALL:
            kept.append(end)
    return np.array(kept if kept and kept[-1] == ends[-1] else [*kept, ends[-1]])


def row_groups(path: str | os.PathLike[str]) -> list[int]:
    """Return the number of rows of each row group of a Parquet file, which polars does not tell.

    Parameters
    ----------
    path : str or path-like
        The file. Only its description is read.

    Returns
    -------
    list of int
        The numbers of those that are not empty.

    Raises
    ------
    DataError
        If it is no such file, or it is damaged or empty.

    References
    ----------
    https://github.com/apache/parquet-format: its description is a FileMetaData in the compact protocol of Thrift.
    """
    path = Path(path)
    check_file(path)
    try:
        check_footer(path)
        with open(path, "rb") as file:
            file.seek(-8, os.SEEK_END)
            size = int.from_bytes(file.read(4), "little")
            file.seek(-8 - size, os.SEEK_END)
            thrift, sizes, total = Thrift(file.read(size)), [], 0
        for field, kind in thrift.fields():
            if field == 3:
                total = thrift.integer()
            elif field == 4:
                sizes = [_rows_of_group(thrift) for _ in thrift.elements()]
            else:
                thrift.skip(kind)
    except DAMAGED as error:
        raise DataError(f"{path} cannot be read as a table: {first_line(error)}") from None
    if sum(sizes) != total or min(sizes, default=0) < 0:
        raise DataError(f"{path} cannot be read as a table: it says that it holds {total:,} rows, and "
                        f"{sum(sizes):,} in its row groups")
    if not total:
        raise DataError(f"{path} holds no rows")
    return [size for size in sizes if size]


def _rows_of_group(thrift: "Thrift") -> int:
    rows = 0
    for field, kind in thrift.fields():
        if field == 3:
            rows = thrift.integer()
        else:
            thrift.skip(kind)
    return rows


class Thrift:
    """A reader of the compact protocol of Thrift: what is not needed is skipped.

    Parameters
    ----------
    data : bytes
        The content.
    """

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]  # raises IndexError at the end

    def _varint(self) -> int:
        number = shift = 0
        while True:
            byte = self._byte()
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number
            if shift > 63:
                raise ValueError("its description holds a number of more than 64 bits")

    def integer(self) -> int:
        """Return the next integer."""
        number = self._varint()
        return (number >> 1) ^ -(number & 1)

    def fields(self) -> Iterator[tuple[int, int]]:
        """Yield the number and the type of each field of a struct; the caller reads or skips each before the next."""
        field = 0
        while header := self._byte():
            field = field + (header >> 4) if header >> 4 else self.integer()
            yield field, header & 0x0F

    def elements(self) -> Iterator[int]:
        """Yield the type of each element of a list; the caller reads or skips each before the next."""
        header = self._byte()
        count = header >> 4 if header >> 4 < 15 else self._varint()
        for _ in range(count):
            yield header & 0x0F

    def skip(self, kind: int) -> None:
        """Skip the value of a field."""
        if kind == STRUCT:
            for _, inner in self.fields():
                self.skip(inner)
        elif kind in (LIST, SET):
            for inner in self.elements():
                self._skip_element(inner)
        elif kind == MAP:
            count = self._varint()
            kinds = self._byte() if count else 0
            for _ in range(count):
                self._skip_element(kinds >> 4)
                self._skip_element(kinds & 0x0F)
        elif kind in NUMBERS:
            self._varint()
        elif kind in BYTES or kind == BINARY:
            count = BYTES.get(kind) or self._varint()
            self._at += count
        elif kind > 2:
            raise ValueError(f"its description holds an unknown type, {kind}")
        if self._at > len(self._data):  # also ends loops over as many elements as a damaged file says
            raise ValueError("its description ends early")

    def _skip_element(self, kind: int) -> None:
        self.skip(BYTE if kind <= 2 else kind)  # as an element, a bool is a byte; as a field, it is in the type
