"""A batch shared over threads: the sum of its parts is the whole, and nothing else changes."""

import copy
import pickle
import time

import numpy as np
import pytest
from test_base import with_lr
from test_model import WHOLE, small, small_data
from threadpoolctl import threadpool_info

from nn import LOSSES, CrossEntropy, Dense, Diverged, Dropout, MeanSquaredError, Model, ReLU, Softmax, Tanh, sharing
from nn.batches import Batches
from nn.objective import BatchObjective
from nn.sharing import Shared, Sum
from optimizers import OPTIMIZERS, get


@pytest.fixture(autouse=True)
def small_batches_are_shared(monkeypatch):
    monkeypatch.setattr(sharing, "parts", lambda network, batch, threads: min(threads, batch))


class Centred(ReLU):
    """Couples the examples of a batch."""

    by_rows = False

    def forward(self, x):
        return super().forward(x - x.mean(axis=0))


def both(loss="CrossEntropy", ending=None, n=11, threads=3):
    """A model's objective on n examples, and the same as a Sum; and what must be closed in the end."""
    layers = [Dense(4, 5), Tanh(), Dense(5, 3), *([ending] if ending else [])]
    model = Model(layers, LOSSES[loss](), seed=1, dtype="float64")
    rng = np.random.default_rng(0)
    x, target = rng.normal(size=(n, 4)), model.targets(rng.integers(0, 3, n), n)
    shared = Shared(model.network, Batches(x, target, n, 0), threads)
    with shared:
        return BatchObjective(model.network.another(), x, target), shared.objective(np.arange(n), None), shared


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize(("loss", "ending"), WHOLE)
def test_the_sum_of_the_parts_is_the_whole(loss, ending, threads):
    whole, parts, shared = both(loss, ending, threads=threads)
    assert isinstance(parts, Sum)
    assert len(parts.parts) == threads
    v = np.random.default_rng(1).normal(size=len(whole.theta))
    with shared:
        close(parts.value(), whole.value())
        for ours, theirs in zip(parts.value_and_gradient(), whole.value_and_gradient()):
            close(ours, theirs)
        assert parts.correct() == whole.correct()
        for name in ("hessian_product", "gauss_newton_product"):
            close(getattr(parts, name)(v), getattr(whole, name)(v))
            # a product of the product: a buffer of one of the parts
            close(getattr(parts, name)(getattr(parts, name)(v)), getattr(whole, name)(getattr(whole, name)(v).copy()))
        for name in ("hessian", "gauss_newton"):
            close(getattr(parts, name)(), getattr(whole, name)())
        if loss == "MeanSquaredError":
            close(parts.residuals(), whole.residuals())
            close(parts.jacobian(), whole.jacobian())
        rows = np.array([7, 0, 3, 10])
        close(parts.subsample(rows).value_and_gradient()[1], whole.subsample(rows).value_and_gradient()[1])
    assert parts.gradients == pytest.approx(whole.gradients)
    assert parts.evaluations == whole.evaluations
    assert parts.examples == whole.examples


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("batch_size", [16, None])
def test_the_result_depends_on_the_threads_by_rounding_alone(name, batch_size):
    x, y = small_data()
    ends = []
    for threads in (1, 2, 3):
        model = small(dtype="float64")
        history = model.fit(x, y, with_lr(name, 0.02), 3, batch_size, progress=False, threads=threads)
        ends.append((model.theta.copy(), history.column("loss"), history.column("accuracy"), history.column("passes")))
    for end in ends[1:]:
        for ours, theirs in zip(end, ends[0]):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("batch_size", [39, 20, 13])
def test_a_last_batch_with_fewer_rows_than_parts(batch_size):
    """40 rows leave a last batch of 1, of none too few, and of 1."""
    x, y = small_data()
    ends = []
    for threads in (1, 3):
        model = small(dtype="float64")
        model.fit(x, y, get("adam", lr=0.02), 3, batch_size, validation_data=(x[:2], y[:2]), progress=False,
                  threads=threads)
        ends.append(model.theta.copy())
    np.testing.assert_allclose(*ends, rtol=1e-9, atol=1e-12)


