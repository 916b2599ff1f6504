"""The signatures that a type checker and an editor see are those of the constructors."""

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


@pytest.fixture(scope="module")
def mypy_output(tmp_path_factory):
    """Return the output of mypy about every class of the tables, and about a class of a user."""
    folder = tmp_path_factory.mktemp("editor")
    imports = "\n".join(f"from {kind.__module__} import {kind.__qualname__} as kind{i}" for i, kind in enumerate(KINDS))
    reveals = "\n".join(f"reveal_type(kind{i})" for i in range(len(KINDS)))
    (folder / "uses.py").write_text(f"{imports}\n{reveals}\n{OWN}")
    done = subprocess.run([sys.executable, "-m", "mypy", "--strict", "--no-incremental", str(folder / "uses.py")],
                          cwd=ROOT, capture_output=True, text=True, env={**os.environ, "MYPYPATH": str(ROOT)})
    return done.stdout.splitlines()


def arguments(line):
    """Return the names of the arguments in a revealed signature."""
    return re.findall(r"(?:\(|, )\*?(?:, )?(\w+): ", line.split('"')[1].rpartition("->")[0])


@pytest.mark.parametrize("number", range(len(KINDS)), ids=[kind.__name__ for kind in KINDS])
def test_a_constructor_shows_its_arguments(mypy_output, number):
    line = [line for line in mypy_output if "Revealed type" in line][number]
    assert arguments(line) == list(inspect.signature(KINDS[number].__init__).parameters)[1:]
    assert arguments(line) == list(field_types(KINDS[number]))


def test_a_class_of_a_user_shows_its_fields_and_not_its_state(mypy_output):
    line = [line for line in mypy_output if "Revealed type" in line][-1]
    assert arguments(line) == ["lr", "weight_decay", "clip_norm", "clip_value", "decay"]
    errors = [line for line in mypy_output if ": error:" in line]
    assert len(errors) == 2
    assert 'Unexpected keyword argument "v" for "Own"' in errors[0]
    assert 'Unexpected keyword argument "activation" for "Dense"' in errors[1]
