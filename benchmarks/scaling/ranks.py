"""What runs in each of the ranks that are measured.

    mpiexec -n 2 python -m mpi4py -m benchmarks.scaling.ranks MEGABYTES REPEATS

prints the seconds of an allreduce.
"""

from collections.abc import Sequence
import json
import shutil
import statistics
import subprocess
import sys
from time import perf_counter

import numpy as np

from benchmarks.networks import new_model
from benchmarks.peers import LR, Epoch
from benchmarks.report import ROOT
from datasets import load
from nn import History
from nn.mpi import Ranks, import_mpi
from optimizers import get


def launcher(ranks: int) -> list[str]:
    """Return the command that starts so many ranks: the mpiexec beside this Python, or else that of the system."""
    folder = sys.executable.rpartition("/")[0]
    command = shutil.which("mpiexec", path=folder) or shutil.which("mpiexec")
    if command is None:
        raise RuntimeError("there is no mpiexec: pip install 'feedforward[mpi]'")
    return [command, "-n", str(ranks)]


def turn(ranks: int, widths: Sequence[int], batch: int, steps: int, threads: int | None, dataset: str,
         data_dir: str | None) -> Epoch:
    """Return our epoch, of at most so many steps on batches that are all full if `steps` is not 0.

    With `ranks` 0 the training knows of no ranks. Its seconds leave out only the checks of fit before its first epoch.
    """
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


def allreduce(sizes: Sequence[int], repeats: int) -> list[float]:
    """Return the median seconds of an allreduce of each size in bytes, those of the slowest rank each time."""
    comm = import_mpi().COMM_WORLD
    ranks, medians = Ranks(comm), []
    for size in sizes:
        array, seconds = np.zeros(size // 4, np.float32), []
        for _ in range(repeats + 1):
            comm.Barrier()
            started = perf_counter()
            ranks.sum(array)
            seconds.append(perf_counter() - started)
        medians.append(statistics.median(map(max, zip(*comm.allgather(seconds[1:])))))
    return medians


def measure_allreduce(ranks: int, sizes: Sequence[int], repeats: int) -> list[float]:
    """Start so many ranks, and return their `allreduce`."""
    command = [*launcher(ranks), sys.executable, "-m", "mpi4py", "-m", "benchmarks.scaling.ranks", json.dumps(sizes),
               str(repeats)]
    output = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    medians: list[float] = json.loads(output)
    return medians


if __name__ == "__main__":
    found = allreduce(json.loads(sys.argv[1]), int(sys.argv[2]))
    if import_mpi().COMM_WORLD.rank == 0:
        print(json.dumps(found))
