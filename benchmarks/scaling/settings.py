"""How much is measured: all of it, or a short form that takes seconds, for tests."""

from dataclasses import dataclass
import os

from benchmarks.speed import WORKLOADS
from datasets import Dataset, load


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Parameters
    ----------
    dataset : str
        The dataset: its images determine the first width of each network.
    data_dir : str or None
        The folder of its files.
    workloads : tuple of str
        The names of the workloads of `benchmarks.speed`.
    rounds : int
        The rounds of all turns.
    steps : int
        The largest number of steps in a turn that does not train an epoch.
    ranks : tuple of int
        The numbers of ranks.
    rows : tuple of int
        The numbers of examples of which a gradient is measured.
    message_bytes : tuple of int
        The sizes of messages.
    repeats : int
        How often each message is sent.
    batches : tuple of int
        The sizes of batches for the rule of the learning rate; the first is the one whose learning rate is known.
    seeds, epochs : int
        The number of seeds, and of epochs, of these trainings.
    passes : int
        The passes that second-order methods train for.
    timed_steps : int
        The steps of second-order methods whose work is measured on the large networks.
    regressions : tuple of int
        The hidden units of the networks of which Levenberg-Marquardt makes triangles.
    file_rows : int
        The rows of the file that ranks train on without holding it in memory.
    """

    dataset: str = "mnist"
    data_dir: str | None = None
    workloads: tuple[str, ...] = tuple(WORKLOADS)
    rounds: int = 9
    steps: int = 60
    ranks: tuple[int, ...] = (1, 2, 4)
    rows: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1500, 6000)
    message_bytes: tuple[int, ...] = tuple(4**k for k in range(1, 13))
    repeats: int = 200
    batches: tuple[int, ...] = (128, 512, 2048, 8192)
    seeds: int = 3
    epochs: int = 10
    passes: int = 100
    timed_steps: int = 5
    regressions: tuple[int, ...] = (30, 100)
    file_rows: int = 400_000

    def load(self) -> Dataset:
        """Return the dataset."""
        return load(self.dataset, self.data_dir)

    def widths(self, workload: str, data: Dataset) -> tuple[int, ...]:
        """Return the widths of the layers of a workload, for this dataset."""
        return (data.x_train.shape[1], *WORKLOADS[workload][0][1:])


SHORT = Settings(dataset="digits", workloads=("small",), rounds=1, steps=2, ranks=(1, 2), rows=(1, 16, 128),
                 message_bytes=(4, 1024), repeats=3, batches=(128, 512), seeds=1, epochs=2, passes=4, timed_steps=2,
                 regressions=(3,), file_rows=3000)


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
