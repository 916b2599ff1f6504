"""What a layer is, the layer that learns (Dense) and the layer that forgets (Dropout).

Index letters: n examples, i inputs, o outputs. Rows are examples: x is (n, i), y and dy are (n, o), W is (i, o).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.random import Generator

from nn.buffers import Array, Buffers
from nn.initializers import INITIALIZERS
from nn.names import choose
from nn.parameters import Shapes, views


def parameter() -> Any:
    """A field for an array that `bind` sets, which is no part of a layer's description."""
    return field(init=False, repr=False)


@dataclass(eq=False)
class Layer(ABC):
    """A function of a batch that knows its own derivative.

    A layer is described by its fields (they are what is saved) and works once it is bound to a parameter vector.
    Arrays that it returns are its buffers: they hold until the same method is called again.
    """

    def description(self) -> dict[str, Any]:
        """The fields that make a layer like this one, by name."""
        return {spec.name: getattr(self, spec.name) for spec in fields(self) if spec.init}

    def shapes(self) -> Shapes:
        """The parameters by name, in the order in which they lie in theta."""
        return {}

    def width(self, n_in: int | None) -> int | None:
        """How many outputs come of `n_in` inputs; None where nothing has fixed the width yet."""
        return n_in

    def bind(self, theta: Array, grad: Array) -> None:
        """Work on these two flat vectors from now on: this layer's part of theta and of its gradient."""
        self.buffers = Buffers(theta.dtype)
        for name, view in views(theta, self.shapes()).items():
            setattr(self, name, view)
        for name, view in views(grad, self.shapes()).items():
            setattr(self, "d" + name, view)

    def initialize(self, rng: Generator) -> None:  # noqa: B027 (most layers have nothing to draw)
        """Draw the first values of the parameters."""

    def freeze(self, rng: Generator | None) -> None:  # noqa: B027 (nor anything random)
        """What is random in this layer is drawn anew from `rng` at the next forward and kept; None: nothing random."""

    @abstractmethod
    def forward(self, x: Array) -> Array:
        """y of x: (n, i) to (n, o)."""

    @abstractmethod
    def backward(self, dy: Array, needs_dx: bool = True) -> Array | None:
        """From dL/dy (n, o) at the last forward's x: writes dL/dparameters over the old ones, returns dL/dx (n, i).

        The first layer of a network has no use for its dL/dx and skips it: `needs_dx` is False and None comes back.
        """


@dataclass(eq=False)
class Dense(Layer):
    """y = x W + b.

    n_in, n_out: how many inputs and outputs; init: where W begins, a name in INITIALIZERS (b begins at zero).
    Once in a model, `W` (n_in, n_out) and `b` (n_out,) are views into its theta, `dW` and `db` into its gradient.
    """

    n_in: int
    n_out: int
    init: str = "he"
    W: Array = parameter()
    b: Array = parameter()
    dW: Array = parameter()
    db: Array = parameter()

    def __post_init__(self) -> None:
        for name in ("n_in", "n_out"):
            n = getattr(self, name)
            if not isinstance(n, (int, np.integer)) or isinstance(n, bool) or n < 1:
                raise ValueError(f"Dense: {name} must be a whole number of at least 1, not {n!r}")
            setattr(self, name, int(n))
        choose("initializer", self.init, INITIALIZERS)

    def shapes(self) -> Shapes:
        return {"W": (self.n_in, self.n_out), "b": (self.n_out,)}

    def width(self, n_in: int | None) -> int:
        if n_in not in (None, self.n_in):
            raise ValueError(f"expects {self.n_in} inputs but gets {n_in}: write Dense({n_in}, {self.n_out})")
        return self.n_out

    def initialize(self, rng: Generator) -> None:
        self.W[:] = INITIALIZERS[self.init](rng, self.n_in, self.n_out)
        self.b[:] = 0

    def forward(self, x: Array) -> Array:
        self.x = x
        y = np.matmul(x, self.W, out=self.buffers("y", (len(x), self.n_out)))
        y += self.b
        return y

    def backward(self, dy: Array, needs_dx: bool = True) -> Array | None:
        np.matmul(self.x.T, dy, out=self.dW)
        np.sum(dy, axis=0, out=self.db)
        return np.matmul(dy, self.W.T, out=self.buffers("dx", self.x.shape)) if needs_dx else None


@dataclass(eq=False)
class Dropout(Layer):
    """y = x * mask / (1 - rate), where each element of the mask is 0 with probability `rate`, else 1.

    Only while training; the division keeps the expected y at x, so that nothing needs scaling afterwards. The mask
    stays the same until the next `freeze`. Srivastava et al. (2014), in its inverted form.
    """

    rate: float = 0.5

    def __post_init__(self) -> None:
        if not isinstance(self.rate, (int, float)) or not 0 <= self.rate < 1:
            raise ValueError(f"Dropout: rate must lie in [0, 1), not {self.rate!r}")
        self._rng: Generator | None = None
        self._mask: Array | None = None

    def freeze(self, rng: Generator | None) -> None:
        self._rng, self._mask = rng, None

    def _draw(self, rng: Generator, shape: tuple[int, ...]) -> Array:
        mask = self.buffers("mask", shape, np.empty(0, self.buffers.dtype).real.dtype)
        rng.random(out=mask, dtype=mask.dtype.type)
        mask += 1 - self.rate
        np.floor(mask, out=mask)  # 1 where the uniform number was at least the rate
        mask *= 1 / (1 - self.rate)
        return mask

    def forward(self, x: Array) -> Array:
        if self._rng is None or self.rate == 0:
            return x
        if self._mask is None or self._mask.shape != x.shape:
            self._mask = self._draw(self._rng, x.shape)
        return np.multiply(x, self._mask, out=self.buffers("y", x.shape))

    def backward(self, dy: Array, needs_dx: bool = True) -> Array | None:
        if self._mask is None:
            return dy
        return np.multiply(dy, self._mask, out=self.buffers("dx", dy.shape))
