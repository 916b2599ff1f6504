"""Small versions of what `make reliability` does: nothing is lost, whatever happens."""

import os

import numpy as np
import pytest

from benchmarks import reliability
from nn import Model


def test_every_optimizer_continues():
    assert reliability.resume(2) == []


def test_killed_trainings_continue():
    assert reliability.crash(8) == []


def test_operations_of_a_save_may_fail():
    tries, problems = reliability.faults()
    assert tries == 4 * 7 * 3
    assert problems == []


def test_a_full_file_system():
    problems = reliability.full_disk()
    if problems is None:
        pytest.skip("this user cannot mount a file system")
    assert problems == []


@pytest.mark.parametrize("name", ["model", "checkpoint", "IDX", "gzip", "config", "history"])
def test_damaged_files(name):
    assert reliability.fuzz(name, 1000) == []


def test_one_command_gives_one_result():
    assert reliability.determinism(2) == []


def test_other_numbers_of_threads_give_the_same_weights_but_for_rounding():
    _, problems = reliability.other_threads()
    assert problems == []


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_nothing_is_left_after_a_fit():
    growth, problems = reliability.leaks(100, warm_up=50)
    assert [problem for problem in problems if not problem.startswith("memory grows")] == []
    assert growth < 20_000  # a page or a block of the allocator may come late; make reliability measures it


def test_trainings_side_by_side():
    assert reliability.soak(100) == []


def test_the_checks_notice(monkeypatch):
    """A checkpoint without the optimizer's state, and a reader that fails in its own way."""
    from nn import checkpoint

    real = checkpoint.states
    monkeypatch.setattr(checkpoint, "states", lambda optimizer, callbacks: [
        (prefix, {name: np.zeros_like(value) for name, value in values.items()})
        for prefix, values in real(optimizer, callbacks)])
    assert reliability.resume(1)
    monkeypatch.setattr(Model, "load", lambda path: 1 / 0)
    assert reliability.fuzz("model", 3) == ["model: ZeroDivisionError: division by zero"] * 3
