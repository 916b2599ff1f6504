"""History: the losses, accuracies and costs of each epoch of a training."""

from collections.abc import Iterator, Mapping, Sequence
import csv
from dataclasses import dataclass
from itertools import chain
import math
import numbers
import os
from pathlib import Path
import sys
from typing import Any, TextIO, TypedDict, cast, get_type_hints, overload

import numpy as np
from numpy.random import Generator, default_rng

from nn.archive import one_line_errors
from nn.files import check_regular

MAX_LINE = 10_000  # characters of a line of a file


class Epoch(TypedDict):
    """The dict of one epoch: its losses, accuracies, learning rate and cost, and the numbers that callbacks add.

    Attributes
    ----------
    epoch : int
        The number of the epoch, from 1.
    loss : float
        The mean loss over the batches, each before its step.
    accuracy : float or None
        The share of examples that were classified correctly, from 0 to 1, also before each step; None if the targets
        are not classes.
    val_loss : float or None
        The mean loss on the validation data after the epoch; None without validation data.
    val_accuracy : float or None
        The accuracy on the validation data after the epoch; None without validation data, or if its targets are not
        classes.
    lr : float or None
        The learning rate of the last step; None if the optimizer has none.
    seconds : float
        The seconds of training so far, without validation and callbacks.
    passes : float
        The cost so far: 1 is the cost of one gradient of the whole training set.

    Examples
    --------
    >>> from nn import Epoch
    >>> list(Epoch.__annotations__)
    ['epoch', 'loss', 'accuracy', 'val_loss', 'val_accuracy', 'lr', 'seconds', 'passes']
    """

    epoch: int
    loss: float
    accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    lr: float | None
    seconds: float
    passes: float


@dataclass
class Position:
    """How far an epoch has come: what was summed over the steps that are complete.

    Parameters
    ----------
    epoch : int
        The number of the epoch, from 1.
    steps : int
        The number of steps that are complete.
    total : int
        The number of steps in the epoch.
    examples : int
        The number of examples in these steps.
    loss : float
        The mean loss over these examples, each before its step.
    correct : int
        The number of examples that were classified correctly.
    gradients : float
        The cost, in gradients of one example.
    seconds : float
        The seconds of these steps.
    refused : int
        The number of steps of the fit that could not change the weights.
    first_loss : float
        The loss of the first step of the fit; 0 before it.
    evaluated : bool
        Whether the optimizer has evaluated the objective of the next step, which is that of the last one, at theta.
    ended : bool
        Whether training has ended with the epoch before, because the optimizer cannot continue.
    intact : bool
        Whether weights and optimizer are as the last complete step left them; False after an error within a step.
    rng : numpy.random.Generator or None
        The source of the dropout masks of the epoch; None before its first step.
    """

    epoch: int
    steps: int = 0
    total: int = 0
    examples: int = 0
    loss: float = 0.0
    correct: int = 0
    gradients: float = 0.0
    seconds: float = 0.0
    refused: int = 0
    first_loss: float = 0.0
    evaluated: bool = False
    ended: bool = False
    intact: bool = True
    rng: Generator | None = None

    def check(self, total: int) -> None:
        """Raise ValueError if an epoch has not `total` steps, and some of them are complete."""
        if self.steps and self.total != total:
            raise ValueError(f"{self.steps} of the {self.total} steps of epoch {self.epoch} are complete, but an epoch "
                             f"now has {total} steps: continue with the same data and batch_size, or set "
                             "history.position = None to start the epoch again")

    def description(self) -> dict[str, Any]:
        """Return everything for JSON, with the state of the random numbers."""
        state = None if self.rng is None else self.rng.bit_generator.state
        return {**{name: value for name, value in vars(self).items() if name != "rng"}, "rng": state}

    @classmethod
    def from_description(cls, values: Mapping[str, Any]) -> "Position":
        """Return the position that was described. Raises ValueError or TypeError if it is not one."""
        types = get_type_hints(cls)
        numbers = {name: value for name, value in values.items() if name != "rng"}
        for name, value in numbers.items():
            if types[name] is not type(value) or not (
                    math.isfinite(value) if name in ("loss", "first_loss") else 0 <= value < math.inf):
                raise ValueError(f"the position's {name} is {value!r}")
        position = cls(**numbers)
        if values["rng"] is not None:
            position.rng = default_rng()
            position.rng.bit_generator.state = values["rng"]
        return position


