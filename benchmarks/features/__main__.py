"""Try every feature in every library, print the table with its footnotes, and write them into RESULTS.md.

    python -m benchmarks.features
"""

import argparse
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
import contextlib
import importlib
import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
import tempfile
from threading import Timer
from typing import NamedTuple

from tqdm import tqdm

from benchmarks.features.table import FEATURES, GROUPS, LIBRARIES, Absent, Wrong
from benchmarks.report import ROOT, machine, replace_part, versions

PACKAGES = {"torch": "torch", "keras": "keras", "jax": "jax", "sklearn": "scikit-learn", "skorch": "skorch",
            "optuna": "optuna", "optuna_integration": "optuna-integration", "onnx": "onnx",
            "onnxruntime": "onnxruntime", "onnxscript": "onnxscript", "skl2onnx": "skl2onnx", "skops": "skops",
            "pandas": "pandas", "polars": "polars", "tensorboard": "tensorboard", "tensorboardX": "tensorboardX"}
SECONDS = 300  # the limit of one cell
MARK = "cell: "  # begins the lines that say what a cell says


class Cell(NamedTuple):
    """What a cell of the table says, and its footnote, if it has one."""

    text: str
    note: str = ""


def try_here(library: str, feature: str) -> Cell:
    """Try a feature of a library in this process and in this folder."""
    function = getattr(importlib.import_module(f"benchmarks.features.{LIBRARIES[library]}"), feature)
    lines = sum(line.endswith("# own") for line in inspect.getsource(function).splitlines())
    try:
        note = function() or ""
    except (Absent, Wrong) as error:
        return Cell("no", str(error))
    except Exception as error:
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        return Cell("no", f"`{type(error).__name__}: {first[:160].replace('`', '').replace('|', '/')}`")
    if lines:
        return Cell(f"code ({lines})", note)
    return Cell("yes", note)


def try_apart(library: str, features: Sequence[str], done: Callable[[], object]) -> dict[tuple[str, str], Cell]:
    """Try features of a library in another process: in a new one after each that crashes or takes too long."""
    paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    backend = "torch" if "onnx_export" in features else "jax"  # of Keras
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    cells: list[Cell] = []
    while len(cells) < len(features):
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.features", "--cells", library]
        with subprocess.Popen([*command, *features[len(cells):]], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              text=True, env=environment) as child:
            line: str | None = ""
            while line is not None and len(cells) < len(features):
                timer = Timer(SECONDS, child.kill)
                timer.start()
                line = next((line for line in child.stdout or () if line.startswith(MARK)), None)
                timer.cancel()
                cells.append(Cell(*json.loads(line.removeprefix(MARK))) if line is not None else
                             Cell("no", f"the process crashed, or took more than {SECONDS} seconds"))
                done()
    return {(library, feature): cell for feature, cell in zip(features, cells)}


def try_all(library: str, features: Sequence[str]) -> None:
    """Try features of a library in this process, each in a folder of its own, and print the cells."""
    for feature in features:
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            cell = try_here(library, feature)
        print(f"\n{MARK}{json.dumps(cell)}", flush=True)


def markdown(cells: dict[tuple[str, str], Cell]) -> str:
    """Return the table and the footnotes. Equal notes have one number."""
    notes: dict[str, int] = {}

    def shown(cell: Cell) -> str:
        return f"{cell.text} [{notes.setdefault(cell.note, len(notes) + 1)}]" if cell.note else cell.text

    lines = ["| | " + " | ".join(LIBRARIES) + " |", "| --- |" + " --- |" * len(LIBRARIES)]
    for group, features in GROUPS.items():
        lines.append(f"| **{group}** |" + " |" * len(LIBRARIES))
        lines += [f"| {label} | " + " | ".join(shown(cells[library, feature]) for library in LIBRARIES) + " |"
                  for feature, label in features.items()]
    return "\n".join([*lines, "", *(f"{number}. {note}" for note, number in notes.items())])


def check_installed() -> None:
    """End with a message if a library is missing."""
    missing = [package for module, package in PACKAGES.items() if importlib.util.find_spec(module) is None]
    if missing:
        sys.exit(f"benchmarks.features needs {', '.join(missing)}: write pip install 'feedforward[bench]'")


def main() -> None:
    """Fill the table, and write the part "features" of RESULTS.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.features", description=__doc__)
    parser.add_argument("--cells", nargs="+", metavar=("LIBRARY", "FEATURE"), help="try features of one library in "
                        "this process, and print each cell")
    parser.add_argument("--only", metavar="WORDS", help="a regular expression: try only these features or libraries, "
                        "and write nothing")
    args = parser.parse_args()
    if args.cells:
        try_all(args.cells[0], args.cells[1:])
        return
    check_installed()
    chosen = {library: [feature for feature in FEATURES if re.search(args.only or "", f"{library} {feature}")]
              for library in LIBRARIES}
    tasks = [(library, [feature for feature in features if ("onnx" in feature) == onnx])
             for library, features in chosen.items() for onnx in (False, True)]
    cells: dict[tuple[str, str], Cell] = {}
    with tqdm(desc="features", total=sum(map(len, chosen.values())), unit=" cells") as bar, \
            ThreadPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(lambda task: try_apart(task[0], task[1], bar.update), tasks):
            cells.update(found)
    if args.only:
        for (library, feature), cell in cells.items():
            print(f"{feature:22}{library:14}{cell.text:6}{cell.note}")
        return
    text = markdown(cells)
    print(text)
    replace_part("features", f"""
{text}

Measured by `python -m benchmarks.features` on {machine()};
{versions(*PACKAGES.values(), "tensorflow-cpu")}.
""")


if __name__ == "__main__":
    main()
