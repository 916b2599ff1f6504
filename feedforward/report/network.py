"""The network of a page: its layers and its weights in 16 bits."""

from base64 import b64encode
from typing import Any

import numpy as np

from nn import (
    ELU,
    GELU,
    Dense,
    Dropout,
    Flatten,
    LeakyReLU,
    Model,
    ReLU,
    Rescale,
    Sigmoid,
    Softmax,
    Softplus,
    Standardize,
    Tanh,
)

MAX_NUMBERS = 800_000  # 2.1 MB as text
LARGEST = 65504  # of the numbers of 16 bits
ACTIVATIONS = (ReLU, LeakyReLU, ELU, GELU, Tanh, Sigmoid, Softplus, Softmax)  # that the page can compute


def description(model: Model) -> dict[str, Any] | str:
    """Return the network as the page computes it; or why it cannot."""
    layers: list[dict[str, Any]] = []
    numbers: list[np.ndarray] = []
    for layer in model.layers:
        kind = type(layer).__name__
        if isinstance(layer, Dense):
            layers.append({"type": kind, "n_in": layer.n_in, "n_out": layer.n_out})
            numbers += [layer.W.ravel(), layer.b]
        elif isinstance(layer, Standardize):
            layers.append({"type": "Affine", "n_in": layer.n_in})
            numbers += [1 / layer.scale, -layer.mean / layer.scale]
        elif isinstance(layer, Rescale):
            layers.append({"type": "Affine", "n_in": layer.n_in})
            numbers += [layer.scale, layer.mean]
        elif type(layer) in ACTIVATIONS:
            layers.append({"type": kind, **layer.description()})
        elif not isinstance(layer, (Dropout, Flatten)):
            return f"the page cannot compute the layer {layer}"
    if (count := sum(array.size for array in numbers)) > MAX_NUMBERS:
        return f"its {count:,} numbers are too many for a page"
    weights = np.concatenate(numbers) if numbers else np.zeros(0)
    if not np.abs(weights).max(initial=0) <= LARGEST:
        return "some of its weights are infinite or too large for 16 bits"
    return {"layers": layers, "weights": b64encode(weights.astype("<f2").tobytes()).decode()}
