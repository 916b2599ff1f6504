"""The data of an experiment: a dataset by its name, or a file or Dataset of the user."""

from collections.abc import Callable, Sequence
from dataclasses import replace
import os
from typing import Any, Literal, NamedTuple

import numpy as np

import datasets
from datasets import Choices, Dataset, load_table
from datasets.columns import name_list, printable
from datasets.table import MAX_CLASSES, is_table
from feedforward.large import LargeDataset, is_folder, look_through, open_folder, true_and_predicted
from nn import Model, Rescale, Standardize
from nn.labels import class_indices, from_indices
from nn.model import Scores

Data = Dataset | LargeDataset
BATCH = 1000  # the most examples of a batch of data that are read in blocks, by default


class DataShape(NamedTuple):
    """What of the data determines a network.

    Its name, its numbers of examples, inputs and outputs, whether the outputs are classes; and for a user's own file,
    the labels of the classes, the names of the inputs, layers that standardize the inputs and rescale the outputs,
    whether the output is one of a few whole numbers, which could be classes, and whether the data are read in blocks.
    """

    name: str
    n_train: int
    n_in: int
    n_out: int
    classifies: bool = True
    labels: Sequence[str | int | bool] | None = None
    feature_names: Sequence[str] | None = None
    inputs: Standardize | None = None
    outputs: Rescale | None = None
    few_numbers: bool = False
    in_blocks: bool = False

    @property
    def batch_size(self) -> int:
        """The examples of a batch of first-order optimizers, if no number is chosen."""
        tenth = -(-self.n_train // 10)
        return min(tenth, BATCH) if self.in_blocks else tenth


def shape_of(data: Data, choices: Choices, standardize: bool) -> DataShape:
    """Return the shape of loaded data; if `standardize`, with the means and scales of the training part.

    A folder that is read in blocks is read through.
    """
    if isinstance(data, LargeDataset):
        inputs, labels, n_out, few = look_through(data, choices)
        classifies = labels is not None or bool(choices.classify)
        return DataShape(data.name, data.n_train, data.train.n_in, n_out, classifies, labels,
                         data.train.feature_names or None, inputs, None if classifies else Rescale.of_rows(data.train),
                         few, in_blocks=True)
    y = data.y_train
    if y.ndim == 1 and y.dtype.kind not in "iuf":
        raise ValueError(f"the y_train of {data.name} holds {y.dtype}: give indices into classes, from 0, or numbers")
    classifies = bool(data.classes) or (y.ndim == 1 and y.dtype.kind in "iu")
    n_out = len(data.classes) or (int(y.max()) + 1 if classifies else y[0].size)
    return DataShape(data.name, len(data.x_train), data.x_train.shape[1], n_out, classifies, data.labels,
                     data.feature_names or None, Standardize.of(data.x_train) if standardize else None,
                     Rescale.of(data.y_train) if standardize and not classifies else None,
                     not classifies and n_out == 1 and _few_numbers(y))


def _few_numbers(y: np.ndarray) -> bool:
    return bool((y == np.floor(y)).all()) and len(np.unique(y)) <= MAX_CLASSES


def targets(data: Dataset, y: np.ndarray) -> np.ndarray:
    """Return targets as the models of these data take them: as labels, if the user's file has its own."""
    return from_indices(y, data.labels)


def fit(model: Model, data: Data, **options: Any) -> None:
    """Train on the training part, and evaluate the test part after each epoch; the options are those of Model.fit."""
    if isinstance(data, LargeDataset):
        model.fit_rows(data.train, validation_data=data.test, **options)
    else:
        test = data.x_test, targets(data, data.y_test)
        model.fit(data.x_train, targets(data, data.y_train), validation_data=test, **options)


def evaluate(model: Model, data: Data, part: Literal["train", "test"], comm: Any) -> Scores:
    """Return the scores on a part. All ranks must call it, if the data are read in blocks."""
    if isinstance(data, LargeDataset):
        return model.evaluate_rows(getattr(data, part), comm)
    return model.evaluate(getattr(data, f"x_{part}"), targets(data, getattr(data, f"y_{part}")))


def classes_of_test(model: Model, data: Data) -> tuple[np.ndarray, np.ndarray]:
    """Return the true and the predicted class of each test example."""
    if isinstance(data, LargeDataset):
        return true_and_predicted(model, data.test)
    return data.y_test, class_indices(model.predict(data.x_test))


def class_names(model: Model, data: Data) -> Sequence[str]:
    """Return the names of the classes; an empty sequence if they have none."""
    return [str(label) for label in model.classes or ()] if isinstance(data, LargeDataset) else data.classes


def without_training(data: Data) -> Data:
    """Return the data without the training part, so that its memory can be freed."""
    if isinstance(data, LargeDataset):
        return data
    return replace(data, x_train=data.x_train[:0].copy(), y_train=data.y_train[:0].copy())


def in_memory(data: Data, what: str) -> Dataset:
    """Return the data. Raises ValueError, with what needs it, if they are not in memory."""
    if isinstance(data, LargeDataset):
        raise ValueError(f"{what} needs data in memory, but {data.name} is read in blocks")
    return data


def describe(shape: DataShape, n_test: int, choices: Choices) -> str:
    """Return what is predicted from what, in one line, for a file of the user."""
    number = "a number" if shape.n_out == 1 else f"{shape.n_out} numbers"
    what = f"one of {shape.n_out} classes" if shape.classifies else f"{number} (a loss of 1 is that of the mean)"
    hint = "; if its values are classes, choose the loss cross-entropy"
    return (f"{printable(shape.name)}: predicts {name_list(choices.target) or 'y'}, {what}, from {shape.n_in} "
            f"standardized inputs; trains on {shape.n_train:,} rows and tests on {n_test:,}"
            + ", which are read in blocks" * shape.in_blocks
            + hint * (shape.few_numbers and choices.classify is None))


def _name(dataset: str | None) -> str:
    return "mnist" if dataset is None else dataset


def is_own(dataset: object) -> bool:
    """Return whether these are a file or a folder of the user."""
    return is_table(dataset) or is_folder(dataset)


def ignore(message: str) -> None:
    """Do nothing with a message, where a function that notifies is expected."""


def planned_shape(dataset: str | Dataset | None, choices: Choices) -> DataShape:
    """Return the shape of the data without a download; files of the user are read."""
    if isinstance(dataset, Dataset) or is_own(dataset):
        return shape_of(load_data(dataset, None, choices, ignore), choices, is_own(dataset))
    name = _name(dataset)
    entry = datasets.DATASETS[name]
    return DataShape(name, entry.n_train, entry.image_shape[0] * entry.image_shape[1], entry.n_classes)


def load_data(dataset: str | Dataset | None, data_dir: str | os.PathLike[str] | None, choices: Choices,
              notify: Callable[[str], None]) -> Data:
    """Return the dataset. If neither it nor a folder was chosen and MNIST is not available, return the digits."""
    if isinstance(dataset, Dataset):
        return dataset
    if dataset is not None and is_own(dataset):
        return load_table(dataset, choices) if is_table(dataset) else open_folder(dataset, choices)
    try:
        return datasets.load(_name(dataset), data_dir)
    except datasets.DataError as error:
        if dataset is not None or data_dir is not None:
            raise
        notify(f"MNIST IS NOT AVAILABLE, so this trains on the bundled UCI digits (8x8 pixels) instead: {error}")
        return datasets.load("digits")


def download_text(dataset: str | Dataset | None, data_dir: str | os.PathLike[str] | None) -> str:
    """Return a text that names the files to download and their folder. It is empty if no file is missing.

    Raises DataError if no dataset has this name.
    """
    if isinstance(dataset, Dataset) or is_own(dataset):
        return ""
    missing = datasets.missing_files(_name(dataset), data_dir)
    if not missing:
        return ""
    names = ", ".join(file.name for file in missing)
    chosen = dataset is not None or data_dir is not None
    instead = "" if chosen else "; if that fails, the bundled digits are used instead"
    return f"{names} would be downloaded into {missing[0].parent}{instead}"
