"""The estimators for scikit-learn: its own checks, weights, frames, searches, and what is refused."""

import copy
import io
import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install 'feedforward[sklearn]'")

from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_diabetes, load_iris, load_linnerud, make_multilabel_classification
from sklearn.exceptions import NotFittedError
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.utils.estimator_checks import parametrize_with_checks

from feedforward.holdout import hold_out
from feedforward.sklearn import FeedforwardClassifier, FeedforwardRegressor
from nn import Diverged, Model
from optimizers import OPTIMIZERS, FirstOrder, Scheduled

ESTIMATORS = (FeedforwardClassifier, FeedforwardRegressor)
IRIS, SPECIES = load_iris(return_X_y=True)
IRIS, NAMES = scale(IRIS), np.array(["setosa", "versicolor", "virginica"])[SPECIES]
DIABETES, PROGRESSION = load_diabetes(return_X_y=True)
DIABETES = scale(DIABETES)

# the data of many checks are noise, whose loss stays that of a constant
NOISE = pytest.mark.filterwarnings(r"ignore:epoch \d+. the loss has been \S+ for 5 epochs:UserWarning")
# warm_start continues: fits that are repeated give the same predictions only if the first one has converged
OTHER = ({"early_stopping": True, "validation_fraction": 0.2}, {"optimizer": "lm"},
         {"optimizer": "lbfgs", "epochs": 20}, {"warm_start": True, "optimizer": "lbfgs", "hidden": ()})


@NOISE
@parametrize_with_checks([kind() for kind in ESTIMATORS])
def test_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.slow
@NOISE
@parametrize_with_checks([kind(**options) for kind in ESTIMATORS for options in OTHER]
                         + [FeedforwardRegressor(optimizer="newton", epochs=20)])
def test_the_checks_of_scikit_learn_with_other_settings(estimator, check):
    check(estimator)


def data_of(kind):
    return (IRIS, NAMES) if kind is FeedforwardClassifier else (DIABETES, PROGRESSION)


def outputs(estimator, x):
    return estimator.predict_proba(x) if isinstance(estimator, FeedforwardClassifier) else estimator.predict(x)