class History(Sequence[Epoch]):
    """The dicts of all epochs: a sequence, and a table whose columns have names.

    Attributes
    ----------
    epochs : list of dict
        An `Epoch` for each epoch, in order.
    message : str
        Why training ended before its last epoch, which steps could not change the weights, that the loss does not
        change, or that it has risen; empty otherwise.
    position : Position or None
        How far the next epoch has come, if training was stopped during it. A fit with this history continues there.
    columns : list of str
        The names of the columns: the keys of `Epoch`, and then those that callbacks have added to epochs.

    Notes
    -----
    ``history["loss"]`` is a column, ``history[-1]`` the last epoch, ``len(history)`` the number of epochs. A column
    that a callback added holds None for epochs to which it was not added. ``pandas.DataFrame(history)`` is a table with
    a row for each epoch.

    Examples
    --------
    >>> from nn import Dense, MeanSquaredError, Model
    >>> from optimizers import get
    >>> x = [[0.0], [1.0]]
    >>> history = Model([Dense(1, 1)], MeanSquaredError()).fit(x, x, get("lbfgs"), epochs=3, progress=False)
    >>> history["epoch"]
    [1, 2, 3]
    >>> history[-1]["loss"] < history[0]["loss"]
    True
    """

    def __init__(self) -> None:
        self.epochs: list[Epoch] = []
        self.message = ""
        self.position: Position | None = None

    @overload
    def __getitem__(self, key: str) -> list[Any]: ...
    @overload
    def __getitem__(self, key: int) -> Epoch: ...
    @overload
    def __getitem__(self, key: slice) -> list[Epoch]: ...
    def __getitem__(self, key: str | int | slice) -> list[Any] | Epoch:
        """Return a column by its name, an epoch, or several epochs. Raises KeyError for an unknown name."""
        if not isinstance(key, str):
            return self.epochs[key]
        if key not in self.columns:
            raise KeyError(f"history has no {key!r}: choose from {', '.join(self.columns)}")
        return [cast(dict[str, Any], epoch).get(key) for epoch in self.epochs]

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[Epoch]:
        return iter(self.epochs)

    @property
    def columns(self) -> list[str]:
        """The names of the columns: the keys of `Epoch`, and then those that callbacks have added to epochs."""
        return list(dict.fromkeys(chain(Epoch.__annotations__, *self.epochs)))

    def column(self, name: str) -> list[Any]:
        """Return one value of each epoch, as ``history[name]`` does.

        Parameters
        ----------
        name : str
            One of `columns`.

        Returns
        -------
        list
            The value of each epoch.

        Raises
        ------
        KeyError
            If there is no such column.
        """
        return self[name]

    def __repr__(self) -> str:
        last = cast(dict[str, Any], self.epochs[-1]) if self.epochs else {}
        values = ", ".join(f"{name} {value:.4g}" for name, value in last.items() if isinstance(value, (int, float)))
        return f"History({values or 'no epochs'})"

    @staticmethod
    def read(path: str | os.PathLike[str]) -> "History":
        """Return the history that `CSVLog` wrote.

        Parameters
        ----------
        path : str or path-like
            The CSV file.

        Returns
        -------
        History
            The epochs in the file.

        Raises
        ------
        OSError
            If the file cannot be read.
        InvalidFile
            If it is not a history.
        """
        history = History()
        check_regular(Path(path))
        with open(path, newline="", encoding="utf-8") as file, one_line_errors(path, "a history"):
            reader = csv.DictReader(_lines(file))
            if missing := set(Epoch.__annotations__) - set(reader.fieldnames or Epoch.__annotations__):
                raise ValueError(f"it has no column {', '.join(sorted(missing))}")
            for row in reader:
                try:
                    history.epochs.append(cast(Epoch, {name: _number(name, text) for name, text in row.items()}))
                except (AttributeError, TypeError, ValueError):
                    raise ValueError(f"line {reader.line_num} holds {row}") from None
        return history


def _lines(file: TextIO) -> Iterator[str]:
    """Yield the lines of a file. Raises ValueError if one is too long."""
    while line := file.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise ValueError(f"it has a line of more than {MAX_LINE:,} characters")
        yield line


def _number(name: str, text: str) -> int | float | None:
    if text == "":
        return None
    return int(text) if name == "epoch" or text.lstrip("-").isdecimal() else float(text)


def plain_number(name: str, value: Any) -> int | float | None:
    """Return a value that a callback has put into an epoch as a Python number, which files keep exactly; None stays.

    Raises ValueError, with the name of the entry, if it is not a number.
    """
    if isinstance(value, (np.generic, np.ndarray)) and value.ndim == 0:
        value = value.item()
    if value is None or type(value) is float:
        return value
    if isinstance(value, numbers.Integral):
        if abs(int(value)) > sys.float_info.max:
            raise ValueError(f"the {name!r} of an epoch is larger than any float")
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    raise ValueError(f"the {name!r} of an epoch is of type {type(value).__name__}: add numbers or None to epochs")
