"""Rules compiled to one loop: the same to the bit, and never another result where one cannot be."""

from dataclasses import dataclass

import numpy as np
import pytest
from references.rules import CASES
from test_base import Bowl
from test_first_order import trace

from optimizers import FirstOrder, fused, get
from optimizers.base import scalar, vector
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
class Plainly(FirstOrder):
    """Written with operators and temporaries, as users will."""

    m: np.ndarray = vector()

    def update(self, theta, grad):
        self.m[...] = 0.9 * self.m + grad
        theta -= self.lr * self.m


@dataclass(eq=False, kw_only=True)
class Operators(FirstOrder):
    m: np.ndarray = vector()

    def update(self, theta, grad):
        self.m *= 0.9
        self.m += grad * grad + 1
        np.copyto(self.scratch, self.m)
        theta -= self.lr * -self.scratch / np.maximum(self.m, 2)


@dataclass(eq=False, kw_only=True)
class Normed(FirstOrder):
    """Does what no loop over single elements can, after it has changed its state."""

    m: np.ndarray = vector()
    seen: float = scalar(0.0)

    def update(self, theta, grad):
        self.seen += 1
        self.m += grad
        theta -= self.lr * self.m / np.linalg.norm(self.m)


@dataclass(eq=False, kw_only=True)
class Replacing(FirstOrder):
    m: np.ndarray = vector()

    def update(self, theta, grad):
        self.m = 0.9 * self.m + grad
        theta -= self.lr * self.m


@pytest.mark.parametrize(("kind", "fits"), [(Plainly, False), (Operators, True), (Normed, False), (Replacing, False)])
def test_a_users_rule_gives_the_same_with_and_without(kind, fits, monkeypatch, used):
    looped = steps(kind(lr=0.1), "float64")
    assert bool(used) == fits
    monkeypatch.setattr(fused, "SMALLEST", 1 << 60)
    check_equal(looped, steps(kind(lr=0.1), "float64"))


def test_an_array_beside_the_vectors_is_not_taken_for_a_scalar(used):
    @dataclass(eq=False, kw_only=True)
    class Weighed(FirstOrder):
        def update(self, theta, grad):
            theta -= np.multiply(grad, np.arange(len(self.weights)), out=self.scratch)

    optimizer = Weighed()
    optimizer.weights = list(range(1000))
    theta, *_ = steps(optimizer, count=1)
    assert not used
    assert not np.array_equal(theta, Bowl(1000, "float32").theta)


def test_without_numba_and_for_short_vectors_the_rule_itself_runs(monkeypatch, used):
    monkeypatch.setattr(fused, "available", lambda: False)
    steps(Adam())
    monkeypatch.undo()
    assert fused.SMALLEST > 1000
    steps(Adam())
    assert not used
