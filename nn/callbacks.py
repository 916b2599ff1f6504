"""What happens beside training: progress, early stopping, a log.

A callback is any object with any of these methods; `epoch` is the dict of that epoch, as in history.epochs:

    on_fit_begin(model, plan)        plan: {"first", "last", "steps", "examples"}: the first and the last epoch, from 1,
                                     and how many steps and examples each has
    on_step_end(model, examples)     examples: how many the step has seen
    on_epoch_end(model, epoch)       model.stop_training = True ends the fit
    on_fit_end(model, history)       always, also where the fit ends early or in an error
"""

import csv
import math
import os
from pathlib import Path
import shutil
import sys
from typing import Any

import numpy as np

# what is shown of an epoch: its key, the word for it and the form
FIGURES = (("loss", "loss", "{:.4f}"), ("accuracy", "accuracy", "{:.2%}"), ("val_accuracy", "test", "{:.2%}"))


class Progress:
    """One bar with epoch, loss, accuracies and `unit` per second; where there is no terminal, a few quiet lines.

    description: what is trained, in a word or two; position: which line of the terminal, where several train at once;
    lines: about how many there are without one.
    """

    def __init__(self, description: str = "", unit: str = "examples", position: int | None = None,
                 lines: int = 10) -> None:
        self.description, self.unit, self.position, self.lines = description, unit, position, lines

    def on_fit_begin(self, model: Any, plan: dict[str, int]) -> None:
        from tqdm import tqdm

        self.plan = plan
        self.bar = None
        if sys.stderr.isatty():
            # some terminals say that their size is 0 by 0, on which tqdm by itself would draw nothing
            columns, lines = shutil.get_terminal_size()
            self.bar = tqdm(total=(plan["last"] - plan["first"] + 1) * plan["examples"], unit=f" {self.unit}",
                            unit_scale=True, ncols=columns, nrows=lines, position=self.position,
                            leave=self.position is None, desc=self._title(plan["first"] - 1),
                            bar_format="{desc}  {rate_fmt}  {remaining} |{bar}|")

    def on_step_end(self, model: Any, examples: int) -> None:
        if self.bar is not None:
            self.bar.update(examples)

    def on_epoch_end(self, model: Any, epoch: dict[str, Any]) -> None:
        n, last = epoch["epoch"], self.plan["last"]
        figures = [f"{word} {style.format(epoch[key])}" for key, word, style in FIGURES if epoch[key] is not None]
        if self.bar is not None:
            self.bar.set_description_str("  ".join([self._title(n), *figures]), refresh=False)
        elif n == last or (self.lines > 1 and (n == 1 or n % max(1, last // self.lines) == 0)):
            rate = n * self.plan["examples"] / max(epoch["seconds"], 1e-9)
            print(self._title(n), *figures, f"{rate:,.0f} {self.unit}/s", sep="  ", file=sys.stderr, flush=True)

    def on_fit_end(self, model: Any, history: Any) -> None:
        if self.bar is not None:
            self.bar.close()

    def _title(self, epoch: int) -> str:
        return f"{self.description} {epoch}/{self.plan['last']}".strip()


class EarlyStopping:
    """Ends the fit once `monitor` has not become better for `patience` epochs, with theta as it was at the best.

    monitor: a key of the epoch's dict; of those with "accuracy" in their name more is better, of the others less.
    min_delta: how much better counts. restore_best: also where the fit ends before patience does.
    """

    def __init__(self, monitor: str = "val_loss", patience: int = 5, min_delta: float = 0.0,
                 restore_best: bool = True) -> None:
        if patience < 0:
            raise ValueError(f"EarlyStopping: patience must be at least 0 epochs, not {patience}")
        self.monitor, self.patience, self.min_delta, self.restore_best = monitor, patience, min_delta, restore_best

    def on_fit_begin(self, model: Any, plan: dict[str, int]) -> None:
        self.best, self.best_epoch, self.best_theta = math.inf, plan["first"] - 1, model.theta.copy()

    def on_epoch_end(self, model: Any, epoch: dict[str, Any]) -> None:
        if epoch.get(self.monitor) is None:
            there = ", ".join(name for name, value in epoch.items() if value is not None)
            raise ValueError(f"EarlyStopping: no {self.monitor!r} to monitor: give validation_data, or monitor one of "
                             f"{there}")
        value = -epoch[self.monitor] if "accuracy" in self.monitor else epoch[self.monitor]
        if value < self.best - self.min_delta:
            self.best, self.best_epoch = value, epoch["epoch"]
            np.copyto(self.best_theta, model.theta)
        elif epoch["epoch"] - self.best_epoch >= self.patience:
            model.stop_training = True

    def on_fit_end(self, model: Any, history: Any) -> None:
        if self.restore_best and self.best < math.inf:
            np.copyto(model.theta, self.best_theta)


class CSVLog:
    """Writes each epoch to a CSV file as soon as it is over: a header, then one row an epoch, None as nothing."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def on_fit_begin(self, model: Any, plan: dict[str, int]) -> None:
        if plan["first"] == 1:
            self.path.write_text("")

    def on_epoch_end(self, model: Any, epoch: dict[str, Any]) -> None:
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(epoch), lineterminator="\n")
            if not self.path.stat().st_size:
                writer.writeheader()
            writer.writerow(epoch)
