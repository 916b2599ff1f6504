"""The trust-region subproblem: a quadratic model of the value, and its minimum within a radius."""

from collections.abc import Callable
from dataclasses import dataclass
import math

import numpy as np


@dataclass(frozen=True)
class QuadraticModel:
    """A quadratic model of the value around theta, in the coordinates of eigenvectors.

    Parameters
    ----------
    w : ndarray of shape (n,)
        The eigenvalues of the curvature, float64.
    b : ndarray of shape (n,)
        The gradient in these coordinates, float64.
    basis : ndarray of shape (n, P)
        The eigenvectors: orthonormal rows.
    scale : ndarray of shape (P,) or float, default 1.0
        The factors by which steps are scaled, above 0.

    Notes
    -----
    From theta to theta + (y @ basis) / scale the model changes by b^T y + sum(w y^2) / 2. The rows of the basis are
    orthonormal, so |y| is the norm of scale times the step.
    """

    w: np.ndarray
    b: np.ndarray
    basis: np.ndarray
    scale: np.ndarray | float = 1.0


def solve_subproblem(w: np.ndarray, b: np.ndarray, radius: float) -> tuple[np.ndarray, float]:
    """Minimize b^T y + sum(w y^2) / 2 over all y with |y| <= radius.

    Parameters
    ----------
    w : ndarray of shape (n,)
        The curvature along each coordinate, of any sign.
    b : ndarray of shape (n,)
        The slope along each coordinate.
    radius : float
        The largest norm of y, above 0.

    Returns
    -------
    y : ndarray of shape (n,)
        A minimizer, exact except for rounding errors.
    multiplier : float
        The number, at least 0, for which (w + multiplier) y = -b. It is 0 if |y| < radius, and w + multiplier >= 0.

    Notes
    -----
    If the minimizer is on the boundary, the multiplier is the root of 1 / |y| = 1 / radius. Newton's method starts
    below the root and increases towards it without passing it. The hard case: if b is zero along the eigenvector of the
    smallest w, and that w is negative, then y may be inside the radius. A multiple of the eigenvector is then added, so
    that y is on the boundary.

    References
    ----------
    More, J. J., & Sorensen, D. C. (1983). Computing a trust region step. SIAM Journal on Scientific and Statistical
    Computing 4(3), 553-572.

    Examples
    --------
    >>> import numpy as np
    >>> from optimizers.subproblem import solve_subproblem
    >>> solve_subproblem(w=np.array([1.0, 2.0]), b=np.array([-3.0, 0.0]), radius=1.0)
    (array([1., 0.]), 2.0)
    """
    shift = min(float(w.min()), 0.0)
    w = w - shift  # from here on the multiplier is measured from -shift, which avoids cancellation near a pole
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


def _quotient(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a / b, but 0 for each element of a that is 0."""
    quotient = np.zeros_like(a)
    with np.errstate(divide="ignore", over="ignore"):  # an infinite coordinate is outside every radius
        np.divide(a, b, out=quotient, where=a != 0)
    return quotient


def lanczos(product: Callable[[np.ndarray], np.ndarray], gradient: np.ndarray, radius: float, tolerance: float,
            limit: int, along: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make a quadratic model on a Krylov space that is large enough for the minimum within a radius.

    Parameters
    ----------
    product : callable
        Returns the product of the curvature, a symmetric matrix, and a vector (P,).
    gradient : ndarray of shape (P,)
        The gradient g.
    radius : float
        The largest norm of a step, above 0.
    tolerance : float
        The largest residual, at least 0: the space is large enough if the minimizer p in it, with its multiplier, has
        |(curvature + multiplier I) p + g| <= tolerance.
    limit : int
        The largest number of products, at least 1.
    along : bool, default True
        Whether to continue after the minimizer has reached the boundary. If False, the space is then large enough.

    Returns
    -------
    w, b : ndarray of shape (n,)
        See `QuadraticModel`.
    basis : ndarray of shape (n, P)
        See `QuadraticModel`; n is the number of products.

    Raises
    ------
    numpy.linalg.LinAlgError
        If a product is not finite.

    Notes
    -----
    These are conjugate gradients in the form of Lanczos, with complete orthogonalization. As long as the iterates
    are inside the radius, the minimizer is the last iterate. If they leave the radius, or the curvature is negative, it
    is the best point of the space on the boundary (Gould et al. 1999); Steihaug (1983) and Toint (1981) take the point
    at which the iterates cross the boundary. The space does not depend on the multiplier, so a smaller radius needs no
    further products.

    References
    ----------
    Gould, N. I. M., Lucidi, S., Roma, M., & Toint, P. L. (1999). Solving the trust-region subproblem using the Lanczos
    method. SIAM Journal on Optimization 9(2), 504-525.

    Steihaug, T. (1983). The conjugate gradient method and trust regions in large scale optimization. SIAM Journal on
    Numerical Analysis 20(3), 626-637.

    Toint, P. L. (1981). Towards an efficient sparsity exploiting Newton method for minimization. In Sparse Matrices and
    their Uses, Academic Press, 57-88.

    Examples
    --------
    >>> import numpy as np
    >>> from optimizers.subproblem import lanczos
    >>> H, g = np.diag([1.0, 2.0, 2.0]), np.array([1.0, 1.0, 0.0])
    >>> w, b, basis = lanczos(H.dot, g, radius=10.0, tolerance=1e-9, limit=3)
    >>> w.round(9), basis.shape
    (array([1., 2.]), (2, 3))
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
        for _ in range(2):  # the second time removes the rounding errors of the first
            v = v - (Q[:k] @ v) @ Q[:k]
        beta = T[k, k - 1] = T[k - 1, k] = float(np.linalg.norm(v))
        if not (math.isfinite(beta) and math.isfinite(T[k - 1, k - 1])):
            raise np.linalg.LinAlgError("the product is not finite")
        w, U = np.linalg.eigh(T[:k, :k])
        b = length * U[0]
        y, multiplier = solve_subproblem(w, b, radius)
        solved = beta * abs(float(U[k - 1] @ y)) <= tolerance or (multiplier > 0 and not along)
        if solved or k == limit or beta <= np.finfo(v.dtype).eps * np.abs(w).max():
            return w, b, U.T.astype(Q.dtype) @ Q[:k]