@pytest.mark.parametrize("kind", ESTIMATORS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_trains_both(kind, name):
    x, y = data_of(kind)
    estimator = kind(hidden=(5,), optimizer=name, epochs=4, random_state=0).fit(x, y)
    assert isinstance(estimator.optimizer_, OPTIMIZERS[name])
    assert len(estimator.loss_curve_) == estimator.n_iter_ == 4
    assert estimator.loss_curve_[-1] < estimator.loss_curve_[0]


@pytest.mark.parametrize("kind", ESTIMATORS)
@pytest.mark.parametrize("options", [{}, {"early_stopping": True}, {"optimizer": "lbfgs", "epochs": 15},
                                     {"class_weight": "balanced"}, {"class_weight": {"setosa": 3, "virginica": 0}}])
def test_a_weight_is_the_same_as_repetitions(kind, options):
    x, y = (part[::3] for part in data_of(kind))
    if "class_weight" in options and kind is FeedforwardRegressor:
        with pytest.raises(TypeError, match="class_weight"):
            kind(**options)
        return
    weight = np.random.default_rng(0).integers(0, 3, len(x))
    estimator = kind(random_state=0, **options)
    weighted = clone(estimator).fit(x, y, sample_weight=weight)
    repeated = clone(estimator).fit(np.repeat(x, weight, axis=0), np.repeat(y, weight))
    np.testing.assert_allclose(outputs(weighted, x), outputs(repeated, x), rtol=1e-7, atol=1e-9)
    assert np.abs(outputs(weighted, x) - outputs(clone(estimator).fit(x, y), x)).max() > 1e-3


def test_the_penalty_is_that_of_the_sum_of_weights_or_the_number_of_examples():
    def decay(weight=None, **options):
        estimator = FeedforwardClassifier(epochs=1, **options).fit(IRIS, NAMES, weight)
        return estimator.optimizer_.weight_decay

    assert decay() == 1 / 150
    assert decay(l2=3.0) == 3 / 150
    assert decay(l2=0.0) == 0
    assert decay(np.full(150, 2)) == 1 / 300
    assert decay(np.full(150, 1e-9)) == 1 / 150  # only ratios matter if the sum is small
    assert decay(optimizer_params={"weight_decay": 0.5}) == 0.5
    assert decay(optimizer="adamw") == 0.01
    weights = [np.abs(FeedforwardClassifier(l2=l2, random_state=0).fit(IRIS, NAMES).model_.theta).mean()
               for l2 in (0, 1, 100)]
    assert weights == sorted(weights, reverse=True)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_partial_fits_are_the_epochs_of_one_fit(kind):
    x, y = data_of(kind)
    for options in ({"batch_size": 40, "dropout": 0.1, "schedule": "constant"}, {"optimizer": "lbfgs"}):
        parts = kind(l2=0.0, hidden=(6,), random_state=3, **options)
        whole = clone(parts).set_params(epochs=3).fit(x, y)
        for call in range(3):
            classes = {"classes": np.unique(y)} if call == 0 and kind is FeedforwardClassifier else {}
            parts.partial_fit(x, y, **classes)
            parts = copy.deepcopy(parts)
        np.testing.assert_array_equal(parts.model_.theta, whole.model_.theta)
        assert parts.n_iter_ == 3


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_warm_start_continues_with_the_weights(kind):
    x, y = data_of(kind)
    options = {"optimizer": "gd", "optimizer_params": {"lr": 0.1}, "random_state": 0}
    whole = kind(epochs=20, **options).fit(x, y)
    warm = kind(epochs=10, warm_start=True, **options).fit(x, y)
    np.testing.assert_array_equal(warm.fit(x, y).model_.theta, whole.model_.theta)
    with pytest.raises(ValueError, match=r"warm_start continues Model\(.*\), but hidden has changed: set warm_start"):
        warm.set_params(hidden=(7,)).fit(x, y)
    with pytest.raises(ValueError, match="features"):
        warm.set_params(hidden=(50,)).fit(x[:, :3], y)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_copies_predict_and_train_the_same(kind):
    import joblib  # comes with scikit-learn

    x, y = data_of(kind)
    first = kind(random_state=0, epochs=5, batch_size=40, schedule="cosine").fit(x, y)
    memory = io.BytesIO()
    joblib.dump(first, memory)
    memory.seek(0)
    copies = [first, copy.deepcopy(first), pickle.loads(pickle.dumps(first)), joblib.load(memory)]
    for estimator in copies:
        np.testing.assert_array_equal(outputs(estimator, x), outputs(first, x))
    for estimator in copies:
        estimator.partial_fit(x, y)
    for estimator in copies:
        np.testing.assert_array_equal(outputs(estimator, x), outputs(first, x))


def test_the_random_state_determines_the_result():
    def theta(random_state):
        return FeedforwardRegressor(epochs=2, random_state=random_state).fit(DIABETES, PROGRESSION).model_.theta

    np.testing.assert_array_equal(theta(5), theta(5))
    np.testing.assert_array_equal(theta(np.random.RandomState(5)), theta(np.random.RandomState(5)))
    assert np.abs(theta(None) - theta(None)).max() > 0.1


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_targets_of_any_unit(dtype):
    x = DIABETES.astype(dtype)
    first = FeedforwardRegressor(random_state=0).fit(x, PROGRESSION).predict(x)
    prices = FeedforwardRegressor(random_state=0).fit(x, 3e5 + 1e3 * PROGRESSION).predict(x)
    assert first.dtype == prices.dtype == dtype
    np.testing.assert_allclose(prices, 3e5 + 1e3 * first, rtol=1e-9 if dtype is np.float64 else 1e-3)
    constant = FeedforwardRegressor(random_state=0).fit(x, np.full(len(x), 0.1)).predict(x)
    assert np.abs(constant - 0.1).mean() < 0.1


def test_several_outputs_have_the_shape_of_y():
    x, y = load_linnerud(return_X_y=True)
    estimator = FeedforwardRegressor(random_state=0, epochs=500, l2=0.0).fit(scale(x), y)
    assert estimator.predict(scale(x)).shape == y.shape
    assert estimator.score(scale(x), y) > 0.9
    for shape in ((20,), (20, 1)):
        column = y[:, 0].reshape(shape)
        assert FeedforwardRegressor(epochs=1).fit(scale(x), column).predict(scale(x)).shape == shape


def test_several_labels():
    x, y = make_multilabel_classification(n_samples=200, n_classes=3, random_state=0)
    estimator = FeedforwardClassifier(random_state=0).fit(scale(x), y)
    p = estimator.predict_proba(scale(x))
    np.testing.assert_array_equal(estimator.predict(scale(x)), p > 0.5)
    np.testing.assert_allclose(estimator.predict_log_proba(scale(x)), np.log(p))
    assert estimator.score(scale(x), y) > 0.8
    again = FeedforwardClassifier(random_state=0).fit(scale(x), sparse.csr_matrix(y))
    np.testing.assert_array_equal(again.predict_proba(scale(x)), p)
    parts = FeedforwardClassifier(random_state=0).partial_fit(scale(x), y).partial_fit(scale(x)[:9], y[:9])
    assert parts.predict(x).shape == y.shape


def test_training_stops_early_with_the_best_weights():
    x, y = DIABETES, PROGRESSION
    estimator = FeedforwardRegressor(epochs=500, early_stopping=True, patience=7, random_state=0).fit(x, y)
    losses = estimator.history_["val_loss"]
    assert len(losses) == np.argmin(losses) + 1 + 7 < 500
    held = hold_out(x, np.zeros(len(x), int), np.ones(len(x)), 0.1, 0)
    loss = np.mean((estimator.predict(x[held]) - y[held]) ** 2) / y.var()
    assert loss == pytest.approx(min(losses))


def test_the_defaults_depend_on_the_number_of_examples():
    x, y = np.repeat(IRIS, 4, axis=0), np.repeat(NAMES, 4)
    small, large = (FeedforwardClassifier(epochs=5).fit(x[:n], y[:n]) for n in (500, 501))
    assert small.optimizer_.t == 5
    assert large.optimizer_.t == 15
    assert isinstance(large.optimizer_, Scheduled)
    assert not isinstance(small.optimizer_, Scheduled)
    assert large.history_[-1]["lr"] < 0.002 < small.history_[-1]["lr"]
    assert FeedforwardClassifier(epochs=2, optimizer="lbfgs").fit(x, y).optimizer_.t == 2
    assert FeedforwardClassifier(epochs=2, batch_size=1000).fit(x, y).optimizer_.t == 2


def test_x_determines_the_dtype():
    for x, dtype, expected in ((IRIS, None, "float64"), (IRIS.astype("float32"), None, "float32"),
                               (IRIS.astype(int), None, "float64"), (IRIS, "float32", "float32")):
        estimator = FeedforwardClassifier(epochs=1, dtype=dtype).fit(x, NAMES)
        assert estimator.model_.dtype == estimator.predict_proba(x).dtype == expected


def test_pipelines_scores_and_importance():
    pipeline = make_pipeline(StandardScaler(), FeedforwardClassifier(random_state=0))
    assert cross_val_score(pipeline, *load_iris(return_X_y=True), cv=3).mean() > 0.9
    calibrated = CalibratedClassifierCV(FeedforwardClassifier(random_state=0), cv=3).fit(IRIS, NAMES)
    assert calibrated.score(IRIS, NAMES) > 0.9
    regressor = FeedforwardRegressor(random_state=0).fit(DIABETES, PROGRESSION)
    importance = permutation_importance(regressor, DIABETES, PROGRESSION, n_repeats=2, random_state=0)
    assert np.argmax(importance.importances_mean) in (2, 8)  # the body mass index, or s5


@pytest.mark.slow
def test_a_search_on_two_processes():
    grid = {"feedforwardclassifier__hidden": [(), (20,)], "feedforwardclassifier__optimizer": ["adam", "lbfgs"]}
    pipeline = make_pipeline(StandardScaler(), FeedforwardClassifier(epochs=20, random_state=0))
    search = GridSearchCV(pipeline, grid, n_jobs=2, cv=3).fit(*load_iris(return_X_y=True))
    assert search.best_score_ > 0.9
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames(library):
    module = pytest.importorskip(library)
    x, y = module.DataFrame(dict(zip("abcd", IRIS.T))), module.Series(NAMES.tolist())
    pipeline = make_pipeline(StandardScaler().set_output(transform=library), FeedforwardClassifier(random_state=0))
    estimator = pipeline.fit(x, y, feedforwardclassifier__sample_weight=module.Series([1.0] * 150))[-1]
    np.testing.assert_array_equal(estimator.classes_, np.unique(NAMES))
    assert pipeline.score(x, y) > 0.9
    if hasattr(pipeline[0], "feature_names_in_"):  # scikit-learn 1.6 does not see the names of newer frames
        np.testing.assert_array_equal(estimator.feature_names_in_, list("abcd"))
        with pytest.raises(ValueError, match="feature names"):
            estimator.predict(x[["b", "a", "c", "d"]])


def test_the_model_can_be_saved_and_knows_the_data(tmp_path):
    pandas = pytest.importorskip("pandas")
    x = pandas.DataFrame(IRIS, columns=list("abcd"))
    classifier = FeedforwardClassifier(random_state=0).fit(x, NAMES)
    regressor = FeedforwardRegressor(random_state=0).fit(DIABETES, PROGRESSION)
    for estimator in (classifier, regressor):
        estimator.model_.save(tmp_path / f"{type(estimator).__name__}.safetensors")
    model = Model.load(tmp_path / "FeedforwardClassifier.safetensors")
    np.testing.assert_array_equal(model.predict_classes(x), classifier.predict(x))
    assert model.feature_names == ("a", "b", "c", "d")
    model = Model.load(tmp_path / "FeedforwardRegressor.safetensors")
    np.testing.assert_array_equal(model.predict(DIABETES)[:, 0], regressor.predict(DIABETES))


def test_weights_are_routed():
    with config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(FeedforwardRegressor(random_state=0).set_fit_request(sample_weight=True))
        weight = np.arange(len(DIABETES))
        routed = pipeline.fit(DIABETES, PROGRESSION, sample_weight=weight).predict(DIABETES)
    direct = FeedforwardRegressor(random_state=0).fit(DIABETES, PROGRESSION, weight).predict(DIABETES)
    np.testing.assert_array_equal(routed, direct)


def test_callbacks_and_progress(capsys):
    class Records:
        def __init__(self):
            self.epochs = []

        def on_epoch_end(self, model, epoch):
            self.epochs.append(epoch["epoch"])
            model.stop_training = epoch["epoch"] == 3

    records = Records()
    estimator = FeedforwardClassifier(callbacks=[records], verbose=1).fit(IRIS, NAMES)
    assert estimator.n_iter_ == len(records.epochs) == 3
    assert "loss" in capsys.readouterr().err
    FeedforwardClassifier(epochs=1).fit(IRIS, NAMES)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("options", "message"), [
    ({"hidden": 50}, r"hidden must hold whole numbers of at least 1, such as \[50\] or \[\], not 50"),
    ({"activation": "rellu"}, "unknown activation 'rellu': did you mean 'relu'"),
    ({"optimizer": "adan"}, "unknown optimizer 'adan': did you mean 'adam'"),
    ({"optimizer_params": {"learning_rate": 1}}, "adam has no field 'learning_rate'"),
    ({"optimizer_params": {"lr": -1}}, "Adam: lr must be above 0, not -1"),
    ({"optimizer_params": ["lr"]}, r"FeedforwardClassifier: optimizer_params must be a dict such as {'lr': 0.01}, not"),
    ({"schedule": "linear"}, "unknown schedule 'linear'"),
    ({"schedule": "cosine", "optimizer": "lbfgs"}, "LBFGS has no learning rate that a schedule could set"),
    ({"epochs": 0}, "FeedforwardClassifier: epochs must be a whole number of at least 1, not 0"),
    ({"dropout": 1}, "FeedforwardClassifier: dropout must be at least 0 and below 1, not 1"),
    ({"validation_fraction": 0.0}, "FeedforwardClassifier: validation_fraction must be above 0 and below 1, not 0.0"),
    ({"dtype": "float16"}, "unknown dtype 'float16'"),
    ({"l2": 1, "optimizer": "lbfgs"}, "FeedforwardClassifier: lbfgs has no L2 penalty: leave out l2"),
    ({"l2": 1, "optimizer_params": {"weight_decay": 1}}, "l2 and optimizer_params both set the weight_decay of adam"),
    ({"class_weight": {0: 1}}, "class_weight has the class 0, but the classes are 'setosa', 'versicolor', 'virginica'"),
    ({"class_weight": {"setosa": -1}}, "class_weight must hold finite numbers of at least 0, not"),
    ({"class_weight": "equal"}, "class_weight must be a dict of a number for each class, or 'balanced', not 'equal'"),
    ({"class_weight": dict.fromkeys(NAMES, 0)}, "sample_weight times class_weight is zero for all examples"),
    ({"callbacks": [3]}, "callback 3 has none of the methods")])
