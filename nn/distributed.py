"""Training on several ranks: each takes its rows of every batch, and their sums are the numbers of the whole batch.

The loss of a batch is the sum of objectives over its parts. So every rank holds all parameters and the whole state of
the optimizer, runs the same optimizer on the same sums, and takes the same steps. No optimizer knows of it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
import hashlib
import math
from typing import Any, cast
import warnings

import numpy as np
from numpy.random import Generator
from numpy.typing import DTypeLike

from nn.arrays import LiveVector
from nn.batches import Batches
from nn.division import Use, cut
from nn.mpi import Ranks
from nn.network import Network
from nn.objective import BatchObjective, keep_parts
from nn.rows import CheckedRows
from nn.shared_memory import shared_sum
from nn.undo import Undo
from nn.workers import Workers

NUMBERS = 5  # of each rank in a message: loss, correct examples, cost, whether it wants to stop, and is interrupted
WORDS = 4 * NUMBERS  # of 16 bits
CHECK = 1000  # steps after which the weights of the ranks are compared, besides the ends of epochs


def mark(error: BaseException) -> BaseException:
    """Note that all ranks raise an error, so that none waits for another, and return it."""
    vars(error)["on_all_ranks"] = True
    return error


def is_on_all_ranks(error: BaseException) -> bool:
    """Return whether all ranks raise an error."""
    return bool(vars(error).get("on_all_ranks"))


def share(n: int, rank: int, size: int) -> slice:
    """Return the rows of a batch of n that a rank takes. If there are fewer rows than ranks, rank 0 has one."""
    return slice(-(-n * rank // size), -(-n * (rank + 1) // size))


class Message:
    """What is summed over the ranks in a step: one array of the gradient and a few numbers of each rank.

    Parameters
    ----------
    ranks : Ranks
        The ranks.
    P : int
        The number of parameters.
    dtype : dtype
        The dtype of the gradient.

    Attributes
    ----------
    gradient : ndarray of shape (P,)
        The part of the array for the gradient: the network writes into it, so nothing is copied.
    wishes : list of bool
        Whether this rank wants to stop, and whether it was interrupted.
    agreed : list of bool
        Whether any rank did, at the last message.

    Notes
    -----
    The array is one message, or in memory that all ranks share if they run on one machine.

    Each rank has its own place for its numbers, in which all others add 0. A number is divided into words of 16 bits,
    which are exact in float32, so that float64 numbers arrive with every bit, whatever the dtype of the gradient.
    """

    def __init__(self, ranks: Ranks, P: int, dtype: DTypeLike) -> None:
        self.ranks, n = ranks, P + WORDS * ranks.size
        shared = shared_sum(ranks, n, dtype)
        self._array = np.zeros(n, dtype) if shared is None else shared.own
        self._sum_array = partial(ranks.sum, self._array) if shared is None else shared.sum
        self.gradient, self._words = self._array[:P], self._array[P:]
        self.wishes, self.agreed = [False, False], [False, False]

    def sum(self, loss: float, correct: int, cost: float = 0.0, gradient: bool = False) -> tuple[float, int, float]:
        """Return the sums over the ranks of loss, correct examples and cost; with `gradient`, sum that too."""
        own = np.array([loss, correct, cost, *self.wishes], float)
        self._words.fill(0)
        self._words.reshape(self.ranks.size, WORDS)[self.ranks.rank] = own.view(np.uint16)
        if gradient:
            self._sum_array()
        else:
            self.ranks.sum(self._words)
        numbers = self._words.astype(np.uint16).view(float).reshape(self.ranks.size, NUMBERS)
        self.agreed = [bool(wish.any()) for wish in numbers.T[3:]]
        return float(numbers[:, 0].sum()), int(numbers[:, 1].sum()), float(numbers[:, 2].sum())


class RowsGenerator:
    """Random numbers for some rows of a batch: those that these rows have if one process draws for the whole batch.

    Parameters
    ----------
    rng : numpy.random.Generator
        The source. Afterwards it is in the same state as if the numbers of the whole batch had been drawn.
    rows : slice
        The rows.
    n : int
        The number of rows in the batch.
    """

    def __init__(self, rng: Generator, rows: slice, n: int) -> None:
        self._rng, self._rows, self._n = rng, rows, n

    def random(self, size: tuple[int, ...] | None = None, dtype: DTypeLike = np.float64,
               out: np.ndarray | None = None) -> np.ndarray:
        """Return uniform random numbers in [0, 1) of shape (rows, ...), as numpy.random.Generator.random does."""
        shape = size if out is None else out.shape
        if not isinstance(shape, tuple) or shape[:1] != (self._rows.stop - self._rows.start,):
            raise ValueError(f"on several ranks a layer draws a row of random numbers for each example, but it asked "
                             f"for the shape {shape} for {self._rows.stop - self._rows.start} examples")
        width = math.prod(shape[1:])
        self._skip(self._rows.start * width, dtype)
        numbers = self._rng.random(size, cast(Any, dtype), cast(Any, out))
        self._skip((self._n - self._rows.stop) * width, dtype)
        return cast(np.ndarray, numbers)

    def _skip(self, count: int, dtype: DTypeLike) -> None:
        """Leave out so many numbers. Two of float32 are made from 64 bits, of which the second half is kept."""
        bits: Any = self._rng.bit_generator
        kept = {name: bits.state[name] for name in ("has_uint32", "uinteger")}
        if np.dtype(dtype) == np.float64:
            bits.advance(count)
            bits.state = {**bits.state, **kept}
            return
        if count and kept["has_uint32"]:
            count -= 1
            self._rng.random(dtype=np.float32)
        if count:
            bits.advance(count // 2)
        if count % 2:
            self._rng.random(dtype=np.float32)

    def __getattr__(self, name: str) -> Any:
        raise ValueError(f"on several ranks a layer may draw its random numbers only by rng.random, not by rng.{name}")


class DistributedObjective:
    """The mean loss on a batch whose rows are divided among ranks; an `Objective` for every optimizer.

    It has the methods of `BatchObjective`, which all ranks must call in the same order, and the same results on all.

    Parameters
    ----------
    local : BatchObjective
        The part of the loss of the rows of this rank.
    message : Message
        The message to the other ranks.
    rows : slice
        The rows of this rank.
    n : int
        The number of rows in the batch.
    run_all : callable
        Runs a function of k for k < n on the threads of this rank: takes f and n.
    threads : int
        The number of these threads.
    """

    theta: np.ndarray = cast(Any, LiveVector())  # for type checkers it is the vector

    def __init__(self, local: BatchObjective, message: Message, rows: slice, n: int,
                 run_all: Callable[[Callable[[int], None], int], Any], threads: int) -> None:
        self._local, self._message, self._rows, self.examples = local, message, rows, n
        self._run_all, self._threads = run_all, threads
        self._ranks = message.ranks
        self.theta, self.parts = local.theta, local.parts
        self.undo: Undo | None = None
        self.observe: Use | None = None
        self._correct: int | None = None  # after the last evaluation; None if another method has run the network
        self._cost = self._own_cost = 0.0  # of all ranks and of this rank, at the last message

    @property
    def evaluations(self) -> int:
        """The number of values and gradients that were computed."""
        return self._local.evaluations

    @evaluations.setter
    def evaluations(self, number: int) -> None:
        self._local.evaluations = number

    @property
    def max_gigabytes(self) -> float:
        """The largest Hessian, Gauss-Newton matrix or Jacobian, in gigabytes."""
        return self._local.max_gigabytes

    @max_gigabytes.setter
    def max_gigabytes(self, number: float) -> None:
        self._local.max_gigabytes = number

    @property
    def gradients(self) -> float:
        """The cost of everything computed so far, in gradients of one example.

        What followed the last value is estimated from the cost of this rank.
        """
        since = self._local.gradients - self._own_cost
        return self._cost + (since * (self.examples / max(1, self._local.examples)) if since else 0.0)

    @gradients.setter
    def gradients(self, cost: float) -> None:
        self._cost, self._own_cost, self._local.gradients = cost, 0.0, 0.0

    def value(self) -> float:
        """Return the loss at theta."""
        return self._sum(self._local.value(), gradient=False)

    def value_and_gradient(self) -> tuple[float, np.ndarray]:
        """Return the loss and its gradient at theta."""
        value, gradient = self._local.value_and_gradient()
        if gradient is not self._message.gradient:  # of a subsample
            np.copyto(self._message.gradient, gradient)
        value = self._sum(value, gradient=True)
        if self.observe is not None:
            self.observe(slice(0, len(gradient)), self._message.gradient)
        return value, self._message.gradient

    def _sum(self, value: float, gradient: bool) -> float:
        correct, self._own_cost = self._local.correct(), self._local.gradients
        value, self._correct, self._cost = self._message.sum(value, correct, self._own_cost, gradient)
        return value

    def value_and_gradient_parts(self) -> tuple[float, Callable[[Use], None]]:
        """Return the loss at theta, and a function that passes each part of its gradient on, a part for each thread."""
        value, gradient = self.value_and_gradient()
        parts = cut(len(gradient), self._threads)

        def each_part(use: Use) -> None:
            self._run_all(lambda k: use(parts[k], gradient[parts[k]]), len(parts))

        if self.undo is None or not math.isfinite(value):
            return value, each_part
        return value, partial(keep_parts, self.undo, each_part)

    def hessian_product(self, v: np.ndarray) -> np.ndarray:
        """Return the Hessian at theta times v."""
        return self._total(self._local.hessian_product(v))

    def gauss_newton_product(self, v: np.ndarray) -> np.ndarray:
        """Return the generalized Gauss-Newton matrix at theta times v."""
        return self._total(self._local.gauss_newton_product(v))

    def hessian(self) -> np.ndarray:
        """Return the Hessian at theta."""
        return self._total(self._local.hessian())

    def gauss_newton(self) -> np.ndarray:
        """Return the generalized Gauss-Newton matrix at theta."""
        return self._total(self._local.gauss_newton())

    def _total(self, array: np.ndarray) -> np.ndarray:
        """Return the sum over the ranks, in place."""
        self._correct = None
        self._ranks.sum(array)
        return array

    def residual_count(self) -> int:
        """Return the number of residuals of all ranks."""
        self._local.residual_count()  # raises ValueError if there are none
        return self.examples * int(self.parts[0][1].target.shape[1])

    def residuals(self) -> np.ndarray:
        """Return the residuals of all ranks at theta, in the order of the batch."""
        self._correct = None
        return self._ranks.stack(self._local.residuals())

    def jacobian(self) -> np.ndarray:
        """Return the derivatives of the residuals of all ranks, in the order of the batch."""
        self._correct = None
        return self._ranks.stack(self._local.jacobian())

    def residual_triangle(self) -> np.ndarray:
        """Return the triangle of the QR factorization of [J, r] of all ranks, from the triangles of the ranks."""
        self._correct = None
        return combine_triangles(self._local.residual_triangle(), self._ranks)

    def subsample(self, rows: Any) -> "DistributedObjective":
        """Return the mean loss on some rows of the batch, a function of the same theta."""
        rows = np.arange(self.examples)[rows]
        own = rows[(self._rows.start <= rows) & (rows < self._rows.stop)] - self._rows.start
        local = self._local.subsample(own, len(rows))
        return DistributedObjective(local, self._message, slice(0, len(own)), len(rows), self._run_all, self._threads)

    def correct(self) -> int:
        """Return the number of examples that are classified correctly."""
        if self._correct is None:
            self._sum(0.0, gradient=False)
        return cast(int, self._correct)


def combine_triangles(R: np.ndarray, ranks: Ranks) -> np.ndarray:
    """Return the triangle of the QR factorization of the rows of all ranks.

    Parameters
    ----------
    R : ndarray of shape (m, p), m <= p
        The triangle of the rows of this rank.
    ranks : Ranks
        The ranks.

    Returns
    -------
    ndarray of shape (p, p)
        The triangle, the same bits on all ranks; that of this rank if it is the only one.

    Notes
    -----
    TSQR (Demmel et al. 2012): pairs of ranks exchange their triangles and factor both, one above the other, in
    log2(size) rounds. If the number of ranks is no power of 2, the last ones first give theirs to others, and get the
    result in the end.

    References
    ----------
    Demmel, J., Grigori, L., Hoemmen, M., & Langou, J. (2012). Communication-optimal parallel and sequential QR and LU
    factorizations. SIAM Journal on Scientific Computing 34(1), A206-A239.
    """
    if ranks.size == 1:
        return R
    p = R.shape[1]
    R = np.concatenate([R, np.zeros((p - len(R), p))])
    power = 1 << (ranks.size.bit_length() - 1)
    rest = ranks.size - power  # ranks that have a partner among the last ones

    def merge(R: np.ndarray, partner: int) -> np.ndarray:
        other = ranks.exchange(R, partner)
        first, second = (R, other) if ranks.rank < partner else (other, R)
        return np.asarray(np.linalg.qr(np.concatenate([first, second]), mode="r"))

    if ranks.rank >= power:
        ranks.exchange(R, ranks.rank - power)
        return ranks.exchange(R, ranks.rank - power)
    if ranks.rank < rest:
        R = merge(R, ranks.rank + power)
    distance = 1
    while distance < power:
        R = merge(R, ranks.rank ^ distance)
        distance *= 2
    if ranks.rank < rest:
        ranks.exchange(R, ranks.rank + power)
    return R


class DistributedWorkers(Workers):
    """The threads of this rank, which evaluate its rows of each batch.

    Parameters
    ----------
    network : Network
        The network. From now on its gradient is part of the message to the other ranks.
    batches : Batches
        The examples and targets, the same on all ranks.
    threads : int or None
        The number of threads of this rank.
    ranks : Ranks
        The ranks.

    Raises
    ------
    ValueError
        If the rows of a batch cannot be divided, because a layer does not treat each on its own.
    """

    def __init__(self, network: Network, batches: Batches, threads: int | None, ranks: Ranks) -> None:
        if ranks.size > 1:
            for i, layer in enumerate(network.layers):
                if not layer.independent_rows:
                    raise ValueError(f"layer {i} ({layer}) cannot be trained on several ranks: its outputs for an "
                                     "example may depend on the other examples of the batch; if they do not, write "
                                     "independent_rows = True in its class")
        self.ranks, self._message = ranks, Message(ranks, len(network.theta), network.theta.dtype)
        network.bind(self._message.gradient)
        self._steps = 0
        super().__init__(network, batches, threads, -(-batches.size // ranks.size))

    def _share(self, n: int) -> slice:
        return share(n, self.ranks.rank, self.ranks.size)

    def objective(self, rows: np.ndarray, rng: Generator | None, n: int | None = None) -> Any:
        """Return the mean loss on some of the examples, of which this rank evaluates its share."""
        part, n = self._share(len(rows)), len(rows)
        own = rng if rng is None or self.ranks.size == 1 else cast(Generator, RowsGenerator(rng, part, n))
        local = super().objective(rows[part], own, n)
        return DistributedObjective(local, self._message, part, n, self.run_all, len(self.networks))

    def loss_and_correct(self, x: np.ndarray, target: np.ndarray, weight: np.ndarray | None = None,
                         n: int | None = None) -> tuple[float, int]:
        """Evaluate examples without dropout, of which this rank evaluates its share."""
        part = self._share(len(x))
        own = None if weight is None else weight[part]
        return self._sum(super().loss_and_correct(x[part], target[part], own, len(x)))

    def sums(self, rows: CheckedRows) -> tuple[float, int]:
        """Evaluate rows that are read block by block, of which this rank reads its share."""
        return self._sum(rows.sums(super().loss_and_correct, self._share(len(rows))))

    def _sum(self, own: tuple[float, int]) -> tuple[float, int]:
        """Return the sums over the ranks of a loss and of correct examples."""
        loss, correct, _ = self._message.sum(*own)
        return loss, correct

    def agree(self, stop: bool, interrupt: bool, now: bool = False) -> tuple[bool, bool]:
        """Return whether any rank wanted to stop, and whether one was interrupted: at the last message, or `now`.

        `now`, and every CHECK steps, it also compares theta on all ranks. Raises ValueError if one has another.
        """
        if self.ranks.size == 1:
            return stop, interrupt
        message, self._steps = self._message, self._steps + 1
        message.wishes = [stop, interrupt]
        if now or self._steps % CHECK == 0:
            states = self.ranks.gather((stop, interrupt, hash_of(self.networks[0].theta)))
            message.agreed = [any(state[wish] for state in states) for wish in (0, 1)]
            check_same([{"the hash of theta": state[2]} for state in states], "have parted, because they computed "
                       "differently, or a callback has changed one of them alone")
        return message.agreed[0], message.agreed[1]

    def fail(self, error: BaseException, on_all_ranks: bool) -> None:
        """End all ranks after an error on this one, unless all have it."""
        if on_all_ranks or (isinstance(error, KeyboardInterrupt) and self._message.agreed[1]):
            mark(error)
        if self.ranks.size > 1 and not is_on_all_ranks(error):
            self.ranks.end_all(error)

    def of_rank_0(self, value: Any) -> Any:
        """Return the value of rank 0."""
        return self.ranks.broadcast(value)


def hash_of(*arrays: np.ndarray) -> str:
    """Return a hash of the bytes of arrays."""
    digest = hashlib.blake2b(digest_size=8)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def check_same(facts: list[Mapping[str, Any]], problem: str, advice: str = "") -> None:
    """Raise ValueError, on all ranks, unless the facts of all ranks are those of rank 0; it names what differs."""
    for rank, other in enumerate(facts):
        differences = [f"{name} is {facts[0].get(name)} on rank 0 and {other.get(name)} on rank {rank}"
                       for name in {**facts[0], **other} if facts[0].get(name) != other.get(name)]
        if differences:
            raise mark(ValueError(f"rank {rank} and rank 0 {problem}: {'; '.join(differences)}{advice}"))


@contextmanager
def quiet(ranks: Ranks) -> Iterator[None]:
    """Within the context, only rank 0 shows warnings."""
    if ranks.rank == 0:
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def together(ranks: Ranks) -> Iterator[None]:
    """Within the context, an error on one rank becomes an error on all. It may contain no message between ranks."""
    failure: Exception | None = None
    try:
        yield
    except Exception as error:
        failure = error
    errors = ranks.gather(None if failure is None else f"{type(failure).__name__}: {failure}")
    if failure is not None:
        raise mark(failure)
    for rank, text in enumerate(errors):
        if text is not None:
            raise mark(ValueError(f"rank {rank}: {text}"))
