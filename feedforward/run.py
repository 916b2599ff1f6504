"""Run: one training from one seed, and the threads on which several run at once."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
import copy
from dataclasses import dataclass, field
import os
from pathlib import Path
import queue
from typing import Any

from datasets import Dataset
from feedforward.folder import write_json
from nn import CSVLog, Diverged, History, Model, Progress
from nn.model import Scores
from optimizers import Optimizer, hyperparameters

__all__ = ["Run"]

RunCallbacks = Sequence[Any] | Callable[["Run"], Sequence[Any]]


@dataclass
class Stage:
    """An optimizer, the number of epochs that it trains for, and its batch size."""

    name: str
    optimizer: Optimizer
    epochs: int
    batch_size: int

    def description(self) -> dict[str, Any]:
        """Return the stage as it is written to config.json."""
        optimizer = getattr(self.optimizer, "optimizer", self.optimizer)  # without its schedule
        return {"optimizer": self.name, "fields": hyperparameters(optimizer), "epochs": self.epochs,
                "batch_size": self.batch_size}


@dataclass
class Run:
    """One training from one seed: a model, the stages of its training, and their results.

    An `Experiment` makes them.

    Parameters
    ----------
    name : str
        The optimizer, or the stages, such as "adam:20+lbfgs".
    seed : int
        The seed of the model.
    stages : list of Stage
        The stages, in order.
    model : Model
        The model, trained up to now.
    history : History
        The dicts of all epochs.
    folder : Path or None
        The folder of its files; None if nothing is written.
    training, test : dict or None
        The loss and the accuracy of the model on both parts of the data, after the run.
    error : str
        Why the run failed; empty if it did not fail.
    messages : list of str
        What the optimizers reported, such as steps that could not change the weights.
    interrupted : bool
        Whether the run was stopped before its last epoch.

    Examples
    --------
    >>> import feedforward as ff
    >>> run = ff.Experiment("adam:2+gd", dataset="digits", epochs=3).run(progress=False)[0]
    >>> run.name, len(run.history), run.error
    ('adam:2+gd', 3, '')
    """

    name: str
    seed: int
    stages: list[Stage]
    model: Model
    history: History = field(default_factory=History)
    folder: Path | None = None
    training: Scores | None = None
    test: Scores | None = None
    error: str = ""
    messages: list[str] = field(default_factory=list)
    interrupted: bool = False

    def forms(self) -> dict[str, str]:
        """Return the forms that second-order methods have chosen.

        Returns
        -------
        dict
            The form by the name of the stage.
        """
        forms = ((stage.name, getattr(stage.optimizer, "form_used", "")) for stage in self.stages)
        return {name: form for name, form in forms if form}

    def results(self) -> dict[str, Any]:
        """Return the results as they are written to config.json.

        Returns
        -------
        dict
            Epochs, scores, messages and so on; empty before the run has ended.
        """
        if self.training is None and not self.error:
            return {}
        return {"epochs": len(self.history), "training": self.training, "test": self.test,
                "failed": self.error or None, "messages": self.messages, "forms": self.forms(),
                "interrupted": self.interrupted}

    def train(self, data: Dataset, callbacks: Sequence[Any], threads: int | None, config: dict[str, Any]) -> None:
        """Train stage by stage. If the run has a folder, write its files, even if training fails.

        Parameters
        ----------
        data : Dataset
            The data to train on.
        callbacks : sequence
            The callbacks of every stage.
        threads : int or None
            As for `Model.fit`.
        config : dict
            The content of config.json that describes the experiment.
        """
        callbacks = list(callbacks)
        config = {**config, "stages": [stage.description() for stage in self.stages], "seed": self.seed,
                  "model": self.model.components().description()}
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self.folder / "config.json", config)
            callbacks.append(CSVLog(self.folder / "history.csv"))
        try:
            for stage in self.stages:
                self.model.fit(data.x_train, data.y_train, stage.optimizer, stage.epochs, stage.batch_size,
                               (data.x_test, data.y_test), callbacks, progress=False, history=self.history,
                               threads=threads)
                self.messages += [f"{stage.name}: {self.history.message}"] if self.history.message else []
                if self.model.stop_training:
                    break
        except (Diverged, ValueError) as error:
            self.error = str(error)
        finally:  # also after an interrupt
            if self.folder is not None:
                self.model.save(self.folder / "model.safetensors")
        self.interrupted = any(getattr(callback, "requested", False) for callback in callbacks)
        with suppress(ValueError):  # of data that do not fit; then fit has failed in the same way
            self.training = self.model.evaluate(data.x_train, data.y_train)
            self.test = self.model.evaluate(data.x_test, data.y_test)
        if self.folder is not None:
            write_json(self.folder / "config.json", {**config, "results": self.results()})


class Stop:
    """A callback that ends training after the current step, once `requested` is True."""

    requested = False

    def on_fit_begin(self, model: Model, plan: Any) -> None:
        """Stop before the first step, if requested."""
        self.on_step_end(model, 0)

    def on_step_end(self, model: Model, examples: int) -> None:
        """Stop after a step, if requested."""
        model.stop_training = model.stop_training or self.requested


def train_all(runs: Sequence[Run], data: Dataset, *, jobs: int | None, threads: int | None, callbacks: RunCallbacks,
              progress: bool, title: Callable[[Run], str], stop: Stop, config: dict[str, Any]) -> None:
    """Train every run, `jobs` of them at once, each with its share of BLAS's threads.

    A function `callbacks` is called with each run. Of a sequence, each run gets a deep copy if there are several.
    """
    from threadpoolctl import threadpool_limits

    cores = os.cpu_count() or 1
    jobs = min(len(runs), jobs or cores)
    positions: queue.SimpleQueue[int | None] = queue.SimpleQueue()  # the free lines of the terminal
    for position in range(jobs):
        positions.put(position if jobs > 1 else None)

    def own_callbacks(run: Run) -> Sequence[Any]:
        if callable(callbacks):
            return callbacks(run)
        return callbacks if len(runs) == 1 else copy.deepcopy(list(callbacks))

    def train(run: Run) -> None:
        if stop.requested and len(runs) > 1:  # a single run writes its files even then
            run.interrupted = True
            return
        position = positions.get()
        progress_bars = [Progress(title(run), "images", position, 10 if len(runs) == 1 else 1)] if progress else []
        try:
            run.train(data, [*progress_bars, stop, *own_callbacks(run)], threads, config)
        finally:
            positions.put(position)

    if jobs == 1:
        for run in runs:
            train(run)
        return
    with threadpool_limits(max(1, cores // jobs), "blas"), ThreadPoolExecutor(jobs) as pool:
        for future in [pool.submit(train, run) for run in runs]:
            future.result()
