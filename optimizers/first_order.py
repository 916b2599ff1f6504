"""The rules that need the gradient alone, one after another in one rhythm, so that they read as a comparison.

Each docstring gives the formula, the fields, which of the published forms it is and how others differ. In all of them
g is the gradient, t the number of the step from 1, and products, quotients and roots are taken element by element.
"""

from dataclasses import dataclass
import math

import numpy as np

from optimizers.base import Array, FirstOrder, number, vector


def _average(m: Array, decay: float, x: Array, scratch: Array) -> None:
    """m := decay m + (1 - decay) x"""
    m *= decay
    m += np.multiply(x, 1 - decay, out=scratch)


def _average_square(v: Array, decay: float, x: Array, scratch: Array) -> None:
    """v := decay v + (1 - decay) x^2"""
    np.multiply(x, x, out=scratch)
    scratch *= 1 - decay
    v *= decay
    v += scratch


@dataclass(eq=False, kw_only=True)
class GradientDescent(FirstOrder):
    """theta := theta - lr g

    Cauchy (1847); on batches, Robbins & Monro (1951). The same everywhere.
    """

    def update(self, theta: Array, grad: Array) -> None:
        theta -= np.multiply(grad, self.lr, out=self.scratch)


@dataclass(eq=False, kw_only=True)
class Momentum(FirstOrder):
    """v := momentum v + g
    theta := theta - lr v

    Polyak (1964), in the form of torch. Sutskever et al. (2013) and Keras fold lr into v, which is the same only while
    lr is constant.
    """

    momentum: float = number(0.9, least=0, below=1)
    v: Array = vector()

    def update(self, theta: Array, grad: Array) -> None:
        self.v *= self.momentum
        self.v += grad
        theta -= np.multiply(self.v, self.lr, out=self.scratch)


@dataclass(eq=False, kw_only=True)
class RMSprop(FirstOrder):
    """v := rho v + (1 - rho) g^2
    theta := theta - lr g / (sqrt(v) + eps)

    Tieleman & Hinton (2012), lecture 6.5, whose rho this is. torch's default is 0.99. Keras and optax put eps inside
    the root.
    """

    rho: float = number(0.9, least=0, below=1)
    eps: float = number(1e-8, least=0)
    v: Array = vector()

    def update(self, theta: Array, grad: Array) -> None:
        step = self.scratch
        _average_square(self.v, self.rho, grad, step)
        np.sqrt(self.v, out=step)
        step += self.eps
        np.divide(grad, step, out=step)
        step *= self.lr
        theta -= step


@dataclass(eq=False, kw_only=True)
class Adam(FirstOrder):
    """m := beta1 m + (1 - beta1) g
    v := beta2 v + (1 - beta2) g^2
    theta := theta - lr m_hat / (sqrt(v_hat) + eps), where m_hat = m / (1 - beta1^t), v_hat = v / (1 - beta2^t)

    Kingma & Ba (2015), algorithm 1, as in torch and optax. The form in the paper's section 2 and in TensorFlow, which
    adds an "eps hat" to the uncorrected root, differs in the first steps.
    """

    lr: float = number(0.001, above=0)
    beta1: float = number(0.9, least=0, below=1)
    beta2: float = number(0.999, least=0, below=1)
    eps: float = number(1e-8, least=0)
    m: Array = vector()
    v: Array = vector()

    def update(self, theta: Array, grad: Array) -> None:
        step = self.scratch
        _average(self.m, self.beta1, grad, step)
        _average_square(self.v, self.beta2, grad, step)
        np.sqrt(self.v, out=step)
        step *= 1 / math.sqrt(1 - self.beta2**self.t)
        step += self.eps
        np.divide(self.m, step, out=step)
        step *= self.lr / (1 - self.beta1**self.t)
        theta -= step


@dataclass(eq=False, kw_only=True)
class Adamax(FirstOrder):
    """m := beta1 m + (1 - beta1) g
    u := max(beta2 u, |g| + eps)
    theta := theta - lr / (1 - beta1^t) m / u

    Kingma & Ba (2015), algorithm 2, with torch's eps, which keeps u above zero. Keras divides by u + eps instead.
    """

    lr: float = number(0.002, above=0)
    beta1: float = number(0.9, least=0, below=1)
    beta2: float = number(0.999, least=0, below=1)
    eps: float = number(1e-8, above=0)
    m: Array = vector()
    u: Array = vector()

    def update(self, theta: Array, grad: Array) -> None:
        step = self.scratch
        _average(self.m, self.beta1, grad, step)
        np.abs(grad, out=step)
        step += self.eps
        self.u *= self.beta2
        np.maximum(self.u, step, out=self.u)
        np.divide(self.m, self.u, out=step)
        step *= self.lr / (1 - self.beta1**self.t)
        theta -= step
