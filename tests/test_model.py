"""The model: the gradient of a whole model, its views into theta, its messages about wrong input, and its seed."""

from concurrent.futures import ThreadPoolExecutor
import copy
import math
import pickle
from re import escape

import numpy as np
import pytest

from feedforward.testing.cases import away_from_kinks, make_layer, random_target
from feedforward.testing.derivatives import CENTRAL_TOLERANCE, COMPLEX_TOLERANCE, central, complex_step, relative
from nn import (
    ACTIVATIONS,
    LOSSES,
    BinaryCrossEntropy,
    CrossEntropy,
    Dense,
    Dropout,
    LeakyReLU,
    MeanSquaredError,
    Model,
    ReLU,
    Sigmoid,
    Softmax,
    Softplus,
    Tanh,
)
from nn.network import Batch, Network
from nn.objective import BatchObjective
from optimizers import get

LAST_LAYERS = {"CrossEntropy": [Softmax()], "BinaryCrossEntropy": [Sigmoid(), Softmax()],
               "MeanSquaredError": [Tanh(), Softmax(), None]}
LOSSES_WITH_LAST_LAYERS = [(name, last_layer) for name, kind in LOSSES.items() for last_layer in LAST_LAYERS.get(
    name, [Sigmoid() if kind.needs_probabilities else None])]  # a registered loss has no entry


def small(seed=0, dtype="float32", dropout=0.0):
    return Model([Dense(6, 5), Tanh(), Dropout(dropout), Dense(5, 3), Softmax()], CrossEntropy(), seed, dtype)


def batch_objective(network, x, target, rng=None):
    """Return the mean loss of this network itself on a batch, with dropout masks drawn from `rng`."""
    network.resample(rng)
    return BatchObjective([(network, Batch(x, target, 1 / len(x)))])


def small_data(n=40, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 6)), rng.integers(0, 3, n)


@pytest.mark.parametrize(("name", "last_layer"), LOSSES_WITH_LAST_LAYERS)
def test_gradient_of_a_whole_model(name, last_layer):
    """Several layers, dropout, every activation in both positions, and each loss with each last layer it allows."""
    rng = np.random.default_rng(1)
    for i, (first, second) in enumerate(zip(ACTIVATIONS.values(), reversed(ACTIVATIONS.values()))):
        n = 1 if i == 0 else int(rng.integers(2, 8))
        layers = [Dense(4, 6), first(), Dropout(0.2), Dense(6, 5), second(), Dense(5, 3), *filter(None, [last_layer])]
        model = Model(layers, LOSSES[name](), dtype="float64")
        model.theta += 0.3 * rng.normal(size=model.theta.shape)
        x, target = rng.normal(size=(n, 4)), random_target(LOSSES[name](), n, 3, rng)
        objective = batch_objective(model.network, x, target, np.random.default_rng(i))
        _, gradient = objective.value_and_gradient()
        u = rng.normal(size=gradient.shape)

        def f(h, model=model, x=x, target=target, u=u, i=i):
            theta = model.theta + h * u
            network = Network(model.layers, model.loss, theta, np.zeros_like(theta), model.constants)
            changed = batch_objective(network, x + 0 * h, target + 0 * h, np.random.default_rng(i))
            return changed.value()

        magnitude = np.abs(gradient * u).sum()
        assert relative(gradient @ u, central(f), magnitude) < CENTRAL_TOLERANCE, (first, second)
        assert relative(gradient @ u, complex_step(f), magnitude) < COMPLEX_TOLERANCE, (first, second)


def test_the_table_of_last_layers_has_every_loss():
    assert set(LAST_LAYERS) == {name for name, kind in LOSSES.items() if kind.__module__.startswith("nn.")}


def test_a_layer_without_a_derivative_changes_the_gradient():
    model = Model([Dense(4, 6), Tanh(), Dense(6, 3), Softmax()], CrossEntropy(), dtype="float64")
    x, target = np.random.default_rng(0).normal(size=(5, 4)), np.eye(3)[[0, 1, 2, 0, 1]]
    _, right = batch_objective(model.network, x, target).value_and_gradient()
    right = right.copy()
    model.network.body[1].backward = lambda dy, needs_dx=True: dy
    _, wrong = batch_objective(model.network, x, target).value_and_gradient()
    assert not np.allclose(right, wrong)


def test_layers_may_precede_the_first_weights_and_dx_is_skipped():
    model = Model([Tanh(), Dropout(0.1), Dense(3, 2), Softmax()], CrossEntropy(), dtype="float64")
    assert model.n_in == 3
    model.objective(np.ones((4, 3)), [0, 1, 0, 1]).value_and_gradient()
    assert "dx" not in model.network.layers[2].buffers._arrays


