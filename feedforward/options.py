"""The options of the command line, and what they mean for an Experiment."""

import argparse
import ast
from collections.abc import Sequence
from typing import Any, NoReturn

import datasets
from feedforward import __version__
from feedforward.network import LOSSES
from feedforward.stages import AUTO
import nn
import optimizers

SHELLS = ("bash", "zsh", "tcsh")
STATUS = ("0; 1 if a run failed; 2 after an error; 3 if everything was trained, but a part of the output could not be "
          "written; 128 and the number of the signal that stopped it, such as 130 after Ctrl-C.")


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
        "softmax and cross-entropy, He initialization, batches of 6,000, learning rate 0.01, 100 epochs of MNIST.",
        epilog=f"Further commands: {program} {{{','.join(FURTHER)}}}; --help after each tells more. Exit status: "
        f"{STATUS}")
    add = parser.add_argument
    add("--optimizer", nargs="+", default=["adam"], metavar="NAME",
        help="a name from --list; several names, or 'all', to compare them from the same start; NAME:EPOCHS NAME, "
        "such as adam:20 lbfgs, to train with one and then with the other (default: adam)")
    add("--lr", type=learning_rate, nargs="+", metavar="RATE", help="learning rate; 'auto', to find it by a range "
        "test; or several, to compare them (default: the article's 0.01, or the optimizer's own default if that is 1)")
    add("-o", action="append", default=[], metavar="FIELD=VALUE", dest="fields", help="another field of the "
        "optimizers that have it, such as -o beta1=0.8, or of one optimizer, such as -o adam.beta1=0.8")
    add("--schedule", metavar="NAME[:NUMBER...]", help="the learning rate over the epochs: see --list")
    add("--dataset", metavar="NAME", help="a name from --list; a file of your own, .csv, .tsv, .parquet or .npz; "
        "or a folder, which is read in blocks, of x_train.npy, y_train.npy, x_test.npy and y_test.npy, of "
        "train-*.parquet and test-*.parquet, or of IDX files (default: mnist, or digits if mnist is not available)")
    add("--data-dir", metavar="DIR", help="the folder of the dataset's files; missing files are downloaded into it")
    columns: dict[str, Any] = {"nargs": "+", "action": "extend", "default": [], "metavar": "COLUMN"}
    add("--target", **columns, help="the column of your file to predict, or several columns of numbers")
    add("--drop", **columns, help="columns of your file to leave out")
    add("--one-hot", **columns, help="columns of your file whose values become one column of 0 and 1 each")
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


def parser_of_completion(program: str) -> Parser:
    """Return the parser of `completion`."""
    parser = Parser(prog=f"{program} completion", description="Print a script with which a shell completes options, "
                    "the names of optimizers, datasets and so on, and files. For bash, write eval \"$(feedforward "
                    "completion bash)\" into ~/.bashrc; for zsh, write the script into a file _feedforward in a folder "
                    "of $fpath.")
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    return parser


FURTHER = {"predict": parser_of_predict, "repeat": parser_of_repeat, "completion": parser_of_completion}


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
