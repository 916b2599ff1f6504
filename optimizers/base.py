"""What an optimizer is: something that takes a step on a function of one flat vector."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
import math
import numbers
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from optimizers import fused

Array = NDArray[Any]


class Objective(Protocol):
    """A function of the vector `theta` (P,), which an optimizer changes in place. Everything is asked for at theta.

    Each optimizer asks only for what it needs, first-order ones for `value_and_gradient`.
    """

    theta: Array

    def value(self) -> float:
        """The value at theta."""

    def value_and_gradient(self) -> tuple[float, Array]:
        """The value at theta and the gradient (P,), a buffer that the caller may overwrite, as will the next call."""

    def hessian_product(self, v: Array) -> Array:
        """The Hessian times v (P,): a buffer, as all that follow."""

    def gauss_newton_product(self, v: Array) -> Array:
        """J^T H_L J v (P,): J the Jacobian of the model's outputs, H_L the Hessian of the loss with respect to them."""

    def residuals(self) -> Array:
        """r (M,), where the value is r^T r / 2."""

    def jacobian(self) -> Array:
        """The derivatives of the residuals, (M, P)."""


def number(default: float | None, *, above: float = -math.inf, least: float = -math.inf,
           below: float = math.inf, most: float = math.inf) -> Any:
    """A field for a hyperparameter, with its bounds: above < value, least <= value, value < below, value <= most; None
    where that is the default.
    """
    return field(default=default, metadata={"above": above, "least": least, "below": below, "most": most,
                                            "default": default})


def whole(default: int, *, least: int) -> Any:
    """A field for a hyperparameter that counts something: a whole number of at least `least`."""
    return field(default=default, metadata={"whole": least})


def choice(default: str, choices: Iterable[str]) -> Any:
    """A field for a hyperparameter that is one of several names."""
    return field(default=default, metadata={"choices": tuple(choices)})


def flag(default: bool) -> Any:
    """A field for a hyperparameter that is True or False."""
    return field(default=default, metadata={"choices": (True, False)})


def array(shape: Callable[[Any, int], tuple[int, ...] | None]) -> Any:
    """A field for state: an array of theta's dtype that begins at zero. `shape` is called with the optimizer and P, and
    gives None where the hyperparameters do not call for the array.
    """
    return field(init=False, repr=False, metadata={"shape": shape})


def vector(when: str = "") -> Any:
    """A field for state: a vector like theta that begins at zero; there only where the field `when` is set."""
    return array(lambda optimizer, P: (P,) if not when or getattr(optimizer, when) else None)


def scalar(first: float) -> Any:
    """A field for state that is a number and begins at `first`."""
    return field(init=False, repr=False, default=first, metadata={"scalar": True})


def hyperparameters(kind: "type[Declared] | Declared") -> dict[str, Any]:
    """The fields that users set, by name: of an object with their values, of a class with their defaults."""
    def default(spec: Any) -> Any:
        return spec.default if spec.default is not MISSING else spec.default_factory()

    return {spec.name: default(spec) if isinstance(kind, type) else getattr(kind, spec.name)
            for spec in fields(kind) if spec.init}


