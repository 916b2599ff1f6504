"""Tests of the line searches and of all methods that use one.

The searches: their conditions on random functions of one variable, and their results if the conditions cannot hold.
The methods: their behaviour if a step is not possible.
"""

import math

import numpy as np
import pytest

from optimizers import OPTIMIZERS, Function, get, minimize
from optimizers.line_search import armijo, strong_wolfe
from optimizers.line_search_method import LineSearchMethod


def random_function(seed):
    """Return a function of one variable with several minima that decreases at 0 and is bounded below."""
    rng = np.random.default_rng(seed)
    a, w, p = rng.normal(size=4), rng.uniform(0.3, 3, size=4), rng.uniform(0, 7, size=4)
    scale, bend = 10 ** rng.uniform(-3, 3), 10 ** rng.uniform(-2, 1)

    def phi(alpha):
        x = alpha / scale
        return bend * x**2 + float(a @ np.sin(w * x + p)), (2 * bend * x + float((a * w) @ np.cos(w * x + p))) / scale

    if phi(0.0)[1] < 0:
        return phi
    return lambda alpha: (phi(-alpha)[0], -phi(-alpha)[1])


class Counted:
    """phi, and the alphas with which it was called."""

    def __init__(self, phi):
        self.phi, self.alphas = phi, []

    def __call__(self, alpha):
        self.alphas.append(alpha)
        return self.phi(alpha)


@pytest.mark.parametrize(("c2", "max_median"), [(0.9, 3.0), (0.1, 5.0)])
def test_the_strong_wolfe_conditions_hold_on_random_functions(c2, max_median):
    counts = []
    for seed in range(500):
        phi = Counted(random_function(seed))
        value, slope = phi.phi(0.0)
        result = strong_wolfe(phi, value, slope, 1.0, 1e-4, c2, max_evaluations=30)
        assert not result.message
        new_value, new_slope = phi.phi(result.alpha)
        assert new_value <= value + 1e-4 * result.alpha * slope
        assert abs(new_slope) <= c2 * abs(slope)
        assert phi.alphas[-1] == result.alpha  # the caller remembers the last point
        counts.append(len(phi.alphas))
    assert np.median(counts) <= max_median
    assert max(counts) < 20


def test_the_armijo_condition_holds_on_random_functions():
    for seed in range(500):
        phi = Counted(random_function(seed))
        value, slope = phi.phi(0.0)
        result = armijo(phi, value, slope, 50.0)
        assert not result.message
        assert phi.phi(result.alpha)[0] <= value + 1e-4 * result.alpha * slope
        ratios = np.array(phi.alphas[1:]) / phi.alphas[:-1]
        assert ((ratios >= 0.1 - 1e-12) & (ratios <= 0.5 + 1e-12)).all()


@pytest.mark.parametrize("first", [1e-6, 1.0, 1e6])
def test_the_minimum_of_a_parabola_is_found_exactly(first):
    result = strong_wolfe(lambda a: ((a - 3) ** 2, 2 * (a - 3)), 9.0, -6.0, first, 1e-4, 1e-9)
    assert not result.message
    assert result.alpha == pytest.approx(3, rel=1e-8)


FAULTS = {"nan": (math.nan, math.nan), "infinite": (math.inf, math.inf), "minus infinite": (-math.inf, 0.0),
          "slope nan": (0.0, math.nan), "slope infinite": (-1.0, -math.inf)}


@pytest.mark.parametrize("search", [strong_wolfe, armijo])
@pytest.mark.parametrize("fault", FAULTS)
def test_an_alpha_with_a_value_that_is_not_finite_is_too_large(fault, search):
    def phi(alpha):
        return FAULTS[fault] if alpha > 0.011 else ((alpha - 0.01) ** 2, 2 * (alpha - 0.01))

    result = search(phi, 1e-4, -0.02, 1.0)
    assert not result.message
    assert 0 < result.alpha <= 0.011


@pytest.mark.parametrize("search", [strong_wolfe, armijo])
@pytest.mark.parametrize("slope", [0.0, 1.0, math.nan])
def test_a_direction_that_is_not_a_descent_direction_is_not_evaluated(slope, search):
    result = search(None, 1.0, slope)
    assert result.alpha == 0
    assert result.message == "the direction is not a descent direction"


