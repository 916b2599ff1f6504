"""Curvature: tangents of layers, Hessians of losses, products of whole models, and faults planted in them."""

import tracemalloc

import numpy as np
import pytest
from test_losses import ALL
from test_model import LOSSES_WITH_LAST_LAYERS, batch_objective, small, small_data

from feedforward.testing import check_layer, check_loss
from feedforward.testing.cases import away_from_kinks, make_layer, random_shapes, random_target
from feedforward.testing.derivatives import (
    CENTRAL_TOLERANCE,
    COMPLEX_TOLERANCE,
    central,
    complex_step,
    loss_errors,
    relative,
    tangent_errors,
    worst,
)
from nn import (
    ACTIVATIONS,
    LAYERS,
    LOSSES,
    CrossEntropy,
    Dense,
    Dropout,
    MeanSquaredError,
    Model,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
)
from nn.arrays import size
from nn.blas import limited
from nn.network import Batch, Network
from optimizers import get
from optimizers.second_order import SecondOrder

PARAMETERIZED = [name for name, kind in LAYERS.items() if make_layer(kind, 3, 2).shapes()]


# layers by themselves

@pytest.mark.parametrize("name", LAYERS)
def test_tangents(name):
    rng = np.random.default_rng(1)
    for shape in random_shapes(rng):
        by_differences, by_complex_step = worst([tangent_errors(make_layer(LAYERS[name], *shape[1:]), shape, rng)])
        assert by_differences < CENTRAL_TOLERANCE, shape
        assert by_complex_step < COMPLEX_TOLERANCE, shape


@pytest.mark.parametrize("name", PARAMETERIZED)
def test_fixed_inputs_and_the_gradients_of_each_example(name):
    rng = np.random.default_rng(2)
    for n, n_in, n_out in random_shapes(rng):
        layer = make_layer(LAYERS[name], n_in, n_out)
        P = size(layer.shapes())
        theta, grad, v, Hv = rng.normal(size=(4, P))
        layer.bind(theta, grad)
        layer.bind_tangents(v, Hv)
        x = rng.normal(size=(n, n_in))
        dy, tdy = rng.normal(size=(2, *layer.forward(x).shape))
        layer.backward(dy)
        rows = np.full((n, 3, P), np.nan)[:, 1]  # as in a Jacobian, not contiguous
        layer.example_gradients(dy, rows)
        for row, gradient in enumerate(rows):
            layer.forward(x[row : row + 1])
            layer.backward(dy[row : row + 1])
            np.testing.assert_allclose(gradient, grad, rtol=1e-14)
        layer.forward(x)
        layer.backward(dy)
        results = []
        for tx in (None, np.zeros_like(x)):
            results.append((layer.jvp(tx).copy(), layer.backward_jvp(tdy).copy(), Hv.copy()))
            assert layer.backward_jvp(tdy, needs_dx=False) is None
        for none, zero in zip(*results):
            np.testing.assert_allclose(none, zero, rtol=1e-14)


class JvpWithoutvW(Dense):
    def jvp(self, tx):
        ty = super().jvp(tx)
        ty -= self.x @ self.vW
        return ty


class JvpWithoutvb(Dense):
    def jvp(self, tx):
        ty = super().jvp(tx)
        ty -= self.vb
        return ty


class JvpWithouttx(Dense):
    def jvp(self, tx):
        super().jvp(tx)
        return super().jvp(None)


class TakesvWForW(Dense):
    def jvp(self, tx):
        return super().jvp(tx) + tx @ (self.vW - self.W)


class NoCurvatureOfW(Dense):
    def backward_jvp(self, tdy, needs_dx=True, second_order=True):
        tdx = super().backward_jvp(tdy, needs_dx, second_order)
        if second_order:
            self.HW -= self.tx.T @ self.dy
        return tdx


class WrongSignOfCurvature(Dense):
    def backward_jvp(self, tdy, needs_dx=True, second_order=True):
        tdx = super().backward_jvp(tdy, needs_dx, second_order)
        if second_order:
            self.HW -= 2 * self.tx.T @ self.dy
        return tdx


class Notdy(Dense):
    def backward_jvp(self, tdy, needs_dx=True, second_order=True):
        return super().backward_jvp(0 * tdy, needs_dx, second_order)


class NoCurvatureOfdx(Dense):
    def backward_jvp(self, tdy, needs_dx=True, second_order=True):
        tdx = super().backward_jvp(tdy, needs_dx, second_order)
        return tdx - self.dy @ self.vW.T if second_order else tdx


