"""The rules that need only the gradient, all in the same form, so that they can be compared.

In all formulas g is the gradient after clipping and weight decay, and t is the number of the step, from 1. Products,
quotients, powers, roots, absolute values and maxima are elementwise. State vectors start at zero.
"""

from abc import abstractmethod
from collections.abc import Mapping
import math
from typing import ClassVar

import numpy as np

from optimizers import compiled
from optimizers.compiled import elementwise
from optimizers.fields import Fraction, NonNegative, Positive
from optimizers.objective import Objective, explain_missing_members
from optimizers.optimizer import Optimizer
from optimizers.state import scalar, vector

SCHEDULED = "Scheduled(get(name), parse_schedule('cosine', epochs), unit=steps_per_epoch)"  # what messages advise


class FirstOrder(Optimizer):
    """Base of the rules that need only the gradient.

    A rule is one method, `update`: a few in-place operations on whole vectors. `self.scratch` is a vector for
    intermediate results, and the gradient may be overwritten. A rule that is marked with `elementwise` may be compiled
    and applied in parts.

    Parameters
    ----------
    lr : float, default 0.01
        Learning rate, above 0.
    weight_decay : float, default 0.0
        The gradient of the L2 penalty ``weight_decay / 2 |theta|^2`` is added to g; at least 0.
    clip_norm : float, optional
        If ``|g|`` is larger, g is scaled to this norm; above 0.
    clip_value : float, optional
        Every component of g is clipped to [-clip_value, clip_value]; above 0.

    Notes
    -----
    Before each update the gradient is changed in this order::

        g := min(max(g, -clip_value), clip_value)
        g := min(1, clip_norm / |g|) g
        g := g + weight_decay theta

    Weight decay is that of torch; Keras decouples it in all optimizers, as `AdamW` does. clip_norm is the norm of the
    whole gradient, like Keras's ``global_clipnorm``; torch's ``clip_grad_norm_`` divides by ``|g| + 1e-6``.

    References
    ----------
    Pascanu, R., Mikolov, T., & Bengio, Y. (2013). On the difficulty of training recurrent neural networks. ICML 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from optimizers import FirstOrder, Function, minimize
    >>> class SignDescent(FirstOrder):
    ...     def update(self, theta, grad):
    ...         theta -= self.lr * np.sign(grad)
    >>> f = Function([1.0, -10.0], value=lambda theta: theta @ theta / 2, gradient=lambda theta: theta)
    >>> minimize(f, SignDescent(lr=0.1), max_steps=2).theta.round(4)
    array([ 0.8, -9.8])
    """

    lr: Positive = 0.01
    weight_decay: NonNegative = 0.0
    clip_norm: Positive | None = None
    clip_value: Positive | None = None

    advice: ClassVar[Mapping[str, str]] = {
        "learning_rate": "write lr", "alpha": "write lr",
        **dict.fromkeys(("schedule", "scheduler", "lr_schedule"), f"write {SCHEDULED}"),
        "lr": f"write a number, or, for a rate that changes, {SCHEDULED}, or --schedule cosine on the command line"}

    @abstractmethod
    def update(self, theta: np.ndarray, grad: np.ndarray) -> None:
        """Change theta in place: one step of the rule.

        Parameters
        ----------
        theta : ndarray of shape (P,)
            The vector to change.
        grad : ndarray of shape (P,)
            The gradient at theta, which may be overwritten. `self.t` is the number of this step, from 1.
        """

    def step(self, objective: Objective) -> float:
        """Evaluate the objective and its gradient, and update theta.

        Parameters
        ----------
        objective : Objective
            The function to minimize. Its theta must be the same array as in the last step.

        Returns
        -------
        float
            The value before the step. If it is not finite, nothing is changed.

        Raises
        ------
        ValueError
            If theta is another vector than in the last step.
        """
        theta = objective.theta
        self.start(theta)
        if theta.size >= compiled.MIN_SIZE and compiled.can_divide(self, theta):
            with explain_missing_members(objective):
                loss, each_part = objective.value_and_gradient_parts()
            if math.isfinite(loss):  # otherwise its gradient has no meaning: theta and the state do not change
                self.t += 1
                each_part(compiled.rule(self, theta))
        else:
            loss, grad = objective.value_and_gradient()
            if math.isfinite(loss):
                self.t += 1
                self.clip_and_update(theta, grad)
        return loss

    def changes_in_parts(self, theta: np.ndarray) -> bool:
        # a class that overrides step may also change theta in another way
        return (theta.size >= compiled.MIN_SIZE and type(self).step is FirstOrder.step
                and compiled.can_divide(self, theta))

    def clip_and_update(self, theta: np.ndarray, grad: np.ndarray) -> None:
        """Clip the gradient, and apply the weight decay and the rule.

        Parameters
        ----------
        theta, grad : ndarray of shape (P,)
            The vector to change, and the gradient at this vector, which is overwritten.
        """
        self.clip(grad)
        self.decay_weights(theta, grad)
        self.update(theta, grad)

    @elementwise
    def clip(self, grad: np.ndarray) -> None:
        """Clip the gradient by value and by norm, in place.

        Parameters
        ----------
        grad : ndarray of shape (P,)
            The gradient.
        """
        if self.clip_value is not None:
            np.maximum(grad, -self.clip_value, out=grad)
            np.minimum(grad, self.clip_value, out=grad)
        if self.clip_norm is not None and (norm := math.sqrt(np.dot(grad, grad))) > self.clip_norm:
            grad *= self.clip_norm / norm

    @elementwise
    def decay_weights(self, theta: np.ndarray, grad: np.ndarray) -> None:
        """Apply the weight decay: g := g + weight_decay theta.

        Parameters
        ----------
        theta, grad : ndarray of shape (P,)
            The vector, and the gradient at this vector, which is changed.
        """
        if self.weight_decay:
            grad += np.multiply(theta, self.weight_decay, out=self.scratch)