def test_parameters_are_views_into_theta():
    model = small()
    assert model.theta.size == 6 * 5 + 5 + 5 * 3 + 3
    for layer in (model.layers[0], model.layers[3]):
        for name in ("W", "b"):
            assert np.shares_memory(getattr(layer, name), model.theta)
            assert np.shares_memory(getattr(layer, "d" + name), model.grad)
    model.theta[:] = 7
    assert (model.layers[3].b == 7).all()
    model.layers[0].W[0, 0] = 3
    assert model.theta[0] == 3
    assert model.layers[0].W.shape == (6, 5)


def test_assigning_to_theta_or_a_parameter_writes_into_it():
    model = small()
    theta = model.theta
    model.theta = np.arange(53.0)
    model.layers[3].b = [7, 8, 9]
    model.layers[0].W -= 1
    assert model.theta is theta
    np.testing.assert_array_equal(theta[-3:], [7, 8, 9])
    assert theta[0] == -1
    objective = model.objective(*small_data())
    objective.theta = objective.theta - 0.5
    assert theta[0] == -1.5
    with pytest.raises(ValueError, match=r"theta has shape \(53,\) .*: an array of shape \(52,\) cannot be copied"):
        model.theta = np.zeros(52)
    with pytest.raises(ValueError, match=r"W has shape \(6, 5\)"):
        model.layers[0].W = np.zeros((5, 6))


@pytest.mark.parametrize("copy_model", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_is_an_independent_model(copy_model):
    model, (x, y) = small(3, dropout=0.2), small_data()
    model.fit(x, y, get("adam", lr=0.05), epochs=2, progress=False)
    twin = copy_model(model)
    np.testing.assert_array_equal(twin.predict(x), model.predict(x))
    assert not np.shares_memory(twin.theta, model.theta)
    for m in (model, twin):
        m.fit(x, y, get("adam", lr=0.05), epochs=3, batch_size=10, progress=False)
    np.testing.assert_array_equal(twin.theta, model.theta)
    assert (twin.theta != copy_model(small(3)).theta).any()


def test_several_threads_may_call_one_model():
    model, (x, _) = small(), small_data(3000)
    expected = model.predict(x)
    with ThreadPoolExecutor(4) as pool:
        for answer in pool.map(lambda _: model.predict(x), range(60)):
            np.testing.assert_array_equal(answer, expected)


def test_one_layer_object_in_two_models_is_copied():
    shared = Dense(3, 3)
    a = Model([shared, shared], MeanSquaredError(), seed=0)
    b = Model([shared], MeanSquaredError(), seed=1)
    assert not np.shares_memory(a.layers[0].W, a.layers[1].W)
    assert not np.shares_memory(a.layers[0].W, b.layers[0].W)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_everything_is_computed_in_the_dtype_of_the_model(activation, dtype):
    layers = [Dense(6, 5), ACTIVATIONS[activation](), Dropout(0.1), Dense(5, 3), Softmax()]
    model = Model(layers, CrossEntropy(), dtype=dtype)
    x, y = small_data()
    theta = model.theta
    for name in ("gd", "adam"):
        model.fit(x, y, get(name), epochs=2, batch_size=16, progress=False)
    assert model.theta is theta
    assert model.theta.dtype == model.grad.dtype == model.predict(x).dtype == np.dtype(dtype)
    for layer in model.layers:
        for name, array in layer.buffers._arrays.items():
            assert array.dtype in (np.dtype(dtype), np.dtype(bool)), (layer, name)


def test_objective_matches_evaluate_and_counts_its_cost():
    model = small()
    x, y = small_data()
    objective = model.objective(x, y)
    assert objective.theta is model.theta
    assert objective.value() == pytest.approx(model.evaluate(x, y)["loss"], rel=1e-6)
    objective.value_and_gradient()
    assert objective.gradients == 1.5 * len(x)


def test_dropout_masks_stay_the_same_as_long_as_an_objective_exists():
    model = small(dropout=0.5)
    x, y = small_data()
    objective = model.objective(x, y)
    first = objective.value()
    model.predict(x)
    model.evaluate(x, y)
    assert objective.value() == first
    assert first != pytest.approx(model.evaluate(x, y)["loss"], rel=1e-3)


def test_predictions():
    model = small()
    x, y = small_data(5000)  # more than one chunk
    p = model.predict(x)
    assert p.shape == (5000, 3)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(model.predict_classes(x), p.argmax(axis=1))
    reversed_p = model.predict(x[::-1])
    assert not np.shares_memory(p, reversed_p)
    evaluated = model.evaluate(x, y)
    assert evaluated["accuracy"] == np.mean(p.argmax(axis=1) == y)
    assert evaluated["loss"] == pytest.approx(-np.log(p[np.arange(5000), y]).mean(), rel=1e-5)


def test_one_output_is_a_probability_of_class_1():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    y = (x[:, 0] > 0).astype(int)
    model = Model([Dense(2, 1), Sigmoid()], BinaryCrossEntropy(), dtype="float64")
    history = model.fit(x, y, get("adam", lr=0.1), epochs=30, batch_size=50, progress=False)
    assert history.epochs[-1]["accuracy"] > 0.95
    np.testing.assert_array_equal(model.predict_classes(x), (model.predict(x)[:, 0] > 0.5).astype(int))
    assert model.evaluate(x, y)["accuracy"] == np.mean(model.predict_classes(x) == y)


def test_numbers_have_no_accuracy():
    model = Model([Dense(2, 8), Softplus(), Dense(8, 1)], MeanSquaredError())
    x = np.random.default_rng(0).normal(size=(50, 2))
    y = 2 * x[:, 0]
    history = model.fit(x, y, get("adam", lr=0.05), epochs=50, progress=False, validation_data=(x, y))
    assert history.epochs[-1]["accuracy"] is None
    assert history.epochs[-1]["val_accuracy"] is None
    assert history.epochs[-1]["loss"] < history.epochs[0]["loss"] / 2


def test_repr_is_one_line_and_print_is_the_summary(capsys):
    model = Model([Dense(784, 50), ReLU(), Dense(50, 10), Softmax()], CrossEntropy())
    assert repr(model) == "Model(784-50-10, CrossEntropy, float32, 39,760 parameters)"
    print(model)
    assert capsys.readouterr().out == model.summary() + "\n"


@pytest.mark.parametrize(("layers", "loss"), [
    ([Dense(3, 2), Tanh()], MeanSquaredError()),
    ([Dense(3, 1)], MeanSquaredError()),
])
def test_a_regression_has_no_classes(layers, loss):
    model = Model(layers, loss)
    message = (f"a model with MeanSquaredError that ends in {layers[-1]} predicts numbers, not classes: "
               "use predict(x)")
    with pytest.raises(ValueError, match=f"^{escape(message)}$"):
        model.predict_classes(np.ones((2, 3)))


def test_probabilities_under_a_squared_error_have_classes():
    model = Model([Dense(3, 2), Softmax()], MeanSquaredError())
    np.testing.assert_array_equal(model.predict_classes(np.eye(3)), model.predict(np.eye(3)).argmax(axis=1))


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Dense(3, 4, activation="relu"),
     "Dense has no field 'activation': write the activation as the next layer, such as Dense(784, 50), ReLU(); its "
     "fields are n_in, n_out, init, trainable"),
    (lambda: Dense(units=3), "Dense has no field 'units': write n_in and n_out, such as Dense(784, 50); its fields are "
                             "n_in, n_out, init, trainable"),
    (lambda: Dropout(probability=0.5), "Dropout has no field 'probability': its fields are rate"),
    (lambda: CrossEntropy(label_smoothing=0.1),
     "CrossEntropy has no field 'label_smoothing': its fields are none"),
])
def test_an_unknown_field_says_what_to_write(make, message):
    with pytest.raises(TypeError, match=f"^{escape(message)}$"):
        make()


