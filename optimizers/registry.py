"""The tables of optimizers and schedules: get and parse_schedule make them by name, register adds your own."""

from dataclasses import MISSING
import inspect
import re
from typing import Any, TypeVar

from optimizers.conjugate_gradient import ConjugateGradient
from optimizers.fields import defaults, lookup, unknown_field
from optimizers.first_order import (
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    AMSGrad,
    GradientDescent,
    Momentum,
    Nadam,
    Nesterov,
    RMSprop,
)
from optimizers.levenberg_marquardt import LevenbergMarquardt
from optimizers.newton import Newton
from optimizers.optimizer import Optimizer, hyperparameters
from optimizers.quasi_newton import BFGS, LBFGS
from optimizers.schedules import (
    Constant,
    Cosine,
    Exponential,
    InverseSqrt,
    InverseTime,
    OneCycle,
    Plateau,
    Schedule,
    Step,
    Warmup,
)

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "gd": GradientDescent,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "adagrad": Adagrad,
    "adadelta": Adadelta,
    "rmsprop": RMSprop,
    "adam": Adam,
    "adamw": AdamW,
    "adamax": Adamax,
    "nadam": Nadam,
    "amsgrad": AMSGrad,
    "newton": Newton,
    "cg": ConjugateGradient,
    "bfgs": BFGS,
    "lbfgs": LBFGS,
    "lm": LevenbergMarquardt,
}

SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "step": Step,
    "exponential": Exponential,
    "inverse-time": InverseTime,
    "inverse-sqrt": InverseSqrt,
    "cosine": Cosine,
    "one-cycle": OneCycle,
    "plateau": Plateau,
    "warmup": Warmup,
}

Kind = TypeVar("Kind", type[Optimizer], type[Schedule])


def get(name: str, **values: Any) -> Optimizer:
    """Make an optimizer.

    Parameters
    ----------
    name : str
        A key of OPTIMIZERS, such as "adam".
    **values
        The values of its fields, such as ``lr=0.01``. `hyperparameters` returns the fields and their defaults.

    Returns
    -------
    Optimizer
        A new optimizer, without state.

    Raises
    ------
    ValueError
        If the name is unknown (the message lists the names), if a field is unknown (the message lists the fields), or
        if a value is not allowed (the message says which values are allowed).

    Examples
    --------
    >>> from optimizers import get
    >>> get("momentum", lr=0.1)
    Momentum(lr=0.1, weight_decay=0.0, clip_norm=None, clip_value=None, momentum=0.9)
    """
    kind = lookup("optimizer", name, OPTIMIZERS)
    known = tuple(hyperparameters(kind))
    for field in values:
        if field not in known:
            raise ValueError(unknown_field(name, field, known, kind.advice))
    optimizer: Optimizer = kind(**values)
    return optimizer


def parse_schedule(text: str, length: float) -> Schedule:
    """Make the schedule that a text describes.

    Parameters
    ----------
    text : str
        A key of SCHEDULES and its fields in order, such as "step:0.5:10". "warmup:5+cosine" is a warmup followed by
        another schedule.
    length : float
        The number of epochs, above 0. It is the field `length` of the schedule if the text does not give one.

    Returns
    -------
    Schedule
        A new schedule.

    Raises
    ------
    ValueError
        If the text does not describe a schedule.

    Examples
    --------
    >>> from optimizers import parse_schedule
    >>> parse_schedule("step:0.5:10", 100)
    Step(decay=0.5, every=10.0)
    >>> parse_schedule("warmup:5+cosine", 100)
    Warmup(length=5.0, after=Cosine(length=95.0, end=0.0))
    """
    first, plus, rest = text.partition("+")
    name, *numbers = first.split(":")
    kind = lookup("schedule", name, SCHEDULES)
    known = [key for key in defaults(kind) if key != "after"]
    if len(numbers) > len(known):
        raise ValueError(f"schedule {first!r}: {name} takes {':'.join(known) or 'no numbers'}")
    try:
        values: dict[str, Any] = {key: float(number) for key, number in zip(known, numbers)}
    except ValueError:
        raise ValueError(f"schedule {first!r}: {name} takes numbers: write {':'.join((name, *known))}") from None
    if plus and kind is not Warmup:
        raise ValueError(f"schedule {text!r}: only a warmup can be followed by another schedule: write warmup:5+cosine")
    if plus:
        remaining = length - values.get("length", defaults(Warmup)["length"])
        if remaining <= 0:
            raise ValueError(f"schedule {text!r}: the warmup takes all {length:g} epochs: write a shorter one")
        values["after"] = parse_schedule(rest, remaining)
    elif "length" in known and kind is not Warmup:
        values.setdefault("length", length)
    schedule: Schedule = kind(**values)
    return schedule


