"""The data of an experiment: a dataset by its name, or a file or Dataset of the user."""

from collections.abc import Callable, Sequence
import os
from typing import NamedTuple

import numpy as np

import datasets
from datasets import Choices, Dataset, load_table
from datasets.columns import name_list, printable
from datasets.table import MAX_CLASSES, is_table
from nn import Rescale, Standardize
from nn.labels import from_indices


class DataShape(NamedTuple):
    """What of the data determines a network.

    Its name, its numbers of examples, inputs and outputs, whether the outputs are classes; and for a user's own file,
    the labels of the classes, the names of the inputs, layers that standardize the inputs and rescale the outputs, and
    whether the output is one of a few whole numbers, which could be classes.
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


def shape_of(data: Dataset, standardize: bool) -> DataShape:
    """Return the shape of loaded data; if `standardize`, with the means and scales of the training part."""
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


def describe(shape: DataShape, n_test: int, choices: Choices) -> str:
    """Return what is predicted from what, in one line, for a file of the user."""
    number = "a number" if shape.n_out == 1 else f"{shape.n_out} numbers"
    what = f"one of {shape.n_out} classes" if shape.classifies else f"{number} (a loss of 1 is that of the mean)"
    hint = "; if its values are classes, choose the loss cross-entropy"
    return (f"{printable(shape.name)}: predicts {name_list(choices.target) or 'y'}, {what}, from {shape.n_in} "
            f"standardized inputs; trains on {shape.n_train:,} rows and tests on {n_test:,}"
            + hint * (shape.few_numbers and choices.classify is None))


def _name(dataset: str | None) -> str:
    return "mnist" if dataset is None else dataset


def planned_shape(dataset: str | Dataset | None, choices: Choices) -> DataShape:
    """Return the shape of the data without a download; a file of the user is read."""
    if isinstance(dataset, Dataset):
        return shape_of(dataset, standardize=False)
    name = _name(dataset)
    if is_table(name):
        return shape_of(load_table(name, choices), standardize=True)
    entry = datasets.DATASETS[name]
    return DataShape(name, entry.n_train, entry.image_shape[0] * entry.image_shape[1], entry.n_classes)


def load_data(dataset: str | Dataset | None, data_dir: str | os.PathLike[str] | None, choices: Choices,
              notify: Callable[[str], None]) -> Dataset:
    """Return the dataset. If neither it nor a folder was chosen and MNIST is not available, return the digits."""
    if isinstance(dataset, Dataset):
        return dataset
    if is_table(dataset):
        assert dataset is not None
        return load_table(dataset, choices)
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
    if isinstance(dataset, Dataset) or is_table(dataset):
        return ""
    missing = datasets.missing_files(_name(dataset), data_dir)
    if not missing:
        return ""
    names = ", ".join(file.name for file in missing)
    chosen = dataset is not None or data_dir is not None
    instead = "" if chosen else "; if that fails, the bundled digits are used instead"
    return f"{names} would be downloaded into {missing[0].parent}{instead}"
