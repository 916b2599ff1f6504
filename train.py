"""The command line: trains a network on a dataset with one optimizer or several, by default as the article did.

    python train.py --optimizer adam
    python train.py --optimizer gd rmsprop adam adamax --seeds 5
"""

import argparse
import ast
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from importlib import metadata
from io import TextIOWrapper
import json
import os
from pathlib import Path
import platform
import queue
import shlex
import signal
import statistics
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


ARTICLE_LR = 0.01


class Refused(Exception):
    """What was asked for cannot be done; the message is all that the user needs. Exit status 2."""


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="train.py", description="Train a network. The defaults are the article's experiment: 784-50-10, ReLU, "
        "softmax and cross-entropy, He initialization, batches of 6,000, learning rate 0.01, 100 epochs of MNIST.")
    add = parser.add_argument
    add("--optimizer", nargs="+", default=["adam"], metavar="NAME",
        help="which one (see --list); several, or 'all', to compare them from the same start; NAME:EPOCHS NAME to hand "
        "over from one to the next (default: adam)")
    add("--lr", type=float, help="learning rate (default: the article's 0.01, or an optimizer's own where that is 1)")
    add("-o", action="append", default=[], metavar="FIELD=VALUE", dest="fields",
        help="another field of the optimizers that have it, such as -o beta1=0.8, or of one, such as -o adam.beta1=0.8")
    add("--schedule", metavar="NAME[:NUMBER...]", help="of the learning rate, over epochs: see --list")
    add("--dataset", metavar="NAME", help="mnist, fashion-mnist or digits (default: mnist, or else digits)")
    add("--data-dir", metavar="DIR", help="the folder that has the dataset's files, or shall have them")
    add("--hidden", type=int, nargs="*", default=[50], metavar="N",
        help="units of each hidden layer; several for several layers, none for none (default: 50)")
    add("--activation", default="relu", metavar="NAME", help=f"{', '.join(nn.ACTIVATIONS)} (default: relu)")
    add("--init", default="he", metavar="NAME", help=f"{', '.join(nn.INITIALIZERS)} (default: he)")
    add("--loss", default="cross-entropy", metavar="NAME", help=f"{', '.join(LOSSES)} (default: cross-entropy)")
    add("--dropout", type=float, default=0.0, metavar="RATE", help="after each hidden layer (default: 0)")
    add("--epochs", type=int, default=100, metavar="N", help="(default: 100)")
    add("--batch-size", type=int, metavar="N", help="(default: a tenth of the training set, 6000 for MNIST; all of it "
        "for second-order optimizers)")
    add("--seed", type=int, default=0, help="one seed, one result (default: 0)")
    add("--seeds", type=int, default=1, metavar="N", help="train from N seeds, from --seed on, and compare their means")
    add("--jobs", type=int, metavar="N", help="how many train at once (default: as many as there are cores)")
    add("--threads", type=int, metavar="N", help="how many each training works on (default: as many as NumPy's BLAS "
        "has, or its share of them with --jobs)")
    add("--dtype", default="float32", metavar="NAME", help="float32 or float64 (default: float32)")
    add("--out", type=Path, metavar="DIR", help="the run folder (default: runs/DATASET-OPTIMIZER-TIME)")
    add("--no-plots", action="store_true", help="draw no pictures")
    add("--dry-run", action="store_true", help="check everything, say what would be done, and stop")
    add("--list", action="store_true", help="list every optimizer with its fields, every schedule and every dataset")
    argv = sys.argv[1:] if argv is None else argv
    return parser.parse_args(argv, argparse.Namespace(argv=list(argv)))


def listing() -> str:
    def rows(table: dict[str, Any], style: str) -> list[str]:
        return [f"  {name:14}" + ", ".join(style.format(*pair) for pair in optimizers.hyperparameters(kind).items())
                for name, kind in table.items()]

    return "\n".join([
        "optimizers, with their fields and defaults (--optimizer NAME, --lr, -o FIELD=VALUE):",
        *rows(optimizers.OPTIMIZERS, "{}={}"),
        "schedules, with their numbers in order and defaults (--schedule NAME:NUMBER:NUMBER, warmup:5+cosine):",
        *rows(optimizers.SCHEDULES, "{}={}"),
        "datasets (--dataset NAME):",
        *(f"  {name:14}{entry.examples}; {entry.source}" for name, entry in datasets.DATASETS.items())])


