"""Line searches: the length of a step along a direction."""

from collections.abc import Callable
from dataclasses import dataclass
import math

# phi(alpha) returns the value and the slope at the distance alpha along the direction
Phi = Callable[[float], tuple[float, float]]


@dataclass(frozen=True)
class Trial:
    """The value and the slope at one alpha."""

    alpha: float
    value: float
    slope: float


@dataclass(frozen=True)
class SearchResult:
    """The result of a line search.

    Parameters
    ----------
    alpha : float
        The distance along the direction. If no trial satisfies the conditions, it is the distance of the lowest value,
        or 0 if no value was lower than the first.
    message : str
        Why the conditions do not hold at alpha; empty if they hold.
    """

    alpha: float
    message: str


def strong_wolfe(phi: Phi, value: float, slope: float, alpha: float = 1.0, c1: float = 1e-4, c2: float = 0.9,
                 noise: float = 0.0, max_evaluations: int = 20) -> SearchResult:
    """Search for an alpha that satisfies the strong Wolfe conditions.

    Parameters
    ----------
    phi : callable
        Returns the value and the slope at an alpha, two floats. An alpha whose value or slope is not finite counts as
        too large.
    value, slope : float
        The value and the slope at 0.
    alpha : float, default 1.0
        The first alpha to try, above 0.
    c1, c2 : float, default 1e-4 and 0.9
        The constants of the conditions, 0 < c1 < c2 < 1.
    noise : float, default 0.0
        Values that differ by at most `noise` count as equal, and the slopes decide. These are the approximate Wolfe
        conditions of Hager & Zhang (2005). They let a search end if the decrease is less than the rounding errors.
    max_evaluations : int, default 20
        The largest number of calls of phi.

    Returns
    -------
    SearchResult
        The alpha. It was the argument of the last call of phi, unless no trial satisfies the conditions.

    Notes
    -----
    ::

        phi(alpha) <= phi(0) + c1 alpha phi'(0)   and   |phi'(alpha)| <= c2 |phi'(0)|

    These are algorithms 3.5 and 3.6 of Nocedal & Wright (2006) in one loop. The minimum is between `low`, the lowest
    trial that satisfies the first condition, and `high`. The trials grow as long as `high` is infinite. New trials come
    from cubic interpolation. If the interval does not become a third shorter in two trials, it is halved (More &
    Thuente 1994).

    References
    ----------
    Hager, W. W., & Zhang, H. (2005). A new conjugate gradient method with guaranteed descent and an efficient line
    search. SIAM Journal on Optimization 16(1), 170-192.

    More, J. J., & Thuente, D. J. (1994). Line search algorithms with guaranteed sufficient decrease. ACM Transactions
    on Mathematical Software 20(3), 286-307.

    Nocedal, J., & Wright, S. J. (2006). Numerical Optimization, 2nd edition. Springer.

    Examples
    --------
    >>> from optimizers.line_search import strong_wolfe
    >>> strong_wolfe(lambda alpha: ((alpha - 3) ** 2, 2 * (alpha - 3)), value=9.0, slope=-6.0, c2=0.1)
    SearchResult(alpha=3.0, message='')
    """
    if not slope < 0:
        return SearchResult(0.0, "the direction is not a descent direction")
    low, high = Trial(0.0, value, slope), Trial(math.inf, math.inf, math.inf)
    best, widths = low, [math.inf, math.inf]
    for _ in range(max_evaluations):
        trial, previous = _evaluate(phi, alpha), low
        if trial.value > min(value + c1 * alpha * slope, low.value) + noise:
            high = trial
        elif abs(trial.slope) <= -c2 * slope:
            return SearchResult(alpha, "")
        else:
            if trial.slope * (high.alpha - low.alpha) >= 0:
                high = low
            low = trial
        if trial.value < best.value:
            best = trial
        width = abs(high.alpha - low.alpha)
        if math.isinf(width):
            alpha = _extrapolate(previous, low, noise)
        elif math.isinf(high.value):
            alpha = low.alpha + 0.25 * (high.alpha - low.alpha)
        elif width > 0.66 * widths[-2]:
            alpha = (low.alpha + high.alpha) / 2
        else:
            alpha = _interpolate(low, high, noise)
        widths.append(width)
        if alpha in (low.alpha, high.alpha):  # there is no floating-point number between them
            break
    return SearchResult(best.alpha, f"no alpha satisfied the strong Wolfe conditions within {max_evaluations} "
                                    "evaluations")


