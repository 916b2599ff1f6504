"""Where every parameter lives: one flat vector, and the named views that the layers work on."""

from collections.abc import Mapping
import math

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
