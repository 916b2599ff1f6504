"""The 18 unconstrained problems of More, Garbow and Hillstrom, with their starting points and published minima.

J. J. More, B. S. Garbow, K. E. Hillstrom, Testing unconstrained optimization software, ACM Transactions on Mathematical
Software 7 (1981) 17-41. All are sums of squares, so a problem is its residuals r (M,) and their Jacobian (M, P).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from optimizers import Function


@dataclass(frozen=True)
class Problem:
    """A sum of squares r^T r with its starting point theta0 (P,) and its values at the known minima, lowest first."""

    theta0: np.ndarray
    residuals: Callable
    jacobian: Callable
    minima: tuple[float, ...] = (0.0,)

    def function(self):
        """Return the published function r^T r, with its gradient."""
        return Function(self.theta0, value=lambda x: np.sum(self.residuals(x) ** 2),
                        gradient=lambda x: 2 * self.jacobian(x).T @ self.residuals(x))

    def least_squares(self):
        """Return the function with residuals and Jacobian: its value is half of the published one."""
        return Function(self.theta0, residuals=self.residuals, jacobian=self.jacobian)

    def solved(self, value):
        """Return whether a value is that of a known minimum: to the published digits, or to 1e-10 if it is 0."""
        return any(abs(value - minimum) <= 1e-5 * minimum + 1e-10 * (minimum == 0) for minimum in self.minima)


PROBLEMS: dict[str, Problem] = {}


def problem(name, theta0, *minima):
    """Add a problem to the table. The decorated function returns the residuals and the Jacobian, two functions."""
    def add(make):
        PROBLEMS[name] = Problem(np.array(theta0, dtype=float), *make(), minima or (0.0,))
        return make
    return add


@problem("helical valley", [-1, 0, 0])
def helical_valley():
    def residuals(x):
        turn = np.arctan2(x[1], x[0]) / (2 * np.pi)
        turn += turn < -0.25  # the paper's branch: from -1/4 to 3/4
        return np.array([10 * (x[2] - 10 * turn), 10 * (np.hypot(x[0], x[1]) - 1), x[2]])

    def jacobian(x):
        radius = np.hypot(x[0], x[1])
        d_turn = np.array([-x[1], x[0]]) / (2 * np.pi * radius**2)
        return np.array([[*(-100 * d_turn), 10], [10 * x[0] / radius, 10 * x[1] / radius, 0], [0, 0, 1]])

    return residuals, jacobian


@problem("biggs exp6", [1, 2, 1, 1, 1, 1], 0.0, 5.65565e-3)
def biggs():
    t = 0.1 * np.arange(1, 14)
    y = np.exp(-t) - 5 * np.exp(-10 * t) + 3 * np.exp(-4 * t)

    def residuals(x):
        return x[2] * np.exp(-t * x[0]) - x[3] * np.exp(-t * x[1]) + x[5] * np.exp(-t * x[4]) - y

    def jacobian(x):
        a, b, c = (np.exp(-t * rate) for rate in (x[0], x[1], x[4]))
        return np.column_stack([-t * x[2] * a, t * x[3] * b, a, -b, -t * x[5] * c, c])

    return residuals, jacobian


@problem("gaussian", [0.4, 1, 0], 1.12793e-8)
def gaussian():
    half = [0.0009, 0.0044, 0.0175, 0.0540, 0.1295, 0.2420, 0.3521]
    y = np.array([*half, 0.3989, *half[::-1]])
    t = (8 - np.arange(1, 16)) / 2

    def residuals(x):
        return x[0] * np.exp(-x[1] * (t - x[2]) ** 2 / 2) - y

    def jacobian(x):
        u = t - x[2]
        bell = np.exp(-x[1] * u**2 / 2)
        return np.column_stack([bell, -x[0] * bell * u**2 / 2, x[0] * x[1] * bell * u])

    return residuals, jacobian


@problem("powell badly scaled", [0, 1])
def powell_badly_scaled():
    def residuals(x):
        return np.array([1e4 * x[0] * x[1] - 1, np.exp(-x[0]) + np.exp(-x[1]) - 1.0001])

    def jacobian(x):
        return np.array([[1e4 * x[1], 1e4 * x[0]], [-np.exp(-x[0]), -np.exp(-x[1])]])

    return residuals, jacobian


@problem("box 3-d", [0, 10, 20])
def box():
    t = 0.1 * np.arange(1, 11)
    y = np.exp(-t) - np.exp(-10 * t)

    def residuals(x):
        return np.exp(-t * x[0]) - np.exp(-t * x[1]) - x[2] * y

    def jacobian(x):
        return np.column_stack([-t * np.exp(-t * x[0]), t * np.exp(-t * x[1]), -y])

    return residuals, jacobian


@problem("variably dimensioned", 1 - np.arange(1, 11) / 10)
def variably_dimensioned():
    j = np.arange(1, 11)

    def residuals(x):
        total = j @ (x - 1)
        return np.array([*(x - 1), total, total**2])

    def jacobian(x):
        return np.vstack([np.eye(10), j, 2 * (j @ (x - 1)) * j])

    return residuals, jacobian


@problem("watson", np.zeros(9), 1.39976e-6)
def watson():
    j = np.arange(9)
    t = np.arange(1, 30)[:, None] / 29
    powers, slopes = t**j, np.column_stack([np.zeros(29), j[1:] * t ** j[:-1]])

    def residuals(x):
        return np.array([*(slopes @ x - (powers @ x) ** 2 - 1), x[0], x[1] - x[0] ** 2 - 1])

    def jacobian(x):
        last = np.zeros((2, 9))
        last[:, :2] = [[1, 0], [-2 * x[0], 1]]
        return np.vstack([slopes - 2 * (powers @ x)[:, None] * powers, last])

    return residuals, jacobian


@problem("penalty I", np.arange(1, 11), 7.08765e-5)
def penalty_1():
    root = np.sqrt(1e-5)

    def residuals(x):
        return np.array([*(root * (x - 1)), x @ x - 0.25])

    def jacobian(x):
        return np.vstack([root * np.eye(10), 2 * x])

    return residuals, jacobian


@problem("penalty II", np.full(10, 0.5), 2.93660e-4)
def penalty_2():
    root, i = np.sqrt(1e-5), np.arange(1, 11)
    y = np.exp(i[1:] / 10) + np.exp(i[:-1] / 10)
    weight = 11 - i

    def residuals(x):
        e = np.exp(x / 10)
        return np.array([x[0] - 0.2, *(root * (e[1:] + e[:-1] - y)), *(root * (e[1:] - np.exp(-0.1))),
                         weight @ x**2 - 1])

    def jacobian(x):
        slope = root * np.diag(np.exp(x / 10) / 10)
        return np.vstack([np.eye(10)[0], slope[1:] + slope[:-1], slope[1:], 2 * weight * x])

    return residuals, jacobian


@problem("brown badly scaled", [1, 1])
def brown_badly_scaled():
    def residuals(x):
        return np.array([x[0] - 1e6, x[1] - 2e-6, x[0] * x[1] - 2])

    def jacobian(x):
        return np.array([[1, 0], [0, 1], [x[1], x[0]]])

    return residuals, jacobian


@problem("brown and dennis", [25, 5, -5, -1], 85822.2)
def brown_and_dennis():
    t = np.arange(1, 21) / 5

    def parts(x):
        return x[0] + t * x[1] - np.exp(t), x[2] + x[3] * np.sin(t) - np.cos(t)

    def residuals(x):
        a, b = parts(x)
        return a**2 + b**2

    def jacobian(x):
        a, b = parts(x)
        return 2 * np.column_stack([a, a * t, b, b * np.sin(t)])

    return residuals, jacobian


@problem("gulf", [5, 2.5, 0.15])
def gulf():
    t = np.arange(1, 100) / 100
    y = 25 + (-50 * np.log(t)) ** (2 / 3)

    # the paper has |y m i x2|, a known misprint of |y - x2|
    def residuals(x):
        return np.exp(-(np.abs(y - x[1]) ** x[2]) / x[0]) - t

    def jacobian(x):
        u = np.abs(y - x[1])
        a = u ** x[2]
        e = np.exp(-a / x[0]) / x[0]
        return np.column_stack([e * a / x[0], e * x[2] * a / (y - x[1]), -e * a * np.log(u)])

    return residuals, jacobian


@problem("trigonometric", np.full(10, 0.1), 0.0, 2.79506e-5)
def trigonometric():
    i = np.arange(1, 11)

    def residuals(x):
        return 10 - np.cos(x).sum() + i * (1 - np.cos(x)) - np.sin(x)

    def jacobian(x):
        return np.sin(x) + np.diag(i * np.sin(x) - np.cos(x))

    return residuals, jacobian


@problem("extended rosenbrock", np.tile([-1.2, 1], 5))
def extended_rosenbrock():
    def residuals(x):
        r = np.empty(10)
        r[::2], r[1::2] = 10 * (x[1::2] - x[::2] ** 2), 1 - x[::2]
        return r

    def jacobian(x):
        J, k = np.zeros((10, 10)), np.arange(0, 10, 2)
        J[k, k], J[k, k + 1], J[k + 1, k] = -20 * x[k], 10, -1
        return J

    return residuals, jacobian


@problem("extended powell", np.tile([3, -1, 0, 1], 3))
def extended_powell():
    def residuals(x):
        a, b, c, d = x.reshape(3, 4).T
        return np.column_stack([a + 10 * b, 5**0.5 * (c - d), (b - 2 * c) ** 2, 10**0.5 * (a - d) ** 2]).ravel()

    def jacobian(x):
        J = np.zeros((12, 12))
        for k in range(0, 12, 4):
            a, b, c, d = x[k:k + 4]
            p, q = 2 * (b - 2 * c), 2 * 10**0.5 * (a - d)
            J[k:k + 4, k:k + 4] = [[1, 10, 0, 0], [0, 0, 5**0.5, -(5**0.5)], [0, p, -2 * p, 0], [q, 0, 0, -q]]
        return J

    return residuals, jacobian


@problem("beale", [1, 1])
def beale():
    i, y = np.arange(1, 4), np.array([1.5, 2.25, 2.625])

    def residuals(x):
        return y - x[0] * (1 - x[1] ** i)

    def jacobian(x):
        return np.column_stack([x[1] ** i - 1, x[0] * i * x[1] ** (i - 1)])

    return residuals, jacobian


@problem("wood", [-3, -1, -3, -1])
def wood():
    def residuals(x):
        return np.array([10 * (x[1] - x[0] ** 2), 1 - x[0], 90**0.5 * (x[3] - x[2] ** 2), 1 - x[2],
                         10**0.5 * (x[1] + x[3] - 2), (x[1] - x[3]) / 10**0.5])

    def jacobian(x):
        s, t = 90**0.5, 10**0.5
        return np.array([[-20 * x[0], 10, 0, 0], [-1, 0, 0, 0], [0, 0, -2 * s * x[2], s], [0, 0, -1, 0],
                         [0, t, 0, t], [0, 1 / t, 0, -1 / t]])

    return residuals, jacobian


@problem("chebyquad", np.arange(1, 9) / 9, 3.51687e-3)
def chebyquad():
    i = np.arange(1, 9)
    integrals = np.where(i % 2, 0, -1 / np.where(i % 2, 1, i**2 - 1))

    def polynomials(x):
        """Return the first eight Chebyshev polynomials of [0, 1] and their derivatives, each (8, P)."""
        z = 2 * x - 1
        T, D = [np.ones_like(x), z], [np.zeros_like(x), np.full_like(x, 2)]
        for _ in i[1:]:
            D.append(4 * T[-1] + 2 * z * D[-1] - D[-2])
            T.append(2 * z * T[-1] - T[-2])
        return np.array(T[1:]), np.array(D[1:])

    def residuals(x):
        return polynomials(x)[0].mean(axis=1) - integrals

    def jacobian(x):
        return polynomials(x)[1] / len(x)

    return residuals, jacobian
