"""hold_out: chooses the examples for validation by their content, so that repetitions of an example stay together."""

from hashlib import blake2b

import numpy as np


def hold_out(x: np.ndarray, classes: np.ndarray, weight: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Choose examples for validation.

    Parameters
    ----------
    x : ndarray of shape (N, n_in)
        The examples.
    classes : ndarray of int, shape (N,)
        The class of each example. Each class gives the same share; all zeros if there are no classes.
    weight : ndarray of shape (N,)
        By how much each example counts, above 0.
    fraction : float
        The share of the total weight to choose, above 0 and below 1.
    seed : int
        The seed of the choice.

    Returns
    -------
    ndarray of bool, shape (N,)
        Whether an example is for validation. At least one is; in each class, one of every content is not.

    Raises
    ------
    ValueError
        If no class has two different examples.

    Notes
    -----
    The choice depends on the content of the examples and their weights alone, not on their order. An example of weight
    2 is chosen exactly if the same example given twice is. No copy of a training example is used for validation.
    """
    order, first = _groups(x, classes, seed)
    starts = np.flatnonzero(first)
    weights, labels = np.add.reduceat(weight[order], starts), classes[order][starts]
    last = np.append(labels[1:] != labels[:-1], True)  # the last group of each class is for training
    if last.all():
        raise ValueError("early_stopping holds out examples for validation, but no class has two different examples "
                         f"(n_samples = {len(x)}): give more examples, or early_stopping=False")
    sums, ends = np.cumsum(weights), np.flatnonzero(last)
    before = np.concatenate([[0], sums[ends[:-1]]])  # the weight of the classes before
    k = np.cumsum(last) - last  # of the class of each group
    place = (sums - before[k] - weights / 2) / (sums[ends] - before)[k]  # within its class, from 0 to 1
    place[last] = np.inf
    by_place = np.argsort(place, kind="stable")[: np.count_nonzero(~last)]
    middle = np.cumsum(weights[by_place]) - weights[by_place] / 2
    chosen = np.zeros(len(starts), bool)
    chosen[by_place[: max(1, np.searchsorted(middle, fraction * sums[-1]))]] = True
    held = np.empty(len(x), bool)
    held[order] = chosen[np.cumsum(first) - 1]
    return held


def _groups(x: np.ndarray, classes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an order in which equal examples of a class follow each other, and whether one differs from that before.

    The order within a class is that of hashes, which the seed determines.
    """
    prefix = b"%d " % seed
    hashes = np.frombuffer(b"".join(blake2b(prefix + row.tobytes(), digest_size=8).digest() for row in x), np.uint64)
    order = np.lexsort((hashes, classes))
    hashes, classes = hashes[order], classes[order]
    first = np.append(True, (hashes[1:] != hashes[:-1]) | (classes[1:] != classes[:-1]))
    return order, first
