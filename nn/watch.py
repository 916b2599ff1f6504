"""Watch: if one rank fails or is killed, all ranks end, and one message on stderr names it and says why.

After an exception on one rank, MPI lets the others wait for it forever. After one was killed, the launcher kills the
others within milliseconds, before they can print anything. So rank 0 starts a small process, nn/watcher.py, to which
every rank keeps a TCP connection. The system closes the connection of a process that ends, however it ends.
"""

from collections.abc import Callable
from contextlib import suppress
import os
from pathlib import Path
import secrets
import socket
import subprocess
import sys
from threading import Thread
import traceback
from typing import Any

CONNECT = 3.0  # seconds to connect to an address
ANSWER = 20.0  # seconds in which the watcher must answer; it starts meanwhile
END = 5.0  # seconds in which it must end, or end this rank
DESCRIPTOR = 900  # higher than those of the MPI library
WELCOME, STOP = b"+", b"!"  # what it sends to a rank
PACKAGES = ("nn", "optimizers", "datasets", "feedforward")
EXPLAINED = (ValueError, TypeError, OSError, MemoryError, ImportError, KeyboardInterrupt, SystemExit)  # by their texts


def show(message: str) -> None:
    """Write a line on stderr."""
    print(f"feedforward: {message}", file=sys.stderr, flush=True)


