"""The tables of layers, activations and losses that files may name; `register` adds a class to them."""

from collections.abc import Mapping
import inspect
from typing import Any, TypeVar

from nn.activations import ELU, GELU, Elementwise, LeakyReLU, ReLU, Sigmoid, Softmax, Softplus, Tanh
from nn.fields import has_generated_constructor, lookup
from nn.layers import Dense, Dropout, Layer
from nn.losses import BinaryCrossEntropy, CrossEntropy, Loss, MeanSquaredError
from nn.scaling import Flatten, Rescale, Standardize

_activations: tuple[type[Layer], ...] = (ReLU, LeakyReLU, ELU, GELU, Tanh, Sigmoid, Softplus, Softmax)
_layers: tuple[type[Layer], ...] = (Dense, Dropout, *_activations, Flatten, Standardize, Rescale)
_losses: tuple[type[Loss], ...] = (CrossEntropy, BinaryCrossEntropy, MeanSquaredError)

ACTIVATIONS: dict[str, type[Layer]] = {kind.__name__.lower(): kind for kind in _activations}
"""The activations, by class name in lower case."""
LAYERS: dict[str, type[Layer]] = {kind.__name__: kind for kind in _layers}
"""All layers, by class name."""
LOSSES: dict[str, type[Loss]] = {kind.__name__: kind for kind in _losses}
"""All losses, by class name."""

Kind = TypeVar("Kind", type[Layer], type[Loss])


def register(kind: Kind) -> Kind:
    """Add a layer or loss class to the tables, so that models with it can be saved, loaded and listed.

    A program that loads such a model must register the class first. An elementwise layer is also added to
    `ACTIVATIONS`, by its name in lower case.

    Parameters
    ----------
    kind : type
        A class derived from `Layer` or `Loss`. Its annotated attributes are saved with a model.

    Returns
    -------
    type
        The class itself, so that `register` can be a decorator.

    Raises
    ------
    ValueError
        If it is not such a class, if it is abstract or defines __init__, or if another class has the same name. The
        same class may be registered again, even after it was defined again, as in a notebook.

    Examples
    --------
    >>> import numpy as np
    >>> from nn import ACTIVATIONS, Elementwise, register
    >>> @register
    ... class Sine(Elementwise):
    ...     def f(self, x, out):
    ...         return np.sin(x, out=out)
    ...     def df(self, x, y, out):
    ...         return np.cos(x, out=out)
    ...     def d2f(self, x, y, out):
    ...         return np.negative(y, out=out)
    >>> ACTIVATIONS["sine"]()
    Sine()
    """
    table = _table(kind)
    if missing := sorted(getattr(kind, "__abstractmethods__", ())):
        raise ValueError(f"register: {kind.__name__} is abstract: define its methods {', '.join(missing)}")
    if not has_generated_constructor(kind):
        raise ValueError(f"register: {kind.__name__} has an __init__ of its own, so a file cannot describe it: write "
                         "its arguments as annotated attributes")
    entries = [(table, kind.__name__)]
    if issubclass(kind, Elementwise):
        entries.append((ACTIVATIONS, kind.__name__.lower()))
    for names, name in entries:
        known = names.get(name, kind)
        if (known.__module__, known.__qualname__) != (kind.__module__, kind.__qualname__):
            raise ValueError(f"register: the name {name!r} belongs to {known.__module__}.{known.__qualname__}: choose "
                             "another name for the class")
    for names, name in entries:
        names[name] = kind
    return kind


def _table(kind: Any) -> dict[str, Any]:
    if inspect.isclass(kind) and issubclass(kind, Layer):
        return LAYERS
    if inspect.isclass(kind) and issubclass(kind, Loss):
        return LOSSES
    raise ValueError(f"register takes a class derived from Layer or Loss, not {kind!r}")


def is_registered(described: Layer | Loss) -> bool:
    """Return whether a file may name the class of this layer or loss."""
    kind = type(described)
    return _table(kind).get(kind.__name__) is kind


def describe(described: Layer | Loss) -> dict[str, Any]:
    """Return the class name and the fields of a layer or loss, as `build_layer` and `build_loss` read them."""
    what = "layer" if isinstance(described, Layer) else "loss"
    return {what: type(described).__name__, **described.description()}


def build_layer(description: Mapping[str, Any]) -> Layer:
    """Return the layer of a description. Raises ValueError or TypeError if its class or a field is not allowed."""
    layer: Layer = _build("layer", description, LAYERS)
    return layer


def build_loss(description: Mapping[str, Any]) -> Loss:
    """Return the loss of a description. Raises ValueError or TypeError if its class or a field is not allowed."""
    loss: Loss = _build("loss", description, LOSSES)
    return loss


def _build(what: str, description: Mapping[str, Any], table: Mapping[str, Any]) -> Any:
    values = dict(description)
    name = values.pop(what)
    try:
        kind = lookup(what, name, table)
    except ValueError as error:
        raise ValueError(f"{error}; if it is a class of your program, call nn.register with it before you load the "
                         "file") from None
    return kind(**values)
