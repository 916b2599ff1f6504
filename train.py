"""The command line: trains a network on a dataset with an optimizer, by default the article's, and reports.

    python train.py --optimizer adam
"""

import argparse
import ast
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib import metadata
import json
from pathlib import Path
import platform
import shlex
import signal
import sys
from types import FrameType
from typing import Any, BinaryIO

import datasets
import nn
import optimizers

for package in (nn, optimizers, datasets):
    # the name "datasets", at least, belongs to others too
    if Path(package.__file__ or ".").resolve().parent.parent != Path(__file__).resolve().parent:
        sys.exit(f"train.py: {package.__name__!r} was imported from {package.__file__}, which is another project's: "
                 f"run `python {Path(__file__).resolve()}`, or uninstall that package here")

from nn.checkpoint import describe  # noqa: E402 (only once it is known whose nn it is)
from nn.files import write_whole  # noqa: E402
from nn.names import choose  # noqa: E402
from nn.training import check_plan  # noqa: E402

# what --loss calls them: the loss, and the layer that the network then ends with
LOSSES = {"cross-entropy": (nn.CrossEntropy, nn.Softmax), "binary-cross-entropy": (nn.BinaryCrossEntropy, nn.Sigmoid),
          "mean-squared-error": (nn.MeanSquaredError, nn.Softmax)}


class Refused(Exception):
    """What was asked for cannot be done; the message is all that the user needs. Exit status 2."""


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="train.py", description="Train a network. The defaults are the article's experiment: 784-50-10, ReLU, "
        "softmax and cross-entropy, He initialization, batches of 6,000, learning rate 0.01, 100 epochs of MNIST.")
    add = parser.add_argument
    add("--optimizer", default="adam", metavar="NAME", help="which one: see --list (default: adam)")
    add("--lr", type=float, default=0.01, help="learning rate (default: 0.01)")
    add("-o", action="append", default=[], metavar="FIELD=VALUE", dest="fields",
        help="another field of the optimizer, such as -o beta1=0.8; may be given several times")
    add("--dataset", metavar="NAME", help="mnist, fashion-mnist or digits (default: mnist, or else digits)")
    add("--data-dir", metavar="DIR", help="the folder that has the dataset's files, or shall have them")
    add("--hidden", type=int, nargs="*", default=[50], metavar="N",
        help="units of each hidden layer; several for several layers, none for none (default: 50)")
    add("--activation", default="relu", metavar="NAME", help=f"{', '.join(nn.ACTIVATIONS)} (default: relu)")
    add("--init", default="he", metavar="NAME", help=f"{', '.join(nn.INITIALIZERS)} (default: he)")
    add("--loss", default="cross-entropy", metavar="NAME", help=f"{', '.join(LOSSES)} (default: cross-entropy)")
    add("--dropout", type=float, default=0.0, metavar="RATE", help="after each hidden layer (default: 0)")
    add("--epochs", type=int, default=100, metavar="N", help="(default: 100)")
    add("--batch-size", type=int, metavar="N", help="(default: a tenth of the training set, 6000 for MNIST)")
    add("--seed", type=int, default=0, help="one seed, one result (default: 0)")
    add("--dtype", default="float32", metavar="NAME", help="float32 or float64 (default: float32)")
    add("--out", type=Path, metavar="DIR", help="the run folder (default: runs/DATASET-OPTIMIZER-TIME)")
    add("--no-plots", action="store_true", help="draw no pictures")
    add("--dry-run", action="store_true", help="check everything, say what would be done, and stop")
    add("--list", action="store_true", help="list every optimizer with its fields, and every dataset")
    argv = sys.argv[1:] if argv is None else argv
    return parser.parse_args(argv, argparse.Namespace(argv=list(argv)))


