"""Whether anything is lost: interruptions, kills, faults of the disk, damaged files, and long use.

    python -m benchmarks.reliability

Each function counts its tries and returns what went wrong, one line each. The tests run them with fewer tries.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
import errno
import gc
import gzip
import hashlib
from importlib.util import find_spec
import os
from pathlib import Path
import re
import resource
import signal
import subprocess
import sys
import tempfile
from tempfile import TemporaryDirectory
import threading
from time import perf_counter, sleep
from typing import Any
from unittest.mock import patch
import warnings
import weakref

import numpy as np
from tqdm import tqdm

from benchmarks import onnx_files
from benchmarks.report import ROOT, machine, table
from datasets import DataError, load, read_idx
import feedforward as ff
from feedforward.experiment import read_experiment
from feedforward.run import CHECKPOINT
from nn import Checkpoint, CrossEntropy, CSVLog, Dense, Dropout, History, InvalidFile, Model, ReLU, Softmax
from nn.archive import CHECKSUM, NO_CHECKSUM
from nn.files import write_atomically
from optimizers import OPTIMIZERS, FirstOrder, get

EPOCHS, BATCH = 3, 120  # of the trainings that are interrupted
ROWS = slice(0, 600)
SAVE_POINTS = ("before the file is created", "half is written", "all is written", "before the old file is renamed",
               "between the renamings", "before the folder is synchronized", "at the end")


class StopAfter:
    """Ends a fit after so many steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def on_step_end(self, model: Model, examples: int) -> None:
        """Count a step."""
        self.left -= 1
        model.stop_training = model.stop_training or self.left == 0


def train(folder: Path, name: str, every: str = "1s", stop: int = 0,
          epochs: int = EPOCHS) -> tuple[Model, Any, History]:
    """Train on digits with checkpoints in a folder, or continue there; end after `stop` steps if that is above 0."""
    data = load("digits")
    first_order = issubclass(OPTIMIZERS[name], FirstOrder)
    dropout = [Dropout(0.2)] if first_order else []
    model = Model([Dense(64, 10), ReLU(), *dropout, Dense(10, 10), Softmax()], CrossEntropy(), seed=1)
    optimizer, checkpoint = get(name), Checkpoint(folder / CHECKPOINT, every)
    history = checkpoint.restore(model, optimizer)
    model.fit(data.x_train[ROWS], data.y_train[ROWS], optimizer, epochs - len(history),
              BATCH if first_order else None, (data.x_test, data.y_test),
              [*([StopAfter(stop)] if stop else []), CSVLog(folder / "history.csv"), checkpoint], progress=False,
              history=history)
    return model, optimizer, history


def fingerprint(model: Model, optimizer: Any, history: History) -> str:
    """Return a hash of weights, optimizer and history, without seconds."""
    digest = hashlib.sha256(model.theta.tobytes())
    for name, value in sorted(optimizer.state().items()):
        digest.update(name.encode() + np.asarray(value).tobytes())
    for epoch in history:
        digest.update(repr({name: value for name, value in epoch.items() if name != "seconds"}).encode())
    return digest.hexdigest()


def resume(points: int, progress: Callable[[], object] = lambda: None) -> list[str]:
    """Interrupt every optimizer at so many random steps, and continue in a model of its own each time."""
    problems, rng = [], np.random.default_rng(0)
    for name, kind in OPTIMIZERS.items():
        with TemporaryDirectory() as folder:
            epochs = EPOCHS if issubclass(kind, FirstOrder) else 6
            expected = fingerprint(*train(Path(folder), name, epochs=epochs))
        steps = epochs * (5 if issubclass(kind, FirstOrder) else 1)
        for _ in range(points):
            stop = int(rng.integers(1, steps))
            with TemporaryDirectory() as folder:
                train(Path(folder), name, stop=stop, epochs=epochs)
                if fingerprint(*train(Path(folder), name, epochs=epochs)) != expected:
                    problems.append(f"{name}, interrupted after step {stop} of {steps}: another result")
            progress()
    return problems


def command(folder: Path, *arguments: str) -> list[str]:
    """Return the command of a training that a test kills."""
    return [sys.executable, "train.py", "--dataset", "digits", "--epochs", "60", "--hidden", "20", "--dropout", "0.1",
            "--no-plots", "--checkpoint-every", "3s", *(arguments or ("--out", str(folder)))]


def state_of(folder: Path) -> str:
    """Return a hash of the weights, the optimizer and the history in a run folder."""
    saved = Checkpoint(folder / CHECKPOINT).read()
    assert saved is not None
    digest = hashlib.sha256(Model.load(folder / "model.safetensors").theta.tobytes())
    for name, array in sorted(saved.arrays.items()):
        digest.update(name.encode() + array.tobytes())
    for epoch in History.read(folder / "history.csv"):
        digest.update(repr({name: value for name, value in epoch.items() if name != "seconds"}).encode())
    return digest.hexdigest()


