"""hold_out: which examples are held out for validation."""

import numpy as np
import pytest

from feedforward.holdout import hold_out

rng = np.random.default_rng(0)
X = rng.normal(size=(200, 3))
ONE_CLASS = np.zeros(200, int)
ONES = np.ones(200)


@pytest.mark.parametrize("fraction", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_the_share_is_that_of_the_weights(fraction):
    held = hold_out(X, ONE_CLASS, ONES, fraction, 0)
    assert held.sum() == min(max(1, round(200 * fraction)), 199)
    weight = rng.uniform(0.1, 3, 200)
    held = hold_out(X, ONE_CLASS, weight, fraction, 0)
    assert weight[held].sum() == pytest.approx(fraction * weight.sum(), abs=weight.max())


def test_each_class_gives_the_same_share():
    classes = np.repeat([0, 1, 2], [100, 60, 40])[rng.permutation(200)]
    held = hold_out(X, classes, ONES, 0.25, 0)
    np.testing.assert_array_equal(np.bincount(classes[held]), [25, 15, 10])


def test_a_class_of_one_example_keeps_it_for_training():
    classes = np.append(np.zeros(199, int), 1)
    for seed in range(20):
        held = hold_out(X, classes, ONES, 0.9, seed)
        assert not held[-1]
        assert held.any()


def test_a_weight_is_the_same_as_repetitions_in_any_order():
    classes, weight = rng.integers(0, 3, 200), rng.integers(1, 5, 200)
    held = hold_out(X, classes, weight.astype(float), 0.3, 7)
    order = rng.permutation(weight.sum())
    x, labels, expected = (np.repeat(values, weight, axis=0)[order] for values in (X, classes, held))
    np.testing.assert_array_equal(hold_out(x, labels, np.ones(len(x)), 0.3, 7), expected)


def test_the_seed_determines_the_choice():
    choices = [hold_out(X, ONE_CLASS, ONES, 0.5, seed) for seed in (0, 0, 1, 10**30)]
    np.testing.assert_array_equal(choices[0], choices[1])
    for other in choices[2:]:
        assert 60 < (choices[0] ^ other).sum() < 140  # two independent halves differ in about 100


def test_two_different_examples_are_needed():
    with pytest.raises(ValueError, match=r"no class has two different examples \(n_samples = 3\): give more examples"):
        hold_out(np.ones((3, 2)), np.zeros(3, int), np.ones(3), 0.5, 0)
