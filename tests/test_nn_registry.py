"""register: layers and losses of a user in the tables, and classes that are refused."""

import json
from re import escape

import numpy as np
import pytest
from safetensors import safe_open
from test_model import small_data

from nn import (
    ACTIVATIONS,
    LAYERS,
    LOSSES,
    CrossEntropy,
    Dense,
    Elementwise,
    Layer,
    Loss,
    Model,
    Softmax,
    parameter,
    register,
)
from nn.fields import Count, Positive
from optimizers import get


class Swish(Elementwise):
    """x sigmoid(beta x)."""

    beta: Positive = 1.0

    def f(self, x, out):
        return np.divide(x, 1 + np.exp(-self.beta * x), out=out)

    def df(self, x, y, out):
        s = 1 / (1 + np.exp(-self.beta * x))
        return np.multiply(s, 1 + self.beta * x * (1 - s), out=out)

    def d2f(self, x, y, out):
        s = 1 / (1 + np.exp(-self.beta * x))
        return np.multiply(self.beta * s * (1 - s), 2 + self.beta * x * (1 - 2 * s), out=out)


class Scale(Layer):
    """y = x a, with a parameter for each column."""

    independent_rows = True
    width: Count
    start: float = 1.0
    a: np.ndarray = parameter()
    da: np.ndarray = parameter()

    def shapes(self):
        return {"a": (self.width,)}

    def initialize(self, rng):
        self.a = np.full(self.width, self.start)

    def forward(self, x):
        self.x = x
        return np.multiply(x, self.a, out=self.buffers("y", x.shape))

    def backward(self, dy, needs_dx=True):
        self.dy = dy
        np.sum(self.x * dy, axis=0, out=self.da)
        return dy * self.a if needs_dx else None

    def jvp(self, tx):
        self.tx = tx
        return self.x * self.va + (0 if tx is None else tx * self.a)

    def backward_jvp(self, tdy, needs_dx=True, second_order=True):
        np.sum(self.x * tdy, axis=0, out=self.Ha)
        if second_order and self.tx is not None:
            self.Ha += np.sum(self.tx * self.dy, axis=0)
        return tdy * self.a + (self.dy * self.va if second_order else 0) if needs_dx else None


def own_layers():
    return [Scale(6, start=0.5), Dense(6, 5), Swish(beta=2.0), Scale(5), Dense(5, 3), Softmax()]


def test_a_registered_layer_with_fields_and_parameters_is_saved_and_loaded(tmp_path):
    path, (x, y) = tmp_path / "model.safetensors", small_data()
    model = Model(own_layers(), CrossEntropy(), seed=2)
    for optimizer in (get("adam", lr=0.05), get("newton")):
        history = model.fit(x, y, optimizer, epochs=3, progress=False)
        assert history[-1]["loss"] < history[0]["loss"]
    with pytest.raises(ValueError, match=r"layer 0 \(Scale\(width=6, start=0\.5\)\) is of a class that is not "
                                         r"registered.*call nn\.register\(Scale\) first"):
        model.save(path)
    register(Scale)
    register(Swish)
    model.save(path)
    loaded = Model.load(path)
    assert [repr(layer) for layer in loaded.layers] == [repr(layer) for layer in model.layers]
    assert loaded.layers[2].beta == 2.0
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
    with safe_open(path, "numpy") as file:
        described = json.loads(file.metadata()["feedforward"])
    assert described["layers"][2] == {"layer": "Swish", "beta": 2.0}
    assert described["loss"] == {"loss": "CrossEntropy"}


def test_a_file_with_a_class_that_is_not_registered_says_to_register_it(tmp_path):
    path = tmp_path / "model.safetensors"
    register(Swish)
    Model([Dense(3, 2), Swish(), Softmax()], CrossEntropy()).save(path)
    del LAYERS["Swish"]
    message = (f"{path} is not a model that can be loaded: unknown layer 'Swish': choose from {', '.join(LAYERS)}; if "
               "it is a class of your program, call nn.register with it before you load the file")
    with pytest.raises(ValueError, match=f"^{escape(message)}$"):
        Model.load(path)


