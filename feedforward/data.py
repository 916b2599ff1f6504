"""The data of an experiment: a dataset by its name, or the user's own; MNIST or the bundled digits by default."""

from collections.abc import Callable
import os
from typing import NamedTuple

import datasets
from datasets import Dataset


class DataShape(NamedTuple):
    """What a network and its batches depend on: the dataset's name, its number of examples, inputs and classes."""

    name: str
    n_train: int
    n_in: int
    n_classes: int


def shape_of(data: Dataset) -> DataShape:
    """Return the shape of loaded data."""
    return DataShape(data.name, len(data.x_train), data.x_train.shape[1], len(data.classes))


def planned_shape(dataset: str | Dataset | None, data_dir: str | os.PathLike[str] | None) -> DataShape:
    """Return the shape of data that need not be there yet, without reading them."""
    if isinstance(dataset, Dataset):
        return shape_of(dataset)
    name = dataset or "mnist"
    datasets.missing_files(name, data_dir)  # raises DataError for an unknown name
    entry = datasets.DATASETS[name]
    return DataShape(name, entry.n_train, entry.image_shape[0] * entry.image_shape[1], entry.n_classes)


def load_data(dataset: str | Dataset | None, data_dir: str | os.PathLike[str] | None,
              notify: Callable[[str], None]) -> Dataset:
    """Return the dataset. If none was chosen and MNIST cannot be had, say why and return the digits."""
    if isinstance(dataset, Dataset):
        return dataset
    try:
        return datasets.load(dataset or "mnist", data_dir)
    except datasets.DataError as error:
        if dataset:
            raise
        notify(f"MNIST IS NOT AVAILABLE, so this trains on the bundled UCI digits (8x8 pixels) instead: {error}")
        return datasets.load("digits")


def download_text(dataset: str | Dataset | None, data_dir: str | os.PathLike[str] | None) -> str:
    """Return which files would be downloaded into which folder; empty if none would."""
    if isinstance(dataset, Dataset) or not (missing := datasets.missing_files(dataset or "mnist", data_dir)):
        return ""
    names = ", ".join(file.name for file in missing)
    instead = "" if dataset else "; if that fails, the bundled digits are used instead"
    return f"{names} would be downloaded into {missing[0].parent}{instead}"
