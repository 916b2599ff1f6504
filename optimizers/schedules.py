"""Learning rates over time: each schedule is a factor of the lr that an optimizer was given, as a function of time.

Time is counted from 0 in whatever unit `Scheduled` is told: steps, or epochs of so many steps. A schedule knows no
optimizer and an optimizer knows no schedule: `Scheduled` sets the lr before each step.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
import math
from typing import Any

from optimizers.base import Array, Declared, Objective, Optimizer, hyperparameters, number, scalar


@dataclass
class Schedule(Declared, ABC):
    """The factor of the learning rate at a time."""

    @abstractmethod
    def __call__(self, time: float) -> float:
        """The factor at `time` >= 0."""

    def observe(self, time: float, loss: float) -> None:
        """Hear of the loss of the step at `time`."""

    def state(self) -> dict[str, float]:
        """What observing has left behind."""
        return {name: getattr(self, name) for name in self.scalars()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        for name in self.scalars():
            setattr(self, name, float(state[name]))


@dataclass
class Constant(Schedule):
    """1"""

    def __call__(self, time: float) -> float:
        return 1.0


@dataclass
class Step(Schedule):
    """decay^floor(time / every)"""

    decay: float = number(0.1, above=0)
    every: float = number(30, above=0)

    def __call__(self, time: float) -> float:
        return self.decay ** math.floor(time / self.every)


@dataclass
class Exponential(Schedule):
    """decay^time"""

    decay: float = number(0.95, above=0)

    def __call__(self, time: float) -> float:
        return self.decay**time


@dataclass
class InverseTime(Schedule):
    """1 / (1 + decay time). Robbins & Monro (1951) need a rate like this one."""

    decay: float = number(1, above=0)

    def __call__(self, time: float) -> float:
        return 1 / (1 + self.decay * time)


@dataclass
class InverseSqrt(Schedule):
    """1 / sqrt(1 + time / scale): in steps, with scale 1, the 1/sqrt(t) of Kingma & Ba (2015)."""

    scale: float = number(1, above=0)

    def __call__(self, time: float) -> float:
        return 1 / math.sqrt(1 + time / self.scale)


@dataclass
class Cosine(Schedule):
    """end + (1 - end) (1 + cos(pi time / length)) / 2, then `end`. Loshchilov & Hutter (2017), without restarts."""

    length: float = number(100, above=0)
    end: float = number(0, least=0)

    def __call__(self, time: float) -> float:
        return self.end + (1 - self.end) * (1 + math.cos(math.pi * min(time / self.length, 1))) / 2


@dataclass
class OneCycle(Schedule):
    """From 1/25 up to 1 within the first 30 % of `length`, then down to 1/250,000, both along half a cosine.

    Smith & Topin (2018), with the figures that torch and fast.ai took for it.
    """

    length: float = number(100, above=0)

    def __call__(self, time: float) -> float:
        low, end, peak = 1 / 25, 1 / 250_000, 0.3 * self.length
        if time < peak:
            return low + (1 - low) * (1 - math.cos(math.pi * time / peak)) / 2
        return end + (1 - end) * (1 + math.cos(math.pi * min((time - peak) / (self.length - peak), 1))) / 2


@dataclass
class Plateau(Schedule):
    """Times `decay` whenever the mean loss over a unit of time has not become less for `patience` units in a row."""

    decay: float = number(0.1, above=0, below=1)
    patience: float = number(10, above=0)
    factor: float = scalar(1.0)
    best: float = scalar(math.inf)
    waited: float = scalar(0.0)
    unit: float = scalar(0.0)
    total: float = scalar(0.0)
    count: float = scalar(0.0)

    def __call__(self, time: float) -> float:
        return self.factor

    def observe(self, time: float, loss: float) -> None:
        self.total, self.count = self.total + loss, self.count + 1
        if math.floor(time) == self.unit:
            return
        mean = self.total / self.count
        self.unit, self.total, self.count = float(math.floor(time)), 0.0, 0.0
        self.waited = 0.0 if mean < self.best else self.waited + 1
        self.best = min(self.best, mean)
        if self.waited >= self.patience:
            self.factor, self.waited = self.factor * self.decay, 0.0


@dataclass
class Warmup(Schedule):
    """From 1/100 up to 1 along a line within `length`, then `after`, its own time from there. Goyal et al. (2017)."""

    length: float = number(5, above=0)
    after: Schedule = field(default_factory=Constant)

    def __call__(self, time: float) -> float:
        return 0.01 + 0.99 * time / self.length if time < self.length else self.after(time - self.length)

    def observe(self, time: float, loss: float) -> None:
        if time >= self.length:
            self.after.observe(time - self.length, loss)

    def state(self) -> dict[str, float]:
        return self.after.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        self.after.restore(state)


SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "step": Step,
    "exponential": Exponential,
    "inverse-time": InverseTime,
    "inverse-sqrt": InverseSqrt,
    "cosine": Cosine,
    "one-cycle": OneCycle,
    "plateau": Plateau,
    "warmup": Warmup,
}


def parse(text: str, length: float) -> Schedule:
    """The schedule that "name:number:number" describes; "warmup:5+cosine" goes from one into the other.

    length: of those that have an end and were not given it. Raises ValueError, with the choices, where it says nothing.
    """
    first, plus, rest = text.partition("+")
    name, *numbers = first.split(":")
    if name not in SCHEDULES:
        raise ValueError(f"unknown schedule {name!r}: choose from {', '.join(SCHEDULES)}")
    kind = SCHEDULES[name]
    known = [key for key in hyperparameters(kind) if key != "after"]
    if len(numbers) > len(known):
        raise ValueError(f"schedule {first!r}: {name} takes {':'.join(known) or 'no numbers'}")
    try:
        values: dict[str, Any] = {key: float(number) for key, number in zip(known, numbers)}
    except ValueError:
        raise ValueError(f"schedule {first!r}: {name} takes numbers, as {name}:{':'.join(known)}") from None
    if plus and kind is not Warmup:
        raise ValueError(f"schedule {text!r}: only a warmup goes over into another, as warmup:5+cosine")
    if plus:
        left = length - values.get("length", hyperparameters(Warmup)["length"])
        if left <= 0:
            raise ValueError(f"schedule {text!r}: the warmup leaves nothing of the {length:g} epochs for what follows")
        values["after"] = parse(rest, left)
    elif "length" in known and kind is not Warmup:
        values.setdefault("length", length)
    return kind(**values)


class Scheduled(Optimizer):
    """An optimizer whose lr is set before each step: the lr it came with, times schedule(time).

    unit: how many steps make a unit of the schedule's time; the steps of an epoch, for a schedule in epochs.
    """

    def __init__(self, optimizer: Any, schedule: Schedule, unit: float = 1) -> None:
        if not hasattr(optimizer, "lr"):
            raise ValueError(f"{type(optimizer).__name__} has no learning rate that a schedule could set")
        if not isinstance(schedule, Schedule):
            raise ValueError(f"schedule must be a Schedule, not {schedule!r}: write parse_schedule('cosine', length)")
        if not unit > 0:
            raise ValueError(f"unit must be above 0 steps, not {unit!r}")
        self.optimizer, self.schedule, self.unit = optimizer, schedule, unit
        self.peak = optimizer.lr

    @property
    def lr(self) -> float:
        """The lr of the last step; set, it is what the schedule's factor multiplies from now on."""
        return float(self.optimizer.lr)

    @lr.setter
    def lr(self, value: float) -> None:
        self.optimizer.lr = value
        self.peak = self.optimizer.lr

    @property
    def message(self) -> str:  # type: ignore[override]
        """The optimizer's."""
        return str(self.optimizer.message)

    def step(self, objective: Objective) -> float:
        time = self.t / self.unit
        try:
            vars(self.optimizer)["lr"] = self.peak * float(self.schedule(time))  # unchecked: a cosine ends at 0
        except OverflowError:
            raise ValueError(f"{self.schedule!r} has grown past every number at time {time:g}: end sooner") from None
        loss: float = self.optimizer.step(objective)
        if math.isfinite(loss):
            self.t += 1
            self.schedule.observe(time, loss)
        return loss

    def state(self) -> dict[str, Any]:
        return {"t": self.t, "peak": self.peak,
                **{f"optimizer.{name}": value for name, value in self.optimizer.state().items()},
                **{f"schedule.{name}": value for name, value in self.schedule.state().items()}}

    def restore(self, state: Mapping[str, Any], theta: Array) -> None:
        def part(prefix: str) -> dict[str, Any]:
            return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}

        self.t, self.peak = int(state["t"]), float(state["peak"])
        self.optimizer.restore(part("optimizer."), theta)
        self.schedule.restore(part("schedule."))

    def __repr__(self) -> str:
        return f"Scheduled({self.optimizer!r}, {self.schedule!r}, unit={self.unit!r})"
