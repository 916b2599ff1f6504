"""Weights of examples and classes: in values, gradients and all products, in fits, and what is refused."""

import numpy as np
import pytest
from test_model import LOSSES_WITH_LAST_LAYERS, small_data
from test_objective import check_triangle

from feedforward.testing.cases import random_target
from feedforward.testing.derivatives import central
from nn import LOSSES, CrossEntropy, Dense, Dropout, Loss, MeanSquaredError, Model, ReLU, Softmax, Tanh, workers
from nn.division import can_divide
from optimizers import OPTIMIZERS, get

N, K = 9, 3


def weighted(name, last, dtype="float64"):
    rng = np.random.default_rng(0)
    model = Model([Dense(4, 5), Tanh(), Dense(5, K), *([last] if last else [])], LOSSES[name](), dtype=dtype)
    x, weight = rng.normal(size=(N, 4)), rng.integers(0, 4, N)
    return model, x, random_target(model.loss, N, K, rng), weight


@pytest.mark.parametrize(("name", "last"), LOSSES_WITH_LAST_LAYERS)
def test_the_loss_of_each_example_adds_up_to_the_value(name, last):
    model, x, y, _ = weighted(name, last)
    network = model.network
    z = network.forward(x)
    each = network.loss.example_values(z, y).copy()
    assert each.shape == (N,)
    assert each.sum() == pytest.approx(network.loss.value(z, y, 1.0), rel=1e-12)
    np.testing.assert_allclose(each, Loss.example_values(network.loss, z, y), rtol=1e-12, atol=1e-14)
    expected = network.loss.gradient(z, y, 1.0, np.empty_like(z)).copy()
    network.loss.example_values(z, y)  # gradient may follow it, as it may follow value
    np.testing.assert_array_equal(network.loss.gradient(z, y, 1.0, np.empty_like(z)), expected)


@pytest.mark.parametrize(("name", "last"), LOSSES_WITH_LAST_LAYERS)
def test_a_weight_is_the_same_as_that_many_repetitions(name, last):
    model, x, y, weight = weighted(name, last)
    weighed = model.objective(x, y, weight)
    repeated = model.objective(np.repeat(x, weight, axis=0), np.repeat(y, weight, axis=0))
    v = np.random.default_rng(1).normal(size=len(model.theta))
    assert weighed.value() == pytest.approx(repeated.value(), rel=1e-12)
    for product in (lambda o: o.value_and_gradient()[1], lambda o: o.hessian_product(v),
                    lambda o: o.gauss_newton_product(v)):
        a, b = product(weighed).copy(), product(repeated).copy()
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-13)
    assert np.abs(weighed.value_and_gradient()[1] - model.objective(x, y).value_and_gradient()[1]).max() > 1e-4
    if name == "MeanSquaredError":
        r, J = weighed.residuals(), weighed.jacobian()
        assert r @ r / 2 == pytest.approx(weighed.value())
        np.testing.assert_allclose(J.T @ r, weighed.value_and_gradient()[1], rtol=1e-9, atol=1e-13)
        np.testing.assert_allclose(J.T @ (J @ v), weighed.gauss_newton_product(v), rtol=1e-9, atol=1e-13)
        check_triangle(weighed.residual_triangle(), np.column_stack([J, r]))


@pytest.mark.parametrize(("name", "last"), LOSSES_WITH_LAST_LAYERS)
def test_the_gradient_is_the_derivative_of_the_value(name, last):
    model, x, y, _ = weighted(name, last)
    objective = model.objective(x, y, np.random.default_rng(2).uniform(0.1, 3, N))

    theta, v = model.theta.copy(), np.random.default_rng(3).normal(size=len(model.theta))

    def value(step):
        objective.theta = theta + step * v
        return objective.value()

    def slope(step):
        objective.theta = theta + step * v
        return objective.value_and_gradient()[1].copy()

    gradient, product = slope(0), objective.hessian_product(v).copy()
    assert gradient @ v == pytest.approx(central(value), rel=1e-6)
    np.testing.assert_allclose(product, central(slope), rtol=1e-6, atol=1e-7 * np.abs(product).max())


