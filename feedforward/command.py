"""The command line: options become an Experiment, which is planned, run and reported."""

import argparse
import ast
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import StringIO, TextIOWrapper
import os
from pathlib import Path
import shlex
import shutil
import signal
import sys
from time import monotonic
from types import FrameType
from typing import Any, NoReturn, TextIO
import warnings

import datasets
from feedforward import __version__
from feedforward.configuration import read_fields
from feedforward.experiment import Experiment
from feedforward.folder import quoted, reason
from feedforward.network import LOSSES
from feedforward.predict import predict_table, write_csv
from feedforward.repetition import repeat
from feedforward.results import Results
from feedforward.run import Stop
from feedforward.stages import AUTO
import nn
from nn.files import write_atomically
import optimizers


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are ValueErrors, so that they are one line like all others."""

    def error(self, message: str) -> NoReturn:
        """Raise ValueError."""
        raise ValueError(f"{message}; --help lists the options")


def learning_rate(text: str) -> float | str:
    """Return the number or "auto", or say that a rate that changes is a schedule."""
    try:
        return text if text == AUTO else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number or {AUTO!r}; a rate that changes is a schedule, "
                                         "such as --schedule cosine") from None


def checkpoint_period(text: str) -> int | str:
    """Return the number of epochs, or the text of a number of steps."""
    return int(text) if text.isdecimal() else text


def parser(program: str) -> Parser:
    """Return the parser of all options."""
    parser = Parser(
        prog=program, description="Train a network. The defaults are the article's experiment: 784-50-10, ReLU, "
        "softmax and cross-entropy, He initialization, batches of 6,000, learning rate 0.01, 100 epochs of MNIST.")
    add = parser.add_argument
    add("--optimizer", nargs="+", default=["adam"], metavar="NAME",
        help="a name from --list; several names, or 'all', to compare them from the same start; NAME:EPOCHS NAME, "
        "such as adam:20 lbfgs, to train with one and then with the other (default: adam)")
    add("--lr", type=learning_rate, nargs="+", metavar="RATE", help="learning rate; 'auto', to find it by a range "
        "test; or several, to compare them (default: the article's 0.01, or the optimizer's own default if that is 1)")
    add("-o", action="append", default=[], metavar="FIELD=VALUE", dest="fields", help="another field of the "
        "optimizers that have it, such as -o beta1=0.8, or of one optimizer, such as -o adam.beta1=0.8")
    add("--schedule", metavar="NAME[:NUMBER...]", help="the learning rate over the epochs: see --list")
    add("--dataset", metavar="NAME", help="a name from --list, or a file of your own, .csv, .parquet or .npz "
        "(default: mnist, or digits if mnist is not available)")
    add("--data-dir", metavar="DIR", help="the folder of the dataset's files; missing files are downloaded into it")
    add("--target", nargs="+", default=[], metavar="COLUMN", help="the column of your file to predict; several columns "
        "of numbers are predicted together")
    add("--drop", nargs="+", default=[], metavar="COLUMN", help="columns of your file to leave out")
    add("--one-hot", nargs="+", default=[], metavar="COLUMN", help="columns of your file whose values become one "
        "column of 0 and 1 each")
    add("--missing", choices=["mean"], metavar="mean", help="replace missing numbers of your file by the mean of their "
        "column")
    add("--test-share", type=float, default=0.2, metavar="SHARE", help="of the rows of your file, held out for the "
        "test (default: 0.2)")
    add("--hidden", type=int, nargs="*", default=[50], metavar="N", help="units of each hidden layer: one number for "
        "each layer, no number for no hidden layer (default: 50)")
    add("--activation", default="relu", metavar="NAME", help=f"{', '.join(nn.ACTIVATIONS)} (default: relu)")
    add("--init", default="he", metavar="NAME", help=f"{', '.join(nn.INITIALIZERS)} (default: he)")
    add("--loss", metavar="NAME", help=f"{', '.join(LOSSES)} (default: cross-entropy for classes, mean-squared-error "
        "for numbers)")
    add("--dropout", type=float, default=0.0, metavar="RATE", help="after each hidden layer (default: 0)")
    add("--epochs", type=int, default=100, metavar="N", help="(default: 100)")
    add("--batch-size", type=int, metavar="N", help="(default: a tenth of the training set, 6000 for MNIST; all of it "
        "for second-order optimizers)")
    add("--seed", type=int, default=0, help="one seed gives one result (default: 0)")
    add("--seeds", type=int, default=1, metavar="N", help="train with N seeds, starting at --seed, and compare means")
    add("--jobs", type=int, metavar="N", help="how many runs train at once (default: the number of cores)")
    add("--threads", type=int, metavar="N", help="how many threads each training uses (default: as many as NumPy's "
        "BLAS has, divided among the runs of --jobs)")
    add("--dtype", default="float32", metavar="NAME", help="float32 or float64 (default: float32)")
    add("--out", metavar="DIR", help="the run folder, new or empty (default: runs/DATASET-OPTIMIZER-TIME)")
    add("--resume", metavar="RUN", help="continue the run in this folder, exactly as if it had not been interrupted; "
        "with a larger --epochs, prolong it")
    add("--checkpoint-every", type=checkpoint_period, metavar="N", help="write a checkpoint every N epochs or, as in "
        "200s, steps (default: about once a minute, and at the end)")
    add("--config", metavar="FILE", help="take options from a file .toml, or from the config.json of a run; options of "
        "the command line come first")
    add("--no-plots", action="store_true", help="draw no figures")
    add("--dry-run", action="store_true", help="check everything and print the plan; writes and downloads "
        "nothing")
    add("--list", action="store_true", help="list every optimizer with its fields, every schedule and every dataset")
    add("-q", "--quiet", action="store_true", help="show no progress and no notes, only errors and results")
    add("--version", action="version", version=f"feedforward {__version__}")
    return parser


# the options that no Experiment has
OTHER = ("out", "no_plots", "dry_run", "list", "resume", "checkpoint_every", "config", "quiet")


def parser_of_predict(program: str) -> Parser:
    """Return the parser of `predict`."""
    parser = Parser(prog=f"{program} predict", description="Predict the target of every row of a file with the network "
                    "of a run, and print the predictions as CSV; for classes, with their probabilities.")
    parser.add_argument("run", metavar="RUN", help="the folder of one run")
    parser.add_argument("file", metavar="FILE", help="a file .csv or .parquet with the columns that the run was "
                        "trained on, or .npz with an array x")
    parser.add_argument("--out", metavar="FILE", help="a new file to write the predictions into")
    return parser


def parser_of_repeat(program: str) -> Parser:
    """Return the parser of `repeat`."""
    parser = Parser(prog=f"{program} repeat", description="Train again exactly what a run folder describes, and say "
                    "whether the weights and the histories have the same bytes.")
    parser.add_argument("run", metavar="RUN", help="the folder of a run or a comparison")
    parser.add_argument("--out", metavar="DIR", help="the folder of the second training, new or empty")
    parser.add_argument("--no-plots", action="store_true", help="draw no figures")
    parser.add_argument("-q", "--quiet", action="store_true", help="show no progress and no notes")
    return parser


def predict(argv: Sequence[str], program: str, name: str, stop: Stop) -> int:
    """Predict what the options say, and return the exit status."""
    options = parser_of_predict(name).parse_args(argv)
    if options.out and Path(options.out).exists():
        raise ValueError(f"{options.out} exists: name another file")
    text = StringIO()
    write_csv(predict_table(options.run, options.file), text)
    if options.out:
        write_atomically(Path(options.out), lambda file: file.write(text.getvalue().encode()))
    else:
        say(text.getvalue().removesuffix("\n"))
    return 3 if _unwritten else 0


def repeat_run(argv: Sequence[str], program: str, name: str, stop: Stop) -> int:
    """Train again what the options say, and return the exit status: 0 if the bytes are the same, else 1."""
    options = parser_of_repeat(name).parse_args(argv)
    results, differences = repeat(options.run, options.out, progress=not options.quiet, figures=not options.no_plots,
                                  stop=stop, notify=ignore if options.quiet else warn)
    status = report(results, program)
    for difference in differences:
        say(f"{name}: {difference}", "stderr")
    if not differences:
        say(f"the weights and histories are those of {options.run}, byte for byte")
    return status or bool(differences)


COMMANDS = {"predict": predict, "repeat": repeat_run}


def values(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options as arguments of Experiment."""
    values = {name: value for name, value in vars(options).items() if name not in OTHER}
    return {**values, "fields": parse_fields(values["fields"])} if "fields" in values else values


