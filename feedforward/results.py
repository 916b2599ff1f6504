"""Results: the runs of an experiment, as a table and as figures."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
import statistics
from typing import TYPE_CHECKING, Any, overload

from feedforward.data import Data, class_names, classes_of_test, without_training
from feedforward.folder import CONFIG, collect_errors, save_figure, write_json
from feedforward.report import MAX_CLASSES, comparison_page, write_page
from feedforward.run import Run
from nn import Dense, History, Model
from nn.model import Scores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Results"]

AXES = {"comparison": "epoch", "comparison-seconds": "seconds", "comparison-passes": "passes"}


class Results(Sequence[Run]):
    """The runs of an experiment: a sequence of them, which prints as a table.

    Parameters
    ----------
    runs : list of Run
        The runs, one for each optimizer and seed.
    data : Dataset or LargeDataset
        The data that they were trained on.
    folder : Path or None
        The folder of the files; None if nothing is written.

    Examples
    --------
    >>> import feedforward as ff
    >>> results = ff.Experiment(dataset="digits", optimizer=["gd", "adam"], epochs=3).run(progress=False)
    >>> [run.name for run in results]
    ['gd', 'adam']
    >>> results["adam"].test["accuracy"] > results["gd"].test["accuracy"]
    True
    """

    def __init__(self, runs: list[Run], data: Data, folder: Path | None) -> None:
        self.runs, self.folder = runs, folder
        self._problems: list[str] = []
        self._data = without_training(data)  # figures show only the test data

    def __len__(self) -> int:
        return len(self.runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs)

    @overload
    def __getitem__(self, key: int | str) -> Run: ...
    @overload
    def __getitem__(self, key: slice) -> list[Run]: ...
    def __getitem__(self, key: int | str | slice) -> Run | list[Run]:
        """Return the run at an index, or the first run of that name."""
        if not isinstance(key, str):
            return self.runs[key]
        for run in self.runs:
            if run.name == key:
                return run
        raise KeyError(f"no run is named {key!r}: choose from {', '.join(self.by_name())}")

    @property
    def model(self) -> Model:
        """The model of the only run. Raises ValueError if there are several."""
        return self._only().model

    @property
    def history(self) -> History:
        """The history of the only run. Raises ValueError if there are several."""
        return self._only().history

    def _only(self) -> Run:
        if len(self.runs) != 1:
            raise ValueError(f"there are {len(self.runs)} runs: choose one, such as results[0] or "
                             f"results[{self.runs[0].name!r}]" if self.runs else "there are no runs")
        return self.runs[0]

    @property
    def interrupted(self) -> bool:
        """Whether a run was stopped before its last epoch."""
        return any(run.interrupted for run in self.runs)

    def by_name(self) -> dict[str, list[Run]]:
        """Return the runs of each name.

        Returns
        -------
        dict
            For each name its runs, one for each seed.
        """
        return {name: [run for run in self.runs if run.name == name]
                for name in dict.fromkeys(run.name for run in self.runs)}

    def histories(self) -> dict[str, list[History]]:
        """Return the histories of each name, as nn.plots.compare takes them.

        Returns
        -------
        dict
            For each name the histories of its runs, one for each seed.
        """
        return {name: [run.history for run in runs] for name, runs in self.by_name().items()}

    def rows(self) -> list[list[str]]:
        """Return the cells of the table: a head, and a row for each name.

        Returns
        -------
        list of list of str
            Epochs, seconds, and the scores of the trained models: means and population standard deviations over seeds.
        """
        rows = [["", "epochs", "seconds", "training loss", "accuracy", "test loss", "accuracy"]]
        for name, runs in self.by_name().items():
            seconds = statistics.mean(run.history[-1]["seconds"] if run.history else 0.0 for run in runs)
            epochs = statistics.mean(len(run.history) for run in runs)
            training, test = [run.training for run in runs], [run.test for run in runs]
            rows.append([name, f"{epochs:g}", f"{seconds:.1f}",
                         _mean(training, "loss", 1, "{:.4f}"), _mean(training, "accuracy", 100, "{:.2f} %"),
                         _mean(test, "loss", 1, "{:.4f}"), _mean(test, "accuracy", 100, "{:.2f} %")])
        return rows

    def table(self) -> str:
        """Return a table with a row for each name: `rows` as text.

        Returns
        -------
        str
            Several lines, of which the first says what was trained.
        """
        rows = self.rows()
        columns = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ["  ".join(f"{cell:<{width}}" if i == 0 else f"{cell:>{width}}"
                           for i, (cell, width) in enumerate(zip(row, columns))) for row in rows]
        return "\n".join([self.title(), *lines])

    def __repr__(self) -> str:
        """Return the table, and below it what the optimizers reported, and why runs failed."""
        lines = [f"{run.full_name}: {message}" for run in self.runs for message in run.messages]
        lines += [line for run in self.runs for line in run.found_rates()]
        lines += [f"{run.full_name}, failed: {run.error}" for run in self.runs if run.error]
        return "\n".join([self.table(), *lines])

    def title(self) -> str:
        """Return the dataset and the widths of the network.

        Returns
        -------
        str
            Such as "digits, 64-50-10".
        """
        model = self.runs[0].model
        widths = [model.n_in, *(layer.n_out for layer in model.layers if isinstance(layer, Dense))]
        return f"{self._data.name}, {'-'.join(map(str, widths))}"

    def figures(self) -> "dict[str, Figure]":
        """Return the figures.

        Returns
        -------
        dict of matplotlib Figure
            For one run, "curves" and, if it classifies, "confusion". For several runs, "comparison" (against epochs),
            "comparison-seconds" and "comparison-passes".
        """
        from nn import plots

        if len(self.runs) > 1:
            return {name: plots.compare(self.histories(), against, self.title(), validation="test")
                    for name, against in AXES.items()}
        run, data = self.runs[0], self._data
        title = f"{data.name}, {run.name}"
        curves = {"curves": plots.curves(run.history, title, validation="test")}
        names = class_names(run.model, data)
        if not run.model.classifies or len(names) > MAX_CLASSES:
            return curves
        true, predicted = classes_of_test(run.model, data)
        return {**curves, "confusion": plots.confusion(true, predicted, names or None, f"{title}: test data")}

    def write(self, folder: Path, config: Mapping[str, Any], figures: bool = True) -> None:
        """Write the figures and, if there are several runs, the configuration with the results of all.

        Parameters
        ----------
        folder : Path
            A folder that exists.
        config : mapping
            The configuration, as it is written to JSON.
        figures : bool
            Whether to write the figures as files.
        """
        if all(run.refused for run in self.runs):
            return
        if len(self.runs) > 1:
            with collect_errors(self._problems):
                write_json(folder / CONFIG, {**config, "runs": [
                    {"optimizer": run.name, "seed": run.seed, "folder": run.folder and run.folder.name, **run.results()}
                    for run in self.runs]})
        with collect_errors(self._problems):
            for name, figure in self.figures().items() if figures and any(run.history for run in self.runs) else ():
                with collect_errors(self._problems):
                    save_figure(figure, folder / f"{name}.png")
        if len(self.runs) > 1:
            with collect_errors(self._problems):
                write_page(folder, comparison_page(self.title(), self.rows()[1:], self.by_name(), config))

    @property
    def problems(self) -> list[str]:
        """Why files or the progress could not be written, each reason once; empty if all was."""
        return list(dict.fromkeys([*(problem for run in self.runs for problem in run.problems), *self._problems]))


def _mean(scores: Sequence[Scores | None], key: str, factor: int, style: str) -> str:
    """Return the mean of a score over the runs that have it, with the standard deviation if there are several."""
    present = [score.get(key) for score in scores if score is not None]
    values = [factor * value for value in present if isinstance(value, float)]
    if not values:
        return "-"
    spread = f" ± {style.format(statistics.pstdev(values))}" if len(values) > 1 else ""
    return style.format(statistics.mean(values)) + spread
