"""Steps that go as far as a quadratic model of the value can be trusted: what Newton and Levenberg-Marquardt share."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
import math

import numpy as np

from optimizers.base import Array, Objective, Point, SecondOrder, number, scalar

LIMIT = 2**30  # bytes that the matrices of a form may take
ATTEMPTS = 100  # trial points in one step: each at most half as far as the one before


def bounded(w: Array, b: Array, radius: float) -> tuple[Array, float]:
    """The minimizer y of b^T y + sum(w y^2) / 2 with |y| <= radius, and its multiplier: (w + multiplier) y = -b.

    The trust-region subproblem in the coordinates of eigenvectors, w the eigenvalues, to rounding: More & Sorensen
    (1983), with the secular equation 1 / |y| = 1 / radius solved by Newton's method from below, where it rises to the
    root without ever passing it. In the hard case, where b has nothing along the lowest eigenvector and y would stay
    inside although w is negative there, the rest of the way goes along that eigenvector.
    """
    shift = min(float(w.min()), 0.0)
    w = w - shift  # from here on the multiplier counts from -shift, so that nothing cancels next to a pole
    y = _quotient(-b, w)
    size = float(np.linalg.norm(y))
    if size <= radius:
        if shift < 0:
            y[np.argmin(w)] += math.sqrt(radius**2 - size**2)
        return y, -shift
    multiplier = max(0.0, float((np.abs(b) / radius - w).max()))
    for _ in range(100):
        y = _quotient(-b, w + multiplier)
        size = float(np.linalg.norm(y))
        if size <= radius * (1 + 1e-10):
            break
        multiplier += size**2 / float(y @ _quotient(y, w + multiplier)) * (size - radius) / radius
    return y, multiplier - shift


def _quotient(a: Array, b: Array) -> Array:
    """a / b, and 0 where a is 0."""
    with np.errstate(divide="ignore", over="ignore"):  # a coordinate without a bound is infinite
        return np.divide(a, b, out=np.zeros_like(a), where=a != 0)


@dataclass(frozen=True)
class Model:
    """The value around theta: b^T y + sum(w y^2) / 2 more than there, at theta + y @ basis / scale.

    The rows of basis (n, P) are orthonormal, so that |y| is the length of scale times the step; w and b are float64.
    """

    w: Array
    b: Array
    basis: Array
    scale: Array | float = 1.0


def krylov(product: Callable[[Array], Array], gradient: Array, radius: float, tolerance: float, limit: int,
           along: bool = True) -> tuple[Array, Array, Array]:
    """w, b and the basis of a Model on a Krylov space, of as many products as its minimizer within the radius needs.

    Conjugate gradients in the form of Lanczos, orthogonalized in full. Inside the radius the minimizer is their point.
    Where they leave the radius, or meet negative curvature, which leads to the boundary, it is the best point of the
    space on the boundary (Gould, Lucidi, Roma & Toint 1999); Steihaug (1983) and Toint (1981) take the point where they
    cross it. The space does not depend on the multiplier, so that a smaller radius costs no product.

    Ends where (curvature + multiplier I) p = -gradient but for a residual of `tolerance`, after `limit` products, and
    unless it is to go on `along` the boundary, where it first gets there, as Steihaug and Toint do.
    """
    length = float(np.linalg.norm(gradient))
    if not length:
        return np.zeros(1), np.zeros(1), np.zeros((1, len(gradient)), gradient.dtype)
    Q = np.empty((limit, len(gradient)), gradient.dtype)
    T = np.zeros((limit + 1, limit + 1))
    v, beta = gradient, length
    k = 0
    while True:
        np.divide(v, beta, out=Q[k])
        v = product(Q[k])
        T[k, k] = Q[k] @ v
        k += 1
        for _ in range(2):  # once leaves what rounding adds
            v = v - (Q[:k] @ v) @ Q[:k]
        beta = T[k, k - 1] = T[k - 1, k] = float(np.linalg.norm(v))
        if not (math.isfinite(beta) and math.isfinite(T[k - 1, k - 1])):
            raise np.linalg.LinAlgError("the product is not finite")
        w, U = np.linalg.eigh(T[:k, :k])
        b = length * U[0]
        y, multiplier = bounded(w, b, radius)
        solved = beta * abs(float(U[k - 1] @ y)) <= tolerance or (multiplier > 0 and not along)
        if solved or k == limit or beta <= np.finfo(v.dtype).eps * np.abs(w).max():
            return w, b, U.T.astype(Q.dtype) @ Q[:k]


@dataclass(eq=False, kw_only=True)
class TrustRegion(SecondOrder):
    """Minimizes a quadratic model of the value within a radius, and trusts it as far as it has proved true.

    The gain of a step is the reduction of the value by that which the model predicted. A step with a gain below 1e-4
    is refused, and tried again within a smaller radius; below 1/4 the radius shrinks, as in More (1978); above 1/2 it
    is at least the length of the step over 1 - (2 gain - 1)^3, up to three times that length, as smoothly as Nielsen
    (1999) changes the damping: More's doubling from 3/4 on is less sure from far starts. Where values differ
    by rounding only they say nothing: both reductions are taken 10 |value| eps larger (Conn, Gould & Toint 2000,
    section 17.4), and steps go on as long as the prediction halves from one to the next.

    sample: the share of the examples on which products with the curvature are taken, others in every step; the value
    and the gradient are those of all (Byrd, Chin, Neveitt & Nocedal 2011).
    """

    sample: float = number(1.0, above=0, most=1)
    radius: float = scalar(0.0)  # 0 before the first step
    floor: float = scalar(math.inf)  # the last prediction, where it drowned in rounding
    uses: str = field(init=False, default="")  # the form of the last step

    def _check_memory(self, needed: int, instead: str) -> None:
        if needed > LIMIT:
            raise ValueError(f"{type(self).__name__}: form={self.uses!r} needs {needed / 2**30:.1f} GiB here, more "
                             f"than {LIMIT / 2**30:g}: use form={instead!r}")

    def curved(self, objective: Objective) -> Objective:
        """What the curvature is taken from: the objective, or a subsample of its examples."""
        if self.sample == 1:
            return objective
        n = objective.examples  # type: ignore[attr-defined]
        rows = np.random.default_rng(self.t).choice(n, max(1, round(self.sample * n)), replace=False)
        return objective.subsample(np.sort(rows))  # type: ignore[attr-defined]

    @abstractmethod
    def model(self, objective: Objective, here: Point) -> Model:
        """The model of the objective at theta, for steps within self.radius."""

    def step(self, objective: Objective) -> float:
        here = self.evaluate(objective)
        if math.isfinite(here.value) and np.isfinite(here.gradient).all():
            self.start(objective.theta)
            self.t += 1
            with np.errstate(all="ignore"):  # trial points may be anywhere, and what they give is looked at
                self.message = self._step(objective, here)
        else:
            self.message = "the value or its gradient is not finite"
        return here.value

    def _step(self, objective: Objective, here: Point) -> str:
        """Moves theta, or says why that cannot be."""
        try:
            model = self.model(objective, here)
        except np.linalg.LinAlgError:  # as NumPy says of matrices that are not finite
            return "the curvature is not finite"
        if not (np.isfinite(model.w).all() and np.isfinite(model.b).all()):
            return "the curvature is not finite"
        theta, radius = objective.theta, self.radius
        noise = 10 * float(np.finfo(theta.dtype).eps) * abs(here.value) + float(np.finfo(float).tiny)
        message = "the value cannot be reduced further: what the model promises is less than its rounding"
        for _ in range(ATTEMPTS):
            y, multiplier = bounded(model.w, model.b, radius)
            length, slope = float(np.linalg.norm(y)), float(model.b @ y)
            predicted = float(y**2 @ (model.w / 2 + multiplier))
            np.add(here.theta, y @ model.basis / model.scale, out=theta, casting="same_kind")
            if self.floor / 2 <= predicted <= noise or np.array_equal(theta, here.theta):
                break
            message = "the value cannot be reduced further: no trial point, however near, has a lower one"
            value = self._value(objective)
            reduction = here.value - value
            gain = (reduction + noise) / (predicted + noise) if math.isfinite(value) else -math.inf
            if gain < 0.25:
                # the minimum of the parabola through both values and the slope
                shorter = slope / (slope + reduction) / 2 if math.isfinite(reduction) and slope < 0 else 0.1
                radius = min(max(shorter, 0.1), 0.5) * min(radius, 10 * length)
            else:
                radius = max(radius, length / max(1 / 3, 1 - (2 * gain - 1) ** 3))
            if gain >= 1e-4 and np.isfinite(self.evaluate(objective).gradient).all():
                self.radius, self.floor = radius, predicted if predicted <= noise else math.inf
                return ""
            radius = min(radius, length / 2)
        self.move(objective, here)
        return message

    @staticmethod
    def _value(objective: Objective) -> float:
        try:
            return objective.value()
        except (ArithmeticError, ValueError):  # such as math.log's, of a far point
            return math.inf
