"""Losses that a user defines: with fields, computed together with a last layer, derived from another loss."""

import copy
import pickle
from re import escape

import numpy as np
import pytest
from test_model import small_data

from feedforward.testing import check_loss
from nn import LOSSES, CrossEntropy, Dense, Loss, MeanSquaredError, Model, Sigmoid, Softmax, Tanh, register
from nn.fields import Positive
from nn.losses import SoftmaxCrossEntropy
from optimizers import get


class Huber(Loss):
    """Quadratic for small errors, linear for large ones."""

    is_regression = True
    delta: Positive = 1.0

    def value(self, z, target, scale):
        r = abs(z - target)
        return scale * np.where(r < self.delta, r * r / 2, self.delta * (r - self.delta / 2)).sum().item()

    def gradient(self, z, target, scale, out):
        np.clip(z - target, -self.delta, self.delta, out=out)
        out *= scale
        return out

    def hessian_product(self, z, target, v, scale, out):
        np.multiply(v, scale * (abs(z - target) < self.delta), out=out)
        return out


class Power(Loss):
    """-sum_k t_k p_k^power / power, of probabilities p."""

    needs_probabilities = True
    power: Positive = 0.5

    def for_last_layer(self, last):
        return PowerOfSigmoid(self.power) if type(last) is Sigmoid else super().for_last_layer(last)

    def value(self, z, target, scale):
        return -scale / self.power * (target * z**self.power).sum().item()

    def gradient(self, z, target, scale, out):
        np.multiply(-scale * target, z ** (self.power - 1), out=out)
        return out

    def hessian_product(self, z, target, v, scale, out):
        np.multiply((1 - self.power) * scale * target * z ** (self.power - 2), v, out=out)
        return out


class PowerOfSigmoid(Power):
    """Power for p = sigmoid(z)."""

    includes = Sigmoid
    threshold = 0.0

    def value(self, z, target, scale):
        return super().value(1 / (1 + np.exp(-z)), target, scale)

    def gradient(self, z, target, scale, out):
        p = 1 / (1 + np.exp(-z))
        np.multiply(-scale * target * p**self.power, 1 - p, out=out)
        return out

    def hessian_product(self, z, target, v, scale, out):
        p = 1 / (1 + np.exp(-z))
        np.multiply(-scale * target * p**self.power * (1 - p) * (self.power * (1 - p) - p), v, out=out)
        return out


class Smoothed(CrossEntropy):
    """Cross-entropy with label smoothing."""

    amount: Positive = 0.1

    def encode(self, y, width, dtype):
        return super().encode(y, width, dtype) * (1 - self.amount) + self.amount / width


def regression(loss, seed=0):
    return Model([Dense(6, 5), Tanh(), Dense(5, 1)], loss, seed)


def regression_data():
    x, _ = small_data()
    return x, x[:, 0] + 5 * (x[:, 1] > 1)


def fit(model, name="adam", **fields):
    x, y = regression_data()
    return model.fit(x, y, get(name, **fields), epochs=5, batch_size=20, progress=False)


@pytest.mark.parametrize("loss", [Huber, Huber(delta=0.25)])
def test_a_loss_of_a_user_passes_check_loss(loss):
    check_loss(loss)


@pytest.mark.parametrize("name", ["adam", "newton", "lbfgs"])
def test_a_loss_with_fields_trains(name):
    model = regression(Huber(delta=0.5))
    history = fit(model, name)
    assert history[-1]["loss"] < history[0]["loss"]
    assert history[-1]["accuracy"] is None
    x, y = regression_data()
    r = abs(model.predict(x)[:, 0] - y)
    expected = np.where(r < 0.5, r * r / 2, 0.5 * (r - 0.25)).mean()
    assert model.evaluate(x, y)["loss"] == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match=r"a model with Huber that ends in Dense.* predicts numbers, not classes"):
        model.predict_classes(x)


