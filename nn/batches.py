"""The order in which examples are seen: epoch e's is a function of (seed, e) and of nothing else."""

from collections.abc import Iterator

import numpy as np

from nn.buffers import Array, Buffers

INITIALIZATION, ORDER, DROPOUT = range(3)  # what a stream of random numbers is for


def stream(purpose: int, seed: int, epoch: int = 0) -> np.random.Generator:
    """The random numbers of one purpose in one epoch: independent of every other purpose's and epoch's."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, epoch)))


class Batches:
    """The examples x (N, n_in) and targets (N, K) in batches of `size`, the last of which may be shorter.

    A batch that is the whole set is the arrays themselves, in their own order: shuffling would change nothing.
    """

    def __init__(self, x: Array, target: Array, size: int, seed: int, shuffle: bool = True) -> None:
        self.x, self.target, self.size, self.seed, self.shuffle = x, target, size, seed, shuffle
        self.buffers = Buffers(x.dtype)

    def __len__(self) -> int:
        return -(-len(self.x) // self.size)

    def epoch(self, e: int) -> Iterator[tuple[Array, Array]]:
        """Epoch e's batches. The arrays are buffers: they hold until the next batch."""
        n = len(self.x)
        if self.size == n:
            yield self.x, self.target
            return
        order = stream(ORDER, self.seed, e).permutation(n) if self.shuffle else np.arange(n)
        for start in range(0, n, self.size):
            rows = order[start : start + self.size]
            yield self._take("x", self.x, rows), self._take("target", self.target, rows)

    def _take(self, name: str, source: Array, rows: Array) -> Array:
        out = self.buffers(name, (len(rows), source.shape[1]))
        # "clip" never clips here: with "raise", take() would fill a copy of `out` first
        return np.take(source, rows, axis=0, out=out, mode="clip")
