"""Workers: threads that evaluate the parts of a batch, each with a replica of the network."""

from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
from numpy.random import Generator

from nn import blas
from nn.batches import Batches
from nn.division import Division, can_divide, cut
from nn.network import Batch, Network
from nn.objective import BatchObjective
from nn.rows import CheckedRows
from nn.team import Team

MIN_ACTIVATIONS = 1 << 20  # elements of a batch's activations: with fewer, threads cost more than they save
MIN_PRODUCTS = 1 << 25  # multiplications in a step and thread, about a third: with fewer, BLAS divides them better


def activations(network: Network, batch_size: int) -> int:
    """Return the number of elements of a batch and of the outputs of its layers with matrices."""
    arrays = ({**layer.shapes(), **layer.constants()} for layer in network.layers)
    widths = [shape for shapes in arrays for shape in shapes.values() if len(shape) == 2]
    return batch_size * (sum(n_in for n_in, _ in widths[:1]) + sum(n_out for _, n_out in widths))


def divides_parameters(network: Network, batch_size: int) -> bool:
    """Return whether threads divide the gradient by parameters, not by examples.

    The gradients of the examples must be added up over the threads. This costs little if there are more activations
    than parameters.
    """
    return activations(network, batch_size) < len(network.theta) and can_divide(network)


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
    products. But they must wait for each other, and only one of them can run Python at a time. Dropout masks are drawn
    for a whole batch, so a batch is not divided if the network has dropout.
    """
    if network.random or not all(layer.independent_rows for layer in network.layers):
        return 1
    if divides_parameters(network, batch_size):
        enough = batch_size * len(network.theta) >= threads * MIN_PRODUCTS
    else:
        enough = activations(network, batch_size) >= max(MIN_ACTIVATIONS, len(network.theta))
    return min(threads, batch_size) if enough else 1


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
    size : int, optional
        The number of examples that it evaluates at once; by default those of a batch.
    """

    def __init__(self, network: Network, batches: Batches, threads: int | None = None, size: int | None = None) -> None:
        self.batches, self._context = batches, ExitStack()
        available, size = threads or blas.threads(), size or batches.size
        n = thread_count(network, size, available)
        self._divides_parameters = n > 1 and divides_parameters(network, size)
        self.networks = [network, *(network.replica(own_gradient=not self._divides_parameters) for _ in range(n - 1))]
        self._team = Team(n)
        self.run_all = self._team.run
        self._divisions: dict[int, Division] = {}  # by the number of rows
        self._placed: Division | None = None  # the one whose arrays the layers write into
        self._blas_threads = available // n if threads or n > 1 else None

    def __enter__(self) -> "Workers":
        try:
            if self._blas_threads is not None:
                self._context.enter_context(blas.limited(self._blas_threads))
            self._context.enter_context(self._team)
        except BaseException:  # for example an interrupt
            self._context.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._context.close()

    def objective(self, rows: np.ndarray, rng: Generator | None, n: int | None = None) -> BatchObjective:
        """Return the mean loss on some of the examples.

        Parameters
        ----------
        rows : ndarray of int, shape (n,)
            The indices of the examples.
        rng : numpy.random.Generator or None
            The source of random numbers; if it is None, none are drawn.
        n : int, optional
            The number of examples of the mean, if these are a part of them; by default their number.

        Returns
        -------
        BatchObjective
            The objective, in buffers that the next call overwrites.
        """
        count, scale = min(len(self.networks), len(rows)), 1 / (n or len(rows))
        x, target, weight = self.batches.arrays(rows)
        for network in self.networks:
            network.resample(rng)
        if len(self.networks) == 1 or not count:
            self.batches.gather(rows, x, target, weight)
            return BatchObjective([(self.networks[0], Batch(x, target, scale, weight))])
        parts = []
        for network, part in zip(self.networks, cut(len(rows), count)):
            own = None if weight is None else weight[part]
            gather = partial(self.batches.gather, rows[part], x[part], target[part], own)
            parts.append((network, Batch(x[part], target[part], scale, own, gather=gather)))
        return BatchObjective(parts, self._team.run, self._division(x))

    def _division(self, x: np.ndarray) -> Division | None:
        """Return the division of the parameters for these examples; None if they are not divided."""
        if not self._divides_parameters:
            return None
        n = len(x)
        if n not in self._divisions:
            self._divisions[n] = Division(self.networks, n)
        division = self._divisions[n]
        if division is not self._placed:
            division.place()
            self._placed = division
        division.start(x)
        return division

    def loss_and_correct(self, x: np.ndarray, target: np.ndarray, weight: np.ndarray | None = None,
                         n: int | None = None) -> tuple[float, int]:
        """Evaluate examples without dropout.

        Parameters
        ----------
        x : ndarray of shape (N, n_in)
            The examples.
        target : ndarray of shape (N, K)
            The targets.
        weight : ndarray of shape (N,), optional
            The weights.
        n : int, optional
            The number of examples of the mean, if these are a part of them; by default their number.

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
        total, parts = n or len(x), cut(len(x), len(self.networks))
        results = self._team.run(lambda k: self.networks[k].inference_copy().loss_and_correct(
            x[parts[k]], target[parts[k]], total, None if weight is None else weight[parts[k]]), len(parts))
        return sum(loss for loss, _ in results), sum(correct for _, correct in results)

    def agree(self, stop: bool, interrupt: bool, now: bool = False) -> tuple[bool, bool]:
        """Return whether training stops before the next step, and whether it is interrupted.

        Parameters
        ----------
        stop, interrupt : bool
            Whether a callback wants to stop, and whether an interrupt was requested.
        now : bool
            Whether to ask all ranks at once, as before the first epoch and after each; else at the next message.

        Returns
        -------
        tuple of bool
            The same. Training on several ranks asks them all.
        """
        return stop, interrupt

    def of_rank_0(self, value: Any) -> Any:
        """Return the value itself. Training on several ranks returns that of rank 0 on all of them."""
        return value

    def fail(self, error: BaseException, on_all_ranks: bool) -> None:
        """Do nothing about an error within the training. Training on several ranks ends them, unless all have it."""

    def sums(self, rows: CheckedRows) -> tuple[float, int]:
        """Evaluate rows that are read block by block, without dropout.

        Parameters
        ----------
        rows : CheckedRows
            The rows.

        Returns
        -------
        loss : float
            The mean loss.
        correct : int
            The number of examples that are classified correctly.
        """
        return rows.sums(self.loss_and_correct)