def listing() -> str:
    lines = ["optimizers, with their fields and defaults (--lr, -o FIELD=VALUE):"]
    for name, kind in optimizers.OPTIMIZERS.items():
        defaults = optimizers.hyperparameters(kind)
        lines.append(f"  {name:14}{', '.join(f'{field}={value}' for field, value in defaults.items())}")
    lines.append("datasets:")
    for name, entry in datasets.DATASETS.items():
        lines.append(f"  {name:14}{entry.examples}; {entry.source}")
    return "\n".join(lines)


def find_data(args: argparse.Namespace) -> datasets.Dataset:
    """The dataset that was asked for; where none was, MNIST, or if that cannot be had, the bundled digits."""
    try:
        return datasets.load(args.dataset or "mnist", args.data_dir)
    except datasets.DataError as error:
        if args.dataset:
            raise
        rule = "!" * 100
        print(f"{rule}\nMNIST IS NOT HERE, so this trains on the bundled UCI digits (8x8 pixels) instead.\n"
              f"Why, and how to get MNIST: {error}\n{rule}", file=sys.stderr, flush=True)
        return datasets.load("digits")


def build_model(args: argparse.Namespace, data: datasets.Dataset) -> nn.Model:
    loss, ending = choose("loss", args.loss, LOSSES)
    activation = choose("activation", args.activation, nn.ACTIVATIONS)
    layers: list[nn.Layer] = []
    width = data.x_train.shape[1]
    for hidden in args.hidden:
        layers += [nn.Dense(width, hidden, args.init), activation()]
        if args.dropout:
            layers.append(nn.Dropout(args.dropout))
        width = hidden
    layers += [nn.Dense(width, len(data.classes), args.init), ending()]
    return nn.Model(layers, loss(), args.seed, args.dtype)


def build_optimizer(args: argparse.Namespace) -> optimizers.Optimizer:
    kind = optimizers.OPTIMIZERS.get(args.optimizer)
    values: dict[str, Any] = {} if kind and "lr" not in optimizers.hyperparameters(kind) else {"lr": args.lr}
    for text in args.fields:
        name, equals, value = text.partition("=")
        if not equals:
            raise Refused(f"-o {text}: write FIELD=VALUE, such as -o beta1=0.8")
        try:
            values[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            values[name] = value
    return optimizers.get(args.optimizer, **values)


def run_folder(args: argparse.Namespace, data: datasets.Dataset) -> Path:
    """Where the run goes: a folder that no other run is in."""
    if args.out is None:
        name = f"{data.name}-{args.optimizer}-{datetime.now():%Y%m%d-%H%M%S}"
        numbers = (f"-{n}" if n > 1 else "" for n in range(1, 1000))
        return next(folder for n in numbers if not (folder := Path("runs", name + n)).exists())
    out: Path = args.out
    if out.exists() and not out.is_dir():
        raise Refused(f"--out {out} is a file: name a folder")
    if (out / "config.json").exists():
        raise Refused(f"--out {out} holds another run, which would be lost: name another folder, or delete it")
    return out


def configuration(args: argparse.Namespace, data: datasets.Dataset, model: nn.Model,
                  optimizer: optimizers.Optimizer) -> dict[str, Any]:
    """All that is needed to repeat the run."""
    from threadpoolctl import threadpool_info

    pools = [{key: pool.get(key) for key in ("internal_api", "version", "architecture", "num_threads")}
             for pool in threadpool_info()]
    packages = ("numpy", "scipy", "matplotlib", "safetensors", "feedforward")
    options = {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()}
    return {
        "dataset": data.name, "examples": [len(data.x_train), len(data.x_test)], "optimizer": args.optimizer,
        "optimizer_fields": optimizers.hyperparameters(optimizer), "model": describe(model),
        "epochs": args.epochs, "batch_size": args.batch_size, "seed": args.seed, "options": options,
        "command": shlex.join(["python", "train.py", *args.argv]),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in packages}},
        "platform": platform.platform(), "blas": pools, "began": datetime.now().isoformat(timespec="seconds"),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # run from a folder, not installed
        return None


