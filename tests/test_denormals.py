"""Denormal numbers are flushed to zero during training, on all of its threads, and nowhere else."""

import platform
import sys
import threading

import numpy as np
import pytest
from test_model import small, small_data

from nn import CrossEntropy, Dense, Model, ReLU, Softmax, set_flush_denormal, workers
from nn.denormals import LAYOUTS, FlushDenormals, _library
from optimizers import OPTIMIZERS, FirstOrder, get

TINY = np.full(8, 1e-40, np.float32)
known = pytest.mark.skipif((sys.platform, platform.machine()) not in LAYOUTS, reason="this platform is not known")


def are_flushed():
    """Return whether this thread flushes denormal numbers."""
    return not (TINY * np.float32(0.5)).any()


@pytest.fixture
def keep_denormals():
    set_flush_denormal(False)
    yield
    set_flush_denormal(True)


@known
def test_this_platform_flushes():
    assert _library() is not None


@known
def test_they_are_flushed_within_the_context_and_not_outside():
    flush = FlushDenormals()
    for _ in range(2):
        assert not are_flushed()
        with flush:
            assert are_flushed()
            with FlushDenormals():
                assert are_flushed()
            assert are_flushed()
        assert not are_flushed()
    with pytest.raises(RuntimeError), FlushDenormals():
        raise RuntimeError
    assert not are_flushed()


class Observer(type(get("gd"))):
    """Gradient descent that records, in each step, whether denormal numbers are flushed."""

    def step(self, objective):
        self.flushed = [*getattr(self, "flushed", []), are_flushed()]
        return super().step(objective)


@known
def test_a_step_flushes_and_callbacks_have_the_setting_of_the_caller():
    in_callbacks = []

    class Callback:
        def on_fit_begin(self, model, plan):
            in_callbacks.append(are_flushed())

        on_step_end = on_epoch_end = on_fit_end = on_fit_begin

    x, y = small_data()
    optimizer = Observer()
    small().fit(x, y, optimizer, 2, 16, validation_data=(x, y), callbacks=[Callback()], progress=False)
    assert optimizer.flushed == [True] * 6
    assert in_callbacks == [False] * 10
    assert not are_flushed()


@known
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_in_a_step_restores_the_setting(error):
    class Failing(Observer):
        def step(self, objective):
            super().step(objective)
            raise error

    optimizer = Failing()
    with pytest.raises(error):
        small().fit(*small_data(), optimizer, progress=False)
    assert optimizer.flushed == [True]
    assert not are_flushed()


@known
def test_every_thread_of_a_fit_flushes(monkeypatch):
    monkeypatch.setattr(workers, "thread_count", lambda network, batch_size, threads: min(threads, batch_size))
    found = {}

    class Watching(ReLU):
        def forward(self, x):
            found.setdefault(threading.get_ident(), []).append(are_flushed())
            return super().forward(x)

    x, y = small_data()
    model = Model([Dense(6, 5), Watching(), Dense(5, 3), Softmax()], CrossEntropy())
    model.fit(x, y, get("adam"), 2, 20, validation_data=(x, y), progress=False, threads=3)
    assert len(found) == 3
    assert all(all(flushed) for flushed in found.values())
    assert not are_flushed()


def test_it_can_be_switched_off(keep_denormals):
    optimizer = Observer()
    small().fit(*small_data(), optimizer, progress=False)
    assert optimizer.flushed == [False]


@known
@pytest.mark.parametrize("name", [name for name, kind in OPTIMIZERS.items() if issubclass(kind, FirstOrder)])
def test_only_numbers_below_the_smallest_normal_one_change(name, keep_denormals):
    """A tiny first input leaves denormal numbers in gradients and averages; each of 90 steps may flush one of them."""
    x, y = small_data()
    x[:, 0] *= 1e-36
    results = []
    for flush in (False, True):
        set_flush_denormal(flush)
        model, optimizer = small(), get(name)
        model.fit(x, y, optimizer, 30, 16, progress=False)
        results.append([model.theta.copy(), *(np.copy(array) for array in optimizer.state().values())])
    smallest = np.finfo(np.float32).tiny
    for kept, flushed in zip(*results):
        np.testing.assert_allclose(flushed, kept, rtol=1e-6, atol=90 * smallest)
        if flushed.shape:
            assert not ((flushed != 0) & (np.abs(flushed) < smallest)).any()


def test_an_unknown_platform_is_left_alone(monkeypatch):
    monkeypatch.setattr("nn.denormals.platform.machine", lambda: "vax")
    _library.cache_clear()
    try:
        with FlushDenormals():
            assert not are_flushed()
    finally:
        monkeypatch.undo()
        _library.cache_clear()
