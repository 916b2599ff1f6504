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
    """Return the hyperparameters, the fields that users set, by name.

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
    arguments of the constructor and may be changed between steps. The state is also made of annotated attributes,
    declared with `array`, `vector` or `scalar`.

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
    t: int = unset(default=0, metadata=state.SCALAR)  # in this class pyright knows no other specifier than unset
    message: str = unset(default="")
    scratch: np.ndarray = unset()
    _theta: np.ndarray | None = unset(default=None)  # the vector that steps are taken on
    _vectors: tuple[str, ...] = unset(default=())  # the names of those arrays that have theta's shape
    _ready: bool = unset(default=False)  # whether all arrays exist that the current fields need

    @abstractmethod
    def step(self, objective: Objective) -> float:
        """Change objective.theta in place, once.

        Parameters
        ----------
        objective : Objective
            The function to minimize. Its theta must be the same array as in the last step.

        Returns
        -------
        float
            The value before the step. If it is not finite, neither theta nor the state changes.

        Raises
        ------
        ValueError
            If theta is another vector than in the last step; see `start`.
        """

    def changes_in_parts(self, theta: np.ndarray) -> bool:
        """Return whether `step` changes theta only through `Objective.value_and_gradient_parts`, called once.

        Parameters
        ----------
        theta : ndarray of shape (P,)
            The vector that steps change.

        Returns
        -------
        bool
            By default False. Training then copies theta before each step, so that the step can be undone.
        """
        return False

    def arrays(self, P: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the arrays in the state.

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

    def vectors(self) -> dict[str, np.ndarray]:
        """Return the vectors of theta's shape that the optimizer has after `start`: its state and `scratch`.

        Returns
        -------
        dict
            The vectors by the name of their attribute. They are not copies.
        """
        return {name: vars(self)[name] for name in self._vectors}

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
        self._check_arrays(theta)
        if self.t and self._theta is not None and self._theta is not theta:
            steps = "1 step" if self.t == 1 else f"{self.t} steps"
            raise ValueError(f"this {type(self).__name__} has taken {steps} on another vector: make a new one, or "
                             "write optimizer.restore(optimizer.state(), model.theta) to continue from its state")
        self._make_arrays(theta)
        self._theta, self._ready = theta, True

    def _existing_arrays(self, P: int) -> dict[str, tuple[np.ndarray, tuple[int, ...]]]:
        """Return each needed array that exists, and the shape that it needs for a theta of length P, by name."""
        needed = {"scratch": (P,), **self.arrays(P)}
        return {name: (vars(self)[name], shape) for name, shape in needed.items() if name in vars(self)}

    def _check_arrays(self, theta: np.ndarray) -> None:
        """Check that the arrays, if they hold a state, are those for `theta`."""
        if not self.t or "scratch" not in vars(self):
            return
        for name, (existing, shape) in self._existing_arrays(theta.size).items():
            if self.scratch.shape != theta.shape or existing.dtype != theta.dtype:
                raise ValueError(f"this {type(self).__name__} has taken steps on a vector of {self.scratch.size} "
                                 f"{existing.dtype}, not of {theta.size} {theta.dtype}: make a new one for another "
                                 "model")
            if existing.shape != shape:
                raise ValueError(f"this {type(self).__name__} has taken steps with {name} of shape {existing.shape}, "
                                 f"not {shape}: make a new one to change its size")

    def _make_arrays(self, theta: np.ndarray) -> None:
        """Make the arrays for `theta` that do not exist, and delete those that are not needed."""
        needed = {"scratch": theta.shape, **self.arrays(theta.size)}
        fitting = {name for name, (existing, shape) in self._existing_arrays(theta.size).items()
                   if existing.shape == shape and existing.dtype == theta.dtype}
        for name in {"scratch", *state.array_names(self)} - fitting:  # one that is needed again starts at zero again
            vars(self).pop(name, None)
        for name in [name for name in needed if name not in fitting]:
            setattr(self, name, np.zeros(needed[name], theta.dtype))
        self._vectors = tuple(name for name, shape in needed.items() if shape == theta.shape)

    def state(self) -> dict[str, Any]:
        """Return everything that the next step depends on.

        Returns
        -------
        dict
            The numbers and, after the first step, the arrays, by name. The arrays are not copies.
        """
        if "scratch" in vars(self):  # hyperparameters that were changed since the last step may need other arrays
            self._check_arrays(self.scratch)
            self._make_arrays(self.scratch)
        names = (*state.scalars(self), *self.arrays(0))
        return {name: getattr(self, name) for name in names if hasattr(self, name)}

    def restore(self, values: Mapping[str, Any], theta: np.ndarray) -> None:
        """Continue on `theta` from a state, bit for bit as if the steps had not been interrupted.

        Parameters
        ----------
        values : mapping
            The state, from `state`. If it holds no arrays, the arrays become zero.
        theta : ndarray of shape (P,)
            The vector that steps will change. It may be another one than before, also of another length or dtype.

        Raises
        ------
        ValueError
            If `theta` is not a vector, or if the names, the shapes or the dtypes are not those of this optimizer for
            this theta. Nothing has then changed.
        """
        if not isinstance(theta, np.ndarray):
            raise ValueError(f"{type(self).__name__}: restore takes the vector that steps will change, not {theta!r}: "
                             "write restore(state, objective.theta)")
        restored = self._check_state(values, theta)
        before = dict(vars(self))
        try:
            self.t = 0  # `start` then accepts any vector, as that of a new optimizer does
            self.start(theta)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise
        for name in state.scalars(self):
            setattr(self, name, restored[name])
        for name in self.arrays(theta.size):
            getattr(self, name)[...] = restored.get(name, 0)

    def _check_state(self, values: Mapping[str, Any], theta: np.ndarray) -> dict[str, Any]:
        """Return the numbers and arrays of a state, after checking that they fit this optimizer and `theta`."""
        owner, numbers, arrays = type(self).__name__, state.scalars(self), self.arrays(theta.size)
        if set(values) not in ({*numbers}, {*numbers, *arrays}):
            raise ValueError(f"{owner}: its state is {', '.join((*numbers, *arrays))}, not {', '.join(values)}")
        restored: dict[str, Any] = {}
        for name in numbers:
            try:
                restored[name] = type(getattr(self, name))(values[name])
            except (TypeError, ValueError):
                raise ValueError(f"{owner}: its {name} is a number, not {values[name]!r}") from None
        for name in set(values) & set(arrays):
            array = restored[name] = np.asarray(values[name])
            if array.shape != arrays[name] or array.dtype != theta.dtype:
                raise ValueError(f"{owner}: its {name} is {array.dtype} {array.shape}, not {theta.dtype} "
                                 f"{arrays[name]}")
        return restored

    def _field_changed(self) -> None:
        vars(self)["_ready"] = False  # the arrays may depend on it

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes of a copy: all but the vector, so that the copy may take steps on another vector."""
        return {name: value for name, value in vars(self).items() if name not in ("_theta", "_ready")}
