"""Stream: batches that a user's object yields one after the other, for data that do not fit into memory."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from nn.batches import Batches, Examples
from nn.frames import check_columns, column_names


class Stream(Batches):
    """The batches of a user's object, in its order.

    Parameters
    ----------
    source : iterable
        Each loop over it yields the batches of an epoch, (x, y) or (x, y, sample_weight), and len() is their number.
    check : callable
        Returns the arrays of a batch in the form in which the model uses them, or raises ValueError.
    seed : int
        The seed of the model, at least 0.
    names : tuple of str, optional
        The names that the columns of frames must have; by default those of the first batch.

    Raises
    ------
    ValueError
        If it is no such object, or its first batch does not fit the model.
    """

    def __init__(self, source: Any, check: Callable[..., Examples], seed: int,
                 names: tuple[str, ...] | None = None) -> None:
        if not hasattr(source, "__len__") or not hasattr(source, "__iter__") or iter(source) is source:
            raise ValueError("batches must be an object that can be looped over once for each epoch, and has a len(): "
                             "a list, a torch DataLoader, or a class with __iter__ and __len__, but not a generator")
        if not len(source):
            raise ValueError("batches holds no batch: its len() is 0")
        self._source, self._check, self.names = source, check, names
        x, target, weight = self._take(next(iter(source)), 1)
        super().__init__(x, target, len(x), seed, shuffle=False, weight=weight)
        self._examples = len(x) * len(source)  # until an epoch was counted

    def __len__(self) -> int:
        return len(self._source)

    @property
    def examples(self) -> int:
        return self._examples

    @property
    def constant(self) -> bool:
        return False  # what the source yields may change

    def rows(self, epoch: int) -> Iterator[np.ndarray]:
        """Take the batches of an epoch from the source, and return the rows of each: all of them.

        Parameters
        ----------
        epoch : int
            The number of the epoch, from 1.

        Returns
        -------
        iterator of ndarray of int
            0, 1, ... for each batch, which is in x, target and weight.

        Raises
        ------
        ValueError
            If there are fewer batches than the source says, or one does not fit; the message names it.
        """
        count = number = 0
        for number, batch in enumerate(islice(self._source, len(self)), 1):
            self.x, self.target, self.weight = self._take(batch, number)
            self.size = len(self.x)
            count += self.size
            yield np.arange(self.size)
        if number < len(self):
            raise ValueError(f"epoch {epoch} had {number} batches, but len() of the batches is {len(self)}: each loop "
                             "must yield all of them")
        self._examples = count

    def _take(self, batch: Any, number: int) -> Examples:
        if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
            raise ValueError(f"batch {number} must be (x, y) or (x, y, sample_weight), not {type(batch).__name__}")
        try:
            names = column_names(batch[0])
            if names is not None and self.names is not None:
                check_columns(names, self.names)
            self.names = self.names or names
            return self._check(*batch)
        except ValueError as error:
            raise ValueError(f"batch {number}: {error}") from None
