"""Figures 1 and 2 of the Adam paper (Kingma & Ba 2015) on MNIST: logistic regression, and a network with dropout.

    python -m benchmarks.adam_paper

The learning rate of each method is searched for, as the paper did: on a grid, by the training loss that it ends with.
"""

import argparse
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
import math
import os
import sys
from typing import Any

from threadpoolctl import threadpool_limits
from tqdm import tqdm

from benchmarks.report import machine, replace_part, save_figure, table
from datasets import Dataset, load
from nn import CrossEntropy, Dense, Diverged, Dropout, History, Model, ReLU, Softmax, plots
from optimizers import Scheduled, get
from optimizers.schedules import Constant, InverseSqrt, Schedule


@dataclass
class Experiment:
    """One figure of the paper."""

    title: str
    file: str
    model: Callable[[int], Model]
    schedule: Callable[[], Schedule]
    rates: dict[str, Sequence[float]]  # for each method the grid that is searched
    search_epochs: int
    epochs: int


def logistic(seed: int) -> Model:
    return Model([Dense(784, 10, "zeros"), Softmax()], CrossEntropy(), seed)


def network(seed: int) -> Model:
    return Model([Dense(784, 1000), ReLU(), Dropout(0.5), Dense(1000, 1000), ReLU(), Dropout(0.5), Dense(1000, 10),
                  Softmax()], CrossEntropy(), seed)


EXPERIMENTS = {
    "logistic": Experiment(
        "Logistic regression, batch 128, lr alpha / sqrt(t)", "adam-paper-logistic.png", logistic, InverseSqrt,
        {"adagrad": (0.01, 0.03, 0.1, 0.3, 1), "nesterov": (0.03, 0.1, 0.3, 1, 3),
         "adam": (0.001, 0.003, 0.01, 0.03, 0.1)},
        search_epochs=45, epochs=45),
    "network": Experiment(
        "784-1000-1000-10, ReLU, dropout 0.5, batch 128, lr alpha / sqrt(epoch)", "adam-paper-network.png", network,
        partial(InverseSqrt, 469),  # the steps of an epoch
        {"adagrad": (0.01, 0.03, 0.1), "rmsprop": (0.0003, 0.001, 0.003), "nesterov": (0.03, 0.1, 0.3),
         "adadelta": (1, 3, 10), "adam": (0.0005, 0.001, 0.002)},
        search_epochs=4, epochs=20),
    "network-constant": Experiment(
        "The same at constant rates", "adam-paper-network-constant.png", network, Constant,
        {"adagrad": (0.003, 0.01, 0.03), "rmsprop": (0.0001, 0.0003, 0.001), "nesterov": (0.003, 0.01, 0.03, 0.1),
         "adadelta": (0.3, 1, 3), "adam": (0.0003, 0.001, 0.003)},
        search_epochs=3, epochs=20),
}


def fit(experiment: Experiment, data: Dataset, method: str, rate: float, epochs: int, bar: Any) -> History:
    """What training with this method and rate came to; where it diverged, as far as it went."""
    class Advance:
        def on_epoch_end(self, model: Model, epoch: dict[str, Any]) -> None:
            bar.update()

    optimizer = Scheduled(get(method, lr=rate), experiment.schedule())
    try:
        return experiment.model(0).fit(data.x_train, data.y_train, optimizer, epochs, 128, callbacks=[Advance()],
                                       progress=False)
    except Diverged as error:
        return error.history


def final_loss(history: History, epochs: int) -> float:
    return float(history.epochs[-1]["loss"]) if len(history.epochs) == epochs else math.inf


def run(experiment: Experiment, data: Dataset, jobs: int) -> str:
    """Search, train, draw; the text for RESULTS.md."""
    pairs = [(method, rate) for method, rates in experiment.rates.items() for rate in rates]
    again = experiment.search_epochs != experiment.epochs
    total = len(pairs) * experiment.search_epochs + again * len(experiment.rates) * experiment.epochs
    with (tqdm(total=total, unit=" epochs", desc=experiment.title, file=sys.stderr) as bar,
          threadpool_limits(max(1, (os.cpu_count() or 1) // jobs), "blas"), ThreadPoolExecutor(jobs) as pool):
        def fit_all(asked: Sequence[tuple[str, float]], epochs: int) -> dict[tuple[str, float], History]:
            histories = pool.map(lambda pair: fit(experiment, data, pair[0], pair[1], epochs, bar), asked)
            return dict(zip(asked, histories))

        searched = fit_all(pairs, experiment.search_epochs)
        losses = {pair: final_loss(history, experiment.search_epochs) for pair, history in searched.items()}
        best = {method: min(rates, key=lambda rate: losses[method, rate])
                for method, rates in experiment.rates.items()}
        trained = fit_all(list(best.items()), experiment.epochs) if again else searched
    histories = {method: trained[method, rate] for method, rate in best.items()}
    save_figure(plots.compare({method: [history] for method, history in histories.items()}, title=experiment.title),
                experiment.file)
    order = sorted(best, key=lambda method: final_loss(histories[method], experiment.epochs))
    rows = [[method, f"{best[method]:g}", f"{final_loss(histories[method], experiment.epochs):.4f}",
             ", ".join(f"{rate:g}: {losses[method, rate]:.4f}" for rate in experiment.rates[method])]
            for method in order]
    head = ["method", "alpha", f"cost after {experiment.epochs} epochs",
            f"the search: cost after {experiment.search_epochs} epochs by alpha"]
    picture = f"![{experiment.title}](benchmarks/figures/{experiment.file})"
    return (f"### {experiment.title}\n\n{table(head, rows)}\n\n{picture}\n\n"
            "Cost is the training data's: the mean over an epoch's batches, each before its step, with dropout. "
            f"Seed 0, Nesterov's momentum 0.9.\n\nMeasured by `python -m benchmarks.adam_paper` on {machine()}.")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adam_paper", description=__doc__)
    parser.add_argument("--data-dir", help="the folder that has MNIST")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many train at once")
    parser.add_argument("--experiment", nargs="+", choices=EXPERIMENTS, default=list(EXPERIMENTS))
    args = parser.parse_args()
    data = load("mnist", args.data_dir)
    for name in args.experiment:
        replace_part(f"adam paper {name}", run(EXPERIMENTS[name], data, args.jobs))


if __name__ == "__main__":
    main()
