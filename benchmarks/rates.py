"""The learning rates that the range test suggests, next to the best of a grid.

    python -m benchmarks.rates
"""

import argparse
import math

from benchmarks.report import machine, replace_part, table
from datasets import Dataset, load
import feedforward as ff
from feedforward.run import Run

RULES = ("gd", "momentum", "rmsprop", "adam", "adamax", "nadam")
GRID = tuple(10 ** (k / 4) for k in range(-14, 3))  # 0.0003 to 3
EPOCHS = 20


def final_loss(run: Run) -> float:
    """Return the loss of the training part after the run; infinite if it failed."""
    return run.training["loss"] if run.training and not run.error else math.inf


def row(data: Dataset, rule: str) -> list[str]:
    """Return a row of the table: one optimizer on one dataset."""
    def train(*rates: float | str) -> list[Run]:
        return list(ff.Experiment(rule, lr=rates, dataset=data, epochs=EPOCHS).run(progress=False, figures=False))

    (auto,), runs = train("auto"), train(*GRID)
    losses = [final_loss(run) for run in runs]
    best, found = min(losses), final_loss(auto)
    untrained = ff.Experiment("gd", lr=1e-9, dataset=data, epochs=1).run(progress=False).history[0]["loss"]
    return [f"{data.name}, {rule}", f"{auto.stages[0].found_lr:.3g}", f"{found:.4f}",
            f"{GRID[losses.index(best)]:.3g}", f"{best:.4f}", f"{100 * (found - best) / (untrained - best):.1f}"]


def main() -> None:
    """Measure, and write the part "rates" of RESULTS.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rates", description=__doc__)
    parser.add_argument("--data-dir", help="the folder of the MNIST files")
    args = parser.parse_args()
    head = ["", "lr of the range test", "its loss", "best lr of the grid", "its loss", "difference in % of the fall"]
    rows = [row(data, rule) for data in (load("digits"), load("mnist", args.data_dir)) for rule in RULES]
    text = table(head, rows)
    print(text)
    replace_part("rates", f"""
{text}

The loss of the training part after {EPOCHS} epochs in batches of a tenth, 784-50-10 or 64-50-10, seed 0. The grid has
{len(GRID)} learning rates from {GRID[0]:.2g} to {GRID[-1]:.2g}, four in each power of ten. The last column is the
difference of the two losses, as a share of the fall from the loss of the untrained network to the best one. Measured
by `python -m benchmarks.rates` on {machine()}.
""")


if __name__ == "__main__":
    main()
