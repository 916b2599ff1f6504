"""Tests of compiled rules: the same bits as NumPy, and an error if a rule cannot be compiled."""

import sys

import numpy as np
import pytest
from references.rules import CASES
from test_first_order import trace
from test_optimizer import Quadratic

from optimizers import FirstOrder, compiled, get, vector
from optimizers.first_order import Adam

numba = pytest.importorskip("numba", reason="numba is not installed (extra fast)")


@pytest.fixture
def compiled_loops(monkeypatch):
    """Compile loops for vectors of any size; return the list of the loops that were called."""
    calls, compile_loop = [], compiled.compiled_loop
    monkeypatch.setattr(compiled, "MIN_SIZE", 0)
    monkeypatch.setattr(compiled, "compiled_loop", lambda *key: calls.append(key) or compile_loop(*key))
    return calls


def steps(optimizer, dtype="float32", count=5, n=1000):
    quadratic = Quadratic(n, dtype)
    for _ in range(count):
        optimizer.step(quadratic)
    return [quadratic.theta, *optimizer.state().values()]


def check_equal(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", [
    pytest.param(case, marks=pytest.mark.slow) if "," in case else case for case in CASES])
def test_a_loop_gives_the_same_bits_as_the_rule(case, dtype, monkeypatch, compiled_loops):
    name, fields, *_ = CASES[case]
    from_loop = steps(get(name, **fields), dtype)
    assert len(compiled_loops) == 5
    assert len({key[0] for key in compiled_loops}) <= 2  # compiled for the operations, not for the step
    monkeypatch.setattr(compiled, "MIN_SIZE", 1 << 60)
    check_equal(from_loop, steps(get(name, **fields), dtype))
    assert len(compiled_loops) == 5


def test_loops_use_the_current_lr_and_state(compiled_loops):
    """In the trace, lr changes and some gradients are zero."""
    from_loop = trace(Adam(weight_decay=0.1))
    assert len(compiled_loops) == len(from_loop)
    compiled_loops.clear()
    compiled.MIN_SIZE = 1 << 60  # the fixture restores it
    np.testing.assert_array_equal(from_loop, trace(Adam(weight_decay=0.1)))
    assert not compiled_loops


class Operators(FirstOrder):
    """A rule written with operators and temporary arrays."""

    m: np.ndarray = vector()
    grad: np.ndarray = vector()  # a name that the loop also uses
    i: np.ndarray = vector()

    @compiled.elementwise
    def update(self, theta, grad):
        self.m *= 0.9
        self.m += grad * grad + 1
        self.grad -= self.i
        self.i += 1
        np.copyto(self.scratch, self.m)
        theta -= self.lr * -self.scratch / np.maximum(self.m, 2) + self.grad


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_marked_rule_of_a_user_gives_the_same_bits(dtype, monkeypatch, compiled_loops):
    from_loop = steps(Operators(lr=0.1), dtype)
    assert len(compiled_loops) == 5
    monkeypatch.setattr(compiled, "MIN_SIZE", 1 << 60)
    check_equal(from_loop, steps(Operators(lr=0.1), dtype))


def test_a_rule_without_the_mark_is_not_compiled(compiled_loops):
    class Unmarked(Adam):
        def update(self, theta, grad):
            super().update(theta, grad)

    class OwnDecay(Adam):
        def decay_weights(self, theta, grad):
            theta *= 0.99

    for kind in (Unmarked, OwnDecay):
        steps(kind())
    assert not compiled_loops


def norm(self, theta, grad):
    theta -= self.lr * grad / np.linalg.norm(grad)


def other_array(self, theta, grad):
    theta -= np.multiply(grad, np.arange(len(self.numbers)), out=self.scratch)


def keeps_a_vector(self, theta, grad):
    """Keep a traced vector of one step and use it in the next."""
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


def uses_size(self, theta, grad):
    theta -= self.lr * grad / theta.size


@pytest.mark.parametrize(("update", "why"), [
    (replaced, "it replaces the array m instead of writing into it"),
    (swapped, "it replaces the array m instead of writing into it"),
    (uses_size, "'TracedVector' object has no attribute 'size'"),
    (norm, "no implementation found for 'numpy.linalg.norm'"),
    (other_array, "ndarray is neither a vector of this step nor a Python number"),
    (keeps_a_vector, "it keeps a vector of the step in self.before"),
    (inexact, "tanh is not one of absolute, add, divide"),
    (promoted, "float64 is neither a vector of this step nor a Python number"),
])
def test_a_rule_that_is_marked_wrongly_is_refused_and_keeps_its_arrays(update, why, compiled_loops):
    body = {"__annotations__": {"m": np.ndarray, "n": np.ndarray}, "m": vector(), "n": vector(),
            "update": compiled.elementwise(update)}
    optimizer = type("Wrong", (FirstOrder,), body)()
    optimizer.numbers = [0] * 1000
    message = f"Wrong.update is marked @elementwise, but cannot be applied in parts: .*{why}.*; remove the mark"
    with pytest.raises(TypeError, match=message):
        steps(optimizer)
    assert all(isinstance(array, np.ndarray) for array in (optimizer.m, optimizer.n, optimizer.scratch))


def test_an_interrupt_keeps_the_arrays(compiled_loops):
    class Interrupted(Adam):
        @compiled.elementwise
        def update(self, theta, grad):
            super().update(theta, grad)
            raise KeyboardInterrupt

    optimizer = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        steps(optimizer)
    assert all(isinstance(array, np.ndarray) for array in (optimizer.m, optimizer.v, optimizer.scratch))


def test_a_numba_that_cannot_be_imported_gives_one_warning(monkeypatch):
    monkeypatch.setattr(compiled.importlib.util, "find_spec", lambda name: True)
    monkeypatch.setitem(sys.modules, "numba", None)
    compiled.available.cache_clear()
    try:
        with pytest.warns(UserWarning, match="rules are not compiled: numba is installed, but cannot be imported"):
            assert not compiled.available()
        assert not compiled.available()
    finally:
        compiled.available.cache_clear()


def test_rules_for_short_vectors_and_other_dtypes_are_not_compiled(monkeypatch, compiled_loops):
    steps(Adam(), np.longdouble)
    monkeypatch.undo()
    assert compiled.MIN_SIZE > 1000
    steps(Adam())
    assert not compiled_loops
