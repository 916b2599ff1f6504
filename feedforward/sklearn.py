"""FeedforwardClassifier and FeedforwardRegressor: networks as estimators of scikit-learn."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

try:
    from sklearn.base import ClassifierMixin, RegressorMixin
    from sklearn.utils import column_or_1d
    from sklearn.utils.multiclass import check_classification_targets, type_of_target

    from feedforward.estimator import Estimator
except ImportError as error:
    raise ImportError(f"feedforward.sklearn needs scikit-learn, 1.6 or later ({error}): write "
                      "pip install 'feedforward[sklearn]'") from error
from feedforward.data import DataShape
from nn import Rescale
from nn.labels import as_labels, shown, to_indices
from nn.weights import balanced_factors

__all__ = ["FeedforwardClassifier", "FeedforwardRegressor"]


@dataclass(kw_only=True, eq=False, repr=False)
class FeedforwardClassifier(ClassifierMixin, Estimator):
    """A network that classifies, as an estimator of scikit-learn.

    It ends in softmax and is trained with cross-entropy. If y has several columns of 0 and 1, which say of each label
    whether it applies, it ends in sigmoid and is trained with binary cross-entropy.

    Parameters
    ----------
    hidden : sequence of int
        The units of each hidden layer, each at least 1.
    activation : str
        The activation of the hidden layers: a name in ACTIVATIONS.
    init : str
        The initializer of the weights: a name in INITIALIZERS.
    dropout : float
        The rate of dropout after each hidden layer, at least 0 and below 1.
    l2 : float, optional
        The penalty, at least 0: ``l2 / (2 N) |theta|^2`` is added to the mean loss. N is the number of examples, or
        the sum of their weights if that is larger. By default 1 if the optimizer has such a penalty: adamw and the
        second-order optimizers do not. It is the `alpha` of ``MLPClassifier``, which is 0.0001 there.
    optimizer : str
        A name in OPTIMIZERS, such as "adam" or "lbfgs".
    optimizer_params : mapping, optional
        The fields of the optimizer, such as {"lr": 0.001}. By default lr is 0.01, or the optimizer's own default if
        that is 1; other fields have the optimizer's defaults.
    schedule : str, optional
        The learning rate over the epochs, such as "cosine" or "warmup:5+cosine": see `parse_schedule`. By default
        "cosine" if a step takes only some of the examples, because its gradient is then noisy; otherwise constant.
    epochs : int
        The number of epochs, at least 1.
    batch_size : int, optional
        The number of examples in a step, at least 1; all if there are fewer. By default all for second-order
        optimizers and for up to 500 examples, otherwise 200.
    early_stopping : bool
        Whether to hold out examples for validation, end training if the loss on them has not improved for some epochs,
        and restore the best weights.
    validation_fraction : float
        The share of the examples to hold out, above 0 and below 1. Each class gives the same share. Examples with the
        same features stay together, so that repetitions of an example are not used to validate it.
    patience : int
        How many epochs without improvement end training, at least 1.
    warm_start : bool
        Whether another `fit` starts with the weights of the last one, and a new optimizer.
    dtype : str, optional
        The type of the parameters: "float32" or "float64". By default that of X, or float64 if X has another type.
    threads : int, optional
        The number of threads, at least 1. By default 1 for small networks, otherwise as many as NumPy's BLAS has.
    random_state : int or RandomState, optional
        The seed of the first weights, of dropout, of the order of examples and of those that are held out.
    verbose : bool
        Whether to show progress.
    callbacks : sequence
        Objects with methods such as ``on_epoch_end(model, epoch)``; see `nn.callbacks`.
    class_weight : dict or "balanced", optional
        By how much the examples of each class count; 1 for those that a dict does not hold. "balanced": each class as
        much as any other.

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
        The classes; the numbers of the columns if y has several.
    model_ : Model
        The trained model, which can be saved.
    optimizer_ : Optimizer
        The optimizer, with its state.
    history_ : History
        The dict of each epoch, with the loss on the examples that were held out as "val_loss".
    loss_curve_ : list of float
        The mean loss of each epoch.
    n_iter_ : int
        The number of epochs.
    n_features_in_ : int
        The number of features.
    feature_names_in_ : ndarray of str
        Their names, if X was a DataFrame whose columns have names.

    Notes
    -----
    It needs scikit-learn, 1.6 or later, which the extra `sklearn` installs. Sparse X is refused.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from feedforward.sklearn import FeedforwardClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> pipeline = make_pipeline(StandardScaler(), FeedforwardClassifier(random_state=0))
    >>> bool(cross_val_score(pipeline, X, y).mean() > 0.9)
    True
    """

    class_weight: Mapping[Any, float] | str | None = None

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train for one epoch on some examples, after those of earlier calls.

        Parameters
        ----------
        X : array_like or DataFrame of shape (N, n_features)
            The examples.
        y : array_like
            Their classes, as for `fit`.
        classes : array_like, optional
            All classes that y may hold in any call. The first call needs them, unless y has several columns.
        sample_weight : array_like of shape (N,), optional
            By how much each example counts.

        Returns
        -------
        FeedforwardClassifier
            The estimator itself.

        Raises
        ------
        ValueError
            If a parameter or the data are not allowed.

        Notes
        -----
        The optimizer keeps its state from call to call. There is no penalty unless optimizer_params gives a
        weight_decay, and the learning rate is constant unless there is a schedule. `early_stopping` has no effect.
        """
        if isinstance(self.class_weight, str):
            raise ValueError(f"class_weight={self.class_weight!r} needs all examples, but partial_fit has only some: "
                             "give a dict")
        known = hasattr(self, "model_")
        if classes is None and not known and (np.ndim(y) == 1 or np.shape(y)[-1:] == (1,)):
            raise ValueError("the first call of partial_fit needs classes=..., all classes that y may hold in any call")
        if classes is not None and known and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"classes are {shown(np.unique(classes).tolist())}, but were "
                             f"{shown(self.classes_.tolist())} before: give the same, or none")
        return self._partial_fit(X, y, sample_weight, classes)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each example.

        Parameters
        ----------
        X : array_like or DataFrame of shape (N, n_features)
            The examples.

        Returns
        -------
        ndarray of shape (N,) or (N, K)
            The classes; if y had several columns, 1 for each label whose probability is above 1/2, else 0.
        """
        p = self._outputs(X)
        labels: np.ndarray = (p > 0.5).astype(np.int64) if self._multilabel else self.classes_[p.argmax(axis=1)]
        return labels

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class.

        Parameters
        ----------
        X : array_like or DataFrame of shape (N, n_features)
            The examples.

        Returns
        -------
        ndarray of shape (N, K)
            The probabilities, in the order of `classes_`.
        """
        return self._outputs(X)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithm of the probability of each class.

        Parameters
        ----------
        X : array_like or DataFrame of shape (N, n_features)
            The examples.

        Returns
        -------
        ndarray of shape (N, K)
            The logarithms; -inf for a probability of 0.
        """
        with np.errstate(divide="ignore"):
            log_p: np.ndarray = np.log(self._outputs(X))
        return log_p

    def _learn_targets(self, y: np.ndarray, weight: np.ndarray, classes: Any) -> None:
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y")
        if kind == "multiclass-multioutput":
            raise ValueError(f"y has {y.shape[1]} columns with more than two classes: give one column, or columns of 0 "
                             "and 1")
        self._multilabel = kind == "multilabel-indicator"
        if self._multilabel:
            self.classes_ = np.arange(y.shape[1])
            return
        self.classes_ = np.unique(column_or_1d(y) if classes is None else classes)
        if len(self.classes_) < 2:
            raise ValueError(f"y holds one class, {shown(self.classes_.tolist())}: a classifier needs at least two")

    def _encode(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        check_classification_targets(y)
        if self._multilabel:
            if y.ndim != 2 or y.shape[1] != len(self.classes_):
                raise ValueError(f"y has shape {y.shape}, but had {len(self.classes_)} columns of 0 and 1 before: give "
                                 "the same columns")
            return y, np.zeros(len(y), int)
        labels = to_indices(as_labels(column_or_1d(y, warn=True)), self.classes_.tolist())
        return np.eye(len(self.classes_))[labels], labels

    def _shape(self, n: int, n_in: int, names: Any) -> DataShape:
        labels = self.classes_.tolist()
        named = not self._multilabel and all(isinstance(label, (str, int)) for label in labels)
        return DataShape("y", n, n_in, len(labels), labels=labels if named else None, feature_names=names)

    @property
    def _loss(self) -> str:
        return "binary-cross-entropy" if self._multilabel else "cross-entropy"

    def _class_factors(self, labels: np.ndarray, weight: np.ndarray) -> np.ndarray | None:
        if self.class_weight is None:
            return None
        if self._multilabel:
            raise ValueError("class_weight needs one class for each example, but y has several columns: give "
                             "sample_weight")
        if isinstance(self.class_weight, Mapping):
            known = self.classes_.tolist()
            unknown = [label for label in self.class_weight if label not in known]
            if unknown and not set(known) <= set(self.class_weight):  # otherwise those that y does not hold are named
                raise ValueError(f"class_weight has the class {unknown[0]!r}, but the classes are {shown(known)}")
            given = [self.class_weight.get(label, 1) for label in known]
            factors = np.array([factor if isinstance(factor, (int, float, np.number)) else np.nan for factor in given])
            if not (np.isfinite(factors).all() and (factors >= 0).all()):
                raise ValueError(f"class_weight must hold finite numbers of at least 0, not {self.class_weight!r}")
        elif self.class_weight == "balanced":
            factors = balanced_factors(labels, weight, len(self.classes_))
        else:
            raise ValueError("class_weight must be a dict of a number for each class, or 'balanced', not "
                             f"{self.class_weight!r}")
        each: np.ndarray = factors[labels]
        return each

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class FeedforwardRegressor(RegressorMixin, Estimator):
    """A network that predicts one number or several, as an estimator of scikit-learn.

    It is trained with the mean squared error. Each column of y is brought to mean 0 and standard deviation 1 for the
    training, and predictions have the units of y.

    Parameters
    ----------
    hidden : sequence of int
        The units of each hidden layer, each at least 1.
    activation : str
        The activation of the hidden layers: a name in ACTIVATIONS.
    init : str
        The initializer of the weights: a name in INITIALIZERS.
    dropout : float
        The rate of dropout after each hidden layer, at least 0 and below 1.
    l2 : float, optional
        The penalty, at least 0: ``l2 / (2 N) |theta|^2`` is added to the mean loss. N is the number of examples, or
        the sum of their weights if that is larger. By default 1 if the optimizer has such a penalty: adamw and the
        second-order optimizers do not.
    optimizer : str
        A name in OPTIMIZERS, such as "adam" or "lm".
    optimizer_params : mapping, optional
        The fields of the optimizer, such as {"lr": 0.001}. By default lr is 0.01, or the optimizer's own default if
        that is 1; other fields have the optimizer's defaults.
    schedule : str, optional
        The learning rate over the epochs, such as "cosine" or "warmup:5+cosine": see `parse_schedule`. By default
        "cosine" if a step takes only some of the examples, because its gradient is then noisy; otherwise constant.
    epochs : int
        The number of epochs, at least 1.
    batch_size : int, optional
        The number of examples in a step, at least 1; all if there are fewer. By default all for second-order
        optimizers and for up to 500 examples, otherwise 200.
    early_stopping : bool
        Whether to hold out examples for validation, end training if the loss on them has not improved for some epochs,
        and restore the best weights.
    validation_fraction : float
        The share of the examples to hold out, above 0 and below 1. Examples with the same features stay together, so
        that repetitions of an example are not used to validate it.
    patience : int
        How many epochs without improvement end training, at least 1.
    warm_start : bool
        Whether another `fit` starts with the weights of the last one, and a new optimizer. The means and scales of y
        stay those of the first fit.
    dtype : str, optional
        The type of the parameters: "float32" or "float64". By default that of X, or float64 if X has another type.
    threads : int, optional
        The number of threads, at least 1. By default 1 for small networks, otherwise as many as NumPy's BLAS has.
    random_state : int or RandomState, optional
        The seed of the first weights, of dropout, of the order of examples and of those that are held out.
    verbose : bool
        Whether to show progress.
    callbacks : sequence
        Objects with methods such as ``on_epoch_end(model, epoch)``; see `nn.callbacks`.

    Attributes
    ----------
    model_ : Model
        The trained model. It ends in `Rescale`, so that its outputs have the units of y.
    optimizer_ : Optimizer
        The optimizer, with its state.
    history_ : History
        The dict of each epoch, with the loss on the examples that were held out as "val_loss".
    loss_curve_ : list of float
        The mean squared error of each epoch, relative to the variance of y.
    n_iter_ : int
        The number of epochs.
    n_features_in_ : int
        The number of features.
    feature_names_in_ : ndarray of str
        Their names, if X was a DataFrame whose columns have names.

    Notes
    -----
    It needs scikit-learn, 1.6 or later, which the extra `sklearn` installs. Sparse X is refused.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from feedforward.sklearn import FeedforwardRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> pipeline = make_pipeline(StandardScaler(), FeedforwardRegressor(random_state=0))
    >>> bool(cross_val_score(pipeline, X, y).mean() > 0.3)
    True
    """

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch on some examples, after those of earlier calls.

        Parameters
        ----------
        X : array_like or DataFrame of shape (N, n_features)
            The examples.
        y : array_like
            Their targets, as for `fit`.
        sample_weight : array_like of shape (N,), optional
            By how much each example counts.

        Returns
        -------
        FeedforwardRegressor
            The estimator itself.

        Raises
        ------
        ValueError
            If a parameter or the data are not allowed.

        Notes
        -----
        The means and scales of y are those of the first call, which should therefore have many examples. The optimizer
        keeps its state from call to call. There is no penalty unless optimizer_params gives a weight_decay, and the
        learning rate is constant unless there is a schedule. `early_stopping` has no effect.
        """
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Any) -> np.ndarray:
        """Return the predicted numbers.

        Parameters
        ----------
        X : array_like or DataFrame of shape (N, n_features)
            The examples.

        Returns
        -------
        ndarray of shape (N,) or (N, K)
            The predictions, in the units and the shape of y.
        """
        y = self._outputs(X)
        return y if self._columns else y[:, 0]

    def _learn_targets(self, y: np.ndarray, weight: np.ndarray, classes: Any) -> None:
        self._columns = y.ndim == 2
        self._rescale = Rescale.of(y.reshape(len(y), -1).astype(np.float64), weight)

    def _encode(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return y.reshape(len(y), -1), np.zeros(len(y), int)

    def _shape(self, n: int, n_in: int, names: Any) -> DataShape:
        return DataShape("y", n, n_in, self._rescale.n_in, classifies=False, feature_names=names, outputs=self._rescale)

    @property
    def _loss(self) -> str:
        return "mean-squared-error"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
