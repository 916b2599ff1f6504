"""report.html: a page that shows a run or a comparison, in one file that needs no network.

It consists of the files in the folder `page`, HTML, CSS and scripts, into which the data go as JSON.
"""

from collections.abc import Mapping, Sequence
import json
from pathlib import Path
import statistics
from typing import Any

import numpy as np

from feedforward.data import Data, class_names, classes_of_test
from feedforward.large import LargeDataset
from feedforward.report.images import images_of_test
from feedforward.report.network import description
from feedforward.run import Run
from nn import History, Model, confusion_matrix
from nn.files import write_atomically
from nn.labels import class_indices
from nn.model import Scores
from nn.plots import LINES

REPORT = "report.html"
SCRIPTS = ("elements", "chart", "curves", "network", "drawing", "run", "comparison", "main")
COLUMNS = ("epoch", "seconds", "passes", "loss", "accuracy", "val_loss", "val_accuracy")
MAX_POINTS = 1000  # of a curve: no screen shows more
MAX_CLASSES = 50  # with more, a confusion matrix is too large to read
HANDWRITTEN = {"mnist": (28, 28), "digits": (8, 8)}  # datasets of digits, which visitors can draw
NOTE = "Training values are means over each epoch, while the weights change; test values are measured after it."
RESULTS_NOTE = "Measured after the last epoch, without dropout."
SEEDS_NOTE = " Of several seeds: mean ± population standard deviation."
HEAD = ("optimizer", "epochs", "seconds", "training loss", "training accuracy", "test loss", "test accuracy")
COLOURS = [colour for colour, _ in LINES[:7]]
DASHES = (None, "8 3", "2 3", "10 3 2 3")  # lines of 2 pixels; with the colours, no two of 28 lines are the same


def page(content: Mapping[str, Any]) -> str:
    """Return the page with this content."""
    folder = Path(__file__).parent / "page"

    def read(name: str) -> str:
        return (folder / name).read_text("utf-8")

    data = json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    parts = {"/* style */": read("style.css"), "/* scripts */": "\n".join(read(f"{name}.js") for name in SCRIPTS),
             "/* data */": data}
    text = read("page.html")
    for mark, part in parts.items():
        before, after = text.split(mark)
        text = f"{before}{part}{after}"
    return text


def write_page(folder: Path, text: str) -> None:
    """Write a page into a run folder, completely or not at all."""
    write_atomically(folder / REPORT, lambda file: file.write(text.encode()))


def write_run_page(run: Run, data: Data, config: Mapping[str, Any], part: bool) -> None:
    """Write the page of a run, which may be a part of a comparison, into its folder."""
    if run.folder is not None:
        write_page(run.folder, run_page(run, data, config, part))


def run_page(run: Run, data: Data, config: Mapping[str, Any], part: bool) -> str:
    """Return the page of one run, which may be a part of a comparison, from its data and the content of config.json."""
    model, names = run.model, list(class_names(run.model, data))
    shape = None if isinstance(data, LargeDataset) else data.image_shape
    content: dict[str, Any] = {
        "title": f"{data.name}, {run.full_name}", "summary": summary(run, data.n_test),
        "settings": [*settings(run, config), ("optimizer", rules(run)), ("seed", f"{run.seed}")],
        "messages": messages(run),
        "history": columns([run.history]), "classes": names, "imageShape": shape, "part": part,
        **repetition(config, ".." if part else ".")}
    if model.classifies and 0 < len(names) <= MAX_CLASSES and not run.error:
        content.update(errors(model, data, names, shape))
    network = description(model)
    if isinstance(network, str):
        content["messages"].append(f"The network is not part of this page, because {network}.")
    elif shape is not None:
        content["network"] = network
        content["drawing"] = data.name if HANDWRITTEN.get(data.name) == shape and model.classifies else None
    return page(content)


def comparison_page(title: str, rows: Sequence[Sequence[str]], groups: Mapping[str, Sequence[Run]],
                    config: Mapping[str, Any]) -> str:
    """Return the page of several runs.

    Parameters
    ----------
    title : str
        The data and the network.
    rows : sequence of sequence of str
        The row of each name in the table of results.
    groups : mapping
        The runs by their names, one for each seed.
    config : mapping
        The content of their config.json.
    """
    runs, all_runs = [], [run for group in groups.values() for run in group]
    for k, ((name, group), row) in enumerate(zip(groups.items(), rows)):
        runs.append({"name": name, "colour": COLOURS[k % len(COLOURS)], "dashes": DASHES[k % len(DASHES)],
                     "results": row[1:], "settings": rules(group[0]),
                     "history": columns([run.history for run in group if run.history]),
                     "folders": [run.folder.name for run in group if run.folder is not None],
                     "seeds": [run.seed for run in group]})
    experiment = config["experiment"]
    seeds = experiment["seeds"]
    note = NOTE if seeds == 1 else f"{NOTE} Each line is the mean of {seeds} seeds."
    first = experiment["seed"]
    seed = ("seed", f"{first}") if seeds == 1 else ("seeds", f"{first} to {first + seeds - 1}")
    return page({"title": f"{title}: {len(groups)} optimizers" if len(groups) > 1 else title,
                 "summary": best(all_runs, seeds), "settings": [*settings(all_runs[0], config), seed],
                 "messages": [f"{run.full_name}: {line}" for run in all_runs for line in messages(run)],
                 "runs": runs, "columns": HEAD, "note": note,
                 "resultsNote": RESULTS_NOTE + SEEDS_NOTE * (seeds > 1), **repetition(config, ".")})


