"""Run: one training from one seed, and the threads on which several run at once."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import nullcontext, suppress
import copy
from dataclasses import dataclass, field
from functools import partial
import os
from pathlib import Path
import queue
import sys
from threading import Lock
from typing import Any

import numpy as np

from datasets import DataError
from feedforward.data import Data, evaluate, fit, ignore
from feedforward.folder import CONFIG, HISTORY, MODEL, collect_errors, read_config, reason, save_figure, write_json
from feedforward.large import LargeDataset
from feedforward.stages import AUTO, Stage
from nn import Checkpoint, CSVLog, Diverged, History, Model, Progress, blas
from nn.archive import one_line_errors
from nn.checkpoint import Saved
from nn.distributed import together
from nn.fields import Count, Positive, check_value
from nn.model import Scores
from nn.mpi import Ranks

__all__ = ["Run"]

CHECKPOINT = "checkpoint.safetensors"
RunCallbacks = Sequence[Any] | Callable[["Run"], Sequence[Any]]
ALONE = Ranks()
drawing = Lock()  # matplotlib does not promise that several threads can draw at once


@dataclass
class Run:
    """One training from one seed: a model, the stages of its training, and their results.

    An `Experiment` makes them.

    Parameters
    ----------
    name : str
        The optimizer or the stages, such as "adam:20+lbfgs", and the lr if runs differ in it, such as "adam lr=0.1".
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
    refused : bool
        Whether the run could not be continued: the files of its folder are as they were.
    on_begin : callable, optional
        Called when training begins, unless the run could not be continued.
    on_end : callable, optional
        Called with the run, the data and the content of config.json when all files of the run are written.
    problems : list of str
        Why output, such as a file or the progress, could not be written. Training has not ended for that reason.

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
    refused: bool = False
    problems: list[str] = field(default_factory=list)
    on_begin: Callable[[], None] | None = None  # called when training begins, unless it cannot be continued
    on_end: Callable[["Run", Data, Mapping[str, Any]], None] | None = None

    def forms(self) -> dict[str, str]:
        """Return the forms that second-order methods have chosen.

        Returns
        -------
        dict
            The form by the name of the stage.
        """
        forms = ((stage.name, getattr(stage.optimizer, "form_used", "")) for stage in self.stages)
        return {name: form for name, form in forms if form}

    @property
    def full_name(self) -> str:
        """The name and the seed, such as "adam, seed 0"."""
        return f"{self.name}, seed {self.seed}"

    def found_rates(self) -> list[str]:
        """Return the learning rates that range tests have found.

        Returns
        -------
        list of str
            A line for each, such as "adam, seed 0: the range test has found lr 0.0196".
        """
        return [f"{self.full_name}: the range test has found lr {stage.found_lr:.3g}"
                + (f" for {stage.name}" if len(self.stages) > 1 else "")
                for stage in self.stages if stage.found_lr is not None]

    def results(self) -> dict[str, Any]:
        """Return the results as they are written to config.json.

        Returns
        -------
        dict
            Epochs, scores, messages and so on; empty before the run has ended.
        """
        if self.refused and self.folder is not None:
            with suppress(ValueError, OSError):
                return dict(read_config(self.folder)["results"])
        if self.training is None and not self.error:
            return {}
        return {"epochs": len(self.history), "training": self.training, "test": self.test,
                "failed": self.error or None, "messages": self.messages, "forms": self.forms(),
                "interrupted": self.interrupted}

    def train(self, data: Data, callbacks: Sequence[Any], threads: int | None, share: int | None,
              config: dict[str, Any], checkpoint_every: int | str | None = None,
              notify: Callable[[str], None] | None = None, figures: bool = True, ranks: Ranks = ALONE) -> None:
        """Train stage by stage. If the run has a folder, write its files, even if training fails.

        If its folder holds a checkpoint, training continues from there.

        Parameters
        ----------
        data : Dataset or LargeDataset
            The data to train on.
        callbacks : sequence
            The callbacks of every stage.
        threads : int or None
            As for `Model.fit`. If it is None, training continues with the number of its checkpoint.
        share : int or None
            The number of threads if there is no checkpoint either.
        config : dict
            The content of config.json that describes the experiment.
        checkpoint_every : int or str, optional
            As for `Checkpoint`.
        notify : callable, optional
            Called with a message that says where training continues, or which learning rate was found.
        figures : bool
            Whether to write the figures of range tests, if there is a folder.
        ranks : Ranks
            The ranks that train this run together, of which only rank 0 has a folder.
        """
        notify = notify or ignore
        config = {**config, "seed": self.seed, "model": self.model.components().description()}
        callbacks, checkpoint, begins = list(callbacks), None, OnFitBegin(partial(self._begin, config))
        continues = ranks.broadcast(self.folder is not None and (self.folder / CONFIG).exists())
        try:
            with together(ranks):
                if self.folder is not None:
                    self.folder.mkdir(parents=True, exist_ok=True)
                    checkpoint = Checkpoint(self.folder / CHECKPOINT, checkpoint_every)
                    # what follows the checkpoint writes only if the training can be continued
                    callbacks += [checkpoint, begins, CSVLog(self.folder / HISTORY)]
                self._restore_rates()
                saved = None if checkpoint is None else self._read(checkpoint)
            saved = ranks.broadcast(saved)
            self._share_rates(ranks)
            with together(ranks):
                first, before, saved_threads = self._restore(checkpoint or Checkpoint(""), callbacks, saved, ranks.size)
            threads = threads or saved_threads or share
        except (ValueError, OSError, MemoryError) as error:  # nothing has been trained, and nothing is overwritten
            self.error, self.refused = reason(error), continues
            return
        if continues:
            notify(self._position())
        try:
            self._train_stages(data, callbacks, threads, checkpoint, first, before, notify, figures, ranks)
        except (Diverged, DataError, ValueError, OSError, MemoryError) as error:
            self.error = reason(error)
            self.refused = ranks.broadcast(continues and not begins.done)  # only that of rank 0 has a folder
        finally:  # also after an interrupt
            if self.folder is not None and not self.refused:
                with collect_errors(self.problems):
                    self.folder.mkdir(parents=True, exist_ok=True)  # it may have been removed
                    self.model.save(self.folder / MODEL)
        if self.refused:
            return
        self.problems += [str(callback.error) for callback in callbacks if getattr(callback, "error", "")]
        self.interrupted = any(ranks.gather(any(getattr(callback, "requested", False) for callback in callbacks)))
        if ranks.rank == 0 or isinstance(data, LargeDataset):
            self._evaluate(data, threads, ranks)
        self.training, self.test = ranks.broadcast((self.training, self.test))
        self._write_config({**config, "results": self.results()})
        if self.on_end is not None:
            with collect_errors(self.problems):
                self.on_end(self, data, config)

    def _evaluate(self, data: Data, threads: int | None, ranks: Ranks) -> None:
        # a ValueError or DataError: the data do not fit; then fit has failed in the same way
        with (collect_errors(self.problems), suppress(ValueError, DataError),
              np.errstate(over="ignore", invalid="ignore"), blas.limited(threads) if threads else nullcontext()):
            self.training = evaluate(self.model, data, "train", ranks.comm)
            self.test = evaluate(self.model, data, "test", ranks.comm)

    def _begin(self, config: dict[str, Any]) -> None:
        if self.on_begin is not None:
            with collect_errors(self.problems):
                self.on_begin()
        self._write_config(config)

    def _write_config(self, config: dict[str, Any]) -> None:
        if self.folder is not None:
            with collect_errors(self.problems):
                stages = [stage.description() for stage in self.stages]
                write_json(self.folder / CONFIG, {**config, "stages": stages})

    def _position(self) -> str:
        """Return where training continues."""
        name, done, epochs = self.full_name, len(self.history), sum(s.epochs for s in self.stages)
        position = self.history.position
        if done >= epochs:
            return f"{name}: complete; a larger number of epochs than {epochs} would prolong it"
        if position is not None and position.steps:
            return f"{name}: continues in epoch {done + 1} of {epochs}, step {position.steps + 1} of {position.total}"
        if done:
            return f"{name}: continues in epoch {done + 1} of {epochs}"
        return f"{name}: starts again, because there is no checkpoint"

    def _read(self, checkpoint: Checkpoint) -> Saved | None:
        """Return the content of the last checkpoint; None if this run begins."""
        saved = checkpoint.read()
        if saved is None:
            self._check_incomplete()
        return saved

    def _restore(self, checkpoint: Checkpoint, callbacks: Sequence[Any], saved: Saved | None,
                 ranks: int) -> tuple[int, int, int | None]:
        """Continue from the content of a checkpoint, if there is one.

        Return the stage to begin with, the number of epochs before it, and the number of threads.
        """
        if saved is None:
            return 0, 0, None
        with one_line_errors(saved.path, f"a checkpoint of {self.name}"):
            notes = saved.description["notes"]
            stage, before = range(len(self.stages))[notes["stage"]], int(notes["before"])
            messages, forms = map(str, notes["messages"]), [str(form) for form in notes["forms"]]
            settings = saved.description["settings"]
            threads = check_value("a checkpoint", "threads", Count, settings["threads"])
            if settings.get("ranks", 1) != ranks:
                threads = None
        self.history = checkpoint.restore(self.model, self.stages[stage].optimizer, callbacks, saved)
        self.messages = list(messages)
        for earlier, form in zip(self.stages, forms):
            if hasattr(earlier.optimizer, "form_used"):
                earlier.optimizer.form_used = form
        return stage, before, threads

    def _restore_rates(self) -> None:
        """Set the learning rates that range tests found before the run was interrupted."""
        path = None if self.folder is None else self.folder / CONFIG
        if path is None or not path.exists() or not any(stage.finds_lr for stage in self.stages):
            return
        saved = read_config(path.parent)
        with one_line_errors(path, "the configuration of a run"):
            for i, stage in enumerate(self.stages):
                if stage.finds_lr and (lr := saved["stages"][i]["fields"]["lr"]) != AUTO:
                    stage.set_lr(check_value("a stage", "lr", Positive, lr))

    def _share_rates(self, ranks: Ranks) -> None:
        """Give all ranks the learning rates that range tests have found."""
        for stage, lr in zip(self.stages, ranks.broadcast([stage.found_lr for stage in self.stages])):
            if lr is not None and stage.found_lr is None:
                stage.set_lr(lr)

    def _check_incomplete(self) -> None:
        """Raise ValueError if the folder holds a complete run: without a checkpoint it cannot be continued."""
        if self.folder is None or not (self.folder / CONFIG).exists():
            return
        results = read_config(self.folder).get("results")
        if isinstance(results, dict) and not results.get("failed") and not results.get("interrupted"):
            raise ValueError(f"{self.folder} holds a complete run, but no {CHECKPOINT} from which to continue")

    def _train_stages(self, data: Data, callbacks: Sequence[Any], threads: int | None,
                      checkpoint: Checkpoint | None, first: int, before: int, notify: Callable[[str], None],
                      figures: bool, ranks: Ranks) -> None:
        for number, stage in enumerate(self.stages[first:], first):
            with together(ranks):
                if stage.finds_lr and stage.found_lr is None and ranks.rank == 0:
                    self._find_lr(number, data, threads, notify, figures)
            self._share_rates(ranks)
            if checkpoint is not None:
                checkpoint.notes = {
                    "stage": number, "before": before, "messages": list(self.messages),
                    "forms": [getattr(done.optimizer, "form_used", "") for done in self.stages[:number]]}
            left = max(0, before + stage.epochs - len(self.history))
            fit(self.model, data, optimizer=stage.optimizer, epochs=left, batch_size=stage.batch_size,
                callbacks=callbacks, progress=False, history=self.history, threads=threads, comm=ranks.comm)
            if self.history.message:
                part = f"{stage.name}: " if len(self.stages) > 1 else ""
                self.messages.append(f"{part}{self.history.message}")
            if self.model.stop_training:
                break
            before = len(self.history)

    def _find_lr(self, number: int, data: Data, threads: int | None, notify: Callable[[str], None],
                 figures: bool) -> None:
        """Set the lr of a stage by a range test from the present weights. Raises ValueError if it suggests none."""
        stage = self.stages[number]
        test = stage.range_test(self.model, data, threads)
        if self.folder is not None and figures:
            with collect_errors(self.problems), drawing:
                figure = test.plot(f"{data.name}, {stage.name}, seed {self.seed}: learning rate range test")
                save_figure(figure, self.folder / (f"lr-find-{number + 1}.png" if number else "lr-find.png"))
        stage.set_lr(test.lr)
        notify(self.found_rates()[-1])


