"""How wrong an output is: the value of each loss, its gradient and its curvature with respect to the model's output.

A loss is a sum over examples times `scale`. With scale = 1/N it is the mean, as everyone reports it; a part of a batch
takes the whole batch's scale, and the parts add up. Targets are (n, K) arrays in the model's dtype, like the outputs;
`encode` makes them from what users have: integer labels (n,), one-hot rows (n, K), or numbers.
"""

from abc import ABC, abstractmethod
import math
from typing import Any, ClassVar

import numpy as np

from nn.activations import Sigmoid, Softmax
from nn.buffers import Array, Buffers
from nn.layers import Layer
from nn.names import choose


def _flat(x: Array) -> Array:
    return x.reshape(-1)


def _squarable(p: Array) -> Array:
    """p, in place, kept from 0 so that 1 / p^2 is finite."""
    return np.maximum(p, math.sqrt(np.finfo(p.dtype).tiny), out=p)


def _is_one_hot(target: Array) -> bool:
    return target.shape[1] > 1 and bool(np.all((target == 0) | (target == 1)) and np.all(target.sum(axis=1) == 1))


class Loss(ABC):
    """A loss of outputs z (n, K) and targets (n, K)."""

    joins: ClassVar[type[Layer] | None] = None
    """The last layer that this loss is computed together with; z is then that layer's input."""
    needs_probabilities: ClassVar[bool] = False
    threshold: ClassVar[float] = 0.5
    """Of a single output: above it, z says class 1."""

    def __init__(self) -> None:
        self.buffers = Buffers(float)

    def bind(self, dtype: Any) -> None:
        """Work in this dtype from now on."""
        self.buffers = Buffers(dtype)

    @abstractmethod
    def value(self, z: Array, target: Array, scale: float) -> float:
        """scale times the sum over examples."""

    @abstractmethod
    def gradient(self, z: Array, target: Array, scale: float, out: Array) -> Array:
        """The derivative of the value with respect to z, (n, K), written to `out`; follows a `value` of the same z."""

    @abstractmethod
    def hessian_product(self, z: Array, target: Array, v: Array, scale: float, out: Array) -> Array:
        """The derivative of `gradient` in the direction v (n, K), written to `out`, (n, K), which is not v.

        It follows a `value` of the same z. Each row is a positive semidefinite matrix times that row of v.
        """

    def residual_scale(self, width: int, scale: float) -> float:
        """c, where the value is r^T r / 2 of the residuals r = c (z - t). Raises ValueError where it is no such sum."""
        raise ValueError(f"{type(self).__name__} is no sum of squares, so that it has no residuals and no Jacobian of "
                         "them: use gauss_newton_product(v), which every loss has, or MeanSquaredError()")

    def residuals(self, z: Array, target: Array, scale: float, out: Array) -> Array:
        """The residuals (n, K), written to `out`; their squares add up to twice the value."""
        c = self.residual_scale(z.shape[1], scale)
        np.subtract(z, target, out=out)
        out *= c
        return out

    def encode(self, y: Any, width: int, dtype: Any) -> Array:
        """Targets (n, width) of `y`: integer labels become one-hot rows (a single output's, one column of 0 and 1).

        Raises ValueError for another shape, labels out of range, numbers that are no probabilities where the loss
        needs them, NaN and infinity.
        """
        y = np.asarray(y)
        if y.dtype == bool:
            y = y.astype(np.int64)
        if not (np.issubdtype(y.dtype, np.integer) or np.issubdtype(y.dtype, np.floating)):
            raise ValueError(f"y holds {y.dtype}, not numbers: give integer labels (N,) or numbers (N, {width})")
        if y.ndim == 2 and y.shape[1] == 1 and width > 1 and np.issubdtype(y.dtype, np.integer):
            raise ValueError(f"y is a column {y.shape} of labels: give them as (N,), by y.ravel()")
        if y.ndim == 1 and width == 1:
            y = y[:, np.newaxis]
        elif y.ndim == 1 and np.issubdtype(y.dtype, np.integer):
            return _one_hot(y, width, dtype)
        elif y.ndim == 1:
            raise ValueError(f"y is (N,) of {y.dtype}: for {width} outputs give integer labels (y.astype(int)) "
                             f"or an array (N, {width})")
        if y.ndim != 2 or y.shape[1] != width:
            raise ValueError(f"y has shape {y.shape}, but the model has {width} outputs: give integer labels (N,) "
                             f"or an array (N, {width})")
        if not np.isfinite(y).all():
            raise ValueError(f"y holds NaN or infinity, first in row {np.argmin(np.isfinite(y).all(axis=1))}: "
                             "remove or mend those rows")
        if self.needs_probabilities and len(y) and not (y.min() >= 0 and y.max() <= 1):
            raise ValueError(f"{type(self).__name__}: y must lie in [0, 1], but reaches from {y.min()} to {y.max()}: "
                             f"give {'labels 0 and 1' if width == 1 else 'integer labels (N,) or one-hot rows'}")
        return np.ascontiguousarray(y, dtype)

    def classifies(self, target: Array) -> bool:
        """Whether each example has one class, so that there is an accuracy to speak of."""
        return _is_one_hot(target)


