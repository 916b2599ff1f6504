"""The threads of BLAS: limited during a fit, and restored after the last one."""

import pytest
from test_model import small, small_data
from threadpoolctl import threadpool_info

import feedforward as ff
from feedforward import experiment
from nn import blas, workers
from optimizers import get


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def test_blas_has_one_thread_during_a_fit_on_several_threads_and_all_threads_after_it(monkeypatch):
    monkeypatch.setattr(workers, "thread_count", lambda network, batch_size, threads: threads)
    recorded, before = [], blas_threads()

    class RecordsThreads(type(get("gd"))):
        def step(self, objective):
            recorded.append(blas_threads())
            return super().step(objective)

    x, y = small_data()
    small().fit(x, y, RecordsThreads(), 1, 20, progress=False, threads=2)
    assert all(set(threads) == {1} for threads in recorded)
    assert len(recorded) == 2
    assert blas_threads() == before


def test_overlapping_limits_are_lifted_after_the_last():
    before, unlimited = blas_threads(), blas.threads()
    first, second = blas.limited(1), blas.limited(1)
    first.__enter__()
    assert blas.threads() == unlimited  # the number without a limit
    second.__enter__()
    assert blas.threads() == unlimited
    first.__exit__(None, None, None)
    assert set(blas_threads()) == {1}
    second.__exit__(None, None, None)
    assert blas_threads() == before


def test_an_error_within_a_limit_restores_the_threads():
    before = blas_threads()
    with pytest.raises(RuntimeError, match="within"), blas.limited(1):
        raise RuntimeError("within")
    assert blas_threads() == before


class Library:
    def __init__(self, architecture, num_threads):
        self.architecture, self.num_threads = architecture, num_threads


@pytest.mark.parametrize(("architecture", "threads", "coretype", "message"), [
    ("SkylakeX", 2, "", ""),
    ("SkylakeX", 2, "Haswell", "OPENBLAS_CORETYPE=Haswell chooses their code; remove it"),
    ("Prescott", 2, "", "its OpenBLAS has no code for this processor"),
    ("Zen", 1, "", "use 1 of 4 cores: remove OPENBLAS_NUM_THREADS and OMP_NUM_THREADS"),
])
def test_advice_says_why_products_are_slow(architecture, threads, coretype, message, monkeypatch):
    monkeypatch.setattr(blas, "_libraries", lambda: [(Library(architecture, threads), threads)])
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1, 2, 3}, raising=False)
    monkeypatch.setenv("OPENBLAS_CORETYPE", coretype)
    assert message in blas.advice()
    assert bool(blas.advice()) == bool(message)
    assert "\n" not in blas.advice()


def test_a_long_run_says_it_once(monkeypatch):
    messages = []
    monkeypatch.setattr(blas, "advice", lambda: "slow")
    for limit, expected in ((1 << 60, []), (1, ["slow"])):
        monkeypatch.setattr(experiment, "LONG", limit)
        ff.Experiment(["gd", "adam"], dataset="digits", epochs=1).run(progress=False, notify=messages.append)
        assert messages == expected
