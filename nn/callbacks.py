"""Callbacks: actions during training, such as a progress bar, early stopping and a log.

A callback is any object with at least one of these methods; `epoch` is the dict of that epoch, as in history.epochs:

    on_fit_begin(model, plan)        plan: {"first", "last", "steps", "examples", "training"}: the first and the last
                                     epoch, from 1, the number of steps and examples in each, and the parts of the fit
    on_gradient(model, part, gradient)  the derivatives with respect to theta[part], a slice, before the optimizer uses
                                     or changes them: copy what you keep. It is called within a step for each part of
                                     each gradient that the optimizer evaluates, perhaps on several threads at once
    on_step_end(model, examples)     examples: the number of examples in the batch
    on_epoch_end(model, epoch)       model.stop_training = True ends the fit
    on_training_end(model, history)  after the last step, also after an error, before any on_fit_end
    on_fit_end(model, history)       also if the fit ends early or with an error

A callback may add numbers to the dict of an epoch, in on_epoch_end: epoch["norm"] = 3.5. They are a column like any
other: in history["norm"], in the file of CSVLog, in checkpoints, in plots.curves, and for EarlyStopping("norm").
Callbacks are called in the order of the list, so one that adds numbers must precede those that use them. Numbers of
NumPy become Python's, so that files keep them exactly. An epoch without the number has None, or an empty field, there.

If it has methods `state()`, which returns numbers and arrays by name, and `restore(values)`, checkpoints include them.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
import csv
import io
import math
import os
from pathlib import Path
import shutil
import sys
from typing import Annotated, Any
import warnings

import numpy as np

from nn.fields import Bounds, Count, NonNegative, check_value
from nn.files import check_folder, write_atomically
from nn.fit import Plan
from nn.history import Epoch, History
from nn.notebook import in_notebook


class Progress:
    """Show a bar with epoch, loss, accuracies and speed; print a few lines if stderr is not a terminal.

    In a notebook the bar is a widget, if ipywidgets is installed.

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
    validation : str
        What the validation data are called, such as "test".

    Attributes
    ----------
    error : str
        Why the progress could not be shown; empty if it could. Training then goes on without it.

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

    only_rank_0 = True

    def __init__(self, description: str = "", unit: str = "examples", position: int | None = None,
                 lines: int = 10, validation: str = "validation") -> None:
        self.description, self.unit, self.position = description, unit, position
        # what is shown of each epoch: the key in its dict, the label and the format
        self.metrics = (("loss", "loss", "{:.4f}"), ("accuracy", "accuracy", "{:.2%}"),
                        ("val_accuracy", validation, "{:.2%}"))
        self.lines: int = check_value("Progress", "lines", Count, lines)
        self.error = ""
        self.bar: Any = None

    def on_fit_begin(self, model: Any, plan: Plan) -> None:
        """Show the bar.

        Parameters
        ----------
        model : Model
            The model that is trained.
        plan : dict
            See `nn.callbacks`.
        """
        self.plan = plan
        self.bar = None
        with self._output():
            place = _place_of_bar()
            if place is None:
                return
            kind, options = place
            batches, position = plan["training"].batches, plan["training"].history.position
            self.bar = kind(total=(plan["last"] - plan["first"] + 1) * plan["examples"], unit=f" {self.unit}",
                            initial=position.steps * batches.size if position is not None else 0, unit_scale=True,
                            position=self.position, leave=self.position is None, desc=self._title(plan["first"] - 1),
                            bar_format="{desc}  {rate_fmt}  {remaining} |{bar}|", **options)

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
            with self._output():
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
        metrics = [f"{label} {style.format(values[key])}" for key, label, style in self.metrics
                   if values[key] is not None]
        if self.bar is not None:
            self.bar.set_description_str("  ".join([self._title(n), *metrics]), refresh=False)
        elif n == last or (self.lines > 1 and (n == 1 or n % max(1, last // self.lines) == 0)):
            rate = n * self.plan["examples"] / max(epoch["seconds"], 1e-9)
            if sys.stderr is not None and not self.error:
                line = "  ".join([self._title(n), *metrics, f"{rate:,.0f} {self.unit}/s"])
                with self._output():  # written at once: print would let lines of other threads come between its parts
                    sys.stderr.write(f"{line}\n")
                    sys.stderr.flush()

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
            if model.stop_training and hasattr(self.bar, "container"):
                self.bar.total = self.bar.n  # tqdm closes a widget in red if anything is missing, as after an error
            with self._output():
                self.bar.close()

    @contextmanager
    def _output(self) -> Iterator[None]:
        """Within the context, an error of the output ends the progress, not the training."""
        try:
            yield
        except (OSError, ValueError) as error:  # a ValueError if stderr is closed
            if self.bar is not None:
                self.bar.disable = True
            self.bar, self.error = None, f"the progress could not be shown: {error}"

    def _title(self, epoch: int) -> str:
        return f"{self.description} {epoch}/{self.plan['last']}".strip()


def _place_of_bar() -> tuple[Any, dict[str, Any]] | None:
    """Return the class of tqdm that can show a bar here, and its options; None if none can."""
    if in_notebook():
        from tqdm import notebook  # not tqdm.auto, which warns without ipywidgets

        return None if notebook.IProgress is None else (notebook.tqdm, {"dynamic_ncols": True})
    if sys.stderr is None or not sys.stderr.isatty():
        return None
    from tqdm import tqdm

    # some terminals report a size of 0 by 0, for which tqdm would draw nothing
    columns, lines = shutil.get_terminal_size()
    return tqdm, {"ncols": columns, "nrows": lines}


class EarlyStopping:
    """End the fit if a metric has not improved for some epochs, and restore theta of the best epoch.

    Parameters
    ----------
    monitor : str
        A key of the epoch's dict, also one that a callback before this one has added.
    patience : int
        How many epochs without improvement end the fit, at least 0; 0 counts as 1.
    min_delta : float
        The change that counts as an improvement must be larger than this; at least 0.
    restore_best : bool
        Whether to restore the best theta at the end of the fit, whatever the reason for its end.
    maximize : bool, optional
        Whether larger values are better. By default only if the name contains "accuracy": write True for others, such
        as "val_f1".

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
                 restore_best: bool = True, maximize: bool | None = None) -> None:
        self.monitor, self.restore_best = monitor, restore_best
        self.maximize: bool | None = check_value("EarlyStopping", "maximize", bool | None, maximize)
        self.patience: int = check_value("EarlyStopping", "patience", Annotated[int, Bounds(least=0)], patience)
        self.min_delta: float = check_value("EarlyStopping", "min_delta", NonNegative, min_delta)
        self._restored: tuple[tuple[float, int, bool], np.ndarray] | None = None

    def on_fit_begin(self, model: Any, plan: Plan) -> None:
        """Reset the best value, unless it was restored.

        Parameters
        ----------
        model : Model
            The model that is trained.
        plan : dict
            See `nn.callbacks`.
        """
        if self._restored is None:
            self.best, self.best_epoch, self.best_theta = math.inf, plan["first"] - 1, model.theta.copy()
            self.stopped = False
        else:
            (self.best, self.best_epoch, self.stopped), self.best_theta = self._restored
            self._restored = None
        model.stop_training = model.stop_training or self.stopped

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
        increases = "accuracy" in self.monitor if self.maximize is None else self.maximize
        value = metrics[self.monitor] * (-1 if increases else 1)
        if value < self.best - self.min_delta:
            self.best, self.best_epoch = value, epoch["epoch"]
            np.copyto(self.best_theta, model.theta)
        elif epoch["epoch"] - self.best_epoch >= self.patience:
            model.stop_training = self.stopped = True

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

    def state(self) -> dict[str, Any]:
        """Return what the next epochs depend on.

        Returns
        -------
        dict
            The best value, its epoch and theta, and whether this callback has ended the fit.
        """
        return {"best": self.best, "best_epoch": self.best_epoch, "stopped": self.stopped,
                "best_theta": self.best_theta}

    def restore(self, values: Mapping[str, Any]) -> None:
        """Continue from a state at the next fit.

        Parameters
        ----------
        values : mapping
            The state, from `state`.
        """
        self._restored = ((float(values["best"]), int(values["best_epoch"]), bool(values["stopped"])),
                          np.array(values["best_theta"]))

    def __repr__(self) -> str:
        maximize = "" if self.maximize is None else f", maximize={self.maximize}"
        return (f"EarlyStopping({self.monitor!r}, patience={self.patience}, min_delta={self.min_delta}, "
                f"restore_best={self.restore_best}{maximize})")


class CSVLog:
    """Write each epoch to a CSV file as soon as it is complete.

    Parameters
    ----------
    path : str or path-like
        The file. Each fit overwrites it; it then holds all epochs of the history.

    Attributes
    ----------
    error : str
        Why the last line could not be written; empty if it was. Training goes on, and the whole file is written later.

    Notes
    -----
    The first line is the header, and each epoch is one line; None is an empty field. `History.read` reads the file.
    The columns are those of the history, also of a history that is continued: the keys of `Epoch`, and then the numbers
    that callbacks before this one have added. If an epoch has a new one, the whole file is written again.

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

    only_rank_0 = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()  # the working folder may change during the training
        self.error = ""
        self._columns: list[str] = []

    def on_fit_begin(self, model: Any, plan: Plan) -> None:
        """Write the epochs before this fit, if any.

        Parameters
        ----------
        model : Model
            The model that is trained.
        plan : dict
            See `nn.callbacks`.

        Raises
        ------
        FileNotFoundError
            If there is no such folder.
        """
        check_folder(self.path)
        self._history, self._complete = plan["training"].history, False
        self._write()

    def on_epoch_end(self, model: Any, epoch: Epoch) -> None:
        """Append a line.

        Parameters
        ----------
        model : Model
            The model that is trained.
        epoch : dict
            The dict of the epoch.
        """
        self._write()

    def on_fit_end(self, model: Any, history: History) -> None:
        """Write again what could not be written.

        Parameters
        ----------
        model : Model
            The model that is trained.
        history : History
            The dicts of all epochs.
        """
        if not self._complete:
            self._write()

    def _write(self) -> None:
        """Append the last epoch, or write all epochs if the file does not hold those before, or lacks a column."""
        epochs = self._history.epochs
        try:
            if self._complete and len(epochs) > 1 and epochs[-1].keys() <= set(self._columns):
                self._complete = False
                with self.path.open("a", newline="") as file:
                    file.write(self._lines(epochs[-1:]))
            else:
                self._columns = self._history.columns
                text = self._lines(epochs, header=bool(epochs))
                write_atomically(self.path, lambda file: file.write(text.encode()))
            self._complete, self.error = True, ""
        except OSError as error:
            first, self._complete, self.error = not self.error, False, str(error)
            if first:
                warnings.warn(f"no log was written, and training goes on: {error}", stacklevel=2)

    def _lines(self, epochs: Sequence[Epoch], header: bool = False) -> str:
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(epochs)
        return text.getvalue()
