"""The article's experiment with every first-order method, several seeds, beside the article's own numbers.

    python -m benchmarks.article
"""

import argparse
from collections.abc import Sequence
import json
from pathlib import Path
import tempfile

import numpy as np

from benchmarks.report import machine, replace_part, save_figure, table
from nn import History, plots
from optimizers import OPTIMIZERS, FirstOrder
import train

ARTICLE = {"gd": (0.86, 0.56), "gd, exponential": (0.90, 0.35), "adamax": (0.895, 0.40), "adam": (0.955, 0.17),
           "rmsprop": (0.975, 0.09)}
RATES, DECAYS = (0.1, 0.3, 1.0), (0.9, 0.95, 0.99)
RULES = [name for name, kind in OPTIMIZERS.items() if issubclass(kind, FirstOrder)]


def run(out: Path, *options: object) -> list[dict[str, object]]:
    """train.py on MNIST with these options; what it says of its runs."""
    status = train.main([str(option) for option in ("--dataset", "mnist", "--no-plots", "--out", out, *options)])
    if status:
        raise SystemExit(status)
    config = json.loads((out / "config.json").read_text())
    return config["runs"] if "runs" in config else [{"folder": ".", **config["results"]}]


def search(folder: Path, epochs: int, data: Sequence[object]) -> tuple[float, float, list[list[str]]]:
    """The first rate and the decay an epoch with which gradient descent ends lowest, and the table of them all."""
    cost = {}
    for decay in DECAYS:
        for rate in RATES:
            (result,) = run(folder / f"{rate}-{decay}", "--optimizer", "gd", "--lr", rate, "--epochs", epochs,
                            "--schedule", f"exponential:{decay}", *data)
            cost[rate, decay] = result["training"]["loss"]  # type: ignore[index]
    best = min(cost, key=lambda pair: cost[pair])
    return *best, [[f"{rate:g}", *(f"{cost[rate, decay]:.4f}" for decay in DECAYS)] for rate in RATES]


def row(name: str, settings: str, histories: Sequence[History], results: Sequence[dict[str, object]]) -> list[str]:
    def figure(values: Sequence[float], style: str) -> str:
        return f"{style.format(np.mean(values))} ± {style.format(np.std(values))}"

    accuracy, loss = ([history.epochs[-1][key] for history in histories] for key in ("accuracy", "loss"))
    test = [100 * result["test"]["accuracy"] for result in results]  # type: ignore[index]
    theirs = ARTICLE.get(name)
    return [name, settings, f"{100 * theirs[0]:g}" if theirs else "", figure([100 * a for a in accuracy], "{:.2f}"),
            f"{theirs[1]:g}" if theirs else "", figure(loss, "{:.4f}"), figure(test, "{:.2f}")]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.article", description=__doc__)
    parser.add_argument("--data-dir", help="the folder that has MNIST")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=100)
    args = parser.parse_args()
    data = ("--data-dir", args.data_dir) if args.data_dir else ()

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rate, decay, searched = search(folder, args.epochs, data)
        runs = [("gd, exponential", f"lr {rate:g}, times {decay:g} each epoch", folder / "exponential",
                 run(folder / "exponential", "--optimizer", "gd", "--lr", rate, "--schedule", f"exponential:{decay}",
                     "--seeds", args.seeds, "--epochs", args.epochs, *data))]
        together = run(folder / "all", "--optimizer", *RULES, "--seeds", args.seeds, "--epochs", args.epochs, *data)
        runs += [(name, "lr 1" if name == "adadelta" else "lr 0.01", folder / "all",
                  [result for result in together if result["optimizer"] == name]) for name in RULES]
        order = [*ARTICLE, *RULES]
        runs.sort(key=lambda entry: order.index(entry[0]))
        histories = {name: [History.read(place / str(result["folder"]) / "history.csv") for result in results]
                     for name, _, place, results in runs}
    rows = [row(name, settings, histories[name], results) for name, settings, _, results in runs]

    shown = {name: histories[name] for name in ARTICLE}
    save_figure(plots.compare(shown, title="The article's five methods, MNIST, 784-50-10"), "article.png")
    save_figure(plots.compare(histories, title="Every first-order method, MNIST, 784-50-10"), "first-order.png")
    head = ["method", "settings", "article: accuracy %", "ours %", "article: cost", "ours", "our test accuracy %"]
    replace_part("article", f"""
{table(head, rows)}

Accuracy and cost are those of the training data in the last of {args.epochs} epochs, as in the article's figure: means
over the epoch's batches, each before its step. Mean ± standard deviation over {args.seeds} seeds; batches of 6,000.

![Accuracy and cost of the article's five methods](benchmarks/figures/article.png)

![Accuracy and cost of every first-order method](benchmarks/figures/first-order.png)

The search for gradient descent under exponential decay: the cost of the training data after {args.epochs} epochs, seed
0, by the first learning rate (rows) and what each epoch multiplies it by (columns). The grid is meant to go past the
article's figures, not to find the best there is: where its lowest cost is in a corner, another grid would go lower.

{table(["lr", *(f"{decay:g}" for decay in DECAYS)], searched)}

Measured by `python -m benchmarks.article` on {machine()}.
""")


if __name__ == "__main__":
    main()
