"""search: the settings of an experiment that are best on data held out from the training part, by Optuna."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
import json
import math
from numbers import Integral, Real
import os
from pathlib import Path
import statistics
from typing import TYPE_CHECKING, Annotated, Any
import warnings

import numpy as np

from datasets import Dataset
from feedforward.data import ignore, in_memory, is_own
from feedforward.experiment import Experiment
from feedforward.folder import choose_folder, locked_folder, plain, write_json
from feedforward.run import ALONE, Stop
from feedforward.stages import parse_plans
from nn.batches import split
from nn.checkpoint import compare
from nn.fields import Bounds, Count, check_value, lookup

if TYPE_CHECKING:
    import optuna

__all__ = ["Search", "search"]

SEARCHED = ("optimizer", "lr", "schedule", "hidden", "activation", "init", "dropout", "epochs", "batch_size")
DIRECTIONS = {"loss": "minimize", "accuracy": "maximize"}
FAILED = {"loss": math.inf, "accuracy": 0.0}  # the score of a trial whose training failed
JOURNAL, BEST = "trials.journal", "best.json"

Space = Mapping[str, Sequence[Any]]


@dataclass
class Search:
    """The result of `search`.

    Parameters
    ----------
    study : optuna.Study
        All trials.
    best : Experiment
        The experiment with the best values, ready to run on the whole training part.
    values : dict
        The best values, by the names of the space.
    score : float
        The loss or the accuracy of the best trial on the data that were held out.
    interrupted : bool
        Whether the search was ended by Ctrl-C.

    Examples
    --------
    >>> import feedforward as ff
    >>> ff.Search(None, ff.Experiment(lr=0.02), {"lr": 0.02}, 0.25)
    Search(score 0.25 with lr=0.02)
    """

    study: "optuna.Study"
    best: Experiment
    values: dict[str, Any]
    score: float
    interrupted: bool = False

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value!r}"
                           for name, value in self.values.items())
        return f"Search(score {self.score:.4g} with {values})"


def search(experiment: Experiment, space: Space, trials: int = 50, seed: int = 0,
           folder: str | os.PathLike[str] | None = None, *, metric: str = "loss", held_out: float = 0.2,
           progress: bool = True, notify: Callable[[str], None] = warnings.warn) -> Search:
    """Search the values with which an experiment is best on data held out from its training part.

    The test part is not used. This needs Optuna: ``pip install feedforward[search]``.

    Parameters
    ----------
    experiment : Experiment
        The experiment, with one optimizer or one text of stages.
    space : mapping
        What to search, by name: "optimizer", "lr", "schedule", "hidden", "activation", "init", "dropout", "epochs",
        "batch_size", or a field of the optimizer, such as "fields.beta1". A tuple ``(low, high)`` is a range, in which
        all values are equally likely at first, ``(low, high, "log")`` one in which all powers are; if both ends are
        ints, the values are, too. A list holds choices.
    trials : int
        How many experiments to train, at least 1.
    seed : int
        The seed of the search, at least 0, and of the division of the data. One seed gives one result.
    folder : str or path-like, optional
        A folder for the trials, and for the best values in best.json. A search that was interrupted continues there,
        with the same result as one that was not. By default nothing is written.
    metric : {"loss", "accuracy"}
        What to optimize: the mean over the experiment's seeds.
    held_out : float
        The share of the training part that is held out, above 0 and below 1.
    progress : bool
        Whether to show a bar, if stderr is a terminal.
    notify : callable
        Called with a message, such as that MNIST is replaced by the digits.

    Returns
    -------
    Search
        The study of Optuna, and the best experiment.

    Raises
    ------
    ImportError
        If Optuna is not installed.
    ValueError, TypeError
        If an argument is not allowed, the folder is that of another search, or training failed in all trials.
    KeyboardInterrupt
        If the search is interrupted before the end of the first trial. Later, it returns what it has found.

    Notes
    -----
    The values are suggested by the tree-structured Parzen estimator of Bergstra et al. (2011), one trial after another.
    The first ten are drawn at random. The estimator of each trial has a seed of its own, a function of `seed` and of
    the number of the trial, so that it does not matter whether the search was interrupted. A trial whose training fails
    has an infinite loss, or the accuracy 0.

    References
    ----------
    Bergstra, J., Bardenet, R., Bengio, Y., & Kégl, B. (2011). Algorithms for hyper-parameter optimization. NIPS 2011.

    Examples
    --------
    >>> import feedforward as ff
    >>> experiment = ff.Experiment("adam", dataset="digits", epochs=5)
    >>> space = {"lr": (1e-4, 1e-1, "log"), "hidden": [(20,), (50, 50)]}
    >>> found = ff.search(experiment, space, trials=3, progress=False)                # doctest: +SKIP
    >>> found.best.run(progress=False).model                                        # doctest: +SKIP
    Model(64-50-50-10, CrossEntropy, float32, 6,310 parameters)
    """
    from tqdm import tqdm

    check_value("search", "trials", Count, trials)
    direction = lookup("metric", metric, DIRECTIONS)
    check_value("search", "seed", Annotated[int, Bounds(least=0)], seed)
    if not isinstance(experiment, Experiment):
        raise ValueError(f"search takes an Experiment, such as Experiment('adam'), not {experiment!r}")
    if not 0 < held_out < 1:
        raise ValueError(f"held_out must be above 0 and below 1, not {held_out!r}")
    _check_space(experiment, space)
    optuna = _import_optuna()
    data = _divide(in_memory(experiment._load_data(notify), "a search"), held_out, seed)
    _check_data(data, space, metric)
    settings = plain({"experiment": {**experiment.description(), "dataset": _dataset_name(experiment, data)},
                      "space": {name: list(entry) for name, entry in space.items()},
                      "seed": seed, "metric": metric, "held_out": held_out})
    complete = [optuna.trial.TrialState.COMPLETE]
    interrupted = False
    with nullcontext() if folder is None else locked_folder(Path(folder)), _quiet(optuna):
        study = _open_study(optuna, folder, direction, settings)
        done = len(study.get_trials(states=complete))
        try:
            # disable=None: if stderr is no terminal
            with tqdm(total=trials, initial=done, unit="trial", disable=None if progress else True) as bar:
                for number in range(done, trials):
                    study.sampler = optuna.samplers.TPESampler(seed=_trial_seed(seed, number))
                    _try(optuna, study, experiment, space, data, metric)
                    bar.set_description_str(f"search  best {metric} {study.best_value:.4g}", refresh=False)
                    bar.update()
        except KeyboardInterrupt:
            if not study.get_trials(states=complete):
                raise
            interrupted = True
        found = _result(study, experiment, space, metric, interrupted)
        if folder is not None:
            best = {**found.best.description(), "dataset": _dataset_name(experiment, data)}
            write_json(Path(folder) / BEST, {"experiment": best, "values": found.values, metric: found.score})
    return found


def _import_optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise ImportError("search needs Optuna: pip install 'feedforward[search]'") from None
    return optuna


def _check_space(experiment: Experiment, space: Space) -> None:
    """Raise ValueError or TypeError if a name or a value in the space is not allowed."""
    if not isinstance(space, Mapping) or not space:
        raise ValueError(f"the space must be a dict such as {{'lr': (1e-4, 1e-1, 'log')}}, not {space!r}")
    for name, entry in space.items():
        if name not in SEARCHED and not str(name).startswith("fields."):
            raise ValueError(f"{name!r} cannot be searched: choose from {', '.join(SEARCHED)}, and fields of the "
                             "optimizer, such as 'fields.beta1'")
        if isinstance(entry, list) and entry:
            continue
        if not (isinstance(entry, tuple) and entry[2:] in ((), ("log",)) and len(entry) >= 2
                and all(isinstance(end, Real) for end in entry[:2]) and entry[0] < entry[1]):
            raise ValueError(f"the space of {name} must be a range (low, high) or (low, high, 'log'), or a list of "
                             f"choices, not {entry!r}")
        if entry[2:] and not entry[0] > 0:
            raise ValueError(f"the space of {name} must be above 0, because it is logarithmic, not {entry!r}")
    first = {name: entry[0] for name, entry in space.items()}
    for name, entry in space.items():
        for value in entry if isinstance(entry, list) else entry[:2]:
            changed = _with(experiment, {**first, name: value})
            if len(parse_plans(changed.optimizer, changed.epochs, changed.lr)) > 1:
                raise ValueError("search compares values itself: give an experiment with one optimizer and one lr")


def _check_data(data: Dataset, space: Space, metric: str) -> None:
    """Raise ValueError if the data do not fit the space or the metric."""
    if metric == "accuracy" and not data.classes:
        raise ValueError("the experiment has no accuracy, because its targets are numbers: search the loss")
    sizes = [size for size in space.get("batch_size", ()) if isinstance(size, int)]
    if sizes and max(sizes) > len(data.x_train):
        raise ValueError(f"the space of batch_size reaches to {max(sizes):,}, but with held_out there are "
                         f"{len(data.x_train):,} examples to train on: give at most these")


def _with(experiment: Experiment, values: Mapping[str, Any]) -> Experiment:
    """Return the experiment with these values, by the names of the space."""
    fields = {name.removeprefix("fields."): value for name, value in values.items() if name.startswith("fields.")}
    parameters = {name: value for name, value in values.items() if not name.startswith("fields.")}
    return Experiment(**{**experiment.description(), "fields": {**experiment.fields, **fields}, **parameters})


def _divide(data: Dataset, held_out: float, seed: int) -> Dataset:
    """Return the training part as a dataset of its own, whose test part are the examples that are held out."""
    rows, rows_held_out = split(len(data.x_train), held_out, seed)
    return replace(data, x_train=data.x_train[rows], y_train=data.y_train[rows], x_test=data.x_train[rows_held_out],
                   y_test=data.y_train[rows_held_out])


def _dataset_name(experiment: Experiment, data: Dataset) -> Any:
    """Return the name of the dataset, or the file, as config.json has it."""
    return experiment.dataset if is_own(experiment.dataset) else data.name


def _trial_seed(seed: int, number: int) -> int:
    return int(np.random.SeedSequence(seed, spawn_key=(number,)).generate_state(1)[0])


def _open_study(library: Any, folder: str | os.PathLike[str] | None, direction: str,
                settings: dict[str, Any]) -> "optuna.Study":
    """Return a new study, or the one in the folder. Raises ValueError if that has other settings."""
    study: optuna.Study
    if folder is None:
        study = library.create_study(direction=direction)
        return study
    path = Path(folder) / JOURNAL
    if not path.exists():
        choose_folder(folder, "")  # raises ValueError if it holds something else
    storage = library.storages.JournalStorage(library.storages.journal.JournalFileBackend(str(path)))
    study = library.create_study(storage=storage, study_name="search", direction=direction, load_if_exists=True)
    for trial in study.get_trials(states=[library.trial.TrialState.RUNNING]):  # its process was killed
        study.tell(trial.number, state=library.trial.TrialState.FAIL)
    before = study.user_attrs.get("settings")
    if before is None:
        study.set_user_attr("settings", json.dumps(settings))
    elif differences := compare(json.loads(before), settings):
        raise ValueError(f"{folder} is of another search: {differences}; name another folder")
    return study


def _try(optuna: Any, study: "optuna.Study", experiment: Experiment, space: Space, data: Dataset, metric: str) -> None:
    """Train the experiment with the values that the study suggests, and tell it the score."""
    trial = study.ask()
    try:
        values = {name: _suggest(trial, name, entry) for name, entry in space.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # for example, that the loss has risen
            results = _with(experiment, values)._run(data, None, (), progress=False, figures=False, stop=Stop(),
                                                     command="", checkpoint_every=None, notify=ignore, ranks=ALONE)
    except BaseException:  # for example an interrupt
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        raise
    if errors := [run.error for run in results if run.error]:
        trial.set_user_attr("error", errors[0])
    scores = [math.nan if run.error or run.test is None else dict[str, Any](run.test)[metric] for run in results]
    score = statistics.mean(scores)
    study.tell(trial, score if math.isfinite(score) else FAILED[metric])


def _suggest(trial: Any, name: str, entry: Sequence[Any]) -> Any:
    """Return the value of a trial for one entry of the space."""
    if isinstance(entry, list):
        return _choices(entry)[trial.suggest_categorical(name, list(_choices(entry)))]
    if all(isinstance(end, Integral) for end in entry[:2]):
        return trial.suggest_int(name, int(entry[0]), int(entry[1]), log=len(entry) > 2)
    return trial.suggest_float(name, float(entry[0]), float(entry[1]), log=len(entry) > 2)


def _choices(entry: list[Any]) -> dict[Any, Any]:
    """Return the choices by what Optuna can save: themselves, or their text."""
    return {value if isinstance(value, (bool, int, float, str)) or value is None else repr(value): value
            for value in entry}


def _result(study: "optuna.Study", experiment: Experiment, space: Space, metric: str, interrupted: bool) -> Search:
    """Return the best trial. Raises ValueError if training failed in all."""
    best = study.best_trial
    if best.value == FAILED[metric] and "error" in best.user_attrs:
        raise ValueError(f"training failed in all trials, in one of them because {best.user_attrs['error']}")
    values = {name: _choices(entry)[best.params[name]] if isinstance(entry, list) else best.params[name]
              for name, entry in space.items()}
    return Search(study, _with(experiment, values), values, study.best_value, interrupted)


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Within the context, Optuna logs only warnings."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
