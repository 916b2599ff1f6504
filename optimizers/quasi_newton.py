"""Quasi-Newton methods: the inverse of the Hessian, learned from how the gradient changed along the steps taken."""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from optimizers.base import Array, Point, array, number, scalar, whole
from optimizers.line_search import LineSearchMethod


@dataclass(eq=False, kw_only=True)
class QuasiNewton(LineSearchMethod):
    """d := -H g
    theta := theta + alpha d, where H learns that H y = s from s = alpha d and y, by which g changed

    What BFGS and L-BFGS share; they differ in how they hold H. `pairs` counts the pairs (s, y) that H is made of.
    """

    pairs: int = scalar(0)

    @abstractmethod
    def store(self, s: Array, y: Array, sy: float) -> None:
        """Make H y = s; sy is s^T y, above zero."""

    def first(self, slope: float) -> float | None:
        return 1.0 if self.pairs else None

    def learn(self, begin: Point, end: Point, slope: float, alpha: float) -> None:
        s, y = np.subtract(end.theta, begin.theta, out=self.scratch), end.gradient - begin.gradient
        sy = float(s @ y)
        # a pair whose curvature is not clearly above zero would make H indefinite, or huge
        if sy > float(np.finfo(s.dtype).eps) * float(np.sqrt((s @ s) * (y @ y))):
            self.store(s, y, sy)
            self.pairs += 1

    def forget(self) -> None:
        self.pairs = 0


@dataclass(eq=False, kw_only=True)
class BFGS(QuasiNewton):
    """d := -H g, where after each step
    H := (I - s y^T / s^T y) H (I - y s^T / s^T y) + s s^T / s^T y

    Broyden, Fletcher, Goldfarb and Shanno (1970), in the form of Nocedal & Wright (2006), (6.17): H (P, P) is the
    inverse of the Hessian, so that nothing is ever solved. Before the first pair it is the identity, scaled by their
    (6.20), s^T y / y^T y. `max_gigabytes`: step raises ValueError where H would take more.
    """

    max_gigabytes: float = number(1.0, above=0)
    H: Array = array(lambda optimizer, P: (P, P))

    def start(self, theta: Array) -> None:
        gigabytes = theta.size**2 * theta.itemsize / 1e9
        if gigabytes > self.max_gigabytes:
            raise ValueError(f"BFGS: its matrix for {theta.size:,} parameters would take {gigabytes:.1f} GB, more than "
                             f"max_gigabytes, {self.max_gigabytes:g}: use lbfgs instead")
        super().start(theta)

    def direction(self, gradient: Array) -> Array:
        if self.pairs:
            np.dot(self.H, gradient, out=self.scratch)
            return np.negative(self.scratch, out=self.scratch)
        return np.negative(gradient, out=self.scratch)

    def store(self, s: Array, y: Array, sy: float) -> None:
        H = self.H
        if not self.pairs:
            H[:] = 0
            np.fill_diagonal(H, sy / float(y @ y))
        # multiplied out, H := H + u s^T + s u^T
        Hy = H @ y
        u = ((1 + float(y @ Hy) / sy) / 2 * s - Hy) / sy
        for i, row in enumerate(H):  # one by one, or there would be a second matrix like H
            row += u[i] * s + s[i] * u


@dataclass(eq=False, kw_only=True)
class LBFGS(QuasiNewton):
    """d := -H g, where H is never formed: it is what the last `memory` pairs (s, y) make of s^T y / y^T y times I

    Nocedal (1980), Liu & Nocedal (1989); the two-loop recursion of Nocedal & Wright (2006), algorithm 7.4. Takes
    2 `memory` vectors. With the memory of all steps it is BFGS, but for the scaling, which here is the last pair's.
    SciPy remembers 10 pairs, torch 100; a network, whose gradient costs more than a hundred vectors, gains by 50.
    """

    memory: int = whole(50, least=1)
    S: Array = array(lambda optimizer, P: (optimizer.memory, P))  # the pair number k in row k mod memory
    Y: Array = array(lambda optimizer, P: (optimizer.memory, P))

    def direction(self, gradient: Array) -> Array:
        d = np.negative(gradient, out=self.scratch)
        newest_first = [k % self.memory for k in range(self.pairs - 1, max(self.pairs - self.memory, 0) - 1, -1)]
        kept = []
        for k in newest_first:
            s, y = self.S[k], self.Y[k]
            sy = float(s @ y)
            a = float(s @ d) / sy
            d -= a * y
            kept.append((s, y, sy, a))
        if kept:
            _, y, sy, _ = kept[0]
            d *= sy / float(y @ y)
        for s, y, sy, a in reversed(kept):
            d += (a - float(y @ d) / sy) * s
        return d

    def store(self, s: Array, y: Array, sy: float) -> None:
        self.S[self.pairs % self.memory], self.Y[self.pairs % self.memory] = s, y
