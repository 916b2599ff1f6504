"""Scheduled: an optimizer whose learning rate follows a schedule."""

from collections.abc import Mapping
import math
from typing import Any

import numpy as np

from optimizers.objective import Objective
from optimizers.optimizer import Optimizer
from optimizers.schedules import Schedule


class Scheduled(Optimizer):
    """An optimizer whose lr is set before each step, to its first lr times schedule(time).

    Parameters
    ----------
    optimizer : Optimizer
        The optimizer that takes the steps. It must have a field `lr`.
    schedule : Schedule
        The factor of the lr.
    unit : float, default 1
        The number of steps in a unit of the schedule's time, above 0: 1 if the time is measured in steps, the number of
        steps in an epoch if it is measured in epochs.

    Attributes
    ----------
    lr : float
        The lr of the last step. If you set it, the schedule multiplies the new value from then on.

    Raises
    ------
    ValueError
        If an argument is wrong.

    Notes
    -----
    ::

        lr := peak schedule(t / unit), t = 0, 1, ...

    peak is the lr of the optimizer when it is passed. A step whose loss is not finite takes no time.

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
            # vars: lr is not checked, because it must be above 0, and a cosine ends at 0
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

    def state(self) -> dict[str, Any]:
        return {"t": self.t, "peak": self.peak,
                **{f"optimizer.{name}": value for name, value in self.optimizer.state().items()},
                **{f"schedule.{name}": value for name, value in self.schedule.state().items()}}

    def restore(self, values: Mapping[str, Any], theta: np.ndarray) -> None:
        def part(prefix: str) -> dict[str, Any]:
            return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}

        own = ["t", "peak", *(f"schedule.{name}" for name in self.schedule.state())]
        others = [name for name in values if name not in own and not name.startswith("optimizer.")]
        if others or not set(own) <= set(values):
            raise ValueError(f"Scheduled: its state is {', '.join(own)} and that of its optimizer, "
                             f"not {', '.join(values)}")
        self.t, self.peak = int(values["t"]), float(values["peak"])
        self.optimizer.restore(part("optimizer."), theta)
        self.schedule.restore(part("schedule."))

    def __repr__(self) -> str:
        return f"Scheduled({self.optimizer!r}, {self.schedule!r}, unit={self.unit!r})"