def _one_hot(labels: Array, width: int, dtype: Any) -> Array:
    if len(labels) and not (labels.min() >= 0 and labels.max() < width):
        bad = labels.min() if labels.min() < 0 else labels.max()
        raise ValueError(f"y holds the label {bad}, but the model has {width} outputs: labels must be 0 to {width - 1}")
    target = np.zeros((len(labels), width), dtype)
    target[np.arange(len(labels)), labels] = 1
    return target


class CrossEntropy(Loss):
    """-sum_k t_k log p_k: for one class among K, each row of the target a distribution over the classes.

    z are probabilities p. Where the model ends in Softmax, z are its logits and SoftmaxCrossEntropy takes over.
    """

    needs_probabilities = True

    def encode(self, y: Any, width: int, dtype: Any) -> Array:
        if width == 1:
            raise ValueError("CrossEntropy needs an output for each class, at least 2: for one output of two classes "
                             "write Dense(..., 1), Sigmoid() and BinaryCrossEntropy()")
        target = super().encode(y, width, dtype)
        if not np.allclose(target.sum(axis=1), 1, atol=1e-3):
            raise ValueError("CrossEntropy: each row of y must sum to 1: give integer labels (N,) or one-hot rows; for "
                             "several labels in a row use Sigmoid() and BinaryCrossEntropy()")
        return target

    def classifies(self, target: Array) -> bool:
        return True

    def _probabilities(self, z: Array) -> Array:
        """p, kept from 0 so that its logarithm is finite."""
        return np.maximum(z, np.finfo(z.dtype).tiny, out=self.buffers("p", z.shape))

    def value(self, z: Array, target: Array, scale: float) -> float:
        p = self._probabilities(z)
        return -scale * np.dot(_flat(target), _flat(np.log(p, out=p))).item()

    def gradient(self, z: Array, target: Array, scale: float, out: Array) -> Array:
        np.divide(target, self._probabilities(z), out=out)
        out *= -scale
        return out

    def hessian_product(self, z: Array, target: Array, v: Array, scale: float, out: Array) -> Array:
        """scale t / p^2 v."""
        p = _squarable(self._probabilities(z))
        np.divide(target, p, out=out)
        out /= p
        out *= scale
        out *= v
        return out


class SoftmaxCrossEntropy(CrossEntropy):
    """-sum_k t_k log softmax(z)_k = log sum_j e^{z_j} - sum_k t_k z_k, from the logits z.

    The largest logit of each row is subtracted first, so that neither e^z overflows nor the difference cancels: it is
    finite and exact for logits of any size. Its gradient is softmax(z) - t.
    """

    joins = Softmax

    def _across(self, name: str, z: Array) -> Array:
        """A buffer of z's shape, transposed (K, n): what goes over the classes is quick where examples lie together."""
        return self.buffers(name, (z.size,)).reshape(z.shape[::-1])

    def value(self, z: Array, target: Array, scale: float) -> float:
        across, each = self._across("shifted", z), self.buffers("each", z.shape[:1])
        np.copyto(across, z.T)
        across -= np.maximum.reduce(across, axis=0, out=each)
        self.exp = np.exp(across, out=self._across("exp", z))
        self.total = np.add.reduce(self.exp, axis=0, out=self.buffers("total", z.shape[:1]))
        shifted = self.buffers("rows", z.shape)
        np.copyto(shifted, across.T)
        return scale * (np.log(self.total, out=each).sum() - np.dot(_flat(target), _flat(shifted))).item()

    def _softmax(self, z: Array) -> Array:
        return np.divide(self.exp, self.total, out=self._across("p", z))

    def gradient(self, z: Array, target: Array, scale: float, out: Array) -> Array:
        np.subtract(self._softmax(z).T, target, out=out)
        out *= scale
        return out

    def hessian_product(self, z: Array, target: Array, v: Array, scale: float, out: Array) -> Array:
        """scale p (v - <p, v>), p = softmax(z)."""
        p, across, product = self._softmax(z), self._across("v", z), self._across("pv", z)
        np.copyto(across, v.T)
        np.multiply(p, across, out=product)
        across -= np.add.reduce(product, axis=0, out=self.buffers("each", z.shape[:1]))
        across *= p
        across *= scale
        np.copyto(out, across.T)
        return out


