"""The end of one rank ends all ranks, with one message, whether it failed or was killed."""

from contextlib import suppress
import errno
import json
import os
from pathlib import Path
import re
import signal
import socket
import subprocess
import sys
import time

from launcher import launch
import pytest

from nn.watch import Watch
from nn.watcher import LIMIT, WELCOME

pytestmark = pytest.mark.skipif(os.name != "posix", reason="ranks are watched on Linux and macOS")

ROOT = Path(__file__).parent.parent
PROGRAM = [sys.executable, str(ROOT / "tests/watch_programs.py")]
VARIABLES = {**os.environ, "PYTHONPATH": str(ROOT)}
EXPLAINED = "ValueError: no more"
KILLED = (r"feedforward: rank {} \(process \d+ on \S+\) has ended: it was killed, it crashed, or its machine ran out "
          r"of memory; all ranks end\n")


def start(n, *arguments):
    """Run the program on n ranks without MPI, whose launcher ends no rank; return their statuses and all of stderr.

    The pipe of stderr is at its end when no process has it, so no process is left.
    """
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    ranks = [subprocess.Popen([*PROGRAM, *arguments, str(rank), str(n)], env=VARIABLES, text=True,
                              start_new_session=True, **pipes)
             for rank in range(n)]
    try:
        while all(lines := [rank.stdout.readline() for rank in ranks]):
            for rank in ranks:
                with suppress(BrokenPipeError):
                    print(json.dumps([json.loads(line) for line in lines]), file=rank.stdin, flush=True)
        texts = [rank.communicate(timeout=30)[1] for rank in ranks]
    finally:
        for rank in ranks:
            with suppress(ProcessLookupError):
                os.killpg(rank.pid, signal.SIGKILL)  # with its children
            rank.wait()
    return [rank.returncode for rank in ranks], "".join(texts)


def mpiexec(n, *arguments):
    """Run the program under MPI. Return the status, our messages, and the process number of the watcher."""
    done = subprocess.run([*launch(n), *PROGRAM, *arguments], env=VARIABLES, capture_output=True, text=True,
                          timeout=50)
    ours = [line + "\n" for line in done.stderr.splitlines() if line.startswith("feedforward")]
    return done.returncode, ours, int(done.stdout.split()[0])


def is_alive(process):
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True)
    return done.stdout.strip()[:1] not in ("", "Z")  # a zombie is one that init has not noticed


