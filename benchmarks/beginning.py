"""What it takes to begin: to import, to have trained a first epoch, in memory and on the disk; ours and each peer's.

    python -m benchmarks.beginning
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

from tqdm import tqdm

from benchmarks.report import ROOT, machine, replace_part, table, versions

RUNS = 5
SETUP = ConfigParser()
SETUP.read(ROOT / "setup.cfg")
OURS = SETUP["options"]["install_requires"].split("\n")
FAST = SETUP["options.extras_require"]["fast"].split("\n")
# who, what is imported, how the benchmark of epochs calls it, and the requirements that must be installed
CANDIDATES: tuple[tuple[str, str, str, Sequence[str]], ...] = (
    ("feedforward", "import nn, optimizers, datasets", "feedforward, NumPy alone", OURS),
    ("feedforward[fast]", "import nn, optimizers, datasets, numba", "feedforward", OURS + FAST),
    ("torch", "import torch", "torch, fused", ("torch",)),
    ("JAX", "import jax, optax", "JAX, a step", ("jax", "optax")),
    ("scikit-learn", "import sklearn.neural_network", "scikit-learn", ("scikit-learn",)),
    ("Keras on JAX", "import keras", "Keras on JAX", ("keras", "jax")),
)
EPOCH = """
from benchmarks.speed import RUNNERS, WORKLOADS
from datasets import load
RUNNERS[{runner!r}][1](load("mnist", {data_dir!r}), *WORKLOADS["seed"])()
"""


def run(command: Sequence[str]) -> tuple[float, float]:
    """Seconds, and the most memory that was held, in MB."""
    began = perf_counter()
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                             env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT)})
    assert child.stderr is not None
    errors = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)} failed: {errors.decode()[-500:]}")
    return perf_counter() - began, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def size(requirements: Sequence[str]) -> float:
    """What these and all that they require take on the disk, in MB."""
    total, waiting, done = 0, list(requirements), set()
    while waiting:
        match = re.match(r"[\w.-]+", requirement := waiting.pop())
        if not match or "extra ==" in requirement or (name := re.sub(r"[-_.]+", "-", match[0]).lower()) in done:
            continue
        done.add(name)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # required on other systems
            continue
        total += sum(path.stat().st_size for file in found.files or () if (path := Path(str(file.locate()))).exists())
        waiting += found.requires or ()
    return total / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.beginning", description=__doc__)
    parser.add_argument("--data-dir", help="the folder that has MNIST")
    args = parser.parse_args()
    data_dir = args.data_dir or os.environ.get("MNIST_DIR")
    rows = []
    with tqdm(desc="beginnings", total=2 * RUNS * len(CANDIDATES) + 3, unit=" runs") as bar:
        def several(code: str) -> list[tuple[float, float]]:
            taken = []
            for _ in range(RUNS):
                taken.append(run([sys.executable, "-c", code]))
                bar.update()
            return taken

        for who, imports, runner, requirements in CANDIDATES:
            if any(importlib.util.find_spec(module.split(".")[0].strip()) is None
                   for module in imports.removeprefix("import ").split(",")):
                continue
            importing, epoch = several(imports), several(EPOCH.format(runner=runner, data_dir=data_dir))
            rows.append([who, f"{statistics.median(s for s, _ in importing):.2f}",
                         f"{statistics.median(s for s, _ in epoch):.2f}", f"{max(mb for _, mb in epoch):.0f}",
                         f"{size(requirements):.0f}"])
        commands: list[list[str]] = []
        for what in (["--epochs", "1"], ["--epochs", "100"], ["--dataset", "digits"]):
            where = ["--data-dir", data_dir] if data_dir and "digits" not in what else []
            with tempfile.TemporaryDirectory() as out:
                seconds, memory = run([sys.executable, "train.py", *what, *where, "--out", out])
            commands.append([f"`python train.py {' '.join(what)}`", f"{seconds:.2f}", f"{memory:.0f}"])
            bar.update()
    head = ["", "import, s", "to the end of the first epoch, s", "most memory, MB", "on the disk, MB"]
    text = f"""{table(head, rows)}

From the start of Python, medians of {RUNS}. The epoch is MNIST's, 784-50-10 in batches of 6,000, with the data loaded
by our loader; memory is the most that was held; on the disk is what is installed, with all that it requires.

{table(["", "seconds, pictures and all", "most memory, MB"], commands)}"""
    print(text)
    replace_part("beginning", f"""
{text}

Measured by `python -m benchmarks.beginning` on {machine()};
{versions("torch", "jax", "optax", "scikit-learn", "keras", "numba")}.
""")


if __name__ == "__main__":
    main()
