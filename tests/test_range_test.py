"""The learning rate range test: its steps, its end, its reading, and how good the suggestions are."""

import copy
import math

import numpy as np
import pytest

import feedforward as ff
from feedforward import RangeTest, lr_find
from optimizers import OPTIMIZERS, hyperparameters

DIGITS = ff.load("digits")
X, Y = DIGITS.x_train, DIGITS.y_train
WITH_LR = [name for name, kind in OPTIMIZERS.items() if "lr" in hyperparameters(kind)]
OTHERS = [name for name in OPTIMIZERS if name not in WITH_LR]


def network(seed=0, init="he", *more):
    return ff.Model([ff.Dense(64, 50, init), ff.ReLU(), *more, ff.Dense(50, 10, init), ff.Softmax()],
                    ff.CrossEntropy(), seed=seed)


def loss_after_training(name, lr, epochs=10):
    model = network()
    try:
        model.fit(X, Y, ff.get(name, lr=lr), epochs, 144, progress=False)
    except ff.Diverged:
        return math.inf
    return model.evaluate(X, Y)["loss"]


@pytest.mark.parametrize("name", [
    name if name == "adam" else pytest.param(name, marks=pytest.mark.slow) for name in WITH_LR])
def test_the_suggestion_is_almost_the_best_of_a_grid(name):
    grid = [loss_after_training(name, 10.0 ** (k / 2)) for k in range(-6, 2)]
    found = loss_after_training(name, lr_find(network(), X, Y, ff.get(name), 144).lr)
    untrained = network().evaluate(X, Y)["loss"]
    assert found - min(grid) < 0.05 * (untrained - min(grid))


@pytest.mark.parametrize("name", OTHERS)
def test_an_optimizer_without_a_learning_rate_is_refused(name):
    with pytest.raises(ValueError, match=f"{type(ff.get(name)).__name__} has no learning rate that could be found: "
                                         "give lr_find a first-order optimizer"):
        lr_find(network(), X, Y, ff.get(name))


@pytest.mark.parametrize(("values", "message"), [
    ({"optimizer": "adam"}, "optimizer must have a method step"), ({"optimizer": ff.Adam}, "is the class Adam"),
    ({"lowest": 0}, "lr_find: lowest must be above 0, not 0"), ({"highest": "1"}, "lr_find: highest must be a number"),
    ({"lowest": 2, "highest": 1}, "lowest must be below highest, but they are 2 and 1"),
    ({"steps": 9}, "lr_find: steps must be a whole number of at least 10, not 9"),
    ({"batch_size": 0}, "batch_size must be"),
    ({"batch_size": 5000}, "batch_size 5000 is larger than the data"), ({"threads": 0}, "threads must be"),
    ({"sample_weight": [1]}, "sample_weight has shape"), ({"class_weight": {77: 1}}, "class_weight has the label 77")])
def test_wrong_arguments_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        lr_find(network(), X, Y, **{"optimizer": ff.get("gd"), **values})


@pytest.mark.parametrize("name", WITH_LR)
def test_model_and_optimizer_stay_as_they_are(name):
    model, optimizer = network(), ff.get(name, lr=0.01)
    model.fit(X, Y, optimizer, 1, 144, progress=False)
    theta, fields, state = model.theta.copy(), hyperparameters(optimizer), copy.deepcopy(optimizer.state())
    lr_find(model, X, Y, optimizer, 144)
    np.testing.assert_array_equal(model.theta, theta)
    assert hyperparameters(optimizer) == fields
    for key, value in state.items():
        np.testing.assert_array_equal(optimizer.state()[key], value)
    model.fit(X, Y, optimizer, 1, 144, progress=False)  # it is still the optimizer of this model