def test_a_subsample_keeps_its_weights():
    model, x, y, _ = weighted("CrossEntropy", Softmax())
    weight = np.random.default_rng(3).uniform(0.1, 3, N)
    part = model.objective(x, y, weight).subsample([1, 4, 5])
    scale = weight[[1, 4, 5]].mean() / weight.mean()
    expected = scale * model.objective(x[[1, 4, 5]], y[[1, 4, 5]], weight[[1, 4, 5]]).value()
    assert part.value() == pytest.approx(expected)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fits_on_the_whole_set_are_those_of_repeated_examples(name):
    x, y = small_data(12)
    weight = np.random.default_rng(0).integers(0, 3, 12)
    models = [Model([Dense(6, 4), Tanh(), Dense(4, 3), Softmax()], CrossEntropy(), dtype="float64") for _ in range(2)]
    models[0].fit(x, y, get(name), 3, sample_weight=weight, progress=False)
    models[1].fit(np.repeat(x, weight, axis=0), np.repeat(y, weight), get(name), 3, progress=False)
    np.testing.assert_allclose(models[0].theta, models[1].theta, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_weights_on_threads(threads, monkeypatch):
    def fit(divides, threads):
        monkeypatch.setattr(workers, "thread_count", lambda network, batch_size, threads: min(threads, batch_size))
        monkeypatch.setattr(workers, "divides_parameters", lambda network, batch_size: divides and can_divide(network))
        x, y = small_data(40)
        model = Model([Dense(6, 5), ReLU(), Dense(5, 3), Softmax()], CrossEntropy(), dtype="float64")
        history = model.fit(x, y, get("adam"), 3, 16, (x, y, np.arange(40)), progress=False, threads=threads,
                            sample_weight=np.arange(40), class_weight={1: 3.0})
        return model.theta, history[-1]["val_loss"]

    expected, expected_loss = fit(False, 1)
    for divides in (False, True):
        theta, loss = fit(divides, threads)
        np.testing.assert_allclose(theta, expected, rtol=1e-10, atol=1e-12)
        assert loss == pytest.approx(expected_loss)


def test_equal_weights_change_nothing():
    x, y = small_data(40)
    thetas = []
    for weight in (None, np.ones(40), np.full(40, 7)):
        model = Model([Dense(6, 5), Dropout(0.2), Dense(5, 3), Softmax()], CrossEntropy(), dtype="float64")
        model.fit(x, y, get("adam"), 3, 16, progress=False, sample_weight=weight)
        thetas.append(model.theta)
    np.testing.assert_allclose(thetas[1], thetas[0], rtol=1e-12)
    np.testing.assert_array_equal(thetas[1], thetas[2])


def test_balanced_classes_count_the_same():
    x, y = small_data(40)
    y = np.minimum(y, np.arange(40) % 7)
    counts = np.bincount(y, minlength=3)
    models = [Model([Dense(6, 3), Softmax()], CrossEntropy()) for _ in range(2)]
    models[0].fit(x, y, get("gd"), 3, progress=False, class_weight="balanced")
    models[1].fit(x, y, get("gd"), 3, progress=False, sample_weight=1 / counts[y])
    np.testing.assert_allclose(models[0].theta, models[1].theta, rtol=1e-6)
    loss = models[0].evaluate(x, y, 1 / counts[y])["loss"]
    means = [models[0].evaluate(x[y == k], y[y == k])["loss"] for k in range(3)]
    assert loss == pytest.approx(np.mean(means), rel=1e-5)


def test_balanced_classes_of_weighted_examples_are_those_of_repeated_ones():
    x, y = small_data(30)
    times = np.random.default_rng(0).integers(1, 4, 30)
    one, other = (Model([Dense(6, 3), Softmax()], CrossEntropy(), dtype="float64") for _ in range(2))
    one.fit(x, y, get("gd", lr=0.1), 5, progress=False, class_weight="balanced", sample_weight=times)
    other.fit(np.repeat(x, times, axis=0), np.repeat(y, times), get("gd", lr=0.1), 5, progress=False,
              class_weight="balanced")
    np.testing.assert_allclose(one.theta, other.theta, rtol=1e-12)


@pytest.mark.parametrize(("options", "message"), [
    ({"sample_weight": np.ones(39)}, r"sample_weight has shape \(39,\), but there are 40 examples"),
    ({"sample_weight": -np.ones(40)}, "must be finite numbers of at least 0, not all zero"),
    ({"sample_weight": np.zeros(40)}, "must be finite numbers of at least 0, not all zero"),
    ({"sample_weight": np.full(40, np.nan)}, "must be finite numbers"),
    ({"sample_weight": ["a"] * 40}, "sample_weight holds <U1, not numbers"),
    ({"class_weight": {3: 1.0}}, "class_weight has the label 3, but labels are 0 to 2"),
    ({"class_weight": "equal"}, "class_weight must be a dict of a number for each label, or 'balanced', not 'equal'"),
    ({"validation_data": (1, 2, 3, 4)}, r"validation_data must be a pair \(x, y\), or \(x, y, sample_weight\)")])
def test_what_is_no_weight_is_refused(options, message):
    model = Model([Dense(6, 3), Softmax()], CrossEntropy())
    with pytest.raises(ValueError, match=message):
        model.fit(*small_data(40), get("gd"), progress=False, **options)


def test_classes_are_needed_for_their_weights():
    model = Model([Dense(6, 1)], MeanSquaredError())
    x, _ = small_data()
    with pytest.raises(ValueError, match="class_weight needs a class for each example, but the targets are numbers"):
        model.fit(x, x[:, 0], get("gd"), progress=False, class_weight={0: 1})


def test_a_value_of_a_subclass_has_its_own_losses():
    class Doubled(MeanSquaredError):
        def value(self, z, target, scale):
            return 2 * super().value(z, target, scale)

    z, target = np.random.default_rng(0).normal(size=(2, 4, 2))
    np.testing.assert_allclose(Doubled().example_values(z, target), 2 * MeanSquaredError().example_values(z, target))


