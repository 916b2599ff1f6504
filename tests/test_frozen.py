"""Layers that are not trained: their arrays are constants of the model, and all derivatives are those of the others."""

import copy

import numpy as np
import pytest

from nn import (
    BinaryCrossEntropy,
    Checkpoint,
    CrossEntropy,
    Dense,
    MeanSquaredError,
    Model,
    Rescale,
    Sigmoid,
    Softmax,
    Standardize,
    Tanh,
)
from optimizers import OPTIMIZERS, get

N = 12
WHICH = [(False, True, True), (True, False, True), (True, True, False), (False, False, True), (False, True, False)]
ENDS = [(CrossEntropy(), Softmax()), (BinaryCrossEntropy(), Sigmoid()), (MeanSquaredError(units=(2.0, 3.0, 0.5)), None)]


def build(trainable, loss=CrossEntropy(), last=Softmax(), dtype="float64"):  # noqa: B008
    widths = (4, 5, 6, 3)
    layers = []
    for n_in, n_out, trains in zip(widths, widths[1:], trainable):
        layers += [Dense(n_in, n_out, trainable=trains), Tanh()]
    return Model([*layers[:-1], *([last] if last else [])], loss, seed=1, dtype=dtype)


def data(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(N, 4)), rng.integers(0, 3, N)


