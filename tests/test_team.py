"""Team: every call gets its thread, settings and errors; nothing is left running."""

import threading
import time

import numpy as np
import pytest

from nn import team as team_module
from nn.team import Team


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_each_call_has_its_own_thread_and_its_result_its_place(size):
    with Team(size) as team:
        for n in range(1, size + 1):
            results = team.run(lambda k: (k, threading.get_ident()), n)
            assert [k for k, _ in results] == list(range(n))
            assert len({thread for _, thread in results}) == n
            assert results[0][1] == threading.get_ident()


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_an_error_in_any_thread_arrives_with_its_traceback_after_all_calls_have_ended(bad):
    done = []

    def fails():
        raise ArithmeticError(f"in call {bad}")

    def call(k):
        if k == bad:
            fails()
        time.sleep(0.05)
        done.append(k)

    with Team(3) as team:
        with pytest.raises(ArithmeticError, match=f"in call {bad}") as caught:
            team.run(call, 3)
        assert caught.traceback[-1].name == "fails"
        assert sorted(done) == sorted({0, 1, 2} - {bad})
        assert team.run(lambda k: k, 3) == [0, 1, 2]  # it still works


def test_an_interrupt_waits_for_the_other_threads(monkeypatch):
    done = []

    def call(k):
        time.sleep(0.1 * k)
        done.append(k)

    class Interrupted(team_module.SimpleQueue):
        """A queue: the first two `get` of all such queues are interrupted."""

        left = [None, None]

        def get(self):
            if self.left:
                self.left.pop()
                raise KeyboardInterrupt
            return super().get()

    with Team(3) as team:
        monkeypatch.setattr(team_module, "SimpleQueue", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            team.run(call, 3)
        assert done == [0, 1, 2]
        monkeypatch.undo()
        assert team.run(lambda k: k, 3) == [0, 1, 2]


def test_outside_of_the_context_all_calls_run_on_this_thread():
    team = Team(3)
    for _ in range(2):
        assert team.run(lambda k: (k, threading.get_ident()), 3) == [(k, threading.get_ident()) for k in range(3)]
        with team:
            pass


def test_threads_have_the_settings_of_numpy_of_the_caller():
    with Team(2) as team:
        for setting in ("raise", "ignore"):
            with np.errstate(over=setting):
                assert team.run(lambda k: np.geterr()["over"], 2) == [setting] * 2


def test_no_thread_is_left():
    before = threading.active_count()
    with Team(4) as team:
        team.run(lambda k: None, 4)
        assert threading.active_count() == before + 3
    assert threading.active_count() == before
