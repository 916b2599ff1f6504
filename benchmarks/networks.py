"""The networks that are measured: ReLU between dense layers, softmax and cross-entropy at the end."""

from itertools import pairwise

from nn import CrossEntropy, Dense, Layer, Model, ReLU, Softmax

ARTICLE = (784, 50, 10)


def new_model(widths: tuple[int, ...] = ARTICLE, dtype: str = "float32") -> Model:
    """Return an untrained network of these widths, with seed 0."""
    layers: list[Layer] = []
    for pair in pairwise(widths):
        layers += [Dense(*pair), ReLU()]
    return Model([*layers[:-1], Softmax()], CrossEntropy(), seed=0, dtype=dtype)


def parameters(widths: tuple[int, ...]) -> int:
    """Return the number of parameters of such a network."""
    return sum((n_in + 1) * n_out for n_in, n_out in pairwise(widths))
