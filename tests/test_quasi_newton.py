"""Tests of BFGS and L-BFGS: steps on a quadratic, the formula, pairs that are not stored, memory, convergence."""

import numpy as np
import pytest
import scipy.optimize
import scipy.special
from test_conjugate_gradient import EXACT, path, quadratic

from optimizers import Function, get, minimize


def rosenbrock(theta0=(-1.2, 1.0)):
    return Function(theta0, value=lambda x: 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2,
                    gradient=lambda x: np.array([-400 * x[0] * (x[1] - x[0] ** 2) - 2 * (1 - x[0]),
                                                 200 * (x[1] - x[0] ** 2)]))


@pytest.mark.parametrize("fields", [{"name": "bfgs"}, {"name": "lbfgs"}, {"name": "lbfgs", "memory": 1}])
def test_the_steps_on_a_quadratic_are_those_of_conjugate_gradient(fields):
    cg = path(get("cg", **EXACT), 8)
    np.testing.assert_allclose(path(get(**fields, **EXACT), 8), cg, rtol=1e-5, atol=1e-6)


def test_h_is_the_inverse_of_the_hessian_after_as_many_steps_as_dimensions():
    function, A, _ = quadratic(6, condition=10)
    bfgs = get("bfgs", **EXACT)
    for _ in range(6):
        bfgs.step(function)
    np.testing.assert_allclose(bfgs.H @ A, np.eye(6), atol=1e-4)
    np.testing.assert_array_equal(bfgs.H, bfgs.H.T)


def updated(H, s, y):
    V = np.eye(len(s)) - np.outer(y, s) / (s @ y)
    return V.T @ H @ V + np.outer(s, s) / (s @ y)


