"""Diagnosis: which numbers of a network are not finite, and why training does not change the loss."""

from collections.abc import Sequence

import numpy as np

from nn.activations import Elementwise
from nn.network import Network

EPOCHS = 5  # so many epochs with one loss are reported
SAME = 1e-7  # relative difference of losses that count as one
FLAT = 1e-6  # a derivative that counts as zero


def not_finite(network: Network) -> str:
    """Return which parameter holds NaN or infinity, such as "W of layer 0 (Dense(...)) holds ..."; empty if none does.

    Parameters
    ----------
    network : Network
        The network.

    Returns
    -------
    str
        Names the first one.
    """
    for i, layer in enumerate(network.layers):
        for name in layer.shapes():
            values = getattr(layer, name)
            wrong = values.size - np.count_nonzero(np.isfinite(values))
            if wrong:
                return f"{name} of layer {i} ({layer}) holds {wrong:,} NaN or infinite numbers of {values.size:,}"
    return ""


def standstill(network: Network, losses: Sequence[float]) -> str:
    """Return that the loss has not changed, and why if that is known; empty if it has changed, or is 0.

    Parameters
    ----------
    network : Network
        The network, with the activations of its last batch.
    losses : sequence of float
        The loss of each epoch.

    Returns
    -------
    str
        One line.
    """
    last = losses[-EPOCHS:]
    if len(last) < EPOCHS or not last[-1] or max(last) - min(last) > SAME * abs(last[-1]):
        return ""
    text = f"the loss has been {last[-1]:.4g} for {EPOCHS} epochs"
    for i, layer in enumerate(network.body):
        if isinstance(layer, Elementwise) and (x := network.x[i]) is not None:
            y = layer.f(x, np.empty_like(x))
            if np.abs(layer.df(x, y, np.empty_like(x))).max() < FLAT:
                return (f"{text}: all derivatives of layer {i} ({layer}) are 0, so the layers before it do not learn; "
                        "try a smaller lr, another activation or another initializer")
    return text
