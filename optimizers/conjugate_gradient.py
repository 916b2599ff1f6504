"""Nonlinear conjugate gradient: each direction is the gradient's, bent so as not to undo what the last one gained."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from optimizers.base import Array, Point, choice, number, scalar, vector
from optimizers.line_search import LineSearchMethod

# beta as a numerator and a denominator: of the gradient before a step along d, g after it, and y = g - before
BETAS: dict[str, Callable[[Array, Array, Array, Array], tuple[float, float]]] = {
    "polak-ribiere": lambda before, g, y, d: (max(float(g @ y), 0.0), float(before @ before)),
    "fletcher-reeves": lambda before, g, y, d: (_unless_lost(before, g), float(before @ before)),
    "hestenes-stiefel": lambda before, g, y, d: (max(float(g @ y), 0.0), float(d @ y)),
    "dai-yuan": lambda before, g, y, d: (_unless_lost(before, g), float(d @ y)),
}


def _unless_lost(before: Array, g: Array) -> float:
    """g^T g, but 0 where successive gradients are far from orthogonal, as on a quadratic they would be: Powell (1977).

    Without it these two, once they take short steps, go on doing so; where y is above, beta is then near 0 anyway.
    """
    square = float(g @ g)
    return square if abs(float(g @ before)) < 0.2 * square else 0.0


@dataclass(eq=False, kw_only=True)
class ConjugateGradient(LineSearchMethod):
    """d := -g + beta d
    theta := theta + alpha d, where with y = g - g_before, the change of g in the step along d, beta is

        polak-ribiere       max(g^T y, 0) / g_before^T g_before     Polak & Ribiere (1969), as PR+
        fletcher-reeves     g^T g / g_before^T g_before             Fletcher & Reeves (1964)
        hestenes-stiefel    max(g^T y, 0) / d^T y                   Hestenes & Stiefel (1952)
        dai-yuan            g^T g / d^T y                           Dai & Yuan (1999)

    On a quadratic with exact search all four are the same, and it ends in P steps. Nocedal & Wright (2006), chapter 5,
    of which this is algorithm 5.4 with their first alpha: the one that would change the value, to first order, as
    the last step did. beta is taken from both ends of a step on one objective, so that it means the same on batches.
    PR+, with the max, is of Gilbert & Nocedal (1992); without it beta may be below 0.
    It restarts where d does not lead down, and where beta is 0: in PR+ by itself, in the two without y above by a test.
    To restart every P steps as well took more steps on the 18 problems of benchmarks.functions. The c2 of 0.2 is
    measured; 0.1 is usual, and SciPy has 0.4.
    """

    c2: float = number(0.2, above=0, below=1)
    beta: str = choice("polak-ribiere", BETAS)
    d: Array = vector()
    weight: float = scalar(0.0)  # beta, for the next direction
    gain: float = scalar(0.0)  # alpha g^T d of the last step

    def direction(self, gradient: Array) -> Array:
        self.d *= self.weight
        self.d -= gradient
        if not gradient @ self.d < 0:
            np.negative(gradient, out=self.d)
        return self.d

    def first(self, slope: float) -> float | None:
        return self.gain / slope if self.gain else None

    def learn(self, begin: Point, end: Point, slope: float, alpha: float) -> None:
        self.gain = alpha * slope
        before, g = begin.gradient, end.gradient
        above, below = BETAS[self.beta](before, g, g - before, self.d)
        self.weight = above / below if below > 0 else 0.0

    def forget(self) -> None:
        self.weight = self.gain = 0.0
