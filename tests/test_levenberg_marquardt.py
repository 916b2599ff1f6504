"""Tests of Levenberg-Marquardt: certified regressions, published minima, the forms, and steps that are impossible."""

import math
import warnings

from least_squares import PROBLEMS
import numpy as np
import pytest
from regression import REGRESSIONS
from test_optimizer import check_continuation

from optimizers import Function, LevenbergMarquardt, minimize
import optimizers.levenberg_marquardt

FORMS = ("qr", "dual", "products")


def fit(f, **options):
    return minimize(f, LevenbergMarquardt(**options), max_steps=2000, tolerance=0)


@pytest.mark.parametrize("name", REGRESSIONS)
def test_the_certified_parameters_give_the_certified_sum_of_squares(name):
    regression = REGRESSIONS[name]
    r = regression.residuals(np.array(regression.certified))
    assert r @ r == pytest.approx(regression.rss, rel=1e-9)


@pytest.mark.parametrize("start", ["distant", "near"])
@pytest.mark.parametrize("name", REGRESSIONS)
def test_six_digits_of_every_parameter(name, start):
    regression = REGRESSIONS[name]
    result = fit(regression.function(regression.starts[start == "near"]))
    np.testing.assert_allclose(result.theta, regression.certified, rtol=5e-7)
    assert result.message.startswith("the value cannot be reduced further")


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_published_minima(name):
    problem = PROBLEMS[name]
    result = fit(problem.function())
    # the table has six digits; 0 is reached up to the rounding errors of the residuals
    assert any(2 * result.value == pytest.approx(best, rel=1e-5, abs=1e-13) for best in problem.minima)


def small(M=7, P=4, seed=0, spread=2):
    """Return the residuals tanh(A theta) - y, with columns of very different norms."""
    rng = np.random.default_rng(seed)
    A, y = rng.normal(size=(M, P)) * 10.0 ** np.linspace(-spread, spread, P), rng.normal(size=M)
    return Function(rng.normal(size=P) / 100, residuals=lambda x: np.tanh(A @ x) - y,
                    jacobian=lambda x: (1 - np.tanh(A @ x) ** 2)[:, None] * A)


def gradient_only(f):
    """Return the same function without its residuals, with Gauss-Newton products."""
    class Plain:
        theta = f.theta
        value, value_and_gradient, gauss_newton_product = f.value, f.value_and_gradient, f.gauss_newton_product

        def residual_count(self):
            raise ValueError("this loss is not a sum of squares")

    return Plain()


@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (5, 5)])
def test_the_forms_take_the_same_steps(shape, monkeypatch):
    monkeypatch.setattr(LevenbergMarquardt, "_estimate", lambda self, objective: None)
    paths = []
    for form in FORMS:
        f, lm, path = small(*shape, spread=1), LevenbergMarquardt(form=form, forcing=0), []
        lm.start(f.theta)
        lm.D[:] = 100  # more than the norm of any column of J
        for _ in range(4):
            lm.step(f)
            path.append(f.theta.copy())
            assert lm.form_used == form
        paths.append(path)
    for path in paths[1:]:
        np.testing.assert_allclose(path, paths[0], rtol=1e-8)


def test_the_form_is_chosen_from_the_sizes(monkeypatch):
    for shape, form in (((7, 4), "qr"), ((4, 7), "dual")):
        lm = LevenbergMarquardt()
        lm.step(small(*shape))
        assert lm.form_used == form
    monkeypatch.setattr(optimizers.levenberg_marquardt, "MAX_WORK", 100)
    for f in (small(), gradient_only(small())):
        lm = LevenbergMarquardt()
        assert lm.step(f) > f.value()
        assert lm.form_used == "products"


@pytest.mark.parametrize("form", ["qr", "dual"])
def test_a_form_that_needs_too_much_memory_is_refused(form):
    class Large:
        theta = np.zeros(100_000)
        value_and_gradient = staticmethod(lambda: (1.0, np.ones(100_000)))
        residual_count = staticmethod(lambda: 10_000)

    message = rf"form='{form}' would take 24\.0 GB, more than max_gigabytes, 1: use form='products' instead"
    with pytest.raises(ValueError, match=message):
        LevenbergMarquardt(form=form).step(Large())
    with pytest.raises(ValueError, match="LevenbergMarquardt: form must be one of auto, qr, dual, products, not 'svd'"):
        LevenbergMarquardt(form="svd")


def test_the_path_does_not_depend_on_the_units_of_the_parameters():
    f, units = small(), 2.0 ** np.array([20, -13, 0, 5])
    scaled = Function(f.theta / units, residuals=lambda x: f._functions["residuals"](units * x),
                      jacobian=lambda x: f._functions["jacobian"](units * x) * units)
    a, b = LevenbergMarquardt(), LevenbergMarquardt()
    for _ in range(8):
        assert a.step(f) == b.step(scaled)
        np.testing.assert_array_equal(units * scaled.theta, f.theta)