def write_json(path: Path, content: dict[str, Any]) -> None:
    write_whole(path, lambda file: file.write((json.dumps(content, indent=2) + "\n").encode()))


@contextmanager
def first_interrupt(react: Callable[[], None]) -> Iterator[None]:
    """Within the block the first Ctrl-C calls `react`; a second one interrupts at once, as ever."""
    def handle(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        print("\nstopping after this step; Ctrl-C again to stop at once", file=sys.stderr, flush=True)
        react()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def draw(out: Path, history: nn.History, model: nn.Model, data: datasets.Dataset, title: str) -> None:
    from nn import plots

    figures = {"curves.png": plots.curves(history, title),
               "confusion.png": plots.confusion(data.y_test, model.predict_classes(data.x_test), data.classes,
                                                f"{title}: test images")}
    for name, figure in figures.items():
        def write(file: BinaryIO, figure: Any = figure) -> None:
            figure.savefig(file, format="png", dpi=120)

        write_whole(out / name, write)


def report(history: nn.History, model: nn.Model, data: datasets.Dataset, title: str) -> tuple[str, dict[str, Any]]:
    """A short table of how the model does now, and its figures."""
    results: dict[str, Any] = {"epochs": len(history.epochs)}
    widths = [model.n_in, *(layer.n_out for layer in model.layers if isinstance(layer, nn.Dense))]
    seconds = history.epochs[-1]["seconds"] if history.epochs else 0.0
    rate = f", {len(data.x_train) * len(history.epochs) / seconds:,.0f} images/s" if seconds else ""
    lines = [f"{title}: {len(history.epochs)} epochs of {'-'.join(map(str, widths))} in {seconds:.1f} s{rate}",
             f"{'':10}{'loss':>10}{'accuracy':>12}"]
    for name, x, y in (("training", data.x_train, data.y_train), ("test", data.x_test, data.y_test)):
        results[name] = model.evaluate(x, y)
        lines.append(f"{name:10}{results[name]['loss']:10.4f}{100 * results[name]['accuracy']:10.2f} %")
    return "\n".join(lines), results


def run(args: argparse.Namespace) -> int:
    optimizer = build_optimizer(args)  # before the data, so that a slip of the pen does not wait for a download
    data = find_data(args)
    title = f"{data.name}, {args.optimizer}"
    model = build_model(args, data)
    if args.batch_size is None:
        args.batch_size = -(-len(data.x_train) // 10)
    check_plan(args.epochs, args.batch_size, len(data.x_train))
    out = run_folder(args, data)
    config = configuration(args, data, model, optimizer)
    if args.dry_run:
        print(f"{title}: {args.epochs} epochs in batches of {args.batch_size}, into {out}\n{optimizer}\n"
              f"{model.summary()}\nnothing was trained or written: --dry-run")
        return 0

    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "config.json", config)

    def stop() -> None:
        model.stop_training = True

    failed = ""
    with first_interrupt(stop):
        try:
            history = model.fit(data.x_train, data.y_train, optimizer, args.epochs, args.batch_size,
                                (data.x_test, data.y_test),
                                [nn.Progress(title, "images"), nn.CSVLog(out / "history.csv")], progress=False)
        except nn.Diverged as error:
            history, failed = error.history, str(error)
        model.save(out / "model.safetensors")
        interrupted = model.stop_training
        table, results = report(history, model, data, title)
        write_json(out / "config.json", {**config, "interrupted": interrupted, "failed": failed or None,
                                         "results": results})
        if not args.no_plots and not interrupted:
            draw(out, history, model, data, title)
    print(table)
    print(f"run folder: {out}")
    if interrupted:
        print("interrupted: the run folder holds the model as it is, and the epochs that were completed")
        return 130
    if failed:
        print(f"train.py: {failed}", file=sys.stderr)
        return 1
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    args = arguments(argv)
    if args.list:
        print(listing())
        return 0
    try:
        return run(args)
    except (Refused, ValueError, datasets.DataError, OSError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("train.py: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