def register(kind: Kind, name: str | None = None) -> Kind:
    """Add an optimizer or a schedule of your own to the table that `get` and the command line read.

    Parameters
    ----------
    kind : type
        A class derived from `Optimizer`, `FirstOrder` or `Schedule`.
    name : str, optional
        Its name in the table, made of letters, digits, "-" and "_", but not "all"; the name of the class in lower case
        by default.

    Returns
    -------
    type
        The class itself, so that `register` can be a decorator.

    Raises
    ------
    ValueError
        If `kind` is not such a class, if it is abstract, if one of its fields has no default, if the name is not
        allowed, or if the name belongs to another class.

    Examples
    --------
    >>> import numpy as np
    >>> from optimizers import FirstOrder, get, register
    >>> @register
    ... class SignDescent(FirstOrder):
    ...     def update(self, theta, grad):
    ...         theta -= self.lr * np.sign(grad)
    >>> get("signdescent", lr=0.1)
    SignDescent(lr=0.1, weight_decay=0.0, clip_norm=None, clip_value=None)
    """
    tables: tuple[tuple[type, dict[str, Any]], ...] = ((Optimizer, OPTIMIZERS), (Schedule, SCHEDULES))
    table = next((table for base, table in tables if isinstance(kind, type) and issubclass(kind, base)), None)
    if table is None:
        raise ValueError(f"register takes a class derived from Optimizer or Schedule, not {kind!r}")
    _check_can_be_made(kind)
    name = _check_name(kind.__name__.lower() if name is None else name)
    known = table.get(name, kind)
    if (known.__module__, known.__qualname__) != (kind.__module__, kind.__qualname__):
        raise ValueError(f"the name {name!r} belongs to {known.__qualname__}: register {kind.__name__} by another name")
    table[name] = kind
    return kind


def _check_can_be_made(kind: Any) -> None:
    """Check that the class makes objects without any argument."""
    if missing := sorted(getattr(kind, "__abstractmethods__", ())):
        raise ValueError(f"register: {kind.__name__} is abstract: define its methods {', '.join(missing)}")
    arguments = list(inspect.signature(kind.__init__).parameters.values())[1:]
    required = [argument.name for argument in arguments if argument.default is argument.empty
                and argument.kind not in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD)]
    required += [name for name, value in defaults(kind).items() if value is MISSING and name not in required]
    if required:
        raise ValueError(f"register: {kind.__name__} has no default for {', '.join(required)}: give it one, so that a "
                         "name can make it")


def _check_name(name: Any) -> str:
    """Return the name, after checking that texts such as "step:0.5+cosine" and command lines can contain it."""
    if not isinstance(name, str) or not re.fullmatch(r"[\w-]+", name):
        raise ValueError(f'register: a name is made of letters, digits, "-" and "_", not {name!r}: choose another')
    if name.startswith("-"):
        raise ValueError(f"register: the name {name!r} would be an option on the command line: choose another")
    if name == "all":
        raise ValueError(f"register: the name {name!r} stands for all entries of the table: choose another")
    return name
