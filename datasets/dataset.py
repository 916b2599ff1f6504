"""The type of every dataset, and the function that reads images and labels from IDX files."""

from dataclasses import dataclass
import os

import numpy as np

from datasets.idx import DataError, read_idx


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """The examples and targets of a dataset, for training and for testing.

    There are N training and M test examples. Each row of `x_train` and `x_test` is one example. An image of
    D = h * w pixels is a row, row by row.

    Parameters
    ----------
    name : str
        The name of the dataset in `DATASETS`.
    x_train : np.ndarray, shape (N, D)
        The training examples: images as float32 in [0, 1], or the numbers of a table.
    y_train : np.ndarray, shape (N,) or (N, K)
        The training labels, int64, each an index into `classes`; or K numbers to predict.
    x_test : np.ndarray, shape (M, D)
        The test examples.
    y_test : np.ndarray, shape (M,) or (M, K)
        The test labels or numbers.
    image_shape : tuple of int, optional
        The height and width of an image in pixels, (h, w); None if the examples are no images.
    classes : tuple of str, optional
        The names of the classes; empty if there are none.
    labels : tuple, optional
        What a user's own file calls the classes, which its models predict; None if these are the indices.
    feature_names : tuple of str, optional
        The names of the columns of x; empty if they have none.

    Examples
    --------
    >>> from datasets import load
    >>> data = load("digits")
    >>> data.x_train.shape, data.x_test.shape, data.image_shape
    ((1437, 64), (360, 64), (8, 8))
    >>> data
    Dataset('digits', 1,437 + 360 examples of 8 x 8 pixels, 10 classes)
    >>> [data.classes[label] for label in data.y_train[:3]]
    ['0', '1', '2']
    >>> data.x_train[0].reshape(data.image_shape).max()
    np.float32(0.9375)
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    image_shape: tuple[int, int] | None = None
    classes: tuple[str, ...] = ()
    labels: tuple[str | int | bool, ...] | None = None
    feature_names: tuple[str, ...] = ()

    @property
    def n_train(self) -> int:
        """The number of training examples."""
        return len(self.x_train)

    @property
    def n_test(self) -> int:
        """The number of test examples."""
        return len(self.x_test)

    def __repr__(self) -> str:
        """Return the name and the sizes."""
        size = f"{self.x_train.shape[1]} features" if self.image_shape is None else (
            f"{' x '.join(map(str, self.image_shape))} pixels")
        target = f"{len(self.classes)} classes" if self.classes else f"{self.y_train.shape[-1]} numbers to predict"
        return f"Dataset({self.name!r}, {len(self.x_train):,} + {len(self.x_test):,} examples of {size}, {target})"


def read_examples(
    images: str | os.PathLike[str], labels: str | os.PathLike[str], max_value: int, n_classes: int = 10
) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Read N images and their labels from two IDX files.

    Parameters
    ----------
    images : str or path-like
        The IDX file of the images, uint8 of shape (N, h, w) with values in 0..max_value.
    labels : str or path-like
        The IDX file of the labels, integers of shape (N,) in 0..n_classes - 1.
    max_value : int
        The largest possible value of a pixel, 1 to 255. The pixels are divided by it.
    n_classes : int, default 10
        The number of classes, at least 1.

    Returns
    -------
    x : np.ndarray, shape (N, h * w)
        The images, float32 in [0, 1].
    y : np.ndarray, shape (N,)
        The labels, int64.
    image_shape : tuple of int
        The height and width of an image in pixels, (h, w).

    Raises
    ------
    DataError
        If a file is not available or damaged, or if the labels do not match the images.
    """
    pixels = read_idx(images)
    y = read_idx(labels).astype(np.int64)
    if pixels.ndim != 3 or pixels.dtype != np.uint8 or pixels.max() > max_value:
        raise DataError(
            f"{images}: expected images of uint8 in 0..{max_value} with shape (N, h, w), "
            f"found {pixels.dtype} up to {pixels.max()} with shape {pixels.shape}"
        )
    if y.shape != pixels.shape[:1]:
        raise DataError(f"{labels}: expected {len(pixels)} labels, one for each image, found shape {y.shape}")
    if y.min() < 0 or y.max() >= n_classes:
        raise DataError(f"{labels}: expected labels in 0..{n_classes - 1}, found {y.min()}..{y.max()}")
    n, h, w = pixels.shape
    # With this dtype, NumPy converts while it divides, so the float32 result is the only large new array.
    return np.divide(pixels.reshape(n, h * w), max_value, dtype=np.float32), y, (h, w)
