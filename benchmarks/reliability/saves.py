"""Trainings that are interrupted or killed, and saves that fail: each must continue to the same result."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
import errno
import hashlib
import os
from pathlib import Path
import signal
import subprocess
import sys
import tempfile
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import Any
from unittest.mock import patch
import warnings

import numpy as np

from benchmarks.report import ROOT
from datasets import load
from feedforward.run import CHECKPOINT
from nn import Checkpoint, CrossEntropy, CSVLog, Dense, Dropout, History, Model, ReLU, Softmax
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


def continued(folder: Path, expected: str, environment: dict[str, str], launcher: Sequence[str] = ()) -> list[str]:
    """Continue a run that was killed, and return what differs; start it if it had not begun."""
    begun = (folder / "config.json").exists()
    arguments = ("--resume", str(folder)) if begun else ("--out", str(folder))
    short = [sys.executable, "train.py", *arguments] if begun else command(folder)
    result = subprocess.run([*launcher, *short], cwd=ROOT, capture_output=True, text=True, env=environment)
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