def test_fields_are_checked_whenever_they_are_set():
    layer = Dropout(0.2)
    with pytest.raises(ValueError, match="Dropout: rate must be at least 0 and below 1, not 1"):
        layer.rate = 1
    with pytest.raises(ValueError, match="Dense: n_in must be a whole number of at least 1, not 0"):
        Dense(0, 3)
    with pytest.raises(ValueError, match="unknown initializer 'hee': did you mean 'he'"):
        Dense(3, 3, init="hee")
    assert type(Dense(np.int64(3), 3).n_in) is int


def test_summary_counts_the_parameters():
    text = Model([Dense(784, 50), ReLU(), Dense(50, 10), Softmax()], CrossEntropy()).summary()
    assert "39,250" in text
    assert "39,760" in text


X, Y = small_data()
WRONG_X = {
    "shape": (np.zeros((4, 7)), r"layer 0 \(Dense\(n_in=6, .*expects x of shape \(N, 6\), but x has shape \(4, 7\): "
                                r"give x with 6 columns, or start the model with Dense\(7, ...\)"),
    "images": (np.zeros((4, 2, 2)), r"x has shape \(4, 2, 2\): give an array of shape \(N, 6\)"),
    "one example": (np.zeros(6), r"x has shape \(6,\): one example is a row: write x\[None\]"),
    "text": (np.array([["a"] * 6] * 4), "x holds <U1, not real numbers"),
    "complex": (np.zeros((4, 6), complex), "x holds complex128, not real numbers"),
    "object": (np.array([[None] * 6] * 4), "x holds object, not real numbers"),
    "nan": (np.where(np.arange(40)[:, None] == 7, np.nan, X), r"NaN or infinity \(as float32\), first in row 7"),
    "infinity": (np.where(np.arange(40)[:, None] == 8, np.inf, X), "first in row 8"),
    "too large for float32": (np.where(np.arange(40)[:, None] == 9, 1e300, X), "first in row 9"),
    "empty": (np.zeros((0, 6)), "x holds no examples"),
    "ragged": ([[1.0, 2.0], [3.0]], "x is ragged: give rows of one length"),
}


