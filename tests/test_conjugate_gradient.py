"""Tests of conjugate gradient: P steps on a quadratic, the same steps with every beta, and restarts."""

import numpy as np
import pytest

from optimizers import Function, get, minimize
from optimizers.conjugate_gradient import BETAS


def quadratic(P=12, condition=100.0, seed=0):
    """Return the function theta^T A theta / 2 - b^T theta, A and b."""
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.normal(size=(P, P)))[0]
    A = Q * np.geomspace(1, condition, P) @ Q.T
    b = rng.normal(size=P)
    return Function(rng.normal(size=P), value=lambda x: x @ A @ x / 2 - b @ x, gradient=lambda x: A @ x - b), A, b


def path(optimizer, steps, **options):
    """Return theta after each of `steps` steps on a quadratic."""
    function, *_ = quadratic(**options)
    thetas = []
    for _ in range(steps):
        optimizer.step(function)
        thetas.append(function.theta.copy())
    return np.array(thetas)


EXACT = {"c2": 1e-9}  # the cubic interpolation of the line search is exact on a quadratic


@pytest.mark.parametrize("P", [2, 5, 12, 30])
@pytest.mark.parametrize("beta", BETAS)
def test_a_quadratic_needs_as_many_steps_as_dimensions(beta, P):
    function, A, b = quadratic(P, condition=10)
    before = np.abs(function.value_and_gradient()[1]).max()
    result = minimize(function, get("cg", beta=beta, **EXACT), max_steps=P, tolerance=1e-8 * before)
    assert result.converged
    np.testing.assert_allclose(result.theta, np.linalg.solve(A, b), atol=1e-7)


@pytest.mark.parametrize("beta", BETAS)
def test_the_steps_are_those_of_linear_conjugate_gradient(beta):
    function, A, b = quadratic()
    x = function.theta.copy()
    r = b - A @ x
    p, expected = r.copy(), []
    for _ in range(8):
        alpha = r @ r / (p @ A @ p)
        x = x + alpha * p
        after = r - alpha * A @ p
        p = after + (after @ after) / (r @ r) * p
        r = after
        expected.append(x)
    np.testing.assert_allclose(path(get("cg", beta=beta, **EXACT), 8), expected, rtol=1e-5, atol=1e-7)


def test_beta_by_hand():
    """A case in which the four formulas differ."""
    before, g, d = np.array([1.0, 0.0]), np.array([1.0, 2.0]), np.array([-2.0, 1.0])
    y = g - before  # (0, 2)
    assert BETAS["polak-ribiere"](before, g, y, d) == (4.0, 1.0)
    assert BETAS["hestenes-stiefel"](before, g, y, d) == (4.0, 2.0)
    assert BETAS["fletcher-reeves"](before, 4 * g, y, d) == (80.0, 1.0)
    assert BETAS["dai-yuan"](before, 4 * g, y, d) == (80.0, 2.0)
    assert BETAS["polak-ribiere"](2 * g, g, -g, d)[0] == 0  # PR+


def test_a_direction_of_ascent_is_replaced_by_minus_the_gradient():
    cg = get("cg")
    cg.start(np.zeros(2))
    cg.d[:], cg.weight = [5.0, 0.0], 1.0
    np.testing.assert_array_equal(cg.direction(np.array([1.0, 1.0])), [-1.0, -1.0])