def _average(m: np.ndarray, decay: float, x: np.ndarray, scratch: np.ndarray) -> None:
    """m := decay m + (1 - decay) x"""
    m *= decay
    m += np.multiply(x, 1 - decay, out=scratch)


def _average_square(v: np.ndarray, decay: float, x: np.ndarray, scratch: np.ndarray) -> None:
    """v := decay v + (1 - decay) x^2"""
    np.multiply(x, x, out=scratch)
    scratch *= 1 - decay
    v *= decay
    v += scratch


def _root(v: np.ndarray, eps: float, out: np.ndarray, correction: float = 1.0) -> np.ndarray:
    """out := sqrt(v / correction) + eps"""
    np.sqrt(v, out=out)
    if correction != 1:
        out *= 1 / math.sqrt(correction)
    out += eps
    return out


class GradientDescent(FirstOrder):
    """Gradient descent.

    Parameters
    ----------
    lr : float, default 0.01
        Learning rate, above 0.
    weight_decay : float, default 0.0
        The gradient of the L2 penalty ``weight_decay / 2 |theta|^2`` is added to g; at least 0.
    clip_norm : float, optional
        If ``|g|`` is larger, g is scaled to this norm; above 0.
    clip_value : float, optional
        Every component of g is clipped to [-clip_value, clip_value]; above 0.

    Notes
    -----
    ::

        theta := theta - lr g

    torch, Keras and optax have the same form. On random batches this is stochastic gradient descent (Robbins & Monro).

    References
    ----------
    Cauchy, A. (1847). Methode generale pour la resolution des systemes d'equations simultanees. Comptes rendus de
    l'Academie des sciences 25, 536-538.

    Robbins, H., & Monro, S. (1951). A stochastic approximation method. Annals of Mathematical Statistics 22(3),
    400-407.

    Examples
    --------
    >>> from optimizers import Function, GradientDescent, minimize
    >>> f = Function([1.0, -10.0], value=lambda theta: theta @ theta / 2, gradient=lambda theta: theta)
    >>> minimize(f, GradientDescent(lr=0.1), max_steps=2).theta.round(4)
    array([ 0.81, -8.1 ])
    """

    @elementwise
    def update(self, theta: np.ndarray, grad: np.ndarray) -> None:
        theta -= np.multiply(grad, self.lr, out=self.scratch)


