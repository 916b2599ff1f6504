"""Interrupts: Ctrl-C waits until the current step of a training is complete."""

import signal
import threading
from types import FrameType


class DeferredInterrupt:
    """Within its context, the first Ctrl-C sets `requested`, and a second one raises KeyboardInterrupt at once.

    It does so on the main thread, and only if Ctrl-C would raise KeyboardInterrupt otherwise.
    """

    def __init__(self) -> None:
        self.requested = False
        self._replaces = False

    def __enter__(self) -> "DeferredInterrupt":
        self._replaces = (threading.current_thread() is threading.main_thread()
                          and signal.getsignal(signal.SIGINT) is signal.default_int_handler)
        if self._replaces:
            signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        if self._replaces:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.requested and kind is None:
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
