"""Rows of users that are read block by block, from files of any size."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from nn.batches import Examples
from nn.frames import check_columns

BLOCK = 1024  # rows of a block, if the source has no blocks of its own, and
MAX_NUMBERS = 1 << 20  # the most numbers of x in it
SAMPLE_BLOCKS, SAMPLE = 8, 1000  # blocks and rows by which data are recognized


def block_ends(rows: Any) -> np.ndarray:
    """Return where the blocks of a user's rows end.

    Parameters
    ----------
    rows : object
        Has len(), read(start, stop), and perhaps block_ends.

    Returns
    -------
    ndarray of int, shape (blocks,)
        The row after the last one of each block: those of the source, if it has blocks of its own, such as the row
        groups of Parquet; else 1,024 rows or 2^20 numbers.

    Raises
    ------
    ValueError
        If it is no such object, holds no rows, or its blocks do not cover them.
    """
    if not hasattr(rows, "__len__") or not callable(getattr(rows, "read", None)):
        raise ValueError("rows must be an object with a len() and a method read(start, stop) that returns x and y, as "
                         f"datasets.open_rows returns it, not {type(rows).__name__}; arrays in memory are for fit")
    N = len(rows)
    if not N:
        raise ValueError("rows holds no row: its len() is 0")
    ends = getattr(rows, "block_ends", None)
    if ends is None:
        size = max(1, min(BLOCK, MAX_NUMBERS // max(1, np.size(rows.read(0, 1)[0]))))
        return np.append(np.arange(size, N, size), N)
    ends = np.asarray(ends, np.int64)
    if ends.ndim != 1 or not len(ends) or ends[-1] != N or (np.diff(ends, prepend=0) < 1).any():
        raise ValueError(f"block_ends of rows must ascend from at least 1 to its len(), {N:,}")
    return ends


class CheckedRows:
    """A user's rows, read block by block, in the form in which a model uses them.

    Parameters
    ----------
    rows : object
        Has len() and read(start, stop), which returns (x, y) of consecutive rows; perhaps block_ends and feature_names.
    check : callable
        Takes x and y of some rows, and returns them and the weights in the form of the model, or raises ValueError.
    names : tuple of str, optional
        The names that the columns must have, if they have names.

    Attributes
    ----------
    ends : ndarray of int, shape (blocks,)
        The row after the last one of each block.
    names : tuple of str or None
        The names of the columns.
    sample : tuple
        x, targets and None of some rows, by which the data are recognized.

    Raises
    ------
    ValueError
        If it is no such object, or the rows of the sample do not fit.
    """

    def __init__(self, rows: Any, check: Callable[..., Examples], names: tuple[str, ...] | None = None) -> None:
        self._rows, self._check = rows, check
        self.ends = block_ends(rows)
        self.starts = np.append(0, self.ends[:-1])
        own = getattr(rows, "feature_names", None) or None
        if own is not None and names is not None:
            check_columns(own, names)
        self.names = names or own
        self.sample = self._sample()

    def __len__(self) -> int:
        return int(self.ends[-1])

    def read(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the examples and targets of a block. Raises ValueError, which names the rows, if they do not fit."""
        start, stop = int(self.starts[block]), int(self.ends[block])
        try:
            x, target, _ = self._check(*self._rows.read(start, stop))
        except ValueError as error:
            raise ValueError(f"rows {start:,} to {stop - 1:,}, numbered here from 0: {error}") from None
        if len(x) != stop - start:
            raise ValueError(f"read({start}, {stop}) of rows returned {len(x):,} rows instead of {stop - start:,}")
        return x, target

    def sums(self, evaluate: Callable[[np.ndarray, np.ndarray], tuple[float, int]],
             part: slice | None = None) -> tuple[float, int]:
        """Return the share of some rows in the mean loss, and how many of them are classified correctly.

        Parameters
        ----------
        evaluate : callable
            Takes the examples and targets of some rows, and returns their mean loss and how many are correct.
        part : slice, optional
            The rows; all by default, whose share is the mean loss itself. Only their blocks are read.

        Returns
        -------
        loss : float
            The sum of their losses, divided by the number of all rows.
        correct : int
            The number.
        """
        first, last, _ = (part or slice(None)).indices(len(self))
        loss, correct = 0.0, 0
        blocks = np.flatnonzero(np.maximum(self.starts, first) < np.minimum(self.ends, last))
        for block in blocks.tolist():
            x, target = self.read(block)
            within = slice(max(0, first - self.starts[block]), last - self.starts[block])
            part_loss, part_correct = evaluate(x[within], target[within])
            loss += part_loss * len(x[within]) / len(self)
            correct += part_correct
        return loss, correct

    def take(self, rows: np.ndarray, x: np.ndarray, target: np.ndarray,
             read: Callable[[int], tuple[np.ndarray, np.ndarray]]) -> None:
        """Copy some rows, which `read` returns block by block; it is called once for consecutive rows of a block."""
        blocks = np.searchsorted(self.ends, rows, "right")
        local, cuts = rows - self.starts[blocks], np.flatnonzero(np.diff(blocks, prepend=-1, append=-1)).tolist()
        for start, stop in pairwise(cuts):
            part, (of_x, of_target) = slice(start, stop), read(int(blocks[start]))
            # "clip" never clips here; with "raise", take() would first fill a copy of `out`
            of_x.take(local[part], axis=0, out=x[part], mode="clip")
            of_target.take(local[part], axis=0, out=target[part], mode="clip")

    def _sample(self) -> Examples:
        blocks = np.unique(np.linspace(0, len(self.ends) - 1, SAMPLE_BLOCKS).astype(int))
        parts = []
        for block in blocks.tolist():
            x, target = self.read(block)
            count = min(SAMPLE // len(blocks), max(1, MAX_NUMBERS // x.shape[1]), len(x))
            some = np.linspace(0, len(x) - 1, count).astype(int)
            parts.append((x[some], target[some]))
        x, target = (np.concatenate(arrays) for arrays in zip(*parts))
        return x, target, None
