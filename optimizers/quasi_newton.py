"""Quasi-Newton methods: the inverse of the Hessian, estimated from the change of the gradient in each step."""

from abc import abstractmethod

import numpy as np

from optimizers.fields import Count
from optimizers.line_search_method import LineSearchMethod
from optimizers.second_order import Point
from optimizers.state import array, scalar


class QuasiNewton(LineSearchMethod):
    """Base of BFGS and LBFGS, which differ in how they store H, an estimate of the inverse of the Hessian.

    Parameters
    ----------
    max_gigabytes : float, default 1.0
        A step whose matrices would take more memory raises a ValueError; above 0.
    c1 : float, default 1e-4
        Constant of the first strong Wolfe condition, on the value, in (0, 1); see `strong_wolfe`.
    c2 : float, default 0.9
        Constant of the second strong Wolfe condition, on the slope, in (0, 1).
    max_evaluations : int, default 20
        The largest number of points in one line search, at least 1.

    Attributes
    ----------
    pairs : int
        The number of curvature pairs (s, y) that have been stored.

    Notes
    -----
    ::

        d := -H g
        theta := theta + alpha d
        s = alpha d, y = the change of g in the step: change H such that H y = s
    """

    pairs: int = scalar(0)

    @abstractmethod
    def store(self, s: np.ndarray, y: np.ndarray, sy: float, expected: float) -> None:
        """Change H such that H y = s.

        Parameters
        ----------
        s, y : ndarray of shape (P,)
            The change of theta and of the gradient in a step.
        sy : float
            s^T y, above 0: the curvature along the step.
        expected : float
            s^T H^-1 s, above 0: the curvature that H expected.
        """

    def initial_step(self, slope: float) -> float | None:
        return 1.0 if self.pairs else None

    def record_step(self, start: Point, end: Point, slope: float, alpha: float) -> None:
        s, y = np.subtract(end.theta, start.theta, out=self.scratch), end.gradient - start.gradient
        sy = float(s @ y)
        # if the curvature were not clearly above zero, H would become indefinite, or its entries very large
        if sy > float(np.finfo(s.dtype).eps) * float(np.sqrt((s @ s) * (y @ y))):
            self.store(s, y, sy, -alpha * alpha * slope)
            self.pairs += 1

    def reset(self) -> None:
        self.pairs = 0


class BFGS(QuasiNewton):
    """BFGS, the method of Broyden, Fletcher, Goldfarb and Shanno.

    Parameters
    ----------
    max_gigabytes : float, default 1.0
        A step whose matrices would take more memory raises a ValueError; above 0. H takes P^2 numbers.
    c1 : float, default 1e-4
        Constant of the first strong Wolfe condition, on the value, in (0, 1); see `strong_wolfe`.
    c2 : float, default 0.9
        Constant of the second strong Wolfe condition, on the slope, in (0, 1).
    max_evaluations : int, default 20
        The largest number of points in one line search, at least 1.

    Notes
    -----
    ::

        d := -H g
        theta := theta + alpha d
        H := (I - s y^T / s^T y) H (I - y s^T / s^T y) + s s^T / s^T y

    alpha is found by `strong_wolfe`, s = alpha d, and y is the change of g in the step. H (P, P) is an estimate of the
    inverse of the Hessian, so no system of equations is solved: the form (6.17) of Nocedal & Wright (2006). A curvature
    pair with s^T y close to or below 0 is not used. torch, Keras and optax have only L-BFGS or no such method.

    Before the first pair H is the identity times max(1, s^T y / y^T y). Their (6.20) is without the maximum; SciPy
    keeps the identity. BFGS corrects eigenvalues of H that are too large faster than those that are too small, so H is
    enlarged before each of the next P - 1 pairs, by max(1, s^T H^-1 s / s^T y): the self-scaling of Oren &
    Luenberger (1974), restricted to factors above 1 as by Al-Baali (1998). Later pairs leave the scale of H alone. The
    search first tries alpha = min(1, 2.02 (f_k - f_k-1) / g^T d), (3.60) of Nocedal & Wright, as SciPy's does.

    References
    ----------
    Broyden, C. G. (1970). The convergence of a class of double-rank minimization algorithms. IMA Journal of Applied
    Mathematics 6(1), 76-90.

    Fletcher, R. (1970). A new approach to variable metric algorithms. The Computer Journal 13(3), 317-322.

    Goldfarb, D. (1970). A family of variable-metric methods derived by variational means. Mathematics of Computation
    24(109), 23-26.

    Shanno, D. F. (1970). Conditioning of quasi-Newton methods for function minimization. Mathematics of Computation
    24(111), 647-656.

    Oren, S. S., & Luenberger, D. G. (1974). Self-scaling variable metric (SSVM) algorithms, part I. Management Science
    20(5), 845-862.

    Al-Baali, M. (1998). Numerical experience with a class of self-scaling quasi-Newton algorithms. Journal of
    Optimization Theory and Applications 96(3), 533-553.

    Nocedal, J., & Wright, S. J. (2006). Numerical Optimization, 2nd edition. Springer.

    Examples
    --------
    >>> import numpy as np
    >>> from optimizers import BFGS, Function, minimize
    >>> a = np.array([1.0, 10.0])
    >>> f = Function([1.0, -10.0], value=lambda theta: a @ theta**2 / 2, gradient=lambda theta: a * theta)
    >>> minimize(f, BFGS(), tolerance=1e-6).converged
    True
    """

    H: np.ndarray = array(lambda optimizer, P: (P, P))
    decrease: float = scalar(0.0)  # of the value in the last step

    def start(self, theta: np.ndarray) -> None:
        self.check_memory(f"its matrix for {theta.size:,} parameters", theta.size**2 * theta.itemsize, "lbfgs")
        super().start(theta)

    def direction(self, gradient: np.ndarray) -> np.ndarray:
        d = self.scratch
        np.negative(np.dot(self.H, gradient, out=d) if self.pairs else gradient, out=d)
        return d

    def initial_step(self, slope: float) -> float | None:
        if self.pairs and self.decrease > 0:
            return min(1.0, -2.02 * self.decrease / slope)
        return super().initial_step(slope)

    def record_step(self, start: Point, end: Point, slope: float, alpha: float) -> None:
        super().record_step(start, end, slope, alpha)
        self.decrease = start.value - end.value

    def store(self, s: np.ndarray, y: np.ndarray, sy: float, expected: float) -> None:
        H = self.H
        if not self.pairs:
            H[:] = 0
            np.fill_diagonal(H, max(1.0, sy / float(y @ y)))
        elif self.pairs < len(s):
            H *= max(1.0, expected / sy)
        # the formula is the same as H := H + u s^T + s u^T
        Hy = H @ y
        u = ((1 + float(y @ Hy) / sy) / 2 * s - Hy) / sy
        for i, row in enumerate(H):  # row by row, so that no second matrix is needed
            row += u[i] * s + s[i] * u


