"""The layers in order, over one flat vector of parameters: what users build, train, ask and keep."""

from collections.abc import Iterable, Sequence
import os
from typing import Any

import numpy as np

from nn import checkpoint
from nn.batches import DROPOUT, INITIALIZATION, stream
from nn.buffers import Array
from nn.history import History
from nn.layers import Layer
from nn.losses import LOSSES, Loss
from nn.names import choose
from nn.network import Network, chunks
from nn.objective import BatchObjective
from nn.parameters import Live, size
from nn.training import fit

DTYPES = {"float32": np.float32, "float64": np.float64}


class Model:
    """Layers, a loss and the vector `theta` (P,) that holds every weight and bias.

    layers: Layer objects in order; the model keeps copies of its own, `model.layers`, whose W and b are views into
    theta. loss: CrossEntropy(), BinaryCrossEntropy() or MeanSquaredError(). seed: one seed, one result. dtype:
    "float32" or "float64"; everything is computed in it. Raises ValueError where the layers or the loss do not fit.
    """

    theta = Live()

    def __init__(self, layers: Iterable[Layer], loss: Loss, seed: int = 0, dtype: str = "float32") -> None:
        layers = list(layers)
        self.n_in, self.n_out = widths(layers)
        if not isinstance(loss, Loss):
            raise ValueError(f"unknown loss {loss!r}: give one of {', '.join(name + '()' for name in LOSSES)}")
        if not isinstance(seed, (int, np.integer)) or seed < 0:
            raise ValueError(f"seed must be a whole number of at least 0, not {seed!r}")
        self.seed = int(seed)
        self.dtype = np.dtype(choose("dtype", dtype if isinstance(dtype, str) else np.dtype(dtype).name, DTYPES))
        self.loss = loss
        parameters = sum(size(layer.shapes()) for layer in layers)
        self.theta, self.grad = np.zeros(parameters, self.dtype), np.zeros(parameters, self.dtype)
        self.network = Network(layers, loss, self.theta, self.grad)
        self.layers = self.network.layers
        rng = stream(INITIALIZATION, self.seed)
        for layer in self.layers:
            layer.initialize(rng)
        self.stop_training = False

    def fit(self, x: Any, y: Any, optimizer: Any, epochs: int = 1, batch_size: int | None = None,
            validation_data: tuple[Any, Any] | None = None, callbacks: Sequence[Any] = (), progress: bool = True,
            shuffle: bool = True, history: History | None = None, threads: int | None = None) -> History:
        """Train on examples x (N, n_in) with targets y (N,) or (N, K) for `epochs` passes in batches of `batch_size`.

        optimizer: an object with step(objective), as optimizers.get(name) makes it; it keeps its state, so that
        another fit goes on from there. batch_size: None for all of x at once. validation_data: (x, y) to evaluate
        after each epoch. callbacks: see nn.callbacks. progress: show a bar, or a few lines where there is no terminal.
        history: one to go on from; its next epoch is the first, in the order that is that epoch's. threads: how many
        to work on; None: as many as NumPy's BLAS has. The result depends on it by rounding alone. Returns the History.
        Raises ValueError for arguments that do not fit, and Diverged in the very step whose loss is not finite, with
        theta at the last weights that gave a finite one.
        """
        return fit(self, x, y, optimizer, epochs, batch_size, validation_data, callbacks, progress, shuffle,
                   history, threads)

    def objective(self, x: Any, y: Any) -> BatchObjective:
        """The mean loss on x (N, n_in) and y, as a function of the live theta, with a gradient buffer of its own.

        Dropout is at work in it, with masks that stay the same while the objective lives.
        """
        x = self.examples(x)
        network = Network(self.layers, self.loss, self.theta, np.zeros_like(self.grad))
        return BatchObjective(network, x, self.targets(y, len(x)), rng=stream(DROPOUT, self.seed))

    def evaluate(self, x: Any, y: Any) -> dict[str, float | None]:
        """{"loss", "accuracy"} on x (N, n_in) and y; accuracy, from 0 to 1, is None where y are not classes."""
        x = self.examples(x)
        target = self.targets(y, len(x))
        loss, correct = self.network.asked().evaluate(x, target, len(x))
        return {"loss": loss, "accuracy": correct / len(x) if self.network.loss.classifies(target) else None}

    def predict(self, x: Any) -> Array:
        """The outputs (N, K) for x (N, n_in): probabilities where the model ends in Softmax or Sigmoid."""
        x = self.examples(x)
        out, network = np.empty((len(x), self.n_out), self.dtype), self.network.asked()
        for rows in chunks(len(x)):
            out[rows] = network.predict(x[rows])
        return out

    def predict_classes(self, x: Any) -> Array:
        """The class (N,) of each row of x (N, n_in): the largest output; of a single output, whether it is over 1/2."""
        y = self.predict(x)
        return np.argmax(y, axis=1) if self.n_out > 1 else (y[:, 0] > 0.5).astype(np.int64)

    def __reduce__(self) -> tuple[Any, ...]:
        """How copy and pickle make another: from its description and parameters, so that the views are its own."""
        layers = [(type(layer), layer.description()) for layer in self.layers]
        return checkpoint.rebuild, (layers, type(self.loss), self.seed, self.dtype.name, self.theta.copy())

    def summary(self) -> str:
        """A table of the layers, with their outputs and how many parameters each holds."""
        lines, width = [f"{'layer':32}{'output':>12}{'parameters':>14}"], self.n_in
        for layer in self.layers:
            width = layer.width(width) or width
            lines.append(f"{layer!r:32}{f'(N, {width})':>12}{size(layer.shapes()):14,}")
        lines.append(f"{type(self.loss).__name__ + ', ' + self.dtype.name:32}{'':12}{len(self.theta):14,}")
        return "\n".join(lines)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write layers, loss and parameters to one safetensors file, whole or not at all. Raises OSError."""
        checkpoint.save(self, path)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> "Model":
        """The model that `save` wrote. Raises ValueError for a file that is not one, OSError where there is none."""
        return checkpoint.load(path)

    def examples(self, x: Any) -> Array:
        """x as rows (N, n_in) in the model's dtype; a ValueError names what is wrong with it."""
        x = self._array("x", x)
        if not (np.issubdtype(x.dtype, np.floating) or np.issubdtype(x.dtype, np.integer) or x.dtype == bool):
            raise ValueError(f"x holds {x.dtype}, not real numbers: give an array of floats (N, {self.n_in})")
        if x.ndim != 2 or x.shape[1] != self.n_in:
            first = next(i for i, layer in enumerate(self.layers) if layer.shapes())
            mend = (f"write x.reshape(len(x), {self.n_in})" if x.ndim != 2 and x.size == len(x) * self.n_in
                    else f"give x with {self.n_in} columns, or begin the model with Dense({x.shape[-1]}, ...)"
                    if x.ndim == 2 else f"give an array of shape (N, {self.n_in})")
            raise ValueError(f"layer {first} ({self.layers[first]}) expects x of shape (N, {self.n_in}), "
                             f"but x has shape {x.shape}: {mend}")
        if not len(x):
            raise ValueError(f"x holds no examples: its shape is {x.shape}; give at least one row")
        with np.errstate(over="ignore"):  # what becomes infinite is reported below
            x = np.ascontiguousarray(x, self.dtype)
        for rows in chunks(len(x)):
            if not np.isfinite(x[rows]).all():
                row = rows.start + int(np.argmin(np.isfinite(x[rows]).all(axis=1)))
                raise ValueError(f"x holds NaN or infinity (as {self.dtype}), first in row {row}: "
                                 "remove or mend those rows")
        return x

    @staticmethod
    def _array(name: str, values: Any) -> Array:
        try:
            return np.asarray(values)
        except ValueError:
            raise ValueError(f"{name} is ragged: give rows of one length, an array (N, ...)") from None

    def targets(self, y: Any, n: int) -> Array:
        """y as targets (n, n_out) in the model's dtype; a ValueError names what is wrong with it."""
        y = self._array("y", y)
        if y.ndim < 1 or len(y) != n:
            raise ValueError(f"x has {n} rows but y has shape {y.shape}: give one target for each row")
        return self.network.loss.encode(y, self.n_out, self.dtype)


def widths(layers: Sequence[Layer]) -> tuple[int, int]:
    """How many inputs and outputs the layers have together. Raises ValueError, naming the layer that does not fit."""
    for i, layer in enumerate[Any](layers):
        if not isinstance(layer, Layer):
            mend = f"write {layer.__name__}()" if isinstance(layer, type) and issubclass(layer, Layer) else (
                "give Layer objects, such as Dense(784, 50) and ReLU()")
            raise ValueError(f"layer {i} is {layer!r}, which is not a layer: {mend}")
    n_in: int | None = None
    width: int | None = None
    for i, layer in enumerate(layers):
        try:
            width = layer.width(width)
        except ValueError as error:
            raise ValueError(f"layer {i} ({layer}) {error}") from None
        if n_in is None and width is not None:
            n_in = layer.shapes()["W"][0]
    if n_in is None or width is None:
        raise ValueError("a model needs at least one layer with weights: give Dense(n_in, n_out) among its layers")
    return n_in, width
