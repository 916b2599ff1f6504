"""State: the attributes that steps change, declared once, and therefore allocated, saved and restored in one place."""

from collections.abc import Callable
from dataclasses import field, fields
from typing import Any, Literal

SCALAR = {"scalar": True}  # the metadata of a number in the state


def array(shape: Callable[[Any, int], tuple[int, ...] | None], *, init: Literal[False] = False) -> Any:
    """Declare an array of theta's dtype that starts at zero.

    Parameters
    ----------
    shape : callable
        Called with the optimizer and P, the length of theta. It returns the shape, or None if the optimizer needs no
        such array with its current hyperparameters.
    init : False
        It tells type checkers that the attribute is not an argument of the constructor.

    Returns
    -------
    dataclasses.Field
        The field.

    Examples
    --------
    >>> import numpy as np
    >>> from optimizers import FirstOrder, array
    >>> class LastGradients(FirstOrder):
    ...     count: int = 3
    ...     gradients: np.ndarray = array(lambda optimizer, P: (optimizer.count, P))
    ...     def update(self, theta, grad):
    ...         self.gradients[self.t % self.count] = grad
    ...         theta -= self.lr * self.gradients.mean(axis=0)
    >>> LastGradients(count=5).arrays(P=100)
    {'gradients': (5, 100)}
    """
    return field(init=init, repr=False, metadata={"shape": shape})


def vector(when: str = "", *, init: Literal[False] = False) -> Any:
    """Declare a vector of theta's shape and dtype that starts at zero.

    Parameters
    ----------
    when : str, optional
        The name of a hyperparameter: the vector exists only while that is neither zero, False nor None.
    init : False
        It tells type checkers that the attribute is not an argument of the constructor.

    Returns
    -------
    dataclasses.Field
        The field.

    Examples
    --------
    >>> import numpy as np
    >>> from optimizers import FirstOrder, vector
    >>> class HeavyBall(FirstOrder):
    ...     velocity: np.ndarray = vector()
    ...     def update(self, theta, grad):
    ...         self.velocity *= 0.9
    ...         self.velocity -= self.lr * grad
    ...         theta += self.velocity
    >>> HeavyBall().arrays(P=100)
    {'velocity': (100,)}
    """
    return array(lambda optimizer, P: (P,) if not when or getattr(optimizer, when) else None, init=init)


def scalar(first: float, *, init: Literal[False] = False) -> Any:
    """Declare a number that is part of the state.

    Parameters
    ----------
    first : float or int
        The value before the first step.
    init : False
        It tells type checkers that the attribute is not an argument of the constructor.

    Returns
    -------
    dataclasses.Field
        The field.

    Examples
    --------
    >>> from optimizers import FirstOrder, scalar
    >>> class Slowing(FirstOrder):
    ...     rate: float = scalar(1.0)
    ...     def update(self, theta, grad):
    ...         theta -= self.lr * self.rate * grad
    ...         self.rate *= 0.99
    >>> Slowing().state()
    {'t': 0, 'rate': 1.0}
    """
    return field(init=init, repr=False, default=first, metadata=SCALAR)


def scalars(owner: Any) -> tuple[str, ...]:
    """Return the names of the numbers in the state.

    Parameters
    ----------
    owner : object
        An optimizer or a schedule.

    Returns
    -------
    tuple of str
        The names of the attributes declared with `scalar`.
    """
    return tuple(spec.name for spec in fields(owner) if "scalar" in spec.metadata)


def array_names(owner: Any) -> tuple[str, ...]:
    """Return the names of all declared arrays, whether or not they are needed.

    Parameters
    ----------
    owner : object
        An optimizer or a schedule.

    Returns
    -------
    tuple of str
        The names of the attributes declared with `array` or `vector`.
    """
    return tuple(spec.name for spec in fields(owner) if "shape" in spec.metadata)


def arrays(owner: Any, P: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the arrays that are needed.

    Parameters
    ----------
    owner : object
        An optimizer or a schedule.
    P : int
        The length of theta.

    Returns
    -------
    dict
        The shapes by name.
    """
    shapes = {spec.name: spec.metadata["shape"](owner, P) for spec in fields(owner) if "shape" in spec.metadata}
    return {name: shape for name, shape in shapes.items() if shape is not None}
