"""Callbacks: actions during training, such as a progress bar, early stopping and a log.

A callback is any object with at least one of these methods; `epoch` is the dict of that epoch, as in history.epochs:

    on_fit_begin(model, plan)        plan: {"first", "last", "steps", "examples"}: the first and the last epoch, from 1,
                                     and the number of steps and examples in each
    on_step_end(model, examples)     examples: the number of examples in the batch
    on_epoch_end(model, epoch)       model.stop_training = True ends the fit
    on_fit_end(model, history)       always, even if the fit ends early or with an error
"""

import csv
import math
import os
from pathlib import Path
import shutil
import sys
from typing import Annotated, Any

import numpy as np

from nn.fields import Bounds, Count, NonNegative, check_value
from nn.fit import Plan
from nn.history import Epoch, History

# what is shown of each epoch: the key in its dict, the label and the format
METRICS = (("loss", "loss", "{:.4f}"), ("accuracy", "accuracy", "{:.2%}"), ("val_accuracy", "test", "{:.2%}"))


class Progress:
    """Show a bar with epoch, loss, accuracies and speed; print a few lines if stderr is not a terminal.

    Parameters
    ----------
    description : str
        A short description of the training.
    unit : str
        The name of the examples, in the plural.
    position : int, optional
        The line of the terminal, from 0, if several bars are shown at once; the bar disappears at the end.
    lines : int
        The approximate number of lines to print without a terminal, at least 1.

    Raises
    ------
    ValueError
        If `lines` is not such a number.

    Examples
    --------
    >>> from nn import Dense, MeanSquaredError, Model, Progress
    >>> from optimizers import get
    >>> model = Model([Dense(1, 1)], MeanSquaredError())
    >>> history = model.fit([[1.0]], [2.0], get("gd"), epochs=100, callbacks=[Progress("a line")], progress=False)
    """

    def __init__(self, description: str = "", unit: str = "examples", position: int | None = None,
                 lines: int = 10) -> None:
        self.description, self.unit, self.position = description, unit, position
        self.lines: int = check_value("Progress", "lines", Count, lines)

    def on_fit_begin(self, model: Any, plan: Plan) -> None:
        """Show the bar.

        Parameters
        ----------
        model : Model
            The model that is trained.
        plan : dict
            See `nn.callbacks`.
        """
        from tqdm import tqdm

        self.plan = plan
        self.bar = None
        if sys.stderr.isatty():
            # some terminals report a size of 0 by 0, for which tqdm would draw nothing
            columns, lines = shutil.get_terminal_size()
            self.bar = tqdm(total=(plan["last"] - plan["first"] + 1) * plan["examples"], unit=f" {self.unit}",
                            unit_scale=True, ncols=columns, nrows=lines, position=self.position,
                            leave=self.position is None, desc=self._title(plan["first"] - 1),
                            bar_format="{desc}  {rate_fmt}  {remaining} |{bar}|")

    def on_step_end(self, model: Any, examples: int) -> None:
        """Update the bar.

        Parameters
        ----------
        model : Model
            The model that is trained.
        examples : int
            The number of examples in the batch.
        """
        if self.bar is not None:
            self.bar.update(examples)

    def on_epoch_end(self, model: Any, epoch: Epoch) -> None:
        """Show the metrics of the epoch.

        Parameters
        ----------
        model : Model
            The model that is trained.
        epoch : dict
            The dict of the epoch.
        """
        n, last, values = epoch["epoch"], self.plan["last"], dict[str, Any](epoch)
        metrics = [f"{label} {style.format(values[key])}" for key, label, style in METRICS if values[key] is not None]
        if self.bar is not None:
            self.bar.set_description_str("  ".join([self._title(n), *metrics]), refresh=False)
        elif n == last or (self.lines > 1 and (n == 1 or n % max(1, last // self.lines) == 0)):
            rate = n * self.plan["examples"] / max(epoch["seconds"], 1e-9)
            print(self._title(n), *metrics, f"{rate:,.0f} {self.unit}/s", sep="  ", file=sys.stderr, flush=True)

    def on_fit_end(self, model: Any, history: History) -> None:
        """Close the bar.

        Parameters
        ----------
        model : Model
            The model that is trained.
        history : History
            The dicts of all epochs.
        """
        if self.bar is not None:
            self.bar.close()

    def _title(self, epoch: int) -> str:
        return f"{self.description} {epoch}/{self.plan['last']}".strip()


class EarlyStopping:
    """End the fit if a metric has not improved for some epochs, and restore theta of the best epoch.

    Parameters
    ----------
    monitor : str
        A key of the epoch's dict. A name that contains "accuracy" improves if it increases, any other if it decreases.
    patience : int
        How many epochs without improvement end the fit, at least 0; 0 counts as 1.
    min_delta : float
        The change that counts as an improvement must be larger than this; at least 0.
    restore_best : bool
        Whether to restore the best theta at the end of the fit, whatever the reason for its end.

    Raises
    ------
    ValueError
        If patience or min_delta is out of bounds; during the fit, if there is no such metric.

    Notes
    -----
    The defaults of Keras's ``EarlyStopping`` are ``patience=0`` and ``restore_best_weights=False``.

    Examples
    --------
    >>> from nn import Dense, EarlyStopping, MeanSquaredError, Model
    >>> from optimizers import get
    >>> model = Model([Dense(1, 1)], MeanSquaredError())
    >>> stopping = EarlyStopping("loss", patience=3)
    >>> history = model.fit([[1.0]], [2.0], get("gd", lr=0.5), 100, callbacks=[stopping], progress=False)
    >>> len(history) < 100
    True
    """

    def __init__(self, monitor: str = "val_loss", patience: int = 5, min_delta: float = 0.0,
                 restore_best: bool = True) -> None:
        self.monitor, self.restore_best = monitor, restore_best
        self.patience: int = check_value("EarlyStopping", "patience", Annotated[int, Bounds(least=0)], patience)
        self.min_delta: float = check_value("EarlyStopping", "min_delta", NonNegative, min_delta)

    def on_fit_begin(self, model: Any, plan: Plan) -> None:
        """Reset the best value.

        Parameters
        ----------
        model : Model
            The model that is trained.
        plan : dict
            See `nn.callbacks`.
        """
        self.best, self.best_epoch, self.best_theta = math.inf, plan["first"] - 1, model.theta.copy()

    def on_epoch_end(self, model: Any, epoch: Epoch) -> None:
        """Keep theta if the metric is the best so far; end the fit if it has not improved for `patience` epochs.

        Parameters
        ----------
        model : Model
            The model that is trained.
        epoch : dict
            The dict of the epoch.

        Raises
        ------
        ValueError
            If there is no metric with the name `monitor`.
        """
        metrics = {name: value for name, value in epoch.items() if isinstance(value, (int, float))}
        if self.monitor not in metrics:
            raise ValueError(f"EarlyStopping: no {self.monitor!r} to monitor: give validation_data, or monitor one of "
                             f"{', '.join(metrics)}")
        value = metrics[self.monitor] * (-1 if "accuracy" in self.monitor else 1)
        if value < self.best - self.min_delta:
            self.best, self.best_epoch = value, epoch["epoch"]
            np.copyto(self.best_theta, model.theta)
        elif epoch["epoch"] - self.best_epoch >= self.patience:
            model.stop_training = True

    def on_fit_end(self, model: Any, history: History) -> None:
        """Restore theta of the best epoch.

        Parameters
        ----------
        model : Model
            The model that is trained.
        history : History
            The dicts of all epochs.
        """
        if self.restore_best and self.best < math.inf:
            np.copyto(model.theta, self.best_theta)


class CSVLog:
    """Write each epoch to a CSV file as soon as it is complete.

    Parameters
    ----------
    path : str or path-like
        The file. A fit that starts with epoch 1 overwrites it; a continued one appends to it.

    Notes
    -----
    The first line is the header, and each epoch is one line; None is an empty field. `History.read` reads the file.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from nn import CSVLog, Dense, History, MeanSquaredError, Model
    >>> from optimizers import get
    >>> model = Model([Dense(1, 1)], MeanSquaredError())
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "history.csv"
    ...     history = model.fit([[1.0]], [2.0], get("gd"), epochs=3, callbacks=[CSVLog(path)], progress=False)
    ...     History.read(path)["epoch"]
    [1, 2, 3]
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def on_fit_begin(self, model: Any, plan: Plan) -> None:
        """Empty the file if this is the first epoch.

        Parameters
        ----------
        model : Model
            The model that is trained.
        plan : dict
            See `nn.callbacks`.
        """
        if plan["first"] == 1:
            self.path.write_text("")

    def on_epoch_end(self, model: Any, epoch: Epoch) -> None:
        """Append a line, after a header if the file is empty.

        Parameters
        ----------
        model : Model
            The model that is trained.
        epoch : dict
            The dict of the epoch.
        """
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(epoch), lineterminator="\n")
            if not self.path.stat().st_size:
                writer.writeheader()
            writer.writerow(epoch)
