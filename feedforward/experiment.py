"""Experiment: a training, or a comparison of several, as one typed configuration that can be run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
import os
from pathlib import Path
from typing import Annotated, Any
import warnings

from datasets import Dataset
from feedforward.data import DataShape, download_text, load_data, planned_shape, shape_of
from feedforward.folder import choose_folder, environment, folder_name, write_json
from feedforward.network import build_network, check_hidden
from feedforward.results import Results
from feedforward.run import Run, RunCallbacks, Stage, Stop, train_all
from feedforward.stages import OptimizerSettings, StageText, join_stages, parse_plans
import nn
from nn import blas
from nn.fields import Bounds, Count, Declared, Fraction, Positive
from nn.fit import Callbacks
from nn.inputs import check_fit
from optimizers import OPTIMIZERS, FirstOrder, get, hyperparameters

__all__ = ["Experiment"]

LONG = 1 << 38  # examples times parameters times epochs: with more, training takes longer than about ten seconds


class Experiment(Declared):
    """A network, a dataset, and one or several optimizers that train it from one or several seeds.

    The defaults are those of the article: 784-50-10 on MNIST, ReLU, softmax and cross-entropy, He initialization,
    batches of 6,000, learning rate 0.01, 100 epochs of Adam.

    Parameters
    ----------
    optimizer : str or sequence of str
        A name in OPTIMIZERS, such as "adam"; stages, such as "adam:20+lbfgs", for 20 epochs of Adam and then L-BFGS;
        several of these, to compare them from the same start; or "all".
    lr : float, optional
        The learning rate, above 0. By default the article's 0.01, or the optimizer's own default if that is 1.
    fields : mapping, optional
        Other fields of the optimizers that have them, such as {"beta1": 0.8}, or of one optimizer, such as
        {"adam.beta1": 0.8}.
    schedule : str, optional
        The learning rate over the epochs, such as "cosine" or "warmup:5+cosine": see `parse_schedule`.
    dataset : str or Dataset, optional
        A name in DATASETS, or data of your own. By default MNIST, or the digits if MNIST is not available.
    data_dir : str or path-like, optional
        The folder of the dataset's files. Missing files are downloaded into it.
    hidden : sequence of int
        The units of each hidden layer, each at least 1.
    activation : str
        The activation of the hidden layers: a name in ACTIVATIONS.
    init : str
        The initializer of the weights: a name in INITIALIZERS.
    loss : str
        "cross-entropy", "binary-cross-entropy", "mean-squared-error", or the name of a registered loss.
    dropout : float
        The rate of dropout after each hidden layer, at least 0 and below 1.
    epochs : int
        The number of epochs, at least 1.
    batch_size : int, optional
        The examples of a batch. By default a tenth of the training set, and all of it for second-order optimizers.
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
    lr: Positive | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    schedule: str | None = None
    dataset: str | Dataset | None = None
    data_dir: str | os.PathLike[str] | None = None
    hidden: Sequence[int] = (50,)
    activation: str = "relu"
    init: str = "he"
    loss: str = "cross-entropy"
    dropout: Fraction = 0.0
    epochs: Count = 100
    batch_size: Count | None = None
    seed: Annotated[int, Bounds(least=0)] = 0
    seeds: Count = 1
    jobs: Count | None = None
    threads: Count | None = None
    dtype: str = "float32"

    advice = {"learning_rate": "write lr", **{
        name: f"write fields={{{name!r}: ...}}" for kind in OPTIMIZERS.values() for name in hyperparameters(kind)}}

    def __post_init__(self) -> None:
        self._check()

    def _check(self) -> list[tuple[StageText, ...]]:
        """Return the stages of each run. Raises ValueError for any error that can be found without the data."""
        self.hidden = check_hidden(self.hidden)
        plans = parse_plans(self.optimizer, self.epochs)
        self._settings(plans).check()
        self._build_model(DataShape("", 1, 1, 2), self.seed)
        return plans

    def _settings(self, plans: Sequence[tuple[StageText, ...]]) -> OptimizerSettings:
        names = list(dict.fromkeys(stage.optimizer for stages in plans for stage in stages))
        return OptimizerSettings(names, self.lr, self.fields, self.schedule, self.epochs)

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
                    run.stages = [self._build_stage(stage, settings, data.n_train, run.model) for stage in stages]
                    runs.append(run)
                except ValueError as error:
                    if self.optimizer not in ("all", ["all"]):
                        raise
                    notify(f"left out: {run.name}, seed {seed}: {error}")
        return runs

    def _build_stage(self, stage: StageText, settings: OptimizerSettings, n: int, model: nn.Model) -> Stage:
        """Return the stage with its optimizer. Raises ValueError if that would need too much memory."""
        first_order = issubclass(OPTIMIZERS[stage.optimizer], FirstOrder)
        size = self.batch_size or (-(-n // 10) if first_order else n)
        check_fit(self.epochs, size, n)
        get(stage.optimizer, **settings.values(stage.optimizer)).start(model.theta)
        return Stage(stage.optimizer, settings.build(stage.optimizer, -(-n // size)), stage.epochs, size)

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
        download = download_text(self.dataset, self.data_dir)
        data = planned_shape(self.dataset)
        runs = self._build_runs(plans, data, notify)
        lines = [f"{data.name}: {self.epochs} epochs, into {self._choose_folder(folder, data.name, plans)}"]
        lines += [download] if download else []
        lines += [f"seed {run.seed}, {stage.epochs} epochs in batches of {stage.batch_size}: {stage.optimizer}"
                  for run in runs for stage in run.stages]
        return "\n".join([*lines, *(run.model.summary() for run in runs[:1])])

    def run(self, folder: str | os.PathLike[str] | bool | None = None, *, callbacks: RunCallbacks = (),
            progress: bool = True, figures: bool = True, stop: Stop | None = None, command: str = "",
            notify: Callable[[str], None] = warnings.warn) -> Results:
        """Train everything, and return the results.

        Parameters
        ----------
        folder : str, path-like or bool, optional
            A new or empty folder to write configuration, histories, models and figures into; True for a new one below
            runs/. By default nothing is written.
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
        notify : callable
            Called with a message if MNIST is replaced by the digits, if an optimizer is left out, or if a long run
            would be faster with other settings of NumPy.

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
        plans = self._check()  # errors come before a download
        if not callable(callbacks):
            Callbacks(callbacks, None)  # raises ValueError if one is no callback
        data, stop = load_data(self.dataset, self.data_dir, notify), stop or Stop()
        dataset = data.name
        runs = self._build_runs(plans, shape_of(data), notify)
        examples = len(data.x_train) * sum(stage.epochs * run.model.theta.size for run in runs for stage in run.stages)
        if self.threads is None and examples > LONG and (advice := blas.advice()):
            notify(advice)
        data_dir = None if self.data_dir is None else os.fspath(self.data_dir)
        config = {"command": command, "experiment": {**self.description(), "dataset": dataset, "data_dir": data_dir},
                  "dataset": dataset, "examples": [len(data.x_train), len(data.x_test)], **environment()}
        path = self._choose_folder(None if folder is True else folder, dataset, plans) if folder else None
        if path is not None:
            self._make_folders(runs, path, config)
        train_all(runs, data, jobs=self.jobs, threads=self.threads, callbacks=callbacks, progress=progress, stop=stop,
                  title=lambda run: f"{dataset}, {run.name}" + (f", seed {run.seed}" if self.seeds > 1 else ""),
                  config=config)
        results = Results(runs, data, path)
        del data  # the figures need memory
        if path is not None:
            results.write(path, config, figures=figures and not stop.requested)
        return results

    def _make_folders(self, runs: Sequence[Run], path: Path, config: Mapping[str, Any]) -> None:
        """Make the folder, and set the folder of each run: one inside it, or the folder itself for a single run."""
        path.mkdir(parents=True, exist_ok=True)
        if len(runs) > 1:
            write_json(path / "config.json", config)
        for run in runs:
            seed = f"-seed{run.seed}" if self.seeds > 1 else ""
            run.folder = path / (folder_name(run.name) + seed) if len(runs) > 1 else path

    @staticmethod
    def _choose_folder(folder: str | os.PathLike[str] | None, dataset: str,
                       plans: Sequence[tuple[StageText, ...]]) -> Path:
        """Return the folder that a run may write into; if none is given, a new one below runs/. Creates nothing.

        Raises ValueError if it is not empty.
        """
        names = {join_stages(stages) for stages in plans}
        name = folder_name(names.pop()) if len(names) == 1 else "comparison"
        return choose_folder(folder, f"{dataset}-{name}")
