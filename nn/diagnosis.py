"""Diagnosis: which numbers of a network are not finite, and why the loss does not change, or has risen."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nn.activations import Elementwise
from nn.network import Batch, Network

EPOCHS = 5  # so many epochs with one loss are reported
SAME = 1e-7  # relative difference of losses that count as one
RISE = 3  # a loss that has become so many times as large is reported; batches differ by less
LEARNED = 0.9  # a loss below so many times that of outputs of 0 may have reached its minimum
FLAT = 1e-6  # a derivative that counts as zero


@np.errstate(over="ignore", invalid="ignore")
def overflowing_output(parts: Sequence[tuple[Network, Batch]]) -> str:
    """Return in which layer the outputs for a batch overflow, such as "the output of layer 0 (...) holds ...".

    Parameters
    ----------
    parts : sequence of tuple
        The parts of the batch and their networks, at the theta at which the loss is not finite.

    Returns
    -------
    str
        Names the first such layer; if there is none, it says how large the outputs of the network are.
    """
    largest = 0.0
    for network, batch in parts:
        z = network.forward(batch.x)
        for i, (layer, y) in enumerate(zip(network.body, [*network.x[1:], z])):
            assert y is not None  # forward has set it
            if not np.isfinite(y).all():
                return f"the output of layer {i} ({layer}) holds {_count(y)}"
        largest = max(largest, float(np.abs(z).max(initial=0)))
    return f"outputs are up to {largest:.2g}"


def not_finite(network: Network) -> str:
    """Return which parameter's gradient, or which parameter if the gradient is finite, holds NaN or infinity.

    Parameters
    ----------
    network : Network
        The network, after the step.

    Returns
    -------
    str
        Names the first one; empty if all numbers are finite.
    """
    for prefix, what in (("d", "the gradient of "), ("", "")):
        for i, layer in enumerate(network.layers):
            for name in layer.shapes():
                values = getattr(layer, prefix + name)
                if not np.isfinite(values).all():
                    return f"{what}{name} of layer {i} ({layer}) holds {_count(values)}"
    return ""


def _count(values: np.ndarray) -> str:
    wrong = values.size - np.count_nonzero(np.isfinite(values))
    return f"{wrong:,} NaN or infinite numbers of {values.size:,}"


def standstill(network: Network, optimizer: Any, losses: Sequence[float], target: np.ndarray) -> str:
    """Return that the loss has not changed, and why if that is known; empty if it has changed, or training is done.

    Parameters
    ----------
    network : Network
        The network, with the activations of its last batch.
    optimizer : Optimizer
        The optimizer; if it has a method `state`, its vectors are looked at.
    losses : sequence of float
        The loss of each epoch.
    target : ndarray of shape (N, K)
        The targets.

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
            if np.abs(layer.df(x, y, np.empty_like(x))).max(initial=0) < FLAT:
                return (f"{text}: all derivatives of layer {i} ({layer}) are 0, so the layers before it do not learn; "
                        "try a smaller lr, another activation or another initializer")
    for name, value in optimizer.state().items() if hasattr(optimizer, "state") else ():
        if isinstance(value, np.ndarray) and not np.isfinite(value).all():  # numbers may be infinite at first
            return (f"{text}: {name} of the optimizer holds {_count(value)}, because gradients are too "
                    "large for this dtype; scale the data, or use float64")
    return text if last[-1] > LEARNED * _loss_of_zeros(network, target) else ""


def risen_loss(network: Network, target: np.ndarray, first: float, last: float, evaluate: Callable[[], float]) -> str:
    """Return that training has made the model worse; empty if it has not.

    Parameters
    ----------
    network : Network
        The network.
    target : ndarray of shape (N, K)
        The targets.
    first, last : float
        The loss of the first step, and that of the last epoch.
    evaluate : callable
        Returns the loss on all examples, which is computed only if the others leave a doubt: batches differ.

    Returns
    -------
    str
        One line.
    """
    limit = RISE * max(first, _loss_of_zeros(network, target)) if 0 < RISE * first < last else np.inf
    if not last > limit or not (loss := evaluate()) > limit:
        return ""
    return (f"the loss rose from {first:.4g} in the first step to {loss:.4g}: training made the model worse; try a "
            "smaller lr")


def _loss_of_zeros(network: Network, target: np.ndarray) -> float:
    """Return the loss if all outputs are 0."""
    return network.loss.value(np.zeros_like(target), target, 1 / len(target))
