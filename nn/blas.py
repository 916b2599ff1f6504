"""The threads of NumPy's BLAS, which all trainings of a process share."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
import os
import sys
from threading import Lock
from typing import Any

GENERIC = ("generic", "prescott", "core2")  # the code of OpenBLAS for processors that it does not know, or old ones

_lock = Lock()
_limits = 0  # the number of active limits
_unlimited: list[tuple[Any, int]] = []  # while a limit is active: the libraries, and their threads without it


def threads() -> int:
    """Return the number of threads of BLAS.

    Returns
    -------
    int
        The number without the limit, even within `limited`.
    """
    with _lock:
        return max((number for _, number in _unlimited or _libraries()), default=1)


def advice() -> str:
    """Return why the products of matrices are slower than they could be, and what to do.

    Returns
    -------
    str
        One line; empty if no reason is known.
    """
    chosen = os.environ.get("OPENBLAS_CORETYPE")
    kernels = [str(getattr(library, "architecture", "")) for library, _ in _libraries()]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if chosen:
        return (f"NumPy's matrix products may be slow: OPENBLAS_CORETYPE={chosen} chooses their code; remove it from "
                "the environment, so that it fits the processor")
    if any(name.lower() in GENERIC for name in kernels):
        return ("NumPy's matrix products are slow: its OpenBLAS has no code for this processor; install a newer NumPy, "
                "or one that is built for it")
    if kernels and threads() == 1 < cores:
        return (f"NumPy's matrix products use 1 of {cores} cores: remove OPENBLAS_NUM_THREADS and OMP_NUM_THREADS from "
                "the environment, or set them higher")
    return ""


def kernels() -> str:
    """Return the names of the code that BLAS has chosen for this processor; empty if they are not known."""
    names = {str(name) for library, _ in _libraries() if (name := getattr(library, "architecture", None))}
    return ", ".join(sorted(names))


@contextmanager
def limited(number: int) -> Iterator[None]:
    """Limit BLAS to this number of threads within the context.

    Parameters
    ----------
    number : int
        The number of threads, at least 1. If several contexts overlap, the first number applies. After the last context
        ends, BLAS has its original number of threads again.
    """
    global _limits, _unlimited
    with _lock:
        _limits += 1
        if _limits == 1:
            _unlimited = _libraries()
            for library, _ in _unlimited:
                library.set_num_threads(number)
    try:
        yield
    finally:
        with _lock:
            _limits -= 1
            if not _limits:
                for library, original in _unlimited:
                    library.set_num_threads(original)
                _unlimited = []


def _libraries() -> list[tuple[Any, int]]:
    return [(library, library.num_threads) for library in _loaded(len(sys.modules))]


@lru_cache(maxsize=1)
def _loaded(modules: int) -> list[Any]:
    """Return the libraries that are loaded. The search takes milliseconds: it is repeated after further imports."""
    from threadpoolctl import ThreadpoolController

    libraries: list[Any] = ThreadpoolController().select(user_api="blas").lib_controllers
    return libraries