def test_one_number_of_threads_gives_one_result_to_the_bit():
    x, y = small_data()
    first, again = small(), small()
    for model in (first, again):
        model.fit(x, y, get("adam"), 3, 16, progress=False, threads=2)
    np.testing.assert_array_equal(first.theta, again.theta)


def test_a_loss_that_overflows_in_a_part_ends_training_without_a_warning():
    x, y = small_data()
    model = Model([Dense(6, 5), ReLU(), Dense(5, 3)], MeanSquaredError())
    with pytest.raises(Diverged, match="the loss became"):
        model.fit(x * 1e15, y, get("gd", lr=1e10), 20, 20, progress=False, threads=2)
    assert np.isfinite(model.theta).all()


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_blas_has_one_thread_while_parts_have_theirs_and_all_of_them_again_afterwards():
    seen, before = [], blas_threads()

    class Watching(type(get("gd"))):
        def step(self, objective):
            seen.append(blas_threads())
            return super().step(objective)

    x, y = small_data()
    model = small()
    model.fit(x, y, Watching(), 1, 20, progress=False, threads=2)
    assert all(set(threads) == {1} for threads in seen)
    assert blas_threads() == before


def test_where_trainings_overlap_blas_has_its_threads_again_after_the_last():
    before = blas_threads()
    first, second = sharing.BLAS.limited(1), sharing.BLAS.limited(1)
    known = sharing.BLAS.threads()
    first.__enter__()
    second.__enter__()
    assert sharing.BLAS.threads() == known  # of what is there, not of what is left
    first.__exit__(None, None, None)
    assert set(blas_threads()) == {1}
    second.__exit__(None, None, None)
    assert blas_threads() == before


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_can_be_copied_and_pickled_after_a_shared_fit(name):
    (x, y), optimizer = small_data(), with_lr(name, 0.02)
    model = small(dtype="float64")
    model.fit(x, y, optimizer, 2, progress=False, threads=2)
    theta = model.theta.copy()
    model.fit(x, y, optimizer, 1, progress=False, threads=2)
    after = model.theta.copy()
    for make in (copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))):
        again = with_lr(name, 0.02)
        model.theta[:] = theta
        model.theta[:] = small(dtype="float64").theta
        model.fit(x, y, again, 2, progress=False, threads=2)
        model.fit(x, y, make(again), 1, progress=False, threads=2)
        np.testing.assert_array_equal(model.theta, after)


def test_all_parts_are_waited_for_where_one_fails():
    *_, shared = both("MeanSquaredError", threads=2)
    done = []

    def ask(k):
        if k == 0:
            raise ArithmeticError("of the first part")
        time.sleep(0.1)
        done.append(k)

    with shared, pytest.raises(ArithmeticError, match="of the first part"):
        shared._each(2, ask)
    assert done == [1]


def test_no_rows_are_no_subsample():
    _, parts, shared = both("MeanSquaredError", threads=2)
    with shared, pytest.raises(ValueError, match="a subsample needs at least one row"):
        parts.subsample(np.array([], int))


def test_large_batches_are_shared_and_others_are_not(monkeypatch):
    monkeypatch.undo()

    def parts(layers, batch, threads=2):
        return sharing.parts(Model([*layers, Softmax()], CrossEntropy()).network, batch, threads)

    article = [Dense(784, 50), ReLU(), Dense(50, 10)]
    assert parts(article, 6000) == 2
    assert parts(article, 6000, threads=1) == 1
    assert parts(article, 128) == 1
    assert parts([Dense(784, 50), ReLU(), Dropout(0.2), Dense(50, 10)], 6000) == 1  # one mask for the whole batch
    assert parts([Centred(), *article], 6000) == 1  # its rows are not each by themselves
    assert parts([Dense(784, 4000), ReLU(), Dense(4000, 10)], 256) == 1  # two gradients cost more than they save
