"""Ranks: the processes of one training, which exchange numbers by MPI. No other module knows mpi4py."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
import math
import os
import sys
from typing import Any

import numpy as np

TAG = 13  # of the values that are posted
SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")  # variables in which launchers state the ranks


def import_mpi() -> Any:
    """Return the module mpi4py.MPI. Raises ImportError, with what to install, if there is none."""
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise ImportError(f"training on several ranks needs mpi4py and an MPI library ({error}): "
                          "pip install 'feedforward[mpi]'") from None
    return MPI


def world() -> Any:
    """Return the communicator of all processes that a launcher such as mpiexec has started together.

    Returns
    -------
    mpi4py.MPI.Intracomm or None
        MPI.COMM_WORLD; None if this process was started alone.

    Raises
    ------
    ImportError
        If there are several processes, but mpi4py is not installed.
    ValueError
        If the launcher is not that of the MPI library of mpi4py.
    """
    started = max((int(text) for name in SIZES if (text := os.environ.get(name, "")).isdecimal()), default=1)
    if started == 1:
        return None
    MPI = import_mpi()
    if MPI.COMM_WORLD.size != started:
        library = MPI.Get_library_version().splitlines()[0].strip("\0 ")
        raise ValueError(f"{started} processes were started together, but the MPI of mpi4py ({library}) sees "
                         f"{MPI.COMM_WORLD.size}: start them with the mpiexec of that MPI")
    return MPI.COMM_WORLD


class Ranks:
    """The processes of a communicator. All of them must call each method, in the same order.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm, optional
        The communicator; by default this process is alone, and mpi4py is not needed.

    Attributes
    ----------
    comm : mpi4py.MPI.Intracomm or None
        The communicator.
    rank : int
        The number of this process, from 0.
    size : int
        The number of processes.

    Raises
    ------
    ImportError
        If mpi4py is not installed.
    ValueError
        If it is not a communicator.
    """

    def __init__(self, comm: Any = None) -> None:
        self.comm, self.rank, self.size = comm, 0, 1
        self._posted: list[Any] = []  # what may not have arrived yet
        if comm is None:
            return
        MPI = import_mpi()
        if not isinstance(comm, MPI.Intracomm):
            raise ValueError(f"comm must be a communicator of mpi4py, such as MPI.COMM_WORLD, not {comm!r}")
        self._in_place, self._machine = MPI.IN_PLACE, MPI.Get_processor_name()
        self.rank, self.size = int(comm.Get_rank()), int(comm.Get_size())

    def threads(self) -> int | None:
        """Return the number of threads for this rank: its processors, divided among the ranks that share them.

        It is None if there is one rank: then it may have as many as BLAS has.
        """
        if self.size == 1:
            return None
        own = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
        machine, processors = self._machine, frozenset(own)
        others = self.gather((machine, processors))
        sharing = sum(1 for name, numbers in others if name == machine and numbers & processors)
        return max(1, len(processors) // sharing)

    def sum(self, array: np.ndarray) -> None:
        """Replace a contiguous array by its sum over the ranks, the same bits on all of them."""
        if self.size > 1:
            self.comm.Allreduce(self._in_place, array)

    def wait(self) -> None:
        """Wait until all ranks are here. What each has written into shared memory is then seen by the others."""
        self.comm.Barrier()

    def stack(self, rows: np.ndarray) -> np.ndarray:
        """Return the rows (m, ...) of all ranks, in their order. Only m may differ."""
        if self.size == 1:
            return rows
        rows = np.ascontiguousarray(rows)
        counts = self.gather(len(rows))
        out, width = np.empty((sum(counts), *rows.shape[1:]), rows.dtype), math.prod(rows.shape[1:])
        self.comm.Allgatherv(rows, (out, [count * width for count in counts]))
        return out

    def exchange(self, array: np.ndarray, partner: int) -> np.ndarray:
        """Send an array to another rank, which sends one of the same shape, and return that."""
        received = np.empty_like(array)
        self.comm.Sendrecv(array, partner, recvbuf=received, source=partner)
        return received

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks, in their order. They are pickled, so they should be small."""
        values: list[Any] = [value] if self.size == 1 else self.comm.allgather(value)
        return values

    def broadcast(self, value: Any) -> Any:
        """Return the value of rank 0. It is pickled."""
        return value if self.size == 1 else self.comm.bcast(value)

    def post(self, value: Any) -> None:
        """Send a value to rank 0, without waiting for it."""
        self._posted = [request for request in self._posted if not request.Test()]
        self._posted.append(self.comm.isend(value, 0, TAG))

    def received(self) -> Iterator[Any]:
        """Yield the values that were posted to rank 0 and have arrived."""
        while (message := self.comm.improbe(tag=TAG)) is not None:
            yield message.recv()

    def pool(self) -> Any:
        """Return a context: on rank 0, of an executor that calls functions on the other ranks, which enter it too."""
        from mpi4py.futures import MPICommExecutor

        return MPICommExecutor(self.comm)

    def watch(self) -> AbstractContextManager[Any]:
        """Return a context, which all ranks enter and leave, in which the end of one rank ends all: see `nn.watch`."""
        if self.size == 1:
            return nullcontext()
        from nn.watch import Watch  # it needs sockets and processes, which take milliseconds to import

        return Watch(self)

    def end_all(self, error: BaseException) -> None:
        """End all ranks because of an error on this one: see `nn.watch.end_all`. This does not return."""
        from nn.watch import end_all

        end_all(self, error)

    def abort(self, error: BaseException) -> None:
        """End all ranks, with a message that names this rank and the error."""
        print(f"rank {self.rank}: {type(error).__name__}: {error}", file=sys.__stderr__, flush=True)
        self.comm.Abort(1)