@pytest.mark.parametrize("case", WRONG_X)
def test_wrong_examples_are_named(case):
    x, message = WRONG_X[case]
    model, y = small(), np.zeros(len(x), int)
    for use in (lambda: model.fit(x, y, get("adam"), progress=False), lambda: model.evaluate(x, y),
                lambda: model.predict(x), lambda: model.objective(x, y),
                lambda: model.fit(X, Y, get("adam"), progress=False, validation_data=(x, y))):
        with pytest.raises(ValueError, match=message) as caught:
            use()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("y", "message"), [
    (Y[:-1], r"x has 40 rows but y has shape \(39,\): give one target for each row"),
    (3, r"y has shape \(\)"),
    (np.full(40, 3), "label 3, but the model has 3 outputs"),
])
def test_wrong_targets_are_named(y, message):
    with pytest.raises(ValueError, match=message):
        small().fit(X, y, get("adam"), progress=False)


@pytest.mark.parametrize(("layers", "loss", "message"), [
    ([Dense(784, 40), ReLU(), Dense(50, 10), Softmax()], CrossEntropy(),
     r"layer 2 \(Dense\(n_in=50, n_out=10, init='he'\)\) expects 50 inputs but gets 40: write Dense\(40, 10\)"),
    ([Dense(3, 2), ReLU, Softmax()], CrossEntropy(), r"layer 1 is .*, which is not a layer: write ReLU\(\)"),
    ([Dense(3, 2), "relu"], CrossEntropy(), "layer 1 is 'relu', which is not a layer: give Layer objects"),
    ([], CrossEntropy(), "at least one layer with weights"),
    ([ReLU()], MeanSquaredError(), "at least one layer with weights"),
    ([Dense(3, 2)], CrossEntropy(),
     r"CrossEntropy needs probabilities, but the model ends in Dense.*: end it with Softmax\(\)"),
    ([Dense(3, 2), Sigmoid()], CrossEntropy(), r"but the model ends in Sigmoid\(\): end it with Softmax\(\)"),
    ([Dense(3, 2), LeakyReLU()], BinaryCrossEntropy(), r"end it with Sigmoid\(\)"),
    ([Dense(3, 2), Softmax()], "crossentropy", r"unknown loss 'crossentropy': give one of CrossEntropy\(\)"),
    ([Dense(3, 2), Softmax()], CrossEntropy, "unknown loss <class"),
])
def test_layers_and_losses_that_do_not_fit_are_named(layers, loss, message):
    with pytest.raises(ValueError, match=message):
        Model(layers, loss)


@pytest.mark.parametrize(("fields", "message"), [
    ({"dtype": "float16"}, r"unknown dtype 'float16': did you mean 'float64'\? choose from float32, float64"),
    ({"dtype": int}, "unknown dtype 'int64'"),
    ({"seed": -1}, "seed must be a whole number of at least 0, not -1"),
    ({"seed": 0.5}, "seed must be a whole number"),
])
def test_wrong_fields_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        Model([Dense(3, 2), Softmax()], CrossEntropy(), **fields)


def test_float32_and_float64_start_at_the_same_weights():
    np.testing.assert_array_equal(small(3, "float64").theta.astype("float32"), small(3, "float32").theta)
    assert (small(3).theta != small(4).theta).any()


@pytest.mark.parametrize("kind", [kind for kind in ACTIVATIONS.values() if make_layer(kind, 3, 3)])
def test_softmax_and_every_activation_work_in_the_middle(kind):
    model = Model([Dense(6, 8), kind(), Dense(8, 3), Softmax()], CrossEntropy(), dtype="float64")
    x = away_from_kinks(np.random.default_rng(0).normal(size=(60, 6)))
    y = (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)
    history = model.fit(x, y, get("adam", lr=0.05), epochs=60, batch_size=20, progress=False)
    assert history.epochs[-1]["loss"] < 0.5 * history.epochs[0]["loss"]
    assert math.isfinite(history.epochs[-1]["loss"])


def test_the_layers_of_a_model_cannot_be_replaced():
    model = small()
    with pytest.raises(TypeError, match="does not support item assignment"):
        model.layers[0] = Dense(6, 5)
