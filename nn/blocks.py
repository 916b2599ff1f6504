"""Blocks: batches of rows that are read block by block, in an order that no machine holds, for data of any size."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from nn.batches import ORDER, Batches, Examples, generator
from nn.rows import CheckedRows

LANES = 16  # blocks whose rows a batch mixes, and
MAX_HELD = 1 << 26  # the most numbers of x in so many blocks
FEW = 4  # lanes; fewer are warned of
AT_ONCE = 1 << 14  # rows whose order is computed at once, if batches are smaller


class Order:
    """The order of the rows in an epoch: the blocks in random order, and the rows of each in random order.

    Parameters
    ----------
    ends : ndarray of int, shape (blocks,)
        The row after the last one of each block.
    seed, epoch : int
        What determines the order.
    shuffle : bool
        Whether it is random; else it is that of the rows.

    Notes
    -----
    It holds a few numbers for each block, and the orders within the blocks in which positions were asked for.
    """

    def __init__(self, ends: np.ndarray, seed: int, epoch: int, shuffle: bool) -> None:
        self._seed, self._epoch, self._shuffle = seed, epoch, shuffle
        self._starts, self._sizes = np.append(0, ends[:-1]), np.diff(ends, prepend=0)
        n = len(ends)
        self._blocks = generator(ORDER, seed, epoch).permutation(n) if shuffle else np.arange(n)
        self._stops = np.cumsum(self._sizes[self._blocks])  # the position after the last one of each block
        self._begun: dict[int, np.ndarray] = {}  # the rows of the blocks whose last position was not asked for

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Return the rows at the positions from `start` to `stop` - 1."""
        parts, k = [], int(np.searchsorted(self._stops, start, "right"))
        while start < stop:
            block, end = int(self._blocks[k]), int(self._stops[k])
            rows = self._begun.pop(block, None)
            if rows is None:
                rows = self._rows_of(block)
            if stop < end:
                self._begun[block] = rows
            parts.append(rows[start - end : stop - end if stop < end else None])
            start, k = end, k + 1
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def _rows_of(self, block: int) -> np.ndarray:
        start, size = self._starts[block], int(self._sizes[block])
        if not self._shuffle:
            return np.asarray(start + np.arange(size))
        sequence = np.random.SeedSequence(self._seed, spawn_key=(ORDER, self._epoch, block))
        return np.asarray(start + np.random.default_rng(sequence).permutation(size))

    def blocks_across(self, positions: np.ndarray) -> set[int]:
        """Return the blocks that hold both the row at a position and the row before it, for each of some positions."""
        k = np.searchsorted(self._stops, positions, "right")
        inside = k < len(self._stops)
        k, positions = k[inside], positions[inside]
        blocks = self._blocks[k]
        return set(blocks[self._stops[k] - self._sizes[blocks] < positions].tolist())


