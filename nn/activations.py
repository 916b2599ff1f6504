"""The activations: elementwise activations define only f, f' and f''; Softmax acts on each row.

Each f, df and d2f fills `out` and returns it. df and d2f get the input x and the output y = f(x), and use the one with
the shorter formula. None of them overflows for large |x|. If f has a kink at 0, its derivative there is the derivative
from the left. The formulas also hold for complex x away from 0, so that tests can differentiate by complex steps.
"""

from abc import abstractmethod
import math

import numpy as np

from nn.fields import Fraction, Positive
from nn.layers import Layer


class Elementwise(Layer):
    """Base of the elementwise activations, y = f(x): a subclass defines f, df and d2f.

    Annotated attributes of the subclass are its fields, as for every `Layer`.

    Notes
    -----
    ``d2f`` is used only by second-order optimizers. Write intermediate arrays to ``self.buffers(name, x.shape)``, so
    that a training step allocates no memory.

    Examples
    --------
    >>> import numpy as np
    >>> from nn import Elementwise
    >>> class Cube(Elementwise):
    ...     def f(self, x, out):
    ...         return np.power(x, 3, out=out)
    ...     def df(self, x, y, out):
    ...         return np.multiply(np.square(x, out=out), 3, out=out)
    ...     def d2f(self, x, y, out):
    ...         return np.multiply(x, 6, out=out)
    >>> Cube().forward(np.array([[-1.0, 2.0]]))
    array([[-1.,  8.]])
    """

    independent_rows = True

    @abstractmethod
    def f(self, x: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Write f(x) to `out`.

        Parameters
        ----------
        x : ndarray of shape (n, i)
            The inputs.
        out : ndarray of shape (n, i)
            The array to fill; not x.

        Returns
        -------
        ndarray of shape (n, i)
            `out`.
        """

    @abstractmethod
    def df(self, x: np.ndarray, y: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Write f'(x) to `out`.

        Parameters
        ----------
        x : ndarray of shape (n, i)
            The inputs.
        y : ndarray of shape (n, i)
            The outputs f(x).
        out : ndarray of shape (n, i)
            The array to fill; neither x nor y.

        Returns
        -------
        ndarray of shape (n, i)
            `out`.
        """

    @abstractmethod
    def d2f(self, x: np.ndarray, y: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Write f''(x) to `out`.

        Parameters
        ----------
        x : ndarray of shape (n, i)
            The inputs.
        y : ndarray of shape (n, i)
            The outputs f(x).
        out : ndarray of shape (n, i)
            The array to fill; neither x nor y.

        Returns
        -------
        ndarray of shape (n, i)
            `out`.
        """

    def positive(self, y: np.ndarray) -> np.ndarray:
        """Compare each element with 0.

        Parameters
        ----------
        y : ndarray
            Real numbers.

        Returns
        -------
        ndarray of bool
            y > 0, in a buffer. A comparison that writes to an array of floats would make NumPy allocate memory.
        """
        out = self.buffers("positive", y.shape, bool)
        np.greater(y, 0, out=out)
        return out

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.x = x
        self.y: np.ndarray = self.f(x, self.buffers("y", x.shape))
        self._df: np.ndarray | None = None
        return self.y

    def backward(self, dy: np.ndarray, needs_dx: bool = True) -> np.ndarray | None:
        """dx = f'(x) dy."""
        if not needs_dx:
            return None
        self.dy = dy
        self._d2f_dy: np.ndarray | None = None
        dx: np.ndarray = self.df(self.x, self.y, self.buffers("dx", dy.shape))
        dx *= dy
        return dx

    def _derivative(self) -> np.ndarray:
        """Return f'(x), computed once for each x, not for each product."""
        if self._df is None:
            self._df = self.df(self.x, self.y, self.buffers("df", self.x.shape))
        return self._df

    def _second_derivative(self) -> np.ndarray:
        """Return f''(x) dy, computed once for each x and dy, not for each product."""
        if self._d2f_dy is None:
            self._d2f_dy = self.d2f(self.x, self.y, self.buffers("d2f", self.x.shape))
            self._d2f_dy *= self.dy
        return self._d2f_dy

    def jvp(self, tx: np.ndarray | None) -> np.ndarray:
        """ty = f'(x) tx."""
        assert tx is not None  # it has no parameters
        self.tx = tx
        ty = self.buffers("ty", tx.shape)
        np.multiply(self._derivative(), tx, out=ty)
        return ty

    def backward_jvp(self, tdy: np.ndarray, needs_dx: bool = True, second_order: bool = True) -> np.ndarray | None:
        """tdx = f'(x) tdy + f''(x) tx dy."""
        if not needs_dx:
            return None
        tdx = self.buffers("tdx", tdy.shape)
        np.multiply(self._derivative(), tdy, out=tdx)
        if second_order:
            tdx += np.multiply(self._second_derivative(), self.tx, out=self.buffers("d2f_dy_tx", tdy.shape))
        return tdx


class ReLU(Elementwise):
    """Rectified linear unit: x if x > 0, otherwise 0.

    Notes
    -----
    ``f(x) = max(x, 0)``. The derivative at 0 is 0, as in torch and Keras. Use it with ``Dense(..., init="he")``.

    References
    ----------
    Nair & Hinton (2010), *Rectified linear units improve restricted Boltzmann machines*.

    Examples
    --------
    >>> import numpy as np
    >>> from nn import ReLU
    >>> ReLU().forward(np.array([[-1.0, 2.0]]))
    array([[0., 2.]])
    """

    def f(self, x: np.ndarray, out: np.ndarray) -> np.ndarray:
        np.maximum(x, self.buffers("zeros", x.shape), out=out)  # three times as fast as with a scalar 0
        return out

    def df(self, x: np.ndarray, y: np.ndarray, out: np.ndarray) -> np.ndarray:
        np.copyto(out, self.positive(y))
        return out

    def d2f(self, x: np.ndarray, y: np.ndarray, out: np.ndarray) -> np.ndarray:
        out.fill(0)
        return out


class LeakyReLU(Elementwise):
    """ReLU with a small slope for negative x: x if x > 0, otherwise slope * x.

    Parameters
    ----------
    slope : float
        The slope for negative x, at least 0 and below 1.

    Notes
    -----
    ``f(x) = max(x, slope x)``. The derivative at 0 is the slope. The default slope is 0.01, as in torch
    (``negative_slope``); in Keras it is 0.3.

    References
    ----------
    Maas, Hannun & Ng (2013), *Rectifier nonlinearities improve neural network acoustic models*.

    Examples
    --------
    >>> import numpy as np
    >>> from nn import LeakyReLU
    >>> LeakyReLU(slope=0.1).forward(np.array([[-1.0, 2.0]]))
    array([[-0.1,  2. ]])
    """

    slope: Fraction = 0.01

    def f(self, x: np.ndarray, out: np.ndarray) -> np.ndarray:
        np.multiply(x, self.slope, out=out)
        np.maximum(x, out, out=out)
        return out

    def df(self, x: np.ndarray, y: np.ndarray, out: np.ndarray) -> np.ndarray:
        np.copyto(out, self.positive(y))
        out *= 1 - self.slope
        out += self.slope
        return out

    def d2f(self, x: np.ndarray, y: np.ndarray, out: np.ndarray) -> np.ndarray:
        out.fill(0)
        return out


class ELU(Elementwise):
    """Exponential linear unit: x if x > 0, otherwise alpha (e^x - 1).

    Parameters
    ----------
    alpha : float
        The limit for x to minus infinity is -alpha; positive.

    Notes
    -----
    The derivative at 0 is alpha, the derivative from the left. The default, 1, is that of torch and Keras.

    References
    ----------
    Clevert, Unterthiner & Hochreiter (2016), *Fast and accurate deep network learning by exponential linear units
    (ELUs)*.

    Examples
    --------
    >>> import numpy as np
    >>> from nn import ELU
    >>> ELU().forward(np.array([[-1.0, 2.0]])).round(3)
    array([[-0.632,  2.   ]])
    """

    alpha: Positive = 1.0

    def f(self, x: np.ndarray, out: np.ndarray) -> np.ndarray:
        np.expm1(np.minimum(x, 0, out=out), out=out)
        out *= self.alpha
        np.copyto(out, x, where=self.positive(x))
        return out

    def df(self, x: np.ndarray, y: np.ndarray, out: np.ndarray) -> np.ndarray:
        np.add(y, self.alpha, out=out)
        np.copyto(out, 1, where=self.positive(y))
        return out

    def d2f(self, x: np.ndarray, y: np.ndarray, out: np.ndarray) -> np.ndarray:
        np.add(y, self.alpha, out=out)
        np.copyto(out, 0, where=self.positive(y))
        return out


class GELU(Elementwise):
    """Gaussian error linear unit: x times the probability that a standard normal number is below x.

    Notes
    -----
    ``f(x) = x Phi(x) = x (1 + erf(x / sqrt(2))) / 2``, the exact form, which is also the default in torch and Keras.
    Their options ``approximate="tanh"`` and ``approximate=True`` differ from it by up to 5e-4.

    References
    ----------
    Hendrycks & Gimpel (2016), *Gaussian error linear units (GELUs)*.

    Examples
    --------
    >>> import numpy as np
    >>> from nn import GELU
    >>> GELU().forward(np.array([[-1.0, 2.0]])).round(3)
    array([[-0.159,  1.954]])
    """

    def _distribution(self, x: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Return Phi(x), the distribution function, in `out`."""
        from scipy.special import erf  # importing nn must not import scipy

        erf(np.multiply(x, math.sqrt(0.5), out=out), out=out)
        out += 1
        out *= 0.5
        return out

    def _density(self, x: np.ndarray) -> np.ndarray:
        """Return Phi'(x), in a buffer."""
        density = self.buffers("density", x.shape)
        np.multiply(x, x, out=density)
        density *= -0.5
        np.exp(density, out=density)
        density *= 1 / math.sqrt(2 * math.pi)
        return density

    def f(self, x: np.ndarray, out: np.ndarray) -> np.ndarray:
        np.multiply(x, self._distribution(x, out), out=out)
        return out

    def df(self, x: np.ndarray, y: np.ndarray, out: np.ndarray) -> np.ndarray:
        density = self._density(x)
        density *= x
        np.add(self._distribution(x, out), density, out=out)
        return out

    def d2f(self, x: np.ndarray, y: np.ndarray, out: np.ndarray) -> np.ndarray:
        np.multiply(x, x, out=out)
        np.subtract(2, out, out=out)
        out *= self._density(x)
        return out


class Tanh(Elementwise):
    """Hyperbolic tangent, with values between -1 and 1.

    Notes
    -----
    ``f(x) = tanh(x)``. Use it with ``Dense(..., init="xavier")`` or ``init="glorot"``.

    Examples
    --------
    >>> import numpy as np
    >>> from nn import Tanh
    >>> Tanh().forward(np.array([[-1.0, 2.0]])).round(3)
    array([[-0.762,  0.964]])
    """

    def f(self, x: np.ndarray, out: np.ndarray) -> np.ndarray:
        np.tanh(x, out=out)
        return out

    def df(self, x: np.ndarray, y: np.ndarray, out: np.ndarray) -> np.ndarray:
        np.multiply(y, y, out=out)
        np.subtract(1, out, out=out)
        return out

    def d2f(self, x: np.ndarray, y: np.ndarray, out: np.ndarray) -> np.ndarray:
        self.df(x, y, out)
        out *= y
        out *= -2
        return out


class Sigmoid(Elementwise):
    """Logistic function, with values between 0 and 1.

    Notes
    -----
    ``f(x) = 1 / (1 + e^-x)``, computed as ``(1 + tanh(x / 2)) / 2``, which cannot overflow. As the last layer with
    `BinaryCrossEntropy`, it is computed together with the loss, from its input.

    Examples
    --------
    >>> import numpy as np
    >>> from nn import Sigmoid
    >>> Sigmoid().forward(np.array([[-1000.0, 0.0, 2.0]])).round(3)
    array([[0.   , 0.5  , 0.881]])
    """

    def f(self, x: np.ndarray, out: np.ndarray) -> np.ndarray:
        np.tanh(np.multiply(x, 0.5, out=out), out=out)
        out += 1
        out *= 0.5
        return out

    def df(self, x: np.ndarray, y: np.ndarray, out: np.ndarray) -> np.ndarray:
        np.subtract(1, y, out=out)
        out *= y
        return out

    def d2f(self, x: np.ndarray, y: np.ndarray, out: np.ndarray) -> np.ndarray:
        self.df(x, y, out)
        factor = self.buffers("1 - 2 y", y.shape)
        np.multiply(y, -2, out=factor)
        factor += 1
        out *= factor
        return out


class Softplus(Elementwise):
    """Smooth form of ReLU: log(1 + e^x).

    Notes
    -----
    ``f(x) = log(1 + e^x)``, computed as ``max(x, 0) + log(1 + e^-|x|)``, which cannot overflow. Its derivative is the
    sigmoid, here computed as ``1 - e^-y``. It has no ``beta`` and no ``threshold``, unlike torch's.

    References
    ----------
    Dugas, Bengio, Bélisle, Nadeau & Garcia (2001), *Incorporating second-order functional knowledge for better option
    pricing*.

    Examples
    --------
    >>> import numpy as np
    >>> from nn import Softplus
    >>> Softplus().forward(np.array([[-1.0, 0.0, 1000.0]])).round(3)
    array([[3.13e-01, 6.93e-01, 1.00e+03]])
    """

    def f(self, x: np.ndarray, out: np.ndarray) -> np.ndarray:
        np.maximum(x, 0, out=out)
        tail = self.buffers("tail", x.shape)
        np.multiply(out, -2, out=tail)
        tail += x  # -|x|
        np.log1p(np.exp(tail, out=tail), out=tail)
        out += tail
        return out

    def df(self, x: np.ndarray, y: np.ndarray, out: np.ndarray) -> np.ndarray:
        np.expm1(np.negative(y, out=out), out=out)
        np.negative(out, out=out)
        return out

    def d2f(self, x: np.ndarray, y: np.ndarray, out: np.ndarray) -> np.ndarray:
        np.exp(np.negative(y, out=out), out=out)
        out *= self.df(x, y, self.buffers("sigmoid", y.shape))
        return out


class Softmax(Layer):
    """Probabilities from numbers: positive outputs that sum to 1 in each row.

    Notes
    -----
    ``y_k = e^{x_k} / sum_j e^{x_j}`` in each row; the largest x of the row is subtracted first, so that nothing
    overflows. As the last layer with `CrossEntropy`, it is computed together with the loss, from its input. In any
    other position it is computed by itself, with its full Jacobian ``diag(y) - y y^T``.

    The model contains this layer, and its outputs are probabilities. In torch, cross-entropy expects logits, and the
    model has no softmax. In Keras this is ``from_logits=False``; here it does not reduce the precision.

    Examples
    --------
    >>> import numpy as np
    >>> from nn import Softmax
    >>> Softmax().forward(np.log([[1.0, 1.0, 2.0]]))
    array([[0.25, 0.25, 0.5 ]])
    """

    independent_rows = True

    def forward(self, x: np.ndarray) -> np.ndarray:
        column, y = self.buffers("column", (len(x), 1)), self.buffers("y", x.shape)
        np.subtract(x, np.max(x, axis=1, keepdims=True, out=column), out=y)
        np.exp(y, out=y)
        y /= np.sum(y, axis=1, keepdims=True, out=column)
        self.y = y
        return y

    def backward(self, dy: np.ndarray, needs_dx: bool = True) -> np.ndarray | None:
        """dx = y (dy - <y, dy>)."""
        if not needs_dx:
            return None
        self.dy = dy
        return self._jacobian(dy, "dx")

    def jvp(self, tx: np.ndarray | None) -> np.ndarray:
        """ty = y (tx - <y, tx>)."""
        assert tx is not None  # it has no parameters
        self.ty = self._jacobian(tx, "ty")
        return self.ty

    def backward_jvp(self, tdy: np.ndarray, needs_dx: bool = True, second_order: bool = True) -> np.ndarray | None:
        """tdx = y (tdy - <y, tdy>) + ty (dy - <y, dy>) - y <ty, dy>."""
        if not needs_dx:
            return None
        tdx = self._jacobian(tdy, "tdx")
        if second_order:
            term = self.buffers("term", tdy.shape)
            np.subtract(self.dy, self._dot(self.y, self.dy, term), out=term)
            term *= self.ty
            tdx += term
            tdx -= np.multiply(self.y, self._dot(self.ty, self.dy, term), out=term)
        return tdx

    def _jacobian(self, u: np.ndarray, name: str) -> np.ndarray:
        """Return y (u - <y, u>) in each row: the Jacobian, which is symmetric, times u."""
        out = self.buffers(name, u.shape)
        np.subtract(u, self._dot(self.y, u, out), out=out)
        out *= self.y
        return out

    def _dot(self, a: np.ndarray, b: np.ndarray, scratch: np.ndarray) -> np.ndarray:
        """Return <a, b> of each row, a column (n, 1)."""
        column = self.buffers("column", (len(a), 1))
        np.sum(np.multiply(a, b, out=scratch), axis=1, keepdims=True, out=column)
        return column
