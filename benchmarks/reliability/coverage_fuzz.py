"""Damaged files that are chosen by the code that they reach: a reader under atheris, which is libFuzzer for Python.

    python -m benchmarks.reliability.coverage_fuzz model --runs 100000

The process ends with an error if a file gives another error than it should, or one of several lines, or takes a second.
"""

import argparse
from pathlib import Path
import sys
from tempfile import TemporaryDirectory

import atheris
import numpy as np

with atheris.instrument_imports(include=["nn", "datasets", "feedforward"]):
    from benchmarks.reliability import damage, onnx_files

MEMORY = 1500  # megabytes


def fuzz(name: str, runs: int, folder: Path) -> None:
    """Read so many damaged files of one kind, and end the process."""
    content, attempt = damage.damaged_reader(name, folder)
    corpus = folder / "corpus"
    corpus.mkdir()
    (corpus / "valid").write_bytes(content)

    def check(data: bytes) -> None:
        if problems := attempt(data):
            raise RuntimeError("; ".join(problems))

    def change(data: bytes, size: int, seed: int) -> bytes:
        rng = np.random.default_rng(seed)
        if "ONNX" in name and rng.random() < 0.5:
            return onnx_files.damaged(content, rng, damage.mutate)[:size]
        if name not in ("model", "checkpoint") or rng.random() < 0.3:
            return damage.mutate(data, rng)[:size] if rng.random() < 0.3 else atheris.Mutate(data, size)
        return damage.with_header(data, lambda header: damage.mutate(header, rng) if rng.random() < 0.5
                                       else atheris.Mutate(header, len(header) + 100))[:size]

    options = [f"-runs={runs}", f"-rss_limit_mb={MEMORY}", f"-max_len={2 * len(content)}"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={folder}/", str(corpus)], check, custom_mutator=change)
    atheris.Fuzz()


def main() -> None:
    """Fuzz one reader."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reliability.coverage_fuzz", description=__doc__)
    parser.add_argument("name", help="model, checkpoint, IDX, gzip, config, history, ONNX or ONNX of torch")
    parser.add_argument("--runs", type=int, default=100_000)
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        fuzz(args.name, args.runs, Path(folder))


if __name__ == "__main__":
    main()
