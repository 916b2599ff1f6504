"""Tests of the schedules: values by hand and by torch, parsing, Scheduled, and restored states."""

import copy
import importlib.util
import inspect
import math
import re

import numpy as np
import pytest
from test_optimizer import Quadratic

from optimizers import OPTIMIZERS, SCHEDULES, FirstOrder, Function, Scheduled, get, hyperparameters, parse_schedule
from optimizers.schedules import (
    Cosine,
    Exponential,
    InverseSqrt,
    InverseTime,
    Plateau,
    Step,
    Warmup,
)

BY_HAND = {
    "constant": [("constant", 0, 1), ("constant", 1e6, 1)],
    "step": [("step:0.5:10", 0, 1), ("step:0.5:10", 9.99, 1), ("step:0.5:10", 10, 0.5), ("step:0.5:10", 35, 0.125)],
    "exponential": [("exponential:0.9", 0, 1), ("exponential:0.9", 2.5, 0.9**2.5)],
    "inverse-time": [("inverse-time:0.5", 0, 1), ("inverse-time:0.5", 6, 0.25)],
    "inverse-sqrt": [("inverse-sqrt", 0, 1), ("inverse-sqrt", 8, 1 / 3), ("inverse-sqrt:2", 6, 0.5)],
    "cosine": [("cosine:10", 0, 1), ("cosine:10", 5, 0.5), ("cosine:10", 10, 0), ("cosine:10:0.2", 99, 0.2),
               ("cosine", 50, 0.5)],
    "one-cycle": [("one-cycle:10", 0, 0.04), ("one-cycle:10", 3, 1), ("one-cycle:10", 1.5, 0.52),
                  ("one-cycle:10", 20, 4e-6)],
    "plateau": [("plateau", 0, 1), ("plateau", 50, 1)],
    "warmup": [("warmup:5", 0, 0.01), ("warmup:5", 2.5, 0.505), ("warmup:5", 5, 1),
               ("warmup:5+exponential:0.5", 7, 0.25), ("warmup:20+cosine", 60, 0.5)],
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_values_by_hand(name):
    for text, time, factor in BY_HAND[name]:
        assert parse_schedule(text, 100)(time) == pytest.approx(factor, abs=1e-12), (text, time)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed (extra dev)")
@pytest.mark.filterwarnings("ignore")
def test_values_of_torch():
    import torch
    from torch.optim import lr_scheduler

    for schedule, make in ((Step(0.5, 10), lambda o: lr_scheduler.StepLR(o, 10, 0.5)),
                           (Exponential(0.9), lambda o: lr_scheduler.ExponentialLR(o, 0.9)),
                           (Cosine(40), lambda o: lr_scheduler.CosineAnnealingLR(o, 40)),
                           (Warmup(8), lambda o: lr_scheduler.LinearLR(o, 0.01, total_iters=8))):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        scheduler = make(optimizer)
        for t in range(40):
            assert schedule(t) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12), (schedule, t)
            optimizer.step()
            scheduler.step()


def test_plateau_decays_after_patience_units_and_starts_to_count_again():
    schedule = Plateau(decay=0.5, patience=2)
    means = [3.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    factors = []
    for unit, mean in enumerate(means):
        for part in range(4):  # four steps in a unit, whose mean is compared
            factors.append(schedule(unit + part / 4))
            schedule.observe(unit + (part + 1) / 4, mean + (-1) ** part)
    assert [factors[4 * unit] for unit in range(10)] == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]


def test_scheduled_sets_the_lr_before_each_step_in_units_of_steps():
    rates, quadratic = [], Quadratic()
    optimizer = Scheduled(get("gd", lr=0.1), InverseTime(1.0), unit=2)
    for _ in range(5):
        optimizer.step(quadratic)
        rates.append(optimizer.lr)
    assert rates == pytest.approx([0.1 / (1 + t / 2) for t in range(5)])
    optimizer = Scheduled(get("adam", lr=0.3), InverseSqrt())
    for t in range(1, 4):
        optimizer.step(quadratic)
        assert optimizer.lr == pytest.approx(0.3 / math.sqrt(t))


@pytest.mark.parametrize("text", [*SCHEDULES, "warmup:5+plateau:0.5:1"])
@pytest.mark.parametrize("name", [name for name, kind in OPTIMIZERS.items() if issubclass(kind, FirstOrder)])
def test_a_restored_optimizer_takes_the_same_steps_bit_for_bit(name, text):
    def make():
        return Quadratic(), Scheduled(get(name, lr=0.05), parse_schedule(text, 20), unit=2)

    quadratic, optimizer = make()
    for _ in range(20):
        optimizer.step(quadratic)
    state = {key: np.copy(part) if isinstance(part, np.ndarray) else part for key, part in optimizer.state().items()}
    theta = quadratic.theta.copy()
    for _ in range(20):
        optimizer.step(quadratic)
    other, restored = make()
    other.theta[:] = theta
    restored.restore(state, other.theta)
    for _ in range(20):
        restored.step(other)
    np.testing.assert_array_equal(other.theta, quadratic.theta)
    assert restored.lr == optimizer.lr