class Momentum(FirstOrder):
    """Gradient descent with momentum.

    Parameters
    ----------
    lr : float, default 0.01
        Learning rate, above 0.
    weight_decay : float, default 0.0
        The gradient of the L2 penalty ``weight_decay / 2 |theta|^2`` is added to g; at least 0.
    clip_norm : float, optional
        If ``|g|`` is larger, g is scaled to this norm; above 0.
    clip_value : float, optional
        Every component of g is clipped to [-clip_value, clip_value]; above 0.
    momentum : float, default 0.9
        Decay of the velocity v, in [0, 1).

    Notes
    -----
    ::

        v := momentum v + g
        theta := theta - lr v

    This is the form of torch (with dampening 0) and optax. Sutskever et al. (2013) and Keras include lr in the
    velocity, v := momentum v - lr g, theta := theta + v. Both forms are equal only if lr is constant.

    References
    ----------
    Polyak, B. T. (1964). Some methods of speeding up the convergence of iteration methods. USSR Computational
    Mathematics and Mathematical Physics 4(5), 1-17.

    Sutskever, I., Martens, J., Dahl, G., & Hinton, G. (2013). On the importance of initialization and momentum in deep
    learning. ICML 2013.

    Examples
    --------
    >>> from optimizers import Function, Momentum, minimize
    >>> f = Function([1.0, -10.0], value=lambda theta: theta @ theta / 2, gradient=lambda theta: theta)
    >>> minimize(f, Momentum(lr=0.1), max_steps=2).theta.round(4)
    array([ 0.72, -7.2 ])
    """

    momentum: Fraction = 0.9
    v: np.ndarray = vector()

    @elementwise
    def update(self, theta: np.ndarray, grad: np.ndarray) -> None:
        self.v *= self.momentum
        self.v += grad
        theta -= np.multiply(self.v, self.lr, out=self.scratch)


class Nesterov(Momentum):
    """Gradient descent with Nesterov momentum.

    Parameters
    ----------
    lr : float, default 0.01
        Learning rate, above 0.
    weight_decay : float, default 0.0
        The gradient of the L2 penalty ``weight_decay / 2 |theta|^2`` is added to g; at least 0.
    clip_norm : float, optional
        If ``|g|`` is larger, g is scaled to this norm; above 0.
    clip_value : float, optional
        Every component of g is clipped to [-clip_value, clip_value]; above 0.
    momentum : float, default 0.9
        Decay of the velocity v, in [0, 1).

    Notes
    -----
    ::

        v := momentum v + g
        theta := theta - lr (g + momentum v)

    Nesterov's method takes the gradient at the point that a step with the velocity alone would reach. This is the
    reformulation that takes the gradient at the current theta, in the form of torch and optax. Keras includes lr in the
    velocity, as it does for Momentum. Both forms are equal only if lr is constant.

    References
    ----------
    Nesterov, Y. (1983). A method for solving the convex programming problem with convergence rate O(1/k^2). Soviet
    Mathematics Doklady 27, 372-376.

    Sutskever, I., Martens, J., Dahl, G., & Hinton, G. (2013). On the importance of initialization and momentum in deep
    learning. ICML 2013.

    Examples
    --------
    >>> from optimizers import Function, Nesterov, minimize
    >>> f = Function([1.0, -10.0], value=lambda theta: theta @ theta / 2, gradient=lambda theta: theta)
    >>> minimize(f, Nesterov(lr=0.1), max_steps=2).theta.round(4)
    array([ 0.5751, -5.751 ])
    """

    @elementwise
    def update(self, theta: np.ndarray, grad: np.ndarray) -> None:
        step = self.scratch
        self.v *= self.momentum
        self.v += grad
        np.multiply(self.v, self.momentum, out=step)
        step += grad
        step *= self.lr
        theta -= step