class OnFitBegin:
    """A callback that calls a function whenever a fit begins."""

    only_rank_0 = True

    def __init__(self, action: Callable[[], None]) -> None:
        self.action, self.done = action, False

    def on_fit_begin(self, model: Model, plan: Any) -> None:
        """Call it."""
        self.action()
        self.done = True


class Stop:
    """A callback that ends training after the current step, once `requested` is True.

    `signal` is the number of the signal that requested it, or 0.
    """

    requested = False
    signal = 0

    def on_fit_begin(self, model: Model, plan: Any) -> None:
        """Stop before the first step, if requested."""
        self.on_step_end(model, 0)

    def on_step_end(self, model: Model, examples: int) -> None:
        """Stop after a step, if requested."""
        model.stop_training = model.stop_training or self.requested


def tell(message: str) -> None:
    """Print a line on stderr, if that is possible, above the progress bars."""
    from tqdm import tqdm

    with suppress(OSError, ValueError, AttributeError):  # stderr may be closed
        tqdm.write(f"{message}\n", file=sys.stderr, end="")  # at once: see Progress


def train_all(runs: Sequence[Run], data: Data, ranks: Ranks, *, jobs: int | None, threads: int | None,
              callbacks: RunCallbacks, progress: bool, title: Callable[[Run], str], stop: Stop, config: dict[str, Any],
              checkpoint_every: int | str | None, figures: bool) -> None:
    """Train every run, `jobs` of them at once, each with its share of BLAS's threads.

    A function `callbacks` is called with each run. Of a sequence, each run gets a deep copy if there are several.
    Several ranks train a single run together; for several runs on several ranks, see `feedforward.study`.
    """
    cores = os.cpu_count() or 1
    jobs = min(len(runs), jobs or cores)
    share = max(1, cores // jobs) if jobs > 1 else None
    positions: queue.SimpleQueue[int | None] = queue.SimpleQueue()  # the free lines of the terminal
    for position in range(jobs):
        positions.put(position if jobs > 1 else None)

    def train(run: Run) -> None:
        if stop.requested and len(runs) > 1:  # a single run writes its files even then
            run.interrupted = True
            return
        position = positions.get()
        unit, lines = "examples" if data.image_shape is None else "images", 10 if len(runs) == 1 else 1
        bars = [Progress(title(run), unit, position, lines, "test")] if progress else []
        try:
            own = own_callbacks(callbacks, run, copies=len(runs) > 1)
            run.train(data, [*bars, stop, *own], threads, share, config, checkpoint_every, tell if progress else None,
                      figures, ranks)
        finally:
            positions.put(position)

    if jobs == 1:
        for run in runs:
            train(run)
        return
    # BLAS has one number of threads for all runs: with another one, results would depend on which runs are at work
    futures: list[Future[None]] = []
    with blas.limited(1), ThreadPoolExecutor(jobs) as pool:
        try:
            for run in runs:
                futures.append(pool.submit(train, run))
            for future in futures:
                future.result()
        except BaseException:  # for example an interrupt
            stop.requested = True
            wait_for_all(futures)  # none may go on training when BLAS has its own number of threads again
            raise


def own_callbacks(callbacks: RunCallbacks, run: Run, copies: bool) -> Sequence[Any]:
    """Return the callbacks of a run: what the function returns, or the sequence or a deep copy of it."""
    if callable(callbacks):
        return callbacks(run)
    return copy.deepcopy(list(callbacks)) if copies else callbacks


def wait_for_all(futures: Sequence[Future[None]]) -> None:
    """Wait until all are done, even if there are further interrupts."""
    while not all(future.done() for future in futures):
        with suppress(KeyboardInterrupt):
            wait(futures)
