"""register: adds layers, losses, optimizers and schedules of your own to the tables."""

from typing import Any, TypeVar

import nn
import optimizers

__all__ = ["register"]

Kind = TypeVar("Kind", bound=type)


def register(kind: Kind, name: str | None = None) -> Kind:
    """Add a layer, loss, optimizer or schedule of your own to the tables.

    It can then be saved and loaded in models, named in an Experiment, and is listed and tested like ours. A program
    that loads such a model registers the class first.

    Parameters
    ----------
    kind : type
        A class derived from Layer, Loss, Optimizer or Schedule.
    name : str, optional
        The name of an optimizer or schedule in its table; by default the name of the class in lower case. Layers and
        losses keep the name of their class.

    Returns
    -------
    type
        The class itself, so that `register` can be a decorator.

    Raises
    ------
    ValueError
        If `kind` is not such a class, or the name belongs to another class.

    Examples
    --------
    >>> import numpy as np
    >>> import feedforward as ff
    >>> @ff.register
    ... class SignSGD(ff.FirstOrder):
    ...     def update(self, theta, grad):
    ...         theta -= self.lr * np.sign(grad)
    >>> results = ff.Experiment("signsgd", dataset="digits", lr=0.001, epochs=2).run(progress=False)
    >>> results[0].name
    'signsgd'
    """
    registered: Any = kind
    if isinstance(kind, type) and issubclass(kind, (nn.Layer, nn.Loss)):
        if name not in (None, kind.__name__):
            raise ValueError(f"a layer or loss is saved by the name of its class, {kind.__name__}: leave out {name!r}")
        nn.register(registered)
    elif isinstance(kind, type) and issubclass(kind, (optimizers.Optimizer, optimizers.Schedule)):
        optimizers.register(registered, name)
    else:
        raise ValueError(f"register takes a class derived from Layer, Loss, Optimizer or Schedule, not {kind!r}")
    return kind
