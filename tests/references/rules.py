"""The rules of torch that correspond to ours, and the problem on which both are run."""

from pathlib import Path

import numpy as np

STEPS, P = 200, 4
TRACES = Path(__file__).parent / "torch_traces.npz"

# our name, our fields, torch's class, torch's arguments
CASES = {
    "gd": ("gd", {}, "SGD", {}),
    "momentum": ("momentum", {}, "SGD", {"momentum": 0.9}),
    "nesterov": ("nesterov", {"momentum": 0.8}, "SGD", {"momentum": 0.8, "nesterov": True}),
    "adagrad": ("adagrad", {}, "Adagrad", {}),
    "adadelta": ("adadelta", {}, "Adadelta", {}),
    "adadelta, Zeiler's rho": ("adadelta", {"rho": 0.95}, "Adadelta", {"rho": 0.95}),
    "rmsprop": ("rmsprop", {}, "RMSprop", {"alpha": 0.9}),
    "rmsprop, torch's rho": ("rmsprop", {"rho": 0.99}, "RMSprop", {}),
    "rmsprop, centered": ("rmsprop", {"centered": True}, "RMSprop", {"alpha": 0.9, "centered": True}),
    "rmsprop, momentum": ("rmsprop", {"momentum": 0.7}, "RMSprop", {"alpha": 0.9, "momentum": 0.7}),
    "rmsprop, both": ("rmsprop", {"centered": True, "momentum": 0.7}, "RMSprop",
                      {"alpha": 0.9, "centered": True, "momentum": 0.7}),
    "adam": ("adam", {}, "Adam", {}),
    "adam, other betas": ("adam", {"beta1": 0.5, "beta2": 0.9, "eps": 1e-3}, "Adam",
                          {"betas": (0.5, 0.9), "eps": 1e-3}),
    "adamw": ("adamw", {"weight_decay": 0.0}, "AdamW", {"weight_decay": 0.0}),
    "adamax": ("adamax", {}, "Adamax", {}),
    "nadam": ("nadam", {}, "NAdam", {}),
    "amsgrad": ("amsgrad", {}, "Adam", {"amsgrad": True}),
}
CASES |= {f"{case}, weight decay": (name, {**fields, "weight_decay": 0.3}, kind, {**arguments, "weight_decay": 0.3})
          for case, (name, fields, kind, arguments) in CASES.items()}


def problem() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return theta0 (P,), gradients (STEPS, P) and learning rates (STEPS,).

    The gradients do not depend on theta: otherwise rounding errors would grow, and two correct rules would differ. They
    change sign, differ in size, and are sometimes exactly zero. Each step has a different learning rate.
    """
    rng = np.random.default_rng(20150722)
    theta0 = rng.normal(size=P)
    gradients = rng.normal(size=(STEPS, P)) * 10.0 ** rng.uniform(-3, 2, size=(1, P))
    gradients *= rng.random((STEPS, P)) > 0.1
    gradients[0, 0] = 0.0
    gradients[20:60, 1] = 0.0
    rates = 10 ** rng.uniform(-4, -1, STEPS)
    return theta0, gradients, rates