def armijo(phi: Phi, value: float, slope: float, alpha: float = 1.0, c1: float = 1e-4, noise: float = 0.0,
           max_evaluations: int = 20) -> SearchResult:
    """Search for an alpha with a sufficient decrease, by backtracking from the first alpha.

    Parameters
    ----------
    phi : callable
        Returns the value and the slope at an alpha, two floats. Only the value is used. An alpha whose value is not
        finite counts as too large.
    value, slope : float
        The value and the slope at 0.
    alpha : float, default 1.0
        The first alpha to try, above 0.
    c1 : float, default 1e-4
        The constant of the condition, in (0, 1).
    noise : float, default 0.0
        A value may be higher by this much.
    max_evaluations : int, default 20
        The largest number of calls of phi.

    Returns
    -------
    SearchResult
        The first alpha that satisfies the condition.

    Notes
    -----
    ::

        phi(alpha) <= phi(0) + c1 alpha phi'(0)

    The next alpha is the minimum of the parabola through phi(0), phi'(0) and the last value, but at least a tenth and
    at most half of the last alpha: section 3.5 of Nocedal & Wright (2006).

    References
    ----------
    Armijo, L. (1966). Minimization of functions having Lipschitz continuous first partial derivatives. Pacific Journal
    of Mathematics 16(1), 1-3.

    Nocedal, J., & Wright, S. J. (2006). Numerical Optimization, 2nd edition. Springer.

    Examples
    --------
    >>> from optimizers.line_search import armijo
    >>> armijo(lambda alpha: ((alpha - 3) ** 2, 2 * (alpha - 3)), value=9.0, slope=-6.0, alpha=8.0)
    SearchResult(alpha=3.0, message='')
    """
    if not slope < 0:
        return SearchResult(0.0, "the direction is not a descent direction")
    best = Trial(0.0, value, slope)
    for _ in range(max_evaluations):
        trial = _evaluate(phi, alpha)
        if trial.value <= value + c1 * alpha * slope + noise:
            return SearchResult(alpha, "")
        if trial.value < best.value:
            best = trial
        excess = trial.value - value - alpha * slope  # phi(alpha) minus the tangent at 0; infinite if phi(alpha) is
        alpha *= min(max(-slope * alpha / (2 * excess), 0.1), 0.5) if excess > 0 else 0.5
    return SearchResult(best.alpha, f"no alpha gave a sufficient decrease within {max_evaluations} evaluations")


def _evaluate(phi: Phi, alpha: float) -> Trial:
    """Return the trial at alpha, with an infinite value if its value or slope is not finite."""
    value, slope = phi(alpha)
    return Trial(alpha, value, slope) if math.isfinite(value) and math.isfinite(slope) else Trial(alpha, math.inf, 0.0)


def _cubic(a: Trial, b: Trial, noise: float) -> float:
    """Return the minimum of the cubic through two trials, NaN if there is none. Nocedal & Wright (3.59).

    If the values are equal, return the minimum of the parabola with both slopes.
    """
    if abs(b.value - a.value) <= noise:
        return b.alpha - (b.alpha - a.alpha) * b.slope / (b.slope - a.slope) if b.slope != a.slope else math.nan
    d1 = a.slope + b.slope - 3 * (a.value - b.value) / (a.alpha - b.alpha)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return math.nan
    d2 = math.copysign(math.sqrt(square), b.alpha - a.alpha)
    denominator = b.slope - a.slope + 2 * d2
    return b.alpha - (b.alpha - a.alpha) * (b.slope + d2 - d1) / denominator if denominator else math.nan


def _interpolate(low: Trial, high: Trial, noise: float) -> float:
    """Return the next alpha between two trials, not equal to either."""
    alpha, width = _cubic(low, high, noise), high.alpha - low.alpha
    fraction = (alpha - low.alpha) / width if width else math.nan
    return low.alpha + width * (min(max(fraction, 0.001), 0.999) if math.isfinite(fraction) else 0.5)


def _extrapolate(previous: Trial, low: Trial, noise: float) -> float:
    """Return the next alpha beyond `low`, if both slopes point beyond it."""
    alpha, step = _cubic(previous, low, noise), low.alpha - previous.alpha
    return min(max(alpha, low.alpha + 1.1 * step), low.alpha + 9 * step) if alpha > low.alpha else low.alpha + 9 * step
