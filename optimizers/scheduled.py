"""Scheduled: an optimizer whose learning rate follows a schedule."""

from collections.abc import Mapping
import copy
import math
from typing import Any

import numpy as np

from optimizers.objective import Objective
from optimizers.optimizer import Optimizer
from optimizers.schedules import Schedule


class Scheduled(Optimizer):
    """An optimizer whose lr is set before each step to its original lr times schedule(time).

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer that takes the steps. It must have a field `lr`.
    schedule : Schedule
        The schedule, which gives the factor of the lr.
    unit : float, default 1
        The number of steps in one unit of the schedule's time, above 0. It is 1 if time is measured in steps, and the
        number of steps in an epoch if time is measured in epochs.

    Attributes
    ----------
    lr : float
        The lr of the last step. If you set it, the schedule multiplies the new value from then on.

    Raises
    ------
    ValueError
        If an argument is not allowed.

    Notes
    -----
    ::

        lr := peak schedule(t / unit), t = 0, 1, ...

    peak is the lr of the optimizer at construction. A step whose loss is not finite does not increase t.

    Examples
    --------
    >>> from optimizers import Function, Scheduled, get, parse_schedule
    >>> optimizer = Scheduled(get("gd", lr=0.5), parse_schedule("exponential:0.1", 100))
    >>> f = Function([1.0], value=lambda theta: theta @ theta / 2, gradient=lambda theta: theta)
    >>> for _ in range(3):
    ...     loss = optimizer.step(f)
    ...     print(f"{optimizer.lr:.3f}")
    0.500
    0.050
    0.005
    """

    def __init__(self, optimizer: Any, schedule: Schedule, unit: float = 1) -> None:
        if not (isinstance(optimizer, Optimizer) and hasattr(optimizer, "lr")):
            raise ValueError(f"{type(optimizer).__name__} has no learning rate that a schedule could set: "
                             "write a first-order optimizer, such as get('adam')")
        if not isinstance(schedule, Schedule):
            raise ValueError(f"schedule must be a Schedule, not {schedule!r}: write parse_schedule('cosine', length)")
        if not unit > 0:
            raise ValueError(f"unit must be above 0 steps, not {unit!r}")
        self.optimizer, self.schedule, self.unit = optimizer, schedule, unit
        self.peak = optimizer.lr

    @property
    def lr(self) -> float:
        """The lr of the last step. If you set it, the schedule multiplies the new value from then on."""
        return float(self.optimizer.lr)

    @lr.setter
    def lr(self, value: float) -> None:
        self.optimizer.lr = value
        self.peak = self.optimizer.lr

    def step(self, objective: Objective) -> float:
        time = self.t / self.unit
        try:
            # vars skips the check of the field: lr must be above 0, but a cosine ends at 0
            vars(self.optimizer)["lr"] = self.peak * float(self.schedule(time))
        except OverflowError:
            raise ValueError(f"{self.schedule!r} overflows at time {time:g}: "
                             "write a schedule that grows less, or train for fewer epochs") from None
        loss: float = self.optimizer.step(objective)
        self.message = self.optimizer.message
        if math.isfinite(loss):
            self.t += 1
            self.schedule.observe(time, loss)
        return loss

    def changes_in_parts(self, theta: np.ndarray) -> bool:
        return self.optimizer.changes_in_parts(theta)

    def state(self) -> dict[str, Any]:
        return {"t": self.t, "peak": self.peak,
                **{f"optimizer.{name}": value for name, value in self.optimizer.state().items()},
                **{f"schedule.{name}": value for name, value in self.schedule.state().items()}}

    def restore(self, values: Mapping[str, Any], theta: np.ndarray) -> None:
        def part(prefix: str) -> dict[str, Any]:
            return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}

        own = ["t", "peak", *(f"schedule.{name}" for name in self.schedule.state())]
        unknown = [name for name in values if name not in own and not name.startswith("optimizer.")]
        if unknown or not set(own) <= set(values):
            raise ValueError(f"Scheduled: its state is {', '.join(own)} and that of its optimizer, "
                             f"not {', '.join(values)}")
        try:
            numbers = {name: float(values[name]) for name in own}
        except (TypeError, ValueError):
            raise ValueError(f"Scheduled: its {', '.join(own)} are numbers, not "
                             f"{', '.join(repr(values[name]) for name in own)}") from None
        self.optimizer.restore(part("optimizer."), theta)  # if it fails, nothing has changed
        self.schedule.restore(part("schedule."))
        self.t, self.peak = int(numbers["t"]), numbers["peak"]

    def __repr__(self) -> str:
        optimizer = copy.copy(self.optimizer)
        optimizer.lr = self.peak  # not that of the last step
        return f"Scheduled({optimizer!r}, {self.schedule!r}, unit={self.unit!r})"
