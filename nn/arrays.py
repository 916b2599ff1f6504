"""The flat vector of all parameters with its views, and buffers that are reused."""

from collections.abc import Mapping
import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

Shapes = Mapping[str, tuple[int, ...]]


def size(shapes: Shapes) -> int:
    """Return the total number of elements of arrays of these shapes."""
    return sum(math.prod(shape) for shape in shapes.values())


def views(vector: np.ndarray, shapes: Shapes) -> dict[str, np.ndarray]:
    """Return consecutive views into a flat vector, of the given shapes.

    Parameters
    ----------
    vector : ndarray of shape (P,)
        The vector. Nothing is copied: writing to a view writes to it.
    shapes : mapping
        The shape of each view, by name.

    Returns
    -------
    dict
        The views by name.

    Raises
    ------
    ValueError
        If the shapes do not have P elements in total.
    """
    views_by_name, start = {}, 0
    for name, shape in shapes.items():
        stop = start + math.prod(shape)
        views_by_name[name] = vector[start:stop].reshape(shape)
        start = stop
    if start != len(vector):
        raise ValueError(f"a vector of {len(vector)} cannot be divided into shapes that hold {start}: {dict(shapes)}")
    return views_by_name


def write_into(name: str, array: np.ndarray, value: Any) -> None:
    """Copy `value` into `array`. Raises ValueError, with the name of the array, if the shapes differ."""
    if np.shape(value) != array.shape:
        raise ValueError(f"{name} has shape {array.shape} and keeps its memory: an array of shape {np.shape(value)} "
                         "cannot be copied into it")
    array[...] = value


class LiveVector:
    """An attribute that is set to a vector once. Later assignments copy into that vector and do not replace it."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = "_" + name

    def __get__(self, instance: Any, owner: type | None = None) -> np.ndarray:
        vector: np.ndarray = instance.__dict__[self.name]
        return vector

    def __set__(self, instance: Any, value: Any) -> None:
        vector = instance.__dict__.setdefault(self.name, value)
        if vector is not value:
            write_into(self.name[1:], vector, value)


class Buffers:
    """Named arrays that are reused from call to call, so that training steps after the first allocate nothing.

    The first axis, the batch, may become shorter and longer. A buffer keeps its contents until its owner writes to it
    again: never return one to a user without a copy.

    Parameters
    ----------
    dtype : dtype
        The dtype of the arrays.
    """

    def __init__(self, dtype: DTypeLike) -> None:
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self._arrays: dict[str, np.ndarray] = {}

    def place(self, name: str, array: np.ndarray) -> None:
        """Use this array as the buffer of that name, as long as no larger one is needed."""
        self._arrays[name] = array

    def __call__(self, name: str, shape: tuple[int, ...], dtype: DTypeLike | None = None) -> np.ndarray:
        """Return a buffer.

        Parameters
        ----------
        name : str
            The name of the buffer.
        shape : tuple of int
            Its shape.
        dtype : dtype, optional
            Its dtype when it is made; by default that of these buffers.

        Returns
        -------
        ndarray
            The array, of exactly this shape, with its last contents; a new one holds zeros.
        """
        buffer = self._arrays.get(name)
        if buffer is None or buffer.shape[0] < shape[0] or buffer.shape[1:] != shape[1:]:
            buffer = self._arrays[name] = np.zeros(shape, self.dtype if dtype is None else dtype)
        return buffer if buffer.shape == shape else buffer[: shape[0]]
