"""What a layer is, the layer that learns (Dense) and the layer that forgets (Dropout).

Index letters: n examples, i inputs, o outputs. Rows are examples: x is (n, i), y and dy are (n, o), W is (i, o).

Curvature is by the R-operator of Pearlmutter (1994): the derivative of each line of forward and backward in one
direction v of the parameters. A leading t marks such a tangent: ty is that of y, tdy that of dy; vW is W's part of v.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator

from nn.buffers import Array, Buffers
from nn.initializers import INITIALIZERS
from nn.names import choose
from nn.parameters import Shapes, views, write


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
        bound = vars(self)  # past __setattr__, which would write into the old views
        bound.update(views(theta, self.shapes()))
        bound.update({"d" + name: view for name, view in views(grad, self.shapes()).items()})
        bound["_views"] = frozenset(self.shapes())

    def __setattr__(self, name: str, value: Any) -> None:
        held = vars(self)
        if name not in held.get("_views", ()):
            super().__setattr__(name, value)
        elif held[name] is not value:  # a parameter is a view into theta, and stays one
            write(name, held[name], value)

    def bind_tangents(self, v: Array, Hv: Array) -> None:
        """Take directions from, and write products to, these two flat vectors: this layer's part of v and of Hv."""
        for prefix, vector in (("v", v), ("H", Hv)):
            for name, view in views(vector, self.shapes()).items():
                setattr(self, prefix + name, view)

    def initialize(self, rng: Generator) -> None:  # noqa: B027 (most layers have nothing to draw)
        """Draw the first values of the parameters."""

    def freeze(self, rng: Generator | None) -> None:  # noqa: B027 (nor anything random)
        """What is random in this layer is drawn anew from `rng` at the next forward and kept; None: nothing random."""

    def restrict(self, rows: Array) -> None:  # noqa: B027 (nor anything random)
        """Keep what is random in this layer for these rows of the batch alone."""

    @property
    def random(self) -> bool:
        """Whether two batches alike may come out differently."""
        return False

    by_rows: ClassVar[bool] = False
    """Whether each row of y follows from that row of x alone, so that parts of a batch can be run on several threads,
    each in a copy of this layer (copy.copy).
    """

    @abstractmethod
    def forward(self, x: Array) -> Array:
        """y of x: (n, i) to (n, o)."""

    @abstractmethod
    def backward(self, dy: Array, needs_dx: bool = True) -> Array | None:
        """From dL/dy (n, o) at the last forward's x: writes dL/dparameters over the old ones, returns dL/dx (n, i).

        The first layer of a network has no use for its dL/dx and skips it: `needs_dx` is False and None comes back.
        Who asks for `backward_jvp` afterwards leaves dy as it is.
        """

    @abstractmethod
    def jvp(self, tx: Array | None) -> Array:
        """The tangent of `forward` at the last x: ty (n, o) of tx (n, i) and of the layer's part of the direction v.

        tx is None where x is fixed: only the first layer with parameters is told so.
        """

    @abstractmethod
    def backward_jvp(self, tdy: Array, needs_dx: bool = True, curved: bool = True) -> Array | None:
        """The tangent of the last `backward`, in the direction of the last `jvp` and of tdy (n, o).

        Writes that of dL/dparameters to the layer's part of Hv and returns that of dL/dx, (n, i), if it is needed.
        Where not `curved`, the layer is taken for linear around this point: then it is J^T tdy, J the layer's
        Jacobian, and neither a `backward` nor a `jvp` need have been.
        """

    def example_gradients(self, dy: Array, out: Array) -> None:  # noqa: B027 (most layers have no parameters)
        """dL/dparameters of each example by itself, to the rows of `out` (n, p); `backward` gives their sum."""


