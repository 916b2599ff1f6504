"""What an optimizer is: something that takes a step on a function of one flat vector."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
import math
import numbers
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Objective(Protocol):
    """A function of the vector `theta` (P,), which an optimizer changes in place.

    Each optimizer asks only for what it needs, first-order ones for `value_and_gradient`.
    """

    theta: Array

    def value(self) -> float:
        """The value at theta."""

    def value_and_gradient(self) -> tuple[float, Array]:
        """The value at theta and the gradient (P,), a buffer that the caller may overwrite, as will the next call."""


def number(default: float, *, above: float = -math.inf, least: float = -math.inf, below: float = math.inf) -> Any:
    """A dataclass field for a hyperparameter, with its bounds: above < value, least <= value, value < below."""
    return field(default=default, metadata={"above": above, "least": least, "below": below})


@dataclass(eq=False, kw_only=True)
class Optimizer(ABC):
    """Hyperparameters are the dataclass fields and may be changed between steps; all else is state.

    State is declared once and so allocated, saved and restored in one place: `vectors` names arrays like theta, which
    begin at zero, and `scalars` names numbers, whose class attributes say where they begin.
    """

    scalars: ClassVar[tuple[str, ...]] = ("t",)
    t = 0  # steps taken

    def __post_init__(self) -> None:
        for spec in fields(self):
            bounds, value = spec.metadata, getattr(self, spec.name)
            if not bounds or value is None and spec.default is None:
                continue
            if (not isinstance(value, numbers.Real) or isinstance(value, bool) or not math.isfinite(value)
                    or not bounds["above"] < value < bounds["below"] or not bounds["least"] <= value):
                raise ValueError(f"{type(self).__name__}: {spec.name} must be {_bounds(bounds)}, not {value!r}")
            setattr(self, spec.name, float(value))  # a NumPy scalar would turn float32 vectors into float64

    def vectors(self) -> tuple[str, ...]:
        """The names of the state's vectors; they may depend on the fields."""
        return ()

    def start(self, theta: Array) -> None:
        """Make the state for vectors like `theta`, unless it is there. Raises ValueError where it is another's."""
        names = self.vectors()
        if hasattr(self, "scratch") and self.scratch.shape == theta.shape and self.scratch.dtype == theta.dtype:
            if all(hasattr(self, name) for name in names):
                return
        elif hasattr(self, "scratch"):
            raise ValueError(f"this {type(self).__name__} has taken steps on a vector of {self.scratch.size} "
                             f"{self.scratch.dtype}, not of {theta.size} {theta.dtype}: make a new one for another model")
        for name in names:
            setattr(self, name, np.zeros_like(theta))
        self.scratch = np.zeros_like(theta)

    @abstractmethod
    def step(self, objective: Objective) -> float:
        """Change objective.theta in place, once; returns the loss at the theta it began from."""

    def state(self) -> dict[str, Any]:
        """Everything that steps have left behind: scalars, and vectors (live, not copies) once there are any."""
        names = (*self.scalars, *(name for name in self.vectors() if hasattr(self, name)))
        return {name: getattr(self, name) for name in names}

    def restore(self, state: Mapping[str, Any], theta: Array) -> None:
        """Go on from what `state` gave, on vectors like `theta`: bit for bit as if never interrupted.

        Raises ValueError where the names or the shapes are not this optimizer's.
        """
        expected = {*self.scalars, *(self.vectors() if len(state) > len(self.scalars) else ())}
        if set(state) != expected:
            raise ValueError(f"{type(self).__name__}: its state is {sorted(expected)}, not {sorted(state)}")
        self.start(theta)
        for name in self.scalars:
            setattr(self, name, type(getattr(self, name))(state[name]))
        for name in expected - set(self.scalars):
            if state[name].shape != theta.shape or state[name].dtype != theta.dtype:
                raise ValueError(f"{type(self).__name__}: its {name} is {state[name].dtype} {state[name].shape}, "
                                 f"not {theta.dtype} {theta.shape}")
            np.copyto(getattr(self, name), state[name])


def _bounds(bounds: Mapping[str, float]) -> str:
    words = [f"{word} {bounds[name]:g}" for name, word in (("above", "above"), ("least", "at least"), ("below", "below"))
             if math.isfinite(bounds[name])]
    return " and ".join(words) or "a finite number"


@dataclass(eq=False, kw_only=True)
class FirstOrder(Optimizer):
    """A rule that needs the gradient alone. It is one method, `update`, in a few in-place operations on whole vectors.

    `scratch` is a vector for what lies between them; the gradient may be overwritten as well.
    """

    lr: float = number(0.01, above=0)

    @abstractmethod
    def update(self, theta: Array, grad: Array) -> None:
        """One step from theta against grad, both (P,); self.t already counts it."""

    def step(self, objective: Objective) -> float:
        loss, grad = objective.value_and_gradient()
        if math.isfinite(loss):  # a loss that is not says nothing about where to go: theta and the state stay
            self.start(objective.theta)
            self.t += 1
            self.update(objective.theta, grad)
        return loss