class AlwaysOfSecondOrder(Dense):
    def backward_jvp(self, tdy, needs_dx=True, second_order=True):
        return super().backward_jvp(tdy, needs_dx)


class AveragesHb(Dense):
    def backward_jvp(self, tdy, needs_dx=True, second_order=True):
        tdx = super().backward_jvp(tdy, needs_dx, second_order)
        self.Hb /= len(tdy)
        return tdx


class AddsToOldProduct(Dense):
    def backward_jvp(self, tdy, needs_dx=True, second_order=True):
        old = self.HW.copy()
        tdx = super().backward_jvp(tdy, needs_dx, second_order)
        self.HW += old
        return tdx


class TransposesHW(Dense):
    def backward_jvp(self, tdy, needs_dx=True, second_order=True):
        tdx = super().backward_jvp(tdy, needs_dx, second_order)
        if self.n_in == self.n_out:
            self.HW[:] = self.HW.T.copy()
        return tdx


class Stale(Dense):
    """Uses an older input, gradient or tangent: the attribute that `what` names."""

    what = "x"

    def backward_jvp(self, tdy, needs_dx=True, second_order=True):
        current = getattr(self, self.what, None)
        setattr(self, self.what, getattr(self, "older", current))
        tdx = super().backward_jvp(tdy, needs_dx, second_order)
        setattr(self, self.what, current)
        if second_order:
            self.older = current.copy()
        return tdx


class Staledy(Stale):
    what = "dy"


class Staletx(Stale):
    what = "tx"


FAULTS = {"Dense": [JvpWithoutvW, JvpWithoutvb, JvpWithouttx, TakesvWForW, NoCurvatureOfW, WrongSignOfCurvature, Notdy,
                    NoCurvatureOfdx, AlwaysOfSecondOrder, AveragesHb, AddsToOldProduct, TransposesHW, Stale, Staledy,
                    Staletx]}


def test_every_parameterized_layer_has_planted_faults():
    assert {name for name, faults in FAULTS.items() if len(faults) >= 10} == set(PARAMETERIZED)


@pytest.mark.parametrize("fault", [fault for faults in FAULTS.values() for fault in faults])
def test_planted_fault_is_found(fault):
    rng = np.random.default_rng(3)
    errors = worst(tangent_errors(make_layer(fault, *shape[1:]), shape, rng) for shape in random_shapes(rng))
    assert errors[0] > 100 * CENTRAL_TOLERANCE
    assert errors[1] > 100 * COMPLEX_TOLERANCE
    with pytest.raises(AssertionError, match=f"^{fault.__name__}: .*jvp"):
        check_layer(fault)


class WrongSecondDerivative(Tanh):
    def d2f(self, x, y, out):
        return np.negative(super().d2f(x, y, out), out=out)


class DerivativeOfAnOlderPoint(Tanh):
    def forward(self, x):
        old = getattr(self, "_df", None)
        y = super().forward(x)
        self._df = old
        return y


class SecondDerivativeOfAnOlderPoint(Tanh):
    def backward(self, dy, needs_dx=True):
        old = getattr(self, "_d2f_dy", None)
        dx = super().backward(dy, needs_dx)
        self._d2f_dy = old
        return dx


class SoftmaxWithoutCurvature(Softmax):
    def backward_jvp(self, tdy, needs_dx=True, second_order=True):
        return super().backward_jvp(tdy, needs_dx, second_order=False)


@pytest.mark.parametrize("fault", [WrongSecondDerivative, DerivativeOfAnOlderPoint, SecondDerivativeOfAnOlderPoint,
                                   SoftmaxWithoutCurvature])
def test_planted_fault_in_an_activation_is_found(fault):
    assert worst([tangent_errors(fault(), (4, 3, 3), np.random.default_rng(4))])[1] > 100 * COMPLEX_TOLERANCE
    with pytest.raises(AssertionError, match=f"^{fault.__name__}: .* of (jvp|backward_jvp).* differs"):
        check_layer(fault)


# losses by themselves

FAULTS_OF_LOSSES = {
    "sign": lambda product, v: -product,
    "twice": lambda product, v: 2 * product,
    "missing 1/N": lambda product, v: product * len(product),
    "identity": lambda product, v: v,
    "first example only": lambda product, v: product * (np.arange(len(product)) == 0)[:, None],
}