def test_the_rates_grow_by_one_factor_and_the_steps_are_those_of_a_training():
    test = lr_find(network(), X, Y, ff.get("gd"), 144, lowest=1e-6, highest=1e-2, steps=25)
    np.testing.assert_allclose(test.rates, 1e-6 * 10 ** (np.arange(25) / 6), rtol=1e-12)
    model, optimizer, losses = network(), ff.get("gd"), []

    class Rates:
        def step(self, objective):
            optimizer.lr = 1e-6 * 10 ** (len(losses) / 6)
            losses.append(optimizer.step(objective))
            return losses[-1]

    model.fit(X, Y, Rates(), 3, 144, progress=False)
    np.testing.assert_allclose(test.losses, losses[:25], rtol=1e-6)


@pytest.mark.parametrize(("size", "steps"), [(8, 400), (32, 100), (33, 100), (None, 100)])
def test_small_batches_take_more_steps(size, steps):
    assert lr_find(network(), X, Y, ff.get("gd"), size, threads=1).steps == steps


def test_one_seed_gives_one_result():
    a, b = (lr_find(network(3, "he", ff.Dropout(0.5)), X, Y, ff.get("adam"), 144, threads=1) for _ in range(2))
    np.testing.assert_array_equal(a.losses, b.losses)
    assert not np.array_equal(a.losses, lr_find(network(4), X, Y, ff.get("adam"), 144).losses)


def test_a_schedule_is_left_out():
    plain = lr_find(network(), X, Y, ff.get("adam"), 144)
    scheduled = ff.Scheduled(ff.get("adam"), ff.parse_schedule("cosine", 5), unit=10)
    np.testing.assert_array_equal(lr_find(network(), X, Y, scheduled, 144).losses, plain.losses)


def test_weights_of_examples_are_used():
    known = np.arange(len(X)) < 1000
    noisy = np.where(known, Y, 0)
    test = lr_find(network(), X, noisy, ff.get("gd"), sample_weight=known, threads=1)
    without = lr_find(network(), X[known], Y[known], ff.get("gd"), threads=1)
    np.testing.assert_allclose(test.losses[:85], without.losses[:85], rtol=1e-4)  # later, rounding is amplified
    weighted = lr_find(network(), X, Y, ff.get("gd"), class_weight={0: 10}, threads=1)
    assert weighted.losses[0] == pytest.approx(network().evaluate(X, Y, np.where(Y == 0, 10, 1))["loss"], rel=1e-5)


def test_labels_may_be_texts():
    model = network()
    test = lr_find(model, X, np.array(list("abcdefghij"))[Y], ff.get("adam"), 144)
    np.testing.assert_array_equal(test.losses, lr_find(network(), X, Y, ff.get("adam"), 144).losses)
    assert model.classes is None


def test_it_ends_if_the_loss_is_too_large_or_infinite():
    model = ff.Model([ff.Dense(64, 1)], ff.MeanSquaredError(), dtype="float64")
    test = lr_find(model, X, Y.astype(float), ff.get("gd"), highest=1e3)
    assert len(test.rates) == len(test.losses) < 100
    assert test.losses[-1] > 4 * test.losses[0] > test.losses[-2]
    assert 0.001 < test.lr < test.rates[-2]
    test = lr_find(model, 1e150 * X.astype(float), Y.astype(float), ff.get("gd"), lowest=0.1, highest=1)
    assert len(test.rates) <= 2
    with pytest.raises(ValueError, match="the range test suggests no learning rate"):
        _ = test.lr


def curve(losses, initial=None):
    losses = np.array(losses, float)
    initial = np.full(len(losses), 3.0) if initial is None else initial
    return RangeTest(np.geomspace(1e-7, 10, 100)[: len(losses)], losses, initial, 100)


def test_the_suggestion_is_where_the_loss_has_fallen_by_four_fifths():
    fall = np.interp(np.arange(100), [0, 40, 60, 70, 80, 99], [3, 3, 1, 1, 4, 4])
    assert np.searchsorted(curve(fall).rates, curve(fall).lr) == 56
    rng = np.random.default_rng(0)
    differences, noise = rng.normal(scale=1, size=100), rng.normal(scale=0.1, size=100)
    of_batches = curve(fall + differences - differences.mean(), 3 + differences - differences.mean())
    assert of_batches.lr == curve(fall).lr
    np.testing.assert_allclose(of_batches.smoothed, curve(fall).smoothed)
    assert abs(np.searchsorted(curve(fall).rates, curve(fall + noise).lr) - 56) <= 2
    for last in (1e9, np.inf, np.nan):
        assert curve([*fall[:78], last]).lr == pytest.approx(curve(fall).lr)


