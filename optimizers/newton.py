"""Newton's method: the minimum of the second-order model of the value, as far as that model can be trusted."""

from collections.abc import Callable
from dataclasses import dataclass
import math

import numpy as np

from optimizers.base import Array, Objective, Point, choice, whole
from optimizers.trust_region import Model, TrustRegion, krylov

CURVATURES = ("hessian", "gauss-newton")
FORMS = ("auto", "dense", "cg")
DENSE = 200  # parameters up to which "auto" takes the matrix


@dataclass(eq=False, kw_only=True)
class Newton(TrustRegion):
    """theta := theta + p, where p minimizes g^T p + p^T H p / 2 with |p| <= radius

    curvature: what H is: "hessian", exact, whose negative curvature is followed to the boundary; or "gauss-newton",
    J^T H_L J, which has none.
    form: "dense" makes the matrix, of P products where the objective has no `hessian()`, and solves for p exactly from
    its eigenvalues (More & Sorensen 1983); "cg" takes products only, at most `inner` of them, until the residual is
    min(1/2, sqrt|g|) |g| (Dembo, Eisenstat & Steihaug 1982); "auto" is dense for at most 200 parameters. `uses` says
    which it was.

    The trust region is that of Conn, Gould & Toint (2000). The inner conjugate gradients are those of Steihaug (1983)
    and Toint (1981), and end where these reach the boundary, at the best point of their space (`krylov` in
    trust_region.py). SciPy's Newton-CG and most textbooks search along a line instead, and stop at negative curvature.
    """

    curvature: str = choice("hessian", CURVATURES)
    form: str = choice("auto", FORMS)
    inner: int = whole(100, least=1)

    def start(self, theta: Array) -> None:
        if self.form == "dense":
            self.uses = "dense"
            self._check_memory(3 * 8 * theta.size**2, "cg")
        super().start(theta)

    def model(self, objective: Objective, here: Point) -> Model:
        P = len(here.theta)
        self.uses = ("dense" if P <= DENSE else "cg") if self.form == "auto" else self.form
        # the dense form tries another radius at the cost of a value; the other spends products within the first
        factor = 100 if self.uses == "dense" else 1
        self.radius = self.radius or factor * max(1.0, float(np.linalg.norm(here.theta)))
        objective = self.curved(objective)
        product = objective.hessian_product if self.curvature == "hessian" else objective.gauss_newton_product
        if self.uses == "cg":
            size = float(np.linalg.norm(here.gradient))
            return Model(*krylov(product, here.gradient, self.radius, min(0.5, math.sqrt(size)) * size,
                                 min(self.inner, P), along=False))
        self._check_memory(3 * 8 * P * P, "cg")
        w, U = np.linalg.eigh(self._matrix(objective, product, P))
        b = U.T @ here.gradient.astype(float)
        # what is rounding alone is no curvature, nor, where it comes out negative, a way to the boundary
        lost = P * float(np.finfo(here.theta.dtype).eps)
        flat = np.abs(w) <= lost * np.abs(w).max()
        w[flat] = 0
        b[flat & (np.abs(b) <= lost * np.abs(b).max())] = 0
        return Model(w, b, U.T)

    def _matrix(self, objective: Objective, product: Callable[[Array], Array], P: int) -> Array:
        """H, symmetric, (P, P)."""
        if self.curvature == "hessian" and hasattr(objective, "hessian"):
            H = np.array(objective.hessian(), dtype=float)
        else:
            H = np.empty((P, P))
            for row, unit in zip(H, np.eye(P, dtype=objective.theta.dtype)):
                row[:] = product(unit)
        if not np.isfinite(H).all():
            raise np.linalg.LinAlgError
        return (H + H.T) / 2
