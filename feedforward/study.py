"""Studies: several runs of an experiment, each on one of several ranks."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
import sys
from threading import Event, RLock, Thread
from time import monotonic
from typing import Any

from feedforward.data import Data
from feedforward.large import LargeDataset
from feedforward.run import Run, RunCallbacks, Stop, own_callbacks, tell
from nn.agreement import versions
from nn.checkpoint import fingerprint
from nn.distributed import check_same
from nn.history import Epoch
from nn.model import Model
from nn.mpi import Ranks
from optimizers import OPTIMIZERS, FirstOrder

PERIOD = 0.2  # seconds between two messages about the epochs of a run
SECOND_ORDER = 20  # by how much an epoch of a second-order method is taken to be longer

_train: Callable[[int], Run]  # trains a run of the study on this rank; set on all ranks before any run begins


def _work(index: int) -> Run:
    return _train(index)


def check_same_experiment(ranks: Ranks, description: Mapping[str, Any], data: Data) -> None:
    """Raise ValueError, on all ranks, if ranks have another experiment, other data or other versions."""
    facts = {name: repr(value) for name, value in description.items() if name not in ("data_dir", "dataset", "jobs")}
    arrays = () if isinstance(data, LargeDataset) else (data.x_train, data.y_train, data.x_test, data.y_test)
    facts |= {"dataset": data.name, "training examples": str(data.n_train), "test examples": str(data.n_test),
              "data": fingerprint(*arrays), **versions()}
    check_same(ranks.gather(facts), "cannot train together", "; give all ranks the same data and settings")


def duration(run: Run) -> float:
    """Return how long a run is expected to take, in proportion to others of the same experiment."""
    return sum(stage.epochs * (1 if issubclass(OPTIMIZERS[stage.name], FirstOrder) else SECOND_ORDER)
               for stage in run.stages)


def train_on_ranks(runs: Sequence[Run], data: Data, ranks: Ranks, *, threads: int | None, callbacks: RunCallbacks,
                   progress: bool, stop: Stop, config: dict[str, Any], checkpoint_every: int | str | None,
                   figures: bool) -> None:
    """Train whole runs on the ranks, the longest first; then all ranks have the results of all runs.

    The runs are the same on all ranks. Rank 0 gives the others a run whenever they have none, also trains, and shows
    the progress of all.
    """
    global _train
    share = ranks.threads()

    def train_here(index: int) -> Run:
        run = runs[index]
        report = Report(run, ranks)
        if stop.requested:
            run.interrupted = True
        else:
            own = own_callbacks(callbacks, run, copies=True)
            run.train(data, [report, stop, *own], threads, share, config, checkpoint_every, tell if progress else None,
                      figures)
        report.tell(f"{run.full_name}, failed: {run.error}" if run.error else report.text, ended=True)
        return run

    def train_or_end(index: int) -> Run:
        try:
            return train_here(index)
        except BaseException as error:  # otherwise it would be raised on rank 0 after all other runs
            ranks.end_all(error)
            raise

    _train = train_or_end
    waiting = deque(sorted(range(len(runs)), key=lambda index: -duration(runs[index])))
    futures: dict[int, Future[Run]] = {}
    lock = RLock()  # a run may end before give() has added itself to it, which then calls it at once

    with ranks.pool() as pool:
        if pool is not None:  # rank 0; the others return from pool() when all is done
            def give(done: Any = None) -> None:
                with lock:
                    if waiting:
                        index = waiting.popleft()
                        futures[index] = pool.submit(_work, index)
                        futures[index].add_done_callback(give)

            with Table(len(runs), ranks, progress):
                for _ in range(ranks.size - 1):
                    give()
                while waiting:
                    with lock:
                        index = waiting.popleft() if waiting else None
                    if index is not None:
                        train_or_end(index)
                with lock:  # the last run may just be given
                    given = list(futures.items())
                for index, future in given:
                    vars(runs[index]).update(vars(future.result()))
    for run, trained in zip(runs, ranks.broadcast(runs)):
        vars(run).update(vars(trained))


class Report:
    """A callback that tells rank 0 how far a run has come.

    Parameters
    ----------
    run : Run
        The run.
    ranks : Ranks
        The ranks.
    """

    def __init__(self, run: Run, ranks: Ranks) -> None:
        self.text, self._run, self._ranks, self._told = run.full_name, run, ranks, 0.0
        self._last = sum(stage.epochs for stage in run.stages)

    def on_epoch_end(self, model: Model, epoch: Epoch) -> None:
        """Tell it, but not more often than people can read."""
        accuracy = epoch["val_accuracy"]
        self.text = f"{self._run.full_name} {epoch['epoch']}/{self._last}  loss {epoch['loss']:.4f}" + (
            "" if accuracy is None else f"  test {accuracy:.2%}")
        if monotonic() - self._told > PERIOD:
            self._told = monotonic()
            self.tell(self.text, ended=False)

    def tell(self, text: str, ended: bool) -> None:
        """Send a text about the run, and whether it has ended, to rank 0."""
        self._ranks.post((self._ranks.rank, text, ended))


class Table:
    """The progress of a study: on a terminal, a line for each rank and one for all runs; else a line when a run ends.

    Parameters
    ----------
    total : int
        The number of runs.
    ranks : Ranks
        The ranks.
    shows : bool
        Whether to show it.
    """

    def __init__(self, total: int, ranks: Ranks, shows: bool) -> None:
        self._total, self._ranks, self._shows, self._done = total, ranks, shows, 0
        self._lines: list[Any] = []
        self._complete, self._end = Event(), Event()
        self._thread = Thread(target=self._listen, daemon=True)  # the main thread trains

    def __enter__(self) -> "Table":
        if self._shows and sys.stderr is not None and sys.stderr.isatty():
            from tqdm import tqdm

            formats = [*(self._ranks.size * ["{desc}"]), "{n_fmt} of {total_fmt} runs |{bar}| {elapsed}"]
            self._lines = [tqdm(total=self._total, position=position, leave=False, bar_format=text, file=sys.stderr)
                           for position, text in enumerate(formats)]
        self._thread.start()
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        if kind is None:  # what a rank has posted may arrive after its results
            self._complete.wait()
        self._end.set()
        self._thread.join()
        for line in self._lines:
            line.close()

    def _listen(self) -> None:
        while not self._end.wait(PERIOD):
            self._show()
        self._show()

    def _show(self) -> None:
        for rank, text, ended in self._ranks.received():
            self._done += ended
            if self._lines:
                self._lines[rank].set_description_str(f"rank {rank}: {text}")
                self._lines[-1].update(int(ended))
            elif ended and self._shows:
                tell(f"{self._done} of {self._total} runs: {text}")
        if self._done == self._total:
            self._complete.set()
