"""Model: layers, a loss and their parameters, which users train, evaluate and save."""

from collections.abc import Iterable, Mapping, Sequence
import os
from threading import Lock
from typing import Any, TypedDict
import warnings

import numpy as np
from numpy.typing import ArrayLike

from nn import archive, model_file, onnx_file
from nn.agreement import check_training
from nn.arrays import LiveVector, size
from nn.batches import DROPOUT, INITIALIZATION, Batches, Examples, generator, split
from nn.blocks import Blocks
from nn.callbacks import Progress
from nn.distributed import quiet, share, together
from nn.fields import Count, Fraction, check_value, lookup
from nn.fit import Callbacks, TakesSteps, fit, is_only_rank_0
from nn.frames import check_columns, column_names
from nn.history import History
from nn.inputs import (
    as_targets,
    check_examples,
    check_fit,
    check_layers,
    check_names,
    check_takes_steps,
    check_targets,
    check_validation,
    unusual,
)
from nn.labels import Label, check_classes, class_indices, from_indices, learn_classes
from nn.layers import Layer
from nn.losses import Loss
from nn.metrics import Metric, Metrics
from nn.model_file import DTYPES, Components
from nn.mpi import Ranks
from nn.network import Batch, Network, chunks
from nn.objective import BatchObjective
from nn.registry import LOSSES
from nn.rows import CheckedRows
from nn.stream import Stream
from nn.weights import check_sample_weight, check_weights

BATCH = 1024  # examples in a step of fit_rows by default


class Scores(TypedDict):
    """The result of `Model.evaluate`. The accuracy is from 0 to 1, or None if the targets are not classes."""

    loss: float
    accuracy: float | None


