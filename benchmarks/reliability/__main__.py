"""Try everything and write RELIABILITY.md.

    python -m benchmarks.reliability

Each function counts its tries and returns what went wrong, one line each. The tests run them with fewer tries.
"""

import argparse
import sys
from typing import Any

from tqdm import tqdm

from benchmarks.reliability.damage import fuzz, guided_fuzz
from benchmarks.reliability.long_use import determinism, leaks, other_threads, soak
from benchmarks.reliability.ranks import kill_ranks
from benchmarks.reliability.saves import crash, faults, full_disk, kill_at, resume
from benchmarks.report import ROOT, machine, table
from nn.files import write_atomically
from optimizers import OPTIMIZERS

FULL = {"resume": 20, "crash": 200, "ranks": 50, "fuzz": 100_000, "small fuzz": 10_000, "leaks": 1_000, "soak": 10_000}


def measure(scale: float) -> str:
    """Do everything and return the text of RELIABILITY.md."""
    n = {name: max(1, int(scale * number)) for name, number in FULL.items()}
    rows: list[list[str]] = []
    lost: list[str] = []

    def add(what: str, tries: int, problems: list[str], note: str = "") -> None:
        rows.append([what, f"{tries:,}", f"{len(problems)}", note])
        lost.extend(f"{what}: {problem}" for problem in problems)

    def bar(what: str, total: int) -> Any:
        return tqdm(total=total, desc=what)

    with bar("resume", n["resume"] * len(OPTIMIZERS)) as shown:
        add("interrupted at a random step and continued", n["resume"] * len(OPTIMIZERS), resume(n["resume"],
            shown.update))
    with bar("crash", n["crash"]) as shown:
        add("killed (kill -9) and continued", n["crash"], crash(n["crash"], shown.update))
    with bar("ranks", n["ranks"]) as shown:
        add("a rank of 2 or 3 killed (kill -9), and all continued", n["ranks"], kill_ranks(n["ranks"], shown.update))
    tries, problems = faults()
    add("an operation of a save fails", tries, problems)
    full = full_disk()
    add("a full file system", int(full is not None), full or [], "" if full is not None else "not possible here")
    for name in ("model", "checkpoint", "IDX", "gzip", "config", "history", "ONNX", "ONNX of torch"):
        count = n["small fuzz" if name in ("gzip", "config", "history") else "fuzz"]
        with bar(f"fuzz {name}", count) as shown:
            add(f"a damaged file: {name}", count, fuzz(name, count, shown.update))
        with bar(f"guided fuzz {name}", count) as shown:
            reached, problems = guided_fuzz(name, count, shown.update)
            add(f"a damaged file, chosen by coverage: {name}", count, problems, reached)
    add("processes with different hash seeds", 5, determinism(5))
    difference, problems = other_threads()
    add("1 to 4 threads", 4, problems, f"weights differ by {difference:.0e}")
    with bar("leaks", n["leaks"]) as shown:
        growth, problems = leaks(n["leaks"], progress=shown.update)
        add("fit and predict", n["leaks"], problems, f"{growth:,.0f} bytes a cycle")
    with bar("soak", n["soak"]) as shown:
        add("small fits; two threads; after a fork", n["soak"], soak(n["soak"], shown.update))
    text = table(["", "tries", "failures", ""], rows)
    return f"""# Reliability

{text}

{"Failures: " + "; ".join(lost[:20]) if lost else "Nothing was lost, and every result was the same, bit for bit."}

A file is damaged by random changes of bytes, digits and lengths, most of them within its header and with a checksum
that is right again; in ONNX files, most are changes of single fields. Those chosen by coverage come from atheris, which
keeps the files that reach new code and changes these. Each must load, or give one of our errors, of one line, within a
second.

Measured by `make reliability` on {machine()}.
"""


def main() -> None:
    """Do everything, and write RELIABILITY.md."""
    if sys.argv[1:2] == ["--kill-at"]:
        sys.exit(kill_at(sys.argv[2], int(sys.argv[3]), sys.argv[5:]))
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reliability", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="the share of the tries; with less than 1, no file is "
                        "written")
    args = parser.parse_args()
    text = measure(args.scale)
    print(text)
    if args.scale >= 1:
        write_atomically(ROOT / "RELIABILITY.md", lambda file: file.write(text.encode()))


if __name__ == "__main__":
    main()
