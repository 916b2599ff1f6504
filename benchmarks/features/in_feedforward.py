"""Each feature as a user of feedforward writes it."""

from contextlib import suppress
from pathlib import Path
from typing import Any
import warnings

import numpy as np

from benchmarks.features.table import (
    COLUMNS,
    HALF,
    IMAGES,
    NOISY,
    ORDER,
    TEXTS,
    WEIGHTS,
    Absent,
    X,
    Y,
    check,
    check_damage,
    check_learned,
    check_refused,
    check_safe,
    frame,
)
import feedforward as ff
from feedforward.command import main


def make(*first: Any, seed: int = 0) -> ff.Model:
    """Return a network 4-16-3."""
    return ff.Model([*first, ff.Dense(4, 16), ff.ReLU(), ff.Dense(16, 3), ff.Softmax()], ff.CrossEntropy(), seed)


def train(model: ff.Model, x: Any = X, y: Any = Y, optimizer: Any = None, epochs: int = 50, **options: Any) -> Any:
    """Train it quietly."""
    options = {"batch_size": 40, "progress": False, **options}
    return model.fit(x, y, ff.get("adam", lr=0.02) if optimizer is None else optimizer, epochs, **options)


def pandas_frame() -> None:
    train(model := make(), frame())
    check_learned(model.predict_classes(frame()))


def polars_frame() -> None:
    import polars

    train(model := make(), polars.DataFrame(X, COLUMNS))
    check_learned(model.predict_classes(polars.DataFrame(X, COLUMNS)))


def column_order() -> None:
    train(model := make(), frame())
    check_refused(lambda: model.predict(frame()[ORDER]), "length", "predicts with the columns exchanged")


def text_column() -> None:
    check_refused(lambda: train(make(), frame().assign(width="wide")), "width", "trains")


def missing_value() -> None:
    x = frame()
    x.loc[3, "width"] = np.nan
    check_refused(lambda: train(make(), x), "width", "trains")


def one_example() -> None:
    check_refused(lambda: make().predict(X[0]), r"reshape|None|\[x\]|\(1, 4\)", "predicts")


def string_labels() -> None:
    train(model := make(), X, TEXTS)
    check_learned(model.predict_classes(X), TEXTS)


def labels_from_one() -> None:
    train(model := make(), X, Y + 1)
    check_learned(model.predict_classes(X), Y + 1)


def bool_labels() -> None:
    model = ff.Model([ff.Dense(4, 2), ff.Softmax()], ff.CrossEntropy())
    train(model, X, X[:, 0] > 0)
    check_learned(model.predict_classes(X), X[:, 0] > 0)
    check(model.predict_classes(X).dtype == bool, "predicts no bools")


def images() -> None:
    model = ff.Model([ff.Flatten(), ff.Dense(784, 3), ff.Softmax()], ff.CrossEntropy())
    train(model, IMAGES, Y)
    check(model.predict_classes(IMAGES).shape == (120,), "predicts something else")


def pixel_warning() -> None:
    model = ff.Model([ff.Dense(784, 3), ff.Softmax()], ff.CrossEntropy())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(model, IMAGES.reshape(120, 784), Y, progress=True, epochs=1)
    check(any("255" in str(warning.message) for warning in caught), "trains without a warning")


def batches() -> None:
    model = make()
    model.fit_batches([(X[i::3], Y[i::3]) for i in range(3)], ff.get("adam", lr=0.02), epochs=50, progress=False)
    check_learned(model.predict_classes(X))


def validation_split() -> None:
    history = train(make(), validation_split=0.2)
    check(history["val_loss"][-1] > 0, "no validation loss")


