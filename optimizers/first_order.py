"""The rules that need the gradient alone, one after another in one rhythm, so that they read as a comparison.

Each docstring gives the formula, the fields, which of the published forms it is and how others differ. In all of them
g is the gradient, t the number of the step from 1, and products, quotients and roots are taken element by element.
Vectors begin at zero. The fields that all rules share, lr, weight_decay and clipping, are FirstOrder's.
"""

from dataclasses import dataclass
import math

import numpy as np

from optimizers.base import Array, FirstOrder, flag, number, scalar, vector
from optimizers.fused import elementwise


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


def _root(v: Array, eps: float, out: Array, correction: float = 1.0) -> Array:
    """out := sqrt(v / correction) + eps"""
    np.sqrt(v, out=out)
    if correction != 1:
        out *= 1 / math.sqrt(correction)
    out += eps
    return out


@dataclass(eq=False, kw_only=True)
class GradientDescent(FirstOrder):
    """theta := theta - lr g

    Cauchy (1847); on batches, Robbins & Monro (1951). The same everywhere.
    """

    @elementwise
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

    @elementwise
    def update(self, theta: Array, grad: Array) -> None:
        self.v *= self.momentum
        self.v += grad
        theta -= np.multiply(self.v, self.lr, out=self.scratch)


@dataclass(eq=False, kw_only=True)
class Nesterov(Momentum):
    """v := momentum v + g
    theta := theta - lr (g + momentum v)

    Nesterov (1983), reformulated so that the gradient is taken at the current theta and not at the point looked ahead
    to, which is what Sutskever et al. (2013) have: torch's form. As with momentum, lr is not folded into v.
    """

    @elementwise
    def update(self, theta: Array, grad: Array) -> None:
        step = self.scratch
        self.v *= self.momentum
        self.v += grad
        np.multiply(self.v, self.momentum, out=step)
        step += grad
        step *= self.lr
        theta -= step


@dataclass(eq=False, kw_only=True)
class Adagrad(FirstOrder):
    """G := G + g^2
    theta := theta - lr g / (sqrt(G) + eps)

    Duchi, Hazan & Singer (2011), with the diagonal. As in torch, G begins at 0; in Keras and optax at 0.1.
    """

    eps: float = number(1e-10, above=0)
    G: Array = vector()

    @elementwise
    def update(self, theta: Array, grad: Array) -> None:
        step = self.scratch
        self.G += np.multiply(grad, grad, out=step)
        np.divide(grad, _root(self.G, self.eps, step), out=step)
        step *= self.lr
        theta -= step


@dataclass(eq=False, kw_only=True)
class Adadelta(FirstOrder):
    """v := rho v + (1 - rho) g^2
    d := sqrt(u + eps) / sqrt(v + eps) g
    u := rho u + (1 - rho) d^2
    theta := theta - lr d

    Zeiler (2012), who has no lr, which is 1 here, and rho 0.95. u gathers the steps before lr scales them, as in torch.
    """

    lr: float = number(1.0, above=0)
    rho: float = number(0.9, least=0, below=1)
    eps: float = number(1e-6, above=0)
    v: Array = vector()
    u: Array = vector()

    @elementwise
    def update(self, theta: Array, grad: Array) -> None:
        step = self.scratch
        _average_square(self.v, self.rho, grad, step)
        np.add(self.v, self.eps, out=step)
        np.divide(grad, np.sqrt(step, out=step), out=grad)
        np.add(self.u, self.eps, out=step)
        grad *= np.sqrt(step, out=step)
        _average_square(self.u, self.rho, grad, step)
        theta -= np.multiply(grad, self.lr, out=step)


