"""Batches: the order of the examples. The order of epoch e is a function of (seed, e) alone."""

from collections.abc import Iterator

import numpy as np

from nn.arrays import Buffers

Examples = tuple[np.ndarray, np.ndarray, np.ndarray | None]  # x, the targets, and the weights if there are some
INITIALIZATION, ORDER, DROPOUT, SPLIT = range(4)  # the purposes of random numbers


def generator(purpose: int, seed: int, epoch: int = 0) -> np.random.Generator:
    """Return the generator of random numbers for one purpose in one epoch, independent of every other.

    Parameters
    ----------
    purpose : int
        INITIALIZATION, ORDER, DROPOUT or SPLIT.
    seed : int
        The seed of the model, at least 0.
    epoch : int
        The number of the epoch, from 1; 0 if the purpose has no epochs.

    Returns
    -------
    numpy.random.Generator
        A new generator.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(purpose, epoch)))


def split(N: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide examples at random into those to train on and a share to evaluate.

    Parameters
    ----------
    N : int
        The number of examples.
    share : float
        The share to evaluate, above 0 and below 1; at least one example.
    seed : int
        The seed of the model, which determines the division.

    Returns
    -------
    training, validation : ndarray of int
        The rows of both parts, each in its order.

    Raises
    ------
    ValueError
        If no example is left to train on.
    """
    count = max(1, round(share * N))
    if count >= N:
        raise ValueError(f"validation_split {share:g} of {N} examples leaves none to train on: give a smaller share")
    order = generator(SPLIT, seed).permutation(N)
    return np.sort(order[count:]), np.sort(order[:count])


class Batches:
    """Examples and targets in batches; the last batch may be smaller.

    Parameters
    ----------
    x : ndarray of shape (N, n_in)
        The examples.
    target : ndarray of shape (N, K)
        The targets.
    size : int
        The number of examples in a batch, from 1 to N. If it is N, the batch is the arrays themselves, in their order.
    seed : int
        The seed of the model, at least 0.
    shuffle : bool
        Whether each epoch has its own order.
    weight : ndarray of shape (N,), optional
        By how much the loss of each example counts; all the same by default.
    """

    def __init__(self, x: np.ndarray, target: np.ndarray, size: int, seed: int, shuffle: bool = True,
                 weight: np.ndarray | None = None) -> None:
        self.x, self.target, self.size, self.seed, self.shuffle = x, target, size, seed, shuffle
        self.weight = weight
        self.buffers = Buffers(x.dtype)

    @property
    def examples(self) -> int:
        """The number of examples in an epoch."""
        return len(self.x)

    @property
    def constant(self) -> bool:
        """Whether all steps have the same batch."""
        return len(self) == 1

    def __len__(self) -> int:
        return -(-len(self.x) // self.size)

    def rows(self, epoch: int) -> Iterator[np.ndarray]:
        """Return the rows of each batch of an epoch.

        Parameters
        ----------
        epoch : int
            The number of the epoch, from 1.

        Returns
        -------
        iterator of ndarray of int
            The indices of the examples, batch by batch: a function of the seed and the epoch.
        """
        n = len(self.x)
        shuffled = self.shuffle and self.size < n
        order = generator(ORDER, self.seed, epoch).permutation(n) if shuffled else np.arange(n)
        return (order[start : start + self.size] for start in range(0, n, self.size))

    def arrays(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return the arrays of a batch, for `gather` to fill.

        Parameters
        ----------
        rows : ndarray of int, shape (n,)
            The indices of the examples, from `rows`, or some consecutive ones of these.

        Returns
        -------
        x : ndarray of shape (n, n_in)
            The examples.
        target : ndarray of shape (n, K)
            The targets.
        weight : ndarray of shape (n,) or None
            The weights, if there are some. All are buffers, which the next batch overwrites; if a batch is all
            examples, they are the data themselves.
        """
        n = len(rows)
        if self.size == len(self.x):
            part = slice(rows[0], rows[0] + n) if n else slice(0)
            return self.x[part], self.target[part], None if self.weight is None else self.weight[part]
        return (self.buffers("x", (n, self.x.shape[1])), self.buffers("target", (n, self.target.shape[1])),
                None if self.weight is None else self.buffers("weight", (n,)))

    def gather(self, rows: np.ndarray, x: np.ndarray, target: np.ndarray, weight: np.ndarray | None) -> None:
        """Copy some of the examples, and their targets and weights.

        Parameters
        ----------
        rows : ndarray of int, shape (n,)
            The indices of the examples, from `rows`.
        x : ndarray of shape (n, n_in)
            The array to fill with the examples; from `arrays`, or some rows of it.
        target : ndarray of shape (n, K)
            The array to fill with the targets.
        weight : ndarray of shape (n,) or None
            The array to fill with the weights, if there are some.
        """
        if self.size < len(self.x):
            # "clip" never clips here; with "raise", take() would first fill a copy of `out`
            self.x.take(rows, axis=0, out=x, mode="clip")
            self.target.take(rows, axis=0, out=target, mode="clip")
            if self.weight is not None:
                self.weight.take(rows, out=weight, mode="clip")
