"""Arrays in memory that the ranks of one machine share: their sum needs no messages."""

from contextlib import ExitStack, suppress
import mmap
import os
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import DTypeLike

if TYPE_CHECKING:
    from nn.mpi import Ranks

LINE = 64  # elements: slices begin at multiples, so that no two ranks write into one line of a cache


class SharedSum:
    """An array of each rank, of which all ranks see those of the others, and their sum.

    Parameters
    ----------
    ranks : Ranks
        The ranks, all on one machine.
    arrays : list of ndarray of shape (n,)
        The array of each rank.

    Attributes
    ----------
    own : ndarray of shape (n,)
        The array of this rank.
    """

    def __init__(self, ranks: "Ranks", arrays: list[np.ndarray]) -> None:
        self.own, self._ranks, self._others = arrays[ranks.rank], ranks, []
        n, size = len(self.own), ranks.size
        starts = [n * rank // size // LINE * LINE for rank in range(size)]
        slices = [slice(start, stop) for start, stop in zip(starts, [*starts[1:], n])]
        self._part = slices[ranks.rank]
        for step in range(1, size):  # each rank begins with another one
            other = (ranks.rank + step) % size
            self._others.append((arrays[other], slices[other]))

    def sum(self) -> None:
        """Replace the array of each rank by their sum, the same bits in all of them.

        Notes
        -----
        Each rank adds up a part of the arrays, and then copies the other parts from the ranks that did. In the first
        phase, only the rank of a part reads the sum that it writes there; in the second, nobody writes what is read.
        """
        self._ranks.wait()
        for array, _ in self._others:
            self.own[self._part] += array[self._part]
        self._ranks.wait()
        for array, part in self._others:
            np.copyto(self.own[part], array[part])
        self._ranks.wait()


def shared_sum(ranks: "Ranks", n: int, dtype: DTypeLike) -> SharedSum | None:
    """Return the sum of arrays of n zeros in shared memory; None if there is one rank, or not all can share it.

    Notes
    -----
    The memory has no name in a file system, so nothing of it can remain. It lives as long as a view of it. The other
    ranks open it in /proc, as Linux allows processes of the same user. A token after the array tells whether it is the
    right one, because a process on another machine may have the same number.
    """
    if ranks.size == 1:
        return None
    size, token = n * np.dtype(dtype).itemsize, os.urandom(16)
    with ExitStack() as handles:
        own, arrays = None, []
        with suppress(AttributeError, OSError):  # not on Linux, or not enough memory
            handle = os.memfd_create("feedforward")
            handles.callback(os.close, handle)
            os.posix_fallocate(handle, 0, size)  # an error now, not a crash when it is written
            os.pwrite(handle, token, size)
            own = f"/proc/{os.getpid()}/fd/{handle}", token
        places = ranks.gather(own)
        with suppress(OSError):
            for path, expected in filter(None, places):
                handle = os.open(path, os.O_RDWR)
                handles.callback(os.close, handle)
                if os.pread(handle, len(expected), size) != expected:
                    break
                arrays.append(np.frombuffer(mmap.mmap(handle, size), dtype))
        shared = all(count == ranks.size for count in ranks.gather(len(arrays)))
    return SharedSum(ranks, arrays) if shared else None
