"""Repeat: train again exactly what a run folder describes, and compare the bytes."""

from collections.abc import Callable
import csv
import os
from pathlib import Path
from typing import Any
import warnings

from feedforward.experiment import read_experiment
from feedforward.folder import CONFIG, HISTORY, MODEL, changed_environment, read_config
from feedforward.results import Results
from feedforward.run import Stop
from nn.distributed import together
from nn.mpi import Ranks

__all__ = ["repeat"]


def repeat(run: str | os.PathLike[str], folder: str | os.PathLike[str] | None = None, *, progress: bool = True,
           figures: bool = True, stop: Stop | None = None,
           notify: Callable[[str], None] = warnings.warn, comm: Any = None) -> tuple[Results, list[str]]:
    """Train again what a run folder describes, and compare the files.

    Parameters
    ----------
    run : str or path-like
        The folder of an experiment.
    folder : str or path-like, optional
        A new or empty folder for the second training; by default a new one below runs/.
    progress : bool
        Whether to show progress on stderr.
    figures : bool
        Whether to write the figures.
    stop : Stop, optional
        As for `Experiment.run`.
    notify : callable
        Called with a message if versions, processor or the number of cores or ranks have changed since.
    comm : mpi4py.MPI.Intracomm, optional
        As for `Experiment.run`. Rank 0 alone compares.

    Returns
    -------
    results : Results
        The results of the second training.
    differences : list of str
        What differs from the first: empty if the weights and the histories have the same bytes, except for seconds.

    Raises
    ------
    ValueError, OSError, datasets.DataError
        If it is not a run folder, or the data are not available.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import feedforward as ff
    >>> with TemporaryDirectory() as first, TemporaryDirectory() as second:
    ...     results = ff.Experiment(dataset="digits", epochs=2).run(first, progress=False, figures=False)
    ...     results, differences = ff.repeat(first, second, progress=False, figures=False)
    >>> differences
    []
    """
    ranks = Ranks(comm)
    with together(ranks):
        config = read_config(run) if ranks.rank == 0 else {}
    config = ranks.broadcast(config)
    with together(ranks):
        experiment = read_experiment(run, config=config)
    if ranks.rank == 0 and (changes := changed_environment(config, ranks.size)):
        notify(f"bytes may differ by rounding: {changes}")
    results = experiment.run(folder or True, progress=progress, figures=figures, stop=stop, notify=notify, comm=comm)
    if results.folder is None:  # another rank than 0
        return results, []
    if results.interrupted:
        return results, ["it was interrupted, so nothing was compared"]
    pairs = [(Path(run), results.folder)] if "stages" in config else [
        (Path(run) / again.folder.name, again.folder) for again in results if again.folder is not None]
    return results, [difference for first, second in pairs for difference in compare(first, second)]


def compare(first: Path, second: Path) -> list[str]:
    """Return how the files of two runs differ. An interrupted first run is compared as far as it went."""
    if not (first / CONFIG).is_file():
        return [f"{first} does not exist"]
    outcome = read_config(first).get("results")
    if not isinstance(outcome, dict):
        return [f"{first} holds no results: its training has not ended"]
    rows, again = _rows(first / HISTORY), _rows(second / HISTORY)
    if outcome.get("interrupted"):
        again = again[: len(rows)]
    differences = [f"{second / HISTORY} differs from {first / HISTORY}, first in line {line}"
                   for line in range(1, max(len(rows), len(again)) + 1)
                   if rows[line - 1 : line] != again[line - 1 : line]][:1]
    same_weights = outcome.get("interrupted") or (first / MODEL).read_bytes() == (second / MODEL).read_bytes()
    return differences if same_weights else [*differences, f"{second / MODEL} differs from {first / MODEL}"]


def _rows(path: Path) -> list[list[str]]:
    """Return the lines of a history, without the seconds."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    left_out = rows[0].index("seconds") if rows and "seconds" in rows[0] else -1
    return [[value for i, value in enumerate(row) if i != left_out] for row in rows]
