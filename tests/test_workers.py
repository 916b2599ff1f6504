"""A batch divided among threads: the sum over the parts equals the undivided result, and nothing else changes."""

import copy
import pickle

import numpy as np
import pytest
from test_model import LOSSES_WITH_LAST_LAYERS, batch_objective, small, small_data
from test_objective import check_triangle
from test_optimizer import with_lr

from nn import LOSSES, CrossEntropy, Dense, Diverged, Dropout, MeanSquaredError, Model, ReLU, Softmax, Tanh, workers
from nn.batches import Batches
from nn.network import Batch
from nn.objective import BatchObjective
from nn.workers import Workers
from optimizers import OPTIMIZERS, LevenbergMarquardt, get, minimize


@pytest.fixture(autouse=True, params=["examples", "parameters"])
def small_batches_are_divided(monkeypatch, request):
    """Divide every batch by its examples, or by examples and parameters."""
    monkeypatch.setattr(workers, "thread_count", lambda network, batch_size, threads: min(threads, batch_size))
    monkeypatch.setattr(workers, "divides_parameters", lambda network, batch_size: request.param == "parameters")


class Centred(ReLU):
    """A layer in which each output depends on all examples of the batch."""

    independent_rows = False

    def forward(self, x):
        return super().forward(x - x.mean(axis=0))


class Undivided(Dense):
    """A layer whose gradient cannot be computed in parts."""

    parameter_rows = None

    def __init__(self, n):
        super().__init__(n, n)

    def backward(self, dy, needs_dx=True):
        np.matmul(self.x.T, dy, out=self.dW)
        np.sum(dy, axis=0, out=self.db)
        return self.backward_input(dy, needs_dx)


def undivided_and_divided(loss="CrossEntropy", last_layer=None, n=11, threads=3):
    """Return a model's objective on n examples, the same objective in parts, and the workers of the parts."""
    layers = [Dense(4, 5), Tanh(), Dense(5, 3), *([last_layer] if last_layer else [])]
    model = Model(layers, LOSSES[loss](), seed=1, dtype="float64")
    rng = np.random.default_rng(0)
    x, target = model.check_data(rng.normal(size=(n, 4)), rng.integers(0, 3, n))
    pool = Workers(model.network, Batches(x, target, n, 0), threads)
    with pool:
        return batch_objective(model.network.replica(), x, target), pool.objective(np.arange(n), None), pool


def assert_close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize(("loss", "last_layer"), LOSSES_WITH_LAST_LAYERS)
def test_the_sum_over_the_parts_equals_the_undivided_result(loss, last_layer, threads):
    undivided, parts, pool = undivided_and_divided(loss, last_layer, threads=threads)
    assert len(pool.networks) == len(parts._batches) == threads
    assert sum(len(batch.x) for batch in parts._batches) == len(undivided._batches[0].x)
    v = np.random.default_rng(1).normal(size=len(undivided.theta))
    with pool:
        assert_close(parts.value(), undivided.value())
        for divided, expected in zip(parts.value_and_gradient(), undivided.value_and_gradient()):
            assert_close(divided, expected)
        assert parts.correct() == undivided.correct()
        for name in ("hessian_product", "gauss_newton_product"):
            assert_close(getattr(parts, name)(v), getattr(undivided, name)(v))
            # a product of the product: a buffer of one of the parts
            expected = getattr(undivided, name)(getattr(undivided, name)(v).copy())
            assert_close(getattr(parts, name)(getattr(parts, name)(v)), expected)
        for name in ("hessian", "gauss_newton"):
            assert_close(getattr(parts, name)(), getattr(undivided, name)())
        if loss == "MeanSquaredError":
            assert_close(parts.residuals(), undivided.residuals())
            assert_close(parts.jacobian(), undivided.jacobian())
        rows = np.array([7, 0, 3, 10])
        assert_close(parts.subsample(rows).value_and_gradient()[1], undivided.subsample(rows).value_and_gradient()[1])
    assert parts.gradients == pytest.approx(undivided.gradients)
    assert parts.evaluations == undivided.evaluations
    assert parts.examples == undivided.examples


