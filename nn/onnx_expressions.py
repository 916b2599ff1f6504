"""Expressions of several nodes in ONNX that one layer computes."""

from collections.abc import Callable, Sequence
import math
from typing import Any, NamedTuple

import numpy as np

from nn.activations import GELU, Softplus
from nn.layers import Layer

MAX_NODES = 12  # of an expression
CLOSE = 1e-6  # relative error of constants, which may be float32
X = "X"  # the output of the last layer


class Expression(NamedTuple):
    """An operator and its inputs: X, arrays, other expressions, or None for one that is left out."""

    operator: str
    inputs: Sequence[Any]

    def size(self) -> int:
        """Return the number of operators."""
        return 1 + sum(value.size() for value in self.inputs if isinstance(value, Expression))


def _is(value: float) -> Callable[[Any], bool]:
    """Return a function that says whether something is an array of this one number."""
    return lambda found: isinstance(found, np.ndarray) and found.size == 1 and found.ndim <= 1 and math.isclose(
        found.item(), value, rel_tol=CLOSE)


def _matches(found: Any, pattern: Any) -> bool:
    """Return whether an expression is that of a pattern; the order of summands and factors does not matter."""
    if callable(pattern):
        return bool(pattern(found))
    if isinstance(pattern, str):
        return isinstance(found, str)
    if not isinstance(found, Expression) or found.operator != pattern[0] or len(found.inputs) != len(pattern) - 1:
        return False
    orders = [found.inputs, found.inputs[::-1]] if found.operator in ("Add", "Mul") else [found.inputs]
    return any(all(map(_matches, order, pattern[1:])) for order in orders)


def _gelu() -> list[tuple[Any, ...]]:
    """Return the forms of x (1 + erf(x / sqrt(2))) / 2."""
    half_x, forms = ("Mul", X, _is(0.5)), []
    for argument in (("Div", X, _is(math.sqrt(2))), ("Mul", X, _is(math.sqrt(0.5)))):
        erf = ("Erf", argument)
        sum_ = ("Add", erf, _is(1))
        forms += [("Mul", ("Mul", X, sum_), _is(0.5)), ("Mul", half_x, sum_), ("Mul", X, ("Mul", sum_, _is(0.5))),
                  ("Add", half_x, ("Mul", half_x, erf))]
    return forms


PATTERNS: list[tuple[tuple[Any, ...], type[Layer]]] = [
    *((form, GELU) for form in _gelu()),
    # torch's Softplus(x) is x above its threshold: the difference is below 3e-9
    (("Where", ("Greater", X, _is(20)), X, ("Softplus", X)), Softplus),
]
"""Expressions, and the layers that compute them."""
OPERATORS = {"Add", "Sub", "Mul", "Div", "Erf", "Greater", "Where", "Softplus"}  # of which they consist


def layer_of(found: Expression) -> Layer | None:
    """Return the layer that computes an expression of several operators; None if there is none."""
    return next((kind() for pattern, kind in PATTERNS if _matches(found, pattern)), None)
