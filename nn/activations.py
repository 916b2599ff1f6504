"""The activations: those that act on each element alone say only f, f' and f''; Softmax acts on each row.

Each f, df and d2f fills `out` and returns it. df and d2f are given the input x and the output y = f(x), and use
whichever makes the shorter formula. All of them hold for large |x| without overflow. Where f has a kink, at 0, the
derivative taken there is the one from the left. Elsewhere they also hold for complex x, which lets tests
differentiate them by complex steps.
"""

from abc import abstractmethod
from dataclasses import dataclass
import math

import numpy as np

from nn.buffers import Array
from nn.layers import Layer


@dataclass(eq=False)
class Elementwise(Layer):
    """y = f(x), each element by itself; everything else follows from f, df and d2f."""

    by_rows = True

    @abstractmethod
    def f(self, x: Array, out: Array) -> Array:
        """f(x)."""

    @abstractmethod
    def df(self, x: Array, y: Array, out: Array) -> Array:
        """f'(x), where y = f(x)."""

    @abstractmethod
    def d2f(self, x: Array, y: Array, out: Array) -> Array:
        """f''(x), where y = f(x)."""

    def positive(self, y: Array) -> Array:
        """Where y > 0, as bool; compared straight into floats, NumPy would cast through a buffer of its own."""
        return np.greater(y, 0, out=self.buffers("positive", y.shape, bool))

    def forward(self, x: Array) -> Array:
        self.x = x
        self.y = self.f(x, self.buffers("y", x.shape))
        self._slope: Array | None = None
        return self.y

    def backward(self, dy: Array, needs_dx: bool = True) -> Array | None:
        if not needs_dx:
            return None
        self.dy = dy
        self._bend: Array | None = None
        dx = self.df(self.x, self.y, self.buffers("dx", dy.shape))
        dx *= dy
        return dx

    def _slopes(self) -> Array:
        """f'(x), computed once for each point, not once for each product."""
        if self._slope is None:
            self._slope = self.df(self.x, self.y, self.buffers("df", self.x.shape))
        return self._slope

    def _bends(self) -> Array:
        """f''(x) dy, likewise."""
        if self._bend is None:
            self._bend = self.d2f(self.x, self.y, self.buffers("d2f", self.x.shape))
            self._bend *= self.dy
        return self._bend

    def jvp(self, tx: Array | None) -> Array:
        """ty = f'(x) tx."""
        assert tx is not None  # it has no parameters
        self.tx = tx
        return np.multiply(self._slopes(), tx, out=self.buffers("ty", tx.shape))

    def backward_jvp(self, tdy: Array, needs_dx: bool = True, curved: bool = True) -> Array | None:
        """tdx = f'(x) tdy + f''(x) tx dy."""
        if not needs_dx:
            return None
        tdx = np.multiply(self._slopes(), tdy, out=self.buffers("tdx", tdy.shape))
        if curved:
            tdx += np.multiply(self._bends(), self.tx, out=self.buffers("bent", tdy.shape))
        return tdx


@dataclass(eq=False)
class ReLU(Elementwise):
    """max(x, 0). Nair & Hinton (2010)."""

    def f(self, x: Array, out: Array) -> Array:
        return np.maximum(x, self.buffers("zeros", x.shape), out=out)  # three times as quick as with a scalar 0

    def df(self, x: Array, y: Array, out: Array) -> Array:
        np.copyto(out, self.positive(y))
        return out

    def d2f(self, x: Array, y: Array, out: Array) -> Array:
        out.fill(0)
        return out


@dataclass(eq=False)
class LeakyReLU(Elementwise):
    """x where x > 0, otherwise slope * x. Maas et al. (2013)."""

    slope: float = 0.01

    def __post_init__(self) -> None:
        if not isinstance(self.slope, (int, float)) or not 0 <= self.slope < 1:
            raise ValueError(f"LeakyReLU: slope must lie in [0, 1), not {self.slope!r}")

    def f(self, x: Array, out: Array) -> Array:
        np.multiply(x, self.slope, out=out)
        return np.maximum(x, out, out=out)

    def df(self, x: Array, y: Array, out: Array) -> Array:
        np.copyto(out, self.positive(y))
        out *= 1 - self.slope
        out += self.slope
        return out

    def d2f(self, x: Array, y: Array, out: Array) -> Array:
        out.fill(0)
        return out


@dataclass(eq=False)
class ELU(Elementwise):
    """x where x > 0, otherwise alpha (e^x - 1). Clevert et al. (2015)."""

    alpha: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.alpha, (int, float)) or not 0 < self.alpha < math.inf:
            raise ValueError(f"ELU: alpha must be positive, not {self.alpha!r}")

    def f(self, x: Array, out: Array) -> Array:
        np.expm1(np.minimum(x, 0, out=out), out=out)
        out *= self.alpha
        np.copyto(out, x, where=self.positive(x))
        return out

    def df(self, x: Array, y: Array, out: Array) -> Array:
        np.add(y, self.alpha, out=out)
        np.copyto(out, 1, where=self.positive(y))
        return out

    def d2f(self, x: Array, y: Array, out: Array) -> Array:
        np.add(y, self.alpha, out=out)
        np.copyto(out, 0, where=self.positive(y))
        return out