class Adagrad(FirstOrder):
    """Adagrad: each component has a rate that decreases with the sum of its squared gradients.

    Parameters
    ----------
    lr : float, default 0.01
        Learning rate, above 0.
    weight_decay : float, default 0.0
        The gradient of the L2 penalty ``weight_decay / 2 |theta|^2`` is added to g; at least 0.
    clip_norm : float, optional
        If ``|g|`` is larger, g is scaled to this norm; above 0.
    clip_value : float, optional
        Every component of g is clipped to [-clip_value, clip_value]; above 0.
    eps : float, default 1e-10
        Added to the root in the denominator, above 0.

    Notes
    -----
    ::

        G := G + g^2
        theta := theta - lr g / (sqrt(G) + eps)

    This is the diagonal form of the paper, with G = 0 at the start and the defaults of torch. Keras and optax start
    with G = 0.1 and have sqrt(G + eps) in the denominator, with eps 1e-7.

    References
    ----------
    Duchi, J., Hazan, E., & Singer, Y. (2011). Adaptive subgradient methods for online learning and stochastic
    optimization. Journal of Machine Learning Research 12, 2121-2159.

    Examples
    --------
    >>> from optimizers import Adagrad, Function, minimize
    >>> f = Function([1.0, -10.0], value=lambda theta: theta @ theta / 2, gradient=lambda theta: theta)
    >>> minimize(f, Adagrad(lr=0.1), max_steps=2).theta.round(4)
    array([ 0.8331, -9.8296])
    """

    eps: Positive = 1e-10
    G: np.ndarray = vector()

    @elementwise
    def update(self, theta: np.ndarray, grad: np.ndarray) -> None:
        step = self.scratch
        self.G += np.multiply(grad, grad, out=step)
        np.divide(grad, _root(self.G, self.eps, step), out=step)
        step *= self.lr
        theta -= step


class Adadelta(FirstOrder):
    """Adadelta: steps are scaled by the ratio of average step to average gradient.

    Parameters
    ----------
    lr : float, default 1.0
        Learning rate, above 0.
    weight_decay : float, default 0.0
        The gradient of the L2 penalty ``weight_decay / 2 |theta|^2`` is added to g; at least 0.
    clip_norm : float, optional
        If ``|g|`` is larger, g is scaled to this norm; above 0.
    clip_value : float, optional
        Every component of g is clipped to [-clip_value, clip_value]; above 0.
    rho : float, default 0.9
        Decay of the averages of squares, in [0, 1).
    eps : float, default 1e-6
        Added under both roots, above 0.

    Notes
    -----
    ::

        v := rho v + (1 - rho) g^2
        d := sqrt(u + eps) / sqrt(v + eps) g
        u := rho u + (1 - rho) d^2
        theta := theta - lr d

    This is the form of torch, with its defaults, and of Keras and optax: u is the average of the squared steps before
    lr scales them. The paper has no lr (which is lr 1) and rho 0.95. Keras has lr 0.001, rho 0.95 and eps 1e-7.

    References
    ----------
    Zeiler, M. D. (2012). ADADELTA: an adaptive learning rate method. arXiv:1212.5701.

    Examples
    --------
    >>> from optimizers import Adadelta, Function, minimize
    >>> f = Function([1.0, -10.0], value=lambda theta: theta @ theta / 2, gradient=lambda theta: theta)
    >>> minimize(f, Adadelta(lr=0.1), max_steps=2).theta.round(4)
    array([ 0.9994, -9.9994])
    """

    lr: Positive = 1.0
    rho: Fraction = 0.9
    eps: Positive = 1e-6
    v: np.ndarray = vector()
    u: np.ndarray = vector()

    @elementwise
    def update(self, theta: np.ndarray, grad: np.ndarray) -> None:
        step = self.scratch
        _average_square(self.v, self.rho, grad, step)
        np.add(self.v, self.eps, out=step)
        np.divide(grad, np.sqrt(step, out=step), out=grad)
        np.add(self.u, self.eps, out=step)
        grad *= np.sqrt(step, out=step)
        _average_square(self.u, self.rho, grad, step)
        theta -= np.multiply(grad, self.lr, out=step)


