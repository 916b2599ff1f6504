"""What a type checker and an editor see: the public names, the arguments of constructors, and which classes fit."""

import inspect
import os
from pathlib import Path
import re
import subprocess
import sys

import pytest

import feedforward as ff
from optimizers.fields import field_types

ROOT = Path(__file__).parent.parent
KINDS = [*ff.LAYERS.values(), *ff.LOSSES.values(), *ff.OPTIMIZERS.values(), *ff.SCHEDULES.values(), ff.Experiment]
OWN = """
import numpy as np
import feedforward as ff

class Own(ff.FirstOrder):
    decay: float = 0.5
    v: np.ndarray = ff.vector()
    count: int = ff.scalar(0)
    def update(self, theta: np.ndarray, grad: np.ndarray) -> None: ...

reveal_type(Own)
Own(v=3)
ff.Dense(3, 4, activation="relu")
"""
NAMES = """
import feedforward as ff
reveal_type(ff.Model)
reveal_type(ff.get("adam"))
reveal_type(ff.load("digits").x_train)
reveal_type(ff.Experiment("adam").run())
reveal_type(ff.register)
reveal_type(ff.plots.curves)
ff.testing.check_layer
"""
OBJECTIVES = """
from collections.abc import Callable
from typing import Any
import numpy as np
import feedforward as ff

class Members:
    def __init__(self) -> None:
        self.theta = np.zeros(2)
        self.evaluations, self.examples, self.max_gigabytes = 0, 2, 1.0
    def value(self) -> float: return 0.0
    def value_and_gradient(self) -> tuple[float, np.ndarray]: return 0.0, np.zeros(2)
    def value_and_gradient_parts(self) -> tuple[float, Callable[[Callable[[slice, np.ndarray], None]], None]]:
        return 0.0, lambda use: use(slice(2), np.zeros(2))
    def hessian_product(self, direction: np.ndarray) -> np.ndarray: return direction
    def gauss_newton_product(self, direction: np.ndarray) -> np.ndarray: return direction
    def hessian(self) -> np.ndarray: return np.eye(2)
    def gauss_newton(self) -> np.ndarray: return np.eye(2)
    def residuals(self) -> np.ndarray: return np.zeros(2)
    def jacobian(self) -> np.ndarray: return np.eye(2)
    def residual_count(self) -> int: return 2
    def residual_triangle(self) -> np.ndarray: return np.eye(2, 3)
    def subsample(self, examples: np.ndarray) -> "Members": return self

class Derived(ff.Objective):
    def __init__(self, n: int) -> None:
        self.theta, self.examples, self.evaluations, self.max_gigabytes = np.zeros(2), n, 0, 2.0
    def value_and_gradient(self) -> tuple[float, np.ndarray]:
        self.evaluations += 1
        return 0.0, np.zeros(2)

class Smallest(ff.Objective):
    theta = np.zeros(2)
    def value_and_gradient(self) -> tuple[float, np.ndarray]: return 0.0, np.zeros(2)

class Incomplete:
    theta = np.zeros(2)
    def value_and_gradient(self) -> tuple[float, np.ndarray]: return 0.0, np.zeros(2)

model = ff.Model([ff.Dense(2, 1)], ff.MeanSquaredError())
x, y = np.zeros((3, 2)), np.zeros((3, 1))
ff.get("adam").step(model.objective(x, y))
ff.minimize(model.objective(x, y), ff.get("lm"))
ff.minimize(model.objective(x, y).subsample([0]), ff.get("newton"))
ff.minimize(ff.Function([1.0], value=lambda theta: theta @ theta), ff.Newton())
for objective in (Members(), Derived(3), Smallest()):
    ff.get("newton").step(objective)
ff.Adam().step(Members())
ff.minimize(Members(), ff.LBFGS())
ff.minimize(Derived(3), ff.LBFGS())
ff.Adam().step(Incomplete())
"""


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """Return the lines that mypy, run once, prints about each of three files."""
    folder = tmp_path_factory.mktemp("editor")
    imports = "\n".join(f"from {kind.__module__} import {kind.__qualname__} as kind{i}" for i, kind in enumerate(KINDS))
    reveals = "\n".join(f"reveal_type(kind{i})" for i in range(len(KINDS)))
    programs = {"constructors": f"{imports}\n{reveals}\n{OWN}", "names": NAMES, "objectives": OBJECTIVES}
    for name, program in programs.items():
        (folder / f"{name}.py").write_text(program)
    version = f"--python-version={sys.version_info.major}.{sys.version_info.minor}"  # not that of pyproject.toml
    done = subprocess.run([sys.executable, "-m", "mypy", "--strict", version, str(folder)],
                          cwd=ROOT, capture_output=True, text=True, env={**os.environ, "MYPYPATH": str(ROOT)})
    *lines, summary = done.stdout.splitlines()
    assert re.fullmatch(r"Found \d+ errors in 2 files \(checked 3 source files\)", summary), done.stdout
    return {name: [line for line in lines if f"{name}.py:" in line] for name in programs}


def errors(lines):
    return [line for line in lines if ": error:" in line]


def arguments(line):
    """Return the names of the arguments in a revealed signature."""
    return re.findall(r"(?:\(|, )\*?(?:, )?(\w+): ", line.split('"')[1].rpartition("->")[0])


@pytest.mark.parametrize("number", range(len(KINDS)), ids=[kind.__name__ for kind in KINDS])
def test_a_constructor_shows_its_arguments(output, number):
    line = [line for line in output["constructors"] if "Revealed type" in line][number]
    assert arguments(line) == list(inspect.signature(KINDS[number].__init__).parameters)[1:]
    assert arguments(line) == list(field_types(KINDS[number]))


def test_a_class_of_a_user_shows_its_fields_and_not_its_state(output):
    line = [line for line in output["constructors"] if "Revealed type" in line][-1]
    assert arguments(line) == ["lr", "weight_decay", "clip_norm", "clip_value", "decay"]
    first, second = errors(output["constructors"])
    assert 'Unexpected keyword argument "v" for "Own"' in first
    assert 'Unexpected keyword argument "activation" for "Dense"' in second


def test_the_types_of_the_public_names_are_known(output):
    assert errors(output["names"]) == []
    text = "\n".join(output["names"])
    for revealed in ("-> nn.model.Model", "optimizers.optimizer.Optimizer", "numpy.ndarray",
                     "feedforward.results.Results", "def [Kind <: type] (kind: Kind", "matplotlib.figure.Figure"):
        assert revealed in text, text


def test_a_class_with_the_members_of_an_objective_is_accepted_as_one(output):
    (error,) = errors(output["objectives"])
    assert f"objectives.py:{len(OBJECTIVES.splitlines())}: " in error
    assert 'has incompatible type "Incomplete"; expected "Objective"' in error