@dataclass(eq=False)
class GELU(Elementwise):
    """x Phi(x), Phi the normal distribution function: exact, not by tanh. Hendrycks & Gimpel (2016)."""

    def _distribution(self, x: Array, out: Array) -> Array:
        from scipy.special import erf  # here, so that importing nn does not import scipy

        erf(np.multiply(x, math.sqrt(0.5), out=out), out=out)
        out += 1
        out *= 0.5
        return out

    def _density(self, x: Array) -> Array:
        density = np.multiply(x, x, out=self.buffers("density", x.shape))
        density *= -0.5
        np.exp(density, out=density)
        density *= 1 / math.sqrt(2 * math.pi)
        return density

    def f(self, x: Array, out: Array) -> Array:
        return np.multiply(x, self._distribution(x, out), out=out)

    def df(self, x: Array, y: Array, out: Array) -> Array:
        density = self._density(x)
        density *= x
        return np.add(self._distribution(x, out), density, out=out)

    def d2f(self, x: Array, y: Array, out: Array) -> Array:
        np.multiply(x, x, out=out)
        np.subtract(2, out, out=out)
        out *= self._density(x)
        return out


@dataclass(eq=False)
class Tanh(Elementwise):
    """tanh(x)."""

    def f(self, x: Array, out: Array) -> Array:
        return np.tanh(x, out=out)

    def df(self, x: Array, y: Array, out: Array) -> Array:
        np.multiply(y, y, out=out)
        return np.subtract(1, out, out=out)

    def d2f(self, x: Array, y: Array, out: Array) -> Array:
        self.df(x, y, out)
        out *= y
        out *= -2
        return out


@dataclass(eq=False)
class Sigmoid(Elementwise):
    """1 / (1 + e^-x), computed as (1 + tanh(x/2)) / 2, which cannot overflow."""

    def f(self, x: Array, out: Array) -> Array:
        np.tanh(np.multiply(x, 0.5, out=out), out=out)
        out += 1
        out *= 0.5
        return out

    def df(self, x: Array, y: Array, out: Array) -> Array:
        np.subtract(1, y, out=out)
        out *= y
        return out

    def d2f(self, x: Array, y: Array, out: Array) -> Array:
        self.df(x, y, out)
        slope = np.multiply(y, -2, out=self.buffers("slope", y.shape))
        slope += 1
        out *= slope
        return out


@dataclass(eq=False)
class Softplus(Elementwise):
    """log(1 + e^x), computed as max(x, 0) + log(1 + e^-|x|). Its derivative is the sigmoid, here 1 - e^-y."""

    def f(self, x: Array, out: Array) -> Array:
        np.maximum(x, 0, out=out)
        tail = np.multiply(out, -2, out=self.buffers("tail", x.shape))
        tail += x  # -|x|
        np.log1p(np.exp(tail, out=tail), out=tail)
        out += tail
        return out

    def df(self, x: Array, y: Array, out: Array) -> Array:
        np.expm1(np.negative(y, out=out), out=out)
        return np.negative(out, out=out)

    def d2f(self, x: Array, y: Array, out: Array) -> Array:
        np.exp(np.negative(y, out=out), out=out)
        out *= self.df(x, y, self.buffers("slope", y.shape))
        return out


@dataclass(eq=False)
class Softmax(Layer):
    """y_k = e^{x_k} / sum_j e^{x_j} in each row.

    As the last layer under CrossEntropy it is computed together with the loss; anywhere else it stands by itself, with
    its full Jacobian diag(y) - y y^T.
    """

    by_rows = True

    def forward(self, x: Array) -> Array:
        column = self.buffers("column", (len(x), 1))
        y = np.subtract(x, np.max(x, axis=1, keepdims=True, out=column), out=self.buffers("y", x.shape))
        np.exp(y, out=y)
        y /= np.sum(y, axis=1, keepdims=True, out=column)
        self.y = y
        return y

    def backward(self, dy: Array, needs_dx: bool = True) -> Array | None:
        if not needs_dx:
            return None
        self.dy = dy
        return self._jacobian(dy, "dx")

    def jvp(self, tx: Array | None) -> Array:
        """ty = y (tx - <y, tx>)."""
        assert tx is not None  # it has no parameters
        self.ty = self._jacobian(tx, "ty")
        return self.ty

    def backward_jvp(self, tdy: Array, needs_dx: bool = True, curved: bool = True) -> Array | None:
        """tdx = y (tdy - <y, tdy>) + ty (dy - <y, dy>) - y <ty, dy>."""
        if not needs_dx:
            return None
        tdx = self._jacobian(tdy, "tdx")
        if curved:
            term = self.buffers("term", tdy.shape)
            np.subtract(self.dy, self._dot(self.y, self.dy, term), out=term)
            term *= self.ty
            tdx += term
            tdx -= np.multiply(self.y, self._dot(self.ty, self.dy, term), out=term)
        return tdx

    def _jacobian(self, u: Array, name: str) -> Array:
        """y (u - <y, u>) in each row: the Jacobian, which is symmetric, times u."""
        out = self.buffers(name, u.shape)
        np.subtract(u, self._dot(self.y, u, out), out=out)
        out *= self.y
        return out

    def _dot(self, a: Array, b: Array, scratch: Array) -> Array:
        """<a, b> of each row, a column (n, 1)."""
        return np.sum(np.multiply(a, b, out=scratch), axis=1, keepdims=True, out=self.buffers("column", (len(a), 1)))


ACTIVATIONS: dict[str, type[Layer]] = {
    kind.__name__.lower(): kind for kind in (ReLU, LeakyReLU, ELU, GELU, Tanh, Sigmoid, Softplus, Softmax)
}
