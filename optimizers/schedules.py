"""Learning rate schedules: each is a factor of the optimizer's lr, as a function of time.

Time starts at 0 and is measured in steps or in epochs: `Scheduled` knows the number of steps in a unit of time, and
sets the lr before each step. Schedules and optimizers do not depend on each other.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import field
import math
from typing import Any, dataclass_transform

from optimizers.fields import Declared, NonNegative, Positive, PositiveFraction, unset
from optimizers.state import scalar, scalars


@dataclass_transform(eq_default=False, field_specifiers=(scalar, unset, field))
class Schedule(Declared, ABC):
    """Base of all schedules: the factor of the learning rate at a time.

    Examples
    --------
    >>> from optimizers import Schedule
    >>> class Linear(Schedule):
    ...     length: float = 100.0
    ...     def __call__(self, time):
    ...         return max(0.0, 1 - time / self.length)
    >>> Linear(length=10)(5)
    0.5
    """

    @abstractmethod
    def __call__(self, time: float) -> float:
        """Return the factor of the learning rate.

        Parameters
        ----------
        time : float
            The time in units of the schedule, at least 0.

        Returns
        -------
        float
            The factor, at least 0.
        """

    def observe(self, time: float, loss: float) -> None:
        """Record the loss of a step. Most schedules ignore it.

        Parameters
        ----------
        time : float
            The time of the step.
        loss : float
            The loss before the step.
        """

    def state(self) -> dict[str, float]:
        """Return what `observe` has recorded.

        Returns
        -------
        dict
            Numbers by name.
        """
        return {name: getattr(self, name) for name in scalars(self)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a state.

        Parameters
        ----------
        state : mapping
            The state, from `state`.
        """
        for name in scalars(self):
            setattr(self, name, float(state[name]))


class Constant(Schedule):
    """Constant: 1 at all times."""

    def __call__(self, time: float) -> float:
        return 1.0


class Step(Schedule):
    """Steps: decay^floor(time / every).

    Parameters
    ----------
    decay : float, default 0.1
        The factor of each step, above 0.
    every : float, default 30.0
        The time between two steps, above 0.
    """

    decay: Positive = 0.1
    every: Positive = 30.0

    def __call__(self, time: float) -> float:
        return self.decay ** math.floor(time / self.every)


class Exponential(Schedule):
    """Exponential: decay^time.

    Parameters
    ----------
    decay : float, default 0.95
        The factor of each unit of time, above 0.
    """

    decay: Positive = 0.95

    def __call__(self, time: float) -> float:
        return float(self.decay**time)


class InverseTime(Schedule):
    """Inverse of the time: 1 / (1 + decay time).

    Parameters
    ----------
    decay : float, default 1.0
        How fast the factor decreases, above 0.

    Notes
    -----
    Stochastic gradient descent converges with rates like this one (Robbins & Monro 1951).

    References
    ----------
    Robbins, H., & Monro, S. (1951). A stochastic approximation method. Annals of Mathematical Statistics 22(3),
    400-407.
    """

    decay: Positive = 1.0

    def __call__(self, time: float) -> float:
        return 1 / (1 + self.decay * time)


class InverseSqrt(Schedule):
    """Inverse of the root of the time: 1 / sqrt(1 + time / scale).

    Parameters
    ----------
    scale : float, default 1.0
        The time at which the factor is 1 / sqrt(2), above 0.

    Notes
    -----
    If time is measured in steps, scale 1 gives the rate 1 / sqrt(t) of Kingma & Ba (2015).

    References
    ----------
    Kingma, D. P., & Ba, J. (2015). Adam: a method for stochastic optimization. ICLR 2015, arXiv:1412.6980.
    """

    scale: Positive = 1.0

    def __call__(self, time: float) -> float:
        return 1 / math.sqrt(1 + time / self.scale)


class Cosine(Schedule):
    """Half a period of a cosine: end + (1 - end) (1 + cos(pi time / length)) / 2 until length, then constant.

    Parameters
    ----------
    length : float, default 100.0
        The time at which the factor reaches `end`, above 0.
    end : float, default 0.0
        The last factor, at least 0.

    Notes
    -----
    There are no restarts.

    References
    ----------
    Loshchilov, I., & Hutter, F. (2017). SGDR: stochastic gradient descent with warm restarts. ICLR 2017.
    """

    length: Positive = 100.0
    end: NonNegative = 0.0

    def __call__(self, time: float) -> float:
        return self.end + (1 - self.end) * (1 + math.cos(math.pi * min(time / self.length, 1))) / 2


class OneCycle(Schedule):
    """One cycle: from 1/25 to 1 in the first 30 % of length, then to 1/250,000; each is half a period of a cosine.

    Parameters
    ----------
    length : float, default 100.0
        The time at which the factor reaches 1/250,000, above 0.

    Notes
    -----
    The numbers are those of torch and fast.ai.

    References
    ----------
    Smith, L. N., & Topin, N. (2018). Super-convergence: very fast training of neural networks using large learning
    rates. arXiv:1708.07120.
    """

    length: Positive = 100.0

    def __call__(self, time: float) -> float:
        low, end, peak = 1 / 25, 1 / 250_000, 0.3 * self.length
        if time < peak:
            return low + (1 - low) * (1 - math.cos(math.pi * time / peak)) / 2
        return end + (1 - end) * (1 + math.cos(math.pi * min((time - peak) / (self.length - peak), 1))) / 2


class Plateau(Schedule):
    """Multiply by decay if the mean loss has not been below its best value for `patience` units of time.

    Parameters
    ----------
    decay : float, default 0.1
        The factor of each decrease, in (0, 1).
    patience : float, default 10.0
        The number of units of time without a lower loss before a decrease, above 0.
    """

    decay: PositiveFraction = 0.1
    patience: Positive = 10.0
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


class Warmup(Schedule):
    """Warmup: a linear increase from 1/100 to 1, and then another schedule, whose time starts at its end.

    Parameters
    ----------
    length : float, default 5.0
        The time at which the factor reaches 1, above 0.
    after : Schedule, default Constant()
        The schedule that follows.

    References
    ----------
    Goyal, P., et al. (2017). Accurate, large minibatch SGD: training ImageNet in 1 hour. arXiv:1706.02677.
    """

    length: Positive = 5.0
    after: Schedule = field(default_factory=Constant)

    def __post_init__(self) -> None:
        if not isinstance(self.after, Schedule):
            raise ValueError(f"Warmup: after must be a Schedule, not {self.after!r}: "
                             "write parse_schedule('warmup:5+cosine', length)")

    def __call__(self, time: float) -> float:
        return 0.01 + 0.99 * time / self.length if time < self.length else self.after(time - self.length)

    def observe(self, time: float, loss: float) -> None:
        if time >= self.length:
            self.after.observe(time - self.length, loss)

    def state(self) -> dict[str, float]:
        return self.after.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        self.after.restore(state)
