"""The network of an experiment: dense layers of given widths, an activation, dropout, and the loss's last layer."""

from collections.abc import Sequence

from feedforward.data import DataShape
import nn
from nn.fields import lookup

# each loss, and the layer that the network then ends with
LOSSES: dict[str, tuple[type[nn.Loss], type[nn.Layer] | None]] = {
    "cross-entropy": (nn.CrossEntropy, nn.Softmax), "binary-cross-entropy": (nn.BinaryCrossEntropy, nn.Sigmoid),
    "mean-squared-error": (nn.MeanSquaredError, nn.Softmax)}


def known_losses() -> dict[str, tuple[type[nn.Loss], type[nn.Layer] | None]]:
    """Return the table of losses with the registered ones, which end in Softmax if they need probabilities."""
    ours = {loss for loss, _ in LOSSES.values()}
    registered = {name: kind for name, kind in nn.LOSSES.items() if kind not in ours}
    return {**LOSSES, **{name: (kind, nn.Softmax if kind.needs_probabilities else None)
                         for name, kind in registered.items()}}


def build_network(data: DataShape, hidden: Sequence[int], activation: str, init: str, loss: str, dropout: float,
                  seed: int, dtype: str) -> nn.Model:
    """Return the untrained model. Raises ValueError if a name is unknown or a number is not allowed."""
    loss_kind, ending = lookup("loss", loss, known_losses())
    activation_kind = lookup("activation", activation, nn.ACTIVATIONS)
    layers: list[nn.Layer] = []
    width = data.n_in
    for units in hidden:
        layers += [nn.Dense(width, units, init), activation_kind()]
        if dropout:
            layers.append(nn.Dropout(dropout))
        width = units
    layers.append(nn.Dense(width, data.n_classes, init))
    return nn.Model(layers if ending is None else [*layers, ending()], loss_kind(), seed, dtype)