class RMSprop(FirstOrder):
    """RMSprop: the gradient is divided by the root of the average of its squares.

    Parameters
    ----------
    lr : float, default 0.01
        Learning rate, above 0.
    weight_decay : float, default 0.0
        The gradient of the L2 penalty ``weight_decay / 2 |theta|^2`` is added to g; at least 0.
    clip_norm : float, optional
        If ``|g|`` is larger, g is scaled to this norm; above 0.
    clip_value : float, optional
        Every component of g is clipped to [-clip_value, clip_value]; above 0.
    rho : float, default 0.9
        Decay of the averages, in [0, 1).
    eps : float, default 1e-8
        Added to the root in the denominator, above 0.
    momentum : float, default 0.0
        Decay of the velocity, in [0, 1); 0 for none.
    centered : bool, default False
        Whether to divide by the standard deviation of the gradients instead.

    Notes
    -----
    ::

        v := rho v + (1 - rho) g^2
        theta := theta - lr g / (sqrt(v) + eps)

    If `centered`, sqrt(v - mean^2) replaces sqrt(v), with mean := rho mean + (1 - rho) g (Graves 2013). With
    `momentum`, velocity := momentum velocity + g / (sqrt(v) + eps), and theta := theta - lr velocity.

    This is the form of torch, whose default rho is 0.99; 0.9 is that of the lecture, Keras and optax. Keras and optax
    have sqrt(v + eps) in the denominator, and include lr in the velocity.

    References
    ----------
    Tieleman, T., & Hinton, G. (2012). Lecture 6.5 - RMSProp. COURSERA: Neural Networks for Machine Learning.

    Graves, A. (2013). Generating sequences with recurrent neural networks. arXiv:1308.0850.

    Examples
    --------
    >>> from optimizers import Function, RMSprop, minimize
    >>> f = Function([1.0, -10.0], value=lambda theta: theta @ theta / 2, gradient=lambda theta: theta)
    >>> minimize(f, RMSprop(lr=0.1), max_steps=2).theta.round(4)
    array([ 0.4989, -9.4579])
    """

    rho: Fraction = 0.9
    eps: Positive = 1e-8
    momentum: Fraction = 0.0
    centered: bool = False
    v: np.ndarray = vector()
    mean: np.ndarray = vector(when="centered")
    velocity: np.ndarray = vector(when="momentum")

    @elementwise
    def update(self, theta: np.ndarray, grad: np.ndarray) -> None:
        step = self.scratch
        _average_square(self.v, self.rho, grad, step)
        variance = self.v
        if self.centered:
            _average(self.mean, self.rho, grad, step)
            np.multiply(self.mean, self.mean, out=step)
            variance = np.subtract(self.v, step, out=step)
            np.maximum(variance, 0, out=variance)  # rounding errors may make it negative
        np.divide(grad, _root(variance, self.eps, step), out=step)
        if self.momentum:
            self.velocity *= self.momentum
            self.velocity += step
            np.copyto(step, self.velocity)
        step *= self.lr
        theta -= step