@pytest.mark.parametrize("fault", FAULTS_OF_LOSSES)
@pytest.mark.parametrize("name", ALL)
def test_planted_fault_in_a_loss_is_found(name, fault):
    def hessian_product(self, z, target, v, scale, out):
        out[:] = FAULTS_OF_LOSSES[fault](ALL[name].hessian_product(self, z, target, v, scale, out), v)
        return out

    kind = type(f"Faulty{name}", (ALL[name],), {"hessian_product": hessian_product})
    rng = np.random.default_rng(2)
    errors = worst(loss_errors(kind(), (n, 3), rng) for n in (1, 2, 5))
    assert errors[0] > 100 * CENTRAL_TOLERANCE
    assert errors[1] > 100 * COMPLEX_TOLERANCE
    with pytest.raises(AssertionError, match=f"^Faulty{name}: hessian_product differs from central differences"):
        check_loss(kind)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ALL)
def test_the_hessian_of_a_loss_is_finite_and_positive_if_the_output_is_certain(name, dtype):
    loss = ALL[name]()
    loss.bind(dtype)
    large = 1e4 if loss.includes or not loss.needs_probabilities else 1
    z, target = np.array([[large, 0.0], [0.0, large]], dtype), np.array([[1, 0], [1, 0]], dtype)
    v = np.ones_like(z)
    v[:, 1] = -0.5
    loss.value(z, target, 0.5)
    product = loss.hessian_product(z, target, v, 0.5, np.empty_like(z))
    assert product.dtype == np.dtype(dtype)
    assert np.isfinite(product).all()
    assert (np.sum(v * product, axis=1) >= 0).all()


# whole models

def mixed(name, last_layer, first, second, rng, n, dtype="float64"):
    """Return a model of both activations with dropout, this loss and this last layer, and n examples with targets."""
    layers = [first(), Dense(4, 6), first(), Dropout(0.2), Dense(6, 5), second(), Dense(5, 3)]
    model = Model([*layers, *filter(None, [last_layer])], LOSSES[name](), dtype=dtype)
    model.theta += 0.5 * rng.normal(size=model.theta.shape)
    x, target = away_from_kinks(rng.normal(size=(n, 4))), random_target(LOSSES[name](), n, 3, rng)
    return model, x.astype(dtype), target.astype(dtype)


def activation_pairs(rng):
    """Yield every activation in both positions, and a batch size; the first batch size is 1."""
    for i, (first, second) in enumerate(zip(ACTIVATIONS.values(), reversed(ACTIVATIONS.values()))):
        yield first, second, 1 if i == 0 else int(rng.integers(2, 8))


@pytest.mark.parametrize(("name", "last_layer"), LOSSES_WITH_LAST_LAYERS)
def test_hessian_products_of_a_whole_model(name, last_layer):
    rng = np.random.default_rng(1)
    for first, second, n in activation_pairs(rng):
        model, x, target = mixed(name, last_layer, first, second, rng, n)
        objective = batch_objective(model.network, x, target, np.random.default_rng(5))
        v, w, a = rng.normal(size=(3, len(model.theta)))
        Hv = objective.hessian_product(v).copy()
        Hw = objective.hessian_product(w)

        def f(h, model=model, x=x, target=target, v=v, a=a):
            theta = model.theta + h * v
            network = Network(model.layers, model.loss, theta, np.zeros_like(theta), model.constants)
            moved = batch_objective(network, x + 0 * h, target + 0 * h, np.random.default_rng(5))
            return a @ moved.value_and_gradient()[1]

        magnitude = np.abs(Hv * a).sum()
        assert relative(Hv @ a, central(f, 1e-4), magnitude) < CENTRAL_TOLERANCE, (first, second)
        assert relative(Hv @ a, complex_step(f), magnitude) < COMPLEX_TOLERANCE, (first, second)
        assert relative(Hv @ w, Hw @ v, np.abs(Hv * w).sum()) < 1e-10


