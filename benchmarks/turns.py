"""Measurements in turns: each program has its own process, which sleeps while another one runs.

So the threads of one program do not disturb another, and all see the same machine: a ratio is that of two times of the
same round, and the median is over the rounds. Every other round goes through the programs in the opposite order.

A program may also consist of several ranks, which a launcher such as mpiexec starts. Rank 0 measures.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, redirect_stdout
import importlib
import json
import os
from pathlib import Path
import statistics
import subprocess
import sys
from time import perf_counter, sleep
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from benchmarks.report import ROOT
from nn.mpi import world

PAUSE = 0.05  # seconds between two turns: threads that wait in a loop go to sleep meanwhile
PATIENCE = 10.0  # seconds that a process has to end
POLL = 0.001  # seconds after which a rank looks again whether its turn has come


class Program(NamedTuple):
    """A function that makes a turn: ``module:name``, its arguments, and the checkout whose code it measures.

    The function returns the turn, a callable. The turn returns its seconds, or any other object if its whole call is to
    be timed. The launcher is a command that starts all ranks, such as ["mpiexec", "-n", "2"].
    """

    function: str
    arguments: Mapping[str, Any]
    checkout: Path = ROOT
    launcher: Sequence[str] = ()


class Process:
    """The process of a program.

    Parameters
    ----------
    program : Program
        The program.
    """

    def __init__(self, program: Program) -> None:
        self._function = program.function
        # mpi4py ends all ranks if one raises an error
        launcher = [*program.launcher, sys.executable, "-m", "mpi4py"] if program.launcher else [sys.executable]
        command = [*launcher, "-m", "benchmarks.turns", program.function, json.dumps(dict(program.arguments))]
        self._process = subprocess.Popen(command, cwd=program.checkout, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         text=True, env={**os.environ, "PYTHONPATH": str(program.checkout)})
        self._read()

    def turn(self) -> float:
        """Run one turn and return its seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return self._read()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *error: object) -> None:
        # a launcher that is killed leaves its ranks behind; they end when their input does
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()

    def _read(self) -> float:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ChildProcessError(f"the process of {self._function} has ended: its error is above")
        return float(line)


def take_turns(programs: Mapping[str, Program], rounds: int, description: str) -> dict[str, list[float]]:
    """Measure programs in turns.

    Parameters
    ----------
    programs : mapping
        The programs by name.
    rounds : int
        How many turns each has.
    description : str
        The text before the progress bar.

    Returns
    -------
    dict
        The seconds of each turn, by name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    with ExitStack() as stack:
        processes = {name: stack.enter_context(Process(program)) for name, program in programs.items()}
        bar = stack.enter_context(tqdm(total=rounds * len(programs), desc=description, unit=" turns"))
        for number in range(rounds):
            for name in list(programs)[:: 1 if number % 2 else -1]:
                sleep(PAUSE)
                seconds[name].append(processes[name].turn())
                bar.update()
    return seconds


def ratio(seconds: Sequence[float], others: Sequence[float]) -> float:
    """Return the median of the ratios of the turns of the same round."""
    return statistics.median(a / b for a, b in zip(seconds, others, strict=True))


def signals() -> Iterator[None]:
    """Yield for each line of the standard input; in each of several ranks, for each line that rank 0 reads."""
    comm = world()
    if comm is None:
        for _ in sys.stdin:
            yield
        return
    more = np.ones(1, np.int8)
    while True:
        if comm.rank == 0:
            more[0] = bool(sys.stdin.readline())
        request = comm.Ibcast(more)
        while not request.Test():  # to wait for it would keep a core busy while others are measured
            sleep(POLL)
        if not more[0]:
            return
        comm.Barrier()
        yield


def serve(function: str, arguments: Mapping[str, Any]) -> None:
    """Make the turn, and run it once for each line of the standard input; write its seconds."""
    comm = world()
    module, name = function.split(":")
    output = sys.stdout
    with redirect_stdout(sys.stderr):  # some frameworks print
        run: Callable[[], object] = getattr(importlib.import_module(module), name)(**arguments)
        if comm is None or comm.rank == 0:
            print(0.0, file=output, flush=True)
        for _ in signals():
            started = perf_counter()
            result = run()
            seconds = result if isinstance(result, float) else perf_counter() - started
            if comm is None or comm.rank == 0:
                print(seconds, file=output, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], json.loads(sys.argv[2]))
