"""Measurements in turns: each program has its own process, which sleeps while another one runs.

So the threads of one program do not disturb another, and all see the same machine: a ratio is that of two times of the
same round, and the median is over the rounds. Every other round goes through the programs in the opposite order.
"""

from collections.abc import Callable, Mapping, Sequence
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

from tqdm import tqdm

from benchmarks.report import ROOT

PAUSE = 0.05  # seconds between two turns: threads that wait in a loop go to sleep meanwhile


class Program(NamedTuple):
    """A function that makes a turn: ``module:name``, its arguments, and the checkout whose code it measures.

    The function returns the turn, a callable. The turn returns its seconds, or any other object if its whole call is to
    be timed.
    """

    function: str
    arguments: Mapping[str, Any]
    checkout: Path = ROOT


class Process:
    """The process of a program.

    Parameters
    ----------
    program : Program
        The program.
    """

    def __init__(self, program: Program) -> None:
        self._function = program.function
        command = [sys.executable, "-m", "benchmarks.turns", program.function, json.dumps(dict(program.arguments))]
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
        self._process.kill()
        self._process.wait()

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


def serve(function: str, arguments: Mapping[str, Any]) -> None:
    """Make the turn, and run it once for each line of the standard input; write its seconds."""
    module, name = function.split(":")
    output = sys.stdout
    with redirect_stdout(sys.stderr):  # some frameworks print
        run: Callable[[], object] = getattr(importlib.import_module(module), name)(**arguments)
        print(0.0, file=output, flush=True)
        for _ in sys.stdin:
            started = perf_counter()
            result = run()
            seconds = result if isinstance(result, float) else perf_counter() - started
            print(seconds, file=output, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], json.loads(sys.argv[2]))
