"""Newton's method: the minimum of the second-order model of the value, within a trust region."""

import math
from typing import Literal

import numpy as np

from optimizers.fields import Count
from optimizers.objective import Objective
from optimizers.second_order import Point
from optimizers.subproblem import QuadraticModel, lanczos
from optimizers.trust_region import TrustRegion

MAX_DENSE = 200  # the largest number of parameters for which form="auto" makes the matrix


class Newton(TrustRegion):
    """Newton's method in a trust region.

    Parameters
    ----------
    max_gigabytes : float, default 1.0
        A step whose matrices would take more memory raises a ValueError; above 0.
    sample : float, default 1.0
        The share of the examples from which the curvature is computed, in (0, 1]; a new sample in each step.
    curvature : {"hessian", "gauss-newton"}, default "hessian"
        H: the exact Hessian, along whose negative curvature steps go to the boundary, or J^T H_L J, which has no
        negative curvature.
    form : {"auto", "dense", "cg"}, default "auto"
        "dense" makes the matrix and solves for p exactly; "cg" uses only products with H; "auto" is "dense" for at most
        200 parameters.
    inner : int, default 100
        The largest number of products in a step of the form "cg", at least 1.

    Notes
    -----
    ::

        theta := theta + p, with the p that minimizes g^T p + p^T H p / 2 over all |p| <= radius

    The radius is that of Conn et al. (2000), see `TrustRegion`. The dense form solves the subproblem from the
    eigenvalues of H (More & Sorensen 1983). The form "cg" ends if the residual is at most ``min(1/2, sqrt|g|) |g|``
    (Dembo et al. 1982), or if it reaches the boundary, as in Steihaug (1983). In both cases it takes the best point of
    its space within the radius, see `lanczos`. SciPy's Newton-CG and most textbooks use a line search instead, and stop
    at negative curvature. torch, Keras and optax have no Newton's method. `form_used` is the form of the last step.

    References
    ----------
    Conn, A. R., Gould, N. I. M., & Toint, P. L. (2000). Trust-Region Methods. SIAM.

    Dembo, R. S., Eisenstat, S. C., & Steihaug, T. (1982). Inexact Newton methods. SIAM Journal on Numerical Analysis
    19(2), 400-408.

    More, J. J., & Sorensen, D. C. (1983). Computing a trust region step. SIAM Journal on Scientific and Statistical
    Computing 4(3), 553-572.

    Steihaug, T. (1983). The conjugate gradient method and trust regions in large scale optimization. SIAM Journal on
    Numerical Analysis 20(3), 626-637.

    Examples
    --------
    >>> import numpy as np
    >>> from optimizers import Function, Newton, minimize
    >>> f = Function([1.0, 2.0], value=lambda theta: np.cosh(theta).sum(), gradient=np.sinh,
    ...              hessian=lambda theta: np.diag(np.cosh(theta)))
    >>> result = minimize(f, Newton())
    >>> result.converged, result.steps
    (True, 5)
    """

    curvature: Literal["hessian", "gauss-newton"] = "hessian"
    form: Literal["auto", "dense", "cg"] = "auto"
    inner: Count = 100

    def start(self, theta: np.ndarray) -> None:
        if self.form == "dense":
            self._check_dense(theta.size)
        super().start(theta)

    def _check_dense(self, P: int) -> None:
        self.check_memory("form='dense'", 3 * 8 * P * P, "form='cg'")

    def model(self, objective: Objective, point: Point) -> QuadraticModel:
        P = len(point.theta)
        self.form_used = ("dense" if P <= MAX_DENSE else "cg") if self.form == "auto" else self.form
        # in the dense form a smaller radius costs one value; in the form "cg" the products depend on the first radius
        factor = 100 if self.form_used == "dense" else 1
        self.radius = self.radius or factor * max(1.0, float(np.linalg.norm(point.theta)))
        objective = self.curvature_objective(objective)
        if self.form_used == "cg":
            product = objective.hessian_product if self.curvature == "hessian" else objective.gauss_newton_product
            size = float(np.linalg.norm(point.gradient))
            return QuadraticModel(*lanczos(product, point.gradient, self.radius, min(0.5, math.sqrt(size)) * size,
                                           min(self.inner, P), along=False))
        self._check_dense(P)
        w, U = np.linalg.eigh(self._matrix(objective))
        b = U.T @ point.gradient.astype(float)
        # a curvature that is a rounding error is zero: if it were negative, it would lead to the boundary
        rounding = P * float(np.finfo(point.theta.dtype).eps)
        negligible = np.abs(w) <= rounding * np.abs(w).max()
        w[negligible] = 0
        b[negligible & (np.abs(b) <= rounding * np.abs(b).max())] = 0
        return QuadraticModel(w, b, U.T)

    def _matrix(self, objective: Objective) -> np.ndarray:
        """Return H, symmetric, (P, P)."""
        objective.max_gigabytes = self.max_gigabytes
        matrix = objective.hessian() if self.curvature == "hessian" else objective.gauss_newton()
        H = np.array(matrix, dtype=float)
        if not np.isfinite(H).all():
            raise np.linalg.LinAlgError("the curvature is not finite")
        symmetric: np.ndarray = (H + H.T) / 2
        return symmetric