@dataclass(eq=False)
class Declared:
    """Something whose fields are declared once: numbers with their bounds, and state."""

    def __setattr__(self, name: str, value: Any) -> None:
        spec = type(self).__dataclass_fields__.get(name)
        super().__setattr__(name, self._checked(name, value, spec.metadata) if spec and spec.metadata else value)

    def _checked(self, name: str, value: Any, metadata: Mapping[str, Any]) -> Any:
        if "above" in metadata:
            return self._within_bounds(name, value, metadata)
        if "whole" in metadata:
            if isinstance(value, bool) or not (isinstance(value, numbers.Integral) and value >= metadata["whole"]):
                raise ValueError(f"{type(self).__name__}: {name} must be a whole number of at least "
                                 f"{metadata['whole']}, not {value!r}")
            return int(value)
        if "choices" in metadata and not any(type(value) is type(one) and value == one for one in metadata["choices"]):
            raise ValueError(f"{type(self).__name__}: {name} must be one of "
                             f"{', '.join(map(str, metadata['choices']))}, not {value!r}")
        return value

    def _within_bounds(self, name: str, value: Any, bounds: Mapping[str, Any]) -> float | None:
        if value is None and bounds["default"] is None:
            return None
        if isinstance(value, bool) or not (isinstance(value, numbers.Real) and math.isfinite(value)
                                           and bounds["above"] < value < bounds["below"]
                                           and bounds["least"] <= value <= bounds["most"]):
            words = (("above", "above"), ("least", "at least"), ("below", "below"), ("most", "at most"))
            allowed = " and ".join(f"{word} {bounds[key]:g}" for key, word in words if math.isfinite(bounds[key]))
            raise ValueError(f"{type(self).__name__}: {name} must be {allowed or 'a finite number'}, not {value!r}")
        return float(value)  # a NumPy scalar would turn float32 vectors into float64

    def scalars(self) -> tuple[str, ...]:
        """The names of the numbers that are state."""
        return tuple(spec.name for spec in fields(self) if "scalar" in spec.metadata)


@dataclass(eq=False, kw_only=True)
class Optimizer(Declared, ABC):
    """Hyperparameters are fields and may be changed between steps. State is fields too, each declared once, as a
    `vector`, an `array` or a `scalar`, and so allocated, saved and restored in one place.
    """

    t: int = scalar(0)  # steps taken
    message = ""  # why the last step could not move theta; empty where it could
    scratch: Array = field(init=False, repr=False)  # for what lies between two lines of a rule

    def arrays(self, P: int) -> dict[str, tuple[int, ...]]:
        """The vectors and arrays that these hyperparameters call for, by name, with their shapes for a theta (P,)."""
        shapes = {spec.name: spec.metadata["shape"](self, P) for spec in fields(self) if "shape" in spec.metadata}
        return {name: shape for name, shape in shapes.items() if shape is not None}

    def start(self, theta: Array) -> None:
        """Make the arrays of the state, for a vector like `theta`, unless they are there.

        Raises ValueError where they are there for another vector, of another length or dtype.
        """
        for name, shape in {"scratch": theta.shape, **self.arrays(theta.size)}.items():
            held = getattr(self, name, None)
            if held is None:
                setattr(self, name, np.zeros(shape, theta.dtype))
            elif self.scratch.shape != theta.shape or held.dtype != theta.dtype:
                raise ValueError(f"this {type(self).__name__} has taken steps on a vector of {self.scratch.size} "
                                 f"{held.dtype}, not of {theta.size} {theta.dtype}: make a new one for another model")
            elif held.shape != shape:
                raise ValueError(f"this {type(self).__name__} has taken steps with {name} of shape {held.shape}, not "
                                 f"{shape}: make a new one to change its size")

    @abstractmethod
    def step(self, objective: Objective) -> float:
        """Change objective.theta in place, once; returns the loss at the theta it began from."""

    def state(self) -> dict[str, Any]:
        """Everything that steps have left behind: scalars, and arrays (live, not copies) once there are any."""
        return {name: getattr(self, name) for name in (*self.scalars(), *self.arrays(0)) if hasattr(self, name)}

    def restore(self, state: Mapping[str, Any], theta: Array) -> None:
        """Go on from what `state` gave, on vectors like `theta`: bit for bit as if never interrupted.

        Raises ValueError where the names or the shapes are not this optimizer's.
        """
        scalars, arrays = self.scalars(), self.arrays(theta.size)
        if set(state) not in ({*scalars}, {*scalars, *arrays}):
            raise ValueError(f"{type(self).__name__}: its state is {', '.join((*scalars, *arrays))}, "
                             f"not {', '.join(state)}")
        self.start(theta)
        for name, value in state.items():
            if name in scalars:
                setattr(self, name, type(getattr(self, name))(value))
            elif value.shape != arrays[name] or value.dtype != theta.dtype:
                raise ValueError(f"{type(self).__name__}: its {name} is {value.dtype} {value.shape}, "
                                 f"not {theta.dtype} {arrays[name]}")
            else:
                np.copyto(getattr(self, name), value)


