"""Workers: threads that evaluate the parts of a batch, each with a replica of the network."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
import contextvars
from typing import TypeVar

import numpy as np
from numpy.random import Generator

from nn import blas
from nn.batches import Batches
from nn.denormals import flush_on_this_thread
from nn.network import Batch, Network
from nn.objective import BatchObjective

T = TypeVar("T")

MIN_ACTIVATIONS = 1 << 20  # elements of a batch's activations: with fewer, threads cost more than they save


def thread_count(network: Network, batch_size: int, threads: int) -> int:
    """Return the number of threads among which to divide a batch.

    Parameters
    ----------
    network : Network
        The network, which evaluates the batch.
    batch_size : int
        The number of examples in a batch.
    threads : int
        The number of available threads.

    Returns
    -------
    int
        The number; 1 if only the matrix products are divided, which BLAS does.

    Notes
    -----
    If a batch is divided, the threads also share the work of gathering its rows and everything between the matrix
    products, but each thread has its own gradient, and these must be added up. Dropout masks are drawn for a whole
    batch, so a batch is not divided if the network has dropout.
    """
    if network.random or not all(layer.independent_rows for layer in network.layers):
        return 1
    widths = [shape for layer in network.layers for shape in layer.shapes().values() if len(shape) == 2]
    activations = batch_size * (sum(n_in for n_in, _ in widths[:1]) + sum(n_out for _, n_out in widths))
    if activations < max(MIN_ACTIVATIONS, len(network.theta)):  # many parameters: adding up gradients costs too much
        return 1
    return min(threads, batch_size)


class Workers:
    """Makes the objectives of batches, evaluated on one thread or several.

    It is a context manager: within the context, the threads run, and BLAS has the rest of the threads.

    Parameters
    ----------
    network : Network
        The network. It evaluates the first part of each batch, and replicas of it evaluate the others.
    batches : Batches
        The examples and targets.
    threads : int, optional
        The total number of threads, at least 1; by default as many as BLAS has.
    """

    def __init__(self, network: Network, batches: Batches, threads: int | None = None) -> None:
        self.batches, self._context = batches, ExitStack()
        available = threads or blas.threads()
        n = thread_count(network, batches.size, available)
        self.networks = [network, *(network.replica() for _ in range(n - 1))]
        self._blas_threads = available // n if threads or n > 1 else None

    def __enter__(self) -> "Workers":
        if self._blas_threads is not None:
            self._context.enter_context(blas.limited(self._blas_threads))
        if len(self.networks) > 1:
            self._pool = self._context.enter_context(ThreadPoolExecutor(
                len(self.networks) - 1, initializer=flush_on_this_thread))
        return self

    def __exit__(self, *error: object) -> None:
        self._context.close()

    def objective(self, rows: np.ndarray, rng: Generator | None) -> BatchObjective:
        """Return the mean loss on some of the examples.

        Parameters
        ----------
        rows : ndarray of int, shape (n,)
            The indices of the examples.
        rng : numpy.random.Generator or None
            The source of random numbers; if it is None, none are drawn.

        Returns
        -------
        BatchObjective
            The objective, in buffers that the next call overwrites.
        """
        n = min(len(self.networks), len(rows))
        parts = np.array_split(rows, n) if n > 1 else [rows]

        def gather(k: int) -> tuple[Network, Batch]:
            self.networks[k].resample(rng)
            return self.networks[k], Batch(*self.batches.take(parts[k], k), 1 / len(rows))

        return BatchObjective(self._run_all(gather, len(parts)), self._run_all)

    def loss_and_correct(self, x: np.ndarray, target: np.ndarray) -> tuple[float, int]:
        """Evaluate examples without dropout.

        Parameters
        ----------
        x : ndarray of shape (N, n_in)
            The examples.
        target : ndarray of shape (N, K)
            The targets.

        Returns
        -------
        loss : float
            The mean loss.
        correct : int
            The number of examples that are classified correctly.

        Notes
        -----
        This uses the same threads as the steps: threads of BLAS would keep the processor busy during the next steps.
        """
        n = len(self.networks)
        x_parts, target_parts = np.array_split(x, n), np.array_split(target, n)
        results = self._run_all(lambda k: self.networks[k].inference_copy().loss_and_correct(
            x_parts[k], target_parts[k], len(x)), n)
        return sum(loss for loss, _ in results), sum(correct for _, correct in results)

    def _run_all(self, f: Callable[[int], T], n: int) -> list[T]:
        """Return [f(0), ..., f(n - 1)]: the first is computed on this thread, each of the others on its own thread."""
        if n == 1:
            return [f(0)]
        # a thread does not inherit this one's settings, such as what NumPy does about overflow
        futures = [self._pool.submit(contextvars.copy_context().run, f, k) for k in range(1, n)]
        try:
            first = f(0)
        finally:
            wait(futures)  # after an error, no thread may still use a network
        return [first, *(future.result() for future in futures)]
