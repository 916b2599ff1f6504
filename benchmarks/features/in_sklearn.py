"""Each feature as a user of scikit-learn's MLPClassifier and MLPRegressor writes it."""

from pathlib import Path
import pickle
import tomllib
from typing import Any
import warnings

import numpy as np
from sklearn import neural_network
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.estimator_checks import check_estimator

from benchmarks.features.table import (
    COLUMNS,
    HALF,
    IMAGES,
    NOISY,
    ORDER,
    TEXTS,
    WEIGHTS,
    X,
    Y,
    check,
    check_damage,
    check_learned,
    check_refused,
    check_safe,
    frame,
    no_command,
    nothing_named,
    without,
)

TRUSTED = ["sklearn.neural_network._stochastic_optimizers.AdamOptimizer"]


def make(**fields: Any) -> MLPClassifier:
    """Return a network 4-16-3."""
    return MLPClassifier((16,), **{"learning_rate_init": 0.02, "batch_size": 40, "max_iter": 50, "random_state": 0,
                                   **fields})


def pandas_frame() -> None:
    check_learned(make().fit(frame(), Y).predict(frame()))


def polars_frame() -> None:
    import polars

    check_learned(make().fit(polars.DataFrame(X, COLUMNS), Y).predict(polars.DataFrame(X, COLUMNS)))


def column_order() -> None:
    net = make().fit(frame(), Y)
    check_refused(lambda: net.predict(frame()[ORDER]), "order", "predicts with the columns exchanged")


def text_column() -> None:
    check_refused(lambda: make().fit(frame().assign(width="wide"), Y), "width", "trains")


def missing_value() -> None:
    x = frame()
    x.loc[3, "width"] = np.nan
    check_refused(lambda: make().fit(x, Y), "width", "trains")


def one_example() -> None:
    check_refused(lambda: make().fit(X, Y).predict(X[0]), r"reshape", "predicts")


def string_labels() -> None:
    check_learned(make().fit(X, TEXTS).predict(X), TEXTS)


def labels_from_one() -> None:
    check_learned(make().fit(X, Y + 1).predict(X), Y + 1)


def bool_labels() -> None:
    predicted = make().fit(X, X[:, 0] > 0).predict(X)
    check_learned(predicted, X[:, 0] > 0)
    check(predicted.dtype == bool, "predicts no bools")


def images() -> str:
    rows = IMAGES.reshape(len(IMAGES), -1)  # own
    check(make().fit(rows, Y).predict(rows).shape == (120,), "predicts something else")
    return without(lambda: make().fit(IMAGES, Y))


def pixel_warning() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make().fit(IMAGES.reshape(120, 784), Y)
    check(any("255" in str(warning.message) for warning in caught), "trains without a warning")


def batches() -> None:
    net, loader = make(), [(X[i::3], Y[i::3]) for i in range(3)]
    for _ in range(50):  # own
        for x, y in loader:  # own
            net.partial_fit(x, y, classes=[0, 1, 2])  # own
    check_learned(net.predict(X))


def validation_split() -> None:
    net = make(early_stopping=True, validation_fraction=0.2).fit(X, Y)
    check(net.validation_scores_, "no scores")


def command() -> None:
    no_command("scikit-learn")


def sample_weight() -> None:
    check_learned(make(max_iter=200).fit(X, NOISY, sample_weight=WEIGHTS).predict(X[HALF]), Y[HALF], 0.9)


def class_weight() -> None:
    weights = compute_sample_weight({0: 0, 1: 1, 2: 1}, Y)  # own
    check(0 not in make().fit(X, Y, sample_weight=weights).predict(X), "predicts the class of weight 0")


def balanced() -> None:
    weights = compute_sample_weight("balanced", Y)  # own
    check_learned(make().fit(X, Y, sample_weight=weights).predict(X))


def second_order_weights() -> str:
    check_learned(make(solver="lbfgs").fit(X, NOISY, sample_weight=WEIGHTS).predict(X[HALF]), Y[HALF], 0.9)
    return "in L-BFGS"


def frozen_layer() -> None:
    nothing_named("trainable|freeze|frozen", MLPClassifier, neural_network)


def standardize() -> None:
    with open("model", "wb") as file:
        pickle.dump(make_pipeline(StandardScaler(), make()).fit(1000 + X, Y), file)
    check_learned(pickle.loads(Path("model").read_bytes()).predict(1000 + X))


def early_stopping() -> None:
    net = make(early_stopping=True, learning_rate_init=0.3, max_iter=500).fit(X, Y)
    check(net.n_iter_ < 500, "does not stop")


def lbfgs() -> None:
    check_learned(make(solver="lbfgs").fit(X, Y).predict(X), least=0.95)


def newton() -> None:
    make(solver="newton-cg").fit(X, Y)


def levenberg_marquardt() -> None:
    MLPRegressor(solver="lm").fit(X, X[:, 0])


def lr_finder() -> None:
    nothing_named("lr_?find|rate_?find|range_test", MLPClassifier, neural_network)


