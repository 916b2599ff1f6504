"""Levenberg-Marquardt: Gauss-Newton steps on a sum of squares, within a trust region."""

from typing import Literal

import numpy as np

from optimizers.fields import Count, Fraction, Positive
from optimizers.objective import Objective
from optimizers.second_order import Point
from optimizers.state import vector
from optimizers.subproblem import QuadraticModel, lanczos
from optimizers.trust_region import TrustRegion

MAX_WORK = 4e9  # the largest number of multiplications in a factorization for which form="auto" makes the Jacobian


class LevenbergMarquardt(TrustRegion):
    """The method of Levenberg and Marquardt in a trust region.

    Parameters
    ----------
    max_gigabytes : float, default 1.0
        A step whose matrices would take more memory raises a ValueError; above 0.
    sample : float, default 1.0
        The share of the examples from which products are computed, in (0, 1]; a new sample in each step. Only the form
        "products" uses it.
    form : {"auto", "qr", "dual", "products"}, default "auto"
        "qr" factors the Jacobian, "dual" factors J J^T, for fewer residuals than parameters, and "products" uses only
        products with J^T H_L J, for any loss. "auto" chooses from the sizes.
    inner : int, default 100
        The largest number of products in a step of the form "products", at least 1.
    forcing : float, default 0.3
        The form "products" ends if the norm of the residual is at most this fraction of the norm of the gradient, in
        [0, 1).
    factor : float, default 1.0
        The first radius divided by ``|D theta|``, above 0.

    Notes
    -----
    ::

        theta := theta + p, where (J^T J + lambda D^2) p = -J^T r

    r are the residuals and J their Jacobian (M, P). D holds the largest norm of each column of J so far, so that the
    path does not depend on the units of the parameters (Marquardt 1963). This is the trust-region form of More (1978),
    as in MINPACK: lambda is 0 if ``|D p| <= radius``, and otherwise such that ``|D p| = radius``. MINPACK's factor is
    100, which fails from some distant starting points. Nielsen (1999) and most short implementations change lambda
    itself instead. torch, Keras and optax have no such method.

    "qr" takes the triangle R of [J, r] = Q R from the objective, divides its columns by D, and factors it by SVD, so
    the condition number is not squared. "dual" solves in the M coordinates of the residuals. "products" is for any
    loss, such as cross-entropy: conjugate gradients on (G + lambda D^2) p = -g, preconditioned by D^2, with the
    generalized Gauss-Newton matrix G = J^T H_L J (Schraudolph 2002). In this form D^2 is an estimate of the norms of
    the rows of G, from one product with random signs in each step. `form_used` is the form of the last step.

    References
    ----------
    Levenberg, K. (1944). A method for the solution of certain non-linear problems in least squares. Quarterly of
    Applied Mathematics 2(2), 164-168.

    Marquardt, D. W. (1963). An algorithm for least-squares estimation of nonlinear parameters. Journal of the Society
    for Industrial and Applied Mathematics 11(2), 431-441.

    More, J. J. (1978). The Levenberg-Marquardt algorithm: implementation and theory. In Numerical Analysis, Springer,
    105-116.

    Nielsen, H. B. (1999). Damping parameter in Marquardt's method. Technical University of Denmark, IMM-REP-1999-05.

    Schraudolph, N. N. (2002). Fast curvature matrix-vector products for second-order gradient descent. Neural
    Computation 14(7), 1723-1738.

    Examples
    --------
    >>> import numpy as np
    >>> from optimizers import Function, LevenbergMarquardt, minimize
    >>> x = np.array([0.0, 1.0, 2.0, 3.0])
    >>> y = 2 * np.exp(-0.5 * x)
    >>> f = Function([1.0, 0.0], residuals=lambda theta: theta[0] * np.exp(theta[1] * x) - y,
    ...              jacobian=lambda theta: np.exp(theta[1] * x)[:, None] * np.stack([x**0, theta[0] * x], axis=1))
    >>> minimize(f, LevenbergMarquardt()).theta.round(6)
    array([ 2. , -0.5])
    """

    form: Literal["auto", "qr", "dual", "products"] = "auto"
    inner: Count = 100
    forcing: Fraction = 0.3
    factor: Positive = 1.0
    D: np.ndarray = vector()

    def model(self, objective: Objective, point: Point) -> QuadraticModel:
        self.form_used, M = self._choose(objective)
        return self._products(objective, point) if self.form_used == "products" else self._exact(objective, M)

    def _choose(self, objective: Objective) -> tuple[str, int]:
        """Return the form, and the number of residuals, which is 0 for the form "products"."""
        if self.form == "products":
            return self.form, 0
        try:
            M, P = objective.residual_count(), len(objective.theta)
        except ValueError:  # the value is not a sum of squares
            if self.form != "auto":
                raise
            return "products", 0
        if self.form != "auto":
            return self.form, M
        if M * P * min(M, P) > MAX_WORK or self._bytes(M, P) > 1e9 * self.max_gigabytes:
            return "products", 0
        return "dual" if M < P else "qr", M

    @staticmethod
    def _bytes(M: int, P: int) -> int:
        """Return the memory of the forms "qr" and "dual": the Jacobian and two matrices of its size."""
        return 3 * 8 * M * P

    def _scale(self, theta: np.ndarray) -> np.ndarray:
        """Return D as a divisor, with 1 in place of 0, and set the first radius."""
        D = np.where(self.D > 0, self.D, self.D.dtype.type(1))
        self.radius = self.radius or self.factor * (float(np.linalg.norm(D * theta)) or 1.0)
        return D

    def _exact(self, objective: Objective, M: int) -> QuadraticModel:
        """Return the model from the Jacobian or its triangle, in the coordinates D theta."""
        P = len(objective.theta)
        self.check_memory(f"form={self.form_used!r}", self._bytes(M, P), "form='products'")
        objective.max_gigabytes = self.max_gigabytes
        if self.form_used == "qr":  # R^T R = [J, r]^T [J, r], so that R stands for them
            R = objective.residual_triangle()
            J, r = R[:, :P], R[:, P]
        else:
            r, J = objective.residuals().astype(float), objective.jacobian().astype(float)
        if not np.isfinite(J).all():
            raise np.linalg.LinAlgError("the Jacobian is not finite")
        np.maximum(self.D, np.sqrt(np.einsum("ij,ij->j", J, J)), out=self.D, casting="same_kind")
        D = self._scale(objective.theta)
        J /= D
        if self.form_used == "qr":
            U, s, basis = np.linalg.svd(J, full_matrices=False)
            rounding = np.finfo(float).eps * max(M, P) * s[0]
        else:
            w, U = np.linalg.eigh(J @ J.T)
            s = np.sqrt(np.maximum(w, 0))
            rounding = np.sqrt(np.finfo(float).eps * M) * s[-1]
            basis = (U / np.where(s > rounding, s, np.inf)).T @ J
        s[s <= rounding] = 0  # a singular value that is a rounding error gives no direction
        return QuadraticModel(s**2, s * (U.T @ r), basis, D)

    def _products(self, objective: Objective, point: Point) -> QuadraticModel:
        """Return the model from products, in the coordinates D theta: a preconditioning by D^2."""
        objective = self.curvature_objective(objective)
        self._estimate(objective)
        D = self._scale(point.theta)
        gradient = point.gradient / D
        tolerance = self.forcing * float(np.linalg.norm(gradient))
        return QuadraticModel(*lanczos(lambda v: objective.gauss_newton_product(v / D) / D, gradient, self.radius,
                                       tolerance, min(self.inner, len(D))), D)

    def _estimate(self, objective: Objective) -> None:
        """Set D to (sum_j G_ij^2)^(1/4). The sum is estimated by the mean over the steps of (G z)^2, z random signs."""
        signs = np.random.default_rng(self.t).choice(np.array([-1, 1], self.D.dtype), self.D.size)
        rows = np.square(objective.gauss_newton_product(signs))
        self.D[:] = (self.D**4 + (rows - self.D**4) / self.t) ** 0.25
        np.maximum(self.D, self.D.max() / 100, out=self.D)  # a smaller estimate may be a rounding error