@dataclass
class Stage:
    """One optimizer, and for how many epochs it trains."""

    name: str
    epochs: int


@dataclass
class Run:
    """One training from one seed: its stages, and what comes of it."""

    stages: list[Stage]
    seed: int
    folder: Path = Path()
    model: nn.Model = field(init=False)
    history: nn.History = field(default_factory=nn.History)
    failed: str = ""
    results: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """adam, or adam:20+lbfgs"""
        return "+".join([f"{stage.name}:{stage.epochs}" for stage in self.stages[:-1]] + [self.stages[-1].name])


def plan(words: Sequence[str], epochs: int) -> list[list[Stage]]:
    """The stages of each run: "gd adam:20 lbfgs" are two, gd and a hand-over from adam to lbfgs."""
    if epochs < 1:
        raise Refused(f"--epochs {epochs}: write 1 or more")
    runs: list[list[Stage]] = []
    handing_over = False
    for word in optimizers.OPTIMIZERS if list(words) == ["all"] else words:
        name, colon, number = word.partition(":")
        optimizers.get(name)  # a ValueError that lists the choices
        if colon and not (number.isdecimal() and int(number)):
            raise Refused(f"--optimizer {word}: write NAME:EPOCHS, such as adam:20")
        done = sum(stage.epochs for stage in runs[-1]) if handing_over else 0
        if done + int(number or 0) >= epochs + (not colon):
            raise Refused(f"--optimizer {word}: the hand-over leaves it none of the {epochs} epochs")
        stage = Stage(name, int(number) if colon else epochs - done)
        if handing_over:
            runs[-1].append(stage)
        else:
            runs.append([stage])
        handing_over = bool(colon)
    if handing_over:
        raise Refused(f"--optimizer {words[-1]}: name the optimizer that it hands over to")
    if len({tuple((stage.name, stage.epochs) for stage in stages) for stages in runs}) < len(runs):
        raise Refused(f"--optimizer {' '.join(words)}: one is named twice")
    return runs


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


def build_model(args: argparse.Namespace, data: datasets.Dataset, seed: int) -> nn.Model:
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
    return nn.Model(layers, loss(), seed, args.dtype)