def test_the_update_is_the_formula():
    rng = np.random.default_rng(0)
    bfgs, A, P = get("bfgs"), np.diag(np.logspace(-2, 1, 7)), 7
    bfgs.start(np.zeros(P))
    H = np.eye(P)
    for k in range(10):
        s = rng.normal(size=P)
        y = A @ s
        expected = float(s @ np.linalg.solve(H, s))
        scale = s @ y / (y @ y) if k == 0 else expected / (s @ y) if k < P else 1
        H = updated(max(1, scale) * H, s, y)
        bfgs.store(s, y, s @ y, expected)
        bfgs.pairs += 1
        np.testing.assert_allclose(bfgs.H, H, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(bfgs.H @ y, s, atol=1e-9)
    g = rng.normal(size=P)
    np.testing.assert_allclose(bfgs.direction(g), -H @ g, rtol=1e-9, atol=1e-9)


def test_lbfgs_has_the_matrix_of_the_formula():
    rng = np.random.default_rng(0)
    lbfgs, A = get("lbfgs", memory=5), np.diag(np.arange(1.0, 8))
    lbfgs.start(np.zeros(7))
    pairs = [(s, A @ s) for s in rng.normal(size=(7, 7))]
    for s, y in pairs:
        lbfgs.store(s, y, s @ y, 1.0)
        lbfgs.pairs += 1
    s, y = pairs[-1]
    H = s @ y / (y @ y) * np.eye(7)
    for s, y in pairs[-5:]:
        H = updated(H, s, y)
    g = rng.normal(size=7)
    np.testing.assert_allclose(lbfgs.direction(g), -H @ g, atol=1e-12)


def test_the_curvature_that_h_expected_is_that_of_the_step():
    function, bfgs, seen = rosenbrock(), get("bfgs"), []
    store = type(bfgs).store

    class Watched(type(bfgs)):
        def store(self, s, y, sy, expected):
            seen.append((expected, float(s @ np.linalg.solve(self.H if self.pairs else np.eye(2), s))))
            store(self, s, y, sy, expected)

    watched = Watched()
    for _ in range(10):
        watched.step(function)
    np.testing.assert_allclose(*zip(*seen), rtol=1e-9)


def bad_scaling(name):
    """Return a function whose first step says little about its scale, and its starting point."""
    if name == "quadratic":
        e = np.logspace(0, 8, 20)
        return np.ones(20), lambda x: (e * x) @ x / 2, lambda x: e * x
    if name == "zakharov":
        i = np.arange(1, 11) / 2
        return (np.ones(10), lambda x: x @ x + (i @ x) ** 2 + (i @ x) ** 4,
                lambda x: 2 * x + (2 * (i @ x) + 4 * (i @ x) ** 3) * i)
    rng = np.random.default_rng(2)  # logistic regression of columns whose scales are from 1 to 1000
    X = rng.normal(size=(200, 10)) * np.logspace(0, 3, 10)
    y = (X @ rng.normal(size=10) > 0).astype(float)
    return (np.zeros(10), lambda w: np.mean(np.logaddexp(0, X @ w) - y * (X @ w)) + 5e-4 * w @ w,
            lambda w: X.T @ (scipy.special.expit(X @ w) - y) / 200 + 1e-3 * w)


@pytest.mark.parametrize("name", ["quadratic", "zakharov", "logistic regression"])
def test_bfgs_needs_few_evaluations_if_the_scales_differ(name):
    theta0, value, gradient = bad_scaling(name)
    ours = minimize(Function(theta0, value=value, gradient=gradient), get("bfgs"), 1000, 1e-5)
    scipys = scipy.optimize.minimize(value, theta0, jac=gradient, method="BFGS", options={"gtol": 1e-5})
    assert ours.converged
    assert ours.evaluations <= 1.5 * scipys.nfev


def test_convergence_on_rosenbrock_is_superlinear():
    function = rosenbrock()
    distances = []
    result = minimize(function, get("bfgs"), tolerance=1e-10,
                      callback=lambda f: distances.append(np.linalg.norm(f.theta - 1)))
    assert result.converged
    ratios = np.divide(distances[1:], distances[:-1])
    assert distances[-1] < 1e-11
    assert (ratios[-3:] < 0.1).all()
    assert ratios[-1] < 0.01


@pytest.mark.parametrize("name", ["bfgs", "lbfgs"])
@pytest.mark.parametrize("scale", [-1.0, 0.0, 1e-30, np.nan])
def test_a_pair_without_positive_curvature_is_not_stored(name, scale):
    """The curvature of the pair is negative, zero, a rounding error, or not a number."""
    from optimizers.second_order import Point

    optimizer = get(name)
    optimizer.start(np.zeros(2))
    start = Point(None, np.zeros(2), 1.0, np.array([1.0, 1e6]))
    end = Point(None, np.array([1.0, 0.0]), 0.5, np.array([1.0 + scale, 2e6]))
    optimizer.record_step(start, end, -1.0, 1.0)
    assert optimizer.pairs == 0


def test_both_gradients_of_a_pair_belong_to_one_objective_if_the_batch_changes():
    batches = [quadratic(5, condition=30, seed=seed) for seed in range(3)]
    lbfgs, theta = get("lbfgs"), np.ones(5)
    for k in range(9):
        function, A, _ = batches[k % 3]
        function.theta = theta
        lbfgs.step(function)
        np.testing.assert_allclose(lbfgs.Y[k], A @ lbfgs.S[k], atol=1e-10)


def test_bfgs_refuses_a_matrix_that_is_too_large():
    message = r"BFGS: its matrix for 39,760 parameters would take 6.3 GB, more than max_gigabytes, 1: use lbfgs instead"
    with pytest.raises(ValueError, match=message):
        get("bfgs").start(np.zeros(39760, "float32"))
    with pytest.raises(ValueError, match=r"8 parameters would take 0.0 GB"):
        get("bfgs", max_gigabytes=1e-9).start(np.zeros(8))


def test_the_memory_cannot_be_changed_after_a_step():
    function, lbfgs = rosenbrock(), get("lbfgs", memory=3)
    lbfgs.step(function)
    lbfgs.memory = 5
    with pytest.raises(ValueError, match=r"taken steps with S of shape \(3, 2\), not \(5, 2\): make a new one"):
        lbfgs.step(function)
