"""Damaged files, at random and chosen by coverage: each must load or be refused, in one line and within a second."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
import gzip
import hashlib
from importlib.util import find_spec
import os
from pathlib import Path
import re
import subprocess
import sys
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

from benchmarks.reliability import onnx_files
from benchmarks.reliability.saves import without_warnings
from benchmarks.report import ROOT
from datasets import DataError, read_idx
import feedforward as ff
from feedforward.experiment import read_experiment
from nn import Checkpoint, CrossEntropy, CSVLog, Dense, Dropout, History, InvalidFile, Model, ReLU, Softmax
from nn.archive import CHECKSUM, NO_CHECKSUM
from optimizers import get


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Return damaged bytes: some changed, removed, repeated or moved."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        kind, at = int(rng.integers(8)), int(rng.integers(0, len(changed) + 1))
        length = int(rng.integers(1, 40))
        if kind == 0 and changed:
            changed[at % len(changed)] ^= 1 << int(rng.integers(8))
        elif kind == 1 and changed:
            changed[at % len(changed)] = int(rng.choice([0, 1, 9, 10, 32, 34, 44, 91, 93, 123, 125, 127, 128, 255]))
        elif kind == 2:
            del changed[at : at + length]
        elif kind == 3:
            changed[at:at] = rng.bytes(length)
        elif kind == 4:
            changed[at:at] = changed[at : at + length]
        elif kind == 5:
            del changed[at:]
        elif kind == 6:
            changed[at : at + 8] = int(rng.choice([0, 1, 2**31 - 1, 2**32 - 1, 2**60, 2**63])).to_bytes(8, "little")
        else:
            digits = [i for i, byte in enumerate(changed) if 48 <= byte <= 57]
            if digits:
                i = int(rng.choice(digits))
                changed[i : i + 1] = rng.choice([b"-1", b"1e308", b"99999999999", b"0", b"null", b"\"\"", b"[]"]).item()
    return bytes(changed)


def with_checksum(data: bytes) -> bytes:
    """Return damaged bytes with the checksum that is right for them: such a file was made on purpose."""
    match = CHECKSUM.search(data)
    if match is None:
        return data
    start, stop = match.span(1)
    digest = hashlib.sha256(data[:start] + NO_CHECKSUM + data[stop:]).hexdigest().encode()
    return data[:start] + digest + data[stop:]


def with_header(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Return bytes whose header is changed, and whose length of the header and checksum are right for it."""
    length = int.from_bytes(data[:8], "little")
    header, rest = data[8 : 8 + length], data[8 + length :]
    changed = change(header)
    length = min(max(length + len(changed) - len(header), 0), 2**64 - 1)
    return with_checksum(length.to_bytes(8, "little") + changed + rest)


def readers(folder: Path) -> dict[str, tuple[bytes, Callable[[Path], object], tuple[type[Exception], ...]]]:
    """Return the content of a valid file, the function that reads it and its errors, for each kind of file."""
    path = folder / "made"
    model = Model([Dense(6, 5), ReLU(), Dropout(0.1), Dense(5, 3), Softmax()], CrossEntropy(), seed=0)
    model.save(path)
    contents = {"model": path.read_bytes()}
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 6)), rng.integers(0, 3, 20)
    checkpoint, log = Checkpoint(folder / "checkpoint"), CSVLog(folder / "log")
    model.fit(x, y, get("adam"), 2, 10, callbacks=[log, checkpoint], progress=False)
    contents["checkpoint"] = checkpoint.path.read_bytes()
    contents["history"] = (folder / "log").read_bytes()
    contents["IDX"] = bytes([0, 0, 8, 3, 0, 0, 0, 20, 0, 0, 0, 8, 0, 0, 0, 8]) + rng.bytes(1280)
    contents["gzip"] = gzip.compress(contents["IDX"], mtime=0)
    ff.Experiment(dataset="digits", epochs=1).run(folder / "run", progress=False, figures=False)
    contents["config"] = (folder / "run" / "config.json").read_bytes()

    def read_checkpoint(file: Path) -> object:
        other = Model([Dense(6, 5), ReLU(), Dropout(0.1), Dense(5, 3), Softmax()], CrossEntropy(), seed=0)
        with refused("other settings"):  # it is a checkpoint of another training
            return Checkpoint(file).restore(other, get("adam"))

    def read_config(file: Path) -> object:
        with refused("one run of a comparison"):
            return read_experiment(file.parent)

    functions: dict[str, Callable[[Path], object]] = {
        "model": Model.load, "checkpoint": read_checkpoint, "history": History.read, "IDX": read_idx, "gzip": read_idx,
        "config": read_config}
    if find_spec("onnx"):
        model.to_onnx(path)
        contents |= {"ONNX": path.read_bytes(), "ONNX of torch": onnx_files.of_torch().SerializeToString()}
        functions |= {"ONNX": Model.from_onnx, "ONNX of torch": Model.from_onnx}
    errors: dict[str, tuple[type[Exception], ...]] = {"IDX": (DataError,), "gzip": (DataError,)}
    return {name: (contents[name], functions[name], errors.get(name, (InvalidFile,))) for name in functions}


