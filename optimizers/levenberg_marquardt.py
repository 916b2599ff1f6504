"""Levenberg-Marquardt: Gauss-Newton steps on a sum of squares, damped as far as they cannot be trusted."""

from dataclasses import dataclass

import numpy as np

from optimizers.base import Array, Objective, Point, choice, number, vector, whole
from optimizers.trust_region import LIMIT, Model, TrustRegion, krylov

FORMS = ("auto", "qr", "dual", "products")
WORK = 4e9  # multiplications in a factorization up to which "auto" takes the Jacobian


@dataclass(eq=False, kw_only=True)
class LevenbergMarquardt(TrustRegion):
    """theta := theta + p, where (J^T J + lambda D^2) p = -J^T r

    J is the Jacobian (M, P) of the residuals r, and D the largest norm that each of its columns has had, so that the
    path does not depend on the units of the parameters: Marquardt (1963), in the trust-region form of More (1978), as
    in MINPACK. lambda is 0 where |D p| <= radius, or else such that |D p| = radius, and the gain of a step sets the
    radius, which begins at `factor` |D theta|; MINPACK's factor of 100 fails from some far starts. Nielsen (1999) and
    most short implementations change lambda itself instead.

    form: "qr" factors J D^-1 by QR and the triangle by SVD, and so never squares its condition number; "dual" solves
    for the residuals' M coordinates, from J D^-2 J^T, where they are fewer than the parameters; "products" takes only
    products with the generalized Gauss-Newton matrix G = J^T H_L J (Schraudolph 2002), at most `inner` a step, and is
    for any loss, such as cross-entropy: conjugate gradients on (G + lambda D^2) p = -g, preconditioned by D^2, until
    the residual is `forcing` times the gradient. D^2 is there an estimate of the norms of the rows of G, from one
    product with random signs in every step. "auto" chooses from the sizes. `uses` says which it was.
    """

    form: str = choice("auto", FORMS)
    inner: int = whole(100, least=1)
    forcing: float = number(0.3, least=0, below=1)
    factor: float = number(1, above=0)
    D: Array = vector()

    def model(self, objective: Objective, here: Point) -> Model:
        self.uses = self._choose(objective)
        return self._products(objective, here) if self.uses == "products" else self._exact(objective)

    def _choose(self, objective: Objective) -> str:
        if self.form != "auto":
            return self.form
        try:
            M = len(objective.residuals())
        except ValueError:  # the loss is no sum of squares
            return "products"
        P = len(objective.theta)
        if M * P * min(M, P) > WORK or 3 * 8 * M * P > LIMIT:
            return "products"
        return "dual" if M < P else "qr"

    def _scale(self, theta: Array) -> Array:
        """D as a divisor, 1 where it is still 0; sets the first radius."""
        D = np.where(self.D > 0, self.D, self.D.dtype.type(1))
        self.radius = self.radius or self.factor * (float(np.linalg.norm(D * theta)) or 1.0)
        return D

    def _exact(self, objective: Objective) -> Model:
        """The model from the whole Jacobian, in the coordinates D theta."""
        r = objective.residuals().astype(float)
        M, P = len(r), len(objective.theta)
        self._check_memory(3 * 8 * M * P, "products")
        J = objective.jacobian().astype(float)
        if not np.isfinite(J).all():
            raise np.linalg.LinAlgError
        np.maximum(self.D, np.sqrt(np.einsum("ij,ij->j", J, J)), out=self.D, casting="same_kind")
        D = self._scale(objective.theta)
        J /= D
        if self.uses == "qr":
            R = np.asarray(np.linalg.qr(np.column_stack([J, r]), mode="r"))  # its last column is Q^T r
            U, s, basis = np.linalg.svd(R[:, :P], full_matrices=False)
            c = U.T @ R[:, P]
            lost = np.finfo(float).eps * max(M, P) * s[0]
        else:
            w, U = np.linalg.eigh(J @ J.T)
            s = np.sqrt(np.maximum(w, 0))
            c = U.T @ r
            lost = np.sqrt(np.finfo(float).eps * M) * s[-1]
            basis = (U / np.where(s > lost, s, np.inf)).T @ J
        s[s <= lost] = 0  # singular values that are rounding alone give no direction
        return Model(s**2, s * c, basis, D)

    def _products(self, objective: Objective, here: Point) -> Model:
        """The model from products, in the coordinates D theta: its conjugate gradients are preconditioned by D^2."""
        objective = self.curved(objective)
        self._estimate(objective)
        D = self._scale(here.theta)
        gradient = here.gradient / D
        tolerance = self.forcing * float(np.linalg.norm(gradient))
        return Model(*krylov(lambda v: objective.gauss_newton_product(v / D) / D, gradient, self.radius, tolerance,
                             min(self.inner, len(D))), D)

    def _estimate(self, objective: Objective) -> None:
        """D from (sum_j G_ij^2)^(1/4): the expectation of (G z)^2, z random signs, as the mean over the steps."""
        signs = np.random.default_rng(self.t).choice(np.array([-1, 1], self.D.dtype), self.D.size)
        rows = np.square(objective.gauss_newton_product(signs))
        self.D[:] = (self.D**4 + (rows - self.D**4) / self.t) ** 0.25
        np.maximum(self.D, self.D.max() / 100, out=self.D)  # an estimate: rounding alone must not open a direction
