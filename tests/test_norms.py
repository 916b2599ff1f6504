"""GradientNorms: the norms of gradients and steps, on each path by which a gradient is computed, and without memory."""

import math
import threading
import tracemalloc

import numpy as np
import pytest
from test_checkpoint import Kill, KillAt, KilledCheckpoint, StopAt, assert_same, train
from test_model import small, small_data

from nn import GradientNorms, workers
from nn.norms import norm
from optimizers import OPTIMIZERS, FirstOrder, compiled, get

FIRST_ORDER = [name for name, kind in OPTIMIZERS.items() if issubclass(kind, FirstOrder)]


class Recorded:
    """An optimizer whose steps are recorded: theta before and after, and the batch."""

    def __init__(self, optimizer):
        self.optimizer, self.steps = optimizer, []
        self.changes_in_parts = optimizer.changes_in_parts

    def step(self, objective):
        before = objective.theta.copy()
        loss = self.optimizer.step(objective)
        batches = [batch for _, batch in objective.parts]
        self.steps.append((before, objective.theta.copy(), np.concatenate([batch.x for batch in batches]),
                           np.concatenate([batch.target for batch in batches])))
        return loss


def expected(optimizer, epochs, at):
    """Return the mean norms of each epoch, from gradients at one end of the recorded steps."""
    other = small(dtype="float64")
    gradients, ratios = [], []
    for *ends, x, target in optimizer.steps:
        other.theta = ends[at]
        gradients.append(np.linalg.norm(other.objective(x, target).value_and_gradient()[1]))
        ratios.append(np.linalg.norm(ends[1] - ends[0]) / np.linalg.norm(ends[0]))
    return np.reshape(gradients, (epochs, -1)).mean(axis=1), np.reshape(ratios, (epochs, -1)).mean(axis=1)


def check(optimizer, at, **options):
    model, (x, y), recorded = small(dtype="float64"), small_data(), Recorded(optimizer)
    history = model.fit(x, y, recorded, 3, callbacks=[GradientNorms()], progress=False, **options)
    gradients, ratios = expected(recorded, 3, at)
    np.testing.assert_allclose(history["gradient_norm"], gradients, rtol=1e-10)
    np.testing.assert_allclose(history["update_ratio"], ratios, rtol=1e-10)


@pytest.mark.parametrize("form", ["plain", "parallel", "in phases"])
@pytest.mark.parametrize("name", FIRST_ORDER)
def test_the_gradient_of_a_first_order_step_before_the_rule_changes_it(name, form, monkeypatch):
    threads_seen = set()

    class SeesThreads:
        def on_gradient(self, model, part, gradient):
            threads_seen.add(threading.get_ident())

    if form != "plain":
        monkeypatch.setattr(workers, "thread_count", lambda network, batch_size, threads: threads)
        monkeypatch.setattr(workers, "divides_parameters", lambda network, batch_size: form == "in phases")
        monkeypatch.setattr(compiled, "MIN_SIZE", 0)
        monkeypatch.setattr(compiled, "available", lambda: False)  # NumPy's form of the rules needs no compilation
    options = {"batch_size": 16, "threads": 1 if form == "plain" else 2}
    check(get(name, weight_decay=0.1, clip_value=0.05), at=0, **options)
    check(get(name, clip_norm=0.01), at=0, **options)
    model, (x, y) = small(), small_data()
    model.fit(x, y, get(name), callbacks=[SeesThreads()], progress=False, **options)
    assert len(threads_seen) == (2 if form == "in phases" else 1)


@pytest.mark.parametrize("batch_size", [20, 40])
@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name not in FIRST_ORDER])
def test_the_gradient_at_the_end_of_a_second_order_step(name, batch_size):
    check(get(name), at=1, batch_size=batch_size)


def test_a_step_without_a_gradient_has_no_norm():
    class Shrinks:
        def step(self, objective):
            value = objective.value()
            objective.theta *= 0.75
            return value

    model, (x, y) = small(), small_data()
    history = model.fit(x, y, Shrinks(), 2, callbacks=[GradientNorms()], progress=False)
    assert history["gradient_norm"] == [None, None]
    assert history["update_ratio"] == pytest.approx([0.25, 0.25])


