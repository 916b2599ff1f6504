"""Small versions of what `make reliability` does: nothing is lost, whatever happens."""

import errno
import os

import numpy as np
import pytest

from benchmarks import reliability
from nn import Model


@pytest.mark.slow
def test_every_optimizer_continues():
    assert reliability.resume(2) == []


@pytest.mark.slow
def test_killed_trainings_continue():
    assert reliability.crash(8) == []


@pytest.mark.parametrize("number", [
    errno.ENOSPC, *(pytest.param(number, marks=pytest.mark.slow) for number in (errno.EIO, errno.EDQUOT, errno.EROFS))],
    ids=errno.errorcode.get)
def test_operations_of_a_save_may_fail(number):
    assert reliability.faults((number,)) == (7 * 3, [])


def test_a_full_file_system():
    problems = reliability.full_disk()
    if problems is None:
        pytest.skip("this user cannot mount a file system")
    assert problems == []


@pytest.mark.parametrize("name", ["model", "checkpoint", "IDX", "gzip", "config", "history", "ONNX", "ONNX of torch"])
@pytest.mark.parametrize("tries", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_damaged_files(name, tries):
    if "ONNX" in name:
        pytest.importorskip("onnx", reason="needs onnx: pip install 'feedforward[test]'")
    assert reliability.fuzz(name, tries) == []


@pytest.mark.slow
def test_one_command_gives_one_result():
    assert reliability.determinism(2) == []


@pytest.mark.slow
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


@pytest.mark.slow
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