@pytest.mark.parametrize("trainable", WHICH)
@pytest.mark.parametrize(("loss", "last"), ENDS)
def test_derivatives_are_those_of_the_trained_layers(trainable, loss, last):
    whole, part = build((True, True, True), loss, last), build(trainable, loss, last)
    x, y = data()
    y = np.eye(3)[y]
    kept = np.concatenate([np.full(sum(a.size for a in (layer.W, layer.b)), trains)
                           for layer, trains in zip(whole.layers[::2], trainable)])
    np.testing.assert_array_equal(part.theta, whole.theta[kept])
    np.testing.assert_array_equal(part.constants, whole.theta[~kept])
    one, other = part.objective(x, y), whole.objective(x, y)
    value, gradient = one.value_and_gradient()
    whole_value, whole_gradient = other.value_and_gradient()
    assert value == pytest.approx(whole_value, rel=1e-14)
    np.testing.assert_allclose(gradient, whole_gradient[kept], rtol=1e-12, atol=1e-15)
    v = np.random.default_rng(1).normal(size=len(part.theta))
    direction = np.zeros(len(whole.theta))
    direction[kept] = v
    for product in ("hessian_product", "gauss_newton_product"):
        np.testing.assert_allclose(getattr(one, product)(v), getattr(other, product)(direction)[kept], rtol=1e-11,
                                   atol=1e-14)
    if isinstance(loss, MeanSquaredError):
        np.testing.assert_allclose(one.residuals(), other.residuals(), rtol=1e-14)
        np.testing.assert_allclose(one.jacobian(), other.jacobian()[:, kept], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("threads", [1, 2])
def test_every_optimizer_trains_the_others_alone(name, threads, monkeypatch):
    monkeypatch.setattr("nn.workers.MIN_ACTIVATIONS", 1)
    monkeypatch.setattr("nn.workers.MIN_PRODUCTS", 1)
    loss, last = (MeanSquaredError(), None) if name == "lm" else (CrossEntropy(), Softmax())
    model = build((True, False, True), loss, last)
    x, y = data()
    first, middle, end = (layer.W.copy() for layer in model.layers[:5:2])
    before = model.evaluate(x, np.eye(3)[y])["loss"]
    model.fit(x, np.eye(3)[y], get(name), epochs=3, progress=False, threads=threads)
    np.testing.assert_array_equal(model.layers[2].W, middle)
    assert (first != model.layers[0].W).any()
    assert (end != model.layers[4].W).any()
    assert model.evaluate(x, np.eye(3)[y])["loss"] < before


def test_constants_are_saved_copied_and_restored(tmp_path):
    x, y = data()
    model = Model([Standardize.of(x * 5 + 100), Dense(4, 3, trainable=False), Tanh(), Dense(3, 3), Softmax()],
                  CrossEntropy())
    model.layers[1].W = np.arange(12.0).reshape(4, 3)
    model.save(tmp_path / "model")
    checkpoint, optimizer = Checkpoint(tmp_path / "checkpoint"), get("adam")
    model.fit(x * 5 + 100, y, optimizer, epochs=2, callbacks=[checkpoint], progress=False)
    for other in (Model.load(tmp_path / "model"), copy.deepcopy(model)):
        np.testing.assert_array_equal(other.constants, model.constants)
        assert other.layers[1].W.base is not None
        other.constants[:] = 7
        assert (other.layers[1].W == 7).all()
        assert (model.layers[1].W != 7).any()
    restored = Model([Standardize(4), Dense(4, 3, trainable=False), Tanh(), Dense(3, 3), Softmax()], CrossEntropy())
    Checkpoint(tmp_path / "checkpoint").restore(restored, get("adam"))
    np.testing.assert_array_equal(restored.constants, model.constants)
    np.testing.assert_array_equal(restored.predict(x), model.predict(x))
    assert set(model.parameters()) == {"0.mean", "0.scale", "1.W", "1.b", "3.W", "3.b"}
    model.parameters()["3.b"][:] = 5
    assert (model.theta[-3:] == 5).all()


def test_a_model_without_trained_layers_predicts_but_is_not_trained():
    model = Model([Dense(4, 3, trainable=False), Softmax()], CrossEntropy())
    x, y = data()
    assert model.predict(x).shape == (N, 3)
    assert model.evaluate(x, y)["loss"] > 0
    with pytest.raises(ValueError, match="no layer of the model is trained: leave out trainable=False of one"):
        model.fit(x, y, get("adam"), progress=False)


def test_trainable_cannot_be_changed_within_a_model():
    model = Model([Dense(4, 3), Softmax()], CrossEntropy())
    with pytest.raises(ValueError, match=r"make a new model, with Dense\(4, 3, trainable=False\), and copy W and b"):
        model.layers[0].trainable = False
    assert model.layers[0].trainable is True
    assert "constants" not in model.summary()
    frozen = Model([Dense(4, 5, trainable=False), Dense(5, 3), Softmax()], CrossEntropy())
    assert "Dense(n_in=4, n_out=5, init='he', trainable=False)" in frozen.summary()
    assert "0 + 25 constants" in frozen.summary()
    assert repr(frozen) == "Model(4-5-3, CrossEntropy, float32, 18 parameters)"


def test_scaling_gives_the_gradient_of_standardized_data():
    rng = np.random.default_rng(0)
    x, t = rng.normal(50, 20, (30, 4)), rng.normal([3000, -2], [500, 0.1], (30, 2))
    inputs, outputs = Standardize.of(x), Rescale.of(t)
    loss = MeanSquaredError(units=tuple(t.std(axis=0)))
    scaled = Model([inputs, Dense(4, 5), Tanh(), Dense(5, 2), outputs], loss, dtype="float64")
    plain = Model([Dense(4, 5), Tanh(), Dense(5, 2)], MeanSquaredError(), dtype="float64")
    z, s = (x - x.mean(axis=0)) / x.std(axis=0), (t - t.mean(axis=0)) / t.std(axis=0)
    np.testing.assert_array_equal(scaled.theta, plain.theta)
    np.testing.assert_allclose(scaled.predict(x), plain.predict(z) * t.std(axis=0) + t.mean(axis=0), rtol=1e-12)
    one, other = scaled.objective(x, t), plain.objective(z, s)
    np.testing.assert_allclose(one.value_and_gradient()[1], other.value_and_gradient()[1], rtol=1e-10, atol=1e-14)
    v = rng.normal(size=len(plain.theta))
    np.testing.assert_allclose(one.hessian_product(v), other.hessian_product(v), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(one.jacobian(), other.jacobian(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", [Standardize, Rescale])
def test_scaling_of_constant_and_weighted_columns(kind):
    layer = kind.of([[1.0, 0.1, 5], [3.0, 0.1, 5]], weights=[3, 1])
    model = Model([layer, Dense(3, 1)], MeanSquaredError(), dtype="float64")
    np.testing.assert_allclose(model.layers[0].mean, [1.5, 0.1, 5], rtol=1e-15)
    np.testing.assert_allclose(model.layers[0].scale, [np.sqrt(0.75), 1, 1], rtol=1e-15)
    assert kind.of([1.0, 3.0]).initial_scale() == (1.0,)
    assert kind.of((20_000 + np.random.default_rng(0).normal(size=(60_000, 1))).astype("f4")).initial_scale()[0] == (
        pytest.approx(1, abs=0.01))
    for wrong in (3.0, [["a"]], [[np.nan]], np.zeros((0, 3)), [[1e300], [-1e300]]):
        with pytest.raises(ValueError, match=f"{kind.__name__}.of"), np.errstate(over="ignore"):
            kind.of(wrong)


@pytest.mark.parametrize("units", [(0.0,), (-1.0,), (float("nan"),), "ab", 0.0])
def test_units_that_are_none_are_refused(units):
    with pytest.raises(ValueError, match="units must be a tuple of numbers above 0"):
        MeanSquaredError(units=units)
    assert MeanSquaredError(units=3).units == MeanSquaredError(units=np.array([3.0])).units == (3.0,)
    with pytest.raises(ValueError, match="the unit 1e-50 is too small for float32"):
        Model([Dense(1, 1)], MeanSquaredError(units=1e-50))
    with pytest.raises(ValueError, match="has 2 units, but the model has 3 outputs"):
        Model([Dense(1, 3)], MeanSquaredError(units=(1.0, 2.0))).evaluate([[1.0]], [[1.0, 2.0, 3.0]])


@pytest.mark.parametrize(("values", "dtype", "message"), [
    ([[1e-50], [3e-50]], "float32", "column 0 has mean 2e-50 and scale 1e-50, which float32 cannot hold: use float64"),
    ([[0.0], [1e100]], "float32", "which float32 cannot hold")])
def test_numbers_that_the_dtype_cannot_hold_are_refused(values, dtype, message):
    with pytest.raises(ValueError, match=message):
        Model([Standardize.of(values), Dense(1, 1)], MeanSquaredError(), dtype=dtype)
    Model([Standardize.of(values), Dense(1, 1)], MeanSquaredError(), dtype="float64")


def test_numbers_that_the_dtype_cannot_tell_apart_are_warned_of():
    times = 1_700_000_000 + np.arange(200.0)
    with pytest.warns(UserWarning, match="between which float32 is coarse: use dtype float64, or subtract 1.7e"):
        Model([Standardize.of(times), Dense(1, 1)], MeanSquaredError())
    Model([Standardize.of(times), Dense(1, 1)], MeanSquaredError(), dtype="float64")


def test_layers_of_another_model_keep_their_weights():
    first = build((True, True, True))
    first.theta += 1
    second = Model([*first.layers[:4], Dense(6, 2), Softmax()], CrossEntropy(), dtype="float64")
    np.testing.assert_array_equal(second.layers[0].W, first.layers[0].W)
    np.testing.assert_array_equal(second.layers[2].b, first.layers[2].b)
    second.theta += 1
    assert (second.layers[0].W != first.layers[0].W).all()