def explicit(argv: Sequence[str], program: str) -> argparse.Namespace:
    """Return the options that `argv` holds, without those that have their default value."""
    known = parser(program)
    unset = argparse.Namespace(**dict.fromkeys(vars(known.parse_args([]))))  # argparse sets no default for these
    options = vars(known.parse_args(argv, unset))
    return argparse.Namespace(**{name: value for name, value in options.items() if value is not None})


def run(argv: Sequence[str], program: str, name: str, stop: Stop) -> int:
    """Do what the options say, and return the exit status."""
    if argv and argv[0] in COMMANDS:
        return COMMANDS[argv[0]](argv[1:], program, name, stop)
    options = parser(name).parse_args(argv)
    show = {"progress": not options.quiet, "figures": not options.no_plots, "stop": stop,
            "notify": ignore if options.quiet else warn, "checkpoint_every": options.checkpoint_every}
    if options.list:
        say(listing())
        return 0
    if options.resume is not None:
        if options.out or options.dry_run or options.config:
            raise ValueError("--resume continues in the folder of the run: leave out --out, --dry-run and --config")
        changed = values(explicit(argv, name))
        results = Experiment.resume(options.resume, changed.pop("epochs", None), **show, **changed)
        return report(results, program)
    given = values(options)
    if options.config is not None:
        given = {**read_fields(options.config), **values(explicit(argv, name))}
    chosen = Experiment(**given)
    if options.dry_run:
        say(chosen.plan(options.out, notify=warn) + "\nnothing was trained or written: --dry-run")
        return 0
    return report(chosen.run(options.out or True, command=shlex.join([*program.split(), *argv]), **show), program)


