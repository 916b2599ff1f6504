"""Properties of every model that can be built, on random models of the tables' layers and losses."""

from itertools import pairwise
from typing import Annotated, Literal, get_args, get_origin

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from feedforward.testing.cases import random_target
from nn import INITIALIZERS, LAYERS, LOSSES, Model, Sigmoid, Softmax
from nn.fields import field_types

LAST = {"CrossEntropy": Softmax, "BinaryCrossEntropy": Sigmoid}
FEW = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def values(name, kind):
    """Return a strategy for the values of a field, or None if its default is used."""
    annotated = get_args(kind) if get_origin(kind) is Annotated else (kind,)
    bounds = [extra for extra in annotated[1:] if hasattr(extra, "hold")]
    if name == "init":
        return st.sampled_from(list(INITIALIZERS))
    if annotated[0] is float:
        return st.floats(-4, 4).filter(lambda value: all(bound.hold(value) for bound in bounds))
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    return st.booleans() if kind is bool else None


def layer(draw, kind, width):
    """Return a layer of this class with drawn fields, for inputs of this width."""
    fields = {}
    for name, field in field_types(kind).items():
        if name in ("n_in", "n_out"):
            fields[name] = width if name == "n_in" else draw(st.integers(1, 5))
        elif (strategy := values(name, field)) is not None:
            fields[name] = draw(strategy)
    return kind(**fields)


@st.composite
def models(draw, loss, dtype="float64", random=True):
    """Return a model with up to six layers of any kind and this loss; without random layers if `random` is False."""
    kinds = [LAYERS["Dense"], *draw(st.lists(st.sampled_from(list(LAYERS.values())), max_size=5))]
    n_in = width = draw(st.integers(1, 5))
    chain = []
    for kind in draw(st.permutations(kinds)):
        chain.append(layer(draw, kind, width))
        if chain[-1].random and not random:
            chain.pop()
        else:
            width = chain[-1].output_width(width)
    if loss in LAST and width < 2:
        chain.append(LAYERS["Dense"](width, 3))
    chain += [LAST[loss]()] if loss in LAST else []
    return Model(chain, LOSSES[loss](), seed=draw(st.integers(0, 2**32)), dtype=dtype), n_in


def batch(model, n_in, n, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, n_in))
    return x, random_target(model.loss, n, model.predict(x).shape[1], rng)


@pytest.mark.parametrize("loss", LOSSES)
@given(st.data())
@FEW
def test_loading_what_was_saved_gives_the_same_model(loss, tmp_path_factory, data):
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    model, n_in = data.draw(models(loss, dtype))
    finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
    P = len(model.theta)
    # among them -0.0, the largest and denormal numbers
    for number in data.draw(st.lists(finite, max_size=5 if P else 0)):
        model.theta[data.draw(st.integers(0, P - 1))] = number
    folder = tmp_path_factory.mktemp("models")
    model.save(folder / "a")
    loaded = Model.load(folder / "a")
    loaded.save(folder / "b")
    assert (folder / "a").read_bytes() == (folder / "b").read_bytes()
    assert loaded.theta.tobytes() == model.theta.tobytes()
    assert loaded.theta.dtype == model.theta.dtype == dtype
    assert loaded.constants.tobytes() == model.constants.tobytes()
    assert loaded.components().description() == model.components().description()
    x = np.random.default_rng(0).normal(size=(3, n_in))
    with np.errstate(all="ignore"):
        assert loaded.predict(x).tobytes() == model.predict(x).tobytes()


@pytest.mark.parametrize("loss", LOSSES)
@given(st.data())
@FEW
def test_the_gradient_of_a_batch_is_the_weighted_sum_over_its_parts(loss, data):
    model, n_in = data.draw(models(loss, random=False))
    n = data.draw(st.integers(1, 12))
    x, y = batch(model, n_in, n, data.draw(st.integers(0, 1000)))
    ends = [0, *sorted(data.draw(st.lists(st.integers(1, n), unique=True, max_size=3))), n]
    value, gradient = model.objective(x, y).value_and_gradient()
    gradient = gradient.copy()
    total, total_gradient, size = 0.0, np.zeros_like(gradient), np.zeros_like(gradient)
    for start, stop in pairwise(ends):
        if start < stop:
            part_value, part = model.objective(x[start:stop], y[start:stop]).value_and_gradient()
            total += (stop - start) / n * part_value
            total_gradient += (stop - start) / n * part
            size += (stop - start) / n * np.abs(part)
    assert total == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(total_gradient, gradient, rtol=1e-10, atol=1e-12 * size.max(initial=0))


@pytest.mark.parametrize("loss", LOSSES)
@given(st.data())
@FEW
def test_the_order_of_a_batch_changes_nothing_but_rounding(loss, data):
    model, n_in = data.draw(models(loss, random=False))
    n = data.draw(st.integers(2, 12))
    x, y = batch(model, n_in, n, data.draw(st.integers(0, 1000)))
    order = np.array(data.draw(st.permutations(range(n))))
    value, gradient = model.objective(x, y).value_and_gradient()
    gradient = gradient.copy()
    other_value, other = model.objective(x[order], y[order]).value_and_gradient()
    assert other_value == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(other, gradient, rtol=1e-9, atol=1e-12 * max(1, np.abs(gradient).max(initial=0)))
    np.testing.assert_allclose(model.predict(x[order]), model.predict(x)[order], rtol=1e-12, atol=1e-14)


def test_the_models_are_of_all_layers():
    """The properties would say little if most models were of one kind."""
    seen = set()

    @given(models("MeanSquaredError"))
    @settings(FEW, max_examples=500)
    def build(drawn):
        seen.update(type(layer).__name__ for layer in drawn[0].layers)

    build()
    assert seen == set(LAYERS)