def options(texts: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """For each optimizer's name the fields that -o sets. Raises Refused where a field is nobody's."""
    values: dict[str, dict[str, Any]] = {name: {} for name in names}
    for text in texts:
        target, equals, value = text.partition("=")
        only, dot, key = target.rpartition(".")
        if not equals or (dot and only not in names):
            raise Refused(f"-o {text}: write FIELD=VALUE, such as -o beta1=0.8, or NAME.FIELD=VALUE with a name "
                          f"among {', '.join(names)}")
        try:
            parsed = ast.literal_eval(value.capitalize() if value in ("true", "false") else value)
        except (ValueError, SyntaxError):
            parsed = value
        wanted = [only] if dot else names
        owners = [name for name in wanted if key in optimizers.hyperparameters(optimizers.OPTIMIZERS[name])]
        for name in owners or wanted[:1]:  # where nobody has it, the first one says so
            values[name][key] = parsed
    return values


def build_optimizer(args: argparse.Namespace, name: str, names: Sequence[str], steps: int) -> Any:
    """The optimizer called `name`, with its schedule, where an epoch has so many steps."""
    values = options(args.fields, names)[name]
    default = optimizers.hyperparameters(optimizers.OPTIMIZERS[name]).get("lr")  # which those that search have not
    if "lr" in values and args.lr is not None:
        raise Refused(f"--lr {args.lr:g} and -o lr={values['lr']} say two things of {name}: give one of them")
    if default is not None:
        # where the lr is 1 by default the rule has sized its steps itself, and a hundredth would not be the article's
        values.setdefault("lr", args.lr if args.lr is not None else ARTICLE_LR if default < 1 else default)
    optimizer = optimizers.get(name, **values)
    if args.schedule is None or default is None:
        return optimizer
    return optimizers.Scheduled(optimizer, optimizers.parse_schedule(args.schedule, args.epochs), unit=steps)


def batch_size(args: argparse.Namespace, name: str, n: int) -> int:
    if args.batch_size is not None:
        return int(args.batch_size)
    return -(-n // 10) if issubclass(optimizers.OPTIMIZERS[name], optimizers.FirstOrder) else n


def run_folder(args: argparse.Namespace, data: datasets.Dataset, runs: Sequence[Run]) -> Path:
    """Where it all goes: a folder that no other run is in."""
    if args.out is None:
        names = list(dict.fromkeys(run.name for run in runs))
        what = names[0].replace(":", "").replace("+", "-") if len(names) == 1 else "comparison"
        name = f"{data.name}-{what}-{datetime.now():%Y%m%d-%H%M%S}"
        numbers = (f"-{n}" if n > 1 else "" for n in range(1, 1000))
        return next(folder for n in numbers if not (folder := Path("runs", name + n)).exists())
    out: Path = args.out
    if out.exists() and not out.is_dir():
        raise Refused(f"--out {out} is a file: name a folder")
    if out.exists() and any(out.iterdir()):
        raise Refused(f"--out {out} is not empty, and what is in it might be lost: name another folder, or empty it")
    return out


def configuration(args: argparse.Namespace, data: datasets.Dataset) -> dict[str, Any]:
    """All that is needed to repeat what was asked for, whatever runs it has."""
    from threadpoolctl import threadpool_info

    pools = [{key: pool.get(key) for key in ("internal_api", "version", "architecture", "num_threads")}
             for pool in threadpool_info()]
    packages = ("numpy", "scipy", "matplotlib", "safetensors", "feedforward")
    chosen = {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()
              if name != "argv"}
    return {
        "command": shlex.join(["python", "train.py", *args.argv]), "options": chosen,
        "dataset": data.name, "examples": [len(data.x_train), len(data.x_test)],
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in packages}},
        "platform": platform.platform(), "cores": os.cpu_count(), "blas": pools,
        "began": datetime.now().isoformat(timespec="seconds"),
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


def save_figure(figure: Any, path: Path) -> None:
    def write(file: BinaryIO) -> None:
        figure.savefig(file, format="png", dpi=120)

    write_whole(path, write)


class Stop:
    """Ends every fit that it is a callback of, between two steps, once `asked`."""

    asked = False

    def on_fit_begin(self, model: nn.Model, plan: dict[str, int]) -> None:
        self.on_step_end(model, 0)

    def on_step_end(self, model: nn.Model, examples: int) -> None:
        model.stop_training = model.stop_training or self.asked


def train(run: Run, args: argparse.Namespace, data: datasets.Dataset, config: dict[str, Any], names: Sequence[str],
          stop: Stop, position: int | None, lines: int) -> None:
    """Train as the run says and keep what comes of it in the run's folder, also where training fails."""
    n = len(data.x_train)
    model = run.model
    title = f"{data.name}, {run.name}" + (f", seed {run.seed}" if args.seeds > 1 else "")
    described = []
    built = []
    for stage in run.stages:
        size = batch_size(args, stage.name, n)
        optimizer = build_optimizer(args, stage.name, names, -(-n // size))
        described.append({"optimizer": stage.name, "fields": optimizers.hyperparameters(
            getattr(optimizer, "optimizer", optimizer)), "epochs": stage.epochs, "batch_size": size})
        built.append((stage, optimizer, size))
    config = {**config, "stages": described, "seed": run.seed, "model": describe(model)}
    run.folder.mkdir(parents=True, exist_ok=True)
    write_json(run.folder / "config.json", config)
    callbacks = [nn.Progress(title, "images", position, lines), nn.CSVLog(run.folder / "history.csv"), stop]
    messages = []
    try:
        for stage, optimizer, size in built:
            model.fit(data.x_train, data.y_train, optimizer, stage.epochs, size, (data.x_test, data.y_test), callbacks,
                      progress=False, history=run.history, threads=args.threads)
            messages += [f"{stage.name}: {run.history.message}"] if run.history.message else []
            if stop.asked:
                break
    except (nn.Diverged, ValueError) as error:
        run.failed = str(error)
    model.save(run.folder / "model.safetensors")
    run.results = {"epochs": len(run.history.epochs), "training": model.evaluate(data.x_train, data.y_train),
                   "test": model.evaluate(data.x_test, data.y_test), "failed": run.failed or None,
                   "messages": messages, "forms": {stage.name: form for stage, optimizer, _ in built
                                                   if (form := getattr(optimizer, "uses", ""))},
                   "interrupted": stop.asked}
    write_json(run.folder / "config.json", {**config, "results": run.results})


def train_all(runs: Sequence[Run], args: argparse.Namespace, data: datasets.Dataset, config: dict[str, Any],
              stop: Stop) -> None:
    """Train every run, as many at once as there are cores for, each with its share of BLAS's threads."""
    from threadpoolctl import threadpool_limits

    names = list(dict.fromkeys(stage.name for run in runs for stage in run.stages))
    cores = os.cpu_count() or 1
    jobs = min(len(runs), args.jobs or cores)
    if jobs == 1:
        for run in runs:
            train(run, args, data, config, names, stop, None, 10 if len(runs) == 1 else 1)
        return
    positions: queue.SimpleQueue[int] = queue.SimpleQueue()
    for position in range(jobs):
        positions.put(position)

    def one(run: Run) -> None:
        if stop.asked:
            return
        position = positions.get()
        try:
            train(run, args, data, config, names, stop, position, 1)
        finally:
            positions.put(position)

    with threadpool_limits(max(1, cores // jobs), "blas"), ThreadPoolExecutor(jobs) as pool:
        for future in [pool.submit(one, run) for run in runs]:
            future.result()


def report(runs: Sequence[Run], data: datasets.Dataset) -> str:
    """A short table of how the models do now: one row for each name, means and standard deviations over its seeds."""
    def figure(several: Sequence[Run], part: str, key: str, scale: int, style: str) -> str:
        values = [scale * run.results[part][key] for run in several if run.results]
        spread = f" ± {style.format(statistics.pstdev(values))}" if len(values) > 1 else ""
        return style.format(statistics.mean(values)) + spread if values else "-"

    model = runs[0].model
    widths = [model.n_in, *(layer.n_out for layer in model.layers if isinstance(layer, nn.Dense))]
    rows = [["", "epochs", "seconds", "training loss", "accuracy", "test loss", "accuracy"]]
    for name in dict.fromkeys(run.name for run in runs):
        several = [run for run in runs if run.name == name]
        seconds = statistics.mean(run.history.epochs[-1]["seconds"] if run.history.epochs else 0.0 for run in several)
        epochs = statistics.mean(len(run.history.epochs) for run in several)
        rows.append([name, f"{epochs:g}", f"{seconds:.1f}",
                     *(figure(several, part, key, scale, style)
                       for part in ("training", "test")
                       for key, scale, style in (("loss", 1, "{:.4f}"), ("accuracy", 100, "{:.2f} %")))])
    columns = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    table = ["  ".join(f"{cell:<{width}}" if i == 0 else f"{cell:>{width}}"
                       for i, (cell, width) in enumerate(zip(row, columns))) for row in rows]
    return "\n".join([f"{data.name}, {'-'.join(map(str, widths))}", *table])


def draw(runs: Sequence[Run], out: Path, data: datasets.Dataset) -> None:
    from nn import plots

    if len(runs) == 1:
        run = runs[0]
        title = f"{data.name}, {run.name}"
        guesses = run.model.predict_classes(data.x_test)
        save_figure(plots.curves(run.history, title), out / "curves.png")
        save_figure(plots.confusion(data.y_test, guesses, data.classes, f"{title}: test images"), out / "confusion.png")
        return
    names = dict.fromkeys(run.name for run in runs)
    histories = {name: [run.history for run in runs if run.name == name] for name in names}
    for against, file in (("epoch", "comparison.png"), ("seconds", "comparison-seconds.png"),
                          ("passes", "comparison-passes.png")):
        save_figure(plots.compare(histories, against, f"{data.name}: training"), out / file)


def main_run(args: argparse.Namespace) -> int:
    if args.seeds < 1:
        raise Refused(f"--seeds {args.seeds}: write 1 or more")
    for name in ("jobs", "threads"):
        if (value := getattr(args, name)) is not None and value < 1:
            raise Refused(f"--{name} {value}: write 1 or more")
    plans = plan(args.optimizer, args.epochs)
    names = list(dict.fromkeys(stage.name for stages in plans for stage in stages))
    have_lr = [name for name in names if "lr" in optimizers.hyperparameters(optimizers.OPTIMIZERS[name])]
    if args.lr is not None and not have_lr:
        optimizers.get(names[0], lr=args.lr)  # says that it has none
    if args.schedule is not None and not have_lr:
        raise Refused(f"--schedule {args.schedule}: {' and '.join(names)} have no learning rate for it to set")
    for name in names:  # before the data, so that a slip of the pen does not wait for a download
        build_optimizer(args, name, names, 1)
    data = find_data(args)
    runs = [Run(stages, seed) for stages in plans for seed in range(args.seed, args.seed + args.seeds)]
    for run in runs:
        run.model = build_model(args, data, run.seed)
        for stage in run.stages:
            check_plan(args.epochs, batch_size(args, stage.name, len(data.x_train)), len(data.x_train))
            try:  # where one would need too much memory, it says so before there is a folder
                optimizers.get(stage.name, **options(args.fields, names)[stage.name]).start(run.model.theta)
            except ValueError as error:
                if args.optimizer != ["all"]:
                    raise
                run.failed = str(error)
    for run in runs:
        if run.failed:
            print(f"left out: {run.name}, seed {run.seed}: {run.failed}", file=sys.stderr)
    runs = [run for run in runs if not run.failed]
    out = run_folder(args, data, runs)
    for run in runs:
        seed = f"-seed{run.seed}" if args.seeds > 1 else ""
        run.folder = out / f"{run.name.replace(':', '').replace('+', '-')}{seed}" if len(runs) > 1 else out
    if args.dry_run:
        print(f"{data.name}: {args.epochs} epochs, into {out}")
        for run in runs:
            for stage in run.stages:
                size = batch_size(args, stage.name, len(data.x_train))
                print(f"seed {run.seed}, {stage.epochs} epochs in batches of {size}: "
                      f"{build_optimizer(args, stage.name, names, -(-len(data.x_train) // size))}")
        print(f"{runs[0].model.summary()}\nnothing was trained or written: --dry-run")
        return 0

    out.mkdir(parents=True, exist_ok=True)
    config = configuration(args, data)
    if len(runs) > 1:
        write_json(out / "config.json", config)

    stop = Stop()
    with first_interrupt(partial(setattr, stop, "asked", True)):
        train_all(runs, args, data, config, stop)
        if len(runs) > 1:
            write_json(out / "config.json", {**config, "runs": [
                {"optimizer": run.name, "seed": run.seed, "folder": run.folder.name, **run.results} for run in runs]})
        # the pictures show the test images alone, and matplotlib takes some of the room of the others
        data = replace(data, x_train=data.x_train[:0].copy(), y_train=data.y_train[:0].copy())
        if not args.no_plots and not stop.asked:
            draw(runs, out, data)
    print(report(runs, data))
    print(f"run folder: {out}")
    if stop.asked:
        print("interrupted: the run folder holds the models as they are, and the epochs that were completed")
        return 130
    for run in runs:
        for message in run.results.get("messages", []):
            print(f"seed {run.seed}, {message}")
        for name, form in run.results.get("forms", {}).items():
            print(f"seed {run.seed}, {name} took its form {form!r}")
        if run.failed:
            print(f"train.py: {run.name}, seed {run.seed}: {run.failed}", file=sys.stderr)
    return 1 if any(run.failed for run in runs) else 0


def main(argv: Sequence[str] | None = None) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a ± that a terminal cannot show must not end a run
    args = arguments(argv)
    if args.list:
        print(listing())
        return 0
    try:
        return main_run(args)
    except (Refused, ValueError, datasets.DataError, OSError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    except MemoryError as error:
        print(f"train.py: not enough memory: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("train.py: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
