"""A model's loss on one batch, as a function of theta: all that an optimizer ever sees of a network."""

from typing import Any

import numpy as np
from numpy.random import Generator

from nn.buffers import Array
from nn.network import Network
from nn.parameters import Live

LIMIT = 10**9  # bytes of a matrix; more are refused


class BatchObjective:
    """The mean loss of `network` on the examples x (n, n_in) with targets (n, K), a function of the live `theta`.

    With an `rng`, Dropout is at work: its masks are drawn once and stay the same while the objective lives. `whole` is
    the objective that this one is a subsample of: then the network has its masks already, and costs count there too.
    `of`: how many examples the mean is over, where these are a part of them and the parts' losses are to add up.
    `gradients` counts what was computed, in gradients of one example: a value alone costs half as much, a Hessian or
    Gauss-Newton product from 1 to 2 or 4/3 (see Network.product_cost), a Jacobian one for each output. Divided by the
    size of the training set, that is passes. `evaluations` counts the values and gradients.

    What is asked for at one theta is computed from the activations of the last evaluation there. Where the network has
    since been run for something else, or theta has changed, it is run again first, which counts.
    """

    theta = Live()

    def __init__(self, network: Network, x: Array, target: Array, rng: Generator | None = None,
                 whole: "BatchObjective | None" = None, of: int | None = None) -> None:
        if not len(x):
            raise ValueError("a subsample needs at least one row, and these are none")
        self.network, self.x, self.target = network, x, target
        self.examples = len(x)
        self.theta = network.theta
        self.evaluations = 0
        self.gradients = 0.0
        self._scale = 1 / (of or len(x))
        self._whole = whole
        self._forward, self._backward = object(), object()  # signs for network.holds: how far it was run for us
        if whole is None:
            network.freeze(rng)

    def subsample(self, rows: Any) -> "BatchObjective":
        """The mean loss on these rows of the batch alone (indices or a mask), as a function of the same theta.

        For curvature that costs less. It has a gradient and buffers of its own, and the masks that Dropout has here.
        What it costs counts here as well. Raises ValueError where there are no rows.
        """
        if self.network.random and self.network.holds not in (self._forward, self._backward):
            self.value()  # to have masks
        x = self.x[rows]
        return BatchObjective(self.network.restricted(rows), x, self.target[rows], whole=self)

    def value(self) -> float:
        """The loss at theta."""
        value = self.network.value(self.x, self.target, self._scale)
        self._ran(self._forward, 1 / 2)
        return value

    def value_and_gradient(self) -> tuple[float, Array]:
        """The loss at theta and its gradient (P,): a buffer, written anew by the next call of any method."""
        value, gradient = self.network.value_and_gradient(self.x, self.target, self._scale)
        self._ran(self._backward, 1)
        return value, gradient

    def hessian_product(self, v: Array) -> Array:
        """The Hessian at theta times v (P,): a buffer (P,), written anew by the next product of either kind."""
        return self._product(v, curved=True)

    def gauss_newton_product(self, v: Array) -> Array:
        """J^T H_L J v (P,), a buffer likewise: J are the derivatives of the outputs (before a Softmax or Sigmoid that
        is computed together with the loss), H_L is the Hessian of the loss with respect to them.
        """
        return self._product(v, curved=False)

    def residuals(self) -> Array:
        """r (n K,), where the value is r^T r / 2: a buffer. Raises ValueError where the loss is no sum of squares."""
        self.network.loss.residual_scale(self.target.shape[1], self._scale)
        self._run(backward=False)
        out = self.network.buffers("residuals", self.target.shape)
        return self.network.loss.residuals(self.network.z, self.target, self._scale, out).reshape(-1)

    def jacobian(self) -> Array:
        """The derivatives of the residuals, (n K, P): a buffer. Raises ValueError likewise, and if too large."""
        (n, K), P = self.target.shape, len(self.theta)
        c = self.network.loss.residual_scale(K, self._scale)
        self._check(f"the Jacobian of {n * K:,} residuals by {P:,} parameters", n * K * P,
                    "use gauss_newton_product(v), which needs no matrix, as the matrix-free form of lm does")
        self._run(backward=False)
        self._count(K * n)
        return self.network.jacobian(c, self.network.buffers("jacobian", (n, K, P))).reshape(n * K, P)

    def hessian(self) -> Array:
        """The Hessian at theta, (P, P), by a product for each column. Raises ValueError where it is too large."""
        return self._matrix("hessian")

    def gauss_newton(self) -> Array:
        """J^T H_L J at theta, (P, P), likewise."""
        return self._matrix("gauss_newton")

    def correct(self) -> int:
        """How many examples the last evaluation put in their class; a new one, if the network did other work."""
        if self.network.holds not in (self._forward, self._backward):
            self.value()
        return self.network.correct(self.target)

    def _product(self, v: Array, curved: bool) -> Array:
        self.network.point(v)
        self._run(backward=curved)
        self._count(self.network.product_cost(curved) * len(self.x))
        return self.network.curvature(self.target, self._scale, curved)

    def _matrix(self, name: str) -> Array:
        P = len(self.theta)
        self._check(f"the matrix of {P:,} by {P:,} parameters", P * P, f"use {name}_product(v), which needs no matrix")
        matrix, unit = np.empty((P, P), self.theta.dtype), np.zeros_like(self.theta)
        for j in range(P):
            unit[j] = 1
            matrix[:, j] = getattr(self, name + "_product")(unit)
            unit[j] = 0
        return matrix

    def _check(self, what: str, numbers: int, instead: str) -> None:
        needed = numbers * self.theta.itemsize
        if needed > LIMIT:
            raise ValueError(f"{what} needs {needed / 1e9:,.1f} GB, more than {LIMIT / 1e9:g} GB: {instead}")

    def _count(self, gradients: float) -> None:
        self.gradients += gradients
        if self._whole is not None:
            self._whole._count(gradients)

    def _ran(self, how: object, cost: float) -> None:
        self.evaluations += 1
        self._count(cost * len(self.x))
        self.network.holds = how
        if self.network.at is not None:
            np.copyto(self.network.at, self.theta)

    def _run(self, backward: bool) -> None:
        """See to it that the layers hold this batch's activations at theta, and the derivatives of `backward`."""
        network = self.network
        if network.at is None:  # from now on every evaluation says where it was; those before have not
            network.at = self.theta.copy()
        elif network.holds is self._backward or (network.holds is self._forward and not backward):
            differs = network.buffers("differs", self.theta.shape, bool)
            if not np.not_equal(network.at, self.theta, out=differs).any():
                return
        if backward:
            self.value_and_gradient()
        else:
            self.value()
