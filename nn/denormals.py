"""Denormal numbers: flushed to zero on the threads that train, because many processors are slow with them.

A denormal number is nearer to zero than the smallest normal one, 1.2e-38 in float32. The averages of an optimizer decay
into this range if a weight has no gradient for a long time. Intel processors then need up to 30 times as long.
"""

import ctypes
from functools import cache
import platform
import sys
from typing import NamedTuple

import numpy as np


class Layout(NamedTuple):
    """Where the C library's fenv_t holds the control register of the vector unit, and the bits that flush."""

    library: str | None
    offset: int
    register: type[ctypes.c_uint32] | type[ctypes.c_uint64]
    bits: int


LAYOUTS = {
    ("linux", "x86_64"): Layout("libm.so.6", 28, ctypes.c_uint32, 0x8040),  # MXCSR: flush to zero, denormals are zero
    ("linux", "aarch64"): Layout("libm.so.6", 0, ctypes.c_uint32, 1 << 24),  # FPCR: flush to zero
    ("darwin", "x86_64"): Layout(None, 4, ctypes.c_uint32, 0x8040),
    ("darwin", "arm64"): Layout(None, 8, ctypes.c_uint64, 1 << 24),
}
SIZE = 64  # bytes, more than fenv_t has on any of these
Environment = ctypes.Array[ctypes.c_ubyte]
_flush = True


def set_flush_denormal(flush: bool) -> None:
    """Choose whether training flushes denormal numbers to zero. It does by default, if the platform allows it.

    Parameters
    ----------
    flush : bool
        False for arithmetic with denormal numbers, as NumPy does it.

    Notes
    -----
    The setting holds while `Model.fit` works, on its own threads; callbacks and everything afterwards have the setting
    of the caller. The averages of an optimizer become exactly zero where they would be below the smallest normal
    number. torch has a function of the same name, which is off by default; XLA always flushes.

    Examples
    --------
    >>> from nn import set_flush_denormal
    >>> set_flush_denormal(False)
    >>> set_flush_denormal(True)
    """
    global _flush
    _flush = bool(flush)


@cache
def _library() -> ctypes.CDLL | None:
    """Return the C library; None if the platform is unknown, or flushing has no effect on NumPy."""
    layout = LAYOUTS.get((sys.platform, platform.machine()))
    try:
        library = ctypes.CDLL(layout.library) if layout else None
        if layout is None or library is None:
            return None
        current, flushing = _environments(library, layout)
        library.fesetenv(flushing)
        flushes = not (np.full(8, 1e-40, np.float32) * np.float32(0.5)).any()
        library.fesetenv(current)
    except (OSError, AttributeError):
        return None
    return library if flushes else None


def _environments(library: ctypes.CDLL, layout: Layout) -> tuple[Environment, Environment]:
    """Return the floating-point environment of this thread, and the same with denormal numbers flushed."""
    current = (ctypes.c_ubyte * SIZE)()
    library.fegetenv(current)
    flushing = (ctypes.c_ubyte * SIZE).from_buffer_copy(current)
    register = layout.register.from_buffer(flushing, layout.offset)
    register.value |= layout.bits
    return current, flushing


class FlushDenormals:
    """A context in which the thread that made it flushes denormal numbers to zero.

    It may be entered many times, one after another. Outside of it, the thread has the setting that it had before.
    Nothing happens if flushing is switched off or if the platform is unknown.
    """

    def __init__(self) -> None:
        self._library = _library() if _flush else None
        if self._library is not None:
            layout = LAYOUTS[sys.platform, platform.machine()]
            self._before, self._flushing = _environments(self._library, layout)

    def __enter__(self) -> None:
        if self._library is not None:
            self._library.fegetenv(self._before)
            self._library.fesetenv(self._flushing)

    def __exit__(self, *error: object) -> None:
        if self._library is not None:
            self._library.fesetenv(self._before)

    def restore(self) -> None:
        """Give the thread the setting that it had before, if an interrupt has prevented that."""
        self.__exit__()


def flush_on_this_thread() -> None:
    """Flush denormal numbers on this thread from now on."""
    FlushDenormals().__enter__()
