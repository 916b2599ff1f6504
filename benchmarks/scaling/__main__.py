"""Measure how training scales with the number of ranks, fit a cost model, and write SCALING.md and its figures.

    python -m benchmarks.scaling

The measurements are kept in benchmarks/scaling/measured.json, so that each part can be measured again alone:

    python -m benchmarks.scaling --part sums
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
import json
from pathlib import Path
from typing import Any

from benchmarks.report import FIGURES, ROOT, machine, save_figure, versions
from benchmarks.scaling import measure, training
from benchmarks.scaling.memory import memory
from benchmarks.scaling.report import draw, report
from benchmarks.scaling.settings import SHORT, Settings, cores
from nn.files import write_atomically

PARTS: dict[str, Callable[[Settings], Any]] = {
    "epochs": measure.epochs, "steps": measure.steps, "sums": measure.sums, "parts": measure.parts,
    "batches": training.batches, "second_order": training.second_order, "triangles": training.triangles,
    "memory": memory}
MEASURED = Path(__file__).with_name("measured.json")


def rounded(value: Any) -> Any:
    """Return a JSON value whose numbers have six digits."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def write(path: Path, text: str) -> None:
    """Write a file, completely or not at all."""
    write_atomically(path, lambda file: file.write(text.encode()))


def main() -> None:
    """Measure the parts that were asked for, and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--data-dir", help="the folder of the MNIST files")
    parser.add_argument("--part", nargs="*", choices=PARTS, default=list(PARTS), help="what to measure again; without "
                        "a name, nothing is measured, and the report is written again")
    parser.add_argument("--rounds", type=int, default=Settings().rounds)
    parser.add_argument("--short", metavar="FOLDER", type=Path,
                        help="measure in seconds on the digits, and write everything into this folder")
    args = parser.parse_args()
    settings = SHORT if args.short else replace(Settings(), data_dir=args.data_dir, rounds=args.rounds)
    stored = args.short / "measured.json" if args.short else MEASURED
    measured = json.loads(stored.read_text()) if stored.exists() else {}
    for name in args.part:
        measured[name] = rounded(PARTS[name](settings))
        write(stored, json.dumps(measured, separators=(",", ":")).replace('},"', '},\n"') + "\n")
    if missing := PARTS.keys() - measured.keys():
        print(f"the report needs the parts {', '.join(sorted(missing))}, too: measure them with --part")
        return
    text = report(measured, cores(), f"{machine()}; {versions('mpi4py', 'mpich', 'numba', 'torch')}")
    print(text)
    write((args.short or ROOT) / "SCALING.md", text)
    for name, figure in draw(measured, cores()).items():
        save_figure(figure, name, args.short or FIGURES)


if __name__ == "__main__":
    main()