@dataclass(eq=False, kw_only=True)
class RMSprop(FirstOrder):
    """v := rho v + (1 - rho) g^2
    theta := theta - lr g / (sqrt(v) + eps)

    centered: sqrt(v - mean^2) instead of sqrt(v), where mean := rho mean + (1 - rho) g. Graves (2013).
    momentum: theta := theta - lr velocity, where velocity := momentum velocity + g / (sqrt(v) + eps).
    Tieleman & Hinton (2012), lecture 6.5, whose rho this is; torch's default is 0.99. Keras and optax put eps inside
    the root.
    """

    rho: float = number(0.9, least=0, below=1)
    eps: float = number(1e-8, above=0)
    momentum: float = number(0.0, least=0, below=1)
    centered: bool = flag(False)
    v: Array = vector()
    mean: Array = vector(when="centered")
    velocity: Array = vector(when="momentum")

    @elementwise
    def update(self, theta: Array, grad: Array) -> None:
        step = self.scratch
        _average_square(self.v, self.rho, grad, step)
        variance = self.v
        if self.centered:
            _average(self.mean, self.rho, grad, step)
            np.multiply(self.mean, self.mean, out=step)
            variance = np.subtract(self.v, step, out=step)
            np.maximum(variance, 0, out=variance)  # rounding may take it below
        np.divide(grad, _root(variance, self.eps, step), out=step)
        if self.momentum:
            self.velocity *= self.momentum
            self.velocity += step
            np.copyto(step, self.velocity)
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
    eps: float = number(1e-8, above=0)
    m: Array = vector()
    v: Array = vector()

    @elementwise
    def update(self, theta: Array, grad: Array) -> None:
        step = self.scratch
        _average(self.m, self.beta1, grad, step)
        _average_square(self.v, self.beta2, grad, step)
        np.divide(self.m, _root(self.v, self.eps, step, 1 - self.beta2**self.t), out=step)
        step *= self.lr / (1 - self.beta1**self.t)
        theta -= step


@dataclass(eq=False, kw_only=True)
class AdamW(Adam):
    """theta := theta - lr weight_decay theta, then Adam's step from the gradient alone

    Loshchilov & Hutter (2019): weight decay decoupled from the gradient. As in torch it is scaled by lr; in the paper
    by the schedule's factor alone.
    """

    weight_decay: float = number(0.01, least=0)

    @elementwise
    def decay_weights(self, theta: Array, grad: Array) -> None:
        """theta := (1 - lr weight_decay) theta"""
        theta *= 1 - self.lr * self.weight_decay


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

    @elementwise
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


@dataclass(eq=False, kw_only=True)
class Nadam(FirstOrder):
    """mu_t = beta1 (1 - 0.96^(momentum_decay t) / 2)
    m := beta1 m + (1 - beta1) g
    v := beta2 v + (1 - beta2) g^2
    n := mu_{t+1} / (1 - mu_1 ... mu_{t+1}) m + (1 - mu_t) / (1 - mu_1 ... mu_t) g
    theta := theta - lr n / (sqrt(v_hat) + eps), where v_hat = v / (1 - beta2^t)

    Dozat (2016) with torch's schedule of mu. Dozat's report, Keras and optax all differ from it and from each other.
    """

    lr: float = number(0.002, above=0)
    beta1: float = number(0.9, least=0, below=1)
    beta2: float = number(0.999, least=0, below=1)
    eps: float = number(1e-8, above=0)
    momentum_decay: float = number(0.004, least=0)
    m: Array = vector()
    v: Array = vector()
    mu_product: float = scalar(1.0)

    def _mu(self, t: int) -> float:
        return self.beta1 * (1 - 0.5 * 0.96 ** (self.momentum_decay * t))

    @elementwise
    def update(self, theta: Array, grad: Array) -> None:
        step = self.scratch
        mu, mu_next = self._mu(self.t), self._mu(self.t + 1)
        self.mu_product *= mu
        _average(self.m, self.beta1, grad, step)
        _average_square(self.v, self.beta2, grad, step)
        grad *= (1 - mu) / (1 - self.mu_product)
        grad += np.multiply(self.m, mu_next / (1 - self.mu_product * mu_next), out=step)
        np.divide(grad, _root(self.v, self.eps, step, 1 - self.beta2**self.t), out=step)
        step *= self.lr
        theta -= step


@dataclass(eq=False, kw_only=True)
class AMSGrad(FirstOrder):
    """m := beta1 m + (1 - beta1) g
    v := beta2 v + (1 - beta2) g^2
    v_max := max(v_max, v)
    theta := theta - lr m_hat / (sqrt(v_max / (1 - beta2^t)) + eps), where m_hat = m / (1 - beta1^t)

    Reddi, Kale & Kumar (2018), with Adam's bias correction after the maximum, as in torch. The paper corrects nothing;
    optax corrects v first.
    """

    lr: float = number(0.001, above=0)
    beta1: float = number(0.9, least=0, below=1)
    beta2: float = number(0.999, least=0, below=1)
    eps: float = number(1e-8, above=0)
    m: Array = vector()
    v: Array = vector()
    v_max: Array = vector()

    @elementwise
    def update(self, theta: Array, grad: Array) -> None:
        step = self.scratch
        _average(self.m, self.beta1, grad, step)
        _average_square(self.v, self.beta2, grad, step)
        np.maximum(self.v_max, self.v, out=self.v_max)
        np.divide(self.m, _root(self.v_max, self.eps, step, 1 - self.beta2**self.t), out=step)
        step *= self.lr / (1 - self.beta1**self.t)
        theta -= step