def test_a_mean_of_the_neighbours_smooths():
    impulse = np.full(100, 3.0)
    impulse[50] = 2
    smoothed = 3 - curve(impulse).smoothed
    assert smoothed.sum() == pytest.approx(1)
    deviation = math.sqrt((smoothed * (np.arange(100) - 50) ** 2).sum())
    assert deviation == pytest.approx(3, rel=0.01)
    np.testing.assert_allclose(curve(np.full(100, 2.0)).smoothed, 2)  # also at both ends


@pytest.mark.parametrize("losses", [
    np.full(100, 3), [3, np.nan], *(pytest.param(losses, marks=pytest.mark.slow) for losses in (
        np.linspace(3, 5, 100), np.linspace(3, 2.995, 100), [3], [3, 9], [np.inf]))], ids=range(7))
def test_a_curve_that_does_not_fall_suggests_nothing(losses):
    with pytest.raises(ValueError, match=r"the range test suggests no learning rate: at rates from 1e-07 to .* the "
                                         "loss has not clearly fallen, from .*; test more steps, larger batches"):
        _ = curve(losses).lr
    assert "no lr" in repr(curve(losses))
    curve(losses).plot().savefig("/dev/null", format="png")


@pytest.mark.parametrize("start", [0.0, -3.0, math.nan, math.inf])
def test_a_strange_loss_at_the_start_suggests_nothing(start):
    for losses in (np.full(20, start), np.linspace(0, 1, 20)):
        test = curve(losses, np.full(20, start))
        if start > -3 or np.isnan(start):
            with pytest.raises(ValueError, match="suggests no learning rate"):
                _ = test.lr
        test.plot().savefig("/dev/null", format="png")


def test_noise_suggests_nothing():
    for seed in range(100):
        noise = np.random.default_rng(seed).normal(2, 0.3, 500 if seed % 2 else 100)
        test = RangeTest(np.geomspace(1e-7, 10, len(noise)), noise, np.full(len(noise), 2.0), steps=len(noise))
        with pytest.raises(ValueError, match="suggests no learning rate"):
            _ = test.lr


def test_a_network_that_cannot_learn_suggests_nothing():
    with pytest.raises(ValueError, match=r"has not clearly fallen, from 2\.303 to 2\.303"):
        _ = lr_find(network(0, "zeros"), X, Y, ff.get("adam"), 144).lr


def test_the_figure_marks_the_suggestion():
    test = lr_find(network(), X, Y, ff.get("adam"), 144)
    (ax,) = test.plot("a title").axes
    assert (ax.get_xscale(), ax.get_xlabel(), ax.get_ylabel()) == ("log", "learning rate", "loss")
    raw, smoothed, mark = ax.lines
    np.testing.assert_array_equal(raw.get_ydata(), test.losses)
    np.testing.assert_array_equal(smoothed.get_ydata(), test.smoothed)
    assert list(mark.get_xdata()) == [test.lr, test.lr]
    assert ax.get_ylim()[0] < test.smoothed.min() < test.losses[0] < ax.get_ylim()[1]
    assert f"suggested lr: {test.lr:.3g}" in [text.get_text() for text in ax.get_legend().get_texts()]
    assert test.plot("a title").get_suptitle() == "a title"


def test_registered_optimizers_are_tested_too():
    class Signs(ff.FirstOrder):
        def update(self, theta, grad):
            theta -= self.lr * np.sign(grad)

    assert 1e-4 < lr_find(network(), X, Y, Signs(), 144).lr < 0.1
