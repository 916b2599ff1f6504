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

    def rows(self, e: int) -> Iterator[Array]:
        """Which examples are in each batch of epoch e."""
        n = len(self.x)
        mixed = self.shuffle and self.size < n
        order = stream(ORDER, self.seed, e).permutation(n) if mixed else np.arange(n)
        return (order[start : start + self.size] for start in range(0, n, self.size))

    def take(self, rows: Array, part: int = 0) -> tuple[Array, Array]:
        """Those examples and their targets, in buffers that hold until the next `take` of the same part."""
        if self.size == len(self.x):
            whole = slice(rows[0], rows[-1] + 1)
            return self.x[whole], self.target[whole]
        return self._take("x", self.x, rows, part), self._take("target", self.target, rows, part)

    def _take(self, name: str, source: Array, rows: Array, part: int) -> Array:
        out = self.buffers(f"{name} {part}", (len(rows), source.shape[1]))
        # "clip" never clips here: with "raise", take() would fill a copy of `out` first
        return np.take(source, rows, axis=0, out=out, mode="clip")
