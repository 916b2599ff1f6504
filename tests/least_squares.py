"""The least-squares problems of More, Garbow & Hillstrom (1981), with their starting points and published minima."""

from collections.abc import Callable
from dataclasses import dataclass
import math

import numpy as np

from optimizers import Function


def complex_jacobian(f, theta):
    """Return the derivatives (M, P) of an analytic f at theta. Complex steps have no cancellation."""
    steps = theta + 1e-100j * np.eye(len(theta))
    return np.stack([f(step).imag / 1e-100 for step in steps], axis=1)


@dataclass
class Problem:
    """Residuals of theta, a starting point, and the sums of squares at the known minima, lowest first."""

    start: list[float]
    residuals: Callable
    minima: tuple[float, ...] = (0.0,)

    def jacobian(self, theta):
        return complex_jacobian(self.residuals, theta)

    def gradient(self, theta):
        return self.jacobian(theta).T @ self.residuals(theta)

    def hessian(self, theta):
        """Return central differences of the gradient."""
        h = 1e-5 * np.maximum(1e-2, np.abs(theta))
        H = np.stack([(self.gradient(theta + d) - self.gradient(theta - d)) / (2 * d.sum()) for d in np.diag(h)])
        return (H + H.T) / 2

    def function(self):
        return Function(self.start, residuals=self.residuals, jacobian=self.jacobian, hessian=self.hessian)


def numbers(text):
    return np.array([float(word) for word in text.split()])


def freudenstein_roth(x):
    a, b = x
    return np.stack([-13 + a + ((5 - b) * b - 2) * b, -29 + a + ((b + 1) * b - 14) * b])


def helical_valley(x):
    angle = np.arctan(x[1] / x[0]) / (2 * math.pi) + (0.5 if x[0].real < 0 else 0)
    return np.stack([10 * (x[2] - 10 * angle), 10 * (np.sqrt(x[0] ** 2 + x[1] ** 2) - 1), x[2]])


def bard(x):
    y = numbers(".14 .18 .22 .25 .29 .32 .35 .39 .37 .58 .73 .96 1.34 2.10 4.39")
    u = np.arange(1, 16)
    return y - (x[0] + u / ((16 - u) * x[1] + np.minimum(u, 16 - u) * x[2]))


def gaussian(x):
    half = numbers(".0009 .0044 .0175 .0540 .1295 .2420 .3521 .3989")
    t = (8 - np.arange(1, 16)) / 2
    return x[0] * np.exp(-x[1] * (t - x[2]) ** 2 / 2) - np.concatenate([half, half[-2::-1]])


def meyer(x):
    y = numbers("34780 28610 23650 19630 16370 13720 11540 9744 8261 7030 6005 5147 4427 3820 3307 2872")
    return x[0] * np.exp(x[1] / (45 + 5 * np.arange(1, 17) + x[2])) - y


def box(x):
    t = np.arange(1, 11) / 10
    return np.exp(-t * x[0]) - np.exp(-t * x[1]) - x[2] * (np.exp(-t) - np.exp(-10 * t))


def wood(x):
    a, b, c, d = x
    return np.stack([10 * (b - a**2), 1 - a, math.sqrt(90) * (d - c**2), 1 - c, math.sqrt(10) * (b + d - 2),
                     (b - d) / math.sqrt(10)])


def kowalik_osborne(x):
    y = numbers(".1957 .1947 .1735 .1600 .0844 .0627 .0456 .0342 .0323 .0235 .0246")
    u = numbers("4 2 1 .5 .25 .167 .125 .1 .0833 .0714 .0625")
    return y - x[0] * (u**2 + u * x[1]) / (u**2 + u * x[2] + x[3])


def brown_dennis(x):
    t = np.arange(1, 21) / 5
    return (x[0] + t * x[1] - np.exp(t)) ** 2 + (x[2] + x[3] * np.sin(t) - np.cos(t)) ** 2


def osborne_1(x):
    y = numbers(""".844 .908 .932 .936 .925 .908 .881 .850 .818 .784 .751 .718 .685 .658 .628 .603 .580 .558 .538 .522
                   .506 .490 .478 .467 .457 .448 .438 .431 .424 .420 .414 .411 .406""")
    t = 10 * np.arange(33)
    return y - (x[0] + x[1] * np.exp(-t * x[3]) + x[2] * np.exp(-t * x[4]))


def osborne_2(x):
    y = numbers("""1.366 1.191 1.112 1.013 .991 .885 .831 .847 .786 .725 .746 .679 .608 .655 .616 .606 .602 .626 .651
                   .724 .649 .649 .694 .644 .624 .661 .612 .558 .533 .495 .500 .423 .395 .375 .372 .391 .396 .405 .428
                   .429 .523 .562 .607 .653 .672 .708 .633 .668 .645 .632 .591 .559 .597 .625 .739 .710 .729 .720 .636
                   .581 .428 .292 .162 .098 .054""")
    t = np.arange(65) / 10
    return y - (x[0] * np.exp(-t * x[4]) + sum(x[i] * np.exp(-((t - x[i + 7]) ** 2) * x[i + 4]) for i in (1, 2, 3)))


