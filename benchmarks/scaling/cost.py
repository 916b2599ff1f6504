"""A model of the seconds of a step on N ranks, from what its parts take on one core.

    seconds = gradient(n / N) + update(P) + gather(n / N) + a constant + sum(P)

Each term is an amount that was measured apart, or counted, times a constant that is fitted. The sum over the ranks is
an allreduce, by messages, or takes place in memory that they share.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import math
from typing import NamedTuple

import numpy as np

from nn.distributed import WORDS

ITEM = 4  # bytes of a float32
TERMS = {
    "gradient": "seconds of the gradient of n / N examples, measured apart",
    "update": "seconds of Adam's rule on P parameters, measured apart",
    "gather": "seconds to gather n / N examples, measured apart",
    "neighbour": "seconds of Adam's rule again, if other ranks use the same memory",
    "step": "steps",
    "rounds": "rounds of messages, log2 N",
    "bytes": "bytes that a rank sends, 2 (N - 1) / N of the message",
    "shared rounds": "the same rounds, if the ranks share memory",
    "shared bytes": "the same bytes, which a rank then reads from the others",
}
Amounts = Mapping[str, float]  # by the names of TERMS; those that are absent are 0


@dataclass(frozen=True)
class Local:
    """What the parts of a step of one workload take on one core.

    Parameters
    ----------
    parameters : int
        P.
    rows : sequence of int
        The numbers of examples at which `gradient` and `gather` were measured, increasing.
    gradient, gather : sequence of float
        The seconds for each of these numbers.
    update : float
        The seconds of the optimizer's rule.
    """

    parameters: int
    rows: Sequence[int]
    gradient: Sequence[float]
    gather: Sequence[float]
    update: float

    def gradient_seconds(self, rows: float) -> float:
        """Return the seconds of the gradient of so many examples: linear between those that were measured."""
        return _interpolate(rows, self.rows, self.gradient)

    def gather_seconds(self, rows: float) -> float:
        """Return the seconds to gather so many examples."""
        return _interpolate(rows, self.rows, self.gather)


def _interpolate(rows: float, known: Sequence[int], seconds: Sequence[float]) -> float:
    if rows > known[-1]:  # in proportion
        return rows / known[-1] * seconds[-1]
    return float(np.interp(rows, known, seconds))


def message_bytes(parameters: int, ranks: int) -> int:
    """Return the bytes of the message of a step."""
    return ITEM * (parameters + (WORDS * ranks if ranks > 1 else 0))


def sum_amounts(size: float, ranks: int, cores: int, shared: bool) -> dict[str, float]:
    """Return the amounts of a sum of so many bytes over ranks that share so many cores, and perhaps memory."""
    crowd, kind = max(1.0, ranks / cores), "shared " if shared else ""
    return {f"{kind}rounds": crowd * math.log2(ranks), f"{kind}bytes": crowd * 2 * (ranks - 1) / ranks * size}


def step_amounts(local: Local, batch: int, ranks: int, cores: int, shared: bool) -> dict[str, float]:
    """Return the amounts of a step on a batch, divided among ranks that share so many cores, and perhaps memory."""
    crowd, rows = max(1.0, ranks / cores), -(-batch // ranks)
    return {"gradient": crowd * local.gradient_seconds(rows), "update": crowd * local.update,
            "gather": crowd * local.gather_seconds(rows), "neighbour": crowd * local.update if ranks > 1 else 0.0,
            "step": crowd, **sum_amounts(message_bytes(local.parameters, ranks), ranks, cores, shared)}


def fit(rows: Sequence[Amounts], seconds: Sequence[float]) -> dict[str, float]:
    """Return the constants, at least 0, that minimize the squares of the relative errors.

    Parameters
    ----------
    rows : sequence of mapping
        The amounts of each measurement.
    seconds : sequence of float
        The seconds of each, above 0.

    Returns
    -------
    dict
        The constant of each term.
    """
    from scipy.optimize import nnls

    A = np.array([[row.get(term, 0.0) for term in TERMS] for row in rows]) / np.array(seconds)[:, np.newaxis]
    scale = np.where(A.any(axis=0), np.linalg.norm(A, axis=0), 1)  # their units differ by factors of 1e9
    constants, _ = nnls(A / scale, np.ones(len(rows)))
    return dict(zip(TERMS, (constants / scale).tolist()))


def predict(constants: Mapping[str, float], amounts: Amounts) -> float:
    """Return the seconds that the model predicts."""
    return sum(constants[term] * amount for term, amount in amounts.items())


class Network(NamedTuple):
    """A network between machines: its name, its latency in seconds, and the bytes of a link in a second."""

    name: str
    latency: float
    bandwidth: float

    def allreduce(self, size: float, machines: int) -> float:
        """Return the seconds of an allreduce of so many bytes, by the faster of two algorithms.

        Notes
        -----
        Recursive doubling sends the whole message in each of log2 N rounds. A reduce-scatter and an allgather send
        2 (N - 1) / N of it in 2 log2 N rounds; a ring sends as much in more rounds. Both are what MPI libraries choose
        from (Thakur et al. 2005). The links are full duplex, and no two messages share one.

        References
        ----------
        Thakur, R., Rabenseifner, R., & Gropp, W. (2005). Optimization of collective communication operations in MPICH.
        International Journal of High Performance Computing Applications 19(1), 49-66.
        """
        rounds = math.ceil(math.log2(machines))
        doubling = rounds * (self.latency + size / self.bandwidth)
        halving = 2 * rounds * self.latency + 2 * (machines - 1) / machines * size / self.bandwidth
        return min(doubling, halving)

    def exchange(self, size: float) -> float:
        """Return the seconds in which two machines send each other so many bytes."""
        return self.latency + size / self.bandwidth


@dataclass(frozen=True)
class Cluster:
    """Machines, each with one rank, in a network.

    Parameters
    ----------
    network : Network
        The network.
    constants : mapping
        The constants of the model.
    speed : float
        How many times as fast as one core of the measured machine each machine computes.
    """

    network: Network
    constants: Mapping[str, float]
    speed: float = 1.0

    def gradient(self, local: Local, rows: float) -> float:
        """Return the seconds in which a machine computes the gradient of so many examples."""
        return self.constants["gradient"] * local.gradient_seconds(rows) / self.speed

    def first_order(self, local: Local, batch: float, machines: int) -> float:
        """Return the seconds of a step of a first-order rule: a gradient, a message, an update."""
        rows = math.ceil(batch / machines)
        own = (self.constants["update"] * local.update + self.constants["gather"] * local.gather_seconds(rows)
               + self.constants["step"]) / self.speed
        return (self.gradient(local, rows) + own
                + self.network.allreduce(message_bytes(local.parameters, machines), machines))

    def second_order(self, local: Local, examples: int, work: "Work", machines: int) -> float:
        """Return the seconds of a step of a second-order method on all examples."""
        size = message_bytes(local.parameters, machines)
        small = size - ITEM * local.parameters
        return (work.gradients * self.gradient(local, math.ceil(examples / machines)) + work.rest / self.speed
                + work.vectors * self.network.allreduce(size, machines)
                + work.values * self.network.allreduce(small, machines))

    def triangles(self, examples: int, work: "Triangles", machines: int) -> float:
        """Return the seconds of a step that merges the triangles of the machines' Jacobians, in pairs."""
        merges = math.ceil(math.log2(machines)) * (work.merge / self.speed + self.network.exchange(8 * work.columns**2))
        return (math.ceil(examples / machines) * work.example + work.rest) / self.speed + merges


class Work(NamedTuple):
    """The work of a step of a second-order method.

    `gradients` is the cost of its evaluations and products, in gradients of all examples. `vectors` and `values` are
    the numbers of messages that are as long as the gradient, and of short ones. `rest` are the seconds of what every
    machine does alike.
    """

    gradients: float
    vectors: float
    values: float
    rest: float


class Triangles(NamedTuple):
    """The work of a step of Levenberg-Marquardt, form "qr".

    `example` are the seconds for the Jacobian of an example and its share of the factorization, `merge` those of the
    factorization of two triangles, `rest` those of what every machine does alike.
    """

    columns: int
    example: float
    merge: float
    rest: float


def limit(efficiencies: Mapping[int, float], least: float = 0.5) -> int:
    """Return the largest number of machines up to which no efficiency is below `least`; 1 if there is none."""
    largest = 1
    for machines in sorted(efficiencies):
        if efficiencies[machines] < least:
            break
        largest = machines
    return largest