class Watch:
    """Within its context, which all ranks enter and leave, the end of one rank ends all.

    Parameters
    ----------
    ranks : Ranks
        The ranks.
    notify : callable
        Called with a text on rank 0 if they cannot be watched, for example because of a firewall. They train
        nevertheless, and exceptions still end all; if a rank is killed, all depends on the MPI launcher.

    Notes
    -----
    An exception that leaves the context ends all ranks too, unless all have it: then its attribute `on_all_ranks` is
    true. With one rank, within another watch, and on Windows, the context does nothing.

    If all ranks are on one machine, the watcher listens on the loopback interface, otherwise on all interfaces, and
    only until all ranks, which know a token, have connected. If the watcher is killed, the ranks continue without it.
    A machine that is switched off does not close its connections: nothing here notices that.

    Examples
    --------
    >>> from nn.mpi import Ranks
    >>> with Watch(Ranks()):  # one rank alone
    ...     pass
    """

    def __init__(self, ranks: Any, notify: Callable[[str], None] = show) -> None:
        self._ranks, self._notify = ranks, notify
        self._process = 0  # which has entered the context; children that it forks have not
        self._status = 1
        self._socket: socket.socket | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        self._thread = Thread(target=self._wait_for_stop, daemon=True)

    def __enter__(self) -> "Watch":
        global _current
        if self._ranks.size == 1 or _current is not None or os.name != "posix":
            return self
        self._process = os.getpid()
        hosts = self._ranks.gather(socket.gethostname())
        place = self._ranks.broadcast(self._start_watcher(hosts) if self._ranks.rank == 0 else None)
        problem = place if isinstance(place, str) else self._connect(hosts[0], *place)
        problems = [text for text in self._ranks.gather(problem) if text]
        if not problems:
            _current = self
            self._thread.start()
            return self
        self._leave(patience=0)
        if self._ranks.rank == 0:
            self._notify(f"if a rank is killed, this may not be noticed, because {problems[0]}")
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        global _current
        if self._process != os.getpid():
            return
        succeeded = error is None or (isinstance(error, SystemExit) and not error.code)
        if error is not None and not succeeded and not getattr(error, "on_all_ranks", False):
            end_all(self._ranks, error)
        _current = None
        self._leave(END)

    def _start_watcher(self, hosts: list[str]) -> tuple[list[str], int, str] | str:
        """Start the watcher. Return its addresses for other machines, its port and a token, or what the problem is."""
        alone, token = len(set(hosts)) == 1, secrets.token_hex()
        try:
            with socket.create_server(("127.0.0.1" if alone else "", 0), backlog=len(hosts)) as server:
                program = Path(__file__).with_name("watcher.py")
                # in a session of its own, because launchers kill the process groups of the ranks
                self._watcher = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(program), str(server.fileno()), str(len(hosts))],
                    env={**os.environ, "FEEDFORWARD_TOKEN": token}, pass_fds=[server.fileno()], cwd="/",
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
                port = server.getsockname()[1]
        except OSError as error:
            return f"rank 0 cannot start a process that watches: {error}"
        return [] if alone else [hosts[0], *own_address()], port, token

    def _connect(self, host_of_rank_0: str, addresses: list[str], port: int, token: str) -> str:
        """Connect to the watcher. Return what the problem is, or an empty text."""
        rank, host, problems = self._ranks.rank, socket.gethostname(), []
        for address in ["127.0.0.1"] if host == host_of_rank_0 else addresses:
            try:
                self._socket = socket.create_connection((address, port), CONNECT)
                self._socket.settimeout(ANSWER)
                self._socket.sendall(f"{token} {rank} process {os.getpid()} on {host}\0".encode())
                if self._socket.recv(1) == WELCOME:
                    self._socket = closed_first(self._socket)
                    return ""
                problems.append(f"{address}: no answer")
            except OSError as error:
                problems.append(f"{address}: {error}")
            self._disconnect()
        return f"rank {rank} on {host} cannot connect to port {port} of rank 0 ({'; '.join(problems)})"

    def _wait_for_stop(self) -> None:
        """Wait until the watcher ends this process, or the connection is closed."""
        received = b""
        if self._socket is not None:
            with suppress(OSError):
                received = self._socket.recv(1)
            if received == STOP:
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
                os._exit(self._status)  # the main thread may wait for a message that never comes

    def tell(self, reason: str, status: int) -> None:
        """Tell the watcher why this rank fails: it then ends this process. Without a watcher, this returns."""
        self._status = status
        if self._socket is not None:
            with suppress(OSError):  # the thread may have closed it, because of another rank
                self._socket.sendall(reason.replace("\0", "").encode(errors="replace") + b"\0")
            self._thread.join(END)

    def _disconnect(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                self._socket.sendall(b"\0")  # nothing failed
                self._socket.shutdown(socket.SHUT_RDWR)
            if self._thread.is_alive():
                self._thread.join()
            self._socket.close()
            self._socket = None

    def _leave(self, patience: float) -> None:
        self._disconnect()
        if self._watcher is not None:
            with suppress(subprocess.TimeoutExpired):
                self._watcher.wait(patience)  # it ends as soon as all ranks have left
            self._watcher.kill()
            self._watcher.wait()
            self._watcher = None

    def forget(self) -> None:
        """Close the connection in a child that was forked: its copy would stay open when the rank ends."""
        if self._socket is not None:
            self._socket.close()


_current: Watch | None = None  # the watch of this process


def _forget() -> None:
    global _current
    if _current is not None:
        _current.forget()
        _current = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def closed_first(connection: socket.socket) -> socket.socket:
    """Return a connection with a high descriptor: when a process ends, Linux closes its highest descriptor first.

    The launcher has a connection of its own to each rank. If that were closed earlier, another rank, which the launcher
    then kills, could seem to be the first that ended.
    """
    import fcntl  # there is none on Windows

    with connection:
        connection.settimeout(None)
        try:
            return socket.socket(fileno=fcntl.fcntl(connection, fcntl.F_DUPFD_CLOEXEC, DESCRIPTOR))
        except OSError:  # so high a number is not allowed
            return connection.dup()


def own_address() -> list[str]:
    """Return the address of this machine in the network that leads to others, if there is one."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # an address for documentation: nothing is sent
        return [probe.getsockname()[0]]
    return []


def is_foreign(error: BaseException) -> bool:
    """Return whether an error was raised in code of the user: then its text alone does not say where."""
    frames = traceback.extract_tb(error.__traceback__)
    folder = Path(__file__).parent
    ours = bool(frames) and any(Path(frames[-1].filename).is_relative_to(folder.with_name(name)) for name in PACKAGES)
    return bool(frames) and not ours and not isinstance(error, (KeyboardInterrupt, SystemExit))


def end_all(ranks: Any, error: BaseException, status: int = 1) -> None:
    """End all ranks because of an error on this one, with one message on stderr. This does not return.

    Parameters
    ----------
    ranks : Ranks
        The ranks.
    error : BaseException
        The error. Its traceback follows, unless it is of a kind whose text says enough and was raised in this package.
    status : int
        The exit status of this rank, not 0. It is that of the launcher if the launcher passes it on.

    Notes
    -----
    If several ranks fail at the same time, the first message is shown. Without a `Watch`, this is ``ranks.abort``.
    """
    text = f"{type(error).__name__}: {error}".removesuffix(": ")
    explained = isinstance(error, EXPLAINED) or type(error).__module__.partition(".")[0] in PACKAGES
    if not explained or is_foreign(error):
        text += "\n" + "".join(traceback.format_exception(error)).rstrip("\n")
    if isinstance(error, KeyboardInterrupt):
        status = 130
    elif isinstance(error, SystemExit) and isinstance(error.code, int):
        status = error.code & 255 or 1  # 0 would tell the launcher that all is well
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # it may be closed
            stream.flush()
    if _current is not None:
        _current.tell(text, status)
    ranks.abort(error)
