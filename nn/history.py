"""What training came to, epoch by epoch."""

import csv
import os
from typing import Any


class History:
    """What each epoch came to. `epochs` is a list of dicts, one an epoch:

    epoch (from 1), loss and accuracy (means over the epoch's batches, each before its step; accuracy from 0 to 1, None
    where y are not classes), val_loss and val_accuracy (after the epoch; None without validation data), lr, seconds
    (of training so far, without validation and callbacks), passes (over the training data so far: see Objective).
    """

    def __init__(self) -> None:
        self.epochs: list[dict[str, Any]] = []
        self.message = ""  # why training ended before its last epoch, where the optimizer could not go on

    def column(self, name: str) -> list[Any]:
        """One figure over the epochs: history.column("loss")."""
        return [epoch[name] for epoch in self.epochs]

    def __repr__(self) -> str:
        last = self.epochs[-1] if self.epochs else {}
        figures = ", ".join(f"{name} {value:.4g}" for name, value in last.items() if isinstance(value, (int, float)))
        return f"History({figures or 'no epochs'})"

    @staticmethod
    def read(path: str | os.PathLike[str]) -> "History":
        """The history that CSVLog wrote to `path`. Raises OSError and ValueError."""
        history = History()
        with open(path, newline="") as file:
            for row in csv.DictReader(file):
                history.epochs.append({name: None if text == "" else int(text) if name == "epoch" else float(text)
                                       for name, text in row.items()})
        return history