def test_one_seed_gives_one_result_on_several_threads(monkeypatch):
    monkeypatch.setattr(workers, "thread_count", lambda network, batch_size, threads: threads)
    monkeypatch.setattr(workers, "divides_parameters", lambda network, batch_size: True)
    monkeypatch.setattr(compiled, "MIN_SIZE", 0)
    monkeypatch.setattr("nn.division.BLOCK", 3)
    results = set()
    for _ in range(5):
        history = small().fit(*small_data(), get("adam"), 3, 8, callbacks=[GradientNorms()], progress=False, threads=2)
        results.add(tuple(history["gradient_norm"] + history["update_ratio"]))
    assert len(results) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e-40, 1e30])
def test_a_norm_neither_overflows_nor_underflows(dtype, scale):
    limit = np.finfo(dtype)
    scale = {1e-40: float(limit.tiny), 1e30: float(limit.max) / 10}.get(scale, scale)
    vector = np.array([3, -4, 0], dtype) * np.asarray(scale, dtype)
    assert norm(vector, np.empty_like(vector)) == pytest.approx(5 * scale, rel=1e-6)
    assert norm(vector, vector) == pytest.approx(5 * scale, rel=1e-6)


def test_norms_of_special_vectors():
    for values, result in (([], 0), ([0, 0], 0), ([0, math.inf], math.inf), ([-math.inf, 1], math.inf)):
        assert norm(np.array(values, "float32"), np.empty(len(values), "float32")) == result
    assert math.isnan(norm(np.array([math.nan, 1.0]), np.empty(2)))


@pytest.mark.parametrize("scale", [1.0, 1e-30])
def test_a_warm_step_allocates_nothing(scale):
    class Fit:
        """Stands for the parts of a fit."""

        history, theta = type("History", (), {"position": None}), np.full(100_000, scale, "float32")
        undo = type("Undo", (), {"before": 2 * theta})

    norms, gradient, peaks = GradientNorms(), np.full(100_000, scale, "float32"), []
    norms.on_fit_begin(Fit, {"training": Fit})
    tracemalloc.start()
    try:
        for _ in range(3):
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            for part in (slice(0, 50_000), slice(50_000, 100_000)):
                norms.on_gradient(Fit, part, gradient[part])
            norms.on_step_end(Fit, 1)
            peaks.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()
    assert max(peaks[1:]) < 10_000
    epoch = {}
    norms.on_epoch_end(Fit, epoch)
    assert epoch["gradient_norm"] == pytest.approx(scale * math.sqrt(1e5), rel=1e-5)
    assert epoch["update_ratio"] == pytest.approx(0.5)


@pytest.mark.parametrize("name", ["adam", "lbfgs"])
@pytest.mark.parametrize("stop", [5, 8])
def test_they_continue_within_an_epoch(name, stop, tmp_path):
    own = [GradientNorms]
    whole = train(tmp_path / "whole", name, own=own)
    assert all(whole[2]["gradient_norm"])
    train(tmp_path / "a", name, own=own, callbacks=[StopAt(stop)])
    assert_same(train(tmp_path / "a", name, own=own), whole)
    with pytest.raises(Kill):
        train(tmp_path / "b", name, own=own, callbacks=[KillAt(stop)], kind=KilledCheckpoint)
    assert_same(train(tmp_path / "b", name, own=own), whole)


def test_a_fit_that_was_stopped_within_an_epoch_continues_with_the_same_object():
    def run(*stops):
        model, (x, y), norms, optimizer, history = small(), small_data(60), GradientNorms(), get("adam"), None
        for stop in stops:
            done = len(history) if history is not None else 0
            history = model.fit(x, y, optimizer, 4 - done, 16, callbacks=[norms, StopAt(stop)], progress=False,
                                history=history)
        return history["gradient_norm"] + history["update_ratio"]

    assert run(6, 100) == run(100)
