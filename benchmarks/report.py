"""RESULTS.md and its figures. Each command replaces only the part between its own two marks."""

from collections.abc import Sequence
import contextlib
from datetime import date
from importlib import metadata
import os
from pathlib import Path
import platform
import re
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from nn.files import write_atomically

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "RESULTS.md"
FIGURES = ROOT / "benchmarks" / "figures"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, whose columns are numbers except the first."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def replace_part(name: str, text: str) -> None:
    """Put `text` between the marks of that name in RESULTS.md. Raises ValueError if there are none."""
    old = RESULTS.read_text()
    part = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    if not part.search(old):
        raise ValueError(f"{RESULTS.name} has no marks <!-- {name} --> and <!-- end of {name} -->: add them")
    new = part.sub(lambda marks: f"{marks[1]}\n{text.strip()}\n\n{marks[2]}", old)
    write_atomically(RESULTS, lambda file: file.write(new.encode()))


def replace_on_this_machine(name: str, text: str) -> None:
    """Put `text` into the part `name` of RESULTS.md, in place of what it says of this processor, with today's date."""
    head = f"#### On {os.cpu_count()} cores of {processor()}"
    old = RESULTS.read_text()
    part = re.search(rf"<!-- {name} -->\n(.*?)<!-- end of {name} -->", old, re.DOTALL)
    sections = re.split(r"(?m)^(?=#### On )", part[1]) if part else []
    kept = [section.strip() for section in sections if section.strip() and not section.startswith(head + ",")]
    replace_part(name, "\n\n".join([*kept, f"{head}, {date.today()}\n\n{text.strip()}"]))


def save_figure(figure: Any, name: str, folder: Path = FIGURES) -> None:
    """Write a figure to benchmarks/figures, or to another folder."""
    folder.mkdir(exist_ok=True)
    write_atomically(folder / name, lambda file: figure.savefig(file, format="png", dpi=100))


def processor() -> str:
    """Return the name of the processor, its family, model and frequency: virtual machines hide parts of the name."""
    path = Path("/proc/cpuinfo")
    found = dict(re.findall(r"(?m)^([\w ]+?)\s*: (.*)$", path.read_text())) if path.exists() else {}
    if "model name" not in found:
        return platform.processor() or "an unknown processor"
    frequency = f", {float(found['cpu MHz']) / 1000:.1f} GHz" if "cpu MHz" in found else ""
    return f"{found['model name']} (family {found.get('cpu family')}, model {found.get('model')}{frequency})"


def file_name(text: str) -> str:
    """Return a text as a part of a file's name."""
    return re.sub(r"\W+", "-", text).strip("-").lower()


def machine() -> str:
    """Return one line about this machine: its processor, and the versions of Python, NumPy and BLAS."""
    blas = [f"{pool['internal_api']} {pool['version']} with {pool.get('architecture', 'its')} kernels"
            for pool in threadpool_info() if pool["user_api"] == "blas" and "numpy" in pool["filepath"]]
    return (f"{os.cpu_count()} cores of {processor()}, Python {platform.python_version()}, NumPy {np.__version__}"
            + (f" ({blas[0]})" if blas else ""))


def versions(*packages: str) -> str:
    """Return the versions of these packages, without those that are not installed."""
    installed = []
    for package in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            installed.append(f"{package} {metadata.version(package)}")
    return ", ".join(installed)