class BinaryCrossEntropy(Loss):
    """-(t log p + (1 - t) log(1 - p)), the mean over the K outputs: each output answers a yes-or-no question.

    z are probabilities p. Where the model ends in Sigmoid, z are its logits and SigmoidBinaryCrossEntropy takes over.
    """

    needs_probabilities = True

    def classifies(self, target: Array) -> bool:
        return target.shape[1] == 1 or _is_one_hot(target)

    def _probabilities(self, z: Array) -> tuple[Array, Array]:
        """p and 1 - p, each kept from 0 so that its logarithm is finite."""
        tiny = np.finfo(z.dtype).tiny
        q = np.subtract(1, z, out=self.buffers("q", z.shape))
        return np.maximum(z, tiny, out=self.buffers("p", z.shape)), np.maximum(q, tiny, out=q)

    def value(self, z: Array, target: Array, scale: float) -> float:
        p, q = self._probabilities(z)
        log_p, log_q = np.log(p, out=p), np.log(q, out=q)
        log_p -= log_q
        return -scale / z.shape[1] * (np.dot(_flat(target), _flat(log_p)) + log_q.sum()).item()

    def gradient(self, z: Array, target: Array, scale: float, out: Array) -> Array:
        p, q = self._probabilities(z)
        np.subtract(z, target, out=out)
        out /= p
        out /= q
        out *= scale / z.shape[1]
        return out

    def hessian_product(self, z: Array, target: Array, v: Array, scale: float, out: Array) -> Array:
        """scale / K (t / p^2 + (1 - t) / q^2) v, q = 1 - p."""
        p, q = map(_squarable, self._probabilities(z))
        other = np.subtract(1, target, out=self.buffers("other", z.shape))
        np.divide(target, p, out=out)
        out /= p
        other /= q
        other /= q
        out += other
        out *= scale / z.shape[1]
        out *= v
        return out


class SigmoidBinaryCrossEntropy(BinaryCrossEntropy):
    """log(1 + e^z) - t z, the mean over the K outputs, from the logits z. Its gradient is sigmoid(z) - t."""

    joins = Sigmoid
    threshold = 0.0

    def value(self, z: Array, target: Array, scale: float) -> float:
        positive = np.maximum(z, 0, out=self.buffers("positive", z.shape))
        tail = np.multiply(positive, -2, out=self.buffers("tail", z.shape))
        tail += z  # -|z|
        tail = np.log1p(np.exp(tail, out=tail), out=tail)
        # max(z, 0) - t z is small where the answer is right: taken by element, it does not cancel in the sum
        product = np.multiply(target, z, out=self.buffers("product", z.shape))
        positive -= product
        return scale / z.shape[1] * (positive.sum() + tail.sum()).item()

    def gradient(self, z: Array, target: Array, scale: float, out: Array) -> Array:
        np.tanh(np.multiply(z, 0.5, out=out), out=out)
        out += 1
        out *= 0.5
        out -= target
        out *= scale / z.shape[1]
        return out

    def hessian_product(self, z: Array, target: Array, v: Array, scale: float, out: Array) -> Array:
        """scale / K p (1 - p) v, p = sigmoid(z): p (1 - p) = (1 - tanh^2(z/2)) / 4."""
        np.tanh(np.multiply(z, 0.5, out=out), out=out)
        np.multiply(out, out, out=out)
        np.subtract(1, out, out=out)
        out *= v
        out *= 0.25 * scale / z.shape[1]
        return out


class MeanSquaredError(Loss):
    """(z - t)^2, the mean over the K outputs: for numbers."""

    def value(self, z: Array, target: Array, scale: float) -> float:
        difference = np.subtract(z, target, out=self.buffers("difference", z.shape))
        return scale / z.shape[1] * np.dot(_flat(difference), _flat(difference)).item()

    def gradient(self, z: Array, target: Array, scale: float, out: Array) -> Array:
        np.subtract(z, target, out=out)
        out *= 2 * scale / z.shape[1]
        return out

    def hessian_product(self, z: Array, target: Array, v: Array, scale: float, out: Array) -> Array:
        """2 scale / K v."""
        return np.multiply(v, 2 * scale / z.shape[1], out=out)

    def residual_scale(self, width: int, scale: float) -> float:
        return math.sqrt(2 * scale / width)


LOSSES: dict[str, type[Loss]] = {loss.__name__: loss for loss in (CrossEntropy, BinaryCrossEntropy, MeanSquaredError)}
JOINED = (SoftmaxCrossEntropy, SigmoidBinaryCrossEntropy)


def joined(loss: Loss, last: Layer) -> Loss:
    """A new loss of the same kind, computed together with the model's last layer where that is possible."""
    kind: type[Loss] = choose("loss", type(loss).__name__, LOSSES)
    for candidate in JOINED:
        if issubclass(candidate, kind) and candidate.joins is type(last):
            return candidate()
    endings = (Softmax,) if kind is CrossEntropy else (Sigmoid, Softmax)
    if kind.needs_probabilities and not isinstance(last, endings):
        ending = endings[0].__name__
        raise ValueError(f"{kind.__name__} needs probabilities, but the model ends in {last}: end it with {ending}()")
    return kind()
