"""Every schedule at points by hand and against torch's; parsing; and going on from a saved state to the bit."""

import importlib.util
import math

import numpy as np
import pytest
from test_base import Bowl

from optimizers import OPTIMIZERS, SCHEDULES, FirstOrder, Function, Scheduled, get, hyperparameters
from optimizers.schedules import (
    Cosine,
    Exponential,
    InverseSqrt,
    InverseTime,
    Plateau,
    Step,
    Warmup,
    parse,
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
def test_by_hand(name):
    for text, time, factor in BY_HAND[name]:
        assert parse(text, 100)(time) == pytest.approx(factor, abs=1e-12), (text, time)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed (extra dev)")
@pytest.mark.filterwarnings("ignore")
def test_against_torch():
    import torch
    from torch.optim import lr_scheduler as theirs

    for schedule, make in ((Step(0.5, 10), lambda o: theirs.StepLR(o, 10, 0.5)),
                           (Exponential(0.9), lambda o: theirs.ExponentialLR(o, 0.9)),
                           (Cosine(40), lambda o: theirs.CosineAnnealingLR(o, 40)),
                           (Warmup(8), lambda o: theirs.LinearLR(o, 0.01, total_iters=8))):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        scheduler = make(optimizer)
        for t in range(40):
            assert schedule(t) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12), (schedule, t)
            optimizer.step()
            scheduler.step()


def test_plateau_waits_for_patience_and_begins_anew_after_each_decay():
    schedule = Plateau(decay=0.5, patience=2)
    means = [3.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    factors = []
    for unit, mean in enumerate(means):
        for part in range(4):  # four steps a unit, whose mean counts
            factors.append(schedule(unit + part / 4))
            schedule.observe(unit + (part + 1) / 4, mean + (-1) ** part)
    assert [factors[4 * unit] for unit in range(10)] == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]


def test_scheduled_sets_the_lr_before_each_step_in_units_of_steps():
    seen, bowl = [], Bowl()
    optimizer = Scheduled(get("gd", lr=0.1), InverseTime(1.0), unit=2)
    for _ in range(5):
        optimizer.step(bowl)
        seen.append(optimizer.lr)
    assert seen == pytest.approx([0.1 / (1 + t / 2) for t in range(5)])
    optimizer = Scheduled(get("adam", lr=0.3), InverseSqrt())
    for t in range(1, 4):
        optimizer.step(bowl)
        assert optimizer.lr == pytest.approx(0.3 / math.sqrt(t))


@pytest.mark.parametrize("text", [*SCHEDULES, "warmup:5+plateau:0.5:1"])
@pytest.mark.parametrize("name", [name for name, kind in OPTIMIZERS.items() if issubclass(kind, FirstOrder)])
def test_saved_and_restored_it_goes_on_to_the_bit(name, text):
    def make():
        return Bowl(), Scheduled(get(name, lr=0.05), parse(text, 20), unit=2)

    bowl, optimizer = make()
    for _ in range(20):
        optimizer.step(bowl)
    kept = {key: np.copy(part) if isinstance(part, np.ndarray) else part for key, part in optimizer.state().items()}
    theta = bowl.theta.copy()
    for _ in range(20):
        optimizer.step(bowl)
    other, again = make()
    other.theta[:] = theta
    again.restore(kept, other.theta)
    for _ in range(20):
        again.step(other)
    np.testing.assert_array_equal(other.theta, bowl.theta)
    assert again.lr == optimizer.lr


def test_a_loss_that_is_not_finite_takes_no_time():
    bowl, optimizer = Bowl(value=math.nan), Scheduled(get("gd"), Exponential(0.5))
    optimizer.step(bowl)
    assert optimizer.t == 0


@pytest.mark.parametrize(("text", "message"), [
    ("cosin", "unknown schedule 'cosin': choose from constant, step, exponential"),
    ("exponential:0.9:3", "schedule 'exponential:0.9:3': exponential takes decay"),
    ("step:a", "schedule 'step:a': step takes numbers, as step:decay:every"),
    ("exponential:-1", "Exponential: decay must be above 0, not -1"),
    ("plateau:2", "Plateau: decay must be above 0 and below 1, not 2"),
    ("cosine+step", "only a warmup goes over into another, as warmup:5+cosine"),
    ("warmup:5+wave", "unknown schedule 'wave'"),
    ("warmup:100+cosine", "the warmup leaves nothing of the 100 epochs for what follows"),
])
def test_slips_are_named(text, message):
    with pytest.raises(ValueError, match=message.replace("+", r"\+")):
        parse(text, 100)


def test_every_schedule_says_what_it_is():
    for kind in SCHEDULES.values():
        assert kind.__doc__
        assert isinstance(hyperparameters(kind), dict)


def test_the_lr_of_a_scheduled_optimizer_is_its_peak_to_set():
    bowl, optimizer = Bowl(), Scheduled(get("gd", lr=0.1), Exponential(0.5))
    optimizer.step(bowl)
    optimizer.lr = 0.4
    optimizer.step(bowl)
    assert optimizer.lr == pytest.approx(0.2)


@pytest.mark.parametrize(("arguments", "message"), [
    ((get("lbfgs"), Exponential(0.5)), "LBFGS has no learning rate"),
    ((get("gd"), "cosine"), "schedule must be a Schedule, not 'cosine'"),
    ((get("gd"), Exponential(0.5), 0), "unit must be above 0 steps, not 0"),
])
def test_what_cannot_be_scheduled_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Scheduled(*arguments)


def test_a_schedule_that_grows_past_every_number_says_so():
    scheduled = Scheduled(get("gd", lr=1e-300), Exponential(1e200))
    f = Function([1.0], value=lambda t: float(t @ t) / 2, gradient=lambda t: t)
    for _ in range(2):
        scheduled.step(f)
    with pytest.raises(ValueError, match=r"Exponential\(decay=1e\+200\) has grown past every number at time 2: end"):
        scheduled.step(f)