@pytest.mark.parametrize(("name", "last_layer"), LOSSES_WITH_LAST_LAYERS)
def test_gauss_newton_products_of_a_whole_model(name, last_layer):
    """They are symmetric, positive semidefinite, and J^T J v if there are residuals."""
    rng = np.random.default_rng(2)
    for first, second, n in activation_pairs(rng):
        model, x, target = mixed(name, last_layer, first, second, rng, n)
        objective = batch_objective(model.network, x, target, np.random.default_rng(5))
        vectors = rng.normal(size=(100, len(model.theta)))
        products = np.array([objective.gauss_newton_product(v).copy() for v in vectors])
        curvatures = vectors @ products.T
        np.testing.assert_allclose(curvatures, curvatures.T, rtol=0, atol=1e-10 * np.abs(curvatures).max())
        assert (np.diag(curvatures) >= 0).all()
        assert np.diag(curvatures).max() > 0
        if isinstance(model.loss, MeanSquaredError):
            J = objective.jacobian()
            assert J.shape == (3 * n, len(model.theta))
            exact = vectors @ J.T @ J
            assert np.linalg.norm(products - exact) < 1e-12 * np.linalg.norm(exact)


@pytest.mark.parametrize("last_layer", [layer for name, layer in LOSSES_WITH_LAST_LAYERS if name == "MeanSquaredError"])
def test_residuals_and_their_jacobian(last_layer):
    rng = np.random.default_rng(3)
    for first, second, n in activation_pairs(rng):
        model, x, target = mixed("MeanSquaredError", last_layer, first, second, rng, n)
        objective = batch_objective(model.network, x, target, np.random.default_rng(5))
        v = rng.normal(size=len(model.theta))
        value, gradient = objective.value_and_gradient()
        gradient, r, J = gradient.copy(), objective.residuals().copy(), objective.jacobian().copy()
        assert r.shape == (3 * n,)
        assert r @ r / 2 == pytest.approx(value, rel=1e-14)
        np.testing.assert_allclose(J.T @ r, gradient, rtol=0, atol=1e-13 * np.abs(gradient).max())
        theta = model.theta.copy()

        def f(h, model=model, objective=objective, theta=theta, v=v):
            model.theta[:] = theta + h * v
            return objective.residuals().copy()

        assert np.linalg.norm(J @ v - central(f, 1e-4)) < CENTRAL_TOLERANCE * np.linalg.norm(J @ v)


def test_the_hessian_of_a_linear_model_is_its_gauss_newton_matrix():
    rng = np.random.default_rng(0)
    model = Model([Dense(4, 3), Softmax()], CrossEntropy(), dtype="float64")
    objective = model.objective(rng.normal(size=(10, 4)), rng.integers(0, 3, 10))
    H, G = objective.hessian(), objective.gauss_newton()
    np.testing.assert_allclose(H, G, rtol=1e-12, atol=1e-16)
    np.testing.assert_allclose(H, H.T, rtol=0, atol=1e-10 * np.abs(H).max())
    v = rng.normal(size=len(H))
    np.testing.assert_allclose(objective.hessian_product(v), H @ v, rtol=1e-11)
    assert np.linalg.eigvalsh(G).min() > -1e-15


def test_the_matrices_of_a_curved_model():
    model = small(dtype="float64")
    model.theta += 0.5
    objective = model.objective(*small_data())
    H, G = objective.hessian(), objective.gauss_newton()
    for matrix in (H, G):
        np.testing.assert_allclose(matrix, matrix.T, rtol=0, atol=1e-10 * np.abs(matrix).max())
    assert np.linalg.eigvalsh(H).min() < -1e-3 < -1e-15 < np.linalg.eigvalsh(G).min()


def test_layers_before_the_first_weights_are_not_differentiated():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 4)), rng.normal(size=(8, 2))
    before = Model([Tanh(), Sigmoid(), Dense(4, 3), Tanh(), Dense(3, 2)], MeanSquaredError(), dtype="float64")
    plain = Model([Dense(4, 3), Tanh(), Dense(3, 2)], MeanSquaredError(), dtype="float64")
    plain.theta[:] = before.theta
    v = rng.normal(size=len(before.theta))
    a, b = before.objective(x, y), plain.objective(0.5 + 0.5 * np.tanh(np.tanh(x) / 2), y)
    for name in ("hessian_product", "gauss_newton_product"):
        np.testing.assert_allclose(getattr(a, name)(v), getattr(b, name)(v), rtol=1e-12)
    np.testing.assert_allclose(a.jacobian(), b.jacobian(), rtol=1e-12, atol=1e-15)
    layers = a._networks[0].layers
    assert not {"ty", "tdx", "df"} & {name for layer in layers[:2] for name in layer.buffers._arrays}
    assert not {"txW", "txdy", "tdx", "dyvW"} & set(layers[2].buffers._arrays)


