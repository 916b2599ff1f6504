"""The optimizers, all behind one step(objective): the table of them, and get(name)."""

from typing import Any

from optimizers.base import FirstOrder, Objective, Optimizer, hyperparameters
from optimizers.first_order import Adam, Adamax, GradientDescent, Momentum, RMSprop
from optimizers.levenberg_marquardt import LevenbergMarquardt
from optimizers.minimize import Function, Result, minimize
from optimizers.newton import Newton

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "gd": GradientDescent,
    "momentum": Momentum,
    "rmsprop": RMSprop,
    "adam": Adam,
    "adamax": Adamax,
    "newton": Newton,
    "lm": LevenbergMarquardt,
}


def get(name: str, **values: Any) -> Optimizer:
    """The optimizer called `name`, a key of OPTIMIZERS, with these values of its fields: get("adam", lr=0.01).

    Raises ValueError: an unknown name lists the choices, an unknown field the fields, a bad value says what is allowed.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer {name!r}: choose from {', '.join(OPTIMIZERS)}")
    kind = OPTIMIZERS[name]
    known = hyperparameters(kind)
    for field in values:
        if field not in known:
            raise ValueError(f"{name} has no field {field!r}: its fields are {', '.join(known)}")
    return kind(**values)


__all__ = ["Adam", "Adamax", "FirstOrder", "Function", "GradientDescent", "LevenbergMarquardt", "Momentum",
           "Newton", "OPTIMIZERS", "Objective", "Optimizer", "RMSprop", "Result", "get", "hyperparameters", "minimize"]