def test_an_elementwise_layer_is_an_activation_too():
    register(Swish)
    register(Scale)
    assert ACTIVATIONS["swish"] is LAYERS["Swish"] is Swish
    assert LAYERS["Scale"] is Scale
    assert "scale" not in ACTIVATIONS


def test_the_tables_use_the_names_of_the_classes():
    assert all(name == kind.__name__ for table in (LAYERS, LOSSES) for name, kind in table.items())
    assert all(name == kind.__name__.lower() and LAYERS[kind.__name__] is kind for name, kind in ACTIVATIONS.items())


@pytest.mark.parametrize("other", [int, Swish(), "Swish", Model, None, get("adam"), list[int]])
def test_other_objects_are_refused(other):
    with pytest.raises(ValueError, match="register takes a class derived from Layer or Loss, not "):
        register(other)


@pytest.mark.parametrize(("kind", "methods"), [
    (Elementwise, "d2f, df, f"), (Layer, "backward, backward_jvp, forward, jvp"),
    (Loss, "gradient, hessian_product, value")])
def test_an_abstract_class_is_refused(kind, methods):
    with pytest.raises(ValueError, match=f"register: {kind.__name__} is abstract: define its methods {methods}"):
        register(kind)


def test_a_taken_name_is_refused_and_nothing_changes():
    before = dict(ACTIVATIONS), dict(LAYERS), dict(LOSSES)
    taken = [type("Dense", (Swish,), {}), type("ReLU", (Swish,), {}), type("CrossEntropy", (CrossEntropy,), {})]
    for kind in taken:
        with pytest.raises(ValueError, match=f"register: the name '{kind.__name__}' belongs to nn.*: choose another"):
            register(kind)
    with pytest.raises(ValueError, match=r"register: the name 'relu' belongs to nn\.activations\.ReLU: choose another"):
        register(type("RELU", (Swish,), {}))
    assert before == (ACTIVATIONS, LAYERS, LOSSES)


def test_the_same_class_may_be_registered_again_and_defined_again():
    assert register(register(Swish)) is Swish

    def define():
        class Doubling(Swish):
            pass
        return Doubling

    first, second = register(define()), register(define())
    assert LAYERS["Doubling"] is ACTIVATIONS["doubling"] is second is not first


def test_a_layer_that_fixes_the_width_must_say_how_many_inputs_it_has():
    class Sum(Scale):
        def output_width(self, n_in):
            return 1

    with pytest.raises(ValueError, match=r"layer 0 \(.*Sum\(.*\)\) has 1 outputs but does not say how many "
                                         "inputs: define its property input_width"):
        Model([Sum(3)], CrossEntropy())


def test_a_class_with_a_constructor_of_its_own_cannot_be_registered():
    class Gain(Elementwise):
        def __init__(self, k=1.0):
            self.k = k

        def f(self, x, out):
            return np.multiply(x, self.k, out=out)

        def df(self, x, y, out):
            out.fill(self.k)
            return out

        def d2f(self, x, y, out):
            out.fill(0)
            return out

    with pytest.raises(ValueError, match="register: Gain has an __init__ of its own, so a file cannot describe it"):
        register(Gain)


def test_a_field_that_a_file_cannot_hold_is_refused(tmp_path):
    @register
    class Masked(Elementwise):
        mask: object = None

        def f(self, x, out):
            return np.positive(x, out=out)

        def df(self, x, y, out):
            out.fill(1)
            return out

        def d2f(self, x, y, out):
            out.fill(0)
            return out

    model = Model([Dense(2, 2), Masked(np.ones(2)), Softmax()], CrossEntropy())
    with pytest.raises(ValueError, match="a field of a layer or of the loss cannot be written"):
        model.save(tmp_path / "model")
    assert not any(tmp_path.iterdir())
