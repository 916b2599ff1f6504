"""Trainings on several ranks of which one is killed: all must end with one message, and continue to the same result."""

from collections.abc import Callable
import os
from pathlib import Path
import signal
import subprocess
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import Any

import numpy as np

from benchmarks.reliability.saves import command, continued, state_of
from benchmarks.report import ROOT
from benchmarks.scaling.ranks import launcher

MARK = "FEEDFORWARD_KILLED_JOB"  # the variable by which the processes of a job are found
SECONDS = 10  # in which all must have ended


def processes(mark: str) -> list[tuple[int, dict[str, str], str]]:
    """Return number, environment and command of each process of a job."""
    found = []
    for path in Path("/proc").iterdir():
        try:
            text = (path / "environ").read_text(errors="replace") if path.name.isdecimal() else ""
            if f"{MARK}={mark}\0" in text and (line := (path / "cmdline").read_text()):  # empty: it has ended
                variables = dict(field.partition("=")[::2] for field in text.split("\0"))
                found.append((int(path.name), variables, line))
        except OSError:  # it ends meanwhile
            continue
    return found


def rank_process(mark: str, rank: int) -> int | None:
    """Return the number of the process that is a rank of a job; None if there is none yet, or none any more."""
    return next((number for number, variables, line in processes(mark) if "train.py" in line and
                 str(rank) in (variables.get("PMI_RANK"), variables.get("OMPI_COMM_WORLD_RANK"))), None)


def killed(folder: Path, ranks: int, rank: int, delay: float, environment: dict[str, str]) -> list[str] | None:
    """Start a training, kill a rank after a time, and return what is wrong with its end; None if it was too late."""
    mark = f"{os.getpid()} {folder}"
    process = subprocess.Popen([*launcher(ranks), *command(folder)], cwd=ROOT, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True, env={**environment, MARK: mark})
    number = None
    while number is None and process.poll() is None:
        number = rank_process(mark, rank)
    sleep(delay)
    if number is None or rank_process(mark, rank) != number:
        process.communicate()
        return None
    watched = any("watcher.py" in line for *_, line in processes(mark))
    os.kill(number, signal.SIGKILL)
    started = perf_counter()
    try:
        _, text = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        for other, *_ in processes(mark):
            os.kill(other, signal.SIGKILL)
        process.communicate()
        return [f"it has not ended after {SECONDS} s"]
    problems = [] if process.returncode else ["the status is 0"]
    lines = [line for line in text.splitlines() if f"rank {rank}" in line]
    if watched and (len(lines) != 1 or "rank" in text.replace(lines[0], "")):  # before, only mpiexec has a message
        problems.append(f"the messages are {text!r}")
    while left := processes(mark):
        if perf_counter() - started > SECONDS:
            return [*problems, f"{len(left)} processes are left"]
        sleep(0.01)
    return problems


def kill_ranks(kills: int, progress: Callable[[], Any] = lambda: None) -> list[str]:
    """Kill a random rank of so many trainings on two or three ranks, each at a random time, and continue them."""
    problems, rng = [], np.random.default_rng(0)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with TemporaryDirectory() as parent:
        expected, seconds = {}, {}
        for ranks in (2, 3):
            whole, started = Path(parent, f"whole {ranks}"), perf_counter()
            subprocess.run([*launcher(ranks), *command(whole)], cwd=ROOT, check=True, capture_output=True,
                           env=environment)
            expected[ranks], seconds[ranks] = state_of(whole), perf_counter() - started
        done = 0
        while done < kills:
            ranks = 2 + done % 2
            rank, delay = int(rng.integers(ranks)), float(rng.uniform(0, seconds[ranks]))
            with TemporaryDirectory(dir=parent) as folder:
                run = Path(folder, "run")
                found = killed(run, ranks, rank, delay, environment)
                if found is None:  # the training was over before
                    continue
                what = f"rank {rank} of {ranks} killed after {delay:.3f} s"
                found += continued(run, expected[ranks], environment, launcher(ranks))
                problems += [f"{what}: {problem}" for problem in found]
            done += 1
            progress()
    return problems