@pytest.mark.parametrize("search", [strong_wolfe, armijo])
@pytest.mark.parametrize("phi", [lambda a: (1.0, -1.0), lambda a: (1 + a, -1.0), lambda a: (math.nan, math.nan),
                                 lambda a: (1.0, 0.5)])
def test_alpha_is_0_with_a_message_if_no_value_is_lower(phi, search):
    """Constant or increasing with a wrong slope, or never finite: the number of evaluations is bounded."""
    counted = Counted(phi)
    result = search(counted, 1.0, -1.0, max_evaluations=12)
    assert result.alpha == 0
    assert "within 12 evaluations" in result.message
    assert len(counted.alphas) == 12


def test_the_lowest_value_is_returned_if_the_conditions_cannot_hold():
    """The slope of a straight line does not change."""
    counted = Counted(lambda a: (-a, -1.0))
    result = strong_wolfe(counted, 0.0, -1.0, max_evaluations=5)
    assert result.alpha == max(counted.alphas)
    assert result.message == "no alpha satisfied the strong Wolfe conditions within 5 evaluations"


@pytest.mark.parametrize("c2", [0.9, 0.1])
def test_the_slope_decides_if_the_decrease_is_less_than_the_rounding_errors(c2):
    """In float32 a decrease of 5e-9 does not change values near 1, but the slope is exact."""
    for seed in range(100):
        rng = np.random.default_rng(seed)

        def phi(alpha, rng=rng):
            value = 1 + 5e-9 * (alpha - 1) ** 2 + rng.uniform(-1, 1) * 1e-7
            return float(np.float32(value)), 1e-8 * (alpha - 1)

        result = strong_wolfe(phi, 1.0, -1e-8, 3.7, 1e-4, c2, noise=5e-7)
        assert not result.message
        assert abs(result.alpha - 1) <= c2


METHODS = [name for name, kind in OPTIMIZERS.items() if issubclass(kind, LineSearchMethod)]


class PlainObjective:
    """An objective made of two plain functions. It counts its evaluations and stores no results."""

    def __init__(self, theta, value, gradient):
        self.theta, self.functions, self.evaluations = np.array(theta), (value, gradient), 0

    def value_and_gradient(self):
        self.evaluations += 1
        value, gradient = (function(self.theta) for function in self.functions)
        return float(value), np.asarray(gradient, dtype=self.theta.dtype)


def rosenbrock(theta=(-1.2, 1.0)):
    """Return Rosenbrock's function."""
    return PlainObjective(theta, lambda x: 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2,
                          lambda x: [-400 * x[0] * (x[1] - x[0] ** 2) - 2 * (1 - x[0]), 200 * (x[1] - x[0] ** 2)])


@pytest.mark.parametrize("name", METHODS)
def test_a_step_uses_the_last_evaluation_of_the_previous_step(name):
    function, optimizer = rosenbrock(), get(name)
    alphas = []
    point_along = optimizer._point_along
    optimizer._point_along = lambda *arguments: alphas.append(arguments[-1]) or point_along(*arguments)
    for _ in range(10):
        optimizer.step(function)
        assert optimizer.message == ""
    # once at the start, and once for each trial; the accepted point is remembered
    assert function.evaluations == 1 + len(alphas) - 10


@pytest.mark.parametrize("steps", [1, 7, 20])
@pytest.mark.parametrize("name", METHODS)
def test_an_optimizer_restored_after_some_steps_takes_the_same_steps_bit_for_bit(name, steps):
    function, optimizer = rosenbrock(), get(name)
    for _ in range(steps):
        optimizer.step(function)
    restored, other = get(name), rosenbrock(function.theta)
    restored.restore({key: np.copy(value) for key, value in optimizer.state().items()}, other.theta)
    for _ in range(10):
        assert optimizer.step(function) == restored.step(other)
        np.testing.assert_array_equal(function.theta, other.theta)


