"""Estimator: the parameters and the training that the estimators of feedforward.sklearn share."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.base import BaseEstimator, is_regressor
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from feedforward.data import DataShape
from feedforward.holdout import hold_out
from feedforward.network import build_network, check_hidden
from feedforward.stages import default_lr
import nn
from nn.fields import Count, Fraction, NonNegative, PositiveFraction, check_value, field_types, lookup
from nn.weights import check_sample_weight
from optimizers import OPTIMIZERS, FirstOrder, Optimizer, Scheduled, get, hyperparameters, parse_schedule

WHOLE = 500  # examples: up to so many are one batch by default
BATCH = 200  # examples in a batch by default, if there are more
MIN_PRODUCTS = 1 << 22  # examples of a batch times parameters: with fewer, threads of BLAS cost more than they save
FLOATS = (np.float64, np.float32)  # the types of X that are used as they are; others become the first


class Data(NamedTuple):
    """Examples (N, n_in), their targets, the class (N,) of each, and their weights (N,) if they differ."""

    x: np.ndarray
    target: np.ndarray
    labels: np.ndarray
    weight: np.ndarray | None

    def select(self, rows: np.ndarray) -> "Data":
        """Return some of the examples."""
        weight = None if self.weight is None else self.weight[rows]
        return Data(self.x[rows], self.target[rows], self.labels[rows], weight)

    @property
    def weights(self) -> np.ndarray:
        """The weights, also if they are all 1."""
        return np.ones(len(self.x)) if self.weight is None else self.weight


@dataclass(kw_only=True, eq=False, repr=False)
class Estimator(BaseEstimator, ABC):
    """Base of the estimators. The fields are their parameters, which scikit-learn sets without any check."""

    hidden: Sequence[int] = (50,)
    activation: str = "relu"
    init: str = "he"
    dropout: Fraction = 0.0
    l2: NonNegative | None = None
    optimizer: str = "adam"
    optimizer_params: Mapping[str, Any] | None = None
    schedule: str | None = None
    epochs: Count = 100
    batch_size: Count | None = None
    early_stopping: bool = False
    validation_fraction: PositiveFraction = 0.1
    patience: Count = 20
    warm_start: bool = False
    dtype: str | None = None
    threads: Count | None = None
    random_state: Any = None
    verbose: bool | int = False
    callbacks: Sequence[Any] = ()

    @abstractmethod
    def _learn_targets(self, y: np.ndarray, weight: np.ndarray, classes: Any) -> None:
        """Set the attributes that describe the targets: the classes, or their means and scales."""

    @abstractmethod
    def _encode(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the targets of the model, and the class of each example, which is 0 if there are none."""

    @abstractmethod
    def _shape(self, n: int, n_in: int, names: Any) -> DataShape:
        """Return what of the data determines the network: n examples, n_in inputs and their names."""

    @property
    @abstractmethod
    def _loss(self) -> str:
        """The name of the loss."""

    def _class_factors(self, labels: np.ndarray, weight: np.ndarray) -> np.ndarray | None:
        """Return by how much the class of each example counts; None if all count the same."""
        return None

    @property
    def n_iter_(self) -> int:
        """The number of epochs."""
        return len(self.history_)

    @property
    def loss_curve_(self) -> list[float]:
        """The mean loss of each epoch."""
        return self.history_["loss"]

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train the network.

        Parameters
        ----------
        X : array_like or DataFrame of shape (N, n_features)
            The examples, finite numbers. Bring the features to similar scales first, for example by StandardScaler.
        y : array_like
            The targets: labels or numbers (N,), or (N, K) for several.
        sample_weight : array_like of shape (N,), optional
            By how much each example counts, at least 0. If a step takes all examples, a weight of 2 is the same as the
            example given twice, and a weight of 0 the same as the example left out.

        Returns
        -------
        object
            The estimator itself.

        Raises
        ------
        ValueError
            If a parameter or the data are not allowed.
        Diverged
            If the loss becomes infinite or NaN.
        """
        with self._unchanged_by_errors():
            self._fit(X, y, sample_weight)
        return self

    @contextmanager
    def _unchanged_by_errors(self) -> Iterator[None]:
        """After an error within the context, the estimator is what it was before, with its last model."""
        before = self.__dict__.copy()
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> None:
        """Do what `fit` does."""
        self._check_parameters()
        warm = self.warm_start and hasattr(self, "model_")
        data, seed = self._check_data(X, y, sample_weight, known=warm), self._seed()
        callbacks, validation = [*(self.callbacks or ())], None
        if self.early_stopping:
            held = hold_out(data.x, data.labels, data.weights, self.validation_fraction, seed)
            validation, data = data.select(held), data.select(~held)
            callbacks.append(nn.EarlyStopping(patience=self.patience))
        model = self._new_model(data, seed)
        if warm:
            self._copy_weights(model)
        batches = len(data.x) > self._batch_size(len(data.x))
        optimizer = self._new_optimizer(data, self._weight_decay(data), "cosine" if batches else None)
        history = self._train(model, data, optimizer, self.epochs, nn.History(), callbacks, validation)
        self.model_, self.optimizer_, self.history_, self._in_parts = model, optimizer, history, False

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, classes: Any = None) -> Self:
        """Train for one epoch, with the optimizer and after the epochs of the last call."""
        with self._unchanged_by_errors():
            self._fit_part(X, y, sample_weight, classes)
        return self

    def _fit_part(self, X: Any, y: Any, sample_weight: Any, classes: Any) -> None:
        self._check_parameters()
        known = hasattr(self, "model_")
        data = self._check_data(X, y, sample_weight, known, classes)
        if known:
            model, optimizer, history = self.model_, self.optimizer_, self.history_
            if not self._in_parts:  # the schedule of `fit` has ended
                optimizer = self._new_optimizer(data)
        elif self.l2:
            raise ValueError(f"{type(self).__name__}: l2 is divided by the number of examples, which partial_fit does "
                             "not know: give optimizer_params={'weight_decay': ...}")
        else:
            model, optimizer, history = self._new_model(data, self._seed()), self._new_optimizer(data), nn.History()
        self._train(model, data, optimizer, 1, history, self.callbacks or ())
        self.model_, self.optimizer_, self.history_, self._in_parts = model, optimizer, history, True

    def _train(self, model: nn.Model, data: Data, optimizer: Optimizer, epochs: int, history: nn.History,
               callbacks: Sequence[Any], validation: Data | None = None) -> nn.History:
        size, threads = self._batch_size(len(data.x)), self.threads
        if threads is None and size * len(model.theta) < MIN_PRODUCTS:
            threads = 1
        held = None if validation is None else (validation.x, validation.target, validation.weights)
        return model.fit(data.x, data.target, optimizer, epochs, size, validation_data=held, callbacks=callbacks,
                         progress=bool(self.verbose), history=history, threads=threads, sample_weight=data.weight)

    def _check_parameters(self) -> None:
        """Raise ValueError if a parameter is not allowed."""
        name = type(self).__name__
        for field, kind in field_types(type(self)).items():
            check_value(name, field, kind, getattr(self, field))
        check_hidden(self.hidden)
        lookup("optimizer", self.optimizer, OPTIMIZERS)
        if not isinstance(self.optimizer_params or {}, Mapping):
            raise ValueError(f"{name}: optimizer_params must be a dict such as {{'lr': 0.01}}, not "
                             f"{self.optimizer_params!r}")
        if self.l2 and "weight_decay" in (self.optimizer_params or {}):
            raise ValueError(f"{name}: l2 and optimizer_params both set the weight_decay of {self.optimizer}: give one "
                             "of them")
        if self.l2 and not self._has_penalty:
            raise ValueError(f"{name}: {self.optimizer} has no L2 penalty: leave out l2")

    def _check_data(self, X: Any, y: Any, sample_weight: Any, known: bool, classes: Any = None) -> Data:
        """Return the examples whose weight is not 0.

        The attributes that describe the data are set; if they are `known`, the data are checked against them.
        """
        X, y = validate_data(self, X, y, dtype=FLOATS, multi_output=True, reset=not known,
                             y_numeric=is_regressor(self))
        y = y.toarray() if hasattr(y, "toarray") else y  # several labels may be given as a sparse matrix
        weight = np.ones(len(X)) if sample_weight is None else check_sample_weight(sample_weight, len(X))
        if not known:
            self._learn_targets(y, weight, classes)
        target, labels = self._encode(y)
        factors = self._class_factors(labels, weight)
        if sample_weight is None and factors is None:
            return Data(X, target, labels, None)
        weight = weight if factors is None else weight * factors
        if not weight.any():
            raise ValueError("sample_weight times class_weight is zero for all examples: give other weights")
        return Data(X, target, labels, weight).select(weight != 0)

    def _seed(self) -> int:
        if isinstance(self.random_state, Integral):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _batch_size(self, n: int) -> int:
        """Return how many of n examples a step takes."""
        if self.batch_size is not None:
            return min(self.batch_size, n)
        return BATCH if n > WHOLE and issubclass(OPTIMIZERS[self.optimizer], FirstOrder) else n

    def _new_model(self, data: Data, seed: int) -> nn.Model:
        shape = self._shape(len(data.x), data.x.shape[1], getattr(self, "feature_names_in_", None))
        dtype = data.x.dtype.name if self.dtype is None else self.dtype
        return build_network(shape, check_hidden(self.hidden), self.activation, self.init, self._loss, self.dropout,
                             seed, dtype)

    def _copy_weights(self, model: nn.Model) -> None:
        """Give the model the weights of the last fit. Raises ValueError if that had other layers."""
        shapes, before = ([layer.shapes() for layer in each.layers if layer.shapes()] for each in (model, self.model_))
        if shapes != before:
            raise ValueError(f"{type(self).__name__}: warm_start continues {self.model_!r}, but hidden has changed: "
                             "set warm_start=False")
        model.theta = self.model_.theta

    @property
    def _has_penalty(self) -> bool:
        """Whether the weight decay of the optimizer is an L2 penalty, and not set by default."""
        return hyperparameters(OPTIMIZERS[self.optimizer]).get("weight_decay") == 0

    def _weight_decay(self, data: Data) -> dict[str, float]:
        """Return the weight decay for l2, if the optimizer has one."""
        # repeated examples and larger weights are the same; if weights are scaled to a small sum, N stays
        N = max(len(data.x), float(data.weights.sum()))
        return {"weight_decay": (1.0 if self.l2 is None else self.l2) / N} if self._has_penalty else {}

    def _new_optimizer(self, data: Data, fields: Mapping[str, float] = {}, schedule: str | None = None) -> Optimizer:
        """Return a new optimizer; `fields` and `schedule` are used where the user gives nothing else."""
        default = default_lr(self.optimizer)
        rate = {} if default is None else {"lr": default}
        optimizer = get(self.optimizer, **{**rate, **fields, **(self.optimizer_params or {})})
        text = schedule if self.schedule is None and default is not None else self.schedule
        if text is None:
            return optimizer
        steps = -(-len(data.x) // self._batch_size(len(data.x)))
        return Scheduled(optimizer, parse_schedule(text, self.epochs), unit=steps)

    def _outputs(self, X: Any) -> np.ndarray:
        """Return the outputs of the model."""
        check_is_fitted(self, "model_")
        return self.model_.predict(validate_data(self, X, dtype=FLOATS, reset=False))
