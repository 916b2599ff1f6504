"""Nonlinear conjugate gradient: each direction is minus the gradient plus a multiple of the last direction."""

from collections.abc import Callable
from typing import Literal

import numpy as np

from optimizers.fields import PositiveFraction
from optimizers.line_search_method import LineSearchMethod
from optimizers.second_order import Point
from optimizers.state import scalar, vector

# the numerator and the denominator of beta, from the gradients before and after a step along d, and y = g - before
BETAS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], tuple[float, float]]] = {
    "polak-ribiere": lambda before, g, y, d: (max(float(g @ y), 0.0), float(before @ before)),
    "fletcher-reeves": lambda before, g, y, d: (_squared_norm(before, g), float(before @ before)),
    "hestenes-stiefel": lambda before, g, y, d: (max(float(g @ y), 0.0), float(d @ y)),
    "dai-yuan": lambda before, g, y, d: (_squared_norm(before, g), float(d @ y)),
}


def _squared_norm(before: np.ndarray, g: np.ndarray) -> float:
    """Return g^T g, but 0 if successive gradients are far from orthogonal (Powell 1977).

    Without this restart, the two methods with g^T g take only short steps after one short step. The other two do not
    need it: their numerator contains y, so that beta is close to 0 after a short step.
    """
    square = float(g @ g)
    return square if abs(float(g @ before)) < 0.2 * square else 0.0


class ConjugateGradient(LineSearchMethod):
    """Nonlinear conjugate gradient.

    Parameters
    ----------
    max_gigabytes : float, default 1.0
        A step whose matrices would take more memory raises a ValueError; above 0. This method has none.
    c1 : float, default 1e-4
        Constant of the first strong Wolfe condition, on the value, in (0, 1); see `strong_wolfe`.
    c2 : float, default 0.2
        Constant of the second strong Wolfe condition, on the slope, in (0, 1).
    max_evaluations : int, default 20
        The largest number of points in one line search, at least 1.
    beta : {"polak-ribiere", "fletcher-reeves", "hestenes-stiefel", "dai-yuan"}, default "polak-ribiere"
        The formula of beta.

    Notes
    -----
    ::

        d := -g + beta d
        theta := theta + alpha d

    alpha is found by `strong_wolfe`. With y = g - g_before, the change of g in the step along d, beta is

    ================  ====================================  ==========================
    polak-ribiere     max(g^T y, 0) / g_before^T g_before   Polak & Ribiere (1969), PR+
    fletcher-reeves   g^T g / g_before^T g_before           Fletcher & Reeves (1964)
    hestenes-stiefel  max(g^T y, 0) / d^T y                 Hestenes & Stiefel (1952)
    dai-yuan          g^T g / d^T y                         Dai & Yuan (1999)
    ================  ====================================  ==========================

    On a quadratic with exact line searches all four are equal, and P steps reach the minimum. This is algorithm 5.4 of
    Nocedal & Wright with their first alpha: to first order, it would change the value as much as the last step did.
    Both gradients of y belong to one objective, so the formulas are also valid on batches. The max is from PR+ (Gilbert
    & Nocedal 1992); without it beta could be negative.

    The method restarts from d = -g if d is not a descent direction, and if beta is 0. It does not restart every P
    steps: that took more steps on the 18 problems of benchmarks.functions. There a c2 of 0.2 needed the fewest
    evaluations; 0.1 is usual, and SciPy has 0.4. torch, Keras and optax have no conjugate gradient.

    References
    ----------
    Nocedal, J., & Wright, S. J. (2006). Numerical Optimization, 2nd edition. Springer.

    Polak, E., & Ribiere, G. (1969). Note sur la convergence de methodes de directions conjuguees. Revue francaise
    d'informatique et de recherche operationnelle 3(16), 35-43.

    Fletcher, R., & Reeves, C. M. (1964). Function minimization by conjugate gradients. The Computer Journal 7(2),
    149-154.

    Hestenes, M. R., & Stiefel, E. (1952). Methods of conjugate gradients for solving linear systems. Journal of
    Research of the National Bureau of Standards 49(6), 409-436.

    Dai, Y. H., & Yuan, Y. (1999). A nonlinear conjugate gradient method with a strong global convergence property. SIAM
    Journal on Optimization 10(1), 177-182.

    Gilbert, J. C., & Nocedal, J. (1992). Global convergence properties of conjugate gradient methods for optimization.
    SIAM Journal on Optimization 2(1), 21-42.

    Examples
    --------
    >>> import numpy as np
    >>> from optimizers import ConjugateGradient, Function, minimize
    >>> a = np.array([1.0, 10.0])
    >>> f = Function([1.0, -10.0], value=lambda theta: a @ theta**2 / 2, gradient=lambda theta: a * theta)
    >>> minimize(f, ConjugateGradient(), tolerance=1e-6).converged
    True
    """

    c2: PositiveFraction = 0.2
    beta: Literal["polak-ribiere", "fletcher-reeves", "hestenes-stiefel", "dai-yuan"] = "polak-ribiere"
    d: np.ndarray = vector()
    weight: float = scalar(0.0)  # beta, for the next direction
    gain: float = scalar(0.0)  # alpha g^T d of the last step

    def direction(self, gradient: np.ndarray) -> np.ndarray:
        self.d *= self.weight
        self.d -= gradient
        if not gradient @ self.d < 0:
            np.negative(gradient, out=self.d)
        return self.d

    def initial_step(self, slope: float) -> float | None:
        return self.gain / slope if self.gain else None

    def record_step(self, start: Point, end: Point, slope: float, alpha: float) -> None:
        self.gain = alpha * slope
        before, g = start.gradient, end.gradient
        numerator, denominator = BETAS[self.beta](before, g, g - before, self.d)
        self.weight = numerator / denominator if denominator > 0 else 0.0

    def reset(self) -> None:
        self.weight = self.gain = 0.0