def test_parameters_that_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        FeedforwardClassifier(**options).fit(IRIS, NAMES)


def test_data_that_are_refused():
    classifier = FeedforwardClassifier(epochs=1)
    with pytest.raises(ValueError, match="y holds one class, 'a': a classifier needs at least two"):
        classifier.fit(IRIS, ["a"] * 150)
    with pytest.raises(ValueError, match="y has 2 columns with more than two classes: give one column, or columns of"):
        classifier.fit(IRIS, np.stack([SPECIES, SPECIES], axis=1))
    with pytest.raises(ValueError, match="class_weight needs one class for each example, but y has several columns"):
        FeedforwardClassifier(class_weight="balanced").fit(IRIS, np.eye(3, dtype=int)[SPECIES][:, :2])
    with pytest.raises(ValueError, match="sample_weight must be finite numbers of at least 0, not all zero"):
        classifier.fit(IRIS, NAMES, sample_weight=np.zeros(150))
    with pytest.raises(TypeError, match="Sparse data"):
        classifier.fit(sparse.csr_matrix(IRIS), NAMES)
    with pytest.raises(NotFittedError):
        classifier.predict(IRIS)


def test_partial_fits_that_are_refused():
    with pytest.raises(ValueError, match=r"the first call of partial_fit needs classes=\.\.\., all classes that y may"):
        FeedforwardClassifier().partial_fit(IRIS, NAMES)
    with pytest.raises(ValueError, match="class_weight='balanced' needs all examples, but partial_fit has only some"):
        FeedforwardClassifier(class_weight="balanced").partial_fit(IRIS, NAMES, np.unique(NAMES))
    with pytest.raises(ValueError, match="l2 is divided by the number of examples, which partial_fit does not know"):
        FeedforwardRegressor(l2=1).partial_fit(DIABETES, PROGRESSION)
    classifier = FeedforwardClassifier().partial_fit(IRIS[:9], NAMES[:9], np.unique(NAMES))
    with pytest.raises(ValueError, match=r"classes are 'a', 'b', but were 'setosa', .* before: give the same, or none"):
        classifier.partial_fit(IRIS, NAMES, ["a", "b"])
    with pytest.raises(ValueError, match="y holds the label 'a' in row 1, which is none of the classes 'setosa'"):
        classifier.partial_fit(IRIS[:2], ["setosa", "a"])
    regressor = FeedforwardRegressor().partial_fit(DIABETES, PROGRESSION)
    with pytest.raises(ValueError, match=r"y has shape \(442, 2\), but the model has 1 outputs"):
        regressor.partial_fit(DIABETES, DIABETES[:, :2])


