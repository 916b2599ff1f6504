"""Rows of files that are read a part at a time, for data that do not fit into memory: .npy, IDX and Parquet."""

from collections.abc import Iterator, Sequence
import os
from pathlib import Path
import re
from typing import Protocol

import numpy as np

from datasets.array_files import ArrayRows, open_array
from datasets.columns import name_list
from datasets.idx import DataError
from datasets.parquet import ParquetRows
from datasets.table import column_names

PathLike = str | os.PathLike[str]
Files = tuple[list[Path], list[Path] | None]  # the examples and the targets; None if these are in the same files
IMAGES, LABELS = "{}-images-idx3-ubyte", "{}-labels-idx1-ubyte"  # the usual names of IDX files


class Rows(Protocol):
    """Rows that are read a part at a time: what `open_rows` returns, and `nn.Model.fit_rows` takes.

    Attributes
    ----------
    n_in : int
        The number of inputs.
    feature_names : tuple of str
        The names of the inputs; empty if they have none.
    block_ends : ndarray of int or None
        The row after the last one of each part that should be read as a whole; None if any rows may be.

    Examples
    --------
    >>> import numpy as np
    >>> class Squares:
    ...     n_in, feature_names, block_ends = 1, (), None
    ...     def __len__(self):
    ...         return 1_000_000
    ...     def read(self, start, stop):
    ...         x = np.arange(start, stop)[:, None] / len(self)
    ...         return x, x**2
    >>> x, y = Squares().read(500_000, 500_001)
    >>> y
    array([[0.25]])
    """

    n_in: int
    feature_names: tuple[str, ...]
    block_ends: np.ndarray | None

    def __len__(self) -> int:
        """Return the number of rows."""

    def read(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Return some consecutive rows.

        Parameters
        ----------
        start, stop : int
            The first row, and the one after the last.

        Returns
        -------
        x : ndarray of shape (n, n_in)
            The inputs.
        y : ndarray of shape (n,) or (n, K)
            The targets.
        """


def open_rows(x: PathLike | Sequence[PathLike], y: PathLike | Sequence[PathLike] | None = None, *, part: str = "",
              target: str | Sequence[str] = (), drop: str | Sequence[str] = ()) -> Rows:
    """Open files whose rows are read a part at a time: data that do not fit into memory.

    Parameters
    ----------
    x : path-like, or sequence of path-like
        A folder: see the notes. Or the files of the examples, in their order: .npy with arrays (N, ...), IDX, or
        .parquet, whose columns are numbers.
    y : path-like, or sequence of path-like, optional
        The files of the targets, one for each of x, unless that is a folder or .parquet.
    part : str
        The part of a folder, such as "train".
    target : str or sequence of str
        For .parquet: the column to predict, or several columns of numbers.
    drop : str or sequence of str
        For .parquet: the columns to leave out.

    Returns
    -------
    Rows
        An object with a len(), ``read(start, stop)``, which returns (x, y), `n_in`, `feature_names` and `block_ends`.

    Raises
    ------
    DataError
        If files are missing or damaged, or do not fit together. The message says what to do.

    Notes
    -----
    In a folder are ``x.npy`` and ``y.npy``, or ``x-000.npy``, ``x-001.npy``, ... and ``y-000.npy``, ...; or any files
    .parquet, in the order of their names. If a part is named, such as "train", these are ``x_train.npy`` and so on;
    ``train.parquet`` or ``train-....parquet``; or the IDX files ``train-images-idx3-ubyte`` and
    ``train-labels-idx1-ubyte`` ("t10k-" or "test-" for "test").

    Arrays are as they are in the file, except for pixels of IDX files (uint8), which are divided by 255. Compressed
    IDX files, and arrays that are stored column by column, are refused.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from datasets import open_rows
    >>> with TemporaryDirectory() as folder:
    ...     np.save(Path(folder) / "x.npy", np.arange(20.0).reshape(10, 2))
    ...     np.save(Path(folder) / "y.npy", np.arange(10))
    ...     rows = open_rows(folder)
    ...     x, y = rows.read(3, 5)
    >>> len(rows), x, y
    (10, array([[6., 7.],
           [8., 9.]]), array([3, 4]))
    """
    files, targets = _as_list(x), None if y is None else _as_list(y)
    if len(files) == 1 and files[0].is_dir():
        if targets is not None:
            raise DataError(f"{files[0]} is a folder, which holds the targets, too: leave out y")
        files, targets = find_files(files[0], part)
    elif part:
        raise DataError(f"{name_list(list(map(str, files)))}: part names files of a folder: leave it out, or give a "
                        "folder")
    if not files:
        raise DataError("x names no file: give a folder, or the files of the examples")
    target, drop = column_names("target", target), column_names("drop", drop)
    if all(file.suffix.lower() == ".parquet" for file in files):
        if targets is not None:
            raise DataError(f"{files[0]} holds the targets, too: name their column by target, and leave out y")
        return ParquetRows(files, target, drop)
    if target or drop:
        raise DataError(f"{files[0]}: target and drop are for columns of .parquet: leave them out")
    if targets is None:
        open_array(files[0])  # a file that cannot be read says so
        raise DataError(f"{files[0]}: give the files of the targets, too: open_rows(x, y)")
    return ArrayRows(files, targets)


def _as_list(paths: PathLike | Sequence[PathLike]) -> list[Path]:
    return [Path(paths)] if isinstance(paths, (str, os.PathLike)) else list(map(Path, paths))


def find_files(folder: Path, part: str = "") -> Files:
    """Return the files of a folder, or of one part of it, as `open_rows` describes them.

    Parameters
    ----------
    folder : Path
        The folder.
    part : str
        The part, such as "train".

    Returns
    -------
    x : list of Path
        The files of the examples.
    y : list of Path or None
        Those of the targets; None if they are in the same files.

    Raises
    ------
    DataError
        If there are none, or files of several kinds, or numbered parts are missing.
    """
    suffix = f"_{part}" if part else ""
    x, y = _numbered(folder, f"x{suffix}"), _numbered(folder, f"y{suffix}")
    numbers = [number for number, _ in x]
    if numbers != [number for number, _ in y] or numbers not in ([-1], list(range(len(x)))):
        names = name_list([path.name for _, path in (*x, *y)])
        raise DataError(f"{folder} holds {names}: each x{suffix}.npy needs its y{suffix}.npy, and parts are numbered "
                        f"from 0 without gaps, x{suffix}-000.npy, ...")
    pattern = rf"{re.escape(part)}(-.*)?" if part else ".*"
    tables = sorted(path for path in folder.glob("*.parquet") if re.fullmatch(pattern, path.stem))
    _check_numbers(folder, tables)
    found: list[Files] = [([images], [labels]) for images, labels in _idx_files(folder, part) if images.is_file()]
    if x:
        found.append(([path for _, path in x], [path for _, path in y]))
    if tables:
        found.append((tables, None))
    if len(found) > 1:
        raise DataError(f"{folder} holds {name_list([files[0].name for files, _ in found])}: leave only one kind of "
                        "files in it, or name the files")
    if not found:
        compressed = [name for images, _ in _idx_files(folder, part)
                      if (folder / (name := f"{images.name}.gz")).is_file()]
        idx = f", or {IMAGES.format(part)} and {LABELS.format(part)}" if part else ""
        raise DataError(f"{folder} holds no x{suffix}.npy and y{suffix}.npy, or {part or '...'}.parquet{idx}"
                        + (f": decompress {compressed[0]} by gunzip" if compressed else ""))
    return found[0]


def _check_numbers(folder: Path, files: Sequence[Path]) -> None:
    """Raise DataError if all files end in numbers, but numbers between the first and the last one are missing."""
    endings = [re.fullmatch(r"(.*?)(\d+)", path.stem) for path in files]
    numbers = [int(match[2]) for match in endings if match]
    if len(numbers) == len(files) > 1 and len({match[1] for match in endings if match}) == 1:
        missing = sorted({*range(min(numbers), max(numbers))} - {*numbers})
        if missing:
            raise DataError(f"{folder} holds {files[0].name} to {files[-1].name}, but none with the number "
                            f"{name_list(list(map(str, missing)))}: add it, or give the files new numbers")


def _numbered(folder: Path, name: str) -> list[tuple[int, Path]]:
    """Return the files NAME-000.npy, ... with their numbers, ascending, and NAME.npy with -1."""
    return sorted((int(match[1] or -1), path) for path in folder.glob("*.npy")
                  if (match := re.fullmatch(rf"{re.escape(name)}(?:-(\d+))?", path.stem)))


def _idx_files(folder: Path, part: str) -> Iterator[tuple[Path, Path]]:
    """Return the paths that the IDX files of a part may have."""
    for name in {"": (), "test": ("t10k", "test")}.get(part, (part,)):
        yield folder / IMAGES.format(name), folder / LABELS.format(name)
