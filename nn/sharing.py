"""The work of a batch shared over threads: its loss is the sum of the losses of its parts, each on its own thread."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
import contextvars
from functools import partial
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from numpy.random import Generator

from nn.batches import Batches
from nn.buffers import Array
from nn.network import Network
from nn.objective import BatchObjective
from nn.parameters import Live

T = TypeVar("T")
Each = Callable[[Callable[[int], T]], list[T]]

SMALLEST = 1 << 20  # numbers between the layers, of a whole batch: with fewer, waiting costs more than sharing saves


def parts(network: Network, batch: int, threads: int) -> int:
    """How many threads share a batch; where it is 1, the products alone are shared, by BLAS, over all of them.

    A thread that has a part of the batch also gathers it, and does all that lies between the products; but BLAS's
    threads wait for nobody, and there is but one gradient. Masks of Dropout are drawn for a batch as a whole.
    """
    if network.random or not all(layer.by_rows for layer in network.layers):
        return 1
    widths = [shape for layer in network.layers for shape in layer.shapes().values() if len(shape) == 2]
    numbers = batch * (sum(n_in for n_in, _ in widths[:1]) + sum(n_out for _, n_out in widths))
    # nor is it worth it where the parameters, and so the gradients to add up, are more
    return 1 if numbers < max(SMALLEST, len(network.theta)) else min(threads, batch)


class Blas:
    """The threads of NumPy's BLAS, which all of a process's trainings have in common."""

    def __init__(self) -> None:
        self._lock, self._held = Lock(), 0
        self._before: list[tuple[Any, int]] = []

    def threads(self) -> int:
        """How many it has, where no training holds them."""
        with self._lock:
            return max((threads for _, threads in self._before or self._libraries()), default=1)

    @contextmanager
    def limited(self, threads: int) -> Iterator[None]:
        """A context with so many; where several overlap, the first to come limits them, the last to go gives them back.
        """
        with self._lock:
            self._held += 1
            if self._held == 1:
                self._before = self._libraries()
                for library, _ in self._before:
                    library.set_num_threads(threads)
        try:
            yield
        finally:
            with self._lock:
                self._held -= 1
                if not self._held:
                    for library, before in self._before:
                        library.set_num_threads(before)
                    self._before = []

    @staticmethod
    def _libraries() -> list[tuple[Any, int]]:
        from threadpoolctl import ThreadpoolController

        libraries = ThreadpoolController().select(user_api="blas").lib_controllers
        return [(library, library.num_threads) for library in libraries]


BLAS = Blas()


class Sum:
    """The sum of objectives on one theta, each of which `each` has a thread for: an objective like them."""

    theta = Live()

    def __init__(self, several: Sequence[BatchObjective], each: Each[Any]) -> None:
        self.parts, self._each = several, each
        self.theta = several[0].theta
        self.examples = sum(part.examples for part in several)

    @property
    def gradients(self) -> float:
        return sum(part.gradients for part in self.parts)

    @property
    def evaluations(self) -> int:
        return self.parts[0].evaluations

    def value(self) -> float:
        return sum(self._each(lambda k: self.parts[k].value()))

    def value_and_gradient(self) -> tuple[float, Array]:
        both = self._each(lambda k: self.parts[k].value_and_gradient())
        return sum(value for value, _ in both), self._add([gradient for _, gradient in both])

    def hessian_product(self, v: Array) -> Array:
        return self._product("hessian_product", v)

    def gauss_newton_product(self, v: Array) -> Array:
        return self._product("gauss_newton_product", v)

    def _product(self, name: str, v: Array) -> Array:
        # copied before any of them runs, for v may be a buffer of one
        directions = [part.network.point(v) for part in self.parts]
        return self._add(self._each(lambda k: getattr(self.parts[k], name)(directions[k])))

    def residuals(self) -> Array:
        return np.concatenate(self._each(lambda k: self.parts[k].residuals()))

    def jacobian(self) -> Array:
        return np.concatenate(self._each(lambda k: self.parts[k].jacobian()))

    def hessian(self) -> Array:
        return self._add(self._each(lambda k: self.parts[k].hessian()))

    def gauss_newton(self) -> Array:
        return self._add(self._each(lambda k: self.parts[k].gauss_newton()))

    def subsample(self, rows: Any) -> BatchObjective:
        rows, start = np.arange(self.examples)[rows], 0
        x, target = [], []
        for part in self.parts:
            mine = rows[(start <= rows) & (rows < start + part.examples)] - start
            x.append(part.x[mine])
            target.append(part.target[mine])
            start += part.examples
        first = self.parts[0]
        return BatchObjective(first.network.another(), np.concatenate(x), np.concatenate(target), whole=first)

    def correct(self) -> int:
        return sum(self._each(lambda k: self.parts[k].correct()))

    @staticmethod
    def _add(arrays: Sequence[Array]) -> Array:
        for array in arrays[1:]:
            arrays[0] += array
        return arrays[0]


class Shared:
    """Makes the objectives of batches, on as many threads as is best; a context, within which BLAS has its share.

    threads: how many there are; None: as many as BLAS has.
    """

    def __init__(self, network: Network, batches: Batches, threads: int | None) -> None:
        self.batches, self._context = batches, ExitStack()
        given = threads or BLAS.threads()
        n = parts(network, batches.size, given)
        self.networks = [network, *(network.another() for _ in range(n - 1))]
        self._limit = given // n if threads or n > 1 else None

    def __enter__(self) -> None:
        if self._limit is not None:
            self._context.enter_context(BLAS.limited(self._limit))
        if len(self.networks) > 1:
            self._pool = self._context.enter_context(ThreadPoolExecutor(len(self.networks) - 1))

    def __exit__(self, *error: object) -> None:
        self._context.close()

    def objective(self, rows: Array, rng: Generator | None) -> BatchObjective | Sum:
        """The mean loss on these rows, as a function of theta."""
        n = min(len(self.networks), len(rows))
        if n == 1:
            return BatchObjective(self.networks[0], *self.batches.take(rows), rng)
        cut, each = np.array_split(rows, n), partial(self._each, n)
        return Sum(each(lambda k: BatchObjective(self.networks[k], *self.batches.take(cut[k], k), of=len(rows))), each)

    def evaluate(self, x: Array, target: Array) -> tuple[float, int]:
        """The mean loss on these examples, and how many were put in their class, with nothing random.

        Here too BLAS must not wake its threads, which would go on spinning into the next steps.
        """
        n = len(self.networks)
        x_parts, target_parts = np.array_split(x, n), np.array_split(target, n)
        found = self._each(n, lambda k: self.networks[k].asked().evaluate(x_parts[k], target_parts[k], len(x)))
        return sum(loss for loss, _ in found), sum(correct for _, correct in found)

    def _each(self, n: int, ask: Callable[[int], T]) -> list[T]:
        """ask(k) for each part k of n, at once: the first on this thread, the others on threads of their own."""
        # a thread begins without this one's settings, such as what NumPy does about overflow
        others = [self._pool.submit(contextvars.copy_context().run, ask, k) for k in range(1, n)]
        try:
            first = ask(0)
        finally:
            wait(others)  # for who catches an error may come back at once, and none may be in a network then
        return [first, *(other.result() for other in others)]
