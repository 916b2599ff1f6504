"""How far to go along a direction: two searches on a function of one number, and the method that steps by them."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
import math

import numpy as np

from optimizers.base import Array, Objective, Point, SecondOrder, number, whole

# phi(alpha): the value and the slope at the distance alpha along the direction
Phi = Callable[[float], tuple[float, float]]


@dataclass(frozen=True)
class Trial:
    """The value and the slope at one alpha."""

    alpha: float
    value: float
    slope: float


@dataclass(frozen=True)
class Found:
    """Where a search ended. message: why the conditions do not hold there; empty where they do. alpha is then that of
    the lowest value seen, 0 where none was below the start's.
    """

    alpha: float
    message: str


def strong_wolfe(phi: Phi, value: float, slope: float, alpha: float = 1.0, c1: float = 1e-4, c2: float = 0.9,
                 noise: float = 0.0, max_evaluations: int = 20) -> Found:
    """An alpha that satisfies the strong Wolfe conditions

        phi(alpha) <= phi(0) + c1 alpha phi'(0)   and   |phi'(alpha)| <= c2 |phi'(0)|

    value and slope are those at 0; `alpha` is the first that is tried. Values that differ by no more than `noise` count
    as equal, and the slopes decide: the approximate Wolfe conditions of Hager & Zhang (2005), which let a search end
    where the decrease drowns in rounding. A trial that is not finite is too far.

    Nocedal & Wright (2006), algorithms 3.5 and 3.6 in one loop. The minimum lies between `low`, the lowest trial that
    satisfies the first condition, and `high`; as long as `high` is infinite the trials grow. Both are interpolated by
    a cubic, and where the interval does not shrink by a third in two trials it is halved, as by More & Thuente (1994).
    """
    if not slope < 0:
        return Found(0.0, "the direction is not one of descent")
    low, high = Trial(0.0, value, slope), Trial(math.inf, math.inf, math.inf)
    best, widths = low, [math.inf, math.inf]
    for _ in range(max_evaluations):
        trial, before = _look(phi, alpha), low
        if trial.value > min(value + c1 * alpha * slope, low.value) + noise:
            high = trial
        elif abs(trial.slope) <= -c2 * slope:
            return Found(alpha, "")
        else:
            if trial.slope * (high.alpha - low.alpha) >= 0:
                high = low
            low = trial
        if trial.value < best.value:
            best = trial
        width = abs(high.alpha - low.alpha)
        if math.isinf(width):
            alpha = _beyond(before, low, noise)
        elif math.isinf(high.value):
            alpha = low.alpha + 0.25 * (high.alpha - low.alpha)
        elif width > 0.66 * widths[-2]:
            alpha = (low.alpha + high.alpha) / 2
        else:
            alpha = _between(low, high, noise)
        widths.append(width)
        if alpha in (low.alpha, high.alpha):  # nothing lies between
            break
    return Found(best.alpha, f"no alpha satisfied the strong Wolfe conditions within {max_evaluations} evaluations")


def armijo(phi: Phi, value: float, slope: float, alpha: float = 1.0, c1: float = 1e-4, noise: float = 0.0,
           max_evaluations: int = 20) -> Found:
    """The first alpha, from the one given downwards, with phi(alpha) <= phi(0) + c1 alpha phi'(0).

    Armijo (1966), with the backtracking of Nocedal & Wright (2006), section 3.5: the minimum of the parabola through
    what is known, between a tenth and a half of the alpha before. Of phi only the value is used.
    """
    if not slope < 0:
        return Found(0.0, "the direction is not one of descent")
    best = Trial(0.0, value, slope)
    for _ in range(max_evaluations):
        trial = _look(phi, alpha)
        if trial.value <= value + c1 * alpha * slope + noise:
            return Found(alpha, "")
        if trial.value < best.value:
            best = trial
        above = trial.value - value - alpha * slope  # the tangent; infinite where the trial is
        alpha *= min(max(-slope * alpha / (2 * above), 0.1), 0.5) if above > 0 else 0.5
    return Found(best.alpha, f"no alpha gave a sufficient decrease within {max_evaluations} evaluations")


def _look(phi: Phi, alpha: float) -> Trial:
    """The trial at alpha, as an infinite value where anything there is not finite."""
    value, slope = phi(alpha)
    return Trial(alpha, value, slope) if math.isfinite(value) and math.isfinite(slope) else Trial(alpha, math.inf, 0.0)


def _cubic(a: Trial, b: Trial, noise: float) -> float:
    """The minimum of the cubic through two trials, or where their values are equal that of the parabola through their
    slopes; NaN where there is none. Nocedal & Wright (3.59).
    """
    if abs(b.value - a.value) <= noise:
        return b.alpha - (b.alpha - a.alpha) * b.slope / (b.slope - a.slope) if b.slope != a.slope else math.nan
    d1 = a.slope + b.slope - 3 * (a.value - b.value) / (a.alpha - b.alpha)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return math.nan
    d2 = math.copysign(math.sqrt(square), b.alpha - a.alpha)
    below = b.slope - a.slope + 2 * d2
    return b.alpha - (b.alpha - a.alpha) * (b.slope + d2 - d1) / below if below else math.nan


def _between(low: Trial, high: Trial, noise: float) -> float:
    """Where to look next between two trials, never quite at either."""
    alpha, width = _cubic(low, high, noise), high.alpha - low.alpha
    part = (alpha - low.alpha) / width if width else math.nan
    return low.alpha + width * (min(max(part, 0.001), 0.999) if math.isfinite(part) else 0.5)


def _beyond(before: Trial, low: Trial, noise: float) -> float:
    """Where to look next beyond the farthest of two trials that both point on."""
    alpha, step = _cubic(before, low, noise), low.alpha - before.alpha
    return min(max(alpha, low.alpha + 1.1 * step), low.alpha + 9 * step) if alpha > low.alpha else low.alpha + 9 * step


@dataclass(eq=False, kw_only=True)
class LineSearchMethod(SecondOrder):
    """theta := theta + alpha d, where d is the method's direction and alpha satisfies the strong Wolfe conditions

    A method is a direction, and what it learns from the two ends of a step, both seen on the same objective. Where its
    direction leads nowhere it forgets what it has learned and is asked once more; where that leads nowhere either,
    theta stays exactly where it was and `message` says why.

    Beside its declared state a method holds two points, the ends of a step, of two vectors each; a third while it
    searches.
    """

    c1: float = number(1e-4, above=0, below=1)
    c2: float = number(0.9, above=0, below=1)
    max_evaluations: int = whole(20, least=1)  # in one search

    @abstractmethod
    def direction(self, gradient: Array) -> Array:
        """d (P,) at a point with that gradient: minus the gradient where nothing is learned."""

    @abstractmethod
    def first(self, slope: float) -> float | None:
        """The alpha to try first, where the slope along d is known; None to take a step of at most unit length."""

    @abstractmethod
    def learn(self, begin: Point, end: Point, slope: float, alpha: float) -> None:
        """Take in a step of alpha from `begin` to `end`, along a direction whose slope was `slope`."""

    @abstractmethod
    def forget(self) -> None:
        """Go back to the state before the first step, but for t."""

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")  # a search looks at the numbers themselves
    def step(self, objective: Objective) -> float:
        self.start(objective.theta)
        begin = self.evaluate(objective)
        length = math.sqrt(begin.gradient @ begin.gradient)
        if not (math.isfinite(begin.value) and math.isfinite(length) and length):
            self.message = f"the value is {begin.value} and the norm of its gradient {length}"
            return begin.value
        for fresh in (False, True):
            if fresh:
                self.forget()
            d = self.direction(begin.gradient)
            slope = float(begin.gradient @ d)
            first = self.first(slope) if slope < 0 else 0.0
            alpha = self._search(objective, begin, d, slope, min(1.0, 1 / length) if first is None else first)
            if alpha:
                end = self._at(objective, begin, d, alpha)
                self.move(objective, end)
                self.t += 1
                self.learn(begin, end, slope, alpha)
                return begin.value
        self.move(objective, begin)
        return begin.value

    def _search(self, objective: Objective, begin: Point, d: Array, slope: float, alpha: float) -> float:
        """The alpha that the search finds, 0 where it finds none; sets the message."""
        def phi(alpha: float) -> tuple[float, float]:
            try:
                point = self._at(objective, begin, d, alpha)
            except ArithmeticError:  # plain Python's floats raise where NumPy's become infinite
                return math.nan, math.nan
            return point.value, float(point.gradient @ d)

        noise = 4 * float(np.finfo(begin.theta.dtype).eps) * abs(begin.value)
        found = strong_wolfe(phi, begin.value, slope, alpha, self.c1, self.c2, noise, self.max_evaluations)
        self.message = "" if found.alpha else f"no lower value along the direction: {found.message}"
        return found.alpha

    def _at(self, objective: Objective, begin: Point, d: Array, alpha: float) -> Point:
        """The point at alpha along d; the one looked at last is remembered."""
        np.multiply(d, alpha, out=objective.theta)
        objective.theta += begin.theta
        return self.evaluate(objective)