def test_the_condition_number_is_not_squared():
    i = np.arange(8)
    A = 1 / (1 + i[:, None] + i)  # Hilbert's matrix, condition 1.5e10
    A = np.vstack([A, A[::-1] / 3])
    y = A @ np.ones(8)
    errors = {}
    for form in ("qr", "products"):
        f = Function(np.zeros(8), residuals=lambda x: A @ x - y, jacobian=lambda x: A)
        errors[form] = np.abs(fit(f, form=form).theta - 1).max()
    normal = np.abs(np.linalg.solve(A.T @ A, A.T @ y) - 1).max()
    assert errors["qr"] < 1e-4 < 1e-2 < normal


def test_one_step_solves_a_linear_problem_of_any_rank():
    rng = np.random.default_rng(0)
    A, y = rng.normal(size=(9, 5)) @ np.diag([1, 1, 1, 1, 0]), rng.normal(size=9)
    A[:, 3] = A[:, 2]
    for form in FORMS:
        f = Function(np.zeros(5), residuals=lambda x: A @ x - y, jacobian=lambda x: A)
        lm = LevenbergMarquardt(form=form, factor=100, forcing=0)
        lm.step(f)
        assert np.abs(f.value_and_gradient()[1]).max() < 1e-10
        assert not lm.message


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, OverflowError("distant"), None])
def test_trial_points_that_are_not_finite_are_refused_and_nearer_ones_are_tried(form, bad):
    """Gauss-Newton steps on the arc tangent are too long from a distant start. Beyond 2 from 1 no value exists."""
    refused = 0

    def residuals(x):
        nonlocal refused
        if np.abs(x - 1).max() <= 2:
            return np.arctan(x - 1)
        refused += 1
        if isinstance(bad, Exception):
            raise bad
        return np.full(2, bad) if bad else np.exp(1e4 * np.abs(x))

    f = Function([2.95, 2.9], residuals=residuals, jacobian=lambda x: np.diag(1 / (1 + (x - 1) ** 2)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = minimize(f, LevenbergMarquardt(form=form, factor=100), max_steps=50)
    assert refused
    assert result.converged
    np.testing.assert_allclose(result.theta, 1, atol=1e-7)


def test_theta_does_not_change_and_there_is_a_message_if_no_other_point_has_a_value():
    theta0 = np.array([0.5, 0.25])
    f = Function(theta0, residuals=lambda x: x if (x == theta0).all() else x * math.nan, jacobian=lambda x: np.eye(2))
    lm = LevenbergMarquardt()
    assert lm.step(f) == theta0 @ theta0 / 2
    np.testing.assert_array_equal(f.theta, theta0)
    assert lm.message == ("the value cannot be reduced further: no trial point has a lower value, not even the "
                          "nearest")


@pytest.mark.parametrize("form", FORMS)
def test_a_jacobian_that_is_not_finite_changes_nothing(form):
    f = small()
    gradient = f.value_and_gradient()[1]
    f.value_and_gradient = lambda: (f.value(), gradient)
    f.jacobian = lambda: np.full((7, 4), math.nan)
    lm, theta = LevenbergMarquardt(form=form), f.theta.copy()
    lm.step(f)
    assert lm.message == "the curvature is not finite"
    np.testing.assert_array_equal(f.theta, theta)


@pytest.mark.parametrize("form", ["qr", "dual"])
@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (50, 40)])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_number_that_is_not_finite_is_found_anywhere_in_the_jacobian(bad, shape, form):
    f, (M, P) = small(*shape), shape
    J, gradient, theta = f.jacobian(), f.value_and_gradient()[1], f.theta.copy()
    f.value_and_gradient = lambda: (f.value(), gradient)
    f.jacobian = lambda: J
    for i in {0, M // 2, M - 1}:
        for j in {0, P // 2, P - 1}:
            lm, J[i, j], before = LevenbergMarquardt(form=form), bad, J[i, j]
            lm.step(f)
            J[i, j] = before
            assert lm.message == "the curvature is not finite"
            assert not lm.D.any()
            np.testing.assert_array_equal(f.theta, theta)


@pytest.mark.parametrize("form", FORMS)
def test_a_restored_optimizer_takes_the_same_steps_bit_for_bit(form):
    f = check_continuation(small, lambda: LevenbergMarquardt(form=form), before=3, after=3)
    assert f.value() > 0


@pytest.mark.parametrize("seed", range(3))
def test_a_small_network_fits_a_sine(seed):
    """1-5-1 with tanh, on sin(pi x), from weights of N(0, 1): a mean squared error below 1e-4 within 50 steps."""
    x = np.linspace(-1, 1, 41)

    def hidden(theta):
        return np.tanh(np.outer(x, theta[:5]) + theta[5:10])

    def jacobian(theta):
        h = hidden(theta)
        back = (1 - h**2) * theta[10:15]
        return np.column_stack([back * x[:, None], back, h, np.ones(41)])

    f = Function(np.random.default_rng(seed).normal(size=16), jacobian=jacobian,
                 residuals=lambda theta: hidden(theta) @ theta[10:15] + theta[15] - np.sin(np.pi * x))
    result = minimize(f, LevenbergMarquardt(), max_steps=50, tolerance=0)
    assert 2 * result.value / 41 < 1e-4