class Adam(FirstOrder):
    """Adam: the average gradient is divided by the root of the average squared gradient.

    Parameters
    ----------
    lr : float, default 0.001
        Learning rate, above 0.
    weight_decay : float, default 0.0
        The gradient of the L2 penalty ``weight_decay / 2 |theta|^2`` is added to g; at least 0.
    clip_norm : float, optional
        If ``|g|`` is larger, g is scaled to this norm; above 0.
    clip_value : float, optional
        Every component of g is clipped to [-clip_value, clip_value]; above 0.
    beta1 : float, default 0.9
        Decay of the average of the gradients, in [0, 1).
    beta2 : float, default 0.999
        Decay of the average of the squared gradients, in [0, 1).
    eps : float, default 1e-8
        Added to the root in the denominator, above 0.

    Notes
    -----
    ::

        m := beta1 m + (1 - beta1) g
        v := beta2 v + (1 - beta2) g^2
        m_hat = m / (1 - beta1^t), v_hat = v / (1 - beta2^t)
        theta := theta - lr m_hat / (sqrt(v_hat) + eps)

    This is algorithm 1 of the paper with its defaults, as in torch and optax. Keras has the other form of the paper
    (section 2), theta := theta - lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps), in which eps has a larger
    effect in the first steps, and eps 1e-7.

    References
    ----------
    Kingma, D. P., & Ba, J. (2015). Adam: a method for stochastic optimization. ICLR 2015, arXiv:1412.6980.

    Examples
    --------
    >>> from optimizers import Adam, Function, minimize
    >>> f = Function([1.0, -10.0], value=lambda theta: theta @ theta / 2, gradient=lambda theta: theta)
    >>> minimize(f, Adam(lr=0.1), max_steps=2).theta.round(4)
    array([ 0.8004, -9.8   ])
    """

    lr: Positive = 0.001
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    eps: Positive = 1e-8
    m: np.ndarray = vector()
    v: np.ndarray = vector()

    @elementwise
    def update(self, theta: np.ndarray, grad: np.ndarray) -> None:
        step = self.scratch
        _average(self.m, self.beta1, grad, step)
        _average_square(self.v, self.beta2, grad, step)
        np.divide(self.m, _root(self.v, self.eps, step, 1 - self.beta2**self.t), out=step)
        step *= self.lr / (1 - self.beta1**self.t)
        theta -= step


class AdamW(Adam):
    """Adam with decoupled weight decay.

    Parameters
    ----------
    lr : float, default 0.001
        Learning rate, above 0.
    weight_decay : float, default 0.01
        theta is multiplied by 1 - lr weight_decay before the step; at least 0.
    clip_norm : float, optional
        If ``|g|`` is larger, g is scaled to this norm; above 0.
    clip_value : float, optional
        Every component of g is clipped to [-clip_value, clip_value]; above 0.
    beta1 : float, default 0.9
        Decay of the average of the gradients, in [0, 1).
    beta2 : float, default 0.999
        Decay of the average of the squared gradients, in [0, 1).
    eps : float, default 1e-8
        Added to the root in the denominator, above 0.

    Notes
    -----
    ::

        theta := (1 - lr weight_decay) theta
        m := beta1 m + (1 - beta1) g
        v := beta2 v + (1 - beta2) g^2
        m_hat = m / (1 - beta1^t), v_hat = v / (1 - beta2^t)
        theta := theta - lr m_hat / (sqrt(v_hat) + eps)

    This is the form of torch, Keras and optax, with the default weight_decay of torch (Keras: 0.004; optax: 1e-4). In
    the paper the weight decay is scaled only by the factor of the schedule, not by lr.

    References
    ----------
    Loshchilov, I., & Hutter, F. (2019). Decoupled weight decay regularization. ICLR 2019, arXiv:1711.05101.

    Examples
    --------
    >>> from optimizers import AdamW, Function, minimize
    >>> f = Function([1.0, -10.0], value=lambda theta: theta @ theta / 2, gradient=lambda theta: theta)
    >>> minimize(f, AdamW(lr=0.1), max_steps=2).theta.round(4)
    array([ 0.7985, -9.7801])
    """

    weight_decay: NonNegative = 0.01

    @elementwise
    def decay_weights(self, theta: np.ndarray, grad: np.ndarray) -> None:
        """Apply the weight decay: theta := (1 - lr weight_decay) theta."""
        theta *= 1 - self.lr * self.weight_decay