@dataclass(eq=False, kw_only=True)
class FirstOrder(Optimizer):
    """A rule that needs the gradient alone. It is one method, `update`, in a few in-place operations on whole vectors.

    `scratch` is a vector for what lies between them; the gradient may be overwritten as well. Where it is marked
    @elementwise it may be compiled to one loop: see optimizers.fused. Before each update the gradient g is, in this
    order, clipped to [-clip_value, clip_value] in each component, shortened to the length clip_norm if it is longer
    (Pascanu et al. 2013; torch's clip_grad_norm_ adds 1e-6 to the length), and given weight decay: g + weight_decay
    theta, the gradient of an L2 penalty weight_decay / 2 |theta|^2.
    """

    lr: float = number(0.01, above=0)
    weight_decay: float = number(0.0, least=0)
    clip_norm: float | None = number(None, above=0)
    clip_value: float | None = number(None, above=0)

    @abstractmethod
    def update(self, theta: Array, grad: Array) -> None:
        """One step from theta against grad, both (P,); self.t already counts it."""

    def step(self, objective: Objective) -> float:
        loss, grad = objective.value_and_gradient()
        if math.isfinite(loss):  # a loss that is not says nothing about where to go: theta and the state stay
            self.start(objective.theta)
            self.t += 1
            self.clip(grad)
            if fused.fits(self, objective.theta):
                fused.run(self, objective.theta, grad)
            else:
                self.move(objective.theta, grad)
        return loss

    def move(self, theta: Array, grad: Array) -> None:
        """Weight decay and the rule: what is done to each element by itself."""
        self.decay_weights(theta, grad)
        self.update(theta, grad)

    def clip(self, grad: Array) -> None:
        """Shorten the gradient as clip_value and clip_norm say."""
        if self.clip_value is not None:
            np.clip(grad, -self.clip_value, self.clip_value, out=grad)
        if self.clip_norm is not None and (norm := math.sqrt(np.dot(grad, grad))) > self.clip_norm:
            grad *= self.clip_norm / norm

    @fused.elementwise
    def decay_weights(self, theta: Array, grad: Array) -> None:
        """g := g + weight_decay theta"""
        if self.weight_decay:
            grad += np.multiply(theta, self.weight_decay, out=self.scratch)


@dataclass(frozen=True)
class Point:
    """What is known of an objective at one theta; the arrays are copies, for nobody to change."""

    objective: Objective
    theta: Array
    value: float
    gradient: Array


@dataclass(eq=False, kw_only=True)
class SecondOrder(Optimizer):
    """A method that looks at several points in a step. It keeps what it knows of the last one: where the next step
    begins there, on the same objective, nothing is computed twice.
    """

    def __getstate__(self) -> dict[str, Any]:
        """What a copy takes along: not the last point, which holds its objective, with data and threads of its own."""
        return {name: value for name, value in vars(self).items() if name != "_last"}

    def evaluate(self, objective: Objective) -> Point:
        """The objective's value and gradient at its theta, from memory where that is possible."""
        last: Point | None = getattr(self, "_last", None)
        if last is None or last.objective is not objective or not np.array_equal(last.theta, objective.theta):
            value, gradient = objective.value_and_gradient()
            last = self._last = Point(objective, objective.theta.copy(), value, gradient.copy())
        return last

    def move(self, objective: Objective, point: Point) -> None:
        """Set theta to a point that `evaluate` gave, and keep that point for the next step."""
        np.copyto(objective.theta, point.theta)
        self._last = point
