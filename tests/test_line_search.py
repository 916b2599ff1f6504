"""The searches: the conditions they promise, on any function of one number, and what they do where none can hold."""

import math

import numpy as np
import pytest

from optimizers.line_search import armijo, strong_wolfe


def random_function(seed):
    """A wavy function of one number, bounded below, that falls from 0; its value and its slope."""
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
    """phi, and the alphas it was asked for."""

    def __init__(self, phi):
        self.phi, self.seen = phi, []

    def __call__(self, alpha):
        self.seen.append(alpha)
        return self.phi(alpha)


@pytest.mark.parametrize(("c2", "few"), [(0.9, 3.0), (0.1, 5.0)])
def test_the_strong_wolfe_conditions_hold_on_random_functions(c2, few):
    counts = []
    for seed in range(500):
        phi = Counted(random_function(seed))
        value, slope = phi.phi(0.0)
        found = strong_wolfe(phi, value, slope, 1.0, 1e-4, c2, max_evaluations=30)
        assert not found.message
        reached, there = phi.phi(found.alpha)
        assert reached <= value + 1e-4 * found.alpha * slope
        assert abs(there) <= c2 * abs(slope)
        assert phi.seen[-1] == found.alpha  # what was looked at last is what the caller still holds
        counts.append(len(phi.seen))
    assert np.median(counts) <= few
    assert max(counts) < 20


def test_armijo_holds_on_random_functions_within_its_bounds():
    for seed in range(500):
        phi = Counted(random_function(seed))
        value, slope = phi.phi(0.0)
        found = armijo(phi, value, slope, 50.0)
        assert not found.message
        assert phi.phi(found.alpha)[0] <= value + 1e-4 * found.alpha * slope
        ratios = np.array(phi.seen[1:]) / phi.seen[:-1]
        assert ((ratios >= 0.1 - 1e-12) & (ratios <= 0.5 + 1e-12)).all()


@pytest.mark.parametrize("first", [1e-6, 1.0, 1e6])
def test_a_parabola_is_ended_exactly(first):
    found = strong_wolfe(lambda a: ((a - 3) ** 2, 2 * (a - 3)), 9.0, -6.0, first, 1e-4, 1e-9)
    assert not found.message
    assert found.alpha == pytest.approx(3, rel=1e-8)


FAULTS = {"nan": (math.nan, math.nan), "infinite": (math.inf, math.inf), "minus infinite": (-math.inf, 0.0),
          "slope nan": (0.0, math.nan), "slope infinite": (-1.0, -math.inf)}


@pytest.mark.parametrize("search", [strong_wolfe, armijo])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_trial_that_is_not_finite_is_too_far(fault, search):
    def phi(alpha):
        return FAULTS[fault] if alpha > 0.011 else ((alpha - 0.01) ** 2, 2 * (alpha - 0.01))

    found = search(phi, 1e-4, -0.02, 1.0)
    assert not found.message
    assert 0 < found.alpha <= 0.011


@pytest.mark.parametrize("search", [strong_wolfe, armijo])
@pytest.mark.parametrize("slope", [0.0, 1.0, math.nan])
def test_no_descent_no_evaluation(slope, search):
    found = search(None, 1.0, slope)
    assert found.alpha == 0
    assert found.message == "the direction is not one of descent"


@pytest.mark.parametrize("search", [strong_wolfe, armijo])
@pytest.mark.parametrize("phi", [lambda a: (1.0, -1.0), lambda a: (1 + a, -1.0), lambda a: (math.nan, math.nan),
                                 lambda a: (1.0, 0.5)])
def test_where_nothing_is_lower_it_stays_says_so_and_ends(phi, search):
    """Flat with a slope that lies, uphill with one that lies, nowhere finite: the evaluations are bounded."""
    counted = Counted(phi)
    found = search(counted, 1.0, -1.0, max_evaluations=12)
    assert found.alpha == 0
    assert "within 12 evaluations" in found.message
    assert len(counted.seen) == 12


def test_where_the_conditions_cannot_hold_the_lowest_is_given():
    """A slope without end cannot flatten."""
    counted = Counted(lambda a: (-a, -1.0))
    found = strong_wolfe(counted, 0.0, -1.0, max_evaluations=5)
    assert found.alpha == max(counted.seen)
    assert found.message == "no alpha satisfied the strong Wolfe conditions within 5 evaluations"


@pytest.mark.parametrize("c2", [0.9, 0.1])
def test_a_decrease_that_drowns_in_rounding_is_judged_by_the_slope(c2):
    """float32: the decrease of 5e-9 cannot be seen in values near 1, but the slope can."""
    for seed in range(100):
        rng = np.random.default_rng(seed)

        def phi(alpha, rng=rng):
            value = 1 + 5e-9 * (alpha - 1) ** 2 + rng.uniform(-1, 1) * 1e-7
            return float(np.float32(value)), 1e-8 * (alpha - 1)

        found = strong_wolfe(phi, 1.0, -1e-8, 3.7, 1e-4, c2, noise=5e-7)
        assert not found.message
        assert abs(found.alpha - 1) <= c2
