"""Folders of files that do not fit into memory, as the data of an experiment: they are read in blocks."""

from collections.abc import Iterator
from dataclasses import dataclass
import os
from pathlib import Path

import numpy as np

from datasets import DATASETS, Choices, DataError, Rows, open_rows
from datasets.columns import printable
from datasets.table import MAX_CLASSES
from nn import Model, Standardize
from nn.labels import Label, class_indices
from nn.rows import block_ends

MAX_LABELS = 1000  # more different targets are no classes


@dataclass(frozen=True, eq=False)
class LargeDataset:
    """The training part and the test part of a folder.

    Parameters
    ----------
    name : str
        The name of the folder.
    train, test : Rows
        The rows.
    """

    name: str
    train: Rows
    test: Rows
    image_shape: tuple[int, int] | None = None

    @property
    def n_train(self) -> int:
        """The number of training examples."""
        return len(self.train)

    @property
    def n_test(self) -> int:
        """The number of test examples."""
        return len(self.test)


def is_folder(dataset: object) -> bool:
    """Return whether this is a folder, or the whole path of one that does not exist, and not the name of a dataset."""
    return isinstance(dataset, (str, os.PathLike)) and dataset not in DATASETS and (
        Path(dataset).is_dir() or (Path(dataset).is_absolute() and not Path(dataset).exists()))


def open_folder(path: str | os.PathLike[str], choices: Choices) -> LargeDataset:
    """Open the parts "train" and "test" of a folder. Raises DataError if they do not fit."""
    path = Path(path)
    if not path.is_dir():
        raise DataError(f"{path}: there is no such folder")
    if choices.one_hot or choices.missing:
        raise DataError(f"{path} is a folder of files that are read in blocks, which can only hold numbers: leave out "
                        "one_hot and missing")
    if choices.test_share != Choices().test_share:
        raise DataError(f"{path} is a folder that holds its own test part: leave out test_share")
    train, test = (open_rows(path, part=part, target=choices.target, drop=choices.drop) for part in ("train", "test"))
    if (train.n_in, train.feature_names) != (test.n_in, test.feature_names):
        raise DataError(f"{path}: the training part has {train.n_in} inputs and the test part {test.n_in}, or they "
                        "have other names: they must be the same")
    return LargeDataset(path.name, train, test)


class Noting:
    """Rows that note what their targets are while they are read.

    Parameters
    ----------
    rows : Rows
        The rows.

    Attributes
    ----------
    labels : set or None
        The different targets; None if they are too many or rows of numbers.
    y : ndarray
        The targets that were read last.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows, self.block_ends = rows, rows.block_ends
        self.labels: set[Label] | None = set()

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Read rows."""
        x, self.y = self._rows.read(start, stop)
        if self.labels is not None:
            self.labels = self.labels | set(np.unique(self.y).tolist()) if self.y.ndim == 1 else None
        if self.labels is not None and len(self.labels) > MAX_LABELS:
            self.labels = None
        return x, self.y


def look_through(data: LargeDataset, choices: Choices) -> tuple[Standardize, tuple[Label, ...] | None, int, bool]:
    """Read all training rows once.

    Parameters
    ----------
    data : LargeDataset
        The data.
    choices : Choices
        Whether the target is a class.

    Returns
    -------
    inputs : Standardize
        The layer with the means and scales of the inputs.
    labels : tuple or None
        The label of each class; None if there are none, or they are the columns of one-hot rows.
    n_out : int
        The number of classes, or of numbers to predict.
    few : bool
        Whether the targets are few whole numbers, which could be classes.

    Raises
    ------
    DataError
        If a file cannot be read, or the targets are not what was chosen.
    """
    noting = Noting(data.train)
    inputs = Standardize.of_rows(noting)
    y, labels, kind = noting.y, noting.labels, noting.y.dtype.kind
    n_out = 1 if y.ndim == 1 else y.shape[1]
    whole = labels is not None and (kind != "f" or all(float(label).is_integer() for label in labels))
    few = labels is not None and whole and kind not in "UO" and len(labels) <= MAX_CLASSES
    is_class = kind in "UOb" or (kind in "iu" and few and labels is not None and 2 * len(labels) <= len(data.train))
    if y.ndim == 1 and choices.classify is not False and (choices.classify or is_class):
        if labels is None or not whole:
            found = f"more than {MAX_LABELS:,} different values" if labels is None else "fractions"
            raise DataError(f"{printable(data.name)}: the target holds {found}, which are no classes: choose "
                            "mean-squared-error, or another target")
        if len(labels) < 2:
            raise DataError(f"{printable(data.name)}: the target is always {printable(str(*labels))}: there is nothing "
                            "to learn")
        return inputs, tuple(sorted(int(label) if kind == "f" else label for label in labels)), len(labels), False
    if kind in "UO":
        raise DataError(f"{printable(data.name)}: the target holds texts, which a regression cannot predict: leave out "
                        "the loss, or choose cross-entropy")
    return inputs, None, n_out, few and n_out == 1


def true_and_predicted(model: Model, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Return the true and the predicted index of the class of each row, which are read block by block."""
    parts = list(_classes(model, rows))
    true, predicted = (np.concatenate(indices) for indices in zip(*parts))
    return true, predicted


def _classes(model: Model, rows: Rows) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    start = 0
    for end in block_ends(rows).tolist():
        x, target = model.check_data(*rows.read(start, end))
        yield class_indices(target), class_indices(model.predict(x))
        start = end
