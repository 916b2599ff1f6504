"""Tests of the first-order rules: equality with torch (committed traces, and torch itself), convergence, faults."""

import importlib.util
import math

import numpy as np
import pytest
from references.rules import CASES, STEPS, TRACES, problem

from optimizers import OPTIMIZERS, FirstOrder, Function, Objective, Scheduled, get, minimize
from optimizers.first_order import Adam, Adamax, Momentum, RMSprop
from optimizers.schedules import Exponential

RULES = [name for name, kind in OPTIMIZERS.items() if issubclass(kind, FirstOrder)]


class FixedGradients(Objective):
    """An objective with a fixed sequence of gradients."""

    def __init__(self, theta0, gradients):
        self.theta, self.gradients = theta0.copy(), iter(gradients)

    def value_and_gradient(self):
        return 0.0, next(self.gradients).copy()


def trace(optimizer):
    """Return theta after each step on the problem of the references, (STEPS, P)."""
    theta0, gradients, rates = problem()
    objective, thetas = FixedGradients(theta0, gradients), []
    for rate in rates:
        optimizer.lr = float(rate)
        optimizer.step(objective)
        thetas.append(objective.theta.copy())
    return np.array(thetas)


def error(thetas, expected):
    """Return the largest difference, relative to the largest |theta| up to that step."""
    return np.max(np.abs(thetas - expected) / np.maximum.accumulate(np.abs(expected), axis=0))


def test_every_first_order_rule_has_a_reference():
    assert {name for name, *_ in CASES.values()} == set(RULES)
    with np.load(TRACES) as traces:
        assert set(CASES) <= set(traces.files)
        for name, array in zip(("theta0", "gradients", "rates"), problem()):
            np.testing.assert_array_equal(traces[name], array)


@pytest.mark.parametrize("case", CASES)
def test_a_rule_is_equal_to_the_trace_of_torch(case):
    name, fields, *_ = CASES[case]
    with np.load(TRACES) as traces:
        expected = traces[case]
    assert expected.shape[0] == STEPS
    assert error(trace(get(name, **fields)), expected) < 1e-10


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed (extra dev)")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_a_rule_is_equal_to_the_installed_torch(case, monkeypatch):
    monkeypatch.syspath_prepend(TRACES.parent)
    import torch_traces

    name, fields, *_ = CASES[case]
    assert error(trace(get(name, **fields)), torch_traces.trace(case)) < 1e-10


def planted(kind, **changes):
    """Return a rule with some of its methods replaced."""
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
        old = self.v.copy()
        super().update(theta, grad)
        self.v[:] = self.beta2 * old + (1 - self.beta2) * self.m**2


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
def test_a_wrong_rule_differs_from_its_trace(fault):
    with np.load(TRACES) as traces:
        assert error(trace(fault(**CASES[FAULTS[fault]][1])), traces[FAULTS[fault]]) > 1e-9


# The learning rate, its decay per step and the number of steps that reduce the value to a millionth, for the quadratic
# and for Rosenbrock's function: the best of ten rates from 3e-4 to 3 and of four decays from 1 to 0.99. The tests allow
# 1.25 times the steps.
CONVERGES = {
    "gd": (0.0018, 1, 1176, 0.0018, 1, 6144),
    "momentum": (0.003, 0.998, 121, 0.0018, 1, 322),
    "nesterov": (0.003, 0.99, 160, 0.0018, 0.9995, 957),
    "adagrad": (3, 0.99, 8, 0.3, 1, 6551),
    "adadelta": (3, 1, 240, 0.3, 0.9995, 5980),
    "rmsprop": (0.3, 0.998, 7, 0.03, 0.998, 3811),
    "adam": (3, 0.99, 111, 1, 1, 446),
    "adamw": (3, 0.99, 91, 0.1, 0.9995, 6383),
    "adamax": (1, 0.99, 102, 1, 1, 1494),
    "nadam": (0.3, 0.998, 33, 0.1, 0.9995, 2797),
    "amsgrad": (0.1, 0.99, 116, 1, 1, 486),
}


def quadratic():
    """Return sum(a theta^2) / 2 with a from 1 to 1,000: condition number 1,000."""
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


@pytest.mark.parametrize("make", [quadratic, rosenbrock])
@pytest.mark.parametrize("name", RULES)
def test_a_rule_converges(name, make):
    lr, decay, steps = CONVERGES[name][:3] if make is quadratic else CONVERGES[name][3:]
    function, optimizer = make(), Scheduled(get(name, lr=lr), Exponential(decay))
    goal = 1e-6 * function.value()
    for _ in range(math.ceil(1.25 * steps)):
        if optimizer.step(function) < goal:
            return
    pytest.fail(f"{function.value():.2e} after {optimizer.t} steps, not below {goal:.2e}")


def test_clipping_and_weight_decay():
    def step(grad, **fields):
        objective = FixedGradients(np.array([1.0, -2.0]), [np.array(grad)])
        get("gd", lr=1.0, **fields).step(objective)
        return np.array([1.0, -2.0]) - objective.theta

    np.testing.assert_allclose(step([3.0, 4.0], clip_norm=1.0), [0.6, 0.8])
    np.testing.assert_allclose(step([3.0, 4.0], clip_norm=6.0), [3, 4])
    np.testing.assert_allclose(step([3.0, -4.0], clip_value=3.5), [3, -3.5])
    np.testing.assert_allclose(step([3.0, -4.0], clip_value=3.0, clip_norm=3.0), [3 / math.sqrt(2), -3 / math.sqrt(2)])
    np.testing.assert_allclose(step([3.0, 4.0], weight_decay=0.5, clip_norm=1.0), [0.6 + 0.5, 0.8 - 1])


@pytest.mark.parametrize("name", RULES)
def test_every_rule_has_weight_decay_and_clipping(name):
    plain = trace(get(name, weight_decay=0.0))
    assert (trace(get(name, weight_decay=0.1)) != plain).any()
    assert (trace(get(name, weight_decay=0.0, clip_norm=0.01)) != plain).any()
    assert (trace(get(name, weight_decay=0.0, clip_value=0.01)) != plain).any()


def test_the_message_of_minimize_says_why_it_ended():
    result = minimize(rosenbrock(), get("adam", lr=0.1), max_steps=5000, tolerance=1e-6)
    assert result.converged
    np.testing.assert_allclose(result.theta, 1, atol=1e-4)
    assert result.evaluations == result.steps + 1
    short = minimize(rosenbrock(), get("adam", lr=0.1), max_steps=10)
    assert not short.converged
    assert "after 10 steps the largest component of the gradient is" in short.message
    with np.errstate(all="ignore"):
        diverged = minimize(rosenbrock(), get("gd", lr=1.0))
    assert not diverged.converged
    assert "try a smaller lr" in diverged.message