# activations that are kept between products

def changes(objective, model, x, y):
    """Return calls that may come between two products, by name: each changes theta or the state of the network."""
    network, [batch] = model.network, objective._batches
    other = batch_objective(network, 2 * batch.x[::-1].copy(), batch.target)

    def value_at_another_theta():
        theta = model.theta.copy()
        model.theta += 1
        objective.value()
        model.theta[:] = theta

    def change_theta():
        model.theta *= 1.5

    def change_theta_after_evaluating():
        objective.value_and_gradient()
        change_theta()

    return {
        "value at another theta": value_at_another_theta,
        "value": objective.value,
        "theta changes": change_theta,
        "theta changes after an evaluation": change_theta_after_evaluating,
        "evaluate": lambda: model.evaluate(x[:7], y[:7]),
        "predict": lambda: model.predict(3 * x),
        "the network itself is run": lambda: network.value(Batch(2 * batch.x, batch.target, 1.0)),
        "another objective is made": lambda: batch_objective(network, 3 * batch.x, batch.target),
        "another objective is evaluated": other.value_and_gradient,
        "another objective's product": lambda: other.hessian_product(model.theta),
        "another objective's Jacobian": other.jacobian,
        "the other product": lambda: (objective.gauss_newton_product(model.theta),
                                      objective.hessian_product(model.theta)),
        "its Jacobian": objective.jacobian,
        "a subsample's product": lambda: objective.subsample([0, 1]).hessian_product(model.theta),
        "the gradient is overwritten": lambda: objective.value_and_gradient()[1].fill(7),
        "training": lambda: model.fit(x, y, get("adam", lr=0.1), epochs=2, batch_size=16, progress=False),
    }


CHANGES = list(changes(small().objective(*small_data()), small(), *small_data()))


@pytest.mark.parametrize("method", ["hessian_product", "gauss_newton_product", "residuals", "jacobian",
                                    "residual_triangle"])
@pytest.mark.parametrize("name", CHANGES)
def test_products_do_not_depend_on_calls_in_between(name, method):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 6)), rng.normal(size=(40, 3))
    model = Model([Dense(6, 5), Tanh(), Dense(5, 4), Tanh(), Dense(4, 3)], MeanSquaredError(), dtype="float64")
    objective = batch_objective(model.network, x, y)
    v = [rng.normal(size=len(model.theta))] if "product" in method else []
    change = changes(objective, model, x, y)[name]
    for _ in range(3):
        change()
        product = getattr(objective, method)(*v)
        np.testing.assert_allclose(product, getattr(model.objective(x, y), method)(*v), rtol=1e-9, atol=1e-12)


def test_a_direction_may_be_any_buffer():
    model = small(dtype="float64")
    objective = model.objective(*small_data())
    _, gradient = objective.value_and_gradient()
    theta, direction = model.theta.copy(), gradient.copy()
    model.theta += 1  # the network must be run again, which writes to the gradient
    product = objective.hessian_product(gradient).copy()
    np.testing.assert_array_equal(product, objective.hessian_product(direction))
    H = objective.hessian()
    np.testing.assert_allclose(objective.hessian_product(objective.hessian_product(direction)), H @ (H @ direction))
    model.theta[:] = theta
    for wrong in (np.ones(1), np.ones(len(theta) + 1), np.ones((1, len(theta)))):
        with pytest.raises(ValueError, match=r"a direction must have the shape of theta, \(53,\)"):
            objective.hessian_product(wrong)


def test_dropout_masks_stay_the_same_in_products_and_pass_to_subsamples():
    model = small(dropout=0.5, dtype="float64")
    x, y = small_data()
    v = np.random.default_rng(0).normal(size=len(model.theta))
    objective, same = model.objective(x, y), model.objective(x, y)
    first = objective.hessian_product(v).copy()
    model.evaluate(x, y)
    np.testing.assert_array_equal(objective.hessian_product(v), first)
    parts = [same.subsample(rows) for rows in (np.arange(40) >= 10, np.arange(10))]  # before any evaluation
    combined = 0.75 * parts[0].hessian_product(v) + 0.25 * parts[1].hessian_product(v)
    np.testing.assert_allclose(combined, first, rtol=1e-10, atol=1e-14)
    assert 0.75 * parts[0].value() + 0.25 * parts[1].value() == pytest.approx(objective.value())
    assert not np.allclose(first, small(dropout=0.0, dtype="float64").objective(x, y).hessian_product(v))
    with pytest.raises(ValueError, match="a subsample needs at least one row"):
        objective.subsample([])


