"""Losses: the value, the gradient and the Hessian of each with respect to the model's output.

A loss is a sum over examples times `scale`. With scale = 1/N it is the mean. A part of a batch has the scale of the
whole batch, so that the parts add up. Targets are (n, K) arrays in the model's dtype, like the outputs; `encode` makes
them from integer labels (n,), one-hot rows (n, K), or numbers.
"""

from abc import ABC, abstractmethod
from dataclasses import field
from functools import cached_property
import math
from typing import Any, ClassVar, dataclass_transform

import numpy as np
from numpy.typing import DTypeLike

from nn.activations import Sigmoid, Softmax
from nn.arrays import Buffers
from nn.fields import Declared, unset
from nn.layers import Layer


def _flat(x: np.ndarray) -> np.ndarray:
    """Return x as a vector; a view if x is contiguous."""
    flat: np.ndarray = x.reshape(-1)
    return flat


def _squarable(p: np.ndarray) -> np.ndarray:
    """Return p, changed in place: bounded away from 0 so that 1 / p^2 is finite."""
    np.maximum(p, math.sqrt(np.finfo(p.dtype).tiny), out=p)
    return p


def _is_one_hot(target: np.ndarray) -> bool:
    return target.shape[1] > 1 and bool(np.all((target == 0) | (target == 1)) and np.all(target.sum(axis=1) == 1))


