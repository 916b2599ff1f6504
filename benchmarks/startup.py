"""Start-up: the time to import and to train a first epoch, and the memory and disk space, of ours and other frameworks.

    python -m benchmarks.startup
"""

import argparse
from collections.abc import Sequence
from configparser import ConfigParser
from importlib import metadata
import importlib.util
import os
from pathlib import Path
import re
import statistics
import subprocess
import sys
import tempfile
from time import perf_counter
from typing import Any, NamedTuple

from tqdm import tqdm

from benchmarks.report import ROOT, machine, replace_part, table, versions

RUNS = 5
SETUP = ConfigParser()
SETUP.read(ROOT / "setup.cfg")
OURS = SETUP["options"]["install_requires"].split("\n")
FAST = SETUP["options.extras_require"]["fast"].split("\n")


class Candidate(NamedTuple):
    """A framework: the modules to import, its name in benchmarks.speed, and the requirements to install."""

    name: str
    modules: Sequence[str]
    runner: str
    requirements: Sequence[str]


PACKAGES = ("nn", "optimizers", "datasets", "feedforward")
CANDIDATES = (
    Candidate("feedforward", PACKAGES, "feedforward, NumPy alone", OURS),
    Candidate("feedforward[fast]", (*PACKAGES, "numba"), "feedforward", OURS + FAST),
    Candidate("torch", ("torch",), "torch, fused", ("torch",)),
    Candidate("JAX", ("jax", "optax"), "JAX, a step", ("jax", "optax")),
    Candidate("scikit-learn", ("sklearn", "sklearn.neural_network"), "scikit-learn", ("scikit-learn",)),
    Candidate("Keras on JAX", ("keras",), "Keras on JAX", ("keras", "jax")),
)
EPOCH = """
from benchmarks.speed import RUNNERS, WORKLOADS
from datasets import load
RUNNERS[{runner!r}][1](load("mnist", {data_dir!r}), *WORKLOADS["seed"])()
"""
EXPERIMENTS: tuple[dict[str, Any], ...] = (
    {"dataset": "mnist", "epochs": 1}, {"dataset": "mnist", "epochs": 100}, {"dataset": "digits"})


def run(code: str) -> tuple[float, float]:
    """Run code in a new Python; return its seconds, and the largest amount of memory that it used, in MB."""
    started = perf_counter()
    child = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                             env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT)})
    assert child.stderr is not None
    errors = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise RuntimeError(f"this code failed: {code.strip()}\n{errors.decode()[-500:]}")
    return perf_counter() - started, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def size(requirements: Sequence[str]) -> float:
    """Return the disk space of these packages and of all that they require, in MB."""
    total, pending, done = 0, list(requirements), set()
    while pending:
        match = re.match(r"[\w.-]+", requirement := pending.pop())
        if not match or "extra ==" in requirement or (name := re.sub(r"[-_.]+", "-", match[0]).lower()) in done:
            continue
        done.add(name)
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # required on other systems
            continue
        paths = [Path(str(file.locate())) for file in distribution.files or ()]
        total += sum(path.stat().st_size for path in paths if path.exists())
        pending += distribution.requires or ()
    return total / 1e6


def candidate_row(candidate: Candidate, data_dir: str | None, bar: Any) -> list[str]:
    """Return a framework's row of the table."""
    def repeat(code: str) -> list[tuple[float, float]]:
        measurements = []
        for _ in range(RUNS):
            measurements.append(run(code))
            bar.update()
        return measurements

    importing = repeat(f"import {', '.join(candidate.modules)}")
    epoch = repeat(EPOCH.format(runner=candidate.runner, data_dir=data_dir))
    return [candidate.name, f"{statistics.median(seconds for seconds, _ in importing):.2f}",
            f"{statistics.median(seconds for seconds, _ in epoch):.2f}", f"{max(memory for _, memory in epoch):.0f}",
            f"{size(candidate.requirements):.0f}"]


def experiment_row(fields: dict[str, Any], data_dir: str | None) -> list[str]:
    """Return the row of an experiment that is run into a folder."""
    all_fields = fields if fields["dataset"] == "digits" else {**fields, "data_dir": data_dir}
    with tempfile.TemporaryDirectory() as folder:
        seconds, memory = run(f"import feedforward as ff; ff.Experiment(**{all_fields}).run({folder!r})")
    return [f"`{describe(fields)}`", f"{seconds:.2f}", f"{memory:.0f}"]


def describe(fields: dict[str, Any]) -> str:
    """Return the expression that makes the experiment."""
    return f"Experiment({', '.join(f'{name}={value!r}' for name, value in fields.items())})".replace("'", '"')


def measure(data_dir: str | None) -> str:
    """Measure everything, and return both tables with their notes."""
    candidates = [candidate for candidate in CANDIDATES
                  if all(importlib.util.find_spec(name.partition(".")[0]) for name in candidate.modules)]
    with tqdm(desc="start-up", total=2 * RUNS * len(candidates) + len(EXPERIMENTS), unit=" runs") as bar:
        rows = [candidate_row(candidate, data_dir, bar) for candidate in candidates]
        experiments = []
        for fields in EXPERIMENTS:
            experiments.append(experiment_row(fields, data_dir))
            bar.update()
    head = ["", "import, s", "to the end of the first epoch, s", "memory, MB", "disk space, MB"]
    return f"""{table(head, rows)}

The seconds are from the start of Python, medians of {RUNS}. The epoch is one of MNIST, 784-50-10 in batches of 6,000;
all load the data with our loader. Memory is the largest amount that was used. Disk space is that of the installed
packages, with all that they require.

{table(["", "seconds, with the figures", "memory, MB"], experiments)}"""


def main() -> None:
    """Measure, and write the part "startup" of RESULTS.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--data-dir", help="the folder of the MNIST files")
    args = parser.parse_args()
    text = measure(args.data_dir or os.environ.get("MNIST_DIR"))
    print(text)
    replace_part("startup", f"""
{text}

Measured by `python -m benchmarks.startup` on {machine()};
{versions("torch", "jax", "optax", "scikit-learn", "keras", "numba")}.
""")


if __name__ == "__main__":
    main()