def test_a_product_uses_masks_that_were_drawn_again():
    model = small(dropout=0.5, dtype="float64")
    x, y = small_data()
    objective = batch_objective(model.network, x, model.network.loss.encode(y, 3, float), np.random.default_rng(0))
    v = np.random.default_rng(0).normal(size=len(model.theta))
    objective.hessian_product(v)
    model.network.resample(None)
    plain = small(dropout=0.0, dtype="float64").objective(x, y)
    np.testing.assert_allclose(objective.hessian_product(v), plain.hessian_product(v), rtol=1e-12)


def test_a_subsample_is_the_loss_on_its_rows_and_does_not_change_the_objective():
    model, (x, y) = small(dtype="float64"), small_data()
    objective, rows = model.objective(x, y), [5, 3, 3]
    _, gradient = objective.value_and_gradient()
    before, v = gradient.copy(), np.random.default_rng(0).normal(size=len(model.theta))
    part, expected = objective.subsample(rows), model.objective(x[rows], y[rows])
    assert part.theta is model.theta
    for method, *arguments in (("hessian_product", v), ("gauss_newton_product", v), ("value",)):
        np.testing.assert_array_equal(getattr(part, method)(*arguments), getattr(expected, method)(*arguments))
    np.testing.assert_array_equal(part.value_and_gradient()[1], expected.value_and_gradient()[1])
    np.testing.assert_array_equal(gradient, before)


def test_costs():
    rng = np.random.default_rng(0)
    model = Model([Dense(6, 5), Tanh(), Dense(5, 3)], MeanSquaredError())
    objective = model.objective(rng.normal(size=(40, 6)), rng.normal(size=(40, 3)))
    v = np.ones_like(model.theta)

    def cost(method, *arguments):
        before = objective.gradients
        getattr(objective, method)(*arguments)
        return pytest.approx((objective.gradients - before) / 40)

    assert cost("value") == 0.5
    assert cost("value_and_gradient") == 1
    first, second = 6 * 5 + 5, 5 * 3 + 3  # parameters of the layers, in 2 and in 3 matrix products of a gradient
    gradient, hessian, gauss_newton = 2 * first + 3 * second, 2 * first + 6 * second, 2 * first + 4 * second
    assert cost("hessian_product", v) == hessian / gradient  # the first runs the layers again, which costs nothing
    assert cost("hessian_product", v) == hessian / gradient
    assert cost("gauss_newton_product", v) == gauss_newton / gradient
    assert cost("residuals") == 0
    assert cost("residual_count") == 0
    assert cost("jacobian") == 3
    assert cost("residual_triangle") == 3
    model.theta += 1
    assert cost("residual_count") == 0
    assert cost("jacobian") == 3.5
    assert cost("residuals") == 0
    model.theta += 1
    assert cost("residual_triangle") == 3.5
    assert cost("hessian_product", v) == 1 + hessian / gradient
    assert cost("hessian") == hessian / gradient * len(v)
    model.theta += 1
    assert cost("value_and_gradient") == 1
    assert cost("hessian_product", v) == hessian / gradient
    part = objective.subsample(np.arange(10))
    before = objective.gradients
    part.value_and_gradient()
    part.subsample([3]).value()
    assert (part.gradients, objective.gradients - before) == (10.5, 10.5)


def test_without_products_training_keeps_no_copy_of_theta():
    model = small()
    model.fit(*small_data(), get("adam"), epochs=2, progress=False)
    network = model.network
    assert network._theta_at_run is network._direction is network._product is None
    assert not network.buffers._arrays
    assert not {"ty", "tdx", "df", "d2f"} & {name for layer in network.layers for name in layer.buffers._arrays}


