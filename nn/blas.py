"""The threads of NumPy's BLAS, which all trainings of a process share."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

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
    from threadpoolctl import ThreadpoolController

    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    return [(library, library.num_threads) for library in libraries]
