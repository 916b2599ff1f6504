"""Division: the gradient of a batch on several threads, in two phases.

First each thread takes some rows of the batch forward and backward through all layers. When all have finished, each
computes the gradient of a contiguous share of the parameters, from all rows, block by block. So there is one gradient,
nothing is added up over the threads, and an optimizer can change a block while it is in the caches.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np

from nn.network import Batch, Network

BLOCK = 1 << 18  # parameters, about: their gradient takes a megabyte
Use = Callable[[slice, np.ndarray], None]
"""Takes a slice of theta, and the gradient with respect to these parameters."""


def can_divide(network: Network) -> bool:
    """Return whether all layers can run on several threads. Dropout cannot: it draws a mask for a whole batch."""
    return not network.random and all(
        layer.independent_rows and (not layer.shapes() or layer.splits_backward) for layer in network.layers)


def cut(n: int, parts: int) -> list[slice]:
    """Return consecutive slices of nearly equal length that cover n elements."""
    return [slice(*ends) for ends in pairwise(n * k // parts for k in range(parts + 1))]


class Division:
    """Batches of n rows, divided among networks that share one theta and one gradient.

    Parameters
    ----------
    networks : sequence of Network
        A network for each thread.
    n : int
        The number of rows.

    Attributes
    ----------
    rows : list of slice
        The rows for each thread. If there are fewer rows than threads, the last threads have none.
    """

    def __init__(self, networks: Sequence[Network], n: int) -> None:
        self.rows = cut(n, min(len(networks), n))
        self._networks, self.threads = networks, len(networks)
        # the input of each layer with parameters, and dL/dy, of all rows
        self._x: dict[int, np.ndarray] = {}
        self._dy: dict[int, np.ndarray] = {}
        width = next((layer.input_width for layer in networks[0].body if layer.input_width), None)
        for i, layer in enumerate(networks[0].body):
            n_in = layer.input_width or width
            width = layer.output_width(n_in)
            if layer.shapes():
                assert n_in is not None  # a layer with parameters has a width
                assert width is not None
                self._x[i] = np.zeros((n, n_in), networks[0].theta.dtype)
                self._dy[i] = np.zeros((n, width), networks[0].theta.dtype)
        self._blocks = [list(self._share(part)) for part in cut(len(networks[0].theta), len(networks))]

    def _share(self, part: slice) -> Iterator[tuple[int, slice, slice]]:
        """Yield the blocks that begin in this part of theta: the layer, its parameter rows, their slice of theta."""
        for i in self._x:
            rows, where = self._networks[0].layers[i].parameter_rows, self._networks[0].slices[i]
            assert rows is not None
            size = (where.stop - where.start) // rows
            first, last = (min(max(-(-(end - where.start) // size), 0), rows) for end in (part.start, part.stop))
            for block in cut(last - first, -(-(last - first) * size // BLOCK)) if first < last else ():
                start, stop = first + block.start, first + block.stop
                yield i, slice(start, stop), slice(where.start + start * size, where.start + stop * size)

    def place(self) -> None:
        """Let the layers write into the arrays of this division, if they return their buffers y and dx."""
        for network, rows in zip(self._networks, self.rows):
            for i in self._x:
                if i > 0:
                    network.body[i - 1].buffers.place("y", self._x[i][rows])
                if i + 1 < len(network.body):
                    network.body[i + 1].buffers.place("dx", self._dy[i][rows])
                else:
                    network.loss.buffers.place("dz", self._dy[i][rows])

    def start(self, x: np.ndarray) -> None:
        """Take a batch: x (n, n_in) are all its examples."""
        if 0 in self._x:
            self._x[0] = x

    def backward(self, k: int, batch: Batch) -> float:
        """Run the rows of thread k, a batch, forward and backward, and return their part of the loss."""
        network, rows = self._networks[k], self.rows[k]
        value, _ = network.value_and_gradient(batch, parameters=False)
        for whole, parts in ((self._x, network.x), (self._dy, network.dy)):
            for i, array in whole.items():
                part = parts[i]
                assert part is not None  # the line above has set it
                if not _is_same(array[rows], part):
                    np.copyto(array[rows], part)
        return value

    def gradient(self, k: int, use: Use) -> None:
        """Compute the share of thread k in the gradient, after `backward` of all threads, and pass it to `use`."""
        network = self._networks[k]
        for i, rows, part in self._blocks[k]:
            network.body[i].backward_parameters(self._x[i], self._dy[i], rows)
            use(part, network.grad[part])


def _is_same(a: np.ndarray, b: np.ndarray) -> bool:
    """Return whether two arrays of one shape and dtype are the same elements of memory in the same order."""
    return a.strides == b.strides and a.__array_interface__["data"] == b.__array_interface__["data"]
