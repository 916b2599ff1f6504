"""Tests of register: optimizers and schedules of one's own in the tables, and names that are taken."""

import numpy as np
import pytest

from optimizers import OPTIMIZERS, SCHEDULES, FirstOrder, Function, Schedule, get, minimize, parse_schedule, register
from optimizers.schedules import Cosine


@pytest.fixture(autouse=True)
def _original_tables():
    """Remove after each test what it has registered."""
    kept = [(table, dict(table)) for table in (OPTIMIZERS, SCHEDULES)]
    yield
    for table, entries in kept:
        table.clear()
        table.update(entries)


def sign_descent():
    class SignDescent(FirstOrder):
        def update(self, theta, grad):
            theta -= self.lr * np.sign(grad)

    return SignDescent


def halving():
    class Halving(Schedule):
        every: float = 10.0

        def __call__(self, time):
            return 0.5 ** (time // self.every)

    return Halving


def test_an_optimizer_of_ones_own():
    kind = sign_descent()
    assert register(kind) is kind
    optimizer = get("signdescent", lr=0.25)
    assert type(optimizer) is kind
    result = minimize(Function([1.0, -2.0], value=lambda t: np.abs(t).sum(), gradient=np.sign), optimizer, tolerance=0)
    assert (result.steps, result.value) == (8, 0.0)
    with pytest.raises(ValueError, match=r"signdescent has no field 'learning_rate': write lr; its fields are lr"):
        get("signdescent", learning_rate=1)
    with pytest.raises(ValueError, match=r"unknown optimizer 'signdecent': did you mean 'signdescent'\?"):
        get("signdecent")


def test_a_schedule_of_ones_own():
    register(halving())
    assert parse_schedule("halving:4", 100)(9) == 0.25
    assert parse_schedule("warmup:5+halving", 100)(16) == 0.5


@pytest.mark.parametrize("make", [sign_descent, halving])
def test_another_name_may_be_given(make):
    kind = make()
    register(kind, "my-own")
    assert kind in (OPTIMIZERS.get("my-own"), SCHEDULES.get("my-own"))


@pytest.mark.parametrize(("kind", "name", "owner"), [(sign_descent(), "adam", "Adam"), (halving(), "cosine", "Cosine")])
def test_a_name_that_belongs_to_another_class_is_refused(kind, name, owner):
    with pytest.raises(ValueError, match=f"the name '{name}' belongs to {owner}: register {kind.__name__} by another"):
        register(kind, name)
    assert OPTIMIZERS["adam"].__name__ == "Adam"
    assert SCHEDULES["cosine"] is Cosine


def test_the_same_class_may_be_registered_again():
    """As a notebook does whose cell is run again: the class is then a new object of the same name."""
    register(sign_descent())
    again = sign_descent()
    register(again)
    assert OPTIMIZERS["signdescent"] is again


@pytest.mark.parametrize("thing", [int, "adam", get("adam"), None])
def test_only_optimizers_and_schedules_are_registered(thing):
    with pytest.raises(ValueError, match="register takes a class derived from Optimizer or Schedule, not "):
        register(thing)
