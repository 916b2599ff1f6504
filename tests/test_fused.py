"""Rules compiled to one loop: the same to the bit, and never another result where one cannot be."""

from dataclasses import dataclass
import sys

import numpy as np
import pytest
from references.rules import CASES
from test_base import Bowl
from test_first_order import trace

from optimizers import FirstOrder, fused, get
from optimizers.base import vector
from optimizers.first_order import Adam

numba = pytest.importorskip("numba", reason="numba is not installed (extra fast)")


@pytest.fixture
def used(monkeypatch):
    """Loops for vectors of any size; the list of those that were called."""
    called, compiled = [], fused.compiled
    monkeypatch.setattr(fused, "SMALLEST", 0)
    monkeypatch.setattr(fused, "compiled", lambda *key: called.append(key) or compiled(*key))
    return called


def steps(optimizer, dtype="float32", count=5, n=1000):
    bowl = Bowl(n, dtype)
    for _ in range(count):
        optimizer.step(bowl)
    return [bowl.theta, *optimizer.state().values()]


def check_equal(ours, theirs):
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_a_loop_gives_what_the_rule_gives_to_the_bit(case, dtype, monkeypatch, used):
    name, fields, *_ = CASES[case]
    as_loop = steps(get(name, **fields), dtype)
    assert len(used) == 5
    assert len({key[0] for key in used}) <= 2  # compiled for the structure, not for the step
    monkeypatch.setattr(fused, "SMALLEST", 1 << 60)
    check_equal(as_loop, steps(get(name, **fields), dtype))
    assert len(used) == 5


def test_loops_take_the_lr_and_state_of_the_moment(used):
    """The whole trace, in which lr changes and gradients vanish."""
    looped = trace(Adam(weight_decay=0.1))
    assert len(used) == len(looped)
    used.clear()
    fused.SMALLEST = 1 << 60  # put back with the fixture
    np.testing.assert_array_equal(looped, trace(Adam(weight_decay=0.1)))
    assert not used


@dataclass(eq=False, kw_only=True)
class Operators(FirstOrder):
    """Written with operators and temporaries, as users may."""

    m: np.ndarray = vector()
    grad: np.ndarray = vector()  # a name that the loop has too
    i: np.ndarray = vector()

    @fused.elementwise
    def update(self, theta, grad):
        self.m *= 0.9
        self.m += grad * grad + 1
        self.grad -= self.i
        self.i += 1
        np.copyto(self.scratch, self.m)
        theta -= self.lr * -self.scratch / np.maximum(self.m, 2) + self.grad


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_users_marked_rule_gives_the_same_with_and_without(dtype, monkeypatch, used):
    looped = steps(Operators(lr=0.1), dtype)
    assert len(used) == 5
    monkeypatch.setattr(fused, "SMALLEST", 1 << 60)
    check_equal(looped, steps(Operators(lr=0.1), dtype))


def test_a_rule_without_the_mark_runs_as_it_is(used):
    class Unmarked(Adam):
        def update(self, theta, grad):
            super().update(theta, grad)

    class OfItsOwn(Adam):
        def decay_weights(self, theta, grad):
            theta *= 0.99

    for kind in (Unmarked, OfItsOwn):
        steps(kind())
    assert not used


def norm(self, theta, grad):
    theta -= self.lr * grad / np.linalg.norm(grad)


def other_array(self, theta, grad):
    theta -= np.multiply(grad, np.arange(len(self.numbers)), out=self.scratch)


def kept(self, theta, grad):
    """Keeps what stands for a vector of one step, and takes it for one of the next."""
    if getattr(self, "before", None) is not None:
        theta -= self.before
    self.before = self.lr * grad


def inexact(self, theta, grad):
    theta -= np.tanh(grad)


def promoted(self, theta, grad):
    theta -= np.float64(self.lr) * grad


def replaced(self, theta, grad):
    self.m = 0.9 * self.m + grad
    theta -= self.lr * self.m


def swapped(self, theta, grad):
    np.copyto(self.n, grad)
    self.m, self.n = self.n, self.m


def measured(self, theta, grad):
    theta -= self.lr * grad / theta.size


@pytest.mark.parametrize(("update", "why"), [
    (replaced, "it puts another array in the place of m, instead of writing into it"),
    (swapped, "it puts another array in the place of m, instead of writing into it"),
    (measured, "'StandIn' object has no attribute 'size'"),
    (norm, "no implementation found for 'numpy.linalg.norm'"),
    (other_array, "ndarray is neither a vector of this step nor a number of Python's"),
    (kept, "StandIn is neither a vector of this step nor"),
    (inexact, "tanh is none of absolute, add, divide"),
    (promoted, "float64 is neither a vector of this step nor a number of Python's"),
])
def test_a_rule_that_is_wrongly_marked_is_refused_and_left_whole(update, why, used):
    body = {"__annotations__": {"m": np.ndarray, "n": np.ndarray}, "m": vector(), "n": vector(),
            "update": fused.elementwise(update)}
    kind = dataclass(eq=False, kw_only=True)(type("Wrong", (FirstOrder,), body))
    optimizer = kind()
    optimizer.numbers = [0] * 1000
    with pytest.raises(TypeError, match=f"Wrong.update is marked @elementwise, but cannot be a loop: .*{why}.*; take"):
        steps(optimizer)
    assert all(isinstance(array, np.ndarray) for array in (optimizer.m, optimizer.n, optimizer.scratch))


def test_an_interrupt_leaves_the_vectors_in_place(used):
    class Interrupted(Adam):
        @fused.elementwise
        def update(self, theta, grad):
            super().update(theta, grad)
            raise KeyboardInterrupt

    optimizer = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        steps(optimizer)
    assert all(isinstance(array, np.ndarray) for array in (optimizer.m, optimizer.v, optimizer.scratch))


def test_a_numba_that_cannot_be_imported_is_said_once_and_done_without(monkeypatch):
    monkeypatch.setattr(fused.importlib.util, "find_spec", lambda name: True)
    monkeypatch.setitem(sys.modules, "numba", None)
    fused.available.cache_clear()
    try:
        with pytest.warns(UserWarning, match="rules are not compiled: numba is installed, but cannot be imported"):
            assert not fused.available()
        assert not fused.available()
    finally:
        fused.available.cache_clear()


def test_for_short_vectors_and_other_dtypes_the_rule_itself_runs(monkeypatch, used):
    steps(Adam(), np.longdouble)
    monkeypatch.undo()
    assert fused.SMALLEST > 1000
    steps(Adam())
    assert not used
