"""The command line: options become an Experiment, which is planned, run and reported."""

from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from functools import partial
from io import StringIO, TextIOWrapper
import os
from pathlib import Path
import shlex
import shutil
import signal
import sys
from time import monotonic
from types import FrameType
from typing import TextIO
import warnings

from datasets import DataError
from feedforward.configuration import read_fields
from feedforward.data import ignore
from feedforward.experiment import Experiment
from feedforward.folder import quoted, reason
from feedforward.options import FURTHER, explicit, listing, parser, values
from feedforward.predict import predict_table, write_csv
from feedforward.repetition import repeat
from feedforward.results import Results
from feedforward.run import Stop
from nn.distributed import together
from nn.files import write_atomically
from nn.mpi import Ranks, world


def predict(options: Namespace, program: str, name: str, stop: Stop, ranks: Ranks) -> int:
    """Predict what the options say, and return the exit status."""
    if ranks.rank > 0:
        return 0
    if options.out and Path(options.out).exists():
        raise ValueError(f"{options.out} exists: name another file")
    text = StringIO()
    write_csv(predict_table(options.run, options.file), text)
    if options.out:
        write_atomically(Path(options.out), lambda file: file.write(text.getvalue().encode()))
    else:
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        try:
            text.getvalue().encode(encoding)
        except UnicodeEncodeError as error:
            raise ValueError(f"stdout is {encoding}, which cannot show {error.object[error.start]!r}: write into a "
                             "file by --out FILE") from None
        say(text.getvalue().removesuffix("\n"))
    return 3 if _unwritten else 0


def repeat_run(options: Namespace, program: str, name: str, stop: Stop, ranks: Ranks) -> int:
    """Train again what the options say, and return the exit status: 0 if the bytes are the same, else 1."""
    results, differences = repeat(options.run, options.out, progress=not options.quiet, figures=not options.no_plots,
                                  stop=stop, notify=ignore if options.quiet else warn, comm=ranks.comm)
    status = report(results, program, ranks.size)
    for difference in differences:
        say(f"{name}: {difference}", "stderr")
    if not differences:
        say(f"the weights and histories are those of {options.run}, byte for byte")
    return status or bool(differences)


def complete(options: Namespace, program: str, name: str, stop: Stop, ranks: Ranks) -> int:
    """Print the script that completes the command in a shell."""
    from feedforward.completion import completion

    return show_text(completion(options.shell))


# what the commands of FURTHER do
COMMANDS = {"predict": predict, "repeat": repeat_run, "completion": complete}


def chosen(argv: Sequence[str], program: str, name: str, stop: Stop, ranks: Ranks) -> Callable[[], Results | int]:
    """Return the function that does what the options say, and returns the results of a training or the exit status."""
    if argv and argv[0] in COMMANDS:
        options = FURTHER[argv[0]](name).parse_args(argv[1:])
        return partial(COMMANDS[argv[0]], options, program, name, stop, ranks)
    options = parser(name).parse_args(argv)
    show = {"progress": not options.quiet, "figures": not options.no_plots, "stop": stop, "comm": ranks.comm,
            "notify": ignore if options.quiet else warn, "checkpoint_every": options.checkpoint_every}
    if options.list:
        return partial(only_on_rank_0, ranks, partial(show_text, listing()))
    if options.resume is not None:
        if options.out or options.dry_run or options.config:
            raise ValueError("--resume continues in the folder of the run: leave out --out, --dry-run and --config")
        changed = values(explicit(argv, name))
        return partial(Experiment.resume, options.resume, changed.pop("epochs", None), **show, **changed)
    given = values(options)
    if options.config is not None:
        from_file, from_line = read_fields(options.config), values(explicit(argv, name))
        if "fields" in from_line and isinstance(from_file.get("fields"), dict):
            from_line["fields"] = {**from_file["fields"], **from_line["fields"]}
        given = {**from_file, **from_line}
    experiment = Experiment(**given)
    if options.dry_run:
        plan = experiment.plan(options.out, notify=warn) + "\nnothing was trained or written: --dry-run"
        return partial(only_on_rank_0, ranks, partial(show_text, plan))
    return partial(experiment.run, options.out or True, command=shlex.join([*program.split(), *argv]), **show)


def only_on_rank_0(ranks: Ranks, command: Callable[[], int]) -> int:
    """Return what a command returns on rank 0; do nothing on others."""
    return command() if ranks.rank == 0 else 0


def show_text(text: str) -> int:
    """Print a text."""
    say(text)
    return 0


def run(argv: Sequence[str], program: str, name: str, stop: Stop, ranks: Ranks) -> int:
    """Do what the options say, and return the exit status."""
    with together(ranks):
        command = chosen(argv, program, name, stop, ranks)
    outcome = command()
    return outcome if isinstance(outcome, int) else report(outcome, program, ranks.size)


