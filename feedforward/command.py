"""The command line: options become an Experiment, which is planned, run and reported."""

import argparse
import ast
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
import shlex
import signal
import sys
from types import FrameType
from typing import Any, NoReturn

import datasets
from feedforward.experiment import Experiment
from feedforward.network import LOSSES
from feedforward.results import Results
from feedforward.run import Stop
import nn
import optimizers


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are ValueErrors, so that they are one line like all others."""

    def error(self, message: str) -> NoReturn:
        """Raise ValueError."""
        raise ValueError(f"{message}; --help lists the options")


def learning_rate(text: str) -> float:
    """Return the number, or say that a rate that changes is a schedule."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number; a rate that changes is a schedule, such as "
                                         "--schedule cosine") from None


def parser(program: str) -> Parser:
    """Return the parser of all options."""
    parser = Parser(
        prog=program, description="Train a network. The defaults are the article's experiment: 784-50-10, ReLU, "
        "softmax and cross-entropy, He initialization, batches of 6,000, learning rate 0.01, 100 epochs of MNIST.")
    add = parser.add_argument
    add("--optimizer", nargs="+", default=["adam"], metavar="NAME",
        help="a name from --list; several names, or 'all', to compare them from the same start; NAME:EPOCHS NAME, "
        "such as adam:20 lbfgs, to train with one and then with the other (default: adam)")
    add("--lr", type=learning_rate, metavar="RATE", help="learning rate (default: the article's 0.01, or the "
        "optimizer's own default if that is 1)")
    add("-o", action="append", default=[], metavar="FIELD=VALUE", dest="fields", help="another field of the "
        "optimizers that have it, such as -o beta1=0.8, or of one optimizer, such as -o adam.beta1=0.8")
    add("--schedule", metavar="NAME[:NUMBER...]", help="the learning rate over the epochs: see --list")
    add("--dataset", metavar="NAME", help="a name from --list (default: mnist, or digits if mnist is not available)")
    add("--data-dir", metavar="DIR", help="the folder of the dataset's files; missing files are downloaded into it")
    add("--hidden", type=int, nargs="*", default=[50], metavar="N", help="units of each hidden layer: one number for "
        "each layer, no number for no hidden layer (default: 50)")
    add("--activation", default="relu", metavar="NAME", help=f"{', '.join(nn.ACTIVATIONS)} (default: relu)")
    add("--init", default="he", metavar="NAME", help=f"{', '.join(nn.INITIALIZERS)} (default: he)")
    add("--loss", default="cross-entropy", metavar="NAME", help=f"{', '.join(LOSSES)} (default: cross-entropy)")
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
    add("--no-plots", action="store_true", help="draw no figures")
    add("--dry-run", action="store_true", help="check everything and print the plan; writes and downloads "
        "nothing")
    add("--list", action="store_true", help="list every optimizer with its fields, every schedule and every dataset")
    return parser


def experiment(options: argparse.Namespace) -> Experiment:
    """Return the experiment that the options describe."""
    other = ("out", "no_plots", "dry_run", "list")
    values = {name: value for name, value in vars(options).items() if name not in other}
    return Experiment(**{**values, "fields": parse_fields(options.fields)})


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
    """Print the results and return the exit status: 0, 1 if a run failed, 130 after an interrupt."""
    print(results.table())
    print(f"run folder: {results.folder}")
    if results.interrupted:
        print("interrupted: the run folder holds the models as they are, and the completed epochs")
        return 130
    for run in results:
        for message in run.messages:
            print(f"seed {run.seed}, {message}")
        for name, form in run.forms().items():
            print(f"seed {run.seed}, {name} used its form {form!r}")
        if run.error:
            print(f"{program}: {run.name}, seed {run.seed}: {run.error}", file=sys.stderr)
    return 1 if any(run.error for run in results) else 0


@contextmanager
def stop_at_first_interrupt(stop: Stop) -> Iterator[None]:
    """Within the context, the first Ctrl-C requests a stop after the current step. A second one interrupts at once."""
    def handle(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        print("\nstopping after this step; press Ctrl-C again to stop at once", file=sys.stderr, flush=True)
        stop.requested = True

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def main(argv: Sequence[str] | None = None, program: str = "feedforward") -> int:
    """Run the command line and return its exit status: 0, 1 if a run failed, 2 for an error, 130 after an interrupt."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # for terminals that cannot show ±
    argv = sys.argv[1:] if argv is None else argv
    name = program.split()[-1]
    try:
        options = parser(name).parse_args(argv)
        if options.list:
            print(listing())
            return 0
        chosen = experiment(options)
        if options.dry_run:
            print(chosen.plan(options.out, notify=warn), "nothing was trained or written: --dry-run", sep="\n")
            return 0
        stop = Stop()
        with stop_at_first_interrupt(stop):
            results = chosen.run(options.out or True, figures=not options.no_plots, stop=stop, notify=warn,
                                 command=shlex.join([*program.split(), *argv]))
        return report(results, name)
    except (ValueError, TypeError, datasets.DataError, OSError) as error:
        print(f"{name}: {str(error).removeprefix('Experiment: ')}", file=sys.stderr)
        return 2
    except MemoryError as error:
        print(f"{name}: not enough memory: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130


def warn(message: str) -> None:
    """Print a message that must not be overlooked."""
    line = "!" * 100
    print(f"{line}\n{message}\n{line}" if message.startswith("MNIST") else message, file=sys.stderr, flush=True)
