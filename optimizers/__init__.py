"""Optimizers of any function of one flat vector. Each has a method step(objective), and get(name) makes one."""

from optimizers.compiled import elementwise
from optimizers.conjugate_gradient import ConjugateGradient
from optimizers.fields import Count, Fraction, NonNegative, Positive, PositiveFraction, Share
from optimizers.first_order import (
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    AMSGrad,
    FirstOrder,
    GradientDescent,
    Momentum,
    Nadam,
    Nesterov,
    RMSprop,
)
from optimizers.levenberg_marquardt import LevenbergMarquardt
from optimizers.minimize import Function, Result, minimize
from optimizers.newton import Newton
from optimizers.objective import Objective
from optimizers.optimizer import Optimizer, hyperparameters
from optimizers.quasi_newton import BFGS, LBFGS
from optimizers.registry import OPTIMIZERS, SCHEDULES, get, parse_schedule
from optimizers.registry import register as register
from optimizers.scheduled import Scheduled
from optimizers.schedules import Schedule
from optimizers.state import array, scalar, vector

__all__ = [
    "OPTIMIZERS", "get", "hyperparameters",
    "Function", "Result", "minimize",
    "SCHEDULES", "Schedule", "Scheduled", "parse_schedule",
    "Count", "Fraction", "NonNegative", "Positive", "PositiveFraction", "Share",
    "FirstOrder", "Objective", "Optimizer", "array", "elementwise", "scalar", "vector",
    "GradientDescent", "Momentum", "Nesterov", "Adagrad", "Adadelta", "RMSprop", "Adam", "AdamW", "Adamax", "Nadam",
    "AMSGrad", "Newton", "ConjugateGradient", "BFGS", "LBFGS", "LevenbergMarquardt",
]
