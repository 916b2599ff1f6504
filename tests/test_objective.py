"""Tests of Objective: the defaults of its methods, and the errors for methods that a class does not define."""

import numpy as np
import pytest

from optimizers import Function, LevenbergMarquardt, Newton, Objective, get


class Quartic(Objective):
    """sum(theta^4) / 4 + theta_0 theta_1, defined only by its value and gradient."""

    def __init__(self):
        self.theta = np.array([1.0, 2.0, -3.0])

    def value_and_gradient(self):
        theta = self.theta
        return float(np.sum(theta**4) / 4 + theta[0] * theta[1]), theta**3 + [theta[1], theta[0], 0]


class WithProducts(Quartic):
    """Adds products, in a buffer that the next call overwrites."""

    def __init__(self):
        super().__init__()
        self.product = np.empty(3)

    def hessian_product(self, v):
        np.multiply(3 * self.theta**2, v, out=self.product)
        self.product[:2] += v[1::-1]
        return self.product

    def gauss_newton_product(self, v):
        return np.multiply(3 * self.theta**2, v, out=self.product)


def check_triangle(R, Jr):
    """Check that R is the triangle of a QR factorization of the matrix Jr, in float64."""
    Jr = Jr.astype(float)
    assert R.dtype == np.float64
    assert R.shape == (min(Jr.shape), Jr.shape[1])
    np.testing.assert_array_equal(R, np.triu(R))
    norms = np.linalg.norm(Jr, axis=0)
    np.testing.assert_allclose(np.linalg.norm(R, axis=0), norms, rtol=1e-13)
    assert (np.abs(R.T @ R - Jr.T @ Jr) <= 1e-13 * np.outer(norms, norms)).all()


def test_value_returns_the_value_of_value_and_gradient():
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
    "residuals, for its count": lambda f: f.residual_count(),
    "residuals, for its triangle": lambda f: f.residual_triangle(),
    "examples": lambda f: f.examples,
    "subsample": lambda f: f.subsample(np.arange(2)),
}


@pytest.mark.parametrize("name", MISSING)
def test_a_missing_method_is_named(name):
    message = (f"this optimizer needs {name.split(',')[0]} of the objective, but Quartic does not define it: define "
               "it, or choose an optimizer that does not need it")
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
def test_an_optimizer_names_the_method_that_it_needs(optimizer, name):
    f = Quartic()
    theta = f.theta.copy()
    with pytest.raises(ValueError, match=f"this optimizer needs {name} of the objective, but Quartic does not define "):
        optimizer.step(f)
    np.testing.assert_array_equal(f.theta, theta)


@pytest.mark.parametrize("name", ["gd", "cg", "bfgs", "lbfgs"])
def test_the_gradient_is_enough_for_these_optimizers(name):
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


@pytest.mark.parametrize("M", [1, 3, 4, 5, 60])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_triangle_is_that_of_the_jacobian_and_the_residuals(M, dtype):
    class OneBuffer(Quartic):
        """A sum of squares whose Jacobian and residuals are written to the same buffer."""

        Jr = np.random.default_rng(M).normal(size=(M, 4)).astype(dtype)
        buffer = np.empty(4 * M, dtype)

        def jacobian(self):
            self.buffer[: 3 * M] = self.Jr[:, :3].ravel()
            return self.buffer[: 3 * M].reshape(M, 3)

        def residuals(self):
            self.buffer[:M] = self.Jr[:, 3]
            return self.buffer[:M]

    f = OneBuffer()
    assert f.residual_count() == M
    check_triangle(f.residual_triangle(), f.Jr)


def test_the_triangle_of_a_function():
    rng = np.random.default_rng(0)
    for M in (2, 4, 9):
        J, r = rng.normal(size=(M, 4)), rng.normal(size=M)
        J[:, 2] = 0
        f = Function(np.zeros(4), residuals=lambda t, r=r: r, jacobian=lambda t, J=J: J)
        assert f.residual_count() == M
        R = f.residual_triangle()
        check_triangle(R, np.column_stack([J, r]))
        assert not R[:, 2].any()  # exactly, so that the method knows that the parameter has no effect


def test_a_class_may_set_the_number_of_examples():
    f = Quartic()
    f.examples = 7
    assert f.examples == 7


def test_a_class_without_value_and_gradient_cannot_be_used():
    class WithoutGradient(Objective):
        theta = np.zeros(2)

    with pytest.raises(TypeError, match="value_and_gradient"):
        WithoutGradient()


def test_the_numbers_of_evaluations_and_of_examples_may_be_set():
    f = Quartic()
    assert f.evaluations == 0
    f.evaluations += 2
    f.examples = 7
    assert (f.evaluations, f.examples) == (2, 7)
    assert (Quartic().evaluations, Function([1.0], value=np.sum).evaluations) == (0, 0)


@pytest.mark.parametrize("name", ["hessian", "gauss_newton"])
def test_a_matrix_above_the_limit_is_refused(name):
    f = WithProducts()
    assert f.max_gigabytes == 1
    f.max_gigabytes = 7e-8  # 3 x 3 float64 take 7.2e-8 GB
    with pytest.raises(ValueError, match=rf"the matrix of 3 by 3 parameters needs .* GB, more than 7e-08 GB: "
                                         rf"use {name}_product\(v\), which needs no matrix, or raise max_gigabytes"):
        getattr(f, name)()
    f.max_gigabytes = 8e-8
    assert getattr(f, name)().shape == (3, 3)


class Members:
    """The members of an objective that first-order methods use, without Objective as the base."""

    def __init__(self):
        self.theta = np.array([1.0, 2.0])

    def value_and_gradient(self):
        return float(self.theta @ self.theta) / 2, self.theta.copy()


@pytest.mark.parametrize(("optimizer", "missing"), [
    (Newton(), "hessian"), (Newton(curvature="gauss-newton"), "gauss_newton"), (Newton(form="cg"), "hessian_product"),
    (LevenbergMarquardt(), "residual_count"), (LevenbergMarquardt(form="products"), "gauss_newton_product"),
    (Newton(sample=0.5), "examples"),
])
def test_a_class_that_is_not_derived_from_objective_is_told_what_it_lacks(optimizer, missing):
    f = Members()
    message = (f"this optimizer needs {missing} of the objective, but Members does not define it: derive Members from "
               f"optimizers.Objective, or define {missing}")
    with pytest.raises(ValueError, match=message):
        optimizer.step(f)
    np.testing.assert_array_equal(f.theta, [1, 2])
    assert optimizer.t == 0  # it was not a step, so the optimizer may be used for another function
    optimizer.start(np.zeros(3))


def test_a_class_without_value_is_told_so_after_the_first_trial_point():
    class WithHessian(Members):
        def hessian(self):
            return np.eye(2)

    f, newton = WithHessian(), Newton()
    with pytest.raises(ValueError, match="needs value of the objective, but WithHessian does not define it: derive"):
        newton.step(f)
    np.testing.assert_array_equal(f.theta, [1, 2])
    assert newton.t == 0


def test_other_attribute_errors_are_not_changed():
    class Wrong(Members):
        def hessian(self):
            return self.theta.hessian

    with pytest.raises(AttributeError, match=r"ndarray' object has no attribute 'hessian'"):
        Newton().step(Wrong())
