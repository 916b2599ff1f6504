"""Network: layers bound to one parameter vector, which run a batch forward and backward."""

from collections.abc import Callable, Iterator, Sequence
import copy
from itertools import pairwise

import numpy as np
from numpy.random import Generator

from nn.arrays import Buffers, size
from nn.layers import Layer
from nn.losses import Loss

CHUNK = 4096  # rows that run at once if no gradient is needed, so that the memory does not grow with N


def chunks(n: int) -> Iterator[slice]:
    """Return slices of at most CHUNK rows that cover n rows."""
    return (slice(start, min(start + CHUNK, n)) for start in range(0, n, CHUNK))


class Batch:
    """Examples, their targets, the scale of their loss, and the cost of everything computed for them.

    Networks recognize a batch by the identity of this object, so the arrays must not change afterwards.

    Parameters
    ----------
    x : ndarray of shape (n, n_in)
        The examples.
    target : ndarray of shape (n, K)
        The targets.
    scale : float
        1/N if the loss is the mean over N examples, including these n.
    weight : ndarray of shape (n,), optional
        By how much the loss of each example counts; all the same by default.
    parent : Batch, optional
        The batch that this batch is a subsample of: the cost of this batch is also added to its `gradients`.
    gather : callable, optional
        Fills x, target and weight before their first use; also an attribute, which is then None.

    Attributes
    ----------
    evaluations : int
        How often the layers were run for this batch.
    gradients : float
        The cost of everything computed. The unit is one gradient of one example: a value costs 1/2, a product
        `Network.product_cost`, a Jacobian 1 for each output.
    """

    __slots__ = ("evaluations", "gather", "gradients", "parent", "scale", "target", "weight", "x")

    def __init__(self, x: np.ndarray, target: np.ndarray, scale: float, weight: np.ndarray | None = None,
                 parent: "Batch | None" = None, gather: Callable[[], None] | None = None) -> None:
        self.x, self.target, self.scale, self.weight = x, target, scale, weight
        self.parent, self.gather = parent, gather
        self.evaluations, self.gradients = 0, 0.0

    def load(self) -> None:
        """Fill x and target, if that has not been done."""
        if self.gather is not None:
            self.gather()
            self.gather = None

    def count(self, gradients: float) -> None:
        """Add a cost, in gradients of one example."""
        self.gradients += gradients
        if self.parent is not None:
            self.parent.count(gradients)


def weigh(weight: np.ndarray | None, rows: np.ndarray) -> np.ndarray:
    """Multiply each row by its weight, in place, and return the rows; if there are no weights, as they are."""
    if weight is not None:
        rows *= weight[:, np.newaxis]
    return rows


def _root(weight: np.ndarray | None) -> np.ndarray | None:
    return None if weight is None else np.sqrt(weight)