def biggs(x):
    t = np.arange(1, 14) / 10
    y = np.exp(-t) - 5 * np.exp(-10 * t) + 3 * np.exp(-4 * t)
    return x[2] * np.exp(-t * x[0]) - x[3] * np.exp(-t * x[1]) + x[5] * np.exp(-t * x[4]) - y


def watson(x):
    t, j = np.arange(1, 30)[:, None] / 29, np.arange(len(x))
    slope = (j * x)[1:] * t ** (j[1:] - 1)
    return np.concatenate([slope.sum(axis=1) - (x * t**j).sum(axis=1) ** 2 - 1, [x[0], x[1] - x[0] ** 2 - 1]])


def brown_almost_linear(x):
    return np.concatenate([(x + x.sum() - (len(x) + 1))[:-1], [x.prod() - 1]])


def broyden_tridiagonal(x):
    padded = np.concatenate([[0], x, [0]])
    return (3 - 2 * x) * x - padded[:-2] - 2 * padded[2:] + 1


def chebyquad(x):
    last, current, rows = np.ones_like(x), 2 * x - 1, []
    for i in range(1, len(x) + 1):
        rows.append(current.mean() + (1 / (i * i - 1) if i % 2 == 0 else 0))
        last, current = current, 2 * (2 * x - 1) * current - last
    return np.stack(rows)


def linear_full_rank(x, m=20):
    return np.concatenate([x, np.zeros(m - len(x))]) - 2 / m * x.sum() - 1


def linear_rank_1(x, m=20):
    return np.arange(1, m + 1) * (np.arange(1, len(x) + 1) @ x) - 1


PROBLEMS = {
    "rosenbrock": Problem([-1.2, 1], lambda x: np.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]])),
    "freudenstein-roth": Problem([0.5, -2], freudenstein_roth, (0.0, 48.9842)),
    "powell badly scaled": Problem([0, 1], lambda x: np.stack([1e4 * x[0] * x[1] - 1,
                                                               np.exp(-x[0]) + np.exp(-x[1]) - 1.0001])),
    "brown badly scaled": Problem([1, 1], lambda x: np.stack([x[0] - 1e6, x[1] - 2e-6, x[0] * x[1] - 2])),
    "beale": Problem([1, 1], lambda x: numbers("1.5 2.25 2.625") - x[0] * (1 - x[1] ** np.arange(1, 4))),
    "jennrich-sampson": Problem([0.3, 0.4], lambda x: 2 + 2 * np.arange(1, 11) - np.exp(np.arange(1, 11) * x[0])
                                - np.exp(np.arange(1, 11) * x[1]), (124.362,)),
    "helical valley": Problem([-1, 0, 0], helical_valley),
    "bard": Problem([1, 1, 1], bard, (8.21487e-3, 17.4286)),
    "gaussian": Problem([0.4, 1, 0], gaussian, (1.12793e-8,)),
    "meyer": Problem([0.02, 4000, 250], meyer, (87.9458,)),
    "box": Problem([0, 10, 20], box),
    "powell singular": Problem([3, -1, 0, 1], lambda x: np.stack([
        x[0] + 10 * x[1], math.sqrt(5) * (x[2] - x[3]), (x[1] - 2 * x[2]) ** 2, math.sqrt(10) * (x[0] - x[3]) ** 2])),
    "wood": Problem([-3, -1, -3, -1], wood),
    "kowalik-osborne": Problem([0.25, 0.39, 0.415, 0.39], kowalik_osborne, (3.07505e-4, 1.02734e-3)),
    "brown-dennis": Problem([25, 5, -5, -1], brown_dennis, (85822.2,)),
    "osborne 1": Problem([0.5, 1.5, -1, 0.01, 0.02], osborne_1, (5.46489e-5,)),
    "osborne 2": Problem([1.3, 0.65, 0.65, 0.7, 0.6, 3, 5, 7, 2, 4.5, 5.5], osborne_2, (4.01377e-2,)),
    "biggs": Problem([1, 2, 1, 1, 1, 1], biggs, (0.0, 5.65565e-3)),
    "watson 6": Problem([0] * 6, watson, (2.28767e-3,)),
    "watson 9": Problem([0] * 9, watson, (1.39976e-6,)),
    "watson 12": Problem([0] * 12, watson, (4.72238e-10,)),
    "brown almost linear": Problem([0.5] * 10, brown_almost_linear, (0.0, 1.0)),
    "broyden tridiagonal": Problem([-1] * 10, broyden_tridiagonal),
    "chebyquad 8": Problem([j / 9 for j in range(1, 9)], chebyquad, (3.51687e-3,)),
    "chebyquad 9": Problem([j / 10 for j in range(1, 10)], chebyquad),
    "chebyquad 10": Problem([j / 11 for j in range(1, 11)], chebyquad, (4.77271e-3, 6.50395e-3)),
    "linear, full rank": Problem([1] * 5, linear_full_rank, (15.0,)),
    "linear, rank 1": Problem([1] * 5, linear_rank_1, (380 / 82,)),
}
