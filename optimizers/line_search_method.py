"""LineSearchMethod: the step of all methods that search along a direction."""

from abc import abstractmethod
import math

import numpy as np

from optimizers.fields import Count, PositiveFraction
from optimizers.line_search import strong_wolfe
from optimizers.objective import Objective
from optimizers.second_order import Point, SecondOrder


class LineSearchMethod(SecondOrder):
    """Base of the methods that search along a direction.

    Parameters
    ----------
    max_gigabytes : float, default 1.0
        A step whose matrices would take more memory raises a ValueError; above 0.
    c1 : float, default 1e-4
        Constant of the first strong Wolfe condition, on the value, in (0, 1); see `strong_wolfe`.
    c2 : float, default 0.9
        Constant of the second strong Wolfe condition, on the slope, in (0, 1).
    max_evaluations : int, default 20
        The largest number of points in one line search, at least 1.

    Notes
    -----
    ::

        theta := theta + alpha d

    d is the direction of the method, and alpha is found by `strong_wolfe`. A method defines `direction`,
    `initial_step`, `record_step` and `reset`. It records both ends of a step, evaluated on the same objective. If the
    search finds no lower value, the method is reset, and the search is repeated along its new direction. If it finds no
    lower value again, theta is not changed, and `message` says why.

    In addition to its declared state, a method holds the two ends of a step, with two vectors each, and a third point
    during a search.
    """

    c1: PositiveFraction = 1e-4
    c2: PositiveFraction = 0.9
    max_evaluations: Count = 20

    @abstractmethod
    def direction(self, gradient: np.ndarray) -> np.ndarray:
        """Return the direction of the next step.

        Parameters
        ----------
        gradient : ndarray of shape (P,)
            The gradient at theta.

        Returns
        -------
        ndarray of shape (P,)
            The direction d; minus the gradient if no step is recorded.
        """

    @abstractmethod
    def initial_step(self, slope: float) -> float | None:
        """Return the alpha that the search tries first.

        Parameters
        ----------
        slope : float
            The slope g^T d, below 0.

        Returns
        -------
        float or None
            The alpha; if it is None, the search first tries a step of at most unit length.
        """

    @abstractmethod
    def record_step(self, start: Point, end: Point, slope: float, alpha: float) -> None:
        """Record a step.

        Parameters
        ----------
        start, end : Point
            Both ends of the step.
        slope : float
            The slope along the direction at `start`.
        alpha : float
            The length of the step, in units of the length of d.
        """

    @abstractmethod
    def reset(self) -> None:
        """Return to the state before the first step, except for t."""

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")  # the search checks the numbers itself
    def step(self, objective: Objective) -> float:
        self.start(objective.theta)
        start = self.evaluate_point(objective)
        length = math.sqrt(start.gradient @ start.gradient)
        if not (math.isfinite(start.value) and math.isfinite(length) and length):
            self.message = f"the value is {start.value} and the norm of its gradient {length}"
            return start.value
        for attempt in range(2):
            if attempt:
                self.reset()
            d = self.direction(start.gradient)
            slope = float(start.gradient @ d)
            initial = self.initial_step(slope) if slope < 0 else 0.0
            alpha = self._search(objective, start, d, slope, min(1.0, 1 / length) if initial is None else initial)
            if alpha:
                end = self._point_along(objective, start, d, alpha)
                self.set_point(objective, end)
                self.t += 1
                self.record_step(start, end, slope, alpha)
                return start.value
        self.set_point(objective, start)
        return start.value

    def _search(self, objective: Objective, start: Point, d: np.ndarray, slope: float, alpha: float) -> float:
        """Return the alpha that the search finds, 0 if it finds none; set the message."""
        def phi(alpha: float) -> tuple[float, float]:
            try:
                point = self._point_along(objective, start, d, alpha)
            except ArithmeticError:  # a Python float raises OverflowError, while NumPy returns infinity
                return math.nan, math.nan
            return point.value, float(point.gradient @ d)

        noise = 4 * float(np.finfo(start.theta.dtype).eps) * abs(start.value)
        result = strong_wolfe(phi, start.value, slope, alpha, self.c1, self.c2, noise, self.max_evaluations)
        self.message = "" if result.alpha else f"no lower value along the direction: {result.message}"
        return result.alpha

    def _point_along(self, objective: Objective, start: Point, d: np.ndarray, alpha: float) -> Point:
        """Return the point at alpha along d. The last point is remembered."""
        np.multiply(d, alpha, out=objective.theta)
        objective.theta += start.theta
        return self.evaluate_point(objective)