def report(results: Results, program: str, ranks: int = 1) -> int:
    """Print the results and return the exit status: 0, 1 if a run failed, 3 if output could not be written."""
    name = program.split()[-1]
    say(f"{results.table()}\nrun folder: {results.folder}")
    for run in results:
        for message in run.messages:
            say(f"{run.full_name}: {message}")
        for stage, form in run.forms().items():
            say(f"{run.full_name}: {stage} used its form {form!r}")
        for line in run.found_rates():
            say(line)
        if run.error:
            say(f"{name}: {run.full_name}: {run.error}", "stderr")
    for problem in results.problems:
        say(f"{name}: {problem}", "stderr")
    if results.interrupted and results.folder is not None:
        launcher = f"mpiexec -n {ranks} " if ranks > 1 else ""
        say(f"interrupted: continue with\n  {launcher}{command_line(program)} --resume {quoted(results.folder)}")
    if any(run.error for run in results):
        return 1
    return 3 if results.problems or _unwritten else 0


def command_line(program: str) -> str:
    """Return the command of a program, such as "python train.py", with the interpreter and the script that run now."""
    words = program.split()
    if words[0] == "python" and shutil.which("python") != sys.executable:
        within = Path(sys.executable).is_relative_to(Path.cwd())
        words[0] = shlex.quote(os.path.relpath(sys.executable) if within else sys.executable)
    if words[-1] == Path(sys.argv[0]).name:
        words[-1] = shlex.quote(sys.argv[0])
    return " ".join(words)


_unwritten: list[str] = []  # why something could not be printed


def say(text: str, where: str = "stdout") -> None:
    """Print a text on stdout or stderr. If that is impossible, it is not an error, but changes the exit status."""
    stream: TextIO | None = getattr(sys, where)
    if stream is None:  # it was closed when Python started
        _unwritten.append("closed")
        return
    try:
        stream.write(f"{text}\n")  # at once: other threads may also write
        stream.flush()
    except (OSError, ValueError) as error:
        _unwritten.append(str(error))
        silence(stream)


def silence(stream: TextIO) -> None:
    """Discard what is still to be written to a stream: Python would report an error when it exits."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


@contextmanager
def stop_at_first_signal(stop: Stop) -> Iterator[None]:
    """Within the context, the first Ctrl-C, SIGTERM or SIGHUP requests a stop after the current step.

    The second one ends the process at once; within half a second it is one with the first, because some programs send
    two. A signal that is ignored, as SIGHUP is under nohup, stays ignored.
    """
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    previous = {number: signal.getsignal(number) for number in numbers
                if signal.getsignal(number) is not signal.SIG_IGN}

    first = 0.0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal first
        if not stop.requested:
            first, stop.requested, stop.signal = monotonic(), True, number
            with suppress(OSError, AttributeError, ValueError):  # stderr may be closed
                # not print: the signal may have come while something is printed
                os.write(sys.stderr.fileno(), b"\nstopping after this step; press Ctrl-C again to stop at once\n")
        elif monotonic() - first > 0.5:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    for number in previous:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def main(argv: Sequence[str] | None = None, program: str = "feedforward") -> int:
    """Run the command line and return its exit status.

    It is 0; 1 if a run failed; 2 for an error; 3 if everything was trained, but a part of the output could not be
    written; or 128 and the number of the signal that stopped it, such as 130 after Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # for terminals that cannot show ±
    argv = sys.argv[1:] if argv is None else argv
    name, stop, ranks = program.split()[-1], Stop(), Ranks()
    _unwritten.clear()
    with ExitStack() as stack:
        try:
            ranks = Ranks(world())
            if ranks.rank > 0:  # rank 0 alone prints
                null = stack.enter_context(open(os.devnull, "w"))
                stack.enter_context(redirect_stdout(null))
                stack.enter_context(redirect_stderr(null))
            with ranks.watch(), stop_at_first_signal(stop), warnings.catch_warnings():
                warnings.showwarning = lambda message, *_: say(f"{name}: {message}", "stderr")
                status = run(argv, program, name, stop, ranks)
                stop.signal = max(ranks.gather(stop.signal))  # another rank alone may have got it
        except (ValueError, TypeError, DataError, OSError, MemoryError, ImportError) as error:
            say(f"{name}: {reason(error).removeprefix('Experiment: ')}", "stderr")
            status = 2
        except KeyboardInterrupt:
            say(f"{name}: interrupted", "stderr")
            return 130
    if ranks.rank > 0:  # the status of rank 0 is that of the job
        return 0
    return 128 + stop.signal if stop.signal else status


def warn(message: str) -> None:
    """Print a message that must not be overlooked."""
    line = "!" * 100
    say(f"{line}\n{message}\n{line}" if message.startswith("MNIST") else message, "stderr")
