"""Every layer: its contract, and its gradient against differences and complex steps, which find planted faults."""

import numpy as np
import pytest

from feedforward.testing import check_layer
from feedforward.testing.cases import away_from_kinks, make_layer, random_shapes
from feedforward.testing.derivatives import CENTRAL_TOLERANCE, COMPLEX_TOLERANCE, central, layer_errors, worst
from nn import LAYERS, Dense, Dropout, MeanSquaredError, Model, ReLU
from nn.activations import Elementwise
from nn.arrays import size

PARAMETERIZED = [name for name, kind in LAYERS.items() if make_layer(kind, 3, 2).shapes()]


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_fulfils_the_contract(name):
    check_layer(LAYERS[name])


@pytest.mark.parametrize("name", LAYERS)
def test_gradient(name):
    """This always uses complex steps. check_layer omits them if a layer cannot compute with complex numbers."""
    rng = np.random.default_rng(1)
    for shape in random_shapes(rng):
        by_differences, by_complex_step = worst([layer_errors(make_layer(LAYERS[name], *shape[1:]), shape, rng)])
        assert by_differences < CENTRAL_TOLERANCE, shape
        assert by_complex_step < COMPLEX_TOLERANCE, shape


class WrongSignOfdW(Dense):
    def backward(self, dy, needs_dx=True):
        dx = super().backward(dy, needs_dx)
        self.dW *= -1
        return dx


class NodW(Dense):
    def backward(self, dy, needs_dx=True):
        old = self.dW.copy()
        dx = super().backward(dy, needs_dx)
        self.dW[:] = old
        return dx


class Nodb(Dense):
    def backward(self, dy, needs_dx=True):
        dx = super().backward(dy, needs_dx)
        self.db[:] = 0
        return dx


class AveragesOverExamples(Dense):
    def backward(self, dy, needs_dx=True):
        dx = super().backward(dy, needs_dx)
        self.dW /= len(dy)
        self.db /= len(dy)
        return dx


class AddsToOldGradient(Dense):
    def backward(self, dy, needs_dx=True):
        old = self.dW.copy()
        dx = super().backward(dy, needs_dx)
        self.dW += old
        return dx


class TransposesdW(Dense):
    def backward(self, dy, needs_dx=True):
        dx = super().backward(dy, needs_dx)
        if self.n_in == self.n_out:
            self.dW[:] = self.dW.T.copy()
        return dx


class ForgetsToTransposeW(Dense):
    def backward(self, dy, needs_dx=True):
        dx = super().backward(dy, needs_dx)
        return dy @ self.W if self.n_in == self.n_out else dx


class WrongSignOfdx(Dense):
    def backward(self, dy, needs_dx=True):
        return -super().backward(dy, needs_dx)


class ForgetsBias(Dense):
    def forward(self, x):
        y = super().forward(x)
        y -= self.b
        return y


class AddsBiasTwice(Dense):
    def forward(self, x):
        y = super().forward(x)
        y += self.b
        return y


class RemembersAnOlderInput(Dense):
    def forward(self, x):
        older = getattr(self, "older", x)
        y = super().forward(x)
        self.x, self.older = older, x.copy()
        return y


class FirstExampleOnlyIndb(Dense):
    def backward(self, dy, needs_dx=True):
        dx = super().backward(dy, needs_dx)
        self.db[:] = dy[0]
        return dx


class StaleOutput(Dense):
    def forward(self, x):
        y = super().forward(x)
        if hasattr(self, "last") and self.last.shape == y.shape:
            y[:1] = self.last[:1]
        self.last = y.copy()
        return y


class ReturnsItsInput(Dense):
    def backward(self, dy, needs_dx=True):
        dx = super().backward(dy, needs_dx)
        return dy.copy() if dy.shape == dx.shape else dx


FAULTS = {"Dense": [WrongSignOfdW, NodW, Nodb, AveragesOverExamples, AddsToOldGradient, TransposesdW,
                    ForgetsToTransposeW, WrongSignOfdx, ForgetsBias, AddsBiasTwice, RemembersAnOlderInput,
                    FirstExampleOnlyIndb, StaleOutput, ReturnsItsInput]}


def test_every_parameterized_layer_has_planted_faults():
    assert {name for name, faults in FAULTS.items() if len(faults) >= 10} == set(PARAMETERIZED)


# If forward leaves out the bias or adds it twice, the derivatives for x and W are right, and that for b is wrong.
# Both methods must find each fault.
@pytest.mark.parametrize("fault", [fault for faults in FAULTS.values() for fault in faults])
def test_planted_fault_is_found(fault):
    rng = np.random.default_rng(2)
    errors = worst(layer_errors(make_layer(fault, *shape[1:]), shape, rng) for shape in random_shapes(rng))
    assert errors[0] > 100 * CENTRAL_TOLERANCE
    assert errors[1] > 100 * COMPLEX_TOLERANCE
    with pytest.raises(AssertionError, match=f"^{fault.__name__}: .* (of|by) .*: "):
        check_layer(fault)