class Network:
    """Copies of layers that read one vector of parameters and write one vector of gradients.

    Parameters
    ----------
    layers : sequence of Layer
        The layers in order. The network copies them.
    loss : Loss
        The loss. The network copies what its method `for_last_layer` returns.
    theta : ndarray of shape (P,)
        The parameters. Everything is computed in their dtype. Several networks may share one theta.
    grad : ndarray of shape (P,)
        The vector to which gradients are written.
    constants : ndarray of shape (C,)
        The arrays of the layers that are not trained. Several networks share them.

    Notes
    -----
    A network remembers for which batch, and at which theta, its layers were run last. Hessian products, residuals and
    Jacobians use these activations; the layers are run again only if the batch or theta has changed. No other object
    keeps such a record.
    """

    def __init__(self, layers: Sequence[Layer], loss: Loss, theta: np.ndarray, grad: np.ndarray,
                 constants: np.ndarray) -> None:
        self.layers = [copy.copy(layer) for layer in layers]
        self.loss = copy.copy(loss.for_last_layer(layers[-1]))
        self.loss.bind(theta.dtype)
        self.theta, self.grad, self.constants = theta, grad, constants
        self.buffers = Buffers(theta.dtype)
        ends = np.cumsum([0, *(size(layer.shapes()) for layer in self.layers)])
        self.slices = [slice(*map(int, part)) for part in pairwise(ends)]  # of theta, for each layer
        self.bind(grad)
        self._random_layers = [layer for layer in self.layers if type(layer).resample is not Layer.resample]
        # the last layer belongs to the loss if the two are computed together
        self.body = self.layers[:-1] if self.loss.includes else self.layers
        self.x: list[np.ndarray | None] = [None] * len(self.body)  # the last input of each layer
        self.dy: list[np.ndarray | None] = [None] * len(self.body)  # and the last dL/dy
        self.first = next((i for i, layer in enumerate(self.body) if layer.shapes()), len(self.body))
        self._batch: Batch | None = None  # the batch for which the layers were run last; None if that is not known
        self._ran_backward = False
        self._theta_at_run: np.ndarray | None = None  # a copy of theta, made from the first product on
        self._direction: np.ndarray | None = None
        self._product: np.ndarray | None = None

    def bind(self, grad: np.ndarray) -> None:
        """Write gradients to this vector (P,) from now on."""
        self.grad, start = grad, 0
        for layer, part in zip(self.layers, self.slices):
            layer.bind(self.theta[part], grad[part])
            if count := size(layer.constants()):
                layer.bind_constants(self.constants[start : start + count])
                start += count

    def replica(self, own_gradient: bool = True) -> "Network":
        """Return a network on the same theta, with its own buffers, and its own gradient if `own_gradient`."""
        grad = np.zeros_like(self.grad) if own_gradient else self.grad
        return Network(self.layers, self.loss, self.theta, grad, self.constants)

    def inference_copy(self) -> "Network":
        """Return a network for predictions, without dropout. The activations of this network are kept."""
        network = Network(self.layers, self.loss, self.theta, self.grad, self.constants)
        network.resample(None)
        return network

    @property
    def random(self) -> bool:
        """Whether two evaluations of one batch may differ."""
        return any(layer.random for layer in self.layers)

    def resample(self, rng: Generator | None) -> None:
        """Draw dropout masks and other random numbers from `rng` at the next forward; if it is None, draw none."""
        self._batch = None
        for layer in self._random_layers:
            layer.resample(rng)

    def select_rows(self, rows: np.ndarray) -> None:
        """Keep only the random numbers, such as dropout masks, of these rows of the batch."""
        self._batch = None
        for layer in self.layers:
            layer.select_rows(rows)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Return z (n, K), from which the loss is computed, for x (n, n_in); a buffer."""
        self._batch = None
        for i, layer in enumerate(self.body):
            self.x[i] = x
            x = layer.forward(x)
        return x

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return the model's output (n, K) for x (n, n_in); a buffer."""
        z = self.forward(x)
        return self.layers[-1].forward(z) if self.loss.includes else z

    def value(self, batch: Batch) -> float:
        """Return the loss of the batch."""
        value = self._forward(batch)
        self._remember(batch, ran_backward=False)
        return value

    def value_and_gradient(self, batch: Batch, parameters: bool = True) -> tuple[float, np.ndarray]:
        """Return the loss of the batch and its gradient (P,), which is `grad` itself.

        Without `parameters`, layers that can do so compute only dL/dx, and leave their part of `grad` as it is.
        """
        value = self._forward(batch)
        dz = self.loss.gradient(self.z, batch.target, batch.scale, self.loss.buffers("dz", self.z.shape))
        dy: np.ndarray | None = dz if batch.weight is None else weigh(batch.weight, dz)
        for i in range(len(self.body) - 1, self.first - 1, -1):
            assert dy is not None  # only the first layer returns None
            layer, self.dy[i] = self.body[i], dy
            backward = layer.backward if parameters or not layer.splits_backward else layer.backward_input
            dy = backward(dy, needs_dx=i > self.first)
        self._remember(batch, ran_backward=True)
        return value, self.grad

    def _forward(self, batch: Batch) -> float:
        if batch.gather is not None:
            batch.load()
        self.z = self.forward(batch.x)
        if batch.weight is None:
            return self.loss.value(self.z, batch.target, batch.scale)
        return batch.scale * float(batch.weight @ self.loss.example_values(self.z, batch.target))

    def _remember(self, batch: Batch, ran_backward: bool) -> None:
        self._batch, self._ran_backward = batch, ran_backward
        batch.evaluations += 1
        batch.count((1 if ran_backward else 1 / 2) * len(batch.x))
        if self._theta_at_run is not None:
            np.copyto(self._theta_at_run, self.theta)

    def _run_if_changed(self, batch: Batch, backward: bool) -> None:
        """Run the layers for this batch at theta, also backward if `backward`, unless their last run was the same."""
        ran = self.has_run(batch) and (self._ran_backward or not backward)
        first = self._theta_at_run is None
        if self._theta_at_run is None:  # earlier evaluations have not recorded their theta
            self._theta_at_run = self.theta.copy()
        elif ran:
            differs = self.buffers("differs", self.theta.shape, bool)
            if not np.not_equal(self._theta_at_run, self.theta, out=differs).any():
                return
        if backward:
            self.value_and_gradient(batch, parameters=False)
        else:
            self.value(batch)
        if first and ran:  # the last run was probably at this theta: so this one costs nothing, once
            batch.evaluations -= 1
            batch.count(-(1 if backward else 1 / 2) * len(batch.x))

    def has_run(self, batch: Batch) -> bool:
        """Return whether the layers were run last for this batch, perhaps at another theta."""
        return self._batch is batch

    def correct(self, batch: Batch) -> int:
        """Return the number of examples classified correctly, from the last evaluation if it was of this batch."""
        if not self.has_run(batch):
            self.value(batch)
        target = batch.target
        if target.shape[1] == 1:
            return int(np.count_nonzero((self.z > self.loss.threshold) == (target > 0.5)))
        predicted = self.loss.buffers("predicted", (len(target),), np.intp)
        true = self.loss.buffers("true", (len(target),), np.intp)
        self.z.argmax(axis=1, out=predicted)
        target.argmax(axis=1, out=true)
        return len(target) - int(np.count_nonzero(np.subtract(predicted, true, out=predicted)))

    def set_direction(self, v: np.ndarray) -> None:
        """Copy v (P,) as the direction of the next products. v may be any buffer, even that of the last product.

        Raises ValueError if v has another shape.
        """
        if v.shape != self.theta.shape:
            raise ValueError(f"a direction must have the shape of theta, {self.theta.shape}, not {v.shape}")
        np.copyto(self._tangents()[0], v, casting="same_kind")

    def _tangents(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the direction and the product (P,). The layers are bound to them at the first call."""
        if self._direction is None or self._product is None:
            self._direction, self._product = np.zeros_like(self.theta), np.zeros_like(self.theta)
            for layer, part in zip(self.layers, self.slices):
                layer.bind_tangents(self._direction[part], self._product[part])
        return self._direction, self._product

    def curvature_product(self, batch: Batch, second_order: bool) -> np.ndarray:
        """Return the Hessian of the loss of the batch times the direction: (P,), a buffer.

        Forward and backward are run once more, with each line replaced by its derivative: Pearlmutter (1994). Without
        `second_order` the layers are treated as linear, and the result is J^T H_L J times the direction: the
        Gauss-Newton matrix in the form of Schraudolph (2002).
        """
        self._run_if_changed(batch, backward=second_order)
        batch.count(self.product_cost(second_order) * len(batch.x))
        layers = self.body[self.first :]
        tz: np.ndarray | None = None  # the data are constant
        for layer in layers:
            tz = layer.jvp(tz)
        assert tz is not None
        tdy: np.ndarray | None
        tdy = weigh(batch.weight, self.loss.hessian_product(self.z, batch.target, tz, batch.scale,
                                                            self.buffers("tdz", tz.shape)))
        for i, layer in reversed([*enumerate(layers)]):
            assert tdy is not None  # only the first layer returns None
            tdy = layer.backward_jvp(tdy, i > 0, second_order)
        return self._tangents()[1]

    def product_cost(self, second_order: bool) -> float:
        """Return the cost of a product relative to that of a gradient, from the sizes of the matrices.

        A layer needs 3 matrix products in a gradient, 6 in a Hessian product and 4 in a Gauss-Newton product. The first
        layer, whose input is constant and whose dx is not needed, needs 2 in each.
        """
        sizes = [part.stop - part.start for part in self.slices]
        first = next((n for n in sizes if n), 1)
        rest = sum(sizes) - first
        cost: float = (2 * first + (6 if second_order else 4) * rest) / (2 * first + 3 * rest)
        return cost

    def residuals(self, batch: Batch) -> np.ndarray:
        """Return r (n K,), if the loss is r^T r / 2: a buffer. Raises ValueError if the loss has no residuals."""
        self.loss.residual_scale(batch.target.shape[1], batch.scale)
        self._run_if_changed(batch, backward=False)
        out = self.buffers("residuals", batch.target.shape)
        return weigh(_root(batch.weight), self.loss.residuals(self.z, batch.target, batch.scale, out)).reshape(-1)

    def jacobian(self, batch: Batch) -> np.ndarray:
        """Return the derivatives of the residuals, (n K, P), from K backward passes: a buffer."""
        (n, K), P = batch.target.shape, len(self.theta)
        c = np.broadcast_to(self.loss.residual_scale(K, batch.scale), K)
        self._run_if_changed(batch, backward=False)
        batch.count(K * n)
        self._tangents()  # backward_jvp writes to them
        out, root = self.buffers("jacobian", (n, K, P)), _root(batch.weight)
        for k in range(K):
            dy: np.ndarray | None = self.buffers("unit", self.z.shape)
            assert dy is not None
            dy.fill(0)
            dy[:, k] = c[k] if root is None else c[k] * root
            for i in range(len(self.body) - 1, self.first - 1, -1):
                assert dy is not None  # only the first layer returns None
                self.body[i].example_gradients(dy, out[:, k, self.slices[i]])
                dy = self.body[i].backward_jvp(dy, second_order=False) if i > self.first else None
        return out.reshape(n * K, P)

    def loss_and_correct(self, x: np.ndarray, target: np.ndarray, total: int,
                         weight: np.ndarray | None = None) -> tuple[float, int]:
        """Return the loss of these examples, as part of a mean over `total`, and how many are classified correctly."""
        loss, correct = 0.0, 0
        for rows in chunks(len(x)):
            batch = Batch(x[rows], target[rows], 1 / total, None if weight is None else weight[rows])
            loss += self.value(batch)
            correct += self.correct(batch)
        return loss, correct
