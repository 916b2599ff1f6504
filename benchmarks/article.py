"""The article's experiment with every first-order method and several seeds, next to the article's own numbers.

    python -m benchmarks.article
"""

import argparse
from collections.abc import Sequence
import math

import numpy as np

from benchmarks.report import machine, replace_part, save_figure, table
from datasets import Dataset, load
import feedforward as ff
from feedforward.run import Run
from nn import plots
from optimizers import OPTIMIZERS, FirstOrder

# the article's accuracy and loss, by method
ARTICLE = {"gd": (0.86, 0.56), "gd, exponential": (0.90, 0.35), "adamax": (0.895, 0.40), "adam": (0.955, 0.17),
           "rmsprop": (0.975, 0.09)}
RATES, DECAYS = (0.1, 0.3, 1.0), (0.9, 0.95, 0.99)
RULES = [name for name, kind in OPTIMIZERS.items() if issubclass(kind, FirstOrder)]


def exponential(data: Dataset, rate: float, decay: float, epochs: int, seeds: int = 1) -> ff.Results:
    """Train with gradient descent; its learning rate is multiplied by `decay` in each epoch."""
    return ff.Experiment("gd", lr=rate, schedule=f"exponential:{decay}", dataset=data, epochs=epochs, seeds=seeds).run()


def search(data: Dataset, epochs: int) -> dict[tuple[float, float], float]:
    """Return the loss of the training data after gradient descent, by the first learning rate and the decay."""
    losses = {}
    for decay in DECAYS:
        for rate in RATES:
            run = exponential(data, rate, decay, epochs)[0]
            losses[rate, decay] = run.training["loss"] if run.training else math.inf
    return losses


def row(name: str, settings: str, runs: Sequence[Run]) -> list[str]:
    """Return a method's row of the table: means and population standard deviations over its seeds."""
    def mean_and_deviation(values: Sequence[float], style: str) -> str:
        return f"{style.format(np.mean(values))} ± {style.format(np.std(values))}"

    accuracy = [100 * (run.history[-1]["accuracy"] or 0.0) for run in runs]
    loss = [run.history[-1]["loss"] for run in runs]
    test = [100 * (run.test["accuracy"] or 0.0) for run in runs if run.test]
    article = ARTICLE.get(name)
    return [name, settings, f"{100 * article[0]:g}" if article else "", mean_and_deviation(accuracy, "{:.2f}"),
            f"{article[1]:g}" if article else "", mean_and_deviation(loss, "{:.4f}"),
            mean_and_deviation(test, "{:.2f}")]


def report(rows: Sequence[Sequence[str]], losses: dict[tuple[float, float], float], epochs: int, seeds: int) -> str:
    """Return the text for RESULTS.md."""
    head = ["method", "settings", "article: accuracy %", "ours %", "article: loss", "ours", "our test accuracy %"]
    searched = [[f"{rate:g}", *(f"{losses[rate, decay]:.4f}" for decay in DECAYS)] for rate in RATES]
    return f"""
{table(head, rows)}

Accuracy and loss are those of the training data in the last of {epochs} epochs, as in the article's figure: means
over the batches of the epoch, each before its step. Each entry is the mean ± the population standard deviation over
{seeds} seeds. Batches of 6,000.

![Accuracy and loss of the article's five methods](benchmarks/figures/article.png)

![Accuracy and loss of every first-order method](benchmarks/figures/first-order.png)

The search for gradient descent under exponential decay: the loss of the training data after {epochs} epochs, with
seed 0. Rows are the first learning rate, columns the factor by which it is multiplied in each epoch. The grid is meant
to reach a lower loss than the article's figure, not to find the lowest one. If its lowest loss is in a corner, another
grid would reach a lower one.

{table(["lr", *(f"{decay:g}" for decay in DECAYS)], searched)}

Measured by `python -m benchmarks.article` on {machine()}.
"""


def measure(data: Dataset, epochs: int, seeds: int) -> str:
    """Search the rate and decay, train, draw the figures, and return the text for RESULTS.md."""
    losses = search(data, epochs)
    rate, decay = min(losses, key=lambda pair: losses[pair])
    decayed = exponential(data, rate, decay, epochs, seeds)
    runs = ff.Experiment(RULES, dataset=data, epochs=epochs, seeds=seeds).run().by_name()
    runs["gd, exponential"] = list(decayed)
    settings = {"adadelta": "lr 1", "gd, exponential": f"lr {rate:g}, times {decay:g} each epoch"}
    runs = {name: runs[name] for name in dict.fromkeys([*ARTICLE, *RULES])}

    histories = {name: [run.history for run in entries] for name, entries in runs.items()}
    five = {name: histories[name] for name in ARTICLE}
    for shown, title, file in ((five, "The article's five methods", "article.png"),
                               (histories, "Every first-order method", "first-order.png")):
        save_figure(plots.compare(shown, title=f"{title}, MNIST, 784-50-10", validation="test"), file)
    rows = [row(name, settings.get(name, "lr 0.01"), several) for name, several in runs.items()]
    return report(rows, losses, epochs, seeds)


def main() -> None:
    """Measure, and write the part "article" of RESULTS.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.article", description=__doc__)
    parser.add_argument("--data-dir", help="the folder of the MNIST files")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=100)
    args = parser.parse_args()
    replace_part("article", measure(load("mnist", args.data_dir), args.epochs, args.seeds))


if __name__ == "__main__":
    main()
