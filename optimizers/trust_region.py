"""TrustRegion: the step that Newton and LevenbergMarquardt share, based on a quadratic model of the value."""

from abc import abstractmethod
import math

import numpy as np

from optimizers.fields import Share, unset
from optimizers.objective import Objective, explain_missing_members
from optimizers.second_order import Point, SecondOrder
from optimizers.state import scalar
from optimizers.subproblem import QuadraticModel, solve_subproblem

MAX_TRIALS = 100  # the largest number of trial points in a step; each is at most half as far from theta as the last


class TrustRegion(SecondOrder):
    """Base of the methods that minimize a quadratic model of the value within a radius.

    Parameters
    ----------
    max_gigabytes : float, default 1.0
        A step whose matrices would take more memory raises a ValueError; above 0.
    sample : float, default 1.0
        The share of the examples from which products with the curvature are computed, in (0, 1]; a new sample in each
        step. The value and the gradient are always those of all examples (Byrd et al. 2011).

    Attributes
    ----------
    radius : float
        The radius within which the model is trusted; 0 before the first step.
    form_used : str
        The form of the curvature in the last step.

    Notes
    -----
    The gain of a step is the reduction of the value divided by the reduction that the model predicts. The step is
    refused if its gain is below 1e-4, and a shorter one is tried within a smaller radius. The next radius is smaller if
    the gain is below 1/4 (More 1978). If the gain is above 1/2, the radius becomes at least the length of the step
    divided by 1 - (2 gain - 1)^3, and at most three times that length. Nielsen (1999) uses this function for the
    damping. More doubles the radius from a gain of 3/4, which fails from some distant starting points.

    If values differ only by rounding errors, their difference has no meaning. Therefore 10 |value| eps is added to both
    reductions (Conn et al. 2000, section 17.4), and steps continue as long as each predicted reduction is less than
    half the last one.

    References
    ----------
    Conn, A. R., Gould, N. I. M., & Toint, P. L. (2000). Trust-Region Methods. SIAM.

    More, J. J. (1978). The Levenberg-Marquardt algorithm: implementation and theory. In Numerical Analysis, Springer,
    105-116.

    Nielsen, H. B. (1999). Damping parameter in Marquardt's method. Technical University of Denmark, IMM-REP-1999-05.

    Byrd, R. H., Chin, G. M., Neveitt, W., & Nocedal, J. (2011). On the use of stochastic Hessian information in
    optimization methods for machine learning. SIAM Journal on Optimization 21(3), 977-995.
    """

    sample: Share = 1.0
    radius: float = scalar(0.0)
    floor: float = scalar(math.inf)  # the last predicted reduction, if it was below the rounding errors
    form_used: str = unset(default="")

    def curvature_objective(self, objective: Objective) -> Objective:
        """Return the objective whose curvature is used.

        Parameters
        ----------
        objective : Objective
            The objective of the step.

        Returns
        -------
        Objective
            The objective itself, or a subsample of its examples.
        """
        if self.sample == 1:
            return objective
        n = objective.examples
        rows = np.random.default_rng(self.t).choice(n, max(1, round(self.sample * n)), replace=False)
        return objective.subsample(np.sort(rows))

    @abstractmethod
    def model(self, objective: Objective, point: Point) -> QuadraticModel:
        """Return a quadratic model of the objective around theta.

        Parameters
        ----------
        objective : Objective
            The objective of the step.
        point : Point
            The value and the gradient at theta.

        Returns
        -------
        QuadraticModel
            A model for steps within `radius`. This method sets the first radius.
        """

    def step(self, objective: Objective) -> float:
        self.start(objective.theta)
        point = self.evaluate_point(objective)
        if math.isfinite(point.value) and np.isfinite(point.gradient).all():
            self.t += 1
            try:
                # trial points may be distant, and their values are checked
                with explain_missing_members(objective), np.errstate(all="ignore"):
                    self.message = self._step(objective, point)
            except Exception:  # for example because the objective lacks a method: this was not a step
                self.t -= 1
                self.set_point(objective, point)
                raise
        else:
            self.message = "the value or its gradient is not finite"
        return point.value

    def _step(self, objective: Objective, point: Point) -> str:
        """Change theta, or return why it cannot be changed."""
        try:
            model = self.model(objective, point)
        except np.linalg.LinAlgError:  # NumPy's error for a matrix that is not finite
            return "the curvature is not finite"
        if not (np.isfinite(model.w).all() and np.isfinite(model.b).all()):
            return "the curvature is not finite"
        theta, radius = objective.theta, self.radius
        noise = 10 * float(np.finfo(theta.dtype).eps) * abs(point.value) + float(np.finfo(float).tiny)
        message = "the value cannot be reduced further: the predicted reduction is less than the rounding errors"
        for _ in range(MAX_TRIALS):
            y, multiplier = solve_subproblem(model.w, model.b, radius)
            length, slope = float(np.linalg.norm(y)), float(model.b @ y)
            predicted = float(y**2 @ (model.w / 2 + multiplier))
            np.add(point.theta, y @ model.basis / model.scale, out=theta, casting="same_kind")
            if self.floor / 2 <= predicted <= noise or np.array_equal(theta, point.theta):
                break
            message = "the value cannot be reduced further: no trial point has a lower value, not even the nearest"
            value = self._value(objective)
            reduction = point.value - value
            gain = (reduction + noise) / (predicted + noise) if math.isfinite(value) else -math.inf
            if gain < 0.25:
                # the minimum of the parabola through both values, with the slope at the first
                shorter = slope / (slope + reduction) / 2 if math.isfinite(reduction) and slope < 0 else 0.1
                radius = min(max(shorter, 0.1), 0.5) * min(radius, 10 * length)
            else:
                radius = max(radius, length / max(1 / 3, 1 - (2 * gain - 1) ** 3))
            if gain >= 1e-4 and np.isfinite(self.evaluate_point(objective).gradient).all():
                self.radius, self.floor = radius, predicted if predicted <= noise else math.inf
                return ""
            radius = min(radius, length / 2)
        self.set_point(objective, point)
        return message

    @staticmethod
    def _value(objective: Objective) -> float:
        try:
            return objective.value()
        except (ArithmeticError, ValueError):  # for example from math.log, at a distant point
            return math.inf