def regression_in_parts(layers, x, y, weight=None, threads=3, dtype="float64"):
    """Return the objective of a regression on all examples, in a part for each thread, and its workers."""
    model = Model(layers, MeanSquaredError(), seed=1, dtype=dtype)
    pool = Workers(model.network, Batches(*model.check_data(x, y), len(x), 0, weight=weight), threads)
    with pool:
        return pool.objective(np.arange(len(x)), None), pool


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("n", [1, 2, 5, 14, 40])
def test_the_triangle_of_the_parts_is_that_of_all_rows(n, threads, weighted, dtype, monkeypatch):
    """There are 2 n residuals and 26 parameters. Each part is factored alone, and then the triangles, if several."""
    rng = np.random.default_rng(n)
    x, y, weight = rng.normal(size=(n, 3)), rng.normal(size=(n, 2)), rng.uniform(0, 3, n).astype(dtype)
    layers = [Dense(3, 4), Tanh(), Dense(4, 2)]
    objective, pool = regression_in_parts(layers, x, y, weight if weighted else None, threads, dtype)
    factored, qr = [], np.linalg.qr
    with pool:
        Jr = np.column_stack([objective.jacobian(), objective.residuals()])
        monkeypatch.setattr(np.linalg, "qr", lambda A, mode: factored.append(A.shape) or qr(A, mode))
        check_triangle(objective.residual_triangle(), Jr)
    assert objective.residual_count() == 2 * n
    rows = [2 * len(batch.x) for batch in objective._batches]
    assert len(rows) == min(threads, n)
    triangles = [] if len(rows) == 1 else [sum(min(m, 27) for m in rows)]
    assert sorted(factored) == sorted((m, 27) for m in rows + triangles)


def test_a_part_may_have_rows_of_zeros_only_or_no_rows():
    rng = np.random.default_rng(0)
    x, y, weight = rng.normal(size=(12, 4)), rng.normal(size=(12, 2)), np.repeat([0.0, 1.0, 2.0], 4)
    objective, pool = regression_in_parts([Dense(4, 2)], x, y, weight)
    with pool:
        R = objective.residual_triangle()
        check_triangle(R, np.column_stack([objective.jacobian(), objective.residuals()]))
    network, batch = objective.parts[0][0].replica(), objective.parts[0][1]
    none = network, Batch(batch.x[:0], batch.target[:0], batch.scale, batch.weight[:0])
    assert BatchObjective([none]).residual_triangle().shape == (0, 11)
    np.testing.assert_array_equal(BatchObjective([none, *objective.parts]).residual_triangle(), R)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_condition_number_of_the_parts_is_not_squared(threads):
    x = 1 / (1 + np.arange(30)[:, np.newaxis] + np.arange(9))  # with the column of the bias, condition 4e10
    y = x.sum(axis=1, keepdims=True) + 1  # all parameters are 1
    objective, pool = regression_in_parts([Dense(9, 1)], x, y, threads=threads)
    with pool:
        J, r = objective.jacobian().copy(), objective.residuals().copy()
        normal = objective.theta - np.linalg.solve(J.T @ J, J.T @ r)
        minimize(objective, LevenbergMarquardt(form="qr"), max_steps=100, tolerance=0)
    assert np.abs(objective.theta - 1).max() < 1e-3 < 1e-1 < np.abs(normal - 1).max()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("batch_size", [16, pytest.param(None, marks=pytest.mark.slow)])
def test_results_on_different_numbers_of_threads_differ_only_by_rounding(name, batch_size):
    x, y = small_data()
    results = []
    for threads in (1, 2, 3):
        model = small(dtype="float64")
        history = model.fit(x, y, with_lr(name, 0.02), 3, batch_size, progress=False, threads=threads)
        columns = [history.column(name) for name in ("loss", "accuracy", "passes")]
        results.append((model.theta.copy(), *columns))
    for result in results[1:]:
        for values, expected in zip(result, results[0]):
            np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("batch_size", [39, 20, 13])
