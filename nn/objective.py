"""A model's loss on one batch, as a function of theta: all that an optimizer ever sees of a network."""

from numpy.random import Generator

from nn.buffers import Array
from nn.network import Network


class BatchObjective:
    """The mean loss of `network` on the examples x (n, n_in) with targets (n, K), a function of the live `theta`.

    With an `rng`, Dropout is at work: its masks are drawn once and stay the same while the objective lives.
    `gradients` counts what was computed, in gradients of one example: a value alone costs half as much. Divided by
    the size of the training set, that is passes.
    """

    def __init__(self, network: Network, x: Array, target: Array, rng: Generator | None = None) -> None:
        self.network, self.x, self.target = network, x, target
        self.theta = network.theta
        self.gradients = 0.0
        self._scale = 1 / len(x)
        network.freeze(rng)

    def value(self) -> float:
        """The loss at theta."""
        self.gradients += len(self.x) / 2
        return self.network.value(self.x, self.target, self._scale)

    def value_and_gradient(self) -> tuple[float, Array]:
        """The loss at theta and its gradient (P,): a buffer, written anew by the next call."""
        self.gradients += len(self.x)
        return self.network.value_and_gradient(self.x, self.target, self._scale)

    def correct(self) -> int:
        """How many examples the last evaluation put in their class."""
        return self.network.correct(self.target)