@pytest.mark.parametrize("method", ["hessian_product", "gauss_newton_product"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_warm_product_allocates_nothing(activation, method):
    """As in a step. NumPy's own buffer of fixed length, which it frees within a call, does not count."""
    n = 5000
    numpy_buffer = np.getbufsize() * 4 + 4096
    rng = np.random.default_rng(0)
    layers = [Dense(100, 110), ACTIVATIONS[activation](), Dropout(0.2), Dense(110, 10), Softmax()]
    model = Model(layers, CrossEntropy())
    assert min(model.theta.nbytes, 8 * n) > numpy_buffer
    objective = model.objective(rng.normal(size=(n, 100)), rng.integers(0, 10, n))
    v = rng.normal(size=len(model.theta)).astype("float32")
    peaks = []
    tracemalloc.start()
    try:
        with limited(1):  # more threads are slow if other processes use the processor
            for _ in range(4):
                before = tracemalloc.get_traced_memory()[0]
                tracemalloc.reset_peak()
                getattr(objective, method)(v)
                peaks.append(tracemalloc.get_traced_memory()[1] - before)
                model.theta *= 1.01  # so that the next product evaluates the batch again
    finally:
        tracemalloc.stop()
    assert peaks[0] > n * 100 * 4
    assert max(peaks[2:]) < numpy_buffer  # the second product is the first that compares two thetas


@pytest.mark.parametrize(("name", "last_layer"), LOSSES_WITH_LAST_LAYERS)
def test_float32_stays_float32_and_is_close_to_float64(name, last_layer):
    for first, second, n in activation_pairs(np.random.default_rng(0)):
        results = {}
        for dtype in ("float32", "float64"):
            model, x, target = mixed(name, last_layer, first, second, np.random.default_rng(1), n, dtype)
            objective = batch_objective(model.network, x, target)
            v = np.linspace(-1, 1, len(model.theta))
            results[dtype] = [objective.hessian_product(v.astype(dtype)).copy(), objective.gauss_newton_product(v)]
            if name == "MeanSquaredError":
                results[dtype] += [objective.residuals(), objective.jacobian()]
            assert {array.dtype for array in results[dtype]} == {np.dtype(dtype)}
            for layer in model.network.layers:
                assert {array.dtype for array in layer.buffers._arrays.values()} <= {np.dtype(dtype), np.dtype(bool)}
        for a, b in zip(*results.values()):
            np.testing.assert_allclose(a, b, rtol=0, atol=2e-4 * max(np.abs(b).max(), 1e-3))


def test_unavailable_quantities_are_refused_in_one_line():
    x, y = small_data()
    objective = small().objective(x, y)
    for method in (objective.residuals, objective.jacobian, objective.residual_count, objective.residual_triangle):
        with pytest.raises(ValueError, match=r"SoftmaxCrossEntropy is not a sum of squares.*use gauss_newton_product"):
            method()
    assert objective.gradients == 0
    large = Model([Dense(784, 50), ReLU(), Dense(50, 10)], MeanSquaredError())
    objective = large.objective(np.zeros((6000, 784)), np.zeros((6000, 10)))
    for method, message in (
            (objective.jacobian, r"60,000 residuals by 39,760 parameters needs 9.5 GB, more than 1 GB: use gauss_n"),
            (objective.residual_triangle, r"60,000 residuals by 39,760 parameters needs 9.5 GB, more than 1 GB: use g"),
            (objective.hessian, r"39,760 by 39,760 parameters needs 6.3 GB, more than 1 GB: use hessian_product\(v\)"),
            (objective.gauss_newton, r"needs 6.3 GB, more than 1 GB: use gauss_newton_product\(v\)")):
        with pytest.raises(ValueError, match=message) as caught:
            method()
        assert "\n" not in str(caught.value)
    assert objective.gradients == 0


# training

class RecordsObjectives(SecondOrder):
    """Takes two gradient steps from the last point, then none; records the objectives of its steps."""

    def step(self, objective):
        self.objectives = [*getattr(self, "objectives", []), objective]
        point = self.evaluate_point(objective)
        if len(self.objectives) < 3:
            objective.theta -= 0.1 * point.gradient
            self.evaluate_point(objective)
        return point.value


@pytest.mark.parametrize(("dropout", "batch_size", "objectives"), [(0.0, None, 1), (0.5, None, 4), (0.0, 20, 8)])
def test_all_steps_on_the_whole_set_have_one_objective(dropout, batch_size, objectives):
    model, (x, y) = small(dropout=dropout), small_data()
    recorder = RecordsObjectives()
    history = model.fit(x, y, recorder, epochs=4, batch_size=batch_size, validation_data=(x[:7], y[:7]), progress=False)
    assert len(set(map(id, recorder.objectives))) == objectives
    if objectives == 1:  # the start and two steps; later steps evaluate nothing, and validation has its own network
        assert history.column("passes") == [2, 3, 3, 3]
        assert history.epochs[-1]["accuracy"] == model.evaluate(x, y)["accuracy"]