def parse_fields(texts: Sequence[str]) -> dict[str, Any]:
    """Return the values of the options -o FIELD=VALUE as a dict by field."""
    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"-o {text}: write FIELD=VALUE, such as -o beta1=0.8")
        try:
            values[name] = ast.literal_eval(value.capitalize() if value in ("true", "false") else value)
        except (ValueError, SyntaxError):
            values[name] = value
    return values


def listing() -> str:
    """Return every optimizer, schedule and dataset, one per line."""
    def rows(table: dict[str, Any]) -> list[str]:
        return [f"  {name:14}" + ", ".join(f"{field}={value}" for field, value in
                                           optimizers.hyperparameters(kind).items()) for name, kind in table.items()]

    return "\n".join([
        "optimizers, with their fields and defaults (--optimizer NAME, --lr, -o FIELD=VALUE):",
        *rows(optimizers.OPTIMIZERS),
        "schedules, with their numbers in order and defaults (--schedule NAME:NUMBER:NUMBER, warmup:5+cosine):",
        *rows(optimizers.SCHEDULES),
        "datasets (--dataset NAME):",
        *(f"  {name:14}{entry.examples}; {entry.source}" for name, entry in datasets.DATASETS.items())])


def report(results: Results, program: str) -> int:
    """Print the results and return the exit status: 0, 1 if a run failed, 3 if output could not be written."""
    name = program.split()[-1]
    say(f"{results.table()}\nrun folder: {results.folder}")
    for run in results:
        for message in run.messages:
            say(f"seed {run.seed}, {message}")
        for stage, form in run.forms().items():
            say(f"seed {run.seed}, {stage} used its form {form!r}")
        for line in run.found_rates():
            say(line)
        if run.error:
            say(f"{name}: {run.name}, seed {run.seed}: {run.error}", "stderr")
    for problem in results.problems:
        say(f"{name}: {problem}", "stderr")
    if results.interrupted and results.folder is not None:
        say(f"interrupted: continue with\n  {command_line(program)} --resume {quoted(results.folder)}")
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
    name, stop = program.split()[-1], Stop()
    _unwritten.clear()
    try:
        with stop_at_first_signal(stop), warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: say(f"{name}: {message}", "stderr")
            status = run(argv, program, name, stop)
    except (ValueError, TypeError, datasets.DataError, OSError, MemoryError) as error:
        say(f"{name}: {reason(error).removeprefix('Experiment: ')}", "stderr")
        status = 2
    except KeyboardInterrupt:
        say(f"{name}: interrupted", "stderr")
        return 130
    return 128 + stop.signal if stop.signal else status


def ignore(message: str) -> None:
    """Do not print a message."""


def warn(message: str) -> None:
    """Print a message that must not be overlooked."""
    line = "!" * 100
    say(f"{line}\n{message}\n{line}" if message.startswith("MNIST") else message, "stderr")
