"""SecondOrder: the shared part of all methods that evaluate several points in a step."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from optimizers.fields import Positive, unset
from optimizers.objective import Objective
from optimizers.optimizer import Optimizer


@dataclass(frozen=True)
class Point:
    """The value and the gradient of an objective at one theta.

    Parameters
    ----------
    objective : Objective
        The function.
    theta : ndarray of shape (P,)
        The theta of this point, a copy.
    value : float
        The value at this theta.
    gradient : ndarray of shape (P,)
        The gradient at this theta, a copy.
    """

    objective: Objective
    theta: np.ndarray
    value: float
    gradient: np.ndarray


class SecondOrder(Optimizer):
    """Base of the methods that evaluate several points in a step.

    The last point is remembered. If the next step starts there, on the same objective, it is not evaluated again.

    Parameters
    ----------
    max_gigabytes : float, default 1.0
        A step whose matrices would need more memory raises a ValueError, which names a form that needs less; above 0.
    """

    max_gigabytes: Positive = 1.0
    _last: Point | None = unset(default=None)

    def evaluate_point(self, objective: Objective) -> Point:
        """Return the value and the gradient at theta; they are not computed again if this is the last point.

        Parameters
        ----------
        objective : Objective
            The function to evaluate.

        Returns
        -------
        Point
            The value and the gradient at theta.
        """
        last = self._last
        if last is None or last.objective is not objective or not np.array_equal(last.theta, objective.theta):
            value, gradient = objective.value_and_gradient()
            last = self._last = Point(objective, objective.theta.copy(), value, gradient.copy())
        return last

    def set_point(self, objective: Objective, point: Point) -> None:
        """Set theta to a point that was evaluated, and remember that point.

        Parameters
        ----------
        objective : Objective
            The function whose theta is set.
        point : Point
            A point of the same function.
        """
        np.copyto(objective.theta, point.theta)
        self._last = point

    def check_memory(self, what: str, bytes_needed: int, instead: str) -> None:
        """Check that matrices are not larger than allowed.

        Parameters
        ----------
        what : str
            The name of the matrices, for the message.
        bytes_needed : int
            The memory that they need.
        instead : str
            The form to use instead, for the message.

        Raises
        ------
        ValueError
            If they need more than max_gigabytes.
        """
        if bytes_needed > 1e9 * self.max_gigabytes:
            raise ValueError(f"{type(self).__name__}: {what} would take {bytes_needed / 1e9:.1f} GB, more than "
                             f"max_gigabytes, {self.max_gigabytes:g}: use {instead} instead, or raise max_gigabytes")

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes of a copy: all but the last point, whose objective may hold data and threads."""
        return {name: value for name, value in super().__getstate__().items() if name != "_last"}
