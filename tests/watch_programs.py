"""A program that the tests start on several ranks, to see how all end if one fails.

``watch_programs.py ACTION RANKS OTHERS``, under mpiexec, or, with two more arguments, RANK and SIZE, without MPI. The
RANKS, such as 0,2, do the ACTION, and the others do what OTHERS says.
"""

import ctypes
import importlib.util
import json
import os
from pathlib import Path
import signal
import sys
import time
import warnings

warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of a fork in a process with threads
# nn/watch.py needs nothing of the package, which takes longer to import than all else here
spec = importlib.util.spec_from_file_location("watch", Path(__file__).parent.parent / "nn/watch.py")
watch = importlib.util.module_from_spec(spec)
spec.loader.exec_module(watch)


class Pipes:
    """Ranks without MPI: the process that started them reads what they gather, and gives it to all."""

    def __init__(self, rank, size):
        self.rank, self.size = rank, size

    def gather(self, value):
        print(json.dumps(value), flush=True)
        return json.loads(sys.stdin.readline())

    def broadcast(self, value):
        return self.gather(value)[0]

    def abort(self, error):
        print(f"rank {self.rank} aborts: {error}", file=sys.stderr, flush=True)
        os._exit(7)


def nothing(ranks, watched):
    pass


def kill(ranks, watched):
    os.kill(os.getpid(), signal.SIGKILL)


def kill_with_child(ranks, watched):
    if os.fork() == 0:
        os.closerange(0, 3)
        time.sleep(60)
    kill(ranks, watched)


def fork(ranks, watched):
    """A child leaves the context by an error, which must end nothing."""
    if os.fork() == 0:
        raise StopIteration
    assert os.wait()[1] == 0


def kill_watcher(ranks, watched):
    if ranks.rank == 0:
        watched._watcher.kill()
    watched._thread.join()  # the connection is closed
    if ranks.rank == 1:
        raise RuntimeError("no watcher")


def fail(ranks, watched):
    raise RuntimeError("no more")


def fail_on_all(ranks, watched):
    error = StopIteration()
    error.on_all_ranks = True
    raise error


def explain(ranks, watched):
    exec(compile("raise ValueError('no more')", watch.__file__, "exec"))  # as if that file had raised it


def blame(ranks, watched):
    raise ValueError("no more")  # an error of the user's own code


def interrupt(ranks, watched):
    raise KeyboardInterrupt


def leave(ranks, watched):
    sys.exit()


def leave_with_4(ranks, watched):
    sys.exit(4)


def sleep(ranks, watched):
    time.sleep(60)


def hold_gil(ranks, watched):
    ctypes.PyDLL(None).sleep(60)


def wait(ranks, watched):
    ranks.gather("a message that never comes")


def nest(ranks, watched):
    """A watch within another one does nothing: it starts nothing, and exchanges nothing."""
    ranks.gather = None
    with watch.Watch(ranks) as inner:
        assert inner._watcher is None


def main(action, acting, others, *place):
    if place:
        ranks = Pipes(*map(int, place))
    else:
        from mpi4py import MPI

        from nn.mpi import Ranks

        ranks = Ranks(MPI.COMM_WORLD)
    acts = str(ranks.rank) in acting.split(",")
    if action.startswith("far "):  # from each other, or so they think
        watch.socket.gethostname = lambda: "other" if ranks.rank else "localhost"
    connect, blocks = watch.socket.create_connection, action.startswith("blocked ") and acts

    def create_connection(address, timeout):
        if blocks or (action.startswith("far ") and ranks.rank and address[0] == "127.0.0.1"):
            raise TimeoutError("timed out")
        return connect(address, timeout)

    watch.socket.create_connection = create_connection
    does = globals()[action.split()[-1] if acts else others]
    try:
        with watch.Watch(ranks) as watched:
            if not place:
                if ranks.rank == 0:
                    print(watched._watcher.pid, flush=True)
                ranks.gather("printed")
            does(ranks, watched)
    except StopIteration:
        pass


if __name__ == "__main__":
    main(*sys.argv[1:])