def several_optimizers() -> None:
    found = GridSearchCV(make(), {"solver": ["sgd", "adam", "lbfgs"]}, cv=3).fit(X, Y)
    check(len(found.cv_results_["mean_test_score"]) == 3, "trains one")


def search() -> str:
    from optuna.distributions import FloatDistribution
    from optuna_integration import OptunaSearchCV

    space = {"learning_rate_init": FloatDistribution(1e-4, 1e-1, log=True)}
    OptunaSearchCV(make(), space, cv=3, n_trials=3).fit(X, Y)
    return "with optuna-integration"


def configuration() -> None:
    Path("settings.toml").write_text('solver = "sgd"\nmax_iter = 3\n')
    net = MLPClassifier(**tomllib.loads(Path("settings.toml").read_text()))  # own
    check(net.fit(X, Y).n_iter_ == 3, "trains another number of epochs")


def metric() -> None:
    net, scores = make(), []
    for _ in range(50):  # own
        net.partial_fit(X, Y, classes=[0, 1, 2])  # own
        scores.append(f1_score(Y, net.predict(X), average="macro"))  # own
    check(scores[-1] > 0.8, "is not right")


def gradient_norms() -> None:
    nothing_named("grad", make().fit(X, Y), neural_network)


def tensorboard() -> None:
    from tensorboardX import SummaryWriter

    net, writer = make(), SummaryWriter("events")  # own
    for epoch in range(50):  # own
        net.partial_fit(X, Y, classes=[0, 1, 2])  # own
        writer.add_scalar("loss", net.loss_, epoch)  # own
    writer.close()  # own
    check(list(Path("events").glob("*tfevents*")), "writes nothing")


def same_bytes() -> None:
    check(pickle.dumps(make().fit(X, Y).coefs_) == pickle.dumps(make().fit(X, Y).coefs_), "the bytes differ")


def resume() -> None:
    def run(until: int) -> Any:
        state = Path("state")  # own
        net, done = pickle.loads(state.read_bytes()) if state.exists() else (make(), 0)  # own
        for step in range(done, until):  # own
            rows = np.random.default_rng(step // 3).permutation(120)[step % 3 * 40:][:40]  # own
            net.partial_fit(X[rows], Y[rows], classes=[0, 1, 2])  # own
            state.write_bytes(pickle.dumps((net, step + 1)))  # own
        return net

    whole = run(15)
    Path("state").unlink()
    run(8)
    check(pickle.dumps(run(15).coefs_) == pickle.dumps(whole.coefs_), "the bytes differ")


def repeat() -> None:
    nothing_named("repeat|reproduce|rerun", neural_network, MLPClassifier)


def safe_file() -> str:
    import skops.io

    skops.io.dump(make().fit(X, Y), "good")
    check_learned(skops.io.load("good", trusted=TRUSTED).predict(X))
    check_safe(skops.io.load, "model")
    return "with skops, which its documentation describes, and a list of trusted types; pickle and joblib run code"


def damaged_file() -> str:
    import skops.io

    skops.io.dump(make().fit(X, Y), "model")
    check_damage("model", lambda: skops.io.load("model", trusted=TRUSTED).predict_proba(X))
    return "with skops"


def pipeline() -> None:
    check_learned(make_pipeline(StandardScaler(), make()).fit(X, Y).predict(X))


def grid_search() -> None:
    grid = {"hidden_layer_sizes": [(8,), (16,)]}
    check_learned(GridSearchCV(make(), grid, cv=3).fit(X, Y).predict(X))


def estimator_checks() -> str:
    results = check_estimator(MLPClassifier(), on_fail="raise")
    return f"{sum(result['status'] == 'passed' for result in results)} of {len(results)}, the others do not apply"


def to_onnx(net: Any) -> Any:
    """Write a model with skl2onnx, and return a session of onnxruntime."""
    import onnxruntime
    from skl2onnx import to_onnx

    Path("model.onnx").write_bytes(to_onnx(net, X[:1], options={"zipmap": False}).SerializeToString())
    return onnxruntime.InferenceSession("model.onnx")


def onnx_export() -> str:
    check_learned(to_onnx(make().fit(X, Y)).run(None, {"X": X})[0])
    return "with skl2onnx"


def onnx_classes() -> str:
    net = make_pipeline(StandardScaler(), make()).fit(1000 + X, TEXTS)
    check_learned(to_onnx(net).run(None, {"X": 1000 + X})[0], TEXTS)
    return "with skl2onnx"


def onnx_import() -> None:
    import skl2onnx

    nothing_named("from_onnx|import|load", skl2onnx, neural_network)


def convolution() -> None:
    nothing_named("conv", neural_network)


def autodiff() -> None:
    MLPClassifier(activation=np.sin).fit(X, Y)


def sparse() -> None:
    import scipy.sparse

    check_learned(make().fit(scipy.sparse.csr_array(X), Y).predict(scipy.sparse.csr_array(X)))
