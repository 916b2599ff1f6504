"""What every dataset looks like to those who use it, and how IDX files become one."""

from dataclasses import dataclass, field
import os

import numpy as np

from datasets.idx import DataError, read_idx


@dataclass(frozen=True, eq=False)
class Dataset:
    """
    Images and labels, to train and to test; rows are examples, D = h * w pixels.

    x_train (N, D) and x_test (M, D) are float32 in [0, 1]; y_train (N,) and y_test (M,) are int64, each an index
    into `classes`.
    """

    name: str
    x_train: np.ndarray = field(repr=False)
    y_train: np.ndarray = field(repr=False)
    x_test: np.ndarray = field(repr=False)
    y_test: np.ndarray = field(repr=False)
    image_shape: tuple[int, int]
    classes: tuple[str, ...]


def read_examples(
    images: str | os.PathLike[str], labels: str | os.PathLike[str], white: int, classes: int = 10
) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """
    Read N images and their labels from two IDX files; a pixel of value `white` becomes 1.

    Returns x (N, h * w) float32 in [0, 1], y (N,) int64 in [0, classes), and (h, w).
    Raises DataError if a file is damaged, or the two do not belong together.
    """
    pixels = read_idx(images)
    y = read_idx(labels).astype(np.int64)
    if pixels.ndim != 3 or pixels.dtype != np.uint8 or pixels.max() > white:
        raise DataError(
            f"{images}: expected images of uint8 in 0..{white} with shape (N, h, w), "
            f"found {pixels.dtype} up to {pixels.max()} with shape {pixels.shape}"
        )
    if y.shape != pixels.shape[:1]:
        raise DataError(f"{labels}: expected {len(pixels)} labels, one for each image, found shape {y.shape}")
    if y.min() < 0 or y.max() >= classes:
        raise DataError(f"{labels}: expected labels in 0..{classes - 1}, found {y.min()}..{y.max()}")
    n, h, w = pixels.shape
    # With dtype given, NumPy converts as it divides: one array of float32 and no copy beside it.
    return np.divide(pixels.reshape(n, h * w), white, dtype=np.float32), y, (h, w)
