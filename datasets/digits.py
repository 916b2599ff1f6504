"""The UCI digits, 1,797 real handwritten digits small enough to ship inside the package: data without a download."""

import os
from pathlib import Path

from datasets.dataset import Dataset, read_examples
from datasets.idx import DataError

DATA = Path(__file__).parent / "data"  # data/README.md says whose they are
TRAIN = 1437  # the first 1,437 train, the last 360 test


def load_digits(data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """
    The UCI digits: x_train (1437, 64), x_test (360, 64), images of 8 x 8 whose values 0..16 are divided by 16.

    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998, doi 10.24432/C50P49.
    Raises DataError if a data_dir is given, since there is nothing to look for in it.
    """
    if data_dir is not None:
        raise DataError(f"digits ship with the package and need no data_dir: leave out {os.fspath(data_dir)!r}")
    x, y, shape = read_examples(DATA / "digits-images-idx3-ubyte.gz", DATA / "digits-labels-idx1-ubyte.gz", white=16)
    return Dataset("digits", x[:TRAIN], y[:TRAIN], x[TRAIN:], y[TRAIN:], shape, tuple("0123456789"))