def errors(model: Model, data: Data, names: Sequence[str], shape: tuple[int, int] | None) -> dict[str, Any]:
    """Return the confusion matrix of the test data and, if they are images, some of them."""
    if isinstance(data, LargeDataset) or shape is None:
        true, predicted = classes_of_test(model, data)
        cells: dict[str, Any] = {}
        found: dict[str, Any] = {}
    else:
        with np.errstate(over="ignore", invalid="ignore"):  # the weights may be infinite
            outputs = model.predict(data.x_test)
        if not np.isfinite(outputs).all():
            return {}
        true, predicted = data.y_test, class_indices(outputs)
        cells, found = images_of_test(data.x_test, true, outputs, shape)
    counts = confusion_matrix(true, predicted, range(len(names)))
    return {**found, "confusion": {"counts": counts.tolist(), "cells": cells}}


def columns(histories: Sequence[History]) -> dict[str, list[float | None]]:
    """Return the columns of a history, or the means of several, of at most MAX_POINTS epochs."""
    length = min((len(history) for history in histories), default=0)
    chosen = np.linspace(0, length - 1, min(length, MAX_POINTS)).round().astype(int).tolist()
    found: dict[str, list[float | None]] = {}
    for name in COLUMNS:
        values = [[history[i][name] for history in histories] for i in chosen]
        if name == "epoch" or any(None not in row for row in values):
            found[name] = [None if None in row else number(statistics.mean(row)) for row in values]
    return found


def number(value: float) -> float | None:
    """Return a number with six digits, as JSON can hold it; None if it is not finite."""
    return float(f"{value:.6g}") if np.isfinite(value) else None


def score(scores: Scores | None) -> str:
    """Return a loss and an accuracy as text."""
    if scores is None:
        return "-"
    accuracy = scores.get("accuracy")
    return f"loss {scores['loss']:.4g}" + ("" if accuracy is None else f", accuracy {100 * accuracy:.2f} %")


def summary(run: Run, n_test: int) -> str:
    """Return what a run has reached, in a few sentences."""
    if run.error:
        return f"The run failed: {run.error}"
    accuracy = None if run.test is None else run.test.get("accuracy")
    right = "" if accuracy is None else (f"The network classifies {round(accuracy * n_test):,} of {n_test:,} test "
                                         f"examples correctly ({100 * accuracy:.2f} %). ")
    time = f"{len(run.history)} epochs in {run.history[-1]['seconds']:.3g} s" if run.history else "no epochs"
    return (f"{right}After the last epoch: test {score(run.test)}; training {score(run.training)}. It was trained for "
            f"{time}" + ", until it was interrupted" * run.interrupted + ".")


def best(runs: Sequence[Run], seeds: int) -> str:
    """Return the run with the best test accuracy, or the best test loss, and what that means."""
    tested = [(-(run.test.get("accuracy") or 0.0), run.test["loss"], k) for k, run in enumerate(runs) if run.test]
    if not tested:
        return "No run has ended."
    run = runs[min(tested)[-1]]
    once = "Each was trained once: small differences may be chance." if seeds == 1 else ""
    what = "highest test accuracy" if run.test and run.test.get("accuracy") is not None else "lowest test loss"
    stopped = "The comparison was interrupted. " if any(run.interrupted for run in runs) else ""
    return (f"{stopped}After the last epoch, {run.full_name} has the {what}: {score(run.test)}. Every optimizer has "
            f"the settings below, which may not be its best ones. {once}").rstrip()


def messages(run: Run) -> list[str]:
    """Return what a run reports besides its results."""
    return [*run.messages, *run.found_rates(), *([f"failed: {run.error}"] if run.error else [])]


def settings(run: Run, config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what was trained, besides the optimizer: names and values."""
    experiment, model = config["experiment"], run.model
    n_train, n_test = config["examples"]
    rows = [("data", f"{config['dataset']}, {n_train:,} examples for training and {n_test:,} for the test"),
            ("network", " → ".join(map(repr, model.layers))),
            ("parameters", f"{model.theta.size:,}, {model.dtype.name}"), ("loss", repr(model.loss))]
    return rows + ([("schedule", str(experiment["schedule"]))] if experiment.get("schedule") else [])


def rules(run: Run) -> str:
    """Return the optimizers of a run, with their epochs and batches."""
    return ", then ".join(f"{stage.optimizer!r}, {stage.epochs} epochs, "
                          + (f"batches of {stage.batch_size:,}" if stage.batch_size else "all examples in a step")
                          for stage in run.stages)


def repetition(config: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """Return the command that made the run, the one that repeats it, and what its bits depend on."""
    first, epochs = config["schedule_epochs"], config["experiment"]["epochs"]
    later = f"\n# prolonged to {epochs} epochs by --resume" if epochs > first else ""
    versions = [*config["versions"].items(), ("platform", config["platform"]), ("cores", str(config["cores"])),
                ("started", config["started"])]
    return {"command": config["command"] + later, "repeat": f"feedforward repeat {folder}", "versions": versions}