def command() -> None:
    Path("irises.csv").write_text("\n".join([",".join([*COLUMNS, "kind"]),
                                             *(",".join([*map(str, x), text]) for x, text in zip(X, TEXTS))]))
    main(["--dataset", "irises.csv", "--target", "kind", "--epochs", "30", "--out", "run", "--no-plots", "-q"])
    main(["predict", "run", "irises.csv", "--out", "predictions.csv"])
    lines = Path("predictions.csv").read_text().splitlines()
    check_learned([line.partition(",")[0] for line in lines[1:]], TEXTS)


def sample_weight() -> None:
    train(model := make(), X, NOISY, epochs=200, sample_weight=WEIGHTS)
    check_learned(model.predict_classes(X[HALF]), Y[HALF], 0.9)


def class_weight() -> None:
    train(model := make(), class_weight={0: 0, 1: 1, 2: 1})
    check(0 not in model.predict_classes(X), "predicts the class of weight 0")


def balanced() -> None:
    train(model := make(), class_weight="balanced")
    check_learned(model.predict_classes(X))


def second_order_weights() -> None:
    train(model := make(), X, NOISY, ff.get("newton"), sample_weight=WEIGHTS, batch_size=None)
    check_learned(model.predict_classes(X[HALF]), Y[HALF], 0.9)


def frozen_layer() -> None:
    model = ff.Model([ff.Dense(4, 16, trainable=False), ff.ReLU(), ff.Dense(16, 3), ff.Softmax()], ff.CrossEntropy())
    first: Any = model.layers[0]
    before = first.W.copy()
    train(model)
    check(np.array_equal(first.W, before), "trains it")


def standardize() -> None:
    train(model := make(ff.Standardize.of(1000 + X)), 1000 + X)
    model.save("model")
    check_learned(ff.Model.load("model").predict_classes(1000 + X))


def early_stopping() -> None:
    wrong = (X[~HALF], NOISY[~HALF])
    history = train(model := make(), epochs=500, validation_data=wrong, callbacks=[ff.EarlyStopping(patience=5)])
    check(len(history) < 500, "does not stop")
    check(np.isclose(model.evaluate(*wrong)["loss"], min(history["val_loss"])), "keeps the last weights")


def lbfgs() -> None:
    train(model := make(), optimizer=ff.get("lbfgs"), batch_size=None)
    check_learned(model.predict_classes(X), least=0.95)


def newton() -> None:
    train(model := make(), optimizer=ff.get("newton"), batch_size=None)
    check_learned(model.predict_classes(X), least=0.95)


def levenberg_marquardt() -> None:
    model = ff.Model([ff.Dense(4, 8), ff.Tanh(), ff.Dense(8, 1)], ff.MeanSquaredError())
    train(model, X, X[:, 0] * X[:, 1], ff.get("lm"), batch_size=None)
    check(model.evaluate(X, X[:, 0] * X[:, 1])["loss"] < 0.01, "does not fit")


def lr_finder() -> None:
    found = ff.lr_find(make(), X, Y, ff.get("adam"), batch_size=40)
    check(1e-4 < found.lr < 1, f"suggests {found.lr}")


def several_optimizers() -> None:
    results = ff.Experiment(["gd", "adam"], dataset="digits", epochs=2).run(progress=False)
    check(len(results) == 2, "trains one")


def search() -> None:
    experiment = ff.Experiment("adam", dataset="digits", epochs=2)
    found = ff.search(experiment, {"lr": (1e-4, 1e-1, "log")}, trials=3, progress=False)
    check(found.best.lr != experiment.lr, "finds nothing")


def configuration() -> None:
    Path("settings.toml").write_text('dataset = "digits"\noptimizer = "rmsprop"\nlr = 0.003\nepochs = 2\n')
    main(["--config", "settings.toml", "--out", "run", "--no-plots", "-q"])
    check(len(Path("run/history.csv").read_text().splitlines()) == 3, "trains another number of epochs")


def metric() -> None:
    from sklearn.metrics import f1_score

    history = train(make(), metrics={"f1": lambda y, predicted: f1_score(y, predicted, average="macro")})
    check(len(history["f1"]) == 50, "is not in the history")