@pytest.mark.parametrize("copy_model", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_of_a_model_keeps_the_loss_and_its_fields(copy_model):
    model = regression(Huber(delta=0.5))
    twin = copy_model(model)
    assert type(twin.loss) is Huber
    assert twin.loss.delta == twin.network.loss.delta == 0.5
    assert twin.loss is not model.loss
    fit(model)
    fit(twin)
    np.testing.assert_array_equal(twin.theta, model.theta)


def test_a_registered_loss_is_saved_with_its_fields(tmp_path):
    path, model = tmp_path / "model.safetensors", regression(Huber(delta=0.5))
    message = (f"the loss (Huber(delta=0.5)) is of a class that is not registered, so no file may name it: {path} was "
               "not written; call nn.register(Huber) first")
    with pytest.raises(ValueError, match=f"^{escape(message)}$"):
        model.save(path)
    assert not path.exists()
    assert register(Huber) is Huber
    model.save(path)
    loaded = Model.load(path)
    assert type(loaded.loss) is Huber
    assert loaded.loss.delta == loaded.network.loss.delta == 0.5
    x, y = regression_data()
    assert loaded.evaluate(x, y) == model.evaluate(x, y)
    del LOSSES["Huber"]
    with pytest.raises(ValueError, match=r"unknown loss 'Huber': .*choose from CrossEntropy, .*call nn\.register "
                                         "with it before you load the file") as caught:
        Model.load(path)
    assert "\n" not in str(caught.value)


def test_a_wrong_field_is_named():
    with pytest.raises(TypeError, match="Huber has no field 'detla': did you mean 'delta'"):
        Huber(detla=1)
    with pytest.raises(ValueError, match="Huber: delta must be above 0, not 0"):
        Huber(delta=0)


def test_a_loss_is_computed_together_with_a_last_layer():
    x, labels = small_data()
    y = (labels > 0).astype(float)
    together = Model([Dense(6, 4), Tanh(), Dense(4, 1), Sigmoid()], Power(power=0.25), dtype="float64")
    assert type(together.loss) is Power
    assert type(together.network.loss) is PowerOfSigmoid
    assert together.network.loss.power == 0.25
    assert len(together.network.body) == 3
    assert type(together.network.replica().loss) is PowerOfSigmoid

    class Separate(Power):
        def for_last_layer(self, last):
            return self

    separate = Model(together.layers, Separate(power=0.25), dtype="float64")
    separate.theta = together.theta
    assert len(separate.network.body) == 4
    a, b, v = together.objective(x, y), separate.objective(x, y), np.sin(np.arange(len(separate.theta)))
    assert a.value() == pytest.approx(b.value(), rel=1e-12)
    np.testing.assert_allclose(a.value_and_gradient()[1], b.value_and_gradient()[1], rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(a.hessian_product(v), b.hessian_product(v), rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(together.predict(x), separate.predict(x), rtol=1e-12)
    np.testing.assert_array_equal(together.predict_classes(x), separate.predict_classes(x))
    history = together.fit(x, y, get("adam", lr=0.05), epochs=5, progress=False)
    assert history[-1]["loss"] < history[0]["loss"]


def test_a_loss_may_be_bound_to_one_last_layer():
    layers = [Dense(6, 4), Tanh(), Dense(4, 3)]
    assert len(Model([*layers, Sigmoid()], PowerOfSigmoid()).network.body) == 3
    with pytest.raises(ValueError, match=r"PowerOfSigmoid is computed together with Sigmoid, but the model ends in "
                                         r"Softmax\(\): end it with Sigmoid\(\)"):
        Model([*layers, Softmax()], PowerOfSigmoid())

    class Sharp(Softmax):
        def forward(self, x):
            return super().forward(3 * x)

    assert type(Model([*layers, Sharp()], CrossEntropy()).network.loss) is CrossEntropy  # its forward is not skipped
    with pytest.raises(ValueError, match="computed together with Softmax"):
        Model([*layers, Sharp()], SoftmaxCrossEntropy())


def test_a_subclass_of_cross_entropy_keeps_its_overrides():
    x, y = small_data()
    layers = [Dense(6, 5), Tanh(), Dense(5, 3), Softmax()]
    model, plain = Model(layers, Smoothed(amount=0.3)), Model(layers, CrossEntropy())
    assert type(model.network.loss) is Smoothed
    soft = np.eye(3)[y] * 0.7 + 0.1
    assert model.evaluate(x, y)["loss"] == pytest.approx(plain.evaluate(x, soft)["loss"], rel=1e-5)
    expected = plain.objective(x, soft).value_and_gradient()[1]
    np.testing.assert_allclose(model.objective(x, y).value_and_gradient()[1], expected, rtol=1e-4, atol=1e-6)
    history = model.fit(x, y, get("adam", lr=0.05), epochs=20, progress=False)
    assert history[-1]["loss"] < history[0]["loss"]
    assert model.evaluate(x, y)["accuracy"] == np.mean(model.predict_classes(x) == y) > 0.4

    class Doubled(CrossEntropy):
        def value(self, z, target, scale):
            return 2 * super().value(z, target, scale)

    doubled = Model(layers, Doubled())
    assert doubled.evaluate(x, y)["loss"] == pytest.approx(2 * plain.evaluate(x, y)["loss"], rel=1e-5)


def test_a_loss_without_residuals_says_what_to_use():
    objective = regression(Huber()).objective(*regression_data())
    with pytest.raises(ValueError, match=r"Huber is not a sum of squares, so it has no residuals and no Jacobian: use "
                                         r"gauss_newton_product\(v\)"):
        objective.jacobian()


def test_one_loss_object_in_two_models_is_copied():
    loss = MeanSquaredError()
    a, b = regression(loss), regression(loss, seed=1)
    assert a.network.loss is not b.network.loss
    assert a.network.loss.buffers is not b.network.loss.buffers


def test_a_changed_field_of_the_loss_counts():
    class Scaled(MeanSquaredError):
        factor: float = 1.0

        def value(self, z, target, scale):
            return self.factor * super().value(z, target, scale)

    model = Model([Dense(2, 1)], Scaled())
    x, y = np.ones((3, 2)), np.zeros(3)
    before = model.evaluate(x, y)["loss"]
    model.loss.factor = 3.0
    assert model.evaluate(x, y)["loss"] == pytest.approx(3 * before)
    assert model.components().description()["loss"] == {"loss": "Scaled", "units": (), "factor": 3.0}