def test_a_last_batch_with_fewer_rows_than_parts(batch_size):
    """Of 40 rows, the last batch has 1, 20 and 1."""
    x, y = small_data()
    thetas = []
    for threads in (1, 3):
        model = small(dtype="float64")
        model.fit(x, y, get("adam", lr=0.02), 3, batch_size, validation_data=(x[:2], y[:2]), progress=False,
                  threads=threads)
        thetas.append(model.theta.copy())
    np.testing.assert_allclose(*thetas, rtol=1e-9, atol=1e-12)


def test_one_number_of_threads_gives_one_result_bit_for_bit():
    x, y = small_data()
    first, second = small(), small()
    for model in (first, second):
        model.fit(x, y, get("adam"), 3, 16, progress=False, threads=2)
    np.testing.assert_array_equal(first.theta, second.theta)


def test_a_loss_that_overflows_in_a_part_ends_training_without_a_warning():
    x, y = small_data()
    model = Model([Dense(6, 5), ReLU(), Dense(5, 3)], MeanSquaredError())
    with pytest.raises(Diverged, match="the loss became"):
        model.fit(x * 1e12, y, get("gd", lr=1e-4), 20, 20, progress=False, threads=2)
    assert np.isfinite(model.theta).all()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_can_be_copied_and_pickled_after_a_fit_on_threads(name):
    (x, y), optimizer = small_data(), with_lr(name, 0.02)
    model = small(dtype="float64")
    model.fit(x, y, optimizer, 2, progress=False, threads=2)
    theta = model.theta.copy()
    model.fit(x, y, optimizer, 1, progress=False, threads=2)
    after = model.theta.copy()
    for make_copy in (copy.deepcopy, lambda original: pickle.loads(pickle.dumps(original))):
        new = with_lr(name, 0.02)
        model.theta[:] = theta
        model.theta[:] = small(dtype="float64").theta
        model.fit(x, y, new, 2, progress=False, threads=2)
        model.fit(x, y, make_copy(new), 1, progress=False, threads=2)
        np.testing.assert_array_equal(model.theta, after)


def test_a_subsample_without_rows_is_refused():
    _, parts, pool = undivided_and_divided("MeanSquaredError", threads=2)
    with pool, pytest.raises(ValueError, match="a subsample needs at least one row"):
        parts.subsample(np.array([], int))


def test_large_batches_are_divided_and_others_are_not(monkeypatch):
    monkeypatch.undo()

    def thread_count(layers, batch_size, threads=2):
        return workers.thread_count(Model([*layers, Softmax()], CrossEntropy()).network, batch_size, threads)

    article = [Dense(784, 50), ReLU(), Dense(50, 10)]
    assert thread_count(article, 6000) == 2
    assert thread_count(article, 6000, threads=1) == 1
    assert thread_count(article, 128) == 1
    # dropout has one mask for the whole batch
    assert thread_count([Dense(784, 50), ReLU(), Dropout(0.2), Dense(50, 10)], 6000) == 1
    # rows that are not independent
    assert thread_count([Centred(), *article], 6000) == 1
    # of many parameters: divided if there is enough work for each thread
    wide = [Dense(784, 1000), ReLU(), Dense(1000, 1000), ReLU(), Dense(1000, 10)]
    assert thread_count(wide, 128) == 2
    assert thread_count(wide, 128, threads=8) == 1
    assert thread_count([Dense(784, 512), ReLU(), Dense(512, 512), ReLU(), Dense(512, 10)], 128) == 2
    assert thread_count([Dense(784, 256), ReLU(), Dense(256, 256), ReLU(), Dense(256, 10)], 128) == 1
    assert thread_count([*wide, Undivided(10)], 128) == 1


def test_the_gradient_is_divided_by_parameters_if_there_are_more_of_them_than_activations(monkeypatch):
    monkeypatch.undo()

    def divides_parameters(layers, batch_size):
        return workers.divides_parameters(Model([*layers, Softmax()], CrossEntropy()).network, batch_size)

    assert not divides_parameters([Dense(784, 50), ReLU(), Dense(50, 10)], 6000)
    assert divides_parameters([Dense(784, 1000), ReLU(), Dense(1000, 10)], 128)
    assert not divides_parameters([Dense(784, 1000), Undivided(1000), Dense(1000, 10)], 128)
