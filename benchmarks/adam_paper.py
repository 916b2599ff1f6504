"""Figures 1 and 2 of the Adam paper (Kingma & Ba 2015) on MNIST: logistic regression, and a network with dropout.

    python -m benchmarks.adam_paper

The learning rate of each method is chosen as in the paper: from a grid, by the training loss at the end.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import math
import os
from typing import Any

from benchmarks.report import machine, replace_part, save_figure, table
from datasets import Dataset, load
import feedforward as ff
from feedforward.run import Run
from nn import plots

BATCH = 128
STEPS = 469  # the steps of an epoch: 60,000 images in batches of 128
NETWORK = {"hidden": (1000, 1000), "dropout": 0.5}


@dataclass
class Figure:
    """One figure of the paper."""

    title: str
    file: str
    network: Mapping[str, Any]  # the fields of an Experiment that describe it
    schedule: str  # of the learning rate, over epochs
    rates: dict[str, Sequence[float]]  # the grid of each method
    search_epochs: int
    epochs: int

    def train(self, data: Dataset, rates: Mapping[str, float], epochs: int, jobs: int) -> dict[str, Run]:
        """Return a run of each method, trained with its rate."""
        results = ff.Experiment(
            list(rates), fields={f"{method}.lr": rate for method, rate in rates.items()}, schedule=self.schedule,
            dataset=data, epochs=epochs, batch_size=BATCH, jobs=jobs, **self.network).run()
        return {run.name: run for run in results}

    def search(self, data: Dataset, jobs: int) -> dict[str, dict[float, Run]]:
        """Return a run for each method and each rate of its grid."""
        runs: dict[str, dict[float, Run]] = {method: {} for method in self.rates}
        for i in range(max(map(len, self.rates.values()))):
            rates = {method: grid[i] for method, grid in self.rates.items() if i < len(grid)}
            for method, run in self.train(data, rates, self.search_epochs, jobs).items():
                runs[method][rates[method]] = run
        return runs


FIGURES = {
    "logistic": Figure(
        "Logistic regression, batch 128, lr alpha / sqrt(t)", "adam-paper-logistic.png",
        {"hidden": (), "init": "zeros"}, f"inverse-sqrt:{1 / STEPS}",  # its time is in epochs, t in steps
        {"adagrad": (0.01, 0.03, 0.1, 0.3, 1), "nesterov": (0.03, 0.1, 0.3, 1, 3),
         "adam": (0.001, 0.003, 0.01, 0.03, 0.1)},
        search_epochs=45, epochs=45),
    "network": Figure(
        "784-1000-1000-10, ReLU, dropout 0.5, batch 128, lr alpha / sqrt(epoch)", "adam-paper-network.png", NETWORK,
        "inverse-sqrt:1",
        {"adagrad": (0.01, 0.03, 0.1), "rmsprop": (0.0003, 0.001, 0.003), "nesterov": (0.03, 0.1, 0.3),
         "adadelta": (1, 3, 10), "adam": (0.0005, 0.001, 0.002)},
        search_epochs=4, epochs=20),
    "network-constant": Figure(
        "The same at constant rates", "adam-paper-network-constant.png", NETWORK, "constant",
        {"adagrad": (0.003, 0.01, 0.03), "rmsprop": (0.0001, 0.0003, 0.001), "nesterov": (0.003, 0.01, 0.03, 0.1),
         "adadelta": (0.3, 1, 3), "adam": (0.0003, 0.001, 0.003)},
        search_epochs=3, epochs=20),
}


def final_loss(run: Run) -> float:
    """Return the training loss of the last epoch; infinity if the run diverged."""
    return math.inf if run.error else run.history[-1]["loss"]


def measure(figure: Figure, data: Dataset, jobs: int) -> str:
    """Search the rates, train, draw the figure, and return the text for RESULTS.md."""
    searched = figure.search(data, jobs)
    losses = {method: {rate: final_loss(run) for rate, run in runs.items()} for method, runs in searched.items()}
    best = {method: min(grid, key=lambda rate: grid[rate]) for method, grid in losses.items()}
    if figure.search_epochs == figure.epochs:
        trained = {method: searched[method][rate] for method, rate in best.items()}
    else:
        trained = figure.train(data, best, figure.epochs, jobs)
    save_figure(plots.compare({method: run.history for method, run in trained.items()}, title=figure.title,
                              validation="test"), figure.file)
    rows = [[method, f"{best[method]:g}", f"{final_loss(trained[method]):.4f}",
             ", ".join(f"{rate:g}: {loss:.4f}" for rate, loss in losses[method].items())]
            for method in sorted(trained, key=lambda method: final_loss(trained[method]))]
    head = ["method", "alpha", f"loss after {figure.epochs} epochs",
            f"the search: loss after {figure.search_epochs} epochs by alpha"]
    return (f"### {figure.title}\n\n{table(head, rows)}\n\n![{figure.title}](benchmarks/figures/{figure.file})\n\n"
            "The loss is that of the training data, the mean over the batches of an epoch, each before its step, with "
            "dropout if the network has it. Seed 0, Nesterov's momentum 0.9.\n\n"
            f"Measured by `python -m benchmarks.adam_paper` on {machine()}.")


def main() -> None:
    """Measure, and write the parts "adam paper ..." of RESULTS.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adam_paper", description=__doc__)
    parser.add_argument("--data-dir", help="the folder of the MNIST files")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many runs train at once")
    parser.add_argument("--experiment", nargs="+", choices=FIGURES, default=list(FIGURES))
    args = parser.parse_args()
    data = load("mnist", args.data_dir)
    for name in args.experiment:
        replace_part(f"adam paper {name}", measure(FIGURES[name], data, args.jobs))


if __name__ == "__main__":
    main()
