"""The layers bound to one parameter vector, with buffers of their own: what runs a batch forward and back."""

from collections.abc import Iterator, Sequence
import copy

import numpy as np
from numpy.random import Generator

from nn.buffers import Array, Buffers
from nn.layers import Layer
from nn.losses import Loss, joined
from nn.parameters import size

CHUNK = 4096  # rows run at once where no gradient is wanted: memory stays small whatever N is


def chunks(n: int) -> Iterator[slice]:
    """The rows 0 to n, a slice for each chunk."""
    return (slice(start, min(start + CHUNK, n)) for start in range(0, n, CHUNK))


class Network:
    """Runs batches through copies of `layers` that read `theta` (P,) and write `grad` (P,).

    Several networks may share one theta; no two share a gradient or a buffer. The dtype is theta's. `holds` says whose
    activations are in the layers: who evaluates and means to come back for more sets it, any other forward clears it.
    """

    def __init__(self, layers: Sequence[Layer], loss: Loss, theta: Array, grad: Array) -> None:
        self.layers = [copy.copy(layer) for layer in layers]
        self.given, self.loss = loss, joined(loss, layers[-1])
        self.theta, self.grad = theta, grad
        self.loss.bind(theta.dtype)
        self.buffers = Buffers(theta.dtype)
        self.parts: list[slice] = []  # of theta, for each layer
        start = 0
        for layer in self.layers:
            self.parts.append(slice(start, start + size(layer.shapes())))
            start = self.parts[-1].stop
            layer.bind(theta[self.parts[-1]], grad[self.parts[-1]])
        # the last layer is the loss's own where the two are computed together
        self.body = self.layers[:-1] if self.loss.joins else self.layers
        self.first = next((i for i, layer in enumerate(self.body) if layer.shapes()), len(self.body))
        self.holds: object = None
        self.at: Array | None = None  # a copy of theta where the layers were last run; kept once a product is asked for
        self._direction: Array | None = None
        self._product: Array | None = None

    def another(self) -> "Network":
        """A network on the same theta, with a gradient of its own."""
        return Network(self.layers, self.given, self.theta, np.zeros_like(self.grad))

    def restricted(self, rows: Array) -> "Network":
        """Another for these rows of the last batch, with what is random as it was for them."""
        network = self.another()
        for layer in network.layers:
            layer.restrict(rows)
        return network

    @property
    def random(self) -> bool:
        """Whether two evaluations of one batch may differ."""
        return any(layer.random for layer in self.layers)

    def asked(self) -> "Network":
        """Another without anything random, to evaluate and predict: apart from training, whose activations stay."""
        network = Network(self.layers, self.given, self.theta, self.grad)
        network.freeze(None)
        return network

    def evaluate(self, x: Array, target: Array, of: int) -> tuple[float, int]:
        """The loss on these examples, as a part of a mean over `of`, and how many were put in their class."""
        loss, correct = 0.0, 0
        for rows in chunks(len(x)):
            loss += self.value(x[rows], target[rows], 1 / of)
            correct += self.correct(target[rows])
        return loss, correct

    def freeze(self, rng: Generator | None) -> None:
        """Draw what is random (the masks of Dropout) from `rng` at the next forward; None: nothing is random."""
        self.holds = None
        for layer in self.layers:
            layer.freeze(rng)

    def forward(self, x: Array) -> Array:
        """x (n, n_in) to z (n, K), what the loss is computed from; a buffer."""
        self.holds = None
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

    def _tangents(self) -> tuple[Array, Array]:
        """The direction and the product (P,), which the layers are bound to when one is first asked for."""
        if self._direction is None or self._product is None:
            self._direction, self._product = np.zeros_like(self.theta), np.zeros_like(self.theta)
            for layer, part in zip(self.layers, self.parts):
                layer.bind_tangents(self._direction[part], self._product[part])
        return self._direction, self._product

    def point(self, v: Array) -> Array:
        """Take v (P,) for the direction of the products; a copy, so that v may be any buffer, the last product too."""
        if v.shape != self.theta.shape:
            raise ValueError(f"a direction must have the shape of theta, {self.theta.shape}, not {v.shape}")
        direction = self._tangents()[0]
        np.copyto(direction, v, casting="same_kind")
        return direction

    def curvature(self, target: Array, scale: float, curved: bool) -> Array:
        """The Hessian of the loss of the last batch, last run forward and back, times the direction: (P,), a buffer.

        Forward and backward once more, each line replaced by its derivative: Pearlmutter (1994). Where not `curved`
        the layers are taken for linear, and J^T H_L J is left: Gauss-Newton's matrix, in Schraudolph's (2002) form.
        """
        layers = self.body[self.first :]
        tz: Array | None = None  # the data do not move
        for layer in layers:
            tz = layer.jvp(tz)
        assert tz is not None
        tdy: Array | None
        tdy = self.loss.hessian_product(self.z, target, tz, scale, self.buffers("tdz", tz.shape))
        for i, layer in reversed([*enumerate(layers)]):
            assert tdy is not None  # only the first layer's is
            tdy = layer.backward_jvp(tdy, i > 0, curved)
        return self._tangents()[1]

    def product_cost(self, curved: bool) -> float:
        """What `curvature` costs beside a gradient, by the sizes of the matrices multiplied.

        A layer takes 3 matrix products in a gradient, 6 in a Hessian product and 4 in a Gauss-Newton product; the first
        one, whose input does not move and whose dx nobody needs, takes 2 in each.
        """
        sizes = [part.stop - part.start for part in self.parts]
        first = next(n for n in sizes if n)
        rest = sum(sizes) - first
        return (2 * first + (6 if curved else 4) * rest) / (2 * first + 3 * rest)

    def jacobian(self, c: float, out: Array) -> Array:
        """c times the derivatives of the last batch's z (n, K), written to `out` (n, K, P): K times back."""
        self._tangents()  # which backward_jvp writes to
        for k in range(out.shape[1]):
            dy: Array | None = self.buffers("unit", self.z.shape)
            assert dy is not None
            dy.fill(0)
            dy[:, k] = c
            for i in range(len(self.body) - 1, self.first - 1, -1):
                assert dy is not None  # only the first layer's is
                self.body[i].example_gradients(dy, out[:, k, self.parts[i]])
                dy = self.body[i].backward_jvp(dy, curved=False) if i > self.first else None
        return out

    def correct(self, target: Array) -> int:
        """How many examples of the last batch were put in their class (for one output: on the right side)."""
        if target.shape[1] == 1:
            return int(np.count_nonzero((self.z > self.loss.threshold) == (target > 0.5)))
        chosen, true = (self.loss.buffers(name, (len(target),), np.intp) for name in ("chosen", "true"))
        np.argmax(self.z, axis=1, out=chosen)
        np.argmax(target, axis=1, out=true)
        return len(target) - int(np.count_nonzero(np.subtract(chosen, true, out=chosen)))
