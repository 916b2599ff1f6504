"""The optimizers, all behind one step(objective): the table of them, and get(name)."""

from typing import Any

from optimizers.base import FirstOrder, Objective, Optimizer, hyperparameters
from optimizers.conjugate_gradient import ConjugateGradient
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
from optimizers.fused import elementwise
from optimizers.levenberg_marquardt import LevenbergMarquardt
from optimizers.minimize import Function, Result, minimize
from optimizers.newton import Newton
from optimizers.quasi_newton import BFGS, LBFGS
from optimizers.schedules import SCHEDULES, Scheduled
from optimizers.schedules import parse as parse_schedule

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


__all__ = [
    "OPTIMIZERS", "get", "hyperparameters",
    "Function", "Result", "minimize",
    "SCHEDULES", "Scheduled", "parse_schedule",
    "FirstOrder", "Objective", "Optimizer", "elementwise",
    "GradientDescent", "Momentum", "Nesterov", "Adagrad", "Adadelta", "RMSprop", "Adam", "AdamW", "Adamax", "Nadam",
    "AMSGrad", "Newton", "ConjugateGradient", "BFGS", "LBFGS", "LevenbergMarquardt",
]