class Model:
    """Layers, a loss, and the vector `theta` that holds every weight and bias.

    Parameters
    ----------
    layers : iterable of Layer
        The layers in order. The model keeps copies, whose W and b are views into theta. Layers of another model keep
        the values of these.
    loss : Loss
        The loss, such as `CrossEntropy`, `BinaryCrossEntropy` or `MeanSquaredError`.
    seed : int
        The seed, at least 0, of the first weights, of dropout and of the order of examples. With the same seed and the
        same number of threads, results are the same bit for bit on one machine.
    dtype : {"float32", "float64"}
        The type of theta and of everything that is computed.
    classes : sequence, optional
        The label of each class, in the order of the outputs: texts, integers or bools. By default, `fit` learns them
        from the labels of its y, sorted, unless these are 0 to K - 1.
    feature_names : sequence of str, optional
        The names of the columns of x. By default, `fit` takes them from its x, if it is a frame of pandas or polars.

    Attributes
    ----------
    theta : ndarray of shape (P,)
        All parameters that are trained, layer by layer. Changing it changes the model; assigning to it copies into it.
    constants : ndarray of shape (C,)
        The arrays that are saved but not trained: those of layers with ``trainable=False``, means and scales.
    grad : ndarray of shape (P,)
        The gradient of the last step, in the order of theta; rules may change it, for example by weight decay.
    layers : tuple of Layer
        The layers, bound to theta: ``model.layers[0].W`` is a view into it.
    loss : Loss
        The loss.
    n_in, n_out : int
        The numbers of inputs and outputs.
    classes : tuple or None
        The label of each class; None if labels are 0 to K - 1.
    feature_names : tuple of str or None
        The names of the columns that x must have if it is a frame.
    stop_training : bool
        A callback sets it to True to end a fit.

    Raises
    ------
    ValueError
        If the layers or the loss do not fit together, or the seed or the dtype is not allowed.

    Examples
    --------
    >>> from nn import CrossEntropy, Dense, Model, ReLU, Softmax
    >>> from optimizers import get
    >>> x, y = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 0]
    >>> model = Model([Dense(2, 8), ReLU(), Dense(8, 2), Softmax()], CrossEntropy(), seed=0)
    >>> model
    Model(2-8-2, CrossEntropy, float32, 42 parameters)
    >>> history = model.fit(x, y, get("adam", lr=0.05), epochs=200, progress=False)
    >>> model.predict_classes(x).tolist()
    [0, 1, 1, 0]
    """

    theta = LiveVector()

    def __init__(self, layers: Iterable[Layer], loss: Loss, seed: int = 0, dtype: str = "float32",
                 classes: Sequence[Label] | None = None, feature_names: Sequence[str] | None = None) -> None:
        layers = list(layers)
        self.n_in, self.n_out = check_layers(layers)
        if not isinstance(loss, Loss):
            raise ValueError(f"unknown loss {loss!r}: give one of {', '.join(name + '()' for name in LOSSES)}")
        if not isinstance(seed, (int, np.integer)) or seed < 0:
            raise ValueError(f"seed must be a whole number of at least 0, not {seed!r}")
        self.seed = int(seed)
        self.dtype: np.dtype[Any] = np.dtype(
            lookup("dtype", dtype if isinstance(dtype, str) else np.dtype(dtype).name, DTYPES))
        self.loss = loss
        self.classes = check_classes(classes, self.n_out)
        self.feature_names = check_names(feature_names, self.n_in)
        P = sum(size(layer.shapes()) for layer in layers)
        self.theta = np.zeros(P, self.dtype)
        self.constants = np.zeros(sum(size(layer.constants()) for layer in layers), self.dtype)
        self.network = Network(layers, loss, self.theta, np.zeros(P, self.dtype), self.constants)
        self.layers = tuple(self.network.layers)
        if type(self.network.loss) is type(loss):  # not computed together with the last layer
            self.loss = self.network.loss  # so that a field of it can be changed
        rng = generator(INITIALIZATION, self.seed)
        for layer, given in zip(self.layers, layers):
            layer.initialize(rng)
            if given.bound:  # a layer of another model
                for name in {**layer.shapes(), **layer.constants()}:
                    setattr(layer, name, getattr(given, name))
        self.stop_training = False
        self._learns_classes = True  # until it was trained: then its outputs have a meaning
        self._training = Lock()  # held by a fit

    def fit(self, x: ArrayLike, y: ArrayLike, optimizer: TakesSteps, epochs: int = 1, batch_size: int | None = None,
            validation_data: tuple[ArrayLike, ...] | None = None, callbacks: Sequence[Any] = (),
            progress: bool = True, shuffle: bool = True, history: History | None = None,
            threads: int | None = None, sample_weight: ArrayLike | None = None,
            class_weight: Mapping[Any, float] | str | None = None, validation_split: float = 0.0,
            metrics: Mapping[str, Metric] | Sequence[Metric] | None = None, comm: Any = None) -> History:
        """Train the model.

        Parameters
        ----------
        x : array_like of shape (N, n_in)
            The examples, finite numbers; or a frame of pandas or polars; or images (N, height, width).
        y : array_like
            The targets: labels (N,), one-hot rows (N, K), or numbers (N, K), or (N,) if there is one output. Labels are
            0 to K - 1, or other integers, texts or bools, which the model then keeps in `classes`.
        optimizer : Optimizer
            An object with ``step(objective)``, such as ``optimizers.get("adam")``. It keeps its state, so that another
            fit of this model continues from there.
        epochs : int
            How many times to go through the examples, at least 1; at least 0 if there is a history.
        batch_size : int, optional
            The number of examples in a step, from 1 to N; N by default.
        validation_data : tuple of array_like, optional
            (x, y), or (x, y, sample_weight), evaluated after each epoch.
        callbacks : sequence
            Objects with methods such as ``on_epoch_end(model, epoch)``; see `nn.callbacks`.
        progress : bool
            Whether to show a bar, or a few lines if stderr is not a terminal, and to warn of unusual data, and if
            training has made the model worse.
        shuffle : bool
            Whether each epoch has its own order, a function of the seed and the number of the epoch.
        history : History, optional
            The history of an earlier fit, which is continued: the first epoch of this fit is the one after its last.
            If that fit was stopped within an epoch, this one continues there; the rest counts as an epoch.
        threads : int, optional
            The number of threads, at least 1; by default as many as NumPy's BLAS has. Results differ between numbers
            of threads only by rounding.
        sample_weight : array_like of shape (N,), optional
            By how much the loss of each example counts, at least 0. Only ratios matter: the weights are divided by
            their mean. If a step takes the whole set, a weight of 2 is the same as the example given twice.
        class_weight : dict or "balanced", optional
            By how much the examples of each class count, by its label; multiplies `sample_weight`. "balanced": N
            divided by the number of classes and by the number of examples in the class, or the sum of their weights.
        validation_split : float
            The share of the examples that are not trained on but evaluated after each epoch, at least 0 and below 1, if
            there is no `validation_data`. They are drawn at random, from the seed.
        metrics : mapping or sequence of callable, optional
            Functions of y_true and y_predicted, such as those of sklearn.metrics, which are evaluated after each epoch:
            see `Metrics`.
        comm : mpi4py.MPI.Intracomm, optional
            A communicator, such as MPI.COMM_WORLD, whose processes all call this method with the same arguments. Each
            takes its share of every batch; together they take the steps that one process takes, except for rounding.

        Returns
        -------
        History
            The dict of each epoch.

        Raises
        ------
        ValueError
            If an argument is not allowed, the optimizer has taken steps on another model, or another fit of this model
            is at work.
        Diverged
            If the loss of a step is not finite; theta then holds the last weights whose loss was finite.
        ImportError
            If there is a comm, but no mpi4py: ``pip install 'feedforward[mpi]'``.

        Notes
        -----
        Ctrl-C ends the fit after the current step with a KeyboardInterrupt; a second Ctrl-C ends it at once, and
        restores the weights before the step. There is no stopping rule except callbacks and optimizers that cannot
        continue: then ``history.message`` says why.
        """
        ranks = Ranks(comm)
        progress = progress and ranks.rank == 0
        with together(ranks):
            self._check_trained(optimizer)
            classes = self.classes
            if classes is None and self.classifies and self._learns_classes:
                y = as_targets(y)
                classes = learn_classes(y, self.n_out)
            data, validation = self._training_data(x, y, sample_weight, class_weight, classes, validation_data,
                                                   validation_split)
            messages = unusual(x, data[0], self.layers) if progress else []
            batch_size = len(data[0]) if batch_size is None else batch_size
            check_fit(epochs, batch_size, len(data[0]), threads, least=0 if history else 1)
            for message in messages:
                warnings.warn(message, stacklevel=2)
            batches = Batches(data[0], data[1], batch_size, self.seed, shuffle, data[2])
            names = classes, self.feature_names or column_names(x)
            called = self._callbacks(callbacks, metrics, progress, ranks)
        return self._fit(batches, optimizer, epochs, validation, called, progress, history, threads, names, ranks)

    def fit_batches(self, batches: Iterable[Any], optimizer: TakesSteps, epochs: int = 1,
                    validation_data: tuple[ArrayLike, ...] | None = None, callbacks: Sequence[Any] = (),
                    progress: bool = True, history: History | None = None, threads: int | None = None,
                    metrics: Mapping[str, Metric] | Sequence[Metric] | None = None) -> History:
        """Train the model on batches that are made one after the other, such as from files that do not fit into memory.

        Parameters
        ----------
        batches : iterable
            An object with a len(), the number of batches of an epoch, such as a list or a torch DataLoader. Each loop
            over it yields them: (x, y), or (x, y, sample_weight), as for `fit`. Weights are divided by their mean in
            the batch.
        optimizer : Optimizer
            As for `fit`.
        epochs : int
            How many times to loop over the batches.
        validation_data : tuple of array_like, optional
            (x, y), or (x, y, sample_weight), evaluated after each epoch.
        callbacks : sequence
            As for `fit`.
        progress : bool
            Whether to show a bar, or a few lines if stderr is not a terminal.
        history : History, optional
            The history of an earlier fit, which is continued.
        threads : int, optional
            As for `fit`.
        metrics : mapping or sequence of callable, optional
            As for `fit`. They need validation data.

        Returns
        -------
        History
            The dict of each epoch.

        Raises
        ------
        ValueError
            If an argument is not allowed, or a batch does not fit; the message names it.
        Diverged
            If the loss of a step is not finite.

        Notes
        -----
        The order is that of the object: shuffle in it. Labels other than 0 to K - 1 need ``Model(..., classes=[...])``.
        A training that continues from a checkpoint ends with the same bits only if the same batches come again.

        Examples
        --------
        >>> import numpy as np
        >>> from nn import CrossEntropy, Dense, Model, Softmax
        >>> from optimizers import get
        >>> class Halves:
        ...     x = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 2.0], [2.0, 0.0]])
        ...     def __len__(self):
        ...         return 2
        ...     def __iter__(self):
        ...         for rows in np.random.default_rng(0).permutation(4).reshape(2, 2):
        ...             yield self.x[rows], (self.x[rows, 0] > 0).astype(int)
        >>> model = Model([Dense(2, 2), Softmax()], CrossEntropy())
        >>> history = model.fit_batches(Halves(), get("adam", lr=0.1), epochs=30, progress=False)
        >>> model.predict_classes(Halves.x).tolist()
        [0, 1, 0, 1]
        """
        self._check_trained(optimizer)
        stream = Stream(batches, self._check, self.seed, self.feature_names)
        check_fit(epochs, stream.size, stream.size, threads, least=0 if history else 1)
        validation = None if validation_data is None else self._check(*check_validation(validation_data))
        called = self._callbacks(callbacks, metrics, progress, Ranks())
        return self._fit(stream, optimizer, epochs, validation, called, progress, history, threads,
                         (self.classes, stream.names), Ranks())

    def fit_rows(self, rows: Any, optimizer: TakesSteps, epochs: int = 1, batch_size: int | None = None,
                 validation_data: Any = None, callbacks: Sequence[Any] = (), progress: bool = True,
                 shuffle: bool = True, history: History | None = None, threads: int | None = None,
                 metrics: Mapping[str, Metric] | Sequence[Metric] | None = None, lanes: int | None = None,
                 comm: Any = None) -> History:
        """Train the model on rows that are read block by block, from files that do not fit into memory.

        Parameters
        ----------
        rows : object
            What `datasets.open_rows` returns, or an object with a len(), N, and a method ``read(start, stop)`` that
            returns (x, y) of these rows, as for `fit`. If it has ``block_ends``, an array of the row after the last of
            each of its blocks, these are read as a whole; else blocks have 1,024 rows, or fewer of more than 1,024
            numbers. If it has ``feature_names``, the model keeps them.
        optimizer : Optimizer
            As for `fit`.
        epochs : int
            How many times to go through the rows.
        batch_size : int, optional
            The number of examples in a step, from 1 to N; 1,024 by default. If it is N, as second-order methods use it,
            all examples are read once and kept in memory.
        validation_data : optional
            (x, y), or (x, y, sample_weight); or rows, which are read block by block after each epoch.
        callbacks : sequence
            As for `fit`.
        progress : bool
            Whether to show a bar, or a few lines if stderr is not a terminal, and to warn if batches mix few blocks.
        shuffle : bool
            Whether each epoch has its own order; else it is that of the rows.
        history : History, optional
            The history of an earlier fit, which is continued.
        threads : int, optional
            As for `fit`.
        metrics : mapping or sequence of callable, optional
            As for `fit`. They need validation data in memory.
        lanes : int, optional
            How many blocks a batch mixes. By default 16, or fewer if these would hold more than 2^26 numbers.
        comm : mpi4py.MPI.Intracomm, optional
            As for `fit`. Each process reads only the blocks of its share of every batch.

        Returns
        -------
        History
            The dict of each epoch.

        Raises
        ------
        ValueError
            If an argument is not allowed, or rows do not fit; the message names them. Errors of ``read`` are passed on.
        Diverged
            If the loss of a step is not finite.

        Notes
        -----
        No order of all rows is made. In each epoch, the blocks are shuffled, and the rows within each block; a batch
        takes a part of its rows from each of 16 blocks, and goes on to other blocks when these are used up: see
        `nn.blocks.Blocks`, which also states the memory that this needs. If similar rows follow one another in the
        files, such as those of one class, a batch is no random choice of all rows: shuffle the files once.

        Labels other than 0 to K - 1 need ``Model(..., classes=[...])``. A checkpoint recognizes the rows by their
        number and 1,000 of them.

        Examples
        --------
        >>> import numpy as np
        >>> from nn import CrossEntropy, Dense, Model, Softmax
        >>> from optimizers import get
        >>> class Made:  # datasets.open_rows(...) reads files
        ...     def __len__(self):
        ...         return 10_000
        ...     def read(self, start, stop):
        ...         x = np.sin(np.arange(start, stop)[:, None] * [1.0, 2.0])
        ...         return x, (x[:, 0] > x[:, 1]).astype(int)
        >>> model = Model([Dense(2, 2), Softmax()], CrossEntropy())
        >>> history = model.fit_rows(Made(), get("adam", lr=0.1), epochs=5, batch_size=200, progress=False)
        >>> model.evaluate_rows(Made())["accuracy"] > 0.95
        True
        """
        ranks = Ranks(comm)
        progress = progress and ranks.rank == 0
        with together(ranks):
            self._check_trained(optimizer)
            source = CheckedRows(rows, self._check, self.feature_names)
            batch_size = min(BATCH, len(source)) if batch_size is None else batch_size
            check_fit(epochs, batch_size, len(source), threads, least=0 if history else 1)
            check_value("fit_rows", "lanes", Count | None, lanes)
            validation: Examples | CheckedRows | None = None
            if hasattr(validation_data, "read"):
                validation = CheckedRows(validation_data, self._check, source.names)
            elif validation_data is not None:
                validation = self._check(*check_validation(validation_data))
            blocks = Blocks(source, batch_size, self.seed, shuffle, lanes)
            if progress and shuffle and (message := blocks.mixes_few()):
                warnings.warn(message, stacklevel=2)
            called = self._callbacks(callbacks, metrics, progress, ranks)
        return self._fit(blocks, optimizer, epochs, validation, called, progress, history, threads,
                         (self.classes, source.names), ranks)

    def _callbacks(self, callbacks: Sequence[Any], metrics: Mapping[str, Metric] | Sequence[Metric] | None,
                   progress: bool, ranks: Ranks) -> Callbacks:
        """Return the callbacks of a user, after one for the metrics and before one for the progress."""
        called = Callbacks(callbacks, self)
        if ranks.rank > 0:
            called = Callbacks([callback for callback in callbacks if not is_only_rank_0(callback)], self)
        if metrics is not None:
            called.add(Metrics(metrics), first=True)
        if progress:
            called.add(Progress())
        return called

    def _check_trained(self, optimizer: TakesSteps) -> None:
        """Raise ValueError if the optimizer takes no steps, or no layer is trained."""
        check_takes_steps(optimizer)
        if not len(self.theta):
            raise ValueError("no layer of the model is trained: leave out trainable=False of one")

    def _fit(self, batches: Batches, optimizer: TakesSteps, epochs: int, validation: Examples | CheckedRows | None,
             called: Callbacks, progress: bool, history: History | None, threads: int | None,
             names: tuple[tuple[Label, ...] | None, tuple[str, ...] | None], ranks: Ranks) -> History:
        """Train on batches that are checked. `names` are the classes and the names of the columns from then on."""
        history = History() if history is None else history
        with together(ranks):
            if not isinstance(history, History):
                raise ValueError(f"history must be the History of an earlier fit, not {history!r}")
        if not self._training.acquire(blocking=False):
            raise ValueError("this model is being trained already, perhaps by another thread: train a copy, "
                             "copy.deepcopy(model)")
        before, epochs_before = (self.classes, self.feature_names, self._learns_classes), len(history)
        try:
            self.stop_training = False
            (self.classes, self.feature_names), self._learns_classes = names, False
            threads = threads or ranks.threads()
            if ranks.size > 1:
                own = [callback for callback in called.all if not is_only_rank_0(callback)]
                check_training(ranks, self, optimizer, batches, epochs, validation, own, history)
            with ranks.watch(), quiet(ranks):
                return fit(self.network, batches, optimizer, epochs, validation, called, history, threads, progress,
                           ranks)
        except BaseException:
            steps = history.position.steps if history.position else 0
            if len(history) == epochs_before and not steps:  # nothing was learned
                self.classes, self.feature_names, self._learns_classes = before
            raise
        finally:
            self._training.release()

    def _training_data(self, x: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None,
                       class_weight: Mapping[Any, float] | str | None, classes: Sequence[Label] | None,
                       validation_data: tuple[ArrayLike, ...] | None,
                       validation_split: float) -> tuple[Examples, Examples | None]:
        """Return the examples to train on and those to evaluate, from the arguments of `fit`."""
        check_value("fit", "validation_split", Fraction, validation_split)
        if validation_split and validation_data is not None:
            raise ValueError("give either validation_data or validation_split, not both")
        if validation_split:
            return self._split_data(x, y, sample_weight, class_weight, classes, validation_split)
        data = self._check(x, y, sample_weight, class_weight, classes)
        if validation_data is None:
            return data, None
        validation_x, validation_y, weight = check_validation(validation_data)
        names, first = column_names(validation_x), column_names(x)
        if names is not None and first is not None:
            check_columns(names, first)
        return data, self._check(validation_x, validation_y, weight, None, classes)

    def _split_data(self, x: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None,
                    class_weight: Mapping[Any, float] | str | None, classes: Sequence[Label] | None,
                    share: float) -> tuple[Examples, Examples]:
        """Return a share of the examples to evaluate, and the others to train on; class_weight is for these alone."""
        x_rows, target, _ = self._check(x, y, classes=classes)
        weight = None if sample_weight is None else check_sample_weight(sample_weight, len(x_rows))
        training, validation = split(len(x_rows), share, self.seed)

        def part(rows: np.ndarray, of_classes: Mapping[Any, float] | str | None) -> Examples:
            own = None if weight is None else weight[rows]
            return x_rows[rows], target[rows], check_weights(own, of_classes, target[rows], self.network.loss, classes)

        return part(training, class_weight), part(validation, None)

    def _check(self, x: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None,
               class_weight: Mapping[Any, float] | str | None = None,
               classes: Sequence[Label] | None = None) -> Examples:
        """Return examples, targets and weights in the form in which the model uses them."""
        x_rows = check_examples(x, self.n_in, self.dtype, self.layers, self.feature_names)
        classes = self.classes if classes is None else classes
        target = check_targets(y, len(x_rows), self.n_out, self.dtype, self.network.loss, classes)
        return x_rows, target, check_weights(sample_weight, class_weight, target, self.network.loss, classes)

    def objective(self, x: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> BatchObjective:
        """Return the mean loss on a batch, as a function of theta.

        Dropout is active in it, with masks that stay the same as long as the objective exists.

        Parameters
        ----------
        x : array_like of shape (N, n_in)
            The examples.
        y : array_like
            The targets, as for `fit`.
        sample_weight : array_like of shape (N,), optional
            The weights, as for `fit`.

        Returns
        -------
        BatchObjective
            The objective, which computes values, gradients, Hessian products and more at the model's current theta. It
            does not write to `grad`.

        Raises
        ------
        ValueError
            If x or y does not fit.
        """
        x_rows, target, weight = self._check(x, y, sample_weight)
        network = self.network.replica()
        network.resample(generator(DROPOUT, self.seed))
        return BatchObjective([(network, Batch(x_rows, target, 1 / len(x_rows), weight))])

    def evaluate(self, x: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Scores:
        """Return the mean loss and the accuracy.

        Parameters
        ----------
        x : array_like of shape (N, n_in)
            The examples.
        y : array_like
            The targets, as for `fit`.
        sample_weight : array_like of shape (N,), optional
            By how much each example counts in the loss, as for `fit`. The accuracy counts all the same.

        Returns
        -------
        dict
            "loss", and "accuracy" from 0 to 1, which is None if the targets are not classes.

        Raises
        ------
        ValueError
            If x or y does not fit.
        """
        x_rows, target, weight = self._check(x, y, sample_weight)
        loss, correct = self.network.inference_copy().loss_and_correct(x_rows, target, len(x_rows), weight)
        return {"loss": loss, "accuracy": correct / len(x_rows) if self.network.loss.classifies(target) else None}

    def evaluate_rows(self, rows: Any, comm: Any = None) -> Scores:
        """Return the mean loss and the accuracy on rows that are read block by block.

        Parameters
        ----------
        rows : object
            As for `fit_rows`.
        comm : mpi4py.MPI.Intracomm, optional
            A communicator whose processes all call this method; each reads its share.

        Returns
        -------
        dict
            As for `evaluate`.

        Raises
        ------
        ValueError
            If rows do not fit; the message names them.
        """
        ranks, network = Ranks(comm), self.network.inference_copy()
        with together(ranks):
            source = CheckedRows(rows, self._check, self.feature_names)
            own = source.sums(lambda x, target: network.loss_and_correct(x, target, len(x)),
                              share(len(source), ranks.rank, ranks.size))
        loss, correct = map(sum, zip(*ranks.gather(own)))
        classifies = self.network.loss.classifies(source.sample[1])
        return {"loss": loss, "accuracy": correct / len(source) if classifies else None}

    def predict(self, x: ArrayLike) -> np.ndarray:
        """Return the outputs.

        Parameters
        ----------
        x : array_like of shape (N, n_in)
            The examples.

        Returns
        -------
        ndarray of shape (N, K)
            The outputs: probabilities if the model ends in Softmax or Sigmoid.

        Raises
        ------
        ValueError
            If x does not fit.
        """
        x_rows = check_examples(x, self.n_in, self.dtype, self.layers, self.feature_names)
        out, network = np.empty((len(x_rows), self.n_out), self.dtype), self.network.inference_copy()
        for rows in chunks(len(x_rows)):
            out[rows] = network.predict(x_rows[rows])
        return out

    @property
    def grad(self) -> np.ndarray:
        """The gradient (P,) of the last step, in the order of theta; rules may change it, for example by decay."""
        return self.network.grad

    @property
    def classifies(self) -> bool:
        """Whether the outputs stand for classes: the loss is not a regression, or the model ends in probabilities."""
        return self.components().classifies

    def predict_classes(self, x: ArrayLike) -> np.ndarray:
        """Return the most probable class of each example.

        Parameters
        ----------
        x : array_like of shape (N, n_in)
            The examples.

        Returns
        -------
        ndarray of shape (N,)
            The labels, from `classes`: that of the largest output; if there is one output, the second if it is above
            1/2, else the first. Without `classes`, labels are integers from 0.

        Raises
        ------
        ValueError
            If x does not fit, or the model is a regression.
        """
        if not self.classifies:
            raise ValueError(f"a model with {type(self.loss).__name__} that ends in {self.layers[-1]} predicts "
                             "numbers, not classes: use predict(x)")
        return from_indices(class_indices(self.predict(x)), self.classes)

    def parameters(self) -> dict[str, np.ndarray]:
        """Return every array of the layers by its name, such as "0.W" for the W of layer 0.

        Returns
        -------
        dict
            Views into theta and constants, with the names of the file that `save` writes: ``array[:] = ...`` changes
            the model.

        Examples
        --------
        >>> from nn import Dense, MeanSquaredError, Model
        >>> model = Model([Dense(2, 1)], MeanSquaredError())
        >>> {name: array.shape for name, array in model.parameters().items()}
        {'0.W': (2, 1), '0.b': (1,)}
        >>> model.parameters()["0.b"][:] = 7
        >>> model.layers[0].b
        array([7.], dtype=float32)
        """
        return self.components().arrays()

    def summary(self) -> str:
        """Return a table of the layers, with their outputs and their numbers of parameters.

        Returns
        -------
        str
            Several lines; ``print(model)`` shows the same.
        """
        width: int | None = self.n_in
        wide = max(32, *(len(repr(layer)) + 2 for layer in self.layers))
        lines = [f"{'layer':{wide}}{'output':>12}{'parameters':>14}"]
        for layer in self.layers:
            width = layer.output_width(width)
            constants = size(layer.constants())
            note = f" + {constants:,} constants" if constants else ""
            lines.append(f"{layer!r:{wide}}{f'(N, {width})':>12}{size(layer.shapes()):14,}{note}")
        lines.append(f"{type(self.loss).__name__ + ', ' + self.dtype.name:{wide}}{'':12}{len(self.theta):14,}")
        return "\n".join(lines)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write layers, loss, seed and parameters to one safetensors file, completely or not at all.

        Parameters
        ----------
        path : str or path-like
            The file, in a folder that exists.

        Raises
        ------
        OSError
            If the file cannot be written.
        ValueError
            If the weights are not finite, or the class of a layer or of the loss is not known: see `register`.

        Notes
        -----
        Every program that reads safetensors gets the arrays of `parameters`, by the same names. torch stores the
        transpose of W. So ``tensors = safetensors.torch.load_file(path)``, and for each layer i that is a Dense, under
        ``torch.no_grad()``, ``linear.weight.copy_(tensors[f"{i}.W"].T)`` and ``linear.bias.copy_(tensors[f"{i}.b"])``.
        `to_onnx` writes the whole model for other programs.
        """
        model_file.write(path, self.components())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Model":
        """Return the model that `save` wrote.

        Parameters
        ----------
        path : str or path-like
            The file. Nothing in it is executed.

        Returns
        -------
        Model
            The model, with its parameters.

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If it is not such a file, or names a class that is not known: see `register`.
        """
        with archive.one_line_errors(path, "a model"):
            return cls._from_parts(*model_file.read(path))

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write the model to an ONNX file, for other programs, completely or not at all.

        The input is ``x`` (N, n_in), or (N, 28, 28) if the first layer is Flatten((28, 28)). The first output is what
        `predict` returns, ``probabilities`` if the model ends in Softmax or Sigmoid, else ``output``, (N, K). If the
        model classifies, the second is ``label`` (N,), what `predict_classes` returns.

        Parameters
        ----------
        path : str or path-like
            The file, in a folder that exists.

        Raises
        ------
        ImportError
            If onnx is not installed: ``pip install 'feedforward[onnx]'``.
        OSError
            If the file cannot be written.
        ValueError
            If a layer of a class of your own has no entry in `nn.onnx_nodes.NODES`, the weights are not finite, or
            there are more than 2 GiB of them.

        Notes
        -----
        The graph is of opset 13, or 20 with GELU, and contains Standardize and Rescale. Dropout is left out. Nodes have
        names such as "0.Dense", and arrays those of `parameters`. The metadata name the loss, `feature_names` as JSON,
        and under "feedforward" the description that `from_onnx` reads. The doc_string of the input names the features.

        onnxruntime 1.32 computes a float64 model on CPUs unless it contains GELU. LeakyReLU, ELU and Softplus, for
        which it has no operators in float64, are then several nodes.
        """
        onnx_file.write(path, self.components())

    @classmethod
    def from_onnx(cls, path: str | os.PathLike[str], loss: Loss | None = None) -> "Model":
        """Return the model of an ONNX file: one that `to_onnx` wrote, or a multilayer perceptron from torch.

        Parameters
        ----------
        path : str or path-like
            The file. Nothing in it is executed.
        loss : Loss, optional
            The loss. By default that of the model that was written; for a file of another program, CrossEntropy if it
            ends in Softmax, BinaryCrossEntropy if it ends in Sigmoid, else MeanSquaredError.

        Returns
        -------
        Model
            The model. One that `to_onnx` wrote is the same bit for bit, with its seed, classes and names.

        Raises
        ------
        ImportError
            If onnx is not installed: ``pip install 'feedforward[onnx]'``.
        OSError
            If the file cannot be read.
        InvalidFile
            If it is not such a file, or it computes something that no chain of our layers does; the message names the
            node.

        Notes
        -----
        Of a file of another program, these operators are read: Gemm, MatMul, Add of a bias, Relu, LeakyRelu, Elu, Gelu
        or its decomposition by Erf, Tanh, Sigmoid, Softplus, Softmax, Flatten, Reshape to rows, Dropout and Identity,
        which are left out; Sub and Div by constants, which are a Standardize, and Mul, Add and BatchNormalization,
        which are a Rescale. Arrays may be in another file of the same folder.

        A classifier of torch usually ends before its softmax. Add it to a new model with the same parameters:
        ``model = Model([*read.layers, Softmax()], CrossEntropy())``, ``model.theta = read.theta`` and
        ``model.constants[:] = read.constants``.
        """
        with archive.one_line_errors(path, "an ONNX model"):
            return cls._from_parts(*onnx_file.read(path, loss))

    def components(self) -> Components:
        """Return the parts of the model.

        Returns
        -------
        Components
            A named tuple: layers, loss, seed, dtype, theta and constants, which are not copies, and the names.
        """
        return Components(self.layers, self.loss, self.seed, self.dtype.name, self.theta, self.constants, self.classes,
                          self.feature_names)

    @classmethod
    def _from_parts(cls, layers: Sequence[Layer], loss: Loss, seed: int, dtype: str, theta: np.ndarray,
                    constants: np.ndarray, classes: Sequence[Label] | None,
                    feature_names: Sequence[str] | None) -> "Model":
        model = cls(layers, loss, seed, dtype, classes, feature_names)
        model.theta = theta
        model.constants[:] = constants
        model._learns_classes = False
        return model

    def check_data(self, x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Return examples and targets in the form in which the model uses them.

        Parameters
        ----------
        x : array_like of shape (N, n_in)
            The examples.
        y : array_like
            The targets, as for `fit`.

        Returns
        -------
        x : ndarray of shape (N, n_in)
            The examples in the model's dtype.
        target : ndarray of shape (N, K)
            The targets in the model's dtype.

        Raises
        ------
        ValueError
            If x or y does not fit.
        """
        x_rows, target, _ = self._check(x, y)
        return x_rows, target

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle by layers, loss and parameters, so that a copy has its own theta."""
        layers = [(type(layer), layer.description()) for layer in self.layers]
        loss = (type(self.loss), self.loss.description())
        parts = (type(self), layers, loss, self.seed, self.dtype.name, self.theta.copy(), self.constants.copy(),
                 self.classes, self.feature_names)
        return _rebuild, parts, {"_learns_classes": self._learns_classes}

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        width: int | None = self.n_in
        widths = [width]
        for layer in self.layers:
            width = layer.output_width(width)
            if layer.shapes() or any(len(shape) > 1 for shape in layer.constants().values()):
                widths.append(width)
        return (f"Model({'-'.join(map(str, widths))}, {type(self.loss).__name__}, {self.dtype}, "
                f"{len(self.theta):,} parameters)")


def _rebuild(kind: type[Model], layers: Sequence[tuple[type[Layer], dict[str, Any]]],
             loss: tuple[type[Loss], dict[str, Any]], *others: Any) -> Model:
    return kind._from_parts([layer(**fields) for layer, fields in layers], loss[0](**loss[1]), *others)