def gradient_norms() -> None:
    history = train(make(), callbacks=[ff.GradientNorms()])
    check(len(history["gradient_norm"]) == 50, "is not in the history")


def tensorboard() -> None:
    train(make(), callbacks=[ff.TensorBoard("events")])
    check(list(Path("events").glob("*tfevents*")), "writes nothing")


def same_bytes() -> None:
    train(first := make())
    train(second := make())
    check(first.theta.tobytes() == second.theta.tobytes(), "the bytes differ")


class Kill:
    """Interrupt a training in the middle of its third epoch."""

    def __init__(self) -> None:
        self.steps = 0

    def on_step_end(self, model: ff.Model, examples: int) -> None:
        self.steps += 1
        if self.steps == 8:
            raise KeyboardInterrupt


def resume() -> None:
    train(whole := make(), epochs=5, batch_size=40)
    with suppress(KeyboardInterrupt):
        train(make(), epochs=5, callbacks=[ff.Checkpoint("checkpoint", every="1s"), Kill()])
    model, optimizer = make(), ff.get("adam", lr=0.02)
    history = ff.Checkpoint("checkpoint").restore(model, optimizer)
    train(model, optimizer=optimizer, epochs=5 - len(history), history=history)
    check(model.theta.tobytes() == whole.theta.tobytes(), "the bytes differ")


def repeat() -> None:
    ff.Experiment(dataset="digits", epochs=2).run("first", progress=False, figures=False)
    _, differences = ff.repeat("first", "second", progress=False, figures=False)
    check(not differences, "; ".join(differences))


def safe_file() -> None:
    check_safe(ff.Model.load, "model")


def damaged_file() -> None:
    train(model := make())
    model.save("model")
    check_damage("model", lambda: ff.Model.load("model").predict(X))


def classifier() -> Any:
    """Return an estimator."""
    from feedforward.sklearn import FeedforwardClassifier

    return FeedforwardClassifier(random_state=0)


def pipeline() -> None:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    check_learned(make_pipeline(StandardScaler(), classifier()).fit(X, Y).predict(X))


def grid_search() -> None:
    from sklearn.model_selection import GridSearchCV

    check_learned(GridSearchCV(classifier(), {"hidden": [(8,), (16,)]}, cv=3).fit(X, Y).predict(X))


def estimator_checks() -> str:
    from sklearn.utils.estimator_checks import check_estimator

    results = check_estimator(classifier(), on_fail="raise")
    return f"{sum(result['status'] == 'passed' for result in results)} of {len(results)}, the others do not apply"


def onnx_export() -> None:
    import onnxruntime

    train(model := make())
    model.to_onnx("model.onnx")
    probabilities = onnxruntime.InferenceSession("model.onnx").run(None, {"x": X})[0]
    check(np.allclose(probabilities, model.predict(X), atol=1e-5), "onnxruntime predicts something else")


def onnx_classes() -> None:
    import onnxruntime

    train(model := make(ff.Standardize.of(1000 + X)), 1000 + X, TEXTS)
    model.to_onnx("model.onnx")
    check_learned(onnxruntime.InferenceSession("model.onnx").run(None, {"x": 1000 + X})[1], TEXTS)


def onnx_import() -> str:
    import torch

    net = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    torch.onnx.export(net, (torch.zeros(2, 4),), "torch.onnx", external_data=False, verbose=False)
    model = ff.Model.from_onnx("torch.onnx", loss=ff.MeanSquaredError())
    check(np.allclose(model.predict(X), net(torch.from_numpy(X)).detach().numpy(), atol=1e-5), "predicts otherwise")
    return "chains of our layers, such as those that PyTorch writes"


def convolution() -> None:
    raise Absent("there are only dense layers")


def autodiff() -> None:
    raise Absent("a user's own class says f, f' and f''")


def sparse() -> None:
    import scipy.sparse

    train(make(), scipy.sparse.csr_array(X))