class LBFGS(QuasiNewton):
    """Limited-memory BFGS.

    Parameters
    ----------
    max_gigabytes : float, default 1.0
        A step whose matrices would take more memory raises a ValueError; above 0. This method has none.
    c1 : float, default 1e-4
        Constant of the first strong Wolfe condition, on the value, in (0, 1); see `strong_wolfe`.
    c2 : float, default 0.9
        Constant of the second strong Wolfe condition, on the slope, in (0, 1).
    max_evaluations : int, default 20
        The largest number of points in one line search, at least 1.
    memory : int, default 50
        The number of curvature pairs (s, y) that are kept, at least 1. They take 2 memory P numbers.

    Notes
    -----
    ::

        d := -H g
        theta := theta + alpha d

    H is not stored: it is the matrix that BFGS makes of the last `memory` pairs (s, y), starting from s^T y / y^T y of
    the last pair times the identity. The product H g is the two-loop recursion, algorithm 7.4 of Nocedal & Wright
    (2006). alpha is found by `strong_wolfe`.

    SciPy keeps 10 pairs by default, torch's LBFGS 100 (with alpha = lr unless line_search_fn is given) and optax's
    lbfgs 10. For a network a gradient costs more than a hundred operations on vectors, so 50 pairs save time.

    References
    ----------
    Nocedal, J. (1980). Updating quasi-Newton matrices with limited storage. Mathematics of Computation 35(151),
    773-782.

    Liu, D. C., & Nocedal, J. (1989). On the limited memory BFGS method for large scale optimization. Mathematical
    Programming 45, 503-528.

    Nocedal, J., & Wright, S. J. (2006). Numerical Optimization, 2nd edition. Springer.

    Examples
    --------
    >>> import numpy as np
    >>> from optimizers import Function, LBFGS, minimize
    >>> a = np.array([1.0, 10.0])
    >>> f = Function([1.0, -10.0], value=lambda theta: a @ theta**2 / 2, gradient=lambda theta: a * theta)
    >>> minimize(f, LBFGS(), tolerance=1e-6).converged
    True
    """

    memory: Count = 50
    S: np.ndarray = array(lambda optimizer, P: (optimizer.memory, P))  # pair k is in row k mod memory
    Y: np.ndarray = array(lambda optimizer, P: (optimizer.memory, P))

    def direction(self, gradient: np.ndarray) -> np.ndarray:
        d = self.scratch
        np.negative(gradient, out=d)
        newest_first = [k % self.memory for k in range(self.pairs - 1, max(self.pairs - self.memory, 0) - 1, -1)]
        terms = []
        for k in newest_first:
            s, y = self.S[k], self.Y[k]
            sy = float(s @ y)
            a = float(s @ d) / sy
            d -= a * y
            terms.append((s, y, sy, a))
        if terms:
            _, y, sy, _ = terms[0]
            d *= sy / float(y @ y)
        for s, y, sy, a in reversed(terms):
            d += (a - float(y @ d) / sy) * s
        return d

    def store(self, s: np.ndarray, y: np.ndarray, sy: float, expected: float) -> None:
        self.S[self.pairs % self.memory], self.Y[self.pairs % self.memory] = s, y