@contextmanager
def refused(reason: str) -> Iterator[None]:
    """Accept that a file, which is not damaged, is refused for this reason."""
    try:
        yield
    except ValueError as error:
        if isinstance(error, InvalidFile) or reason not in str(error):
            raise


def damaged_reader(name: str, folder: Path) -> tuple[bytes, Callable[[bytes], list[str]]]:
    """Return a valid file of one kind, and a function that reads a damaged one and returns what went wrong.

    That is an error of another type than it should be, or of several lines, or that it took a second.
    """
    content, read, errors = readers(folder)[name]
    file = folder / ("config.json" if name == "config" else "file")

    def attempt(data: bytes) -> list[str]:
        file.unlink(missing_ok=True)  # a new file: some file systems write one that is overwritten to the disk at once
        file.write_bytes(data)
        problems, started = [], perf_counter()
        try:
            with without_warnings():
                read(file)
        except errors as error:
            if "\n" in str(error):
                problems.append(f"{name}: an error of several lines: {error}")
        except Exception as error:  # what this looks for
            problems.append(f"{name}: {type(error).__name__}: {error}")
        if perf_counter() - started > 1:
            problems.append(f"{name}: {perf_counter() - started:.1f} s")
        return problems

    return content, attempt


def fuzz(name: str, tries: int, progress: Callable[[], object] = lambda: None) -> list[str]:
    """Read so many damaged files of one kind; return what went wrong."""
    problems = []
    rng = np.random.default_rng(sum(name.encode()))
    with TemporaryDirectory() as folder:
        content, attempt = damaged_reader(name, Path(folder))
        for _ in range(tries):
            data = mutate(content, rng)
            if name in ("model", "checkpoint") and rng.random() < 0.7:  # else the checksum refuses nearly everything
                data = with_header(content, lambda header: mutate(header, rng))
            if "ONNX" in name and rng.random() < 0.7:
                data = onnx_files.damaged(content, rng, mutate)
            problems += attempt(data)
            progress()
    return problems


def guided_fuzz(name: str, tries: int, progress: Callable[[int], object] = lambda n: None) -> tuple[str, list[str]]:
    """Read so many damaged files that are chosen by the code that they reach, in a process of its own.

    Return how many places of the code were reached, by the valid file and by all, and what went wrong.
    """
    command = [sys.executable, "-m", "benchmarks.reliability.coverage_fuzz", name, "--runs", str(tries)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
                               env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert process.stderr is not None
    reached, done, lines = [], 0, []
    for line in process.stderr:
        lines.append(line.strip())
        if match := re.match(r"#(\d+)\s.*cov: (\d+)", line):
            progress(int(match[1]) - done)
            done = int(match[1])
            reached.append(match[2])
    failed = process.wait() or done < tries
    return (f"{reached[0]} to {reached[-1]} places of the code" if reached else "",
            [f"{name}: {' '.join(lines[-30:])}"] if failed else [])
