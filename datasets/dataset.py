"""The type of every dataset, and the function that reads its images and labels from IDX files."""

from dataclasses import dataclass
import os

import numpy as np

from datasets.idx import DataError, read_idx


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """The images and labels of a dataset, for training and for testing.

    There are N training and M test examples. Each row of `x_train` and `x_test` is one image of D = h * w pixels,
    row by row.

    Parameters
    ----------
    name : str
        The name of the dataset in `DATASETS`.
    x_train : np.ndarray, shape (N, D)
        The training images, float32 in [0, 1].
    y_train : np.ndarray, shape (N,)
        The training labels, int64. Each is an index into `classes`.
    x_test : np.ndarray, shape (M, D)
        The test images, float32 in [0, 1].
    y_test : np.ndarray, shape (M,)
        The test labels, int64. Each is an index into `classes`.
    image_shape : tuple of int
        The height and width of an image in pixels, (h, w).
    classes : tuple of str
        The names of the classes.

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
    image_shape: tuple[int, int]
    classes: tuple[str, ...]

    def __repr__(self) -> str:
        """Return the name and the sizes."""
        pixels = " x ".join(map(str, self.image_shape))
        return (f"Dataset({self.name!r}, {len(self.x_train):,} + {len(self.x_test):,} examples of {pixels} pixels, "
                f"{len(self.classes)} classes)")


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
