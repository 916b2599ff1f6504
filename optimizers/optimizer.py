"""Optimizer: takes steps on a function of one flat vector, and keeps its state in arrays like that vector."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import field
from typing import Any, dataclass_transform

import numpy as np

from optimizers import state
from optimizers.fields import Declared, defaults, unset
from optimizers.objective import Objective
from optimizers.state import array, scalar, vector


def hyperparameters(optimizer: type[Declared] | Declared) -> dict[str, Any]:
    """Return the fields that users set, by name.

    Parameters
    ----------
    optimizer : type or object
        An optimizer or a schedule, or its class.

    Returns
    -------
    dict
        The values of an object; the default values of a class.

    Examples
    --------
    >>> from optimizers import GradientDescent, hyperparameters
    >>> hyperparameters(GradientDescent)
    {'lr': 0.01, 'weight_decay': 0.0, 'clip_norm': None, 'clip_value': None}
    >>> hyperparameters(GradientDescent(lr=0.5))["lr"]
    0.5
    """
    return defaults(optimizer) if isinstance(optimizer, type) else optimizer.description()


@dataclass_transform(eq_default=False, kw_only_default=True, field_specifiers=(array, vector, scalar, unset, field))
class Optimizer(Declared, ABC):
    """Base of all optimizers: `step` changes the vector of an objective.

    Hyperparameters are annotated attributes, checked against their types whenever they are set. They are keyword
    arguments of the constructor and may be changed between steps. State is annotated attributes too, declared as an
    `array`, a `vector` or a `scalar`.

    Attributes
    ----------
    t : int
        The number of steps taken.
    message : str
        Why the last step could not change theta; empty if it could.
    scratch : ndarray of shape (P,)
        A vector for intermediate results.

    Examples
    --------
    >>> import numpy as np
    >>> from optimizers import Function, Optimizer
    >>> class RandomSearch(Optimizer):
    ...     def step(self, objective):
    ...         self.start(objective.theta)
    ...         before, theta = objective.value(), objective.theta.copy()
    ...         if np.isfinite(before):
    ...             self.t += 1
    ...             objective.theta += np.random.default_rng(self.t).normal(size=theta.size)
    ...             if not objective.value() < before:
    ...                 objective.theta[:] = theta
    ...         return before
    >>> parabola, search = Function([3.0, 4.0], value=lambda theta: theta @ theta), RandomSearch()
    >>> for _ in range(100):
    ...     loss = search.step(parabola)
    >>> loss < 1
    True
    """

    keyword_only = True
    t: int = scalar(0)
    message: str = unset(default="")
    scratch: np.ndarray = unset()
    _theta: np.ndarray | None = unset(default=None)  # the vector that steps are taken on
    _ready: bool = unset(default=False)  # whether all arrays are there for the fields as they are now

    @abstractmethod
    def step(self, objective: Objective) -> float:
        """Change objective.theta in place, once.

        Parameters
        ----------
        objective : Objective
            The function to reduce. Its theta must be the vector of the last step, the same array.

        Returns
        -------
        float
            The value at the theta before the step. If it is not finite, neither theta nor the state changes.

        Raises
        ------
        ValueError
            If theta is another vector than in the last step; see `start`.
        """

    def arrays(self, P: int) -> dict[str, tuple[int, ...]]:
        """Return which arrays the state consists of.

        Parameters
        ----------
        P : int
            The length of theta.

        Returns
        -------
        dict
            The shape of each array, by the name of its attribute.
        """
        return state.arrays(self, P)

    def start(self, theta: np.ndarray) -> None:
        """Make the arrays of the state for `theta`, unless they exist. Every `step` calls this first.

        Parameters
        ----------
        theta : ndarray of shape (P,)
            The vector that steps will change.

        Raises
        ------
        ValueError
            If steps have been taken on another vector, or an array has another shape.
        """
        if self._ready and self._theta is theta:
            return
        needed = self.arrays(theta.size)
        for name, shape in {"scratch": theta.shape, **needed}.items():
            held: np.ndarray | None = getattr(self, name, None)
            if held is None:
                setattr(self, name, np.zeros(shape, theta.dtype))
            elif self.scratch.shape != theta.shape or held.dtype != theta.dtype:
                raise ValueError(f"this {type(self).__name__} has taken steps on a vector of {self.scratch.size} "
                                 f"{held.dtype}, not of {theta.size} {theta.dtype}: make a new one for another model")
            elif held.shape != shape:
                raise ValueError(f"this {type(self).__name__} has taken steps with {name} of shape {held.shape}, not "
                                 f"{shape}: make a new one to change its size")
        if self.t and self._theta is not None and self._theta is not theta:
            steps = "1 step" if self.t == 1 else f"{self.t} steps"
            raise ValueError(f"this {type(self).__name__} has taken {steps} on another vector: make a new one, or "
                             "write optimizer.restore(optimizer.state(), model.theta) to continue from its state")
        for name in set(state.array_names(self)) - set(needed):  # if it is needed again, it starts at zero again
            vars(self).pop(name, None)
        self._theta, self._ready = theta, True

    def state(self) -> dict[str, Any]:
        """Return everything that steps have left behind.

        Returns
        -------
        dict
            The numbers and, after the first step, the arrays, by name. The arrays are not copies.
        """
        if self._theta is not None:
            self.start(self._theta)  # hyperparameters that were changed since may need other arrays
        names = (*state.scalars(self), *self.arrays(0))
        return {name: getattr(self, name) for name in names if hasattr(self, name)}

    def restore(self, values: Mapping[str, Any], theta: np.ndarray) -> None:
        """Continue on `theta` from what `state` returned, bit for bit as if steps had not been interrupted.

        Parameters
        ----------
        values : mapping
            What `state` returned. If it holds no arrays, the arrays become zero.
        theta : ndarray of shape (P,)
            The vector that steps will change; it may be another one than before.

        Raises
        ------
        ValueError
            If the names, the shapes or the dtypes are not those of this optimizer for this theta.
        """
        numbers, arrays = state.scalars(self), self.arrays(theta.size)
        if set(values) not in ({*numbers}, {*numbers, *arrays}):
            raise ValueError(f"{type(self).__name__}: its state is {', '.join((*numbers, *arrays))}, "
                             f"not {', '.join(values)}")
        for name in set(values) & set(arrays):
            if values[name].shape != arrays[name] or values[name].dtype != theta.dtype:
                raise ValueError(f"{type(self).__name__}: its {name} is {values[name].dtype} {values[name].shape}, "
                                 f"not {theta.dtype} {arrays[name]}")
        self._theta = None
        self.start(theta)
        for name in numbers:
            setattr(self, name, type(getattr(self, name))(values[name]))
        for name in arrays:
            getattr(self, name)[...] = values.get(name, 0)

    def _field_changed(self) -> None:
        vars(self)["_ready"] = False  # the arrays may depend on it

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy keeps: not the vector, so that the copy may take steps on another one."""
        return {name: value for name, value in vars(self).items() if name not in ("_theta", "_ready")}
