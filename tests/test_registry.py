"""Tests of register: optimizers and schedules of a user in the tables, and names that are taken."""

import numpy as np
import pytest

from optimizers import (
    OPTIMIZERS,
    SCHEDULES,
    FirstOrder,
    Function,
    Schedule,
    Scheduled,
    get,
    minimize,
    parse_schedule,
    register,
)
from optimizers.schedules import Cosine


@pytest.fixture(autouse=True)
def _original_tables():
    """Restore the tables after each test."""
    original = [(table, dict(table)) for table in (OPTIMIZERS, SCHEDULES)]
    yield
    for table, entries in original:
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


def test_an_optimizer_of_a_user():
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


def test_a_schedule_of_a_user():
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
    """If a notebook cell is run again, the class is a new object with the same name."""
    register(sign_descent())
    second = sign_descent()
    register(second)
    assert OPTIMIZERS["signdescent"] is second


@pytest.mark.parametrize("thing", [int, "adam", get("adam"), None])
def test_only_optimizers_and_schedules_are_registered(thing):
    with pytest.raises(ValueError, match="register takes a class derived from Optimizer or Schedule, not "):
        register(thing)


class WithoutUpdate(FirstOrder):
    """It has no update."""


class WithoutDefault(FirstOrder):
    decay: float

    def update(self, theta, grad):
        theta -= self.lr * self.decay * grad


class Constructed(Schedule):
    def __init__(self, length):
        self.length = length

    def __call__(self, time):
        return 1.0


@pytest.mark.parametrize(("kind", "message"), [
    (FirstOrder, "register: FirstOrder is abstract: define its methods update"),
    (WithoutUpdate, "register: WithoutUpdate is abstract: define its methods update"),
    (Schedule, "register: Schedule is abstract: define its methods __call__"),
    (WithoutDefault, "register: WithoutDefault has no default for decay: give it one, so that a name can make it"),
    (Constructed, "register: Constructed has no default for length: give it one, so that a name can make it"),
    (Scheduled, "register: Scheduled has no default for optimizer, schedule: give it one, so that a name can make it"),
])
def test_a_class_that_a_name_cannot_make_is_refused(kind, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        register(kind)
    assert kind not in (*OPTIMIZERS.values(), *SCHEDULES.values())


@pytest.mark.parametrize("name", ["a:b", "a+b", "", " ", "a b", "a,b", "a/b", "a\n", "a=b", 3, ("a",), ["a"]])
@pytest.mark.parametrize("make", [sign_descent, halving])
def test_a_name_that_cannot_be_used_is_refused(make, name):
    with pytest.raises(ValueError, match='register: a name is made of letters, digits, "-" and "_", not ') as caught:
        register(make(), name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", [sign_descent, halving])
def test_a_name_with_a_meaning_on_the_command_line_is_refused(make):
    with pytest.raises(ValueError, match="register: the name 'all' stands for all entries of the table: choose anot"):
        register(make(), "all")
    with pytest.raises(ValueError, match="register: the name '-x' would be an option on the command line: choose anot"):
        register(make(), "-x")
