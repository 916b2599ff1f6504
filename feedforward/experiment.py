"""Experiment: a training, or a comparison of several, as one typed configuration that can be run."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import field
from functools import partial
from inspect import signature
import os
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast
import warnings

from datasets import DATASETS, Choices, Dataset
from datasets.table import SUFFIXES
from feedforward.data import (
    Data,
    DataShape,
    describe,
    download_text,
    ignore,
    is_own,
    load_data,
    planned_shape,
    shape_of,
)
from feedforward.folder import (
    CONFIG,
    changed_environment,
    choose_folder,
    environment,
    folder_name,
    locked_folder,
    read_config,
    write_json,
)
from feedforward.network import build_network, check_hidden, is_regression
from feedforward.report import write_run_page
from feedforward.results import Results
from feedforward.run import Run, RunCallbacks, Stop, tell, train_all
from feedforward.stages import AUTO, OptimizerSettings, Stage, StageText, check_lr, has_lr, join_stages, parse_plans
from feedforward.study import check_same_experiment, train_on_ranks
import nn
from nn import Checkpoint, blas
from nn.archive import one_line_errors
from nn.distributed import together
from nn.fields import Bounds, Count, Declared, Fraction, PositiveFraction
from nn.fit import Callbacks
from nn.inputs import check_fit
from nn.mpi import Ranks
from optimizers import OPTIMIZERS, FirstOrder, get, hyperparameters, parse_schedule

__all__ = ["Experiment"]

LONG = 1 << 38  # examples times parameters times epochs: with more, training takes longer than about ten seconds
MAX_RUNS = 10_000  # of an experiment


class Experiment(Declared):
    """A network, a dataset, and one or several optimizers that train it from one or several seeds.

    The defaults are those of the article: 784-50-10 on MNIST, ReLU, softmax and cross-entropy, He initialization,
    batches of 6,000, learning rate 0.01, 100 epochs of Adam.

    Parameters
    ----------
    optimizer : str or sequence of str
        A name in OPTIMIZERS, such as "adam"; stages, such as "adam:20+lbfgs", for 20 epochs of Adam and then L-BFGS;
        several of these, to compare them from the same start; or "all".
    lr : float, "auto" or sequence, optional
        The learning rate, above 0; "auto", to find it by a range test when a stage begins: see `lr_find`; or several
        of these, to compare them. By default the article's 0.01, or the optimizer's own default if that is 1.
    fields : mapping, optional
        Other fields of the optimizers that have them, such as {"beta1": 0.8}, or of one optimizer, such as
        {"adam.beta1": 0.8}.
    schedule : str, optional
        The learning rate over the epochs, such as "cosine" or "warmup:5+cosine": see `parse_schedule`.
    dataset : str, path-like or Dataset, optional
        A name in DATASETS; a file of your own, .csv, .tsv, .parquet or .npz; a folder of files that do not fit into
        memory, with the parts "train" and "test" as `open_rows` describes them, which are read in blocks; or a Dataset.
        By default MNIST, or the digits if MNIST is not available.
    data_dir : str or path-like, optional
        The folder of the dataset's files. Missing files are downloaded into it.
    target : str or sequence of str
        The column of your file to predict, or several columns of numbers. Texts, bools and few different integers are
        classes; other numbers are predicted as such, unless the loss is one for classes.
    drop, one_hot : sequence of str
        The columns of your file to leave out, and those whose values become one column of 0 and 1 each.
    missing : {"mean"} or None
        Whether missing numbers of your file become the mean of their column. By default they are an error.
    test_share : float
        The share of the rows of your file that is held out for the test, above 0 and below 1.
    hidden : sequence of int
        The units of each hidden layer, each at least 1.
    activation : str
        The activation of the hidden layers: a name in ACTIVATIONS.
    init : str
        The initializer of the weights: a name in INITIALIZERS.
    loss : str, optional
        "cross-entropy", "binary-cross-entropy", "mean-squared-error", or the name of a registered loss. By default the
        first for classes, and the last of these three for numbers.
    dropout : float
        The rate of dropout after each hidden layer, at least 0 and below 1.
    epochs : int
        The number of epochs, at least 1.
    batch_size : int, optional
        The examples of a batch. By default a tenth of the training set, at most 1,000 if it is read in blocks, and all
        of it, in memory, for second-order optimizers.
    seed : int
        The first seed, at least 0. One seed gives one result.
    seeds : int
        How many seeds to train with, starting at `seed`.
    jobs : int, optional
        How many runs to train at once; by default as many as there are cores.
    threads : int, optional
        How many threads each training uses; by default as many as NumPy's BLAS has, divided among the runs that train
        at once.
    dtype : str
        The type of the parameters: "float32" or "float64".

    Raises
    ------
    ValueError
        If a value is not allowed. The message says what is allowed.

    Examples
    --------
    >>> import feedforward as ff
    >>> results = ff.Experiment("adam", dataset="digits", epochs=10).run(progress=False)
    >>> results.model
    Model(64-50-10, CrossEntropy, float32, 3,760 parameters)
    >>> len(results.history)
    10
    """

    optimizer: str | Sequence[str] = "adam"
    lr: float | str | Sequence[float | str] | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    schedule: str | None = None
    dataset: str | os.PathLike[str] | Dataset | None = None
    data_dir: str | os.PathLike[str] | None = None
    target: str | Sequence[str] = ()
    drop: Sequence[str] = ()
    one_hot: Sequence[str] = ()
    missing: Literal["mean"] | None = None
    test_share: PositiveFraction = 0.2
    hidden: Sequence[int] = (50,)
    activation: str = "relu"
    init: str = "he"
    loss: str | None = None
    dropout: Fraction = 0.0
    epochs: Count = 100
    batch_size: Count | None = None
    seed: Annotated[int, Bounds(least=0)] = 0
    seeds: Count = 1
    jobs: Count | None = None
    threads: Count | None = None
    dtype: str = "float32"

    _schedule_epochs: ClassVar[int | None] = None  # of a run that was prolonged: its first number of epochs

    advice = {"learning_rate": "write lr", **{
        name: f"write fields={{{name!r}: ...}}" for kind in OPTIMIZERS.values() for name in hyperparameters(kind)}}

    def __post_init__(self) -> None:
        self._check()

    def _check(self) -> list[tuple[StageText, ...]]:
        """Return the stages of each run. Raises ValueError for any error that can be found without the data."""
        self.hidden = check_hidden(self.hidden)
        self.lr = lr = check_lr(self.lr)
        plans = parse_plans(self.optimizer, self.epochs, lr)
        if len(plans) * self.seeds > MAX_RUNS:
            raise ValueError(f"Experiment: {len(plans) * self.seeds:,} runs are too many: choose at most {MAX_RUNS:,}")
        if self.data_dir is not None and not isinstance(self.data_dir, (str, os.PathLike)):
            raise ValueError(f"Experiment: data_dir must be a path, not {self.data_dir!r}")
        self._check_dataset()
        self._settings(plans).check()
        # whether the parts fit does not depend on the widths, which may be very large
        numbers = is_own(self.dataset) and is_regression(self.loss) is True
        build_network(DataShape("the file", 1, 1, 2, classifies=not numbers), [1] * len(self.hidden), self.activation,
                      self.init, self.loss, self.dropout, self.seed, self.dtype)
        return plans

    def _check_dataset(self) -> None:
        """Bring what describes the data into its form: absolute paths, tuples. Raises ValueError if it does not fit."""
        for name in ("target", "drop", "one_hot"):
            value = getattr(self, name)
            setattr(self, name, tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else value)
        choices = self._choices
        self.target, self.drop, self.one_hot = choices.target, choices.drop, choices.one_hot
        if self.dataset is not None and not isinstance(self.dataset, (str, os.PathLike, Dataset)):
            raise ValueError("Experiment: dataset must be a name, a file or a Dataset, not a "
                             f"{type(self.dataset).__name__}: train your own arrays and frames by Model.fit")
        if is_own(self.dataset):
            assert self.dataset is not None
            self.dataset = os.path.abspath(cast(str, self.dataset))
        elif self.target or self.drop or self.one_hot or self.missing:
            raise ValueError("Experiment: target, drop, one_hot and missing are for a file of your own, which ends in "
                             f"{', '.join(SUFFIXES)}, or a folder, not for {self.dataset or 'mnist'}")
        elif isinstance(self.dataset, os.PathLike):
            raise ValueError(f"Experiment: {self.dataset} is no folder, and ends in none of {', '.join(SUFFIXES)}")

    @property
    def _choices(self) -> Choices:
        regression = is_regression(self.loss)
        return Choices(self.target, self.drop, self.one_hot, self.missing, self.test_share,
                       None if regression is None else not regression)

    def _load_data(self, notify: Callable[[str], None]) -> Data:
        return load_data(cast("str | Dataset | None", self.dataset), self.data_dir, self._choices, notify)

    def _load_on_all(self, ranks: Ranks, notify: Callable[[str], None]) -> Data:
        """Return the data. Rank 0 loads them first, so that a download comes once."""
        data = None
        for loads in (ranks.rank == 0, ranks.rank > 0):
            with together(ranks):
                if loads:
                    data = self._load_data(notify if ranks.rank == 0 else ignore)
        assert data is not None
        return data

    def _settings(self, plans: Sequence[tuple[StageText, ...]]) -> OptimizerSettings:
        names = list(dict.fromkeys(stage.optimizer for stages in plans for stage in stages))
        epochs = self._schedule_epochs or self.epochs
        return OptimizerSettings(names, check_lr(self.lr), self.fields, self.schedule, epochs)

    def _build_model(self, data: DataShape, seed: int) -> nn.Model:
        """Return the untrained network of one seed."""
        return build_network(data, self.hidden, self.activation, self.init, self.loss, self.dropout, seed, self.dtype)

    def _build_runs(self, plans: Sequence[tuple[StageText, ...]], data: DataShape,
                    notify: Callable[[str], None]) -> list[Run]:
        """Return the untrained runs, one for each optimizer and seed.

        Raises ValueError if a run cannot be trained. If "all" optimizers were chosen, that run is left out instead, and
        `notify` is called.
        """
        runs, settings = [], self._settings(plans)
        for stages in plans:
            for seed in range(self.seed, self.seed + self.seeds):
                run = Run(join_stages(stages), seed, [], self._build_model(data, seed))
                try:
                    run.stages = [self._build_stage(stage, settings, data, run.model) for stage in stages]
                    runs.append(run)
                except ValueError as error:
                    if self.optimizer not in ("all", ["all"]):
                        raise
                    notify(f"left out: {run.full_name}: {error}")
        return runs

    def _build_stage(self, stage: StageText, settings: OptimizerSettings, data: DataShape, model: nn.Model) -> Stage:
        """Return the stage with its optimizer. Raises ValueError if that would need too much memory."""
        first_order, n = issubclass(OPTIMIZERS[stage.optimizer], FirstOrder), data.n_train
        size = self.batch_size or (data.batch_size if first_order else n)
        check_fit(self.epochs, size, n)
        get(stage.optimizer, **settings.values(stage.optimizer)).start(model.theta)
        lr = stage.lr if isinstance(settings.lr, tuple) else settings.lr
        return Stage(stage.optimizer, settings.build(stage.optimizer, -(-n // size), lr), stage.epochs, size,
                     finds_lr=lr == AUTO and has_lr(stage.optimizer))

    def plan(self, folder: str | os.PathLike[str] | None = None, notify: Callable[[str], None] = warnings.warn) -> str:
        """Return what `run` would do, without writing or downloading a file.

        Parameters
        ----------
        folder : str or path-like, optional
            The folder that `run` would write into; by default a new one below runs/.
        notify : callable
            Called with a message if an optimizer would be left out.

        Returns
        -------
        str
            The folder, the files to download, the stages with their optimizers, and the layers.

        Raises
        ------
        ValueError, datasets.DataError
            If the configuration does not fit, or the dataset is unknown.

        Examples
        --------
        >>> import feedforward as ff
        >>> print(ff.Experiment("adam:3+gd", dataset="digits", epochs=5).plan("here"))  # doctest: +ELLIPSIS
        digits: 5 epochs, into here
        seed 0, 3 epochs in batches of 144: Adam(lr=0.01, ...)
        seed 0, 2 epochs in batches of 144: GradientDescent(lr=0.01, ...)
        ...
        """
        plans = self._check()
        dataset = cast("str | Dataset | None", self.dataset)
        download = download_text(dataset, self.data_dir)
        data = planned_shape(dataset, self._choices)
        runs = self._build_runs(plans, data, notify)
        lines = [f"{data.name}: {self.epochs} epochs, into {self._choose_folder(folder, data.name, plans)}"]
        lines += [download] if download else []
        lines += [f"seed {run.seed}, {stage.epochs} epochs in batches of {stage.batch_size}: {stage.optimizer}"
                  + (", with the lr of a range test" if stage.finds_lr else "") for run in runs for stage in run.stages]
        return "\n".join([*lines, *(run.model.summary() for run in runs[:1])])

    def run(self, folder: str | os.PathLike[str] | bool | None = None, *, callbacks: RunCallbacks = (),
            progress: bool = True, figures: bool = True, stop: Stop | None = None, command: str = "",
            checkpoint_every: int | str | None = None, notify: Callable[[str], None] = warnings.warn,
            comm: Any = None) -> Results:
        """Train everything, and return the results.

        Parameters
        ----------
        folder : str, path-like or bool, optional
            A new or empty folder to write configuration, histories, models, checkpoints and figures into; True for a
            new one below runs/. By default nothing is written.
        callbacks : sequence or callable
            Further callbacks: see nn.callbacks. If there are several runs, each gets a copy of its own; a function is
            called with each run and returns its callbacks.
        progress : bool
            Whether to show progress on stderr.
        figures : bool
            Whether to write the figures, if there is a folder.
        stop : Stop, optional
            An object with an attribute `requested`. If it becomes True, training ends after the current step.
        command : str
            The command that runs the experiment, for config.json.
        checkpoint_every : int or str, optional
            How often each run writes a checkpoint, if there is a folder: a number of epochs, such as 10, or of steps,
            such as "200s". By default about once a minute; and always at the end.
        notify : callable
            Called with a message if MNIST is replaced by the digits, if an optimizer is left out, or if a long run
            would be faster with other settings of NumPy.
        comm : mpi4py.MPI.Intracomm, optional
            A communicator, such as MPI.COMM_WORLD, whose processes all call this method. They train a single run
            together, and share several runs among them. Rank 0 alone writes, notifies and shows progress.

        Returns
        -------
        Results
            The runs, which print as a table.

        Raises
        ------
        ValueError, OSError, datasets.DataError
            If the configuration does not fit, a file cannot be written, or the data are not available. A run that fails
            raises nothing: its `error` says why.
        """
        ranks, path = Ranks(comm), None
        with ranks.watch():
            with together(ranks):
                plans = self._check()  # errors come before a download
            data = self._load_on_all(ranks, notify)
            with together(ranks):
                if folder and ranks.rank == 0:
                    path = self._choose_folder(None if folder is True else folder, data.name, plans)
            return self._run(data, path, callbacks, progress, figures, stop or Stop(), command, checkpoint_every,
                             notify, ranks)

    @classmethod
    def resume(cls, folder: str | os.PathLike[str], epochs: int | None = None, *, dataset: str | Dataset | None = None,
               callbacks: RunCallbacks = (), progress: bool = True, figures: bool = True, stop: Stop | None = None,
               checkpoint_every: int | str | None = None, notify: Callable[[str], None] = warnings.warn,
               comm: Any = None, **options: Any) -> Results:
        """Continue the runs in a folder from their last checkpoints, and return the results.

        On the same machine with the same versions, the results are the same, bit for bit, as if the runs had not been
        interrupted.

        Parameters
        ----------
        folder : str or path-like
            The folder of `run`.
        epochs : int, optional
            A larger number of epochs, to prolong the runs. Schedules keep their first length.
        dataset : str or Dataset, optional
            The data, if they are your own; a name must be that of the folder.
        callbacks, progress, figures, stop, checkpoint_every, notify, comm : optional
            As for `run`. If there are more or fewer ranks than before, results differ by rounding.
        **options : optional
            Parameters of the experiment, which must be those of the folder. Only `data_dir` may differ.

        Returns
        -------
        Results
            The runs, which print as a table.

        Raises
        ------
        ValueError
            If it is not a run folder, or something differs. The message names each difference.
        OSError, datasets.DataError
            If a file cannot be read or written, or the data are not available.

        Examples
        --------
        >>> from tempfile import TemporaryDirectory
        >>> import feedforward as ff
        >>> with TemporaryDirectory() as folder:
        ...     results = ff.Experiment(dataset="digits", epochs=2).run(folder, progress=False, figures=False)
        ...     results = ff.Experiment.resume(folder, epochs=3, progress=False, figures=False)
        >>> len(results.history)
        3
        """
        own, ranks, config = dataset if isinstance(dataset, Dataset) else None, Ranks(comm), {}
        with ranks.watch():
            with together(ranks):
                if ranks.rank == 0:
                    config = read_config(folder)
            config = ranks.broadcast(config)
            with together(ranks):
                before = read_experiment(folder, own, config)
                if dataset is not None:
                    options["dataset"] = dataset
                if epochs is not None:
                    options["epochs"] = epochs
                experiment = cls(**{**before.description(), **options})
                experiment._check_same(before, folder)
            vars(experiment)["_schedule_epochs"] = before._schedule_epochs
            if ranks.rank == 0:
                experiment._tell_schedule(notify)
                if changes := changed_environment(config, ranks.size):
                    notify("results may differ by rounding from those of a run that was not interrupted: "
                           f"{changes}")
            data = experiment._load_on_all(ranks, notify)
            return experiment._run(data, Path(folder) if ranks.rank == 0 else None, callbacks, progress, figures,
                                   stop or Stop(), str(config.get("command", "")), checkpoint_every, notify, ranks,
                                   before)

    def _named(self) -> dict[str, Any]:
        """Return the description, with the name of a dataset of the user's in its place."""
        return {**self.description(), "dataset": getattr(self.dataset, "name", self.dataset)}

    def _code(self) -> str:
        """Return this experiment as Python code, with the arguments that are not the defaults."""
        default = {name: parameter.default for name, parameter in signature(type(self)).parameters.items()}
        chosen = [f"{name}={value!r}" for name, value in self._named().items() if value not in (default[name], None)]
        return f"feedforward.Experiment({', '.join(chosen)}).run()"

    def _check_same(self, before: "Experiment", folder: str | os.PathLike[str]) -> None:
        """Raise ValueError, with each difference, unless this experiment can continue another."""
        now, then = self._named(), before._named()
        differences = [f"{name} was {then[name]!r} and is {now[name]!r}" for name in now
                       if now[name] != then[name] and name not in ("data_dir", "threads")
                       and not (name == "epochs" and now[name] > then[name])]
        if differences:
            raise ValueError(f"{folder} is of an experiment with other settings: {'; '.join(differences)}; only epochs "
                             "may be larger")

    def _tell_schedule(self, notify: Callable[[str], None]) -> None:
        """Say how the schedule of a run that is prolonged continues."""
        first = self._schedule_epochs or self.epochs
        if self.schedule is None or first >= self.epochs:
            return
        kept = parse_schedule(self.schedule, first)
        if repr(kept) != repr(parse_schedule(self.schedule, self.epochs)):
            notify(f"the schedule {self.schedule} keeps its length of {first} epochs; in the epochs from {first + 1} "
                   f"to {self.epochs} its factor is {kept(first):.3g}")

    def _run(self, data: Data, path: Path | None, callbacks: RunCallbacks, progress: bool, figures: bool, stop: Stop,
             command: str, checkpoint_every: int | str | None, notify: Callable[[str], None], ranks: Ranks,
             before: "Experiment | None" = None) -> Results:
        """Train everything; continue the experiment `before` in the folder, if there is one."""
        own_file, dataset = is_own(self.dataset), data.name
        if ranks.rank > 0:
            progress, figures, notify = False, False, ignore
        with together(ranks):
            if not callable(callbacks):
                Callbacks(callbacks, None)  # raises ValueError if one is no callback
            Checkpoint("", checkpoint_every)  # raises ValueError if it is no such number
            found = shape_of(data, self._choices, own_file) if ranks.rank == 0 else None  # it may read many files
            if found is not None and own_file and progress:
                tell(describe(found, data.n_test, self._choices))
        shape = cast(DataShape, ranks.broadcast(found))
        with together(ranks):
            runs = self._build_runs(self._check(), shape, notify)
        if ranks.size > 1:
            check_same_experiment(ranks, self.description(), data)
        examples = data.n_train * sum(stage.epochs * run.model.theta.size for run in runs for stage in run.stages)
        if self.threads is None and examples > LONG and (advice := blas.advice()):
            notify(advice)
        data_dir = None if self.data_dir is None else os.fspath(self.data_dir)
        threads = self.threads if before is None else before.threads  # what resume is given holds for it alone
        experiment = {**self.description(), "dataset": self.dataset if own_file else dataset, "data_dir": data_dir,
                      "threads": threads}
        config = {"command": command or self._code(), "experiment": experiment,
                  "dataset": dataset, "examples": [data.n_train, data.n_test],
                  "schedule_epochs": self._schedule_epochs or self.epochs, **environment(ranks.size)}
        with ExitStack() as stack:
            with together(ranks):
                if path is not None:
                    stack.enter_context(locked_folder(path))
                    if before is None:
                        choose_folder(path, "")  # another process may have written into it in the meantime
            folder = ranks.broadcast(path) if len(runs) > 1 else path  # of several runs, each rank writes its own
            with together(ranks):
                if folder is not None:
                    if not folder.is_dir():
                        raise ValueError(f"{folder} of rank 0 does not exist here: name a folder that all ranks share")
                    self._set_folders(runs, folder, config)
            how: dict[str, Any] = {"threads": self.threads, "callbacks": callbacks, "progress": progress, "stop": stop,
                                   "config": config, "checkpoint_every": checkpoint_every, "figures": figures}
            try:
                if len(runs) > 1 and ranks.size > 1:
                    train_on_ranks(runs, data, ranks, **how)
                else:
                    train_all(runs, data, ranks, jobs=self.jobs, title=lambda run: f"{dataset}, {run.name}" + (
                        f", seed {run.seed}" if self.seeds > 1 else ""), **how)
            except KeyboardInterrupt as interrupt:
                if path is not None:
                    interrupt.add_note(f"to continue: feedforward.Experiment.resume({str(path)!r})")
                raise
            results = Results(runs, data, path)
            del data  # the figures need memory
            if path is not None:
                results.write(path, config, figures=figures)
        return results

    def _set_folders(self, runs: Sequence[Run], path: Path, config: Mapping[str, Any]) -> None:
        """Set the folder of each run: one inside this folder, or the folder itself for a single run."""
        for run in runs:
            seed = f"-seed{run.seed}" if self.seeds > 1 else ""
            run.folder = path / (folder_name(run.name) + seed) if len(runs) > 1 else path
            run.on_end = partial(write_run_page, part=len(runs) > 1)
        if len(runs) == 1:
            return
        if not (path / CONFIG).exists():
            write_json(path / CONFIG, config)
            return
        known = {**config, "runs": read_config(path).get("runs", [])}
        for run in runs:  # if none can be continued, the file stays as it is
            run.on_begin = partial(write_json, path / CONFIG, known)

    @staticmethod
    def _choose_folder(folder: str | os.PathLike[str] | None, dataset: str,
                       plans: Sequence[tuple[StageText, ...]]) -> Path:
        """Return the folder that a run may write into; if none is given, a new one below runs/. Creates nothing.

        Raises ValueError if it is not empty.
        """
        names = {join_stages(stages) for stages in plans}
        name = folder_name(names.pop()) if len(names) == 1 else "comparison"
        return choose_folder(folder, f"{dataset}-{name}")


def read_experiment(folder: str | os.PathLike[str], dataset: Dataset | None = None,
                    config: Mapping[str, Any] | None = None) -> Experiment:
    """Return the experiment that config.json in a run folder describes.

    `dataset` are the data, if they are the user's own; `config` is the content of the file, if it was read before.
    Raises InvalidFile if it is not such a file.
    """
    config = read_config(folder) if config is None else config
    values = {**config["experiment"], **({} if dataset is None else {"dataset": dataset})}
    with one_line_errors(Path(folder) / CONFIG, "the configuration of a run"):
        experiment = Experiment(**values)
        if not (isinstance(values["dataset"], Dataset) or values["dataset"] in DATASETS or is_own(values["dataset"])):
            raise ValueError(f"the dataset {values['dataset']!r} is your own: write Experiment.resume(folder, "
                             "dataset=data)")
        length = config.get("schedule_epochs", experiment.epochs)
        if type(length) is not int or length < 1:
            raise ValueError(f"its schedule_epochs is {length!r}")
    if "stages" in config and experiment.seeds * len(experiment._check()) > 1:
        raise ValueError(f"{folder} is one run of a comparison: continue {Path(folder).resolve().parent} instead")
    vars(experiment)["_schedule_epochs"] = length
    return experiment
