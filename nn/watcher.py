"""The watcher: a process to which all ranks are connected. It names the first rank that fails, and ends the others.

It is started as a program by nn/watch.py. It imports little, so that it starts quickly. A rank sends messages that end
with a zero byte: who it is, and then, if it leaves, an empty one; or, if it fails, a text that says why.
"""

from contextlib import suppress
import os
from selectors import EVENT_READ, DefaultSelector
import signal
import socket
import sys
from time import monotonic
from typing import cast

START = 30.0  # seconds in which the first rank must connect
END = 5.0  # seconds in which all ranks must have ended after one has failed
LIMIT = 4096  # bytes of the first message of a connection
WELCOME, STOP = b"+", b"!"
KILLED = "has ended: it was killed, it crashed, or its machine ran out of memory; all ranks end"


class Watcher:
    """Waits for the ranks, and until all have left, or one has failed.

    Parameters
    ----------
    server : socket
        The socket that listens.
    token : str
        What all ranks know, and other programs do not.
    size : int
        The number of ranks.
    """

    def __init__(self, server: socket.socket, token: str, size: int) -> None:
        self._server, self._token = server, token
        self._missing = {f"rank {rank}" for rank in range(size)}  # have not connected yet
        self._names: dict[socket.socket, tuple[str, str]] = {}  # of the ranks that are connected: number, process
        self._received: dict[socket.socket, bytes] = {}  # by each connection: a message that is not yet complete
        self._deadline: float | None = monotonic() + START
        self._failed = self._stopped = False
        self._selector = DefaultSelector()
        self._selector.register(server, EVENT_READ)

    def run(self) -> None:
        """Watch the ranks until all have ended."""
        while self._deadline is None or monotonic() < self._deadline:
            timeout = None if self._deadline is None else self._deadline - monotonic()
            # on Linux, they come in the order in which they became ready: the first one is the cause of the others
            for key, _ in self._selector.select(timeout):
                if key.fileobj is self._server:
                    self._accept()
                else:
                    self._receive(cast(socket.socket, key.fileobj))

    def _accept(self) -> None:
        with suppress(BlockingIOError, ConnectionError):  # it was closed meanwhile
            connection, _ = self._server.accept()
            connection.setblocking(False)
            self._received[connection] = b""
            self._selector.register(connection, EVENT_READ)

    def _receive(self, connection: socket.socket) -> None:
        data = b""
        with suppress(OSError):  # a connection that was reset is closed, too
            data = connection.recv(1 << 16)
        *messages, rest = (self._received[connection] + data).split(b"\0")
        self._received[connection] = rest
        known = True
        for message in messages:
            if connection in self._names:
                self._hear(connection, message.decode(errors="replace"))
            else:
                known = self._welcome(connection, message.decode(errors="replace"))
        if not data or not known or (connection not in self._names and len(rest) > LIMIT):
            self._close(connection)

    def _welcome(self, connection: socket.socket, message: str) -> bool:
        """Note which rank is connected, and return whether it is one: it knows the token."""
        token, *who = message.split(" ", 2)
        if token != self._token or len(who) != 2:
            return False
        self._names[connection] = f"rank {who[0]}", who[1]
        send(connection, WELCOME)
        self._missing.discard(f"rank {who[0]}")
        if not self._missing:
            self._selector.unregister(self._server)
            self._server.close()
        if not self._failed:
            self._deadline = None
        return True

    def _hear(self, connection: socket.socket, reason: str) -> None:
        """Let a rank leave, or show why it fails, and end it; it ends first, so that the launcher names it too."""
        if reason:
            self._fail(f"{self._names[connection][0]}: {reason}")
            send(connection, STOP)
        else:
            self._remove(connection)

    def _close(self, connection: socket.socket) -> None:
        if connection in self._names:
            rank, process = self._names[connection]
            others = f", or {' or '.join(sorted(self._missing))}, not yet connected," if self._missing else ""
            self._fail(f"{rank} ({process}){others} {KILLED}")  # a launcher ends the others when one was killed
            self._remove(connection)
            if not self._stopped:
                self._stopped = True
                for other in self._names:
                    send(other, STOP)
        self._selector.unregister(connection)
        del self._received[connection]
        connection.close()

    def _fail(self, message: str) -> None:
        """Show the message, if it is the first."""
        if not self._failed:
            self._failed, self._deadline = True, monotonic() + END
            with suppress(OSError):  # nobody may listen any more
                os.write(2, f"feedforward: {message}\n".encode(errors="backslashreplace"))

    def _remove(self, connection: socket.socket) -> None:
        del self._names[connection]
        if not self._names:
            self._deadline = monotonic()


def send(connection: socket.socket, message: bytes) -> None:
    """Send a message, if the connection is still open."""
    with suppress(OSError):
        connection.send(message)


def main() -> None:
    """Watch the ranks that connect to the socket whose descriptor is the first argument."""
    import resource  # there is none on Windows

    for number in (signal.SIGINT, signal.SIGTERM):  # they are for the ranks
        signal.signal(number, signal.SIG_IGN)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(OSError, ValueError):  # macOS has a lower limit than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # one for each rank
    server = socket.socket(fileno=int(sys.argv[1]))
    server.setblocking(False)
    Watcher(server, os.environ["FEEDFORWARD_TOKEN"], int(sys.argv[2])).run()
    os._exit(0)  # rank 0 waits for it: nothing has to be tidied up


if __name__ == "__main__":
    main()
