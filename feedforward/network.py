"""The network of an experiment or an estimator: dense layers, an activation, dropout, and the loss's last layer."""

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

from feedforward.data import DataShape
import nn
from nn.fields import lookup

MAX_HIDDEN = 1000  # hidden layers of an experiment

# each loss, and the last layer of a network that is trained with it
LOSSES: dict[str, tuple[type[nn.Loss], type[nn.Layer] | None]] = {
    "cross-entropy": (nn.CrossEntropy, nn.Softmax), "binary-cross-entropy": (nn.BinaryCrossEntropy, nn.Sigmoid),
    "mean-squared-error": (nn.MeanSquaredError, nn.Softmax)}


def known_losses() -> dict[str, tuple[type[nn.Loss], type[nn.Layer] | None]]:
    """Return LOSSES with the registered losses; the last layer of those that need probabilities is Softmax."""
    built_in = {loss for loss, _ in LOSSES.values()}
    registered = {name: kind for name, kind in nn.LOSSES.items() if kind not in built_in}
    return {**LOSSES, **{name: (kind, nn.Softmax if kind.needs_probabilities else None)
                         for name, kind in registered.items()}}


def check_hidden(hidden: Any) -> tuple[int, ...]:
    """Return the units of the hidden layers. Raises ValueError if they are not whole numbers of at least 1."""
    units: list[Any] = list(hidden) if isinstance(hidden, Iterable) and not isinstance(hidden, str) else [None]
    if not all(isinstance(number, Integral) and int(number) >= 1 for number in units):
        raise ValueError(f"hidden must hold whole numbers of at least 1, such as [50] or [], not {hidden!r}")
    if len(units) > MAX_HIDDEN:
        raise ValueError(f"hidden has {len(units):,} layers: give at most {MAX_HIDDEN:,}")
    return tuple(int(number) for number in units)


def is_regression(loss: str | None) -> bool | None:
    """Return whether a loss is one for numbers, not classes; None if no loss is chosen."""
    return None if loss is None else lookup("loss", loss, known_losses())[0].is_regression


def build_network(data: DataShape, hidden: Sequence[int], activation: str, init: str, loss: str | None, dropout: float,
                  seed: int, dtype: str) -> nn.Model:
    """Return the untrained model. Raises ValueError if a name is unknown or a number is not allowed.

    By default the loss is the cross-entropy for classes, and the mean squared error for numbers.
    """
    loss_kind, last_layer = lookup("loss", loss or ("cross-entropy" if data.classifies else "mean-squared-error"),
                                   known_losses())
    activation_kind = lookup("activation", activation, nn.ACTIVATIONS)
    layers: list[nn.Layer] = [] if data.inputs is None else [data.inputs]
    width = data.n_in
    for units in hidden:
        layers += [nn.Dense(width, units, init), activation_kind()]
        if dropout:
            layers.append(nn.Dropout(dropout))
        width = units
    layers.append(nn.Dense(width, data.n_out, init))
    if not data.classifies:
        if not loss_kind.is_regression:
            raise ValueError(f"{data.name} has numbers to predict, but the loss {loss} is one for classes: leave it "
                             "out, or choose mean-squared-error")
        last_layer = None
    layers += [] if last_layer is None else [last_layer()]
    layers += [] if data.outputs is None else [data.outputs]
    return nn.Model(layers, _build_loss(loss_kind, data), seed, dtype, data.labels, data.feature_names)


def _build_loss(kind: type[nn.Loss], data: DataShape) -> nn.Loss:
    """Return the loss; the mean squared error measures errors in standard deviations of the targets."""
    if kind is nn.MeanSquaredError and data.outputs is not None:
        return nn.MeanSquaredError(units=data.outputs.initial_scale())
    return kind()