def test_a_training_that_diverges_says_so():
    estimator = FeedforwardRegressor(optimizer="gd", optimizer_params={"lr": 1e9}, random_state=0)
    with pytest.raises(Diverged, match="try a smaller lr"):
        estimator.fit(DIABETES, PROGRESSION)
    with pytest.raises(NotFittedError):
        estimator.predict(DIABETES)


def test_first_order_optimizers_have_a_rate_by_default():
    for name, kind in OPTIMIZERS.items():
        if issubclass(kind, FirstOrder):
            estimator = FeedforwardClassifier(optimizer=name, epochs=1).fit(IRIS, NAMES)
            assert estimator.optimizer_.lr == (1 if name == "adadelta" else 0.01)


def test_partial_fit_after_fit_trains_with_a_constant_rate():
    classifier = FeedforwardClassifier(epochs=5, batch_size=20, random_state=0).fit(IRIS, NAMES)
    assert classifier.optimizer_.lr < 1e-4  # the cosine has ended
    before = classifier.model_.theta.copy()
    for _ in range(30):
        classifier.partial_fit(IRIS, np.roll(np.unique(NAMES), 1)[SPECIES])
    assert classifier.optimizer_.lr == 0.01
    assert (classifier.model_.theta != before).any()
    assert classifier.score(IRIS, np.roll(np.unique(NAMES), 1)[SPECIES]) > 0.8


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_training_that_fails_leaves_the_last_one(method):
    classifier = FeedforwardClassifier(epochs=5, random_state=0).fit(IRIS, NAMES)
    before, state = classifier.predict_proba(IRIS), set(vars(classifier))
    other = np.array(["x", "y", "z", "w"])[np.arange(150) % 4]
    for options, x, y in (({"class_weight": "balancd"}, IRIS, other), ({"epochs": -1}, IRIS[:, :2], other),
                          ({"optimizer": "gd", "optimizer_params": {"lr": 1e300}}, IRIS[:, :3], other)):
        classifier.set_params(**options)
        with pytest.raises((ValueError, Diverged)):
            getattr(classifier, method)(x, y)
        assert set(vars(classifier)) == state
        assert classifier.classes_.tolist() == ["setosa", "versicolor", "virginica"]
        np.testing.assert_array_equal(classifier.predict_proba(IRIS), before)
        classifier.set_params(class_weight=None, epochs=5, optimizer="adam", optimizer_params=None)


def test_several_labels_stay_several():
    several = np.eye(3, dtype=int)[SPECIES]
    several[::2, 0] = 1
    classifier = FeedforwardClassifier(warm_start=True, epochs=2).fit(IRIS, several)
    for call in (lambda: classifier.fit(IRIS, SPECIES), lambda: classifier.partial_fit(IRIS, SPECIES),
                 lambda: classifier.fit(IRIS, several[:, :2])):
        with pytest.raises(ValueError, match=r"y has shape \(150.*, but had 3 columns of 0 and 1 before"):
            call()
    with pytest.raises(ValueError, match="the first call of partial_fit needs classes"):
        FeedforwardClassifier().partial_fit(IRIS, NAMES[:, np.newaxis])
    with pytest.raises(ValueError, match="class_weight must hold finite numbers of at least 0"):
        FeedforwardClassifier(class_weight={"setosa": "x"}).fit(IRIS, NAMES)
    assert FeedforwardClassifier(callbacks=None, epochs=1).fit(IRIS, NAMES).n_iter_ == 1