class FaultyElementwise(Elementwise):
    def f(self, x, out):
        return np.tanh(x, out=out)

    def df(self, x, y, out):
        np.multiply(y, y, out=out)
        return np.add(1, out, out=out)  # 1 + y^2, not 1 - y^2

    def d2f(self, x, y, out):
        return out


def test_fault_in_an_elementwise_derivative_is_found():
    assert worst([layer_errors(FaultyElementwise(), (4, 3, 3), np.random.default_rng(3))])[1] > 100 * COMPLEX_TOLERANCE
    with pytest.raises(AssertionError, match=r"dL/dx of backward .*: compare df with the derivative of f"):
        check_layer(FaultyElementwise)


@pytest.mark.parametrize("name", [name for name, kind in LAYERS.items() if issubclass(kind, Elementwise)])
def test_second_derivative(name):
    layer = LAYERS[name]()
    layer.bind(np.empty(0), np.empty(0))
    x = away_from_kinks(np.random.default_rng(4).normal(size=(50, 1)))

    def df(h):
        return layer.df(x + h, layer.f(x + h, np.empty_like(x)), np.empty_like(x))

    d2f = layer.d2f(x, layer.f(x, np.empty_like(x)), np.empty_like(x))
    np.testing.assert_allclose(d2f, central(df), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAYERS)
def test_results_for_large_inputs_are_finite_and_keep_the_dtype(name, dtype):
    x = np.array([[-1e4, -100, -1, 0, 1, 100, 1e4]], dtype)
    layer = make_layer(LAYERS[name], 7, 7)
    parameters = sum(int(np.prod(shape)) for shape in layer.shapes().values())
    layer.bind(np.ones(parameters, dtype), np.ones(parameters, dtype)) if parameters else layer.bind(
        np.empty(0, dtype), np.empty(0, dtype))
    layer.bind_constants(np.ones(size(layer.constants()), dtype))
    layer.resample(np.random.default_rng(0))
    y = layer.forward(x)
    dx = layer.backward(np.ones_like(y))
    assert y.dtype == dx.dtype == np.dtype(dtype)
    assert np.isfinite(y).all()
    assert np.isfinite(dx).all()


def test_dropout_keeps_the_mean_and_its_mask_until_it_is_resampled():
    layer = Dropout(0.3)
    layer.bind(np.empty(0), np.empty(0))
    x = np.ones((200, 500))
    assert layer.forward(x) is x  # there is no dropout before resample
    layer.resample(np.random.default_rng(0))
    first = layer.forward(x).copy()
    assert abs(first.mean() - 1) < 0.01
    assert set(np.round(np.unique(first), 9)) == {0, round(1 / 0.7, 9)}
    np.testing.assert_array_equal(layer.forward(x), first)
    layer.resample(np.random.default_rng(1))
    assert (layer.forward(x) != first).any()
    layer.resample(None)
    assert layer.forward(x) is x


@pytest.mark.parametrize(("make_bad", "message"), [
    (lambda: Dense(0, 3), "Dense: n_in must be a whole number of at least 1, not 0"),
    (lambda: Dense(3, 2.5), "Dense: n_out must be a whole number of at least 1, not 2.5"),
    (lambda: Dense(3, 2, init="hee"), "unknown initializer 'hee': did you mean 'he'\\? choose from zeros, "),
    (lambda: Dropout(1.0), "Dropout: rate must be at least 0 and below 1, not 1.0"),
    (lambda: LAYERS["LeakyReLU"](2), "LeakyReLU: slope must be at least 0 and below 1, not 2"),
    (lambda: LAYERS["ELU"](-1), "ELU: alpha must be above 0, not -1"),
])
def test_bad_fields_are_named(make_bad, message):
    with pytest.raises(ValueError, match=message):
        make_bad()


def test_a_layer_of_a_user_may_have_properties_and_another_dtype():
    class Scaled(ReLU):
        @property
        def scale(self):
            return self._scale

        @scale.setter
        def scale(self, value):
            self._scale = float(value)

        def backward(self, dy, needs_dx=True):
            return super().backward(dy).astype("float64") * self.scale

    scaled = Scaled()
    scaled.scale = 2
    layers = [Dense(3, 4), scaled]
    model = Model([*layers, Dense(4, 2)], MeanSquaredError())
    _, gradient = model.objective(np.ones((5, 3)), np.ones((5, 2))).value_and_gradient()
    assert scaled._scale == 2.0
    assert gradient.dtype == "float32"