def test_a_loss_that_is_not_finite_does_not_advance_the_schedule():
    quadratic, optimizer = Quadratic(value=math.nan), Scheduled(get("gd"), Exponential(0.5))
    optimizer.step(quadratic)
    assert optimizer.t == 0


@pytest.mark.parametrize(("text", "message"), [
    ("cosin", "unknown schedule 'cosin': did you mean 'cosine'? choose from constant, step, exponential"),
    ("exponential:0.9:3", "schedule 'exponential:0.9:3': exponential takes decay"),
    ("step:a", "schedule 'step:a': step takes numbers: write step:decay:every"),
    ("exponential:-1", "Exponential: decay must be above 0, not -1"),
    ("plateau:2", "Plateau: decay must be above 0 and below 1, not 2"),
    ("cosine+step", "only a warmup can be followed by another schedule: write warmup:5+cosine"),
    ("warmup:5+wave", "unknown schedule 'wave'"),
    ("warmup:100+cosine", "the warmup takes all 100 epochs: write a shorter one"),
])
def test_wrong_texts_are_refused(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_schedule(text, 100)


def test_every_schedule_is_documented():
    for kind in SCHEDULES.values():
        fields = hyperparameters(kind)
        assert isinstance(fields, dict)
        summary = kind.__doc__.partition("\n")[0]
        assert len(summary) >= 20, summary  # a name and what it does
        for field in fields:
            assert re.search(rf"\n{field} : .+\n    \S.{{15,}}", inspect.cleandoc(kind.__doc__)), field


def test_a_scheduled_restore_that_fails_changes_nothing():
    quadratic, optimizer = Quadratic(), Scheduled(get("adam"), Plateau(patience=1))
    for _ in range(3):
        optimizer.step(quadratic)
    before = copy.deepcopy(optimizer.state())
    initial_state = Scheduled(get("adam"), Plateau()).state()
    wrong = [{**initial_state, name: "three"} for name in initial_state]
    for values in [*wrong, {**initial_state, "optimizer.v": np.zeros(5)}, {**initial_state, "schedule.nonsense": 1}]:
        with pytest.raises(ValueError, match="its "):
            optimizer.restore(values, Quadratic().theta)
        np.testing.assert_equal(optimizer.state(), before)
    with pytest.raises(ValueError, match="has taken 3 steps on another vector"):
        optimizer.step(Quadratic())


def test_the_schedule_multiplies_an_lr_that_is_set():
    quadratic, optimizer = Quadratic(), Scheduled(get("gd", lr=0.1), Exponential(0.5))
    optimizer.step(quadratic)
    optimizer.lr = 0.4
    optimizer.step(quadratic)
    assert optimizer.lr == pytest.approx(0.2)


@pytest.mark.parametrize(("arguments", "message"), [
    ((get("lbfgs"), Exponential(0.5)), "LBFGS has no learning rate"),
    ((get("gd"), "cosine"), "schedule must be a Schedule, not 'cosine'"),
    ((get("gd"), Exponential(0.5), 0), "unit must be above 0 steps, not 0"),
])
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Scheduled(*arguments)


def test_a_schedule_that_overflows_is_refused():
    scheduled = Scheduled(get("gd", lr=1e-300), Exponential(1e200))
    f = Function([1.0], value=lambda t: float(t @ t) / 2, gradient=lambda t: t)
    for _ in range(2):
        scheduled.step(f)
    message = r"Exponential\(decay=1e\+200\) overflows at time 2: write a schedule that grows less"
    with pytest.raises(ValueError, match=message):
        scheduled.step(f)


def test_a_scheduled_optimizer_refuses_another_vector_but_a_copy_and_a_restored_state_continue():
    quadratic, other, optimizer = Quadratic(), Quadratic(), Scheduled(get("adam"), Exponential(0.5))
    for _ in range(3):
        optimizer.step(quadratic)
    with pytest.raises(ValueError, match="this Adam has taken 3 steps on another vector: make a new one, or write "):
        optimizer.step(other)
    assert optimizer.t == 3
    twin = copy.deepcopy(optimizer)
    other.theta[:] = quadratic.theta
    assert twin.step(other) == optimizer.step(quadratic)
    np.testing.assert_array_equal(other.theta, quadratic.theta)
    optimizer.restore(optimizer.state(), other.theta)
    optimizer.step(other)
    assert (optimizer.t, optimizer.optimizer.t) == (5, 5)


def test_a_warmup_refuses_other_objects_than_schedules():
    with pytest.raises(ValueError, match="Warmup: after must be a Schedule, not 'cosine': write parse_schedule"):
        Warmup(5, "cosine")
