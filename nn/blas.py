"""The threads of NumPy's BLAS, which all trainings of a process share."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

_lock = Lock()
_limits = 0  # the number of limits in force
_before: list[tuple[Any, int]] = []  # while a limit is in force: the libraries, and their threads without it


def threads() -> int:
    """Return the number of threads of BLAS.

    Returns
    -------
    int
        The number, also within `limited`, without the limit.
    """
    with _lock:
        return max((number for _, number in _before or _libraries()), default=1)


@contextmanager
def limited(number: int) -> Iterator[None]:
    """Give BLAS this number of threads within the context.

    Parameters
    ----------
    number : int
        The number of threads, at least 1. If several contexts overlap, the first number counts; after the last one,
        BLAS has its threads again.
    """
    global _limits, _before
    with _lock:
        _limits += 1
        if _limits == 1:
            _before = _libraries()
            for library, _ in _before:
                library.set_num_threads(number)
    try:
        yield
    finally:
        with _lock:
            _limits -= 1
            if not _limits:
                for library, before in _before:
                    library.set_num_threads(before)
                _before = []


def _libraries() -> list[tuple[Any, int]]:
    from threadpoolctl import ThreadpoolController

    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    return [(library, library.num_threads) for library in libraries]
