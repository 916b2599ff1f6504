"""Datasets by name, ready to train on: `load("mnist")` finds or fetches the files, checks them and scales them."""

from collections.abc import Callable
from dataclasses import dataclass
import difflib
import os

from datasets.dataset import Dataset
from datasets.digits import load_digits
from datasets.idx import DataError, read_idx
from datasets.mnist import load_fashion_mnist, load_mnist

__all__ = ["DATASETS", "DataError", "Dataset", "load", "load_digits", "load_fashion_mnist", "load_mnist", "read_idx"]


@dataclass(frozen=True)
class Entry:
    """A row of the table of datasets: how to load one, and what to say of it in a line."""

    load: Callable[[str | os.PathLike[str] | None], Dataset]
    examples: str
    source: str


DATASETS = {
    "mnist": Entry(load_mnist, "60,000 + 10,000 handwritten digits, 28 x 28", "downloaded once (11 MB)"),
    "fashion-mnist": Entry(load_fashion_mnist, "60,000 + 10,000 clothes, 28 x 28", "downloaded once (31 MB)"),
    "digits": Entry(load_digits, "1,437 + 360 handwritten digits, 8 x 8", "ships with this package"),
}


def load(name: str, data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """
    Load a dataset by its name in DATASETS: images as float32 rows in [0, 1], labels as int64.

    `data_dir` is the folder that has its files, or that they are downloaded to. Raises DataError if there is no such
    dataset, or its files cannot be had.
    """
    if name not in DATASETS:
        close = difflib.get_close_matches(str(name).lower(), DATASETS, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise DataError(f"no dataset is called {name!r}: {hint}choose from {', '.join(DATASETS)}")
    return DATASETS[name].load(data_dir)