class Adamax(FirstOrder):
    """Adamax: Adam with a maximum in place of the average squared gradient.

    Parameters
    ----------
    lr : float, default 0.002
        Learning rate, above 0.
    weight_decay : float, default 0.0
        The gradient of the L2 penalty ``weight_decay / 2 |theta|^2`` is added to g; at least 0.
    clip_norm : float, optional
        If ``|g|`` is larger, g is scaled to this norm; above 0.
    clip_value : float, optional
        Every component of g is clipped to [-clip_value, clip_value]; above 0.
    beta1 : float, default 0.9
        Decay of the average of the gradients, in [0, 1).
    beta2 : float, default 0.999
        Decay of the maximum of the absolute gradients, in [0, 1).
    eps : float, default 1e-8
        Added to the absolute gradients, above 0, so that u is not zero.

    Notes
    -----
    ::

        m := beta1 m + (1 - beta1) g
        u := max(beta2 u, |g| + eps)
        theta := theta - lr / (1 - beta1^t) m / u

    This is algorithm 2 of the paper with its defaults, and with the eps of torch and optax; the paper has none. Keras
    divides by u + eps instead, with ``u := max(beta2 u, |g|)``.

    References
    ----------
    Kingma, D. P., & Ba, J. (2015). Adam: a method for stochastic optimization. ICLR 2015, arXiv:1412.6980.

    Examples
    --------
    >>> from optimizers import Adamax, Function, minimize
    >>> f = Function([1.0, -10.0], value=lambda theta: theta @ theta / 2, gradient=lambda theta: theta)
    >>> minimize(f, Adamax(lr=0.1), max_steps=2).theta.round(4)
    array([ 0.8052, -9.8004])
    """

    lr: Positive = 0.002
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    eps: Positive = 1e-8
    m: np.ndarray = vector()
    u: np.ndarray = vector()

    @elementwise
    def update(self, theta: np.ndarray, grad: np.ndarray) -> None:
        step = self.scratch
        _average(self.m, self.beta1, grad, step)
        np.abs(grad, out=step)
        step += self.eps
        self.u *= self.beta2
        np.maximum(self.u, step, out=self.u)
        np.divide(self.m, self.u, out=step)
        step *= self.lr / (1 - self.beta1**self.t)
        theta -= step


