"""Tests of Objective: what its methods give by default, and the errors for what a class does not define."""

import numpy as np
import pytest

from optimizers import Function, LevenbergMarquardt, Newton, Objective, get


class Quartic(Objective):
    """sum(theta^4) / 4 + theta_0 theta_1, by its gradient alone."""

    def __init__(self):
        self.theta = np.array([1.0, 2.0, -3.0])

    def value_and_gradient(self):
        theta = self.theta
        return float(np.sum(theta**4) / 4 + theta[0] * theta[1]), theta**3 + [theta[1], theta[0], 0]


class WithProducts(Quartic):
    """Its products are buffers that the next call overwrites."""

    def __init__(self):
        super().__init__()
        self.product = np.empty(3)

    def hessian_product(self, v):
        np.multiply(3 * self.theta**2, v, out=self.product)
        self.product[:2] += v[1::-1]
        return self.product

    def gauss_newton_product(self, v):
        return np.multiply(3 * self.theta**2, v, out=self.product)


def test_the_value_is_that_of_value_and_gradient():
    assert Quartic().value() == (1 + 16 + 81) / 4 + 2


def test_the_matrices_come_from_the_products():
    f = WithProducts()
    np.testing.assert_array_equal(f.hessian(), [[3, 1, 0], [1, 12, 0], [0, 0, 27]])
    np.testing.assert_array_equal(f.gauss_newton(), np.diag([3, 12, 27]))
    f.theta = f.theta.astype("float32")
    assert f.hessian().dtype == np.float64  # the product's dtype decides


MISSING = {
    "hessian_product": lambda f: f.hessian_product(np.ones(3)),
    "gauss_newton_product": lambda f: f.gauss_newton_product(np.ones(3)),
    "residuals": lambda f: f.residuals(),
    "jacobian": lambda f: f.jacobian(),
    "examples": lambda f: f.examples,
    "subsample": lambda f: f.subsample(np.arange(2)),
}


@pytest.mark.parametrize("name", MISSING)
def test_a_missing_method_is_named(name):
    message = (f"this optimizer needs {name} of the objective, but Quartic does not define it: define it, or choose an "
               "optimizer that does not need it")
    with pytest.raises(ValueError, match=message):
        MISSING[name](Quartic())


@pytest.mark.parametrize(("optimizer", "name"), [
    (Newton(), "hessian_product"),
    (Newton(form="cg"), "hessian_product"),
    (Newton(curvature="gauss-newton"), "gauss_newton_product"),
    (Newton(sample=0.5), "examples"),
    (LevenbergMarquardt(form="qr"), "residuals"),
    (LevenbergMarquardt(), "gauss_newton_product"),
])
def test_an_optimizer_that_needs_more_says_what(optimizer, name):
    f = Quartic()
    theta = f.theta.copy()
    with pytest.raises(ValueError, match=f"this optimizer needs {name} of the objective, but Quartic does not define "):
        optimizer.step(f)
    np.testing.assert_array_equal(f.theta, theta)


@pytest.mark.parametrize("name", ["gd", "cg", "bfgs", "lbfgs"])
def test_the_gradient_is_enough_for(name):
    f, optimizer = Quartic(), get(name)
    before = f.value()
    for _ in range(5):
        optimizer.step(f)
    assert f.value() < before


def test_newton_takes_the_matrix_from_products():
    off_diagonal = np.diag([1, 0], 1) + np.diag([1, 0], -1)
    f, by_function = WithProducts(), Function(Quartic().theta, value=lambda t: np.sum(t**4) / 4 + t[0] * t[1],
                                              gradient=lambda t: t**3 + [t[1], t[0], 0],
                                              hessian=lambda t: np.diag(3 * t**2) + off_diagonal)
    for objective in (f, by_function):
        newton = Newton(form="dense")
        for _ in range(5):
            newton.step(objective)
    np.testing.assert_array_equal(f.theta, by_function.theta)


def test_a_class_may_set_the_number_of_examples():
    f = Quartic()
    f.examples = 7
    assert f.examples == 7


def test_a_class_without_value_and_gradient_cannot_be_used():
    class Nothing(Objective):
        theta = np.zeros(2)

    with pytest.raises(TypeError, match="value_and_gradient"):
        Nothing()