def crash(kills: int, progress: Callable[[], object] = lambda: None) -> list[str]:
    """Kill so many trainings, half at random times, half at named points of a save, and continue them."""
    problems, rng = [], np.random.default_rng(0)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with TemporaryDirectory() as parent:
        whole = Path(parent, "whole")
        started = perf_counter()
        subprocess.run(command(whole), cwd=ROOT, check=True, capture_output=True, env=environment)
        seconds, expected = perf_counter() - started, state_of(whole)
        for number in range(kills):
            folder = Path(parent, str(number))
            if number % 2:
                point, count = SAVE_POINTS[number // 2 % len(SAVE_POINTS)], int(rng.integers(1, 60))
                what = f"killed at save {count}, {point!r}"
                killer = [sys.executable, "-m", "benchmarks.reliability", "--kill-at", point, str(count), "--"]
                subprocess.run([*killer, *command(folder)[2:]], cwd=ROOT, capture_output=True, env=environment)
            else:
                delay = float(rng.uniform(0.1, seconds))
                what = f"killed after {delay:.3f} s"
                process = subprocess.Popen(command(folder), cwd=ROOT, stdout=subprocess.DEVNULL,
                                           stderr=subprocess.DEVNULL, env=environment)
                sleep(delay)
                process.kill()
                process.wait()
            problems += [f"{what}: {problem}" for problem in continued(folder, expected, environment)]
            progress()
    return problems


def continued(folder: Path, expected: str, environment: dict[str, str]) -> list[str]:
    """Continue a run that was killed, and return what differs; start it if it had not begun."""
    begun = (folder / "config.json").exists()
    arguments = ("--resume", str(folder)) if begun else ("--out", str(folder))
    short = [sys.executable, "train.py", *arguments] if begun else command(folder)
    result = subprocess.run(short, cwd=ROOT, capture_output=True, text=True, env=environment)
    if result.returncode:
        return [f"it does not continue: {result.stderr.strip()}"]
    left = [path.name for path in folder.iterdir() if path.name.endswith(".tmp")]
    return (["another result"] if state_of(folder) != expected else []) + [f"it leaves {name}" for name in left]


@contextmanager
def interfering(at: str, action: Callable[[], None], count: int = 1) -> Iterator[None]:
    """Within the context, do `action` at a named point of the save with this number."""
    real_fsync, real_replace, real_mkstemp = os.fsync, os.replace, tempfile.mkstemp
    saves, renamings = 0, 0

    def reached(point: str) -> None:
        if point == at and saves == count:
            action()

    def mkstemp(*arguments: Any) -> Any:
        nonlocal saves, renamings
        saves, renamings = saves + 1, 0
        reached("before the file is created")
        return real_mkstemp(*arguments)

    def fsync(handle: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            reached("before the folder is synchronized")
            real_fsync(handle)
            reached("at the end")
            return
        size = os.fstat(handle).st_size
        if at == "half is written" and saves == count:
            os.ftruncate(handle, size // 2)
        reached("half is written")
        reached("all is written")
        real_fsync(handle)

    def replace(source: Any, target: Any) -> None:
        nonlocal renamings
        reached("before the old file is renamed" if not renamings else "between the renamings")
        renamings += 1
        real_replace(source, target)

    with patch.object(os, "fsync", fsync), patch.object(os, "replace", replace), patch.object(
            tempfile, "mkstemp", mkstemp):
        yield


def kill_at(point: str, count: int, argv: list[str]) -> int:
    """Run the command line, and kill this process at a named point of the save with this number."""
    from feedforward.command import main as command_line

    with interfering(point, lambda: os.kill(os.getpid(), signal.SIGKILL), count):
        return command_line(argv, "python train.py")


def faults(numbers: tuple[int, ...] = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS)) -> tuple[int, list[str]]:
    """Let each operation of a save fail with each error, and return the number of tries and what was lost."""
    problems, tries = [], 0
    with TemporaryDirectory() as folder:
        expected = fingerprint(*train(Path(folder), "adam"))
    for number in numbers:
        def fail(number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        for point in SAVE_POINTS:
            for count in (2, 3, 8):
                tries += 1
                what = f"{errno.errorcode[number]} at save {count}, {point!r}"
                with TemporaryDirectory() as text:
                    folder_path = Path(text)
                    with without_warnings(), interfering(point, fail, count):
                        trained = fingerprint(*train(folder_path, "adam"))
                    if trained != expected:
                        problems.append(f"{what}: another result")
                    if fingerprint(*train(folder_path, "adam")) != expected:
                        problems.append(f"{what}: what is on disk does not continue to the same result")
                    problems += [f"{what}: it leaves {path.name}" for path in folder_path.glob(".*.tmp")]
    return tries, problems


@contextmanager
def without_warnings() -> Iterator[None]:
    """Ignore warnings within the context."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


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
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.coverage_fuzz", name, "--runs", str(tries)], cwd=ROOT,
                               stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
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


def determinism(processes: int) -> list[str]:
    """Run one command in processes with different hash seeds; return a line if their results differ."""
    states = []
    with TemporaryDirectory() as parent:
        for number in range(processes):
            folder = Path(parent, str(number))
            subprocess.run(command(folder), cwd=ROOT, check=True, capture_output=True,
                           env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": str(number)})
            states.append(state_of(folder))
    return [] if len(set(states)) == 1 else [f"{len(set(states))} different results of {processes}"]


def other_threads(tolerance: float = 1e-12) -> tuple[float, list[str]]:
    """Train on 1 to 4 threads, in float64; return the largest relative difference of weights, and each above this."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3000, 200)), rng.integers(0, 10, 3000)
    thetas = []
    for threads in range(1, 5):
        model = Model([Dense(200, 300), ReLU(), Dense(300, 10), Softmax()], CrossEntropy(), seed=0, dtype="float64")
        model.fit(x, y, get("momentum"), 5, 1000, progress=False, threads=threads)
        thetas.append(model.theta)
    differences = [float(np.abs(theta - thetas[0]).max() / np.abs(thetas[0]).max()) for theta in thetas]
    return max(differences), [f"{threads} threads: weights differ by {difference:.1e}"
                              for threads, difference in enumerate(differences, 1) if difference > tolerance]


def small_fit(seed: int) -> np.ndarray:
    """Train a small model and return its weights."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(20, 6)), rng.integers(0, 3, 20)
    model = Model([Dense(6, 5), ReLU(), Dense(5, 3), Softmax()], CrossEntropy(), seed=seed)
    model.fit(x, y, get("adam"), 3, 8, progress=False, threads=1)
    return model.theta.copy()


def leaks(cycles: int, warm_up: int = 100, progress: Callable[[], object] = lambda: None) -> tuple[float, list[str]]:
    """Fit and predict so many times; return the bytes by which the memory grows in a cycle, and what is left."""
    data, problems = load("digits"), []

    def cycle() -> None:
        model = Model([Dense(64, 10), ReLU(), Dense(10, 10), Softmax()], CrossEntropy(), seed=0)
        model.fit(data.x_train[ROWS], data.y_train[ROWS], get("adam"), 1, 200, progress=False, threads=2)
        model.predict(data.x_test)

    for _ in range(warm_up):
        cycle()
    gc.collect()
    before = resident(), len(os.listdir("/proc/self/fd")), threading.active_count()
    for _ in range(cycles):
        cycle()
        progress()
    gc.collect()
    after = resident(), len(os.listdir("/proc/self/fd")), threading.active_count()
    if after[1:] != before[1:]:
        problems.append(f"file descriptors and threads were {before[1:]} and are {after[1:]}")
    gc.disable()
    try:
        model = Model([Dense(6, 5), Softmax()], CrossEntropy())
        model.fit(np.ones((4, 6)), [0, 1, 2, 3], get("adam"), progress=False)
        reference = weakref.ref(model)
        del model
        if reference() is not None:
            problems.append("a reference cycle keeps a model alive")
    finally:
        gc.enable()
    growth = (after[0] - before[0]) / cycles
    return growth, problems + ([f"memory grows by {growth:,.0f} bytes a cycle"] if growth > 1000 else [])


def resident() -> int:
    """Return the resident memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def soak(fits: int, progress: Callable[[], object] = lambda: None) -> list[str]:
    """Train in two threads at once, after a fork, and many times in a row; return each result that is not as alone."""
    problems, expected = [], [small_fit(seed) for seed in range(20)]

    def check(what: str, results: list[np.ndarray]) -> None:
        if any(not np.array_equal(a, b) for a, b in zip(results, expected, strict=True)):
            problems.append(f"{what}: another result")

    found: list[list[np.ndarray]] = [[], []]
    threads = [threading.Thread(target=lambda k=k: found[k].extend(small_fit(seed) for seed in range(20)))
               for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for results in found:
        check("two threads", results)
    child = os.fork()
    if not child:
        os._exit(0 if all(np.array_equal(small_fit(seed), theta) for seed, theta in enumerate(expected)) else 1)
    if os.waitpid(child, 0)[1]:
        problems.append("after a fork: another result")
    for number in range(fits):
        if not np.array_equal(small_fit(number % 20), expected[number % 20]):
            problems.append(f"fit {number}: another result")
        progress()
    return problems


def full_disk() -> list[str] | None:
    """Train on a real file system of 200 kB that fills up; None if this machine does not allow to make one."""
    with TemporaryDirectory() as folder:
        if os.name != "posix" or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", folder],
                                                capture_output=True).returncode:
            return None
        try:
            path = Path(folder)
            with TemporaryDirectory() as other:
                expected = fingerprint(*train(Path(other), "adam", "5s"))
            with without_warnings():
                train(path, "adam", "5s", stop=5)
                with suppress(OSError):
                    (path / "filler").write_bytes(bytes(1 << 20))
                trained = fingerprint(*train(path, "adam", "5s"))
            (path / "filler").unlink()
            problems = [] if trained == expected else ["another result"]
            if fingerprint(*train(path, "adam", "5s")) != expected:
                problems.append("what is on disk does not continue to the same result")
            return problems
        finally:
            subprocess.run(["umount", folder], check=True)


FULL = {"resume": 20, "crash": 200, "fuzz": 100_000, "small fuzz": 10_000, "leaks": 1_000, "soak": 10_000}


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
