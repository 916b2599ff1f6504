"""Every first-order rule against torch's, by committed traces and live; that it converges; and that faults are seen."""

import importlib.util
import math

import numpy as np
import pytest

from optimizers import OPTIMIZERS, FirstOrder, Function, get, minimize
from optimizers.first_order import Adam, Adamax, Momentum, RMSprop
from references.rules import CASES, STEPS, TRACES, problem

RULES = [name for name, kind in OPTIMIZERS.items() if issubclass(kind, FirstOrder)]


class Given:
    """An objective whose gradients are told."""

    def __init__(self, theta0, gradients):
        self.theta, self.gradients = theta0.copy(), iter(gradients)

    def value_and_gradient(self):
        return 0.0, next(self.gradients).copy()


def trace(optimizer):
    """theta after each step on the problem of the references, (STEPS, P)."""
    theta0, gradients, rates = problem()
    given, thetas = Given(theta0, gradients), []
    for rate in rates:
        optimizer.lr = float(rate)
        optimizer.step(given)
        thetas.append(given.theta.copy())
    return np.array(thetas)


def error(ours, theirs):
    """The largest difference along the way, beside how far theta has come from 0 by then."""
    return np.max(np.abs(ours - theirs) / np.maximum.accumulate(np.abs(theirs), axis=0))


def test_every_first_order_rule_has_a_reference():
    assert {ours for ours, *_ in CASES.values()} == set(RULES)
    with np.load(TRACES) as traces:
        assert set(CASES) <= set(traces.files)
        for name, array in zip(("theta0", "gradients", "rates"), problem()):
            np.testing.assert_array_equal(traces[name], array)


@pytest.mark.parametrize("case", CASES)
def test_a_rule_is_torchs(case):
    name, fields, *_ = CASES[case]
    with np.load(TRACES) as traces:
        theirs = traces[case]
    assert theirs.shape[0] == STEPS
    assert error(trace(get(name, **fields)), theirs) < 1e-10


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed (extra dev)")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_a_rule_is_the_installed_torchs(case, monkeypatch):
    monkeypatch.syspath_prepend(TRACES.parent)
    import torch_traces

    name, fields, *_ = CASES[case]
    assert error(trace(get(name, **fields)), torch_traces.trace(case)) < 1e-10


def planted(kind, **changes):
    """A rule with some of its methods replaced."""
    return type(f"Faulty{kind.__name__}", (kind,), changes)


class NoBiasCorrection(Adam):
    def update(self, theta, grad):
        t, self.t = self.t, 10**9
        super().update(theta, grad)
        self.t = t


class BiasCorrectionOneStepLate(Adam):
    def update(self, theta, grad):
        self.t += 1
        super().update(theta, grad)
        self.t -= 1


class EpsInsideTheRoot(RMSprop):
    def update(self, theta, grad):
        self.v *= self.rho
        self.v += (1 - self.rho) * grad**2
        theta -= self.lr * grad / np.sqrt(self.v + self.eps)


class EpsOutsideTheMaximum(Adamax):
    def update(self, theta, grad):
        self.m += (1 - self.beta1) * (grad - self.m)
        np.maximum(self.beta2 * self.u, np.abs(grad), out=self.u)
        theta -= self.lr / (1 - self.beta1**self.t) * self.m / (self.u + self.eps)


class StaleMoment(Adam):
    def update(self, theta, grad):
        stale = self.m.copy()
        super().update(theta, grad)
        if self.t % 10 == 0:
            self.m[:] = stale


class LearningRateInTheVelocity(Momentum):
    def update(self, theta, grad):
        self.v *= self.momentum
        self.v += self.lr * grad
        theta -= self.v


class SecondMomentOfTheFirst(Adam):
    def update(self, theta, grad):
        kept = self.v.copy()
        super().update(theta, grad)
        self.v[:] = self.beta2 * kept + (1 - self.beta2) * self.m**2


class DecayAfterTheStep(OPTIMIZERS["adamw"]):
    def decay_weights(self, theta, grad):
        pass

    def update(self, theta, grad):
        super().update(theta, grad)
        theta *= 1 - self.lr * self.weight_decay


FAULTS = {NoBiasCorrection: "adam", BiasCorrectionOneStepLate: "adam", EpsInsideTheRoot: "rmsprop",
          EpsOutsideTheMaximum: "adamax", StaleMoment: "adam", LearningRateInTheVelocity: "momentum",
          SecondMomentOfTheFirst: "adam", DecayAfterTheStep: "adamw, weight decay"}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_fails_its_trace(fault):
    with np.load(TRACES) as traces:
        assert error(trace(fault(**CASES[FAULTS[fault]][1])), traces[FAULTS[fault]]) > 1e-9


# What each rule needs, found by trying rates from 1e-4 to 10 by factors of about 3: the learning rate, and the steps
# that were counted, on the quadratic and on Rosenbrock's valley. The tests allow 1.25 times as many.
CONVERGES = {
    "gd": (1.8e-3, 1, 1.8e-3, 1),
}


def quadratic():
    """sum(a theta^2) / 2 with a from 1 to 1,000: condition number 1,000."""
    a = np.geomspace(1, 1000, 10)
    return Function(np.linspace(0.5, 1.5, 10), value=lambda theta: a @ theta**2 / 2, gradient=lambda theta: a * theta)


def rosenbrock():
    def value(theta):
        x, y = theta
        return 100 * (y - x**2) ** 2 + (1 - x) ** 2

    def gradient(theta):
        x, y = theta
        return np.array([-400 * x * (y - x**2) - 2 * (1 - x), 200 * (y - x**2)])

    return Function([-1.2, 1.0], value=value, gradient=gradient)
