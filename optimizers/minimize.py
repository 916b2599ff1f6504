"""The optimizers on any function of a vector: Function says what the function is, minimize takes the steps."""

from collections.abc import Callable
from dataclasses import dataclass
import math
from typing import Any

import numpy as np

from optimizers.base import Array, Optimizer


class Function:
    """An objective made of plain functions, each called with theta (P,).

    value: to a number. gradient: to (P,). hessian: to (P, P). residuals: to (M,), and jacobian: to (M, P), of a sum of
    squares: the value is then half of that sum, unless it is given, and the gradient J^T r. Give what the optimizer
    needs. `theta` is the live vector, a float64 copy of theta0; `evaluations` counts the points at which the value or
    the gradient was asked for, each point once where it is asked for again at once.
    """

    def __init__(self, theta0: Any, value: Callable[[Array], Any] | None = None,
                 gradient: Callable[[Array], Any] | None = None, hessian: Callable[[Array], Any] | None = None,
                 residuals: Callable[[Array], Any] | None = None,
                 jacobian: Callable[[Array], Any] | None = None) -> None:
        self.theta = np.array(theta0, dtype=float)
        if self.theta.ndim != 1 or not self.theta.size or not np.isfinite(self.theta).all():
            raise ValueError(f"theta0 must be a vector (P,) of finite numbers, not {theta0!r}")
        if value is None and residuals is None:
            raise ValueError("Function needs value=... or residuals=...: neither was given")
        self._given = {"value": value, "gradient": gradient, "hessian": hessian, "residuals": residuals,
                       "jacobian": jacobian}
        self._at: Array | None = None  # the point of what is kept below
        self._kept: dict[str, Any] = {}
        self.evaluations = 0

    def value(self) -> float:
        """The value at theta."""
        if self._given["value"] is None:
            r = self.residuals()
            return float(r @ r) / 2
        return float(self._call("value", ()))

    def value_and_gradient(self) -> tuple[float, Array]:
        """The value at theta and the gradient (P,), a copy."""
        value = self.value()
        if self._given["gradient"] is None and self._given["residuals"] is not None:
            return value, self.jacobian().T @ self.residuals()
        return value, self._call("gradient", self.theta.shape).copy()

    def hessian(self) -> Array:
        """The matrix of second derivatives at theta, (P, P)."""
        return self._call("hessian", self.theta.shape * 2)

    def hessian_product(self, v: Array) -> Array:
        """The Hessian at theta times v (P,)."""
        return self.hessian() @ v

    def residuals(self) -> Array:
        """The residuals at theta, (M,)."""
        return self._call("residuals", (None,))

    def jacobian(self) -> Array:
        """The derivatives of the residuals at theta, (M, P)."""
        return self._call("jacobian", (len(self.residuals()), len(self.theta)))

    def gauss_newton_product(self, v: Array) -> Array:
        """J^T J v at theta, (P,)."""
        J = self.jacobian()
        return J.T @ (J @ v)

    def _call(self, name: str, shape: tuple[int | None, ...]) -> Any:
        """What the user's function of that name gives at theta, of that shape; computed once for each point."""
        if self._at is None or not np.array_equal(self._at, self.theta):
            self._at, self._kept = self.theta.copy(), {}
        if name not in self._kept:
            function = self._given[name]
            if function is None:
                raise ValueError(f"this optimizer needs the {name}, which the Function was not given: "
                                 f"write Function(..., {name}=...), or choose an optimizer that does without")
            if not self._kept:
                self.evaluations += 1
            result = np.asarray(function(self.theta.copy()), dtype=float)
            if result.ndim != len(shape) or any(n not in (None, m) for n, m in zip(shape, result.shape)):
                raise ValueError(f"{name} gives an array of shape {result.shape}, where one of shape "
                                 f"{tuple('M' if n is None else n for n in shape)} is expected")
            self._kept[name] = result
        return self._kept[name]


@dataclass
class Result:
    """Where minimize ended. converged: whether the largest gradient component came below the tolerance; message: why
    it ended; steps and evaluations: of the optimizer, and of the function.
    """

    theta: Array
    value: float
    steps: int
    evaluations: int
    converged: bool
    message: str


def minimize(function: Function, optimizer: Optimizer, max_steps: int = 500, tolerance: float = 1e-8,
             callback: Callable[[Function], Any] | None = None) -> Result:
    """Take steps on `function` until no component of its gradient is larger than `tolerance`.

    Ends early where the optimizer says that it cannot go on, where the value is not finite, and after `max_steps`.
    `callback` is called with the function after each step. Changes function.theta, of which Result.theta is a copy.
    """
    if not callable(getattr(optimizer, "step", None)):
        raise ValueError(f"optimizer must have a step(objective), which {optimizer!r} has not: write get('lbfgs')")
    if max_steps < 0:
        raise ValueError(f"max_steps must be at least 0, not {max_steps}")
    message = ""
    for step in range(max_steps + 1):
        value, gradient = function.value_and_gradient()
        slope = float(np.abs(gradient).max())
        converged = slope <= tolerance
        if converged:
            message = f"the gradient is at most {slope:.1e} in every component"
        elif not (math.isfinite(value) and math.isfinite(slope)):
            message = f"the value became {value} and the largest component of the gradient {slope}: try a smaller lr"
        elif step and (reason := getattr(optimizer, "message", "")):  # an object with step alone is an optimizer too
            message = reason
        elif step == max_steps:
            message = f"after {step} steps the largest component of the gradient is {slope:.1e}"
        if message:
            return Result(function.theta.copy(), value, step, function.evaluations, converged, message)
        optimizer.step(function)
        if callback is not None:
            callback(function)
    raise AssertionError("the last turn of the loop returns")
