"""What runs in each of the ranks that are measured.

    mpiexec -n 2 python -m mpi4py -m benchmarks.scaling.ranks BYTES REPEATS

prints the seconds of a sum over the ranks, by messages and in shared memory.
"""

from collections.abc import Callable, Sequence
from functools import partial
import json
import shutil
import statistics
import subprocess
import sys
from time import perf_counter

import numpy as np
from numpy.typing import DTypeLike

from benchmarks.networks import new_model
from benchmarks.peers import LR, Epoch
from benchmarks.report import ROOT
from datasets import load
from nn import History, distributed
from nn.mpi import Ranks, import_mpi
from nn.shared_memory import shared_sum
from optimizers import get


def launcher(ranks: int) -> list[str]:
    """Return the command that starts so many ranks: the mpiexec beside this Python, or else that of the system."""
    folder = sys.executable.rpartition("/")[0]
    command = shutil.which("mpiexec", path=folder) or shutil.which("mpiexec")
    if command is None:
        raise RuntimeError("there is no mpiexec: pip install 'feedforward[mpi]'")
    return [command, "-n", str(ranks)]


def without_shared_memory(ranks: Ranks, n: int, dtype: DTypeLike) -> None:
    """Take the place of `nn.shared_memory.shared_sum` where the ranks of one machine stand for machines."""


def turn(ranks: int, widths: Sequence[int], batch: int, steps: int, threads: int | None, dataset: str,
         data_dir: str | None, shared: bool = True) -> Epoch:
    """Return our epoch, of at most so many steps on batches that are all full if `steps` is not 0.

    With `ranks` 0 the training knows of no ranks. If they are not to share memory, they send messages. The seconds
    leave out only the checks of fit before its first epoch.
    """
    if not shared:
        setattr(distributed, shared_sum.__name__, without_shared_memory)
    data = load(dataset, data_dir)
    count = min(steps, max(1, len(data.x_train) // batch)) * batch if steps else len(data.x_train)
    x, y = data.x_train[:count].copy(), data.y_train[:count].copy()  # the rest of the data leaves the memory
    del data
    model, optimizer, history = new_model(tuple(widths)), get("adam", lr=LR), History()
    comm = import_mpi().COMM_WORLD if ranks else None

    def epoch() -> float:
        before = history[-1]["seconds"] if history else 0.0
        model.fit(x, y, optimizer, 1, min(batch, len(x)), progress=False, history=history, threads=threads, comm=comm)
        return history[-1]["seconds"] - before

    return epoch


def sums(sizes: Sequence[int], repeats: int) -> list[tuple[float, float | None]]:
    """Return the median seconds of a sum of each size in bytes, those of the slowest rank each time.

    The first number of each pair is that of messages, the second one that of shared memory, if the ranks share it.
    """
    ranks = Ranks(import_mpi().COMM_WORLD)

    def median(add: Callable[[], None]) -> float:
        seconds = []
        for _ in range(repeats + 1):
            ranks.wait()
            started = perf_counter()
            add()
            seconds.append(perf_counter() - started)
        return float(statistics.median(map(max, zip(*ranks.gather(seconds[1:])))))

    found = []
    for size in sizes:
        shared = shared_sum(ranks, size // 4, np.float32)
        found.append((median(partial(ranks.sum, np.zeros(size // 4, np.float32))),
                      median(shared.sum) if shared else None))
    return found


def measure_sums(ranks: int, sizes: Sequence[int], repeats: int) -> list[tuple[float, float | None]]:
    """Start so many ranks, and return their `sums`."""
    command = [*launcher(ranks), sys.executable, "-m", "mpi4py", "-m", "benchmarks.scaling.ranks", json.dumps(sizes),
               str(repeats)]
    output = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    medians: list[tuple[float, float | None]] = json.loads(output)
    return medians


if __name__ == "__main__":
    found = sums(json.loads(sys.argv[1]), int(sys.argv[2]))
    if import_mpi().COMM_WORLD.rank == 0:
        print(json.dumps(found))
