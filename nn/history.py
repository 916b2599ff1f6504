"""History: the losses, accuracies and costs of each epoch of a training."""

from collections.abc import Iterator, Sequence
import csv
import os
from typing import Any, TypedDict, cast, overload


class Epoch(TypedDict):
    """The dict of one epoch: its losses, accuracies, learning rate and cost.

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


class History(Sequence[Epoch]):
    """The dicts of all epochs: a sequence, and a table whose columns have names.

    Attributes
    ----------
    epochs : list of dict
        An `Epoch` for each epoch, in order.
    message : str
        Why training ended before its last epoch, or which steps could not change the weights; empty otherwise.

    Notes
    -----
    ``history["loss"]`` is a column, ``history[-1]`` the last epoch, ``len(history)`` the number of epochs.
    ``pandas.DataFrame(history)`` is a table with a row for each epoch.

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
        names = {**Epoch.__annotations__, **(cast(dict[str, Any], self.epochs[0]) if self.epochs else {})}
        if key not in names:
            raise KeyError(f"history has no {key!r}: choose from {', '.join(names)}")
        return [cast(dict[str, Any], epoch)[key] for epoch in self.epochs]

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[Epoch]:
        return iter(self.epochs)

    def column(self, name: str) -> list[Any]:
        """Return one value of each epoch, as ``history[name]`` does.

        Parameters
        ----------
        name : str
            A key of `Epoch`.

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
        ValueError
            If it is not a history.
        """
        history = History()
        with open(path, newline="") as file:
            reader = csv.DictReader(file)
            if missing := set(Epoch.__annotations__) - set(reader.fieldnames or Epoch.__annotations__):
                raise ValueError(f"{path} is not a history: it has no column {', '.join(sorted(missing))}")
            for row in reader:
                try:
                    history.epochs.append(cast(Epoch, {name: _number(name, text) for name, text in row.items()}))
                except (TypeError, ValueError):
                    raise ValueError(f"{path} is not a history: line {reader.line_num} holds {row}") from None
        return history


def _number(name: str, text: str) -> int | float | None:
    if text == "":
        return None
    return int(text) if name == "epoch" else float(text)
