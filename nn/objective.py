"""BatchObjective: the loss of a model on one batch, as a function of theta; optimizers see nothing else of a model."""

from collections.abc import Callable, Sequence
from functools import partial
import math
from operator import attrgetter
from typing import Any, TypeVar, cast

import numpy as np

from nn.arrays import LiveVector
from nn.division import Division, Use
from nn.network import Batch, Network
from nn.undo import Undo

T = TypeVar("T")
COST, EXAMPLES = attrgetter("gradients"), attrgetter("x")  # of a batch
RunAll = Callable[[Callable[[int], T], int], list[T]]
"""Takes f and n, returns [f(0), ..., f(n - 1)]."""


def run_in_turn(f: Callable[[int], T], n: int) -> list[T]:
    """Return [f(0), ..., f(n - 1)], computed one after the other."""
    return [f(k) for k in range(n)]


class BatchObjective:
    """The mean loss on a batch, a function of theta; an `Objective` for every optimizer.

    Dropout masks stay the same as long as it exists.

    Parameters
    ----------
    parts : sequence of tuple
        (Network, Batch): the batch in one or several parts, each with its own network. The loss is the sum over the
        parts. All networks have the same theta.
    run_all : callable
        Evaluates the parts: takes f and n, returns [f(0), ..., f(n - 1)], perhaps computed on several threads.
    division : Division, optional
        If it is given, it computes the gradient, and all networks have the same gradient vector. Otherwise the gradient
        is the sum over the parts.

    Attributes
    ----------
    theta : ndarray of shape (P,)
        The parameters of the model. Changing it changes the model; assigning to it copies into it.
    examples : int
        The number of examples, n.
    gradients : float
        The cost of everything computed so far. The unit is one gradient of one example: a value costs 1/2, a Hessian
        product up to 2, a Gauss-Newton product up to 4/3, a Jacobian 1 for each output. Divided by the number of
        examples in the training set, the cost is in passes. You may set it, for example to 0, to count again.
    evaluations : int
        The number of values and gradients that were computed. You may set it, for example to 0, to count again.
    parts : sequence of tuple
        As given.
    max_gigabytes : float
        The largest Hessian, Gauss-Newton matrix or Jacobian, in gigabytes; 1.0 by default. Optimizers set it to their
        own field `max_gigabytes` before they ask for a matrix.

    Notes
    -----
    Products, residuals and Jacobians use the activations of the last evaluation. If theta has changed since then, or
    the network has run another batch, the batch is first evaluated again, and the cost includes this.
    """

    theta: np.ndarray = cast(Any, LiveVector())  # for type checkers it is the vector
    max_gigabytes: float = 1.0

    def __init__(self, parts: Sequence[tuple[Network, Batch]], run_all: RunAll[Any] = run_in_turn,
                 division: Division | None = None) -> None:
        self._networks: tuple[Network, ...]
        self._batches: tuple[Batch, ...]
        self.parts, (self._networks, self._batches) = parts, zip(*parts)
        self._run_all, self._division = run_all, division
        self.undo: Undo | None = None  # keeps theta before it is changed in parts
        self.observe: Use | None = None  # gets each part of each gradient before it is returned or used
        self.theta = self._networks[0].theta
        self.examples = sum(map(len, map(EXAMPLES, self._batches)))

    @property
    def evaluations(self) -> int:
        """The number of values and gradients that were computed."""
        return self._batches[0].evaluations

    @evaluations.setter
    def evaluations(self, number: int) -> None:
        self._batches[0].evaluations = number

    @property
    def gradients(self) -> float:
        """The cost of everything computed so far, in gradients of one example."""
        cost: float = sum(map(COST, self._batches))
        return cost

    @gradients.setter
    def gradients(self, cost: float) -> None:
        for batch in self._batches:
            batch.gradients = 0.0
        self._batches[0].gradients = cost

    def value(self) -> float:
        """Return the loss at theta.

        Returns
        -------
        float
            The mean over the examples.
        """
        return sum(self._each(Network.value))

    def value_and_gradient(self) -> tuple[float, np.ndarray]:
        """Return the loss and its gradient at theta.

        Returns
        -------
        value : float
            The mean over the examples.
        gradient : ndarray of shape (P,)
            Its derivatives: a buffer, which the next call of any method overwrites.
        """
        if self._division is not None:
            value, each_part = self._in_phases(self._division)
            each_part(lambda part, gradient: None)
            return value, self._networks[0].grad
        values, gradients = zip(*self._each(Network.value_and_gradient))
        gradient = _add(gradients)
        if self.observe is not None:
            self.observe(slice(0, len(gradient)), gradient)
        return sum(values), gradient

    def value_and_gradient_parts(self) -> tuple[float, Callable[[Use], None]]:
        """Return the loss at theta, and a function that computes its gradient in parts.

        Returns
        -------
        value : float
            The mean over the examples.
        each_part : callable
            ``each_part(use)`` calls ``use(part, gradient)`` once for each of some parts that cover theta, perhaps on
            several threads at once. `part` is a slice of theta, `gradient` holds the derivatives with respect to
            theta[part]. `use` may overwrite both. No other method may be called before it.
        """
        if self._division is not None:
            value, each_part = self._in_phases(self._division)
        else:
            value, gradient = self.value_and_gradient()
            each_part = partial(_one_part, gradient)
        if self.undo is None or not math.isfinite(value):
            return value, each_part
        return value, partial(keep_parts, self.undo, each_part)

    def _in_phases(self, division: Division) -> tuple[float, Callable[[Use], None]]:
        """Run the batch, and return the loss and the function that computes the gradient in parts; on all threads."""
        value = sum(self._run_all(lambda k: division.backward(k, self._batches[k]), len(self._batches)))

        def each_part(use: Use) -> None:
            if self.observe is not None:
                use = partial(_in_turn, self.observe, use)
            self._run_all(lambda k: division.gradient(k, use), division.threads)

        return value, each_part

    def hessian_product(self, v: np.ndarray) -> np.ndarray:
        """Return the Hessian at theta times v.

        Parameters
        ----------
        v : ndarray of shape (P,)
            The direction.

        Returns
        -------
        ndarray of shape (P,)
            H v, exact but for rounding: a buffer, which the next product of either kind overwrites.

        Raises
        ------
        ValueError
            If v has another shape.
        """
        return self._product(v, second_order=True)

    def gauss_newton_product(self, v: np.ndarray) -> np.ndarray:
        """Return the generalized Gauss-Newton matrix at theta times v.

        Parameters
        ----------
        v : ndarray of shape (P,)
            The direction.

        Returns
        -------
        ndarray of shape (P,)
            J^T H_L J v: a buffer, which the next product of either kind overwrites. J are the derivatives of the
            outputs (of the input of the last layer, if that is computed together with the loss), H_L is the Hessian of
            the loss with respect to them.

        Raises
        ------
        ValueError
            If v has another shape.
        """
        return self._product(v, second_order=False)

    def hessian(self) -> np.ndarray:
        """Return the Hessian at theta, from P products.

        Returns
        -------
        ndarray of shape (P, P)
            The second derivatives.

        Raises
        ------
        ValueError
            If it would be larger than `max_gigabytes`.
        """
        return self._matrix("hessian_product")

    def gauss_newton(self) -> np.ndarray:
        """Return the generalized Gauss-Newton matrix at theta, from P products.

        Returns
        -------
        ndarray of shape (P, P)
            J^T H_L J; see `gauss_newton_product`.

        Raises
        ------
        ValueError
            If it would be larger than `max_gigabytes`.
        """
        return self._matrix("gauss_newton_product")

    def residuals(self) -> np.ndarray:
        """Return the residuals at theta.

        Returns
        -------
        ndarray of shape (n K,)
            r, if the value is r^T r / 2: a buffer.

        Raises
        ------
        ValueError
            If the loss is not a sum of squares.
        """
        return _stack(self._each(Network.residuals))

    def jacobian(self) -> np.ndarray:
        """Return the derivatives of the residuals at theta.

        Returns
        -------
        ndarray of shape (n K, P)
            J: a buffer.

        Raises
        ------
        ValueError
            If the loss is not a sum of squares, or J would be larger than `max_gigabytes`.
        """
        self._check_jacobian()
        return _stack(self._each(Network.jacobian))

    def residual_count(self) -> int:
        """Return the number of residuals. Nothing is computed.

        Returns
        -------
        int
            n K.

        Raises
        ------
        ValueError
            If the loss is not a sum of squares.
        """
        batch = self._batches[0]
        K: int = batch.target.shape[1]
        self._networks[0].loss.residual_scale(K, batch.scale)
        return self.examples * K

    def residual_triangle(self) -> np.ndarray:
        """Return the triangle of a QR factorization of the Jacobian and the residuals at theta.

        Each part of the batch is factored by itself. The triangle of all parts is that of their triangles, one above
        the other (TSQR, Demmel et al. 2012), so no matrix of all rows is made.

        Returns
        -------
        ndarray of shape (min(n K, P + 1), P + 1)
            R, upper triangular, float64, with R^T R = [J, r]^T [J, r]. The caller may overwrite it.

        Raises
        ------
        ValueError
            If the loss is not a sum of squares, or J would be larger than `max_gigabytes`.

        References
        ----------
        Demmel, J., Grigori, L., Hoemmen, M., & Langou, J. (2012). Communication-optimal parallel and sequential QR and
        LU factorizations. SIAM Journal on Scientific Computing 34(1), A206-A239.
        """
        self._check_jacobian()
        triangles = self._each(_triangle)
        return triangles[0] if len(triangles) == 1 else np.asarray(np.linalg.qr(np.concatenate(triangles), mode="r"))

    def subsample(self, rows: Any, total: int | None = None) -> "BatchObjective":
        """Return the mean loss on some rows of the batch, a function of the same theta.

        Its products cost less. Its cost is also added to the cost of this objective.

        Parameters
        ----------
        rows : array_like of int or bool
            The indices of the rows, or a mask (n,).
        total : int, optional
            The number of examples of the mean, if these rows are only a part of them; by default their number.

        Returns
        -------
        BatchObjective
            The objective, with its own gradient and buffers and the dropout masks of this one.

        Raises
        ------
        ValueError
            If there are no rows.
        """
        rows, start = np.arange(self.examples)[rows], 0
        if not (total or len(rows)):
            raise ValueError("a subsample needs at least one row, but there are none")
        x, target = [], []
        weight: list[np.ndarray] = []
        for batch in self._batches:
            batch.load()
            local = rows[(start <= rows) & (rows < start + len(batch.x))] - start
            x.append(batch.x[local])
            target.append(batch.target[local])
            weight += [] if batch.weight is None else [batch.weight[local]]
            start += len(batch.x)
        if self._networks[0].random and not self._networks[0].has_run(self._batches[0]):
            self.value()  # draws the masks
        network = self._networks[0].replica()
        network.select_rows(rows)
        batch = Batch(np.concatenate(x), np.concatenate(target), 1 / (total or len(rows)),
                      np.concatenate(weight) if weight else None, parent=self._batches[0])
        return BatchObjective([(network, batch)])

    def correct(self) -> int:
        """Return the number of examples that are classified correctly.

        Returns
        -------
        int
            The number, from the last evaluation; the batch is evaluated first if it has not been.
        """
        return sum(map(Network.correct, self._networks, self._batches))

    def _product(self, v: np.ndarray, second_order: bool) -> np.ndarray:
        for network in self._networks:  # before any of them runs: v may be a buffer of one
            network.set_direction(v)
        return _add(self._each(Network.curvature_product, second_order))

    def _each(self, method: Callable[..., T], *arguments: Any) -> list[T]:
        """Call a method of each network for its part of the batch."""
        networks, batches = self._networks, self._batches
        if len(networks) == 1:
            return [method(networks[0], batches[0], *arguments)]
        return self._run_all(lambda k: method(networks[k], batches[k], *arguments), len(networks))

    def _matrix(self, product: str) -> np.ndarray:
        P = len(self.theta)
        self._check_memory(f"the matrix of {P:,} by {P:,} parameters", P * P,
                           f"use {product}(v), which needs no matrix")
        matrix, unit = np.empty((P, P), self.theta.dtype), np.zeros_like(self.theta)
        for j in range(P):
            unit[j] = 1
            matrix[:, j] = getattr(self, product)(unit)
            unit[j] = 0
        return matrix

    def _check_jacobian(self) -> None:
        M, P = self.residual_count(), len(self.theta)
        self._check_memory(f"the Jacobian of {M:,} residuals by {P:,} parameters", M * P,
                           "use gauss_newton_product(v), which needs no matrix, as the matrix-free form of lm does")

    def _check_memory(self, what: str, numbers: int, instead: str) -> None:
        gigabytes = numbers * self.theta.itemsize / 1e9
        if gigabytes > self.max_gigabytes:
            raise ValueError(f"{what} needs {gigabytes:,.1f} GB, more than {self.max_gigabytes:g} GB: {instead}, "
                             "or raise max_gigabytes")


def _triangle(network: Network, batch: Batch) -> np.ndarray:
    """Return the triangle of a QR factorization of [J, r] of a part of the batch, in float64."""
    J, r = network.jacobian(batch), network.residuals(batch)[:, np.newaxis]
    return np.asarray(np.linalg.qr(np.concatenate([J, r], axis=1, dtype=float), mode="r"))


def _one_part(gradient: np.ndarray, use: Use) -> None:
    use(slice(0, len(gradient)), gradient)


def _in_turn(first: Use, second: Use, part: slice, gradient: np.ndarray) -> None:
    first(part, gradient)
    second(part, gradient)


def keep_parts(undo: Undo, each_part: Callable[[Use], None], use: Use) -> None:
    """Do each_part(use), but copy each part of theta before it is used, and check it afterwards."""
    def keep_use_and_check(part: slice, gradient: np.ndarray) -> None:
        undo.keep(part)
        use(part, gradient)
        undo.check(part)

    each_part(keep_use_and_check)


def _add(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return the sum, which is written to the first array."""
    total = arrays[0]
    for array in arrays[1:]:
        total += array
    return total


def _stack(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return one array of all rows; a single array is not copied."""
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
