"""Small versions of what `make reliability` does: nothing is lost, whatever happens."""

import errno
import os

from launcher import launch
import numpy as np
import pytest

from benchmarks.reliability import damage, long_use, ranks, saves
from nn import Model


@pytest.mark.slow
def test_every_optimizer_continues():
    assert saves.resume(2) == []


@pytest.mark.slow
def test_killed_trainings_continue():
    assert saves.crash(8) == []


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
def test_trainings_of_which_a_rank_is_killed_continue():
    launch(2)  # skips the test if there is no MPI
    assert ranks.kill_ranks(4) == []


@pytest.mark.parametrize("number", [
    errno.ENOSPC, *(pytest.param(number, marks=pytest.mark.slow) for number in (errno.EIO, errno.EDQUOT, errno.EROFS))],
    ids=errno.errorcode.get)
def test_operations_of_a_save_may_fail(number):
    assert saves.faults((number,)) == (7 * 3, [])


def test_a_full_file_system():
    problems = saves.full_disk()
    if problems is None:
        pytest.skip("this user cannot mount a file system")
    assert problems == []


@pytest.mark.parametrize("name", ["model", "checkpoint", "IDX", "gzip", "config", "history", "ONNX", "ONNX of torch"])
@pytest.mark.parametrize("tries", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_damaged_files(name, tries):
    if "ONNX" in name:
        pytest.importorskip("onnx", reason="needs onnx: pip install 'feedforward[test]'")
    assert damage.fuzz(name, tries) == []


@pytest.mark.slow
def test_one_command_gives_one_result():
    assert long_use.determinism(2) == []


@pytest.mark.slow
def test_other_numbers_of_threads_give_the_same_weights_but_for_rounding():
    _, problems = long_use.other_threads()
    assert problems == []


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_nothing_is_left_after_a_fit():
    growth, problems = long_use.leaks(100, warm_up=50)
    assert [problem for problem in problems if not problem.startswith("memory grows")] == []
    assert growth < 20_000  # a page or a block of the allocator may come late; make reliability measures it


def test_trainings_side_by_side():
    assert long_use.soak(100) == []


@pytest.mark.slow
def test_the_checks_notice(monkeypatch):
    """A checkpoint without the optimizer's state, and a reader that fails in its own way."""
    from nn import checkpoint

    real = checkpoint.states
    monkeypatch.setattr(checkpoint, "states", lambda optimizer, callbacks: [
        (prefix, {name: np.zeros_like(value) for name, value in values.items()})
        for prefix, values in real(optimizer, callbacks)])
    assert saves.resume(1)
    monkeypatch.setattr(Model, "load", lambda path: 1 / 0)
    assert damage.fuzz("model", 3) == ["model: ZeroDivisionError: division by zero"] * 3