class Nadam(FirstOrder):
    """Nadam: Adam with Nesterov momentum.

    Parameters
    ----------
    lr : float, default 0.002
        Learning rate, above 0.
    weight_decay : float, default 0.0
        The gradient of the L2 penalty ``weight_decay / 2 |theta|^2`` is added to g; at least 0.
    clip_norm : float, optional
        If ``|g|`` is larger, g is scaled to this norm; above 0.
    clip_value : float, optional
        Every component of g is clipped to [-clip_value, clip_value]; above 0.
    beta1 : float, default 0.9
        Decay of the average of the gradients, in [0, 1).
    beta2 : float, default 0.999
        Decay of the average of the squared gradients, in [0, 1).
    eps : float, default 1e-8
        Added to the root in the denominator, above 0.
    momentum_decay : float, default 0.004
        The rate at which the momentum mu_t approaches beta1, at least 0.

    Notes
    -----
    ::

        mu_t = beta1 (1 - 0.96^(momentum_decay t) / 2)
        m := beta1 m + (1 - beta1) g
        v := beta2 v + (1 - beta2) g^2
        n = mu_{t+1} / (1 - mu_1 ... mu_{t+1}) m + (1 - mu_t) / (1 - mu_1 ... mu_t) g
        v_hat = v / (1 - beta2^t)
        theta := theta - lr n / (sqrt(v_hat) + eps)

    This is the form of torch, with its defaults. The paper has mu_t in place of beta1 in m, and beta2 v_hat in place of
    v_hat. Keras has 0.96^t in mu_t. In optax mu_t is beta1.

    References
    ----------
    Dozat, T. (2016). Incorporating Nesterov momentum into Adam. ICLR 2016 workshop.

    Examples
    --------
    >>> from optimizers import Function, Nadam, minimize
    >>> f = Function([1.0, -10.0], value=lambda theta: theta @ theta / 2, gradient=lambda theta: theta)
    >>> minimize(f, Nadam(lr=0.1), max_steps=2).theta.round(4)
    array([ 0.82  , -9.8164])
    """

    lr: Positive = 0.002
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    eps: Positive = 1e-8
    momentum_decay: NonNegative = 0.004
    m: np.ndarray = vector()
    v: np.ndarray = vector()
    mu_product: float = scalar(1.0)

    def _mu(self, t: int) -> float:
        return self.beta1 * (1 - 0.5 * float(0.96 ** (self.momentum_decay * t)))

    @elementwise
    def update(self, theta: np.ndarray, grad: np.ndarray) -> None:
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


class AMSGrad(FirstOrder):
    """AMSGrad: Adam with the maximum of all average squared gradients.

    Parameters
    ----------
    lr : float, default 0.001
        Learning rate, above 0.
    weight_decay : float, default 0.0
        The gradient of the L2 penalty ``weight_decay / 2 |theta|^2`` is added to g; at least 0.
    clip_norm : float, optional
        If ``|g|`` is larger, g is scaled to this norm; above 0.
    clip_value : float, optional
        Every component of g is clipped to [-clip_value, clip_value]; above 0.
    beta1 : float, default 0.9
        Decay of the average of the gradients, in [0, 1).
    beta2 : float, default 0.999
        Decay of the average of the squared gradients, in [0, 1).
    eps : float, default 1e-8
        Added to the root in the denominator, above 0.

    Notes
    -----
    ::

        m := beta1 m + (1 - beta1) g
        v := beta2 v + (1 - beta2) g^2
        v_max := max(v_max, v)
        m_hat = m / (1 - beta1^t), v_hat = v_max / (1 - beta2^t)
        theta := theta - lr m_hat / (sqrt(v_hat) + eps)

    This is the form of torch: Adam's bias correction follows the maximum. The paper has no bias correction. Keras has
    the form of torch, but adds eps to the uncorrected root, as in its Adam. optax corrects v before the maximum.

    References
    ----------
    Reddi, S. J., Kale, S., & Kumar, S. (2018). On the convergence of Adam and beyond. ICLR 2018, arXiv:1904.09237.

    Examples
    --------
    >>> from optimizers import AMSGrad, Function, minimize
    >>> f = Function([1.0, -10.0], value=lambda theta: theta @ theta / 2, gradient=lambda theta: theta)
    >>> minimize(f, AMSGrad(lr=0.1), max_steps=2).theta.round(4)
    array([ 0.8004, -9.8   ])
    """

    lr: Positive = 0.001
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    eps: Positive = 1e-8
    m: np.ndarray = vector()
    v: np.ndarray = vector()
    v_max: np.ndarray = vector()

    @elementwise
    def update(self, theta: np.ndarray, grad: np.ndarray) -> None:
        step = self.scratch
        _average(self.m, self.beta1, grad, step)
        _average_square(self.v, self.beta2, grad, step)
        np.maximum(self.v_max, self.v, out=self.v_max)
        np.divide(self.m, _root(self.v_max, self.eps, step, 1 - self.beta2**self.t), out=step)
        step *= self.lr / (1 - self.beta1**self.t)
        theta -= step
