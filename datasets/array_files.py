"""Arrays in files .npy and IDX, of which some rows are read at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from datasets.columns import DAMAGED, first_line
from datasets.idx import DataError, format_shape, open_regular, read_header

PathLike = str | os.PathLike[str]
NPY_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@dataclass(frozen=True)
class ArrayFile:
    """An array in a file .npy or IDX, of which rows are read.

    It is opened anew for each read and not mapped: so the memory of the process does not grow, and a file that was
    truncated in the meantime is an error and not the end of the process.

    Parameters
    ----------
    path : Path
        The file.
    shape : tuple of int
        The shape of the array: (N, ...).
    dtype : dtype
        Its type in the file.
    offset : int
        The bytes before it.
    is_idx : bool
        Whether it is an IDX file.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    is_idx: bool

    @property
    def row(self) -> int:
        """The number of elements of a row."""
        return math.prod(self.shape[1:])

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return rows in native byte order, of shape (n, ...). Raises DataError if that is impossible."""
        which, count = f"{self.path}: rows {start:,} to {stop - 1:,}", (stop - start) * self.row
        try:
            with open_regular(self.path) as file:
                self.check_size(os.fstat(file.fileno()).st_size)
                file.seek(self.offset + start * self.row * self.dtype.itemsize)
                array = np.fromfile(file, self.dtype, count)
        except OSError as error:
            raise DataError(f"{which} cannot be read: {first_line(error)}") from None
        if array.size != count:
            raise DataError(f"{which} cannot be read: the file ended before")
        return array.reshape(-1, *self.shape[1:]).astype(self.dtype.newbyteorder("="), copy=False)

    def check_size(self, size: int) -> None:
        """Raise DataError unless the file has as many bytes as it says."""
        expected = self.offset + math.prod(self.shape) * self.dtype.itemsize
        if size != expected:
            raise DataError(f"{self.path}: expected {expected:,} bytes for {format_shape(self.shape)} of {self.dtype}, "
                            f"found {size:,}: it is damaged or was not written completely")


def open_array(path: PathLike) -> ArrayFile:
    """Return the description of an array in a file .npy or IDX. Raises DataError if it is none that can be read."""
    path = Path(path)
    try:
        with open_regular(path) as file:
            start = file.peek(8)[:8]
            if start[:2] == b"\x1f\x8b":
                raise DataError(f"{path} is compressed, so that rows cannot be read from its middle: decompress it, by "
                                f"gunzip --keep {path}")
            if start[:6] == b"\x93NUMPY":
                version = np.lib.format.read_magic(file)
                if version not in NPY_HEADERS:
                    raise DataError(f"{path}: expected a file .npy of version 1 or 2, found {version}")
                shape, by_column, dtype = NPY_HEADERS[version](file)
                if by_column and len(shape) > 1:
                    raise DataError(f"{path} holds its numbers column by column: write it again by numpy.save(path, "
                                    "numpy.ascontiguousarray(array))")
            elif start[:2] == b"\0\0":
                shape, dtype = read_header(file, path)
                dtype = dtype.newbyteorder(">")
            else:
                raise DataError(f"{path}: expected a file .npy, IDX or .parquet, found one that begins with {start!r}")
            array = ArrayFile(path, shape, dtype, file.tell(), start[:2] == b"\0\0")
            size = os.fstat(file.fileno()).st_size
    except DAMAGED as error:
        raise DataError(f"{path} cannot be read: {first_line(error)}") from None
    if not shape or dtype.kind not in "buifU" or not dtype.itemsize:
        raise DataError(f"{path} must hold rows of numbers or texts, not {dtype} of shape {shape}")
    array.check_size(size)
    if not math.prod(shape):
        raise DataError(f"{path} holds no rows: its shape is {shape}")
    return array


class ArrayRows:
    """The rows of arrays in files .npy or IDX, one part after the other.

    `datasets.open_rows` makes it.

    Parameters
    ----------
    x, y : sequence of path-like
        The files of the examples, and those of the targets.

    Attributes
    ----------
    n_in : int
        The number of inputs: an example of several axes, such as an image, becomes a row.

    Raises
    ------
    DataError
        If a file cannot be read, or the files do not fit together.
    """

    feature_names: tuple[str, ...] = ()
    block_ends: np.ndarray | None = None

    def __init__(self, x: Sequence[PathLike], y: Sequence[PathLike]) -> None:
        if len(x) != len(y):
            raise DataError(f"there are {len(x)} files of examples, but {len(y)} of targets: give one for each")
        self._x, self._y = list(map(open_array, x)), list(map(open_array, y))
        for files in (self._x, self._y):
            for file in files:
                if (file.shape[1:], file.dtype) != (files[0].shape[1:], files[0].dtype):
                    raise DataError(f"{file.path} holds {file.dtype} of shape {file.shape}, but {files[0].path} "
                                    f"{files[0].dtype} of shape {files[0].shape}: all parts must have the same type "
                                    "and differ only in their rows")
        for of_x, of_y in zip(self._x, self._y):
            if of_x.dtype.kind == "U" or len(of_x.shape) < 2:
                raise DataError(f"{of_x.path}: the examples must be numbers of shape (N, ...), not {of_x.dtype} of "
                                f"shape {of_x.shape}")
            if of_y.shape[0] != of_x.shape[0] or len(of_y.shape) > (1 if of_y.dtype.kind == "U" else 2):
                raise DataError(f"{of_x.path} has {of_x.shape[0]:,} rows, but {of_y.path} has shape {of_y.shape}: it "
                                "must have one target for each, or one row of numbers")
        self._ends = np.cumsum([file.shape[0] for file in self._x])
        self.n_in = self._x[0].row

    def __len__(self) -> int:
        return int(self._ends[-1])

    def read(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Return some consecutive rows.

        Parameters
        ----------
        start, stop : int
            The first row, and the one after the last.

        Returns
        -------
        x : ndarray of shape (n, n_in)
            The inputs; pixels of IDX files as float32 in [0, 1].
        y : ndarray of shape (n,) or (n, K)
            The targets.

        Raises
        ------
        DataError
            If a file cannot be read, or has changed.
        """
        parts = parts_of_rows(self._ends, start, stop)
        x, y = (join([files[k].read(*part) for k, *part in parts]) for files in (self._x, self._y))
        if self._x[0].is_idx and x.dtype == np.uint8:
            x = np.divide(x, 255, dtype=np.float32)
        return x.reshape(len(x), -1), y.astype(np.int64) if self._y[0].is_idx and y.dtype.kind in "iu" else y


def parts_of_rows(ends: np.ndarray, start: int, stop: int) -> list[tuple[int, int, int]]:
    """Return which rows of which files consecutive rows of all files are.

    Parameters
    ----------
    ends : ndarray of int, shape (files,)
        The row of all after the last one of each file.
    start, stop : int
        The first row, and the one after the last.

    Returns
    -------
    list of tuple
        The index of each file that holds some of them, and the first of its own rows and the one after the last.

    Raises
    ------
    ValueError
        If there are no such rows.
    """
    if not 0 <= start < stop <= ends[-1]:
        raise ValueError(f"there are {ends[-1]:,} rows, not those from {start:,} to {stop - 1:,}")
    firsts = np.append(0, ends[:-1]).tolist()
    return [(k, max(start - first, 0), min(stop, end) - first)
            for k, (first, end) in enumerate(zip(firsts, ends.tolist())) if first < stop and start < end]


def join(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the rows of several arrays, one after the other; a single array is not copied."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
