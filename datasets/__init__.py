"""Datasets by name: `load("mnist")` finds or downloads the files, verifies them and scales the pixels to [0, 1].

`DATASETS` maps the name of every dataset to its `Entry`:

>>> from datasets import DATASETS
>>> list(DATASETS)
['mnist', 'fashion-mnist', 'digits']
>>> DATASETS["digits"].source
'ships with this package'
"""

from collections.abc import Callable
from dataclasses import dataclass
import difflib
from functools import partial
import os
from pathlib import Path

from datasets.dataset import Dataset
from datasets.digits import list_missing_digits, load_digits
from datasets.idx import DataError, read_idx
from datasets.mnist import list_missing, load_fashion_mnist, load_mnist
from datasets.rows import Rows, open_rows
from datasets.table import SUFFIXES, Choices, load_table

__all__ = [
    "Choices", "DATASETS", "DataError", "Dataset", "Rows", "load", "load_digits", "load_fashion_mnist",
    "load_mnist", "load_table", "missing_files", "open_rows", "read_idx",
]  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """The description of a dataset in `DATASETS`.

    Parameters
    ----------
    load : callable
        The function that loads the dataset. Its argument is a folder or None.
    list_missing : callable
        The function that lists the files that must be downloaded. Its argument is a folder or None.
    subject : str
        The subject of the images.
    n_train, n_test : int
        The number of training examples and of test examples.
    image_shape : tuple of int
        The height and the width of an image, in pixels.
    n_classes : int
        The number of classes.
    source : str
        Where the files come from, in one line.
    """

    load: Callable[[str | os.PathLike[str] | None], Dataset]
    list_missing: Callable[[str | os.PathLike[str] | None], list[Path]]
    subject: str
    n_train: int
    n_test: int
    image_shape: tuple[int, int]
    n_classes: int
    source: str

    @property
    def examples(self) -> str:
        """The number, the subject and the size of the images, in one line."""
        height, width = self.image_shape
        return f"{self.n_train:,} + {self.n_test:,} {self.subject}, {height} x {width}"


DATASETS = {
    "mnist": Entry(
        load=load_mnist,
        list_missing=partial(list_missing, "mnist"),
        subject="handwritten digits",
        n_train=60_000,
        n_test=10_000,
        image_shape=(28, 28),
        n_classes=10,
        source="downloaded once (11 MB)",
    ),
    "fashion-mnist": Entry(
        load=load_fashion_mnist,
        list_missing=partial(list_missing, "fashion-mnist"),
        subject="clothes",
        n_train=60_000,
        n_test=10_000,
        image_shape=(28, 28),
        n_classes=10,
        source="downloaded once (31 MB)",
    ),
    "digits": Entry(
        load=load_digits,
        list_missing=list_missing_digits,
        subject="handwritten digits",
        n_train=1_437,
        n_test=360,
        image_shape=(8, 8),
        n_classes=10,
        source="ships with this package",
    ),
}


def load(name: str, data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """Load a dataset by its name, and download it if necessary.

    Parameters
    ----------
    name : str
        A name in `DATASETS`.
    data_dir : str or path-like, optional
        The folder of the dataset's files. Missing files are downloaded into it. If it is not given, the environment
        variable of the dataset (MNIST_DIR, FASHION_MNIST_DIR) names the folder. If that is not set either, the folder
        is in the user's cache. It must not be given for a dataset that ships with the package.

    Returns
    -------
    Dataset
        The images as float32 rows in [0, 1], and the labels as int64.

    Raises
    ------
    DataError
        If no dataset has this name, if its files are not in the folder and cannot be downloaded, or if the folder
        cannot be used.

    Examples
    --------
    >>> from datasets import load
    >>> data = load("digits")
    >>> data.x_train.shape, data.y_train.shape
    ((1437, 64), (1437,))
    """
    return _entry(name).load(data_dir)


def missing_files(name: str, data_dir: str | os.PathLike[str] | None = None) -> list[Path]:
    """List the files of a dataset that `load` would have to download.

    Parameters
    ----------
    name : str
        A name in `DATASETS`.
    data_dir : str or path-like, optional
        The folder of the files, chosen as in `load`.

    Returns
    -------
    list of Path
        The files that do not exist or have the wrong sha256. The list is empty if no file is missing, or if the dataset
        ships with the package.

    Raises
    ------
    DataError
        If no dataset has this name, or if the folder cannot be used. `load` raises the same errors.

    Notes
    -----
    This function only reads. It opens no connection, creates no folder and writes no file.

    Examples
    --------
    >>> import tempfile
    >>> from datasets import missing_files
    >>> with tempfile.TemporaryDirectory() as empty_folder:
    ...     [path.name for path in missing_files("mnist", empty_folder)][:2]
    ['train-images-idx3-ubyte.gz', 'train-labels-idx1-ubyte.gz']
    >>> missing_files("digits")
    []
    """
    return _entry(name).list_missing(data_dir)


def _entry(name: str) -> Entry:
    """Return the entry of a dataset; raise DataError if no dataset has this name."""
    if not isinstance(name, str):
        raise DataError(f"a dataset is chosen by its name, such as 'digits', not by a {type(name).__name__}")
    if name not in DATASETS and os.path.dirname(name):
        raise DataError(f"{name}: there is no such file or folder")
    if name not in DATASETS:
        close = difflib.get_close_matches(str(name).lower(), DATASETS, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise DataError(f"no dataset is called {name!r}: {hint}choose from {', '.join(DATASETS)}; your own "
                        f"data are named by the path of a folder or of a file, {', '.join(SUFFIXES)}")
    return DATASETS[name]
