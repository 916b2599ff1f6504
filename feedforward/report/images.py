"""The test images of a page: the errors of a network, and some of what it classifies correctly."""

from base64 import b64encode
from io import BytesIO
from typing import Any

import numpy as np

from nn.labels import class_indices

OF_CELL = 20  # images of a cell of the confusion matrix
WORST = 24  # images of the worst errors
COLUMNS = 40  # of the sheet


def confusion_cells(true: np.ndarray, predicted: np.ndarray, of_true: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    """Return the examples of each cell of the confusion matrix, the lowest probability of the true class first.

    Parameters
    ----------
    true, predicted : ndarray of int, shape (N,)
        The classes.
    of_true : ndarray of shape (N,)
        The probability of the true class.

    Returns
    -------
    dict
        The indices of at most OF_CELL examples, by the true and the predicted class.
    """
    order = np.argsort(of_true, kind="stable")
    cells: dict[tuple[int, int], list[int]] = {}
    for i in order.tolist():
        cell = cells.setdefault((int(true[i]), int(predicted[i])), [])
        if len(cell) < OF_CELL:
            cell.append(i)
    return {key: np.array(cell) for key, cell in cells.items()}


def sheet(x: np.ndarray, shape: tuple[int, int]) -> str:
    """Return images (N, height width) with values in [0, 1], side by side, as the URL of a PNG file."""
    from PIL import Image

    height, width = shape
    rows = -(-len(x) // COLUMNS)
    tiles = np.zeros((rows * COLUMNS, height, width), np.uint8)
    tiles[: len(x)] = np.rint(255 * np.clip(x, 0, 1)).reshape(-1, height, width)
    pixels = tiles.reshape(rows, COLUMNS, height, width).swapaxes(1, 2).reshape(rows * height, COLUMNS * width)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"


def images_of_test(x: np.ndarray, true: np.ndarray, outputs: np.ndarray,
                   shape: tuple[int, int]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the sheet of images, and which of them belong to each cell and to the worst errors.

    Parameters
    ----------
    x : ndarray of shape (N, height width)
        The test examples.
    true : ndarray of int, shape (N,)
        Their classes.
    outputs : ndarray of shape (N, K) or (N, 1)
        The outputs of the network for them.
    shape : tuple of int
        The height and width of an image.

    Returns
    -------
    cells : dict
        The images of each cell of the confusion matrix, with their outputs for the predicted and the true class.
    found : dict
        "images": the sheet; "worst": images as in cells, with both classes.
    """
    scores = outputs if outputs.shape[1] > 1 else np.hstack([1 - outputs, outputs])
    rows, predicted = np.arange(len(x)), class_indices(outputs)
    cells = confusion_cells(true, predicted, scores[rows, true])
    wrong = np.flatnonzero(true != predicted)
    worst = wrong[np.argsort(scores[wrong, true[wrong]], kind="stable")][:WORST]
    chosen = np.unique(np.concatenate([worst, *cells.values()]).astype(int))

    def entry(i: int) -> tuple[int, float, float]:
        return (int(np.searchsorted(chosen, i)), round(float(scores[i, predicted[i]]), 4),
                round(float(scores[i, true[i]]), 4))

    return ({f"{i},{j}": [entry(k) for k in cell.tolist()] for (i, j), cell in cells.items()},
            {"images": {"sheet": sheet(x[chosen], shape), "size": shape, "columns": COLUMNS, "count": len(chosen)},
             "worst": [(index, int(true[i]), int(predicted[i]), said, of_true)
                       for i in worst.tolist() for index, said, of_true in [entry(i)]]})