def wait_until(condition):
    """Wait until a condition holds, but not forever."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize(("n", "rank", "others"), [
    (2, 0, "wait"), (2, 1, "wait"), (2, 1, "hold_gil"), pytest.param(2, 0, "hold_gil", marks=pytest.mark.slow),
    pytest.param(3, 1, "wait", marks=pytest.mark.slow)])
def test_the_death_of_a_rank_ends_all_under_mpi(n, rank, others):
    status, messages, watcher = mpiexec(n, "kill", str(rank), others)
    assert status != 0
    assert len(messages) == 1
    assert re.fullmatch(KILLED.format(rank), messages[0])
    wait_until(lambda: not is_alive(watcher))  # the launcher does not wait for it


@pytest.mark.parametrize(("action", "others", "messages"), [
    ("fail", "wait", ["feedforward: rank 1: RuntimeError: no more\n"]),
    pytest.param("explain", "hold_gil", [f"feedforward: rank 1: {EXPLAINED}\n"], marks=pytest.mark.slow),
    ("nothing", "nothing", [])])
def test_an_error_on_one_rank_ends_all_under_mpi(action, others, messages):
    status, found, watcher = mpiexec(2, action, "1", others)
    assert (status != 0, found) == (action != "nothing", messages)
    wait_until(lambda: not is_alive(watcher))


@pytest.mark.parametrize(("n", "action", "rank"), [
    (3, "kill", 0), (2, "kill_with_child", 1), (2, "far kill", 1), pytest.param(3, "kill", 2, marks=pytest.mark.slow)])
def test_the_death_of_a_rank_ends_all(n, action, rank):
    statuses, text = start(n, action, str(rank), "sleep")
    assert statuses == [-signal.SIGKILL if k == rank else 1 for k in range(n)]
    assert re.fullmatch(KILLED.format(rank), text)


@pytest.mark.parametrize(("action", "status", "message"), [
    pytest.param("explain", 1, EXPLAINED, marks=pytest.mark.slow),
    pytest.param("interrupt", 130, "KeyboardInterrupt", marks=pytest.mark.slow),
    ("leave_with_4", 4, "SystemExit: 4")])
def test_an_error_on_one_rank_ends_all(action, status, message):
    assert start(2, action, "1", "sleep") == ([1, status], f"feedforward: rank 1: {message}\n")


@pytest.mark.parametrize(("action", "kind"), [("fail", "RuntimeError"), ("blame", "ValueError")])
def test_an_error_of_the_users_code_has_a_traceback(action, kind):
    statuses, text = start(2, action, "0", "sleep")
    assert statuses == [1, 1]
    lines = text.splitlines()
    assert lines[:2] == [f"feedforward: rank 0: {kind}: no more", "Traceback (most recent call last):"]
    assert lines[-1] == f"{kind}: no more"


def test_errors_on_several_ranks_have_one_message():
    statuses, text = start(3, "explain", "0,1,2", "sleep")
    assert statuses == [1, 1, 1]
    assert re.fullmatch(rf"feedforward: rank \d: {re.escape(EXPLAINED)}\n", text)


@pytest.mark.parametrize(("action", "rank"), [
    ("far nothing", "0"), ("fail_on_all", "0,1"), ("fork", "0"), ("nest", "1"),
    *(pytest.param(action, "0,1", marks=pytest.mark.slow) for action in ("nothing", "leave"))])
def test_other_ends_have_no_message(action, rank):
    assert start(2, action, rank, "nothing") == ([0, 0], "")


def test_without_a_connection_ranks_are_not_watched_but_work():
    statuses, text = start(2, "blocked nothing", "1", "nothing")
    assert statuses == [0, 0]
    assert re.fullmatch(r"feedforward: if a rank is killed, this may not be noticed, because rank 1 on \S+ cannot "
                        r"connect to port \d+ of rank 0 \(127.0.0.1: timed out\)\n", text)


@pytest.mark.parametrize(("action", "reason"), [
    pytest.param("blocked fail", "no more", marks=pytest.mark.slow), ("kill_watcher", "no watcher")])
def test_without_a_watcher_an_error_aborts(action, reason):
    statuses, text = start(2, action, "1" if action == "blocked fail" else "0,1", "nothing")
    assert statuses == [0, 7]
    assert text.endswith(f"rank 1 aborts: {reason}\n")


class Alone:
    """One rank, which exchanges nothing."""

    rank, size = 0, 1


def test_one_rank_is_not_watched():
    with pytest.raises(ValueError, match="no more"), Watch(Alone()):
        raise ValueError("no more")


def send(address, message):
    connection = socket.create_connection(address)
    connection.settimeout(30)
    connection.sendall(message)
    return connection


def is_refused(address):
    with suppress(ConnectionResetError), socket.socket() as connection:
        connection.settimeout(5)
        return connection.connect_ex(address) == errno.ECONNREFUSED
    return False


@pytest.mark.parametrize("stranger", [
    b"GET / HTTP/1.1\r\n\0", b"wrong 1 process\0", b"right\0", b"\0", 2 * LIMIT * b"\xff"])
def test_strangers_are_sent_away_and_ranks_are_welcome(stranger):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        watcher = subprocess.Popen([sys.executable, str(ROOT / "nn/watcher.py"), str(server.fileno()), "2"],
                                   env={**os.environ, "FEEDFORWARD_TOKEN": "right"}, pass_fds=[server.fileno()],
                                   stderr=subprocess.PIPE)
    with send(address, stranger) as other, suppress(ConnectionResetError):
        assert other.recv(1) == b""
    with send(address, b"right 0 pro") as first, send(address, b"right 1 process 3\0") as second:
        assert second.recv(1) == WELCOME
        assert not is_refused(address)
        first.sendall(b"cess 2\0")
        assert first.recv(1) == WELCOME
        wait_until(lambda: is_refused(address))  # it listens no longer than necessary
        first.sendall(b"\0")
        second.sendall(b"\0")
        assert watcher.communicate(timeout=30) == (None, b"")
    assert watcher.returncode == 0


def test_a_rank_that_ends_before_all_are_connected_may_not_be_the_first():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        watcher = subprocess.Popen([sys.executable, str(ROOT / "nn/watcher.py"), str(server.fileno()), "2"],
                                   env={**os.environ, "FEEDFORWARD_TOKEN": "right"}, pass_fds=[server.fileno()],
                                   stderr=subprocess.PIPE)
    with send(address, b"right 1 process 3\0") as connection:
        assert connection.recv(1) == WELCOME
    _, text = watcher.communicate(timeout=30)
    assert text.startswith(b"feedforward: rank 1 (process 3), or rank 0, not yet connected, has ended: it was killed")