@dataclass_transform(eq_default=False, field_specifiers=(unset, field))
class Loss(Declared, ABC):
    """Base of all losses, of outputs z (n, K) and targets (n, K).

    The annotated attributes of a subclass are its fields: arguments of its constructor, checked against their types,
    and saved.

    Attributes
    ----------
    buffers : Buffers
        ``buffers(name, shape)`` returns an array of the model's dtype that is reused from call to call.
    includes : type of Layer or None
        A class attribute: the class of the last layer, if this loss is computed together with it; z is then the input
        of that layer. None by default.
    needs_probabilities : bool
        A class attribute: whether targets must be in [0, 1]. False by default.
    is_regression : bool
        A class attribute: whether the outputs are numbers to predict, so that `Model.predict_classes` is refused. False
        by default.
    threshold : float
        A class attribute: if there is one output, z above the threshold means class 1. 0.5 by default.

    Notes
    -----
    A subclass defines `value`, `gradient` and `hessian_product`. Methods must not keep z or target.

    If a loss can be computed more exactly or faster together with a last layer, it has a second class, whose `includes`
    is the class of that layer; its method `for_last_layer` returns an object of the second class. A loss that is always
    computed together with a layer sets `includes` itself.

    Examples
    --------
    >>> import numpy as np
    >>> from nn import Dense, Loss, Model
    >>> from nn.fields import Positive
    >>> class Huber(Loss):
    ...     is_regression = True
    ...     delta: Positive = 1.0
    ...     def value(self, z, target, scale):
    ...         r = np.abs(z - target)
    ...         return scale * np.where(r < self.delta, r * r / 2, self.delta * (r - self.delta / 2)).sum().item()
    ...     def gradient(self, z, target, scale, out):
    ...         np.clip(z - target, -self.delta, self.delta, out=out)
    ...         out *= scale
    ...         return out
    ...     def hessian_product(self, z, target, v, scale, out):
    ...         return np.multiply(v, scale * (np.abs(z - target) < self.delta), out=out)
    >>> model = Model([Dense(1, 1)], Huber(delta=0.5))
    >>> loss = model.evaluate([[0.0], [0.0]], [0.1, 2.0])["loss"]
    >>> round(loss, 4)
    0.44
    """

    includes: ClassVar[type[Layer] | None] = None
    needs_probabilities: ClassVar[bool] = False
    is_regression: ClassVar[bool] = False
    threshold: ClassVar[float] = 0.5

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "value" in vars(cls) and "example_values" not in vars(cls):
            # that of the base class belongs to another value
            type.__setattr__(cls, "example_values", Loss.example_values)

    @cached_property
    def buffers(self) -> Buffers:
        """Arrays that are reused from call to call; float64 until `bind` is called."""
        return Buffers(float)

    def bind(self, dtype: DTypeLike) -> None:
        """Use new buffers of this dtype from now on.

        Parameters
        ----------
        dtype : dtype
            The dtype of the outputs and the targets.
        """
        vars(self)["buffers"] = Buffers(dtype)

    def for_last_layer(self, last: Layer) -> "Loss":
        """Return the form of the loss for a model that ends in the layer `last`.

        Parameters
        ----------
        last : Layer
            The last layer of the model.

        Returns
        -------
        Loss
            This loss; or, if it can be computed together with that layer, another loss, whose `includes` is the class
            of the layer.

        Raises
        ------
        ValueError
            If the loss cannot follow that layer.
        """
        if self.includes is not None and type(last) is not self.includes:
            raise ValueError(f"{type(self).__name__} is computed together with {self.includes.__name__}, but the model "
                             f"ends in {last}: end it with {self.includes.__name__}()")
        return self

    @abstractmethod
    def value(self, z: np.ndarray, target: np.ndarray, scale: float) -> float:
        """Compute the loss.

        Parameters
        ----------
        z : ndarray of shape (n, K)
            The outputs, or the inputs of the last layer if the loss includes it.
        target : ndarray of shape (n, K)
            The targets.
        scale : float
            1/N if the loss is the mean over N examples, including these n.

        Returns
        -------
        float
            `scale` times the sum over the n examples.
        """

    def example_values(self, z: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Compute the loss of each example, for examples of different weights.

        Parameters
        ----------
        z, target : ndarray of shape (n, K)
            As for `value`.

        Returns
        -------
        ndarray of shape (n,)
            The losses; their sum times `scale` is the value. By default `value` is called for each example, and then
            for all, because `gradient` relies on that. A subclass may be faster.
        """
        losses = np.array([self.value(z[i : i + 1], target[i : i + 1], 1.0) for i in range(len(z))], z.dtype)
        self.value(z, target, 1.0)
        return losses

    @abstractmethod
    def gradient(self, z: np.ndarray, target: np.ndarray, scale: float, out: np.ndarray) -> np.ndarray:
        """Write the derivative of the value with respect to z to `out`. `value` was called before with the same z.

        Parameters
        ----------
        z, target : ndarray of shape (n, K)
            The outputs and the targets.
        scale : float
            As for `value`.
        out : ndarray of shape (n, K)
            The array to fill; neither z nor target.

        Returns
        -------
        ndarray of shape (n, K)
            `out`.
        """

    @abstractmethod
    def hessian_product(self, z: np.ndarray, target: np.ndarray, v: np.ndarray, scale: float,
                        out: np.ndarray) -> np.ndarray:
        """Write the derivative of `gradient` in the direction v to `out`. `value` was called before with the same z.

        Parameters
        ----------
        z, target : ndarray of shape (n, K)
            The outputs and the targets.
        v : ndarray of shape (n, K)
            The direction.
        scale : float
            As for `value`.
        out : ndarray of shape (n, K)
            The array to fill; none of the other arguments.

        Returns
        -------
        ndarray of shape (n, K)
            `out`: each row is a matrix times that row of v. Optimizers expect this matrix to be positive semidefinite.
        """

    def residual_scale(self, width: int, scale: float) -> float | np.ndarray:
        """Return the factor c of the residuals, if the loss is a sum of squares.

        Parameters
        ----------
        width : int
            The number of outputs, K.
        scale : float
            As for `value`.

        Returns
        -------
        float or ndarray of shape (K,)
            c: the value is r^T r / 2 for the residuals r = c (z - t).

        Raises
        ------
        ValueError
            If the loss is not a sum of squares.
        """
        raise ValueError(f"{type(self).__name__} is not a sum of squares, so it has no residuals and no Jacobian: use "
                         "gauss_newton_product(v), which every loss has, or MeanSquaredError()")

    def residuals(self, z: np.ndarray, target: np.ndarray, scale: float, out: np.ndarray) -> np.ndarray:
        """Write the residuals to `out`; their squares add up to twice the value.

        Parameters
        ----------
        z, target : ndarray of shape (n, K)
            The outputs and the targets.
        scale : float
            As for `value`.
        out : ndarray of shape (n, K)
            The array to fill.

        Returns
        -------
        ndarray of shape (n, K)
            `out`.

        Raises
        ------
        ValueError
            If the loss is not a sum of squares.
        """
        c = self.residual_scale(z.shape[1], scale)
        np.subtract(z, target, out=out)
        out *= c
        return out

    def encode(self, y: Any, width: int, dtype: DTypeLike) -> np.ndarray:
        """Return the targets for the y that a user passes.

        Parameters
        ----------
        y : array_like
            Integer labels (n,), which become one-hot rows, or one column of 0 and 1 if there is one output; or an array
            (n, K) of numbers, or numbers (n,) if there is one output.
        width : int
            The number of outputs, K.
        dtype : dtype
            The dtype of the model.

        Returns
        -------
        ndarray of shape (n, K)
            The targets.

        Raises
        ------
        ValueError
            For another shape, labels out of range, NaN, infinity, and numbers outside [0, 1] if the loss needs
            probabilities.
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
        elif y.ndim == 1 and np.isnan(y).any():
            missing = np.flatnonzero(np.isnan(y))
            raise ValueError(f"y lacks {len(missing)} labels, the first in row {missing[0]}: remove those rows")
        elif y.ndim == 1:
            raise ValueError(f"y is (N,) of {y.dtype}: for {width} outputs give integer labels (y.astype(int)) "
                             f"or an array (N, {width})")
        if y.ndim != 2 or y.shape[1] != width:
            raise ValueError(f"y has shape {y.shape}, but the model has {width} outputs: give integer labels (N,) "
                             f"or an array (N, {width})")
        if not np.isfinite(y).all():
            raise ValueError(f"y holds NaN or infinity, first in row {np.argmin(np.isfinite(y).all(axis=1))}: "
                             "remove or correct those rows")
        if self.needs_probabilities and len(y) and not (y.min() >= 0 and y.max() <= 1):
            raise ValueError(f"{type(self).__name__}: y must be in [0, 1], but reaches from {y.min()} to {y.max()}: "
                             f"give {'labels 0 and 1' if width == 1 else 'integer labels (N,) or one-hot rows'}")
        return np.ascontiguousarray(y, dtype)

    def classifies(self, target: np.ndarray) -> bool:
        """Return whether each example has one class, so that there is an accuracy.

        Parameters
        ----------
        target : ndarray of shape (n, K)
            The targets.

        Returns
        -------
        bool
            By default, whether the targets are one-hot rows.
        """
        return _is_one_hot(target)


def _one_hot(labels: np.ndarray, width: int, dtype: DTypeLike) -> np.ndarray:
    if len(labels) and not (labels.min() >= 0 and labels.max() < width):
        bad = labels.min() if labels.min() < 0 else labels.max()
        raise ValueError(f"y holds the label {bad}, but the model has {width} outputs: labels must be 0 to {width - 1},"
                         " or name them by Model(..., classes=[...])")
    target = np.zeros((len(labels), width), dtype)
    target[np.arange(len(labels)), labels] = 1
    return target


class CrossEntropy(Loss):
    """Cross-entropy for one class among K. The model ends in Softmax.

    Notes
    -----
    ``-sum_k t_k log p_k``, the mean over the examples. Each row t of the targets is a distribution over the K classes,
    one-hot for integer labels; K is at least 2. Softmax and loss are computed together, from the input z of Softmax
    (the logits): ``log sum_j e^{z_j} - sum_k t_k z_k``, exact for z of any size.

    It is the mean of ``torch.nn.CrossEntropyLoss``, whose model has no softmax, and of Keras's
    ``CategoricalCrossentropy`` and ``SparseCategoricalCrossentropy``, which clip probabilities at 1e-7 unless
    ``from_logits=True``.

    A subclass is computed from the outputs of Softmax, unless it overrides `for_last_layer`.

    Examples
    --------
    >>> from nn import CrossEntropy, Dense, Model, Softmax
    >>> model = Model([Dense(2, 3, init="zeros"), Softmax()], CrossEntropy())
    >>> loss = model.evaluate([[1.0, 2.0]], [0])["loss"]
    >>> round(loss, 4)  # log 3
    1.0986
    """

    needs_probabilities = True

    def for_last_layer(self, last: Layer) -> Loss:
        if type(self) is CrossEntropy and type(last) is Softmax:
            return SoftmaxCrossEntropy()
        if not isinstance(last, Softmax):
            raise _needs_probabilities(self, last, Softmax)
        return super().for_last_layer(last)

    def encode(self, y: Any, width: int, dtype: DTypeLike) -> np.ndarray:
        if width == 1:
            raise ValueError("CrossEntropy needs an output for each class, at least 2: for one output of two classes "
                             "write Dense(..., 1), Sigmoid() and BinaryCrossEntropy()")
        target = super().encode(y, width, dtype)
        sums = target.sum(axis=1, keepdims=True)
        if not np.allclose(sums, 1, atol=1e-3):
            raise ValueError("CrossEntropy: each row of y must sum to 1: give integer labels (N,) or one-hot rows; for "
                             "several labels in a row use Sigmoid() and BinaryCrossEntropy()")
        # the gradient y - target is exact for sums of 1
        return target if (sums == 1).all() else target / sums

    def classifies(self, target: np.ndarray) -> bool:
        return True

    def _probabilities(self, z: np.ndarray) -> np.ndarray:
        """Return p, bounded away from 0 so that its logarithm is finite."""
        p = self.buffers("p", z.shape)
        np.maximum(z, np.finfo(z.dtype).tiny, out=p)
        return p

    def value(self, z: np.ndarray, target: np.ndarray, scale: float) -> float:
        p = self._probabilities(z)
        value: float = -scale * np.dot(_flat(target), _flat(np.log(p, out=p))).item()
        return value

    def example_values(self, z: np.ndarray, target: np.ndarray) -> np.ndarray:
        p = self._probabilities(z)
        losses: np.ndarray = -np.einsum("ij,ij->i", target, np.log(p, out=p))
        return losses

    def gradient(self, z: np.ndarray, target: np.ndarray, scale: float, out: np.ndarray) -> np.ndarray:
        np.divide(target, self._probabilities(z), out=out)
        out *= -scale
        return out

    def hessian_product(self, z: np.ndarray, target: np.ndarray, v: np.ndarray, scale: float,
                        out: np.ndarray) -> np.ndarray:
        """scale t / p^2 v."""
        p = _squarable(self._probabilities(z))
        np.divide(target, p, out=out)
        out /= p
        out *= scale
        out *= v
        return out


class SoftmaxCrossEntropy(CrossEntropy):
    """CrossEntropy together with Softmax: log sum_j e^{z_j} - sum_k t_k z_k, from the input z of Softmax.

    The largest logit of each row is subtracted first, so that e^z does not overflow and the difference does not cancel:
    the loss is finite and exact for z of any size. Its gradient is softmax(z) - t.
    """

    includes = Softmax

    def _transposed(self, name: str, z: np.ndarray) -> np.ndarray:
        """Return a buffer of z's transposed shape (K, n): sums over classes are fast if the examples are contiguous."""
        return self.buffers(name, (z.size,)).reshape(z.shape[::-1])

    def value(self, z: np.ndarray, target: np.ndarray, scale: float) -> float:
        transposed, each = self._transposed("shifted", z), self.buffers("each", z.shape[:1])
        transposed[...] = z.T
        transposed -= np.maximum.reduce(transposed, axis=0, out=each)
        self.exp: np.ndarray = np.exp(transposed, out=self._transposed("exp", z))
        self.total: np.ndarray = np.add.reduce(self.exp, axis=0, out=self.buffers("total", z.shape[:1]))
        shifted = self.buffers("rows", z.shape)
        shifted[...] = transposed.T
        agreement = np.dot(target.reshape(-1), shifted.reshape(-1))
        value: float = scale * (np.log(self.total, out=each).sum() - agreement).item()
        return value

    def example_values(self, z: np.ndarray, target: np.ndarray) -> np.ndarray:
        self.value(z, target, 1.0)
        losses: np.ndarray = self.buffers("each", z.shape[:1]) - np.einsum(
            "ij,ij->i", target, self.buffers("rows", z.shape))
        return losses

    def _softmax(self, z: np.ndarray) -> np.ndarray:
        """Return softmax(z), transposed (K, n), from the buffers that `value` filled."""
        p = self._transposed("p", z)
        np.divide(self.exp, self.total, out=p)
        return p

    def gradient(self, z: np.ndarray, target: np.ndarray, scale: float, out: np.ndarray) -> np.ndarray:
        np.subtract(self._softmax(z).T, target, out=out)
        out *= scale
        return out

    def hessian_product(self, z: np.ndarray, target: np.ndarray, v: np.ndarray, scale: float,
                        out: np.ndarray) -> np.ndarray:
        """scale p (v - <p, v>), p = softmax(z)."""
        p, transposed, product = self._softmax(z), self._transposed("v", z), self._transposed("pv", z)
        np.copyto(transposed, v.T)
        np.multiply(p, transposed, out=product)
        transposed -= np.add.reduce(product, axis=0, out=self.buffers("each", z.shape[:1]))
        transposed *= p
        transposed *= scale
        np.copyto(out, transposed.T)
        return out


class BinaryCrossEntropy(Loss):
    """Cross-entropy for K yes-or-no questions, one for each output. The model ends in Sigmoid.

    Notes
    -----
    ``-(t log p + (1 - t) log(1 - p))``, the mean over K outputs and over the examples; t is 0, 1 or a probability.
    The labels of one output may be integers (N,). Sigmoid and loss are computed together, from the input z of Sigmoid:
    ``log(1 + e^z) - t z``, exact for z of any size. The model may also end in Softmax; the loss is then computed from
    its outputs.

    It is the mean of ``torch.nn.BCEWithLogitsLoss`` after a model without sigmoid, and of ``torch.nn.BCELoss`` and
    Keras's ``BinaryCrossentropy``. The last two clip.

    A subclass is computed from the outputs of Sigmoid, unless it overrides `for_last_layer`.

    Examples
    --------
    >>> from nn import BinaryCrossEntropy, Dense, Model, Sigmoid
    >>> model = Model([Dense(2, 1, init="zeros"), Sigmoid()], BinaryCrossEntropy())
    >>> loss = model.evaluate([[1.0, 2.0]], [1])["loss"]
    >>> round(loss, 4)  # log 2
    0.6931
    """

    needs_probabilities = True

    def for_last_layer(self, last: Layer) -> Loss:
        if type(self) is BinaryCrossEntropy and type(last) is Sigmoid:
            return SigmoidBinaryCrossEntropy()
        if not isinstance(last, (Sigmoid, Softmax)):
            raise _needs_probabilities(self, last, Sigmoid)
        return super().for_last_layer(last)

    def classifies(self, target: np.ndarray) -> bool:
        return target.shape[1] == 1 or _is_one_hot(target)

    def _probabilities(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return p and 1 - p, each bounded away from 0 so that its logarithm is finite."""
        tiny, p, q = np.finfo(z.dtype).tiny, self.buffers("p", z.shape), self.buffers("q", z.shape)
        np.subtract(1, z, out=q)
        np.maximum(z, tiny, out=p)
        np.maximum(q, tiny, out=q)
        return p, q

    def value(self, z: np.ndarray, target: np.ndarray, scale: float) -> float:
        p, q = self._probabilities(z)
        log_p, log_q = np.log(p, out=p), np.log(q, out=q)
        log_p -= log_q
        value: float = -scale / z.shape[1] * (np.dot(_flat(target), _flat(log_p)) + log_q.sum()).item()
        return value

    def example_values(self, z: np.ndarray, target: np.ndarray) -> np.ndarray:
        p, q = self._probabilities(z)
        log_p, log_q = np.log(p, out=p), np.log(q, out=q)
        log_p -= log_q
        losses: np.ndarray = (np.einsum("ij,ij->i", target, log_p) + log_q.sum(axis=1)) / -z.shape[1]
        return losses

    def gradient(self, z: np.ndarray, target: np.ndarray, scale: float, out: np.ndarray) -> np.ndarray:
        p, q = self._probabilities(z)
        np.subtract(z, target, out=out)
        out /= p
        out /= q
        out *= scale / z.shape[1]
        return out

    def hessian_product(self, z: np.ndarray, target: np.ndarray, v: np.ndarray, scale: float,
                        out: np.ndarray) -> np.ndarray:
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
    """BinaryCrossEntropy together with Sigmoid: log(1 + e^z) - t z, from the input z of Sigmoid.

    Its gradient is sigmoid(z) - t.
    """

    includes = Sigmoid
    threshold = 0.0

    def value(self, z: np.ndarray, target: np.ndarray, scale: float) -> float:
        positive = np.maximum(z, 0, out=self.buffers("positive", z.shape))
        tail = np.multiply(positive, -2, out=self.buffers("tail", z.shape))
        tail += z  # -|z|
        tail = np.log1p(np.exp(tail, out=tail), out=tail)
        # max(z, 0) - t z is small if the prediction is right: subtracted by element, it does not cancel in the sum
        product = np.multiply(target, z, out=self.buffers("product", z.shape))
        positive -= product
        value: float = scale / z.shape[1] * (positive.sum() + tail.sum()).item()
        return value

    def example_values(self, z: np.ndarray, target: np.ndarray) -> np.ndarray:
        self.value(z, target, 1.0)
        losses: np.ndarray = (self.buffers("positive", z.shape) + self.buffers("tail", z.shape)).mean(axis=1)
        return losses

    def gradient(self, z: np.ndarray, target: np.ndarray, scale: float, out: np.ndarray) -> np.ndarray:
        np.tanh(np.multiply(z, 0.5, out=out), out=out)
        out += 1
        out *= 0.5
        out -= target
        out *= scale / z.shape[1]
        return out

    def hessian_product(self, z: np.ndarray, target: np.ndarray, v: np.ndarray, scale: float,
                        out: np.ndarray) -> np.ndarray:
        """scale / K p (1 - p) v, p = sigmoid(z): p (1 - p) = (1 - tanh^2(z/2)) / 4."""
        np.tanh(np.multiply(z, 0.5, out=out), out=out)
        np.multiply(out, out, out=out)
        np.subtract(1, out, out=out)
        out *= v
        out *= 0.25 * scale / z.shape[1]
        return out


class MeanSquaredError(Loss):
    """Mean squared error, for regression.

    Parameters
    ----------
    units : tuple of float, or float
        The unit of each output, above 0: errors are divided by it. 1 by default. With one number, it is that of all
        outputs.

    Notes
    -----
    ``((z - t) / units)^2``, the mean over the K outputs and over the examples. With units of 1 it is
    ``torch.nn.MSELoss`` and Keras's ``MeanSquaredError``; scikit-learn's ``MLPRegressor`` uses half of it.
    Levenberg-Marquardt in its dense forms needs this loss: it is r^T r / 2 for the residuals
    ``r = sqrt(2 / (N K)) (z - t) / units``.

    Examples
    --------
    >>> from nn import Dense, MeanSquaredError, Model
    >>> model = Model([Dense(1, 2, init="zeros")], MeanSquaredError())
    >>> model.evaluate([[1.0]], [[1.0, 3.0]])["loss"]
    5.0
    """

    is_regression = True
    units: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        given: Any = self.units
        if isinstance(given, (np.ndarray, float, int)):
            given = np.ravel(given).tolist()
        if not isinstance(given, (tuple, list)) or not all(
                isinstance(unit, (float, int)) and math.isfinite(unit) and unit > 0 for unit in given):
            raise ValueError(f"MeanSquaredError: units must be a tuple of numbers above 0, not {given!r}")
        vars(self)["units"] = tuple(map(float, given))

    def bind(self, dtype: DTypeLike) -> None:
        super().bind(dtype)
        limits = np.finfo(dtype)
        # a gradient holds a number divided by the square of the unit
        if wrong := [unit for unit in self.units if not limits.tiny < unit**2 < limits.max]:
            size = "small" if wrong[0] < 1 else "large"
            raise ValueError(f"MeanSquaredError: the unit {wrong[0]:g} is too {size} for {np.dtype(dtype)}: use "
                             "float64, or other units of the targets")

    def encode(self, y: Any, width: int, dtype: DTypeLike) -> np.ndarray:
        if len(self.units) not in (0, 1, width):
            raise ValueError(f"MeanSquaredError has {len(self.units)} units, but the model has {width} outputs: give "
                             "one for each")
        return super().encode(y, width, dtype)

    def _divide(self, rows: np.ndarray) -> np.ndarray:
        """Divide each column by its unit, in place."""
        if self.units:
            rows /= np.asarray(self.units, rows.real.dtype)
        return rows

    def _difference(self, z: np.ndarray, target: np.ndarray, out: np.ndarray) -> np.ndarray:
        return self._divide(np.subtract(z, target, out=out))

    def value(self, z: np.ndarray, target: np.ndarray, scale: float) -> float:
        difference = self._difference(z, target, self.buffers("difference", z.shape))
        value: float = scale / z.shape[1] * np.dot(_flat(difference), _flat(difference)).item()
        return value

    def example_values(self, z: np.ndarray, target: np.ndarray) -> np.ndarray:
        difference = self._difference(z, target, self.buffers("difference", z.shape))
        losses: np.ndarray = np.einsum("ij,ij->i", difference, difference) / z.shape[1]
        return losses

    def gradient(self, z: np.ndarray, target: np.ndarray, scale: float, out: np.ndarray) -> np.ndarray:
        self._divide(self._difference(z, target, out))
        out *= 2 * scale / z.shape[1]
        return out

    def hessian_product(self, z: np.ndarray, target: np.ndarray, v: np.ndarray, scale: float,
                        out: np.ndarray) -> np.ndarray:
        """2 scale / K v / units^2."""
        np.multiply(v, 2 * scale / z.shape[1], out=out)
        return self._divide(self._divide(out))

    def residual_scale(self, width: int, scale: float) -> float | np.ndarray:
        c = math.sqrt(2 * scale / width)
        return c / np.asarray(self.units) if self.units else c


def _needs_probabilities(loss: Loss, last: Layer, ending: type[Layer]) -> ValueError:
    return ValueError(f"{type(loss).__name__} needs probabilities, but the model ends in {last}: end it with "
                      f"{ending.__name__}()")