@dataclass(eq=False)
class Dense(Layer):
    """y = x W + b.

    n_in, n_out: how many inputs and outputs; init: where W begins, a name in INITIALIZERS (b begins at zero).
    Once in a model, `W` (n_in, n_out) and `b` (n_out,) are views into its theta, `dW` and `db` into its gradient.
    """

    by_rows = True
    n_in: int
    n_out: int
    init: str = "he"
    W: Array = parameter()
    b: Array = parameter()
    dW: Array = parameter()
    db: Array = parameter()
    vW: Array = parameter()
    vb: Array = parameter()
    HW: Array = parameter()
    Hb: Array = parameter()

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
        self.dy = dy
        np.matmul(self.x.T, dy, out=self.dW)
        self._sum(dy, self.db)
        return np.matmul(dy, self.W.T, out=self.buffers("dx", self.x.shape)) if needs_dx else None

    def _sum(self, dy: Array, out: Array) -> None:
        """The sum over examples, by a product, which is quicker than np.sum."""
        ones = self.buffers("ones", dy.shape[:1])
        ones.fill(1)
        np.matmul(ones, dy, out=out)

    def jvp(self, tx: Array | None) -> Array:
        """ty = tx W + x vW + vb."""
        self.tx = tx
        ty = np.matmul(self.x, self.vW, out=self.buffers("ty", (len(self.x), self.n_out)))
        ty += self.vb
        if tx is not None:
            ty += np.matmul(tx, self.W, out=self.buffers("txW", ty.shape))
        return ty

    def backward_jvp(self, tdy: Array, needs_dx: bool = True, curved: bool = True) -> Array | None:
        """HW = x^T tdy + tx^T dy, Hb = sum_n tdy, tdx = tdy W^T + dy vW^T; the second terms are the curvature."""
        np.matmul(self.x.T, tdy, out=self.HW)
        self._sum(tdy, self.Hb)
        if curved and self.tx is not None:
            self.HW += np.matmul(self.tx.T, self.dy, out=self.buffers("txdy", self.W.shape))
        if not needs_dx:
            return None
        tdx = np.matmul(tdy, self.W.T, out=self.buffers("tdx", self.x.shape))
        if curved:
            tdx += np.matmul(self.dy, self.vW.T, out=self.buffers("dyvW", tdx.shape))
        return tdx

    def example_gradients(self, dy: Array, out: Array) -> None:
        weights = out[:, : -self.n_out].reshape(len(dy), self.n_in, self.n_out)  # a view: only an axis is split
        np.multiply(self.x[:, :, np.newaxis], dy[:, np.newaxis, :], out=weights)
        np.copyto(out[:, -self.n_out :], dy)


@dataclass(eq=False)
class Dropout(Layer):
    """y = x * mask / (1 - rate), where each element of the mask is 0 with probability `rate`, else 1.

    Only while training; the division keeps the expected y at x, so that nothing needs scaling afterwards. The mask
    stays the same until the next `freeze`. Srivastava et al. (2014), in its inverted form.
    """

    by_rows = True
    rate: float = 0.5

    def __post_init__(self) -> None:
        if not isinstance(self.rate, (int, float)) or not 0 <= self.rate < 1:
            raise ValueError(f"Dropout: rate must lie in [0, 1), not {self.rate!r}")
        self._rng: Generator | None = None
        self._mask: Array | None = None

    def freeze(self, rng: Generator | None) -> None:
        self._rng, self._mask = rng, None

    def restrict(self, rows: Array) -> None:
        if self._mask is not None:
            self._mask = self._mask[rows]

    @property
    def random(self) -> bool:
        return self.rate > 0

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
        return self._masked(dy, "dx")

    def jvp(self, tx: Array | None) -> Array:
        assert tx is not None  # it has no parameters
        return self._masked(tx, "ty")

    def backward_jvp(self, tdy: Array, needs_dx: bool = True, curved: bool = True) -> Array | None:
        return self._masked(tdy, "tdx")

    def _masked(self, x: Array, name: str) -> Array:
        return x if self._mask is None else np.multiply(x, self._mask, out=self.buffers(name, x.shape))