IMPOSSIBLE = {
    "a gradient of the wrong sign": (lambda x: x @ x, lambda x: -2 * x),
    "a gradient of a constant value": (lambda x: 1.0, lambda x: x),
    "a value that is finite only at the start": (lambda x: 1.0 if (x == [3, 4]).all() else math.nan, lambda x: x),
    "a gradient that is not finite": (lambda x: 1.0, lambda x: [1.0, math.inf]),
    "a gradient that is zero": (lambda x: 1.0, lambda x: [0.0, 0.0]),
    "a value that is not a number": (lambda x: math.nan, lambda x: x),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
@pytest.mark.parametrize("name", METHODS)
def test_a_step_that_is_not_possible_changes_nothing_and_says_why(name, case):
    objective, optimizer = PlainObjective([3.0, 4.0], *IMPOSSIBLE[case]), get(name)
    np.testing.assert_equal(optimizer.step(objective), IMPOSSIBLE[case][0](np.array([3.0, 4.0])))
    np.testing.assert_array_equal(objective.theta, [3.0, 4.0])
    assert optimizer.message
    assert "\n" not in optimizer.message
    assert objective.evaluations <= 1 + 2 * optimizer.max_evaluations
    assert optimizer.t == 0
    function = rosenbrock()  # the optimizer can be used for another function
    optimizer.step(function)
    assert optimizer.message == ""


@pytest.mark.parametrize("name", METHODS)
def test_a_state_without_a_descent_direction_is_reset_within_the_step(name):
    function, optimizer = rosenbrock(), get(name)
    for _ in range(5):
        optimizer.step(function)
    wrong = {key: 1e3 * np.ones_like(value) if isinstance(value, np.ndarray) else value
             for key, value in optimizer.state().items()}
    optimizer.restore({**wrong, **({"weight": -1e9} if "weight" in wrong else {})}, function.theta)
    for key in ("S", "H"):
        if key in wrong:
            getattr(optimizer, key)[:] = np.nan
    value = optimizer.step(function)
    assert optimizer.message == ""
    assert function.value_and_gradient()[0] < value


@pytest.mark.parametrize("name", METHODS)
def test_a_region_of_nan_is_not_entered(name):
    """x - log x is infinite at 0 and NaN below, and the first trials are below 0. There is no warning or exception."""
    def slopes(x):
        return 1 - 1 / x

    function = PlainObjective([50.0, 1e-3, 3.0], lambda x: np.sum(x - np.log(x)), slopes)
    optimizer = get(name)
    values = [optimizer.step(function) for _ in range(100)]
    assert (np.diff(values) <= 1e-12).all()
    np.testing.assert_allclose(function.theta, 1, atol=1e-4)


@pytest.mark.parametrize("name", METHODS)
def test_an_alpha_with_an_overflow_error_is_too_large(name):
    function = Function([0.0], value=lambda x: math.exp(1e3 * float(x[0])) - 1e6 * float(x[0]),
                        gradient=lambda x: [1e3 * math.exp(1e3 * float(x[0])) - 1e6])
    result = minimize(function, get(name), tolerance=1e-4)
    assert result.converged
    assert result.theta == pytest.approx(math.log(1e3) / 1e3)


@pytest.mark.parametrize("name", METHODS)
def test_float32_reaches_its_rounding_errors(name):
    """A sum of softplus with values near 100, whose rounding errors are larger than the last decreases."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 20)).astype("float32"), np.sign(rng.normal(size=200)).astype("float32")

    def value(w):
        return np.logaddexp(np.float32(0), -y * (X @ w)).sum()

    def gradient(w):
        return -X.T @ (y / (1 + np.exp(y * (X @ w))))

    function, optimizer = PlainObjective(np.zeros(20, "float32"), value, gradient), get(name)
    theta = function.theta
    before = np.abs(gradient(theta)).max()
    values = [optimizer.step(function) for _ in range(60)]
    assert function.theta is theta
    assert theta.dtype == np.float32
    assert np.abs(gradient(theta)).max() < 1e-5 * before
    assert (np.diff(values) <= 1e-6 * values[0]).all()
    assert function.evaluations < 60 * 45
