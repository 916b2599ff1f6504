"""The data of an experiment: a dataset by its name, or the user's own; MNIST or the bundled digits by default."""

from collections.abc import Callable
import os
from typing import NamedTuple

import datasets
from datasets import Dataset


class DataShape(NamedTuple):
    """The name of a dataset and its numbers of examples, inputs and classes, which determine a network."""

    name: str
    n_train: int
    n_in: int
    n_classes: int


def shape_of(data: Dataset) -> DataShape:
    """Return the shape of loaded data."""
    return DataShape(data.name, len(data.x_train), data.x_train.shape[1], len(data.classes))


def _name(dataset: str | None) -> str:
    return "mnist" if dataset is None else dataset


def planned_shape(dataset: str | Dataset | None) -> DataShape:
    """Return the shape of the data without reading them. They need not be downloaded yet; the name is a known one."""
    if isinstance(dataset, Dataset):
        return shape_of(dataset)
    name = _name(dataset)
    entry = datasets.DATASETS[name]
    return DataShape(name, entry.n_train, entry.image_shape[0] * entry.image_shape[1], entry.n_classes)


def load_data(dataset: str | Dataset | None, data_dir: str | os.PathLike[str] | None,
              notify: Callable[[str], None]) -> Dataset:
    """Return the dataset. If neither it nor a folder was chosen and MNIST is not available, return the digits."""
    if isinstance(dataset, Dataset):
        return dataset
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
    if isinstance(dataset, Dataset):
        return ""
    missing = datasets.missing_files(_name(dataset), data_dir)
    if not missing:
        return ""
    names = ", ".join(file.name for file in missing)
    chosen = dataset is not None or data_dir is not None
    instead = "" if chosen else "; if that fails, the bundled digits are used instead"
    return f"{names} would be downloaded into {missing[0].parent}{instead}"
