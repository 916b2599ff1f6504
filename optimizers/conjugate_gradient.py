"""Nonlinear conjugate gradient: each direction is the gradient's, with as much of the last as keeps what that gained."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from optimizers.base import Array, Point, choice, number, scalar, vector
from optimizers.line_search import LineSearchMethod

# beta, from g before the step, g after it, y = the difference, and d the direction between them
BETAS: dict[str, Callable[[Array, Array, Array, Array], tuple[float, float]]] = {
    "polak-ribiere": lambda before, g, y, d: (max(float(g @ y), 0.0), float(before @ before)),
    "fletcher-reeves": lambda before, g, y, d: (float(g @ g), float(before @ before)),
    "hestenes-stiefel": lambda before, g, y, d: (max(float(g @ y), 0.0), float(d @ y)),
    "dai-yuan": lambda before, g, y, d: (float(g @ g), float(d @ y)),
}


@dataclass(eq=False, kw_only=True)
class ConjugateGradient(LineSearchMethod):
    """d := -g + beta d
    theta := theta + alpha d
    """

    c2: float = number(0.1, above=0, below=1)
    beta: str = choice("polak-ribiere", BETAS)
    d: Array = vector()
    weight: float = scalar(0.0)  # beta, of d in the next direction
    gain: float = scalar(0.0)  # alpha g^T d of the last step
    powell: float = number(0.2)
    mode: int = 0

    def direction(self, gradient: Array) -> Array:
        self.d *= self.weight
        self.d -= gradient
        if not gradient @ self.d < 0:
            np.negative(gradient, out=self.d)
        return self.d

    def first(self, slope: float) -> float | None:
        return self.gain / slope if self.gain else None

    def learn(self, begin: Point, end: Point, slope: float, alpha: float) -> None:
        self.gain = (2 * (end.value - begin.value) if self.mode else alpha * slope)
        before, g = begin.gradient, end.gradient
        above, below = BETAS[self.beta](before, g, g - before, self.d)
        lost = abs(g @ before) > self.powell * (g @ g)
        self.weight = above / below if below > 0 and not lost else 0.0

    def forget(self) -> None:
        self.weight = self.gain = 0.0
