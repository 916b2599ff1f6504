"""The UCI digits: 1,797 handwritten digits, small enough to ship with the package, so they need no download."""

import os
from pathlib import Path

from datasets.dataset import Dataset, read_examples
from datasets.idx import DataError

DATA_FOLDER = Path(__file__).parent / "data"  # data/README.md names the authors and the licence
N_TRAIN = 1437  # the first 1,437 examples are for training, the last 360 for testing


def load_digits(data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """Load the UCI digits, which ship with the package.

    Parameters
    ----------
    data_dir : None
        Must be None, because the files are part of the package. Every loader has this parameter.

    Returns
    -------
    Dataset
        1,437 training and 360 test images of 8 x 8 pixels: `x_train` (1437, 64) and `x_test` (360, 64) are float32.
        The pixel values 0..16 are divided by 16. There are 10 classes.

    Raises
    ------
    DataError
        If `data_dir` is not None.

    References
    ----------
    E. Alpaydin, C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine Learning Repository, 1998,
    doi 10.24432/C50P49.

    Examples
    --------
    >>> from datasets import load_digits
    >>> data = load_digits()
    >>> data.x_train.shape, data.x_test.shape
    ((1437, 64), (360, 64))
    """
    _check_data_dir(data_dir)
    images = DATA_FOLDER / "digits-images-idx3-ubyte.gz"
    labels = DATA_FOLDER / "digits-labels-idx1-ubyte.gz"
    x, y, image_shape = read_examples(images, labels, max_value=16)
    return Dataset(
        "digits", x[:N_TRAIN], y[:N_TRAIN], x[N_TRAIN:], y[N_TRAIN:], image_shape, classes=tuple("0123456789")
    )


def list_missing_digits(data_dir: str | os.PathLike[str] | None = None) -> list[Path]:
    """List the files of the digits that would have to be downloaded, which are none.

    Parameters
    ----------
    data_dir : None
        Must be None, as for `load_digits`.

    Returns
    -------
    list of Path
        An empty list.

    Raises
    ------
    DataError
        If `data_dir` is not None.
    """
    _check_data_dir(data_dir)
    return []


def _check_data_dir(data_dir: str | os.PathLike[str] | None) -> None:
    """Raise DataError if a folder is given."""
    if data_dir is not None:
        raise DataError(f"digits ship with the package and need no data_dir: leave out {os.fspath(data_dir)!r}")
