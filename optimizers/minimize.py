"""Function is an objective made of plain functions; minimize takes steps on it until the gradient is small."""

from collections.abc import Callable
from dataclasses import dataclass
import math
from typing import Any

import numpy as np

from optimizers.objective import Objective, explain_missing_members
from optimizers.optimizer import Optimizer


class Function(Objective):
    """An objective made of plain functions of theta.

    Parameters
    ----------
    theta0 : array_like of shape (P,)
        The starting point. `theta` is a copy of it, float64.
    value : callable, optional
        Returns the value, a number. If it is not given, the value is half of the sum of the squared residuals.
    gradient : callable, optional
        Returns the gradient (P,). If it is not given, it is J^T r, from the residuals and their Jacobian.
    hessian : callable, optional
        Returns the Hessian (P, P).
    residuals : callable, optional
        Returns the residuals r (M,) of a sum of squares.
    jacobian : callable, optional
        Returns the derivatives J (M, P) of the residuals.

    Attributes
    ----------
    theta : ndarray of shape (P,)
        The vector that optimizers change.
    evaluations : int
        The number of points at which a function was called.

    Raises
    ------
    ValueError
        If theta0 is not a vector of finite numbers, or if neither `value` nor `residuals` is given.

    Notes
    -----
    Give the functions that the optimizer needs. Each is called with a copy of theta, at most once for each theta.

    Examples
    --------
    >>> from optimizers import Function
    >>> f = Function([3.0, 4.0], value=lambda theta: theta @ theta / 2, gradient=lambda theta: theta)
    >>> f.value_and_gradient()
    (12.5, array([3., 4.]))
    """

    def __init__(self, theta0: Any, value: Callable[[np.ndarray], Any] | None = None,
                 gradient: Callable[[np.ndarray], Any] | None = None,
                 hessian: Callable[[np.ndarray], Any] | None = None,
                 residuals: Callable[[np.ndarray], Any] | None = None,
                 jacobian: Callable[[np.ndarray], Any] | None = None) -> None:
        self.theta = np.array(theta0, dtype=float)
        if self.theta.ndim != 1 or not self.theta.size or not np.isfinite(self.theta).all():
            raise ValueError(f"theta0 must be a vector (P,) of finite numbers, not {theta0!r}")
        if value is None and residuals is None:
            raise ValueError("Function needs value=... or residuals=...: neither was given")
        self._functions = {"value": value, "gradient": gradient, "hessian": hessian, "residuals": residuals,
                           "jacobian": jacobian}
        self._results: dict[str, np.ndarray] = {}  # the results of the functions at _results_at
        self._results_at: np.ndarray | None = None
        self.evaluations = 0

    def value(self) -> float:
        if self._functions["value"] is None:
            r = self.residuals()
            return float(r @ r) / 2
        return float(self._call("value", ()))

    def value_and_gradient(self) -> tuple[float, np.ndarray]:
        value = self.value()
        if self._functions["gradient"] is None and self._functions["residuals"] is not None:
            return value, self.jacobian().T @ self.residuals()
        return value, self._call("gradient", self.theta.shape).copy()

    def hessian(self) -> np.ndarray:
        return self._call("hessian", self.theta.shape * 2)

    def hessian_product(self, v: np.ndarray) -> np.ndarray:
        product: np.ndarray = self.hessian() @ v
        return product

    def gauss_newton_product(self, v: np.ndarray) -> np.ndarray:
        J = self.jacobian()
        product: np.ndarray = J.T @ (J @ v)
        return product

    def residuals(self) -> np.ndarray:
        return self._call("residuals", (None,))

    def jacobian(self) -> np.ndarray:
        return self._call("jacobian", (len(self.residuals()), len(self.theta)))

    def _call(self, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """Return the result of the function `name` at theta. It must have this shape; None stands for any length."""
        if self._results_at is None or not np.array_equal(self._results_at, self.theta):
            self._results_at, self._results = self.theta.copy(), {}
        if name not in self._results:
            function = self._functions[name]
            if function is None:
                raise ValueError(f"this optimizer needs the {name}, but Function was made without it: "
                                 f"write Function(..., {name}=...), or choose an optimizer that does not need it")
            if not self._results:
                self.evaluations += 1
            result = np.asarray(function(self.theta.copy()), dtype=float)
            if result.ndim != len(shape) or any(n not in (None, m) for n, m in zip(shape, result.shape)):
                expected = f"an array of shape {shape}".replace("None", "M") if shape else "a number"
                raise ValueError(f"{name} must return {expected}, not an array of shape {result.shape}")
            self._results[name] = result
        return self._results[name]


@dataclass
class Result:
    """The result of `minimize`.

    Parameters
    ----------
    theta : ndarray of shape (P,)
        The last theta, a copy.
    value : float
        The value at the last theta.
    steps : int
        The number of steps taken.
    evaluations : int
        The number of points at which the function was evaluated.
    converged : bool
        Whether every component of the gradient is at most the tolerance.
    message : str
        Why `minimize` ended.

    Examples
    --------
    >>> from optimizers import Function, GradientDescent, minimize
    >>> f = Function([4.0], value=lambda theta: theta @ theta / 2, gradient=lambda theta: theta)
    >>> minimize(f, GradientDescent(lr=1.0))  # doctest: +NORMALIZE_WHITESPACE
    Result(theta=array([0.]), value=0.0, steps=1, evaluations=2, converged=True,
           message='the gradient is at most 0.0e+00 in every component')
    """

    theta: np.ndarray
    value: float
    steps: int
    evaluations: int
    converged: bool
    message: str


def minimize(function: Objective, optimizer: Optimizer, max_steps: int = 500, tolerance: float = 1e-8,
             callback: Callable[[Any], Any] | None = None) -> Result:
    """Take steps on a function until its gradient is small.

    Parameters
    ----------
    function : Function or Objective
        The function to minimize. Its theta is changed.
    optimizer : Optimizer
        The optimizer, which takes the steps. Any object with a method `step(objective)` is accepted.
    max_steps : int, default 500
        The largest number of steps, at least 0.
    tolerance : float, default 1e-8
        The function has converged if no component of the gradient has a larger absolute value.
    callback : callable, optional
        Called with the function after each step.

    Returns
    -------
    Result
        The last point, and why it is the last: the function has converged, the optimizer cannot reduce the value, the
        value or the gradient is not finite, or `max_steps` steps have been taken.

    Raises
    ------
    ValueError
        If an argument is not allowed, if the function lacks a method that the optimizer needs, or if the optimizer has
        taken steps on another vector.

    Examples
    --------
    >>> from optimizers import Function, get, minimize
    >>> f = Function([3.0, -4.0], value=lambda theta: (theta**4).sum(), gradient=lambda theta: 4 * theta**3)
    >>> result = minimize(f, get("lbfgs"), tolerance=1e-6)
    >>> result.converged, result.value < 1e-8
    (True, True)
    """
    if not callable(getattr(function, "value_and_gradient", None)):
        raise ValueError(f"function must be an Objective, not {function!r}: write Function(theta0, value=f, "
                         "gradient=df), or model.objective(x, y)")
    if not callable(getattr(optimizer, "step", None)):
        raise ValueError(f"optimizer must have a method step(objective), but {optimizer!r} has none: "
                         "write get('lbfgs')")
    if max_steps < 0:
        raise ValueError(f"max_steps must be at least 0, not {max_steps}")
    with explain_missing_members(function):
        return _take_steps(function, optimizer, max_steps, tolerance, callback)


def _take_steps(function: Objective, optimizer: Optimizer, max_steps: int, tolerance: float,
                callback: Callable[[Any], Any] | None) -> Result:
    steps = 0
    while True:
        value, gradient = function.value_and_gradient()
        evaluations = function.evaluations
        largest = float(np.abs(gradient).max())
        message = ""
        if largest <= tolerance:
            message = f"the gradient is at most {largest:.1e} in every component"
        elif not (math.isfinite(value) and math.isfinite(largest)):
            message = f"the value is {value} and the largest component of the gradient {largest}: try a smaller lr"
        elif steps and (reason := getattr(optimizer, "message", "")):  # an object that has only `step` has no message
            message = reason
        elif steps == max_steps:
            message = f"after {steps} steps the largest component of the gradient is {largest:.1e}"
        if message:
            return Result(function.theta.copy(), value, steps, evaluations, largest <= tolerance, message)
        optimizer.step(function)
        steps += 1
        if callback is not None:
            callback(function)