class Blocks(Batches):
    """Batches of rows that are read block by block.

    Parameters
    ----------
    source : CheckedRows
        The rows.
    size : int
        The number of examples in a batch, from 1 to N. If it is N, the examples are read once and kept in memory.
    seed : int
        The seed of the model, at least 0.
    shuffle : bool
        Whether each epoch has its own order.
    lanes : int, optional
        How many blocks a batch mixes, at least 1. By default 16, or fewer if these would hold more than 2^26 numbers.

    Attributes
    ----------
    lanes : int
        The number: at most that of blocks and the size of a batch.
    ends : ndarray of int, shape (blocks,)
        The row after the last one of each block.
    x, target : ndarray
        Some rows of all, by which the data are recognized.

    Notes
    -----
    In epoch e, the blocks are put into an order that is a function of (seed, e), and the rows of block k into one of
    (seed, e, k). This is a sequence of all rows. It is cut into L lanes. A batch takes some rows from each lane: of its
    n rows, those from floor(n g / L) to floor(n (g + 1) / L) - 1 are the next ones of lane g. So each row is in one
    batch of the epoch, a batch mixes L blocks, and who takes consecutive rows of each batch reads only the blocks of
    their lanes. The order does not depend on who takes which.

    In memory are at most one block for each lane and one for each thread, a batch, and about 50 bytes for each block::

        (L + threads) rows of a block * bytes of a row + rows of a batch * bytes of a row + 50 blocks

    A row has n_in + K numbers in the dtype of the model. While a block is read, there is also what the source returns.
    """

    def __init__(self, source: CheckedRows, size: int, seed: int, shuffle: bool = True,
                 lanes: int | None = None) -> None:
        x, target, _ = source.sample
        super().__init__(x, target, size, seed, shuffle)
        self._source, self._N, self.ends = source, len(source), source.ends
        if lanes is None:
            lanes = max(1, min(LANES, MAX_HELD // (int(np.diff(self.ends, prepend=0).max()) * x.shape[1])))
        self.lanes = min(lanes, size, len(self.ends)) if shuffle else 1
        self._held: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # blocks that the next batch needs, too
        self._continued: set[int] = set()  # their numbers
        self._kept: tuple[int, ...] = ()  # if a batch is all examples, the number of those in memory, and the first

    @property
    def examples(self) -> int:
        return self._N

    def mixes_few(self) -> str:
        """Return a message if batches mix few blocks because the blocks are large; else an empty text."""
        largest, count = int(np.diff(self.ends, prepend=0).max()), len(self.ends)
        if self.constant or self.lanes >= min(FEW, self.size, count):
            return ""
        return (f"a batch mixes rows of {self.lanes} of {count:,} blocks, because blocks have up to {largest:,} rows: "
                "write the data with smaller ones (row_group_size=10_000 for Parquet), or in random order")

    def __len__(self) -> int:
        return -(-self._N // self.size)

    def rows(self, epoch: int) -> Iterator[np.ndarray]:
        """Return the rows of each batch of an epoch.

        Parameters
        ----------
        epoch : int
            The number of the epoch, from 1.

        Returns
        -------
        iterator of ndarray of int
            The indices of the examples, batch by batch: a function of the seed, the epoch, the blocks and the lanes.
        """
        if self.constant:
            yield np.arange(self._N)
            return
        order, full, L = Order(self.ends, self.seed, epoch, self.shuffle), len(self) - 1, self.lanes
        cuts = np.arange(L + 1) * self.size // L  # of a batch, into what it takes from each lane
        last = np.arange(L + 1) * (self._N - full * self.size) // L  # of the last batch
        places, widths = full * cuts + last, np.diff(cuts)  # where each lane begins, and its rows in a batch
        try:
            for first in range(0, full, step := max(1, AT_ONCE // self.size)):
                count = min(step, full - first)
                batches = np.empty((count, self.size), np.int64)
                for place, width, (start, stop) in zip(places, widths, pairwise(cuts)):
                    begin = place + first * width
                    batches[:, start:stop] = order.rows(begin, begin + count * width).reshape(count, width)
                for i, rows in enumerate(batches, first + 1):
                    self._begin(order.blocks_across(places[:-1] + i * widths))
                    yield rows
            self._begin(set())
            yield np.concatenate([order.rows(place + full * width, end)
                                  for (place, end), width in zip(pairwise(places), widths)])
        finally:
            self._held.clear()

    def _begin(self, continued: set[int]) -> None:
        """Begin a batch, after which `continued` are needed again: forget what no later one needs."""
        for block in self._held.keys() - self._continued:
            del self._held[block]
        self._continued = continued

    def arrays(self, rows: np.ndarray) -> Examples:
        n = len(rows)
        x, target = self.buffers("x", (n, self.x.shape[1])), self.buffers("target", (n, self.target.shape[1]))
        if self.constant and (wanted := (n, *rows[:1])) != self._kept:
            self._source.take(rows, x, target, self._source.read)
            self._kept = wanted
        return x, target, None

    def gather(self, rows: np.ndarray, x: np.ndarray, target: np.ndarray, weight: np.ndarray | None) -> None:
        if not self.constant:
            self._source.take(rows, x, target, self._block)

    def _block(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a block. It is kept if the next batch needs it, too; threads may use other blocks at the same time."""
        content = self._held.get(block)
        if content is None:
            content = self._source.read(block)
        if block in self._continued:
            self._held[block] = content
        else:
            self._held.pop(block, None)
        return content
