"""Where every parameter lives: one flat vector, and the named views that the layers work on."""

from collections.abc import Mapping
import math
from typing import Any

import numpy as np

from nn.buffers import Array

Shapes = Mapping[str, tuple[int, ...]]


def size(shapes: Shapes) -> int:
    """How many numbers the named arrays hold together."""
    return sum(math.prod(shape) for shape in shapes.values())


def views(vector: Array, shapes: Shapes) -> dict[str, Array]:
    """The flat vector cut into views of the given shapes, one after another in the order of `shapes`.

    Nothing is copied: writing to a view writes to the vector. `vector` has exactly `size(shapes)` elements.
    """
    named, start = {}, 0
    for name, shape in shapes.items():
        stop = start + math.prod(shape)
        named[name] = vector[start:stop].reshape(shape)
        start = stop
    if start != len(vector):
        raise ValueError(f"a vector of {len(vector)} cannot be cut into shapes that hold {start}: {dict(shapes)}")
    return named


class Live:
    """An attribute that is bound to a vector once: assigned to after that, the vector is written into, not replaced."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = "_" + name

    def __get__(self, instance: Any, owner: type | None = None) -> Array:
        vector: Array = instance.__dict__[self.name]
        return vector

    def __set__(self, instance: Any, value: Any) -> None:
        held = instance.__dict__.setdefault(self.name, value)
        if held is not value:
            write(self.name[1:], held, value)


def write(name: str, held: Array, value: Any) -> None:
    """Write `value` into `held`. Raises ValueError where the shapes differ."""
    if np.shape(value) != held.shape:
        raise ValueError(f"{name} has shape {held.shape}, and is written into where it lies: it cannot become an array "
                         f"of shape {np.shape(value)}")
    held[...] = value
