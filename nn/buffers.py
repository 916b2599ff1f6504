"""Arrays that are reused from call to call, so that a warm training step allocates nothing."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]


class Buffers:
    """Named arrays of one dtype whose first axis, the batch, may shrink and grow.

    A buffer holds what its owner last wrote there until the owner writes again: never hand one to a user uncopied.
    """

    def __init__(self, dtype: DTypeLike) -> None:
        self.dtype = np.dtype(dtype)
        self._arrays: dict[str, Array] = {}

    def __call__(self, name: str, shape: tuple[int, ...], dtype: DTypeLike | None = None) -> Array:
        """The buffer `name`, of exactly `shape`; its contents are whatever was left there, at first zeros."""
        held = self._arrays.get(name)
        if held is None or held.shape[0] < shape[0] or held.shape[1:] != shape[1:]:
            held = self._arrays[name] = np.zeros(shape, self.dtype if dtype is None else dtype)
        return held if held.shape == shape else held[: shape[0]]
