"""The layers bound to one parameter vector, with buffers of their own: what runs a batch forward and back."""

from collections.abc import Sequence
import copy

import numpy as np
from numpy.random import Generator

from nn.buffers import Array
from nn.layers import Layer
from nn.losses import Loss, joined
from nn.parameters import size


class Network:
    """Runs batches through copies of `layers` that read `theta` (P,) and write `grad` (P,).

    Several networks may share one theta; no two share a gradient or a buffer. The dtype is theta's.
    """

    def __init__(self, layers: Sequence[Layer], loss: Loss, theta: Array, grad: Array) -> None:
        self.layers = [copy.copy(layer) for layer in layers]
        self.loss = joined(loss, layers[-1])
        self.theta, self.grad = theta, grad
        self.loss.bind(theta.dtype)
        start = 0
        for layer in self.layers:
            stop = start + size(layer.shapes())
            layer.bind(theta[start:stop], grad[start:stop])
            start = stop
        # the last layer is the loss's own where the two are computed together
        self.body = self.layers[:-1] if self.loss.joins else self.layers
        self.first = next((i for i, layer in enumerate(self.body) if layer.shapes()), len(self.body))

    def freeze(self, rng: Generator | None) -> None:
        """Draw what is random (the masks of Dropout) from `rng` at the next forward; None: nothing is random."""
        for layer in self.layers:
            layer.freeze(rng)

    def forward(self, x: Array) -> Array:
        """x (n, n_in) to z (n, K), what the loss is computed from; a buffer."""
        for layer in self.body:
            x = layer.forward(x)
        return x

    def predict(self, x: Array) -> Array:
        """x (n, n_in) to the model's output (n, K); a buffer."""
        z = self.forward(x)
        return self.layers[-1].forward(z) if self.loss.joins else z

    def value(self, x: Array, target: Array, scale: float) -> float:
        """The loss of the batch: scale times the sum over its examples."""
        self.z = self.forward(x)
        return self.loss.value(self.z, target, scale)

    def value_and_gradient(self, x: Array, target: Array, scale: float) -> tuple[float, Array]:
        """The loss of the batch, and its gradient (P,), which is `grad` itself."""
        value = self.value(x, target, scale)
        dy: Array | None = self.loss.gradient(self.z, target, scale, self.loss.buffers("dz", self.z.shape))
        for i in range(len(self.body) - 1, self.first - 1, -1):
            assert dy is not None  # only the first layer's is
            dy = self.body[i].backward(dy, needs_dx=i > self.first)
        return value, self.grad

    def correct(self, target: Array) -> int:
        """How many examples of the last batch were put in their class (for one output: on the right side)."""
        if target.shape[1] == 1:
            return int(np.count_nonzero((self.z > self.loss.threshold) == (target > 0.5)))
        chosen, true = (self.loss.buffers(name, (len(target),), np.intp) for name in ("chosen", "true"))
        np.argmax(self.z, axis=1, out=chosen)
        np.argmax(target, axis=1, out=true)
        return len(target) - int(np.count_nonzero(np.subtract(chosen, true, out=chosen)))
