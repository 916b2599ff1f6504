"""The memory of each rank that trains on a file which does not fit into it.

    mpiexec -n 2 python -m mpi4py -m benchmarks.scaling.memory FOLDER WIDTHS BATCH

prints what each rank needs, as JSON.
"""

from collections.abc import Sequence
import json
from pathlib import Path
import re
import subprocess
import sys
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.networks import new_model
from benchmarks.peers import LR
from benchmarks.report import ROOT
from benchmarks.scaling.ranks import launcher
from benchmarks.scaling.settings import Settings
from benchmarks.speed import WORKLOADS
from datasets import open_rows
from nn import Model
from nn.mpi import Ranks, import_mpi
from optimizers import get

EPOCHS = 3


def write_rows(folder: Path, rows: int, images: np.ndarray, labels: np.ndarray) -> None:
    """Write a file .npy of so many images, and one of their labels, a part at a time."""
    for name, array in (("x", images), ("y", labels)):
        out = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", array.dtype, (rows, *array.shape[1:]))
        for start in range(0, rows, len(array)):
            out[start : start + len(array)] = array[: rows - start]
        out.flush()


def megabytes(field: str) -> float:
    """Return a number of /proc/self/status, such as VmRSS, in megabytes."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024 / 1e6


def train(model: Model, folder: Path, batch: int, in_memory: bool, comm: Any) -> list[float]:
    """Train on the rows of a folder; return the seconds of each epoch."""
    options: dict[str, Any] = {"progress": False, "threads": 1, "comm": comm}
    if in_memory:
        x, y = np.load(folder / "x.npy"), np.load(folder / "y.npy")
        history = model.fit(x, y, get("adam", lr=LR), EPOCHS, batch, **options)
    else:
        history = model.fit_rows(open_rows(folder), get("adam", lr=LR), EPOCHS, batch, **options)
    return [float(seconds) for seconds in np.diff([0.0, *history["seconds"]])]


def needs(folder: Path, widths: Sequence[int], batch: int, in_memory: bool = False) -> list[dict[str, float]]:
    """Train on all ranks; return of each what it needed before, at most while it trained, and the best epoch."""
    comm = import_mpi().COMM_WORLD
    model = new_model(tuple(widths))
    before = megabytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins again
    seconds = train(model, folder, batch, in_memory, comm)
    return Ranks(comm).gather({"before": before, "peak": megabytes("VmHWM"), "seconds": min(seconds)})


def memory(settings: Settings) -> dict[str, Any]:
    """Return the megabytes of a file, and what each rank needs to train on it, by blocks and in memory."""
    data, found = settings.load(), []
    name = settings.workloads[-1]
    with TemporaryDirectory() as text:
        folder = Path(text)
        write_rows(folder, settings.file_rows, data.x_train, data.y_train)
        size = (folder / "x.npy").stat().st_size / 1e6
        for ranks, in_memory in tqdm([(1, True), *((ranks, False) for ranks in settings.ranks)], desc="memory"):
            widths, batch = json.dumps(settings.widths(name, data)), str(WORKLOADS[name][1])
            command = [*launcher(ranks), sys.executable, "-m", "mpi4py", "-m", __name__, text, widths, batch,
                       *["in memory"] * in_memory]
            output = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
            found.append({"ranks": ranks, "in memory": in_memory, "of each": json.loads(output)})
    return {"workload": name, "rows": settings.file_rows, "megabytes": size, "runs": found}


if __name__ == "__main__":
    result = needs(Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3]), len(sys.argv) > 4)
    if import_mpi().COMM_WORLD.rank == 0:
        print(json.dumps(result))
