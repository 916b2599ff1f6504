"""What the checks of layers, losses and optimizers share: Fault, and checks of how a class is written."""

from collections.abc import Callable
from dataclasses import fields
import inspect
import math
import numbers
from typing import Any

import numpy as np

from nn import parameter
from nn.fields import unset
from optimizers import array, scalar, vector
import optimizers.fields

ROUNDING = 1e-12  # the largest relative difference that rounding explains
DECLARATIONS: dict[Callable[..., Any], str] = {
    vector: "np.ndarray = vector()", array: "np.ndarray = array(lambda optimizer, P: ...)",
    scalar: "float = scalar(0.0)", parameter: "np.ndarray = parameter()", unset: "object = unset()",
    optimizers.fields.unset: "object = unset()"}


class Fault(AssertionError):
    """A failed check. Its message lacks the name of the class, which `feedforward.testing` adds."""


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest difference relative to the largest of b; infinity if the shapes differ or a number is NaN."""
    if a.shape != b.shape:
        return math.inf
    difference = float(np.abs(a - b).max(initial=0)) / max(float(np.abs(b).max(initial=0)), 1e-300)
    return difference if math.isfinite(difference) else math.inf


def _described(value: object) -> str:
    """Return what a method returned, in a few words."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    return "None" if value is None else f"an object of the class {type(value).__name__}"


def require_number(name: str, value: object) -> float:
    """Return what the method `name` returned; raise Fault if it is not a number."""
    if isinstance(value, numbers.Real):
        return float(value)
    raise Fault(f"{name} must return the loss, a number, but returned {_described(value)}")


def require_array(name: str, value: Any) -> np.ndarray:
    """Return what the method `name` returned; raise Fault if it is not an array."""
    if isinstance(value, np.ndarray):
        array: np.ndarray = value
        return array
    raise Fault(f"{name} must return an array, but returned {_described(value)}")


def require_dx(dx: np.ndarray | None) -> np.ndarray:
    """Return dx; raise Fault if it is None."""
    if dx is None:
        raise Fault("backward or backward_jvp returned None: it must return an array unless needs_dx is False")
    return dx


def require_out(name: str, value: object, out: np.ndarray) -> np.ndarray:
    """Return `out`; raise Fault if the method `name`, which must fill and return it, returned something else."""
    if value is out:
        return out
    returned = "another array" if isinstance(value, np.ndarray) else _described(value)
    raise Fault(f"{name} must return out, but returned {returned}: write to out, and return it")


def check_declarations(subject: Any) -> None:
    """Attributes are declared by calls, such as vector()."""
    for spec in fields(subject):
        for function, text in DECLARATIONS.items():
            if spec.default is function:
                raise Fault(f"{spec.name} is declared by {function.__name__} without parentheses: write {spec.name}: "
                            f"{text}")


def check_signatures(subject: Any, base: type) -> None:
    """Raise Fault if a method does not accept the arguments with which the method of `base` is called."""
    for name, method in inspect.getmembers(base, inspect.isfunction):
        arguments = list(inspect.signature(method).parameters.values())[1:]
        required = [argument.name for argument in arguments if argument.default is argument.empty]
        optional = {argument.name: argument.default for argument in arguments if argument.default is not argument.empty}
        if name.startswith("_"):
            continue
        try:
            inspect.signature(getattr(subject, name)).bind(*required, **optional)
        except TypeError:
            listed = ", ".join(["self", *required, *(f"{option}={value}" for option, value in optional.items())])
            raise Fault(f"{name} does not accept the arguments that it is called with: write def {name}({listed})"
                        ) from None


def check_description(subject: Any, difference: Callable[[Any], float]) -> None:
    """Raise Fault if the fields do not build an equal object; `difference` compares its results with the subject's."""
    described = subject.description()
    try:
        rebuilt = type(subject)(**described)
    except TypeError as error:
        raise Fault(f"the fields {described} do not build it again: {error}: annotate its attributes in the class, "
                    "which makes them fields") from None
    if rebuilt.description() != described or difference(rebuilt) > 0:
        raise Fault(f"a new object with the same fields {described} gives a result that differs by "
                    f"{difference(rebuilt):.1e}: annotate what determines the result in the class, which makes it a "
                    "field")


def check_annotations(subject: Any) -> None:
    """Numbers and texts in the class are annotated. Without an annotation they are not fields."""
    kinds = type(subject).__mro__
    for i, kind in enumerate(kinds):
        for name, value in vars(kind).items():
            inherited = any(name in vars(base) for base in kinds[i + 1 :])  # such as independent_rows
            if (isinstance(value, (numbers.Number, str)) and not name.startswith("_") and not inherited
                    and name not in inspect.get_annotations(kind)):
                written = type(value).__name__
                raise Fault(f"{name} = {value!r} is not a field, because it has no annotation: annotate it: {name}: "
                            f"{written} = {value!r} (a constant: {name}: ClassVar[{written}] = {value!r})")
