"""Each feature as a user of Keras writes it."""

from contextlib import suppress
import itertools
from pathlib import Path
import tomllib
from typing import Any
import warnings

import jax
from jax.flatten_util import ravel_pytree
import jax.numpy as jnp
import keras
import numpy as np
import scipy.optimize
from sklearn.metrics import f1_score
from sklearn.utils.class_weight import compute_class_weight

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
)


def compiled(*layers: Any, optimizer: Any = None, loss: str = "sparse_categorical_crossentropy") -> Any:
    """Return a network of these layers, ready to be trained."""
    net = keras.Sequential(list(layers))
    net.compile(keras.optimizers.Adam(0.02) if optimizer is None else optimizer, loss)
    return net


def make(*first: Any, optimizer: Any = None) -> Any:
    """Return a network 4-16-3."""
    keras.utils.set_random_seed(0)
    return compiled(keras.Input((4,)), *first, keras.layers.Dense(16, "relu"), keras.layers.Dense(3, "softmax"),
                    optimizer=optimizer)


def train(net: Any, x: Any = X, y: Any = Y, **options: Any) -> Any:
    """Train it quietly, and return what `fit` returns."""
    return net.fit(x, y, **{"epochs": 50, "batch_size": 40, "verbose": 0, **options})


def predict(net: Any, x: Any = X) -> Any:
    """Return the predicted classes."""
    return net.predict(x, verbose=0).argmax(1)


def pandas_frame() -> None:
    train(net := make(), frame())
    check_learned(predict(net, frame()))


def polars_frame() -> None:
    import polars

    train(net := make(), polars.DataFrame(X, COLUMNS))
    check_learned(predict(net, polars.DataFrame(X, COLUMNS)))


def column_order() -> None:
    wrapper = classifier().fit(frame(), Y)
    check_refused(lambda: wrapper.predict(frame()[ORDER]), "order", "does so in its wrapper, too")
    train(net := make(), frame())
    check_refused(lambda: predict(net, frame()[ORDER]), "length", "predicts with the columns exchanged; its wrapper "
                  "SKLearnClassifier refuses them")


def text_column() -> None:
    check_refused(lambda: train(make(), frame().assign(width="wide")), "width", "trains")


def missing_value() -> None:
    x = frame()
    x.loc[3, "width"] = np.nan
    train(net := make(), x)
    check(not np.isnan(net.get_weights()[0]).any(), "trains without an error, but weights become NaN")


def one_example() -> None:
    check_refused(lambda: predict(make(), X[0]), r"reshape|expand|\(1, 4\)", "predicts")


def string_labels() -> str:
    check_learned(classifier().fit(X, TEXTS).predict(X), TEXTS)
    names, y = np.unique(TEXTS, return_inverse=True)  # own
    train(net := make(), X, y)
    check_learned(names[predict(net)], TEXTS)  # own
    return "no line with its wrapper SKLearnClassifier"


def labels_from_one() -> str:
    train(net := make(), X, Y + 1 - 1)  # own
    check_learned(predict(net) + 1, Y + 1)  # own
    train(net := make(), X, Y + 1)
    return f"without them it ignores label 3 without an error: the accuracy is {(predict(net) == Y + 1).mean():.2f}"


def bool_labels() -> str:
    train(net := compiled(keras.Input((4,)), keras.layers.Dense(2, "softmax")), X, X[:, 0] > 0)
    check_learned(predict(net).astype(bool), X[:, 0] > 0)  # own
    return "trains on bools, predicts 0 and 1"


def images() -> None:
    net = compiled(keras.Input((28, 28)), keras.layers.Flatten(), keras.layers.Dense(3, "softmax"))
    train(net, IMAGES, Y)
    check(predict(net, IMAGES).shape == (120,), "predicts something else")


def pixel_warning() -> None:
    net = compiled(keras.Input((784,)), keras.layers.Dense(3, "softmax"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(net, IMAGES.reshape(120, 784), Y)
    check(any("255" in str(warning.message) for warning in caught), "trains without a warning")


def batches() -> None:
    net = make()
    generator = ((X[i % 3 :: 3], Y[i % 3 :: 3]) for i in itertools.count())
    net.fit(generator, steps_per_epoch=3, epochs=50, verbose=0)
    check_learned(predict(net))


def validation_split() -> str:
    check(train(make(), validation_split=0.2).history["val_loss"], "no validation loss")
    return "the last rows, not drawn at random"


def command() -> None:
    no_command("keras")


def sample_weight() -> None:
    train(net := make(), X, NOISY, epochs=200, sample_weight=WEIGHTS)
    check_learned(predict(net, X[HALF]), Y[HALF], 0.9)


def class_weight() -> None:
    train(net := make(), class_weight={0: 0, 1: 1, 2: 1})
    check(0 not in predict(net), "predicts the class of weight 0")


def balanced() -> None:
    weights = compute_class_weight("balanced", classes=np.arange(3), y=Y)  # own
    train(net := make(), class_weight=dict(enumerate(weights)))
    check_learned(predict(net))


def second_order_weights() -> str:
    net = make()
    theta, unravel = ravel_pytree([variable.value for variable in net.trainable_variables])  # own

    def loss(theta: Any) -> Any:  # own
        p = net.stateless_call(unravel(theta), [], X)[0]  # own
        return (WEIGHTS * keras.losses.sparse_categorical_crossentropy(NOISY, p)).mean()  # own

    found = scipy.optimize.minimize(jax.value_and_grad(loss), theta, jac=True, method="L-BFGS-B")  # own
    for variable, value in zip(net.trainable_variables, unravel(jnp.float32(found.x))):  # own
        variable.assign(value)  # own
    check_learned(predict(net, X[HALF]), Y[HALF], 0.9)
    return "JAX's gradient in SciPy's L-BFGS-B"


def frozen_layer() -> None:
    net = make()
    net.layers[0].trainable = False
    before = net.get_weights()[0]
    net.compile("adam", "sparse_categorical_crossentropy")
    train(net)
    check(np.array_equal(net.get_weights()[0], before), "trains it")


def normalization() -> Any:
    """Return a layer that standardizes 1000 + X."""
    layer = keras.layers.Normalization()
    layer.adapt(1000 + X)
    return layer


def standardize() -> None:
    train(net := make(normalization()), 1000 + X)
    net.save("model.keras")
    check_learned(predict(keras.saving.load_model("model.keras"), 1000 + X))


def early_stopping() -> None:
    net, wrong = make(), (X[~HALF], NOISY[~HALF])
    stopping = keras.callbacks.EarlyStopping(patience=5, restore_best_weights=True)
    losses = train(net, validation_data=wrong, epochs=500, callbacks=[stopping]).history["val_loss"]
    check(len(losses) < 500, "does not stop")
    check(np.isclose(net.evaluate(*wrong, verbose=0), min(losses), rtol=1e-3), "keeps the last weights")


def lbfgs() -> str:
    net = make()
    theta, unravel = ravel_pytree([variable.value for variable in net.trainable_variables])  # own

    def loss(theta: Any) -> Any:  # own
        p = net.stateless_call(unravel(theta), [], X)[0]  # own
        return keras.losses.sparse_categorical_crossentropy(Y, p).mean()  # own

    found = scipy.optimize.minimize(jax.value_and_grad(loss), theta, jac=True, method="L-BFGS-B")  # own
    for variable, value in zip(net.trainable_variables, unravel(jnp.float32(found.x))):  # own
        variable.assign(value)  # own
    check_learned(predict(net), least=0.95)
    return "JAX's gradient in SciPy's L-BFGS-B"


def newton() -> str:
    net = make()
    theta, unravel = ravel_pytree([variable.value for variable in net.trainable_variables])  # own

    def loss(theta: Any) -> Any:  # own
        p = net.stateless_call(unravel(theta), [], X)[0]  # own
        return keras.losses.sparse_categorical_crossentropy(Y, p).mean()  # own

    found = scipy.optimize.minimize(loss, theta, jac=jax.jit(jax.grad(loss)), hess=jax.jit(jax.hessian(loss)),  # own
                                    method="trust-exact")  # own
    for variable, value in zip(net.trainable_variables, unravel(jnp.float32(found.x))):  # own
        variable.assign(value)  # own
    check_learned(predict(net), least=0.95)
    return "JAX's Hessian in SciPy's trust-exact"


def levenberg_marquardt() -> str:
    net = compiled(keras.Input((4,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1), loss="mse")
    y = X[:, 0] * X[:, 1]
    theta, unravel = ravel_pytree([variable.value for variable in net.trainable_variables])  # own

    def residuals(theta: Any) -> Any:  # own
        return net.stateless_call(unravel(jnp.float32(theta)), [], X)[0][:, 0] - y  # own

    found = scipy.optimize.least_squares(residuals, theta, jax.jit(jax.jacobian(residuals)), method="lm")  # own
    for variable, value in zip(net.trainable_variables, unravel(jnp.float32(found.x))):  # own
        variable.assign(value)  # own
    check(net.evaluate(X, y, verbose=0) < 0.01, "does not fit")
    return "JAX's Jacobian in SciPy's least_squares"


def lr_finder() -> None:
    net, rates, losses = make(), np.geomspace(1e-5, 1, 100), []  # own
    for i, rate in enumerate(rates):  # own
        net.optimizer.learning_rate = rate  # own
        losses.append(net.train_on_batch(X[i % 3 :: 3], Y[i % 3 :: 3]))  # own
    smoothed = np.convolve(losses, np.ones(9) / 9, "valid")  # own
    check(1e-4 < rates[4 + np.gradient(smoothed).argmin()] < 1, "suggests something else")  # own


def several_optimizers() -> None:
    histories = {}  # own
    for optimizer in ("sgd", "adam"):  # own
        histories[optimizer] = train(make(optimizer=optimizer)).history  # own
    check(len(histories) == 2, "trains one")


def search() -> str:
    import optuna

    def objective(trial: Any) -> Any:  # own
        net = make(optimizer=keras.optimizers.Adam(trial.suggest_float("lr", 1e-4, 1e-1, log=True)))  # own
        return train(net, validation_split=0.2, epochs=5).history["val_loss"][-1]  # own

    study = optuna.create_study()  # own
    study.optimize(objective, 3)  # own
    check(len(study.trials) == 3, "tries something else")
    return "KerasTuner, a library of its own, searches without Optuna"


def configuration() -> None:
    Path("settings.toml").write_text('epochs = 2\n[compile]\noptimizer = "rmsprop"\nloss = "mse"\n')
    settings = tomllib.loads(Path("settings.toml").read_text())  # own
    net = make()
    net.compile(**settings["compile"])  # own
    check(len(train(net, y=np.eye(3)[Y], epochs=settings["epochs"]).history["loss"]) == 2, "trains otherwise")  # own


def metric() -> None:
    class F1(keras.callbacks.Callback):  # own
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # own
            logs["f1"] = f1_score(Y, predict(self.model), average="macro")  # own

    check(len(train(make(), callbacks=[F1()]).history["f1"]) == 50, "is not in the history")


def gradient_norms() -> str:
    class Norm(keras.callbacks.Callback):  # own
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # own
            def loss(parameters: Any) -> Any:  # own
                p = self.model.stateless_call(parameters, [], X)[0]  # own
                return keras.losses.sparse_categorical_crossentropy(Y, p).mean()  # own

            gradient = jax.grad(loss)([variable.value for variable in self.model.trainable_variables])  # own
            logs["gradient_norm"] = float(jnp.linalg.norm(ravel_pytree(gradient)[0]))  # own

    check(len(train(make(), callbacks=[Norm()]).history["gradient_norm"]) == 50, "is not in the history")
    return "of all data at the end of an epoch"


def tensorboard() -> str:
    train(make(), callbacks=[keras.callbacks.TensorBoard("events")])
    check(list(Path("events").glob("**/*tfevents*")), "writes nothing")
    return "on JAX and PyTorch it needs TensorFlow, too"


def same_bytes() -> None:
    train(first := make())
    train(second := make())
    check(all(map(np.array_equal, first.get_weights(), second.get_weights())), "the bytes differ")


def resume() -> None:
    class Kill(keras.callbacks.Callback):
        steps = 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.steps += 1
            if self.steps == 8:
                raise KeyboardInterrupt

    train(whole := make(), epochs=5)
    saving = keras.callbacks.BackupAndRestore("backup", save_freq=1)
    with suppress(KeyboardInterrupt):
        train(make(), epochs=5, callbacks=[saving, Kill()])
    train(net := make(), epochs=5, callbacks=[keras.callbacks.BackupAndRestore("backup", save_freq=1)])
    check(all(map(np.array_equal, net.get_weights(), whole.get_weights())),
          "BackupAndRestore continues, but ends with other weights")


def repeat() -> None:
    nothing_named("repeat|reproduce|rerun", keras, keras.Model, keras.utils)


def safe_file() -> None:
    make().save("good.keras")
    keras.saving.load_model("good.keras")
    check_safe(keras.saving.load_model, "model.keras")


def damaged_file() -> None:
    train(net := make())
    net.save("model.keras")
    check_damage("model.keras", lambda: keras.saving.load_model("model.keras").predict(X, verbose=0))


def classifier() -> Any:
    """Return Keras's wrapper for scikit-learn."""
    def build(X: Any, y: Any, width: int = 16) -> Any:
        return compiled(keras.Input(X.shape[1:]), keras.layers.Dense(width, "relu"),
                        keras.layers.Dense(y.shape[1], "softmax"), loss="categorical_crossentropy")

    return keras.wrappers.SKLearnClassifier(build, fit_kwargs={"epochs": 30, "batch_size": 40, "verbose": 0})


def pipeline() -> None:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    check_learned(make_pipeline(StandardScaler(), classifier()).fit(X, Y).predict(X))


def grid_search() -> str:
    from sklearn.model_selection import GridSearchCV

    grid = {"model_kwargs": [{"width": 8}, {"width": 16}]}
    found = GridSearchCV(classifier(), grid, cv=3).fit(X, Y, epochs=30, batch_size=40, verbose=0)
    check_learned(found.predict(X))
    return "its clones lose fit_kwargs: give fit their values"


def estimator_checks() -> None:
    from sklearn.utils.estimator_checks import check_estimator

    results = check_estimator(classifier(), on_fail=None)
    failed = [result["check_name"] for result in results if result["status"] == "failed"]
    check(not failed, f"{len(failed)} of {len(results)} fail, such as {', '.join(failed[:2])}")


def run_onnx(net: Any, x: Any) -> Any:
    """Write a network, and return what onnxruntime predicts."""
    import onnxruntime

    net.export("model.onnx", format="onnx", verbose=False)
    session = onnxruntime.InferenceSession("model.onnx")
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def onnx_export() -> str:
    train(net := make())
    check(np.allclose(run_onnx(net, X), net.predict(X, verbose=0), atol=1e-5), "onnxruntime predicts otherwise")
    return f"on {keras.backend.backend()}; on jax it needs jax2onnx"


def onnx_classes() -> None:
    train(net := make(normalization()), 1000 + X, Y)
    check(run_onnx(net, 1000 + X).dtype.kind in "OU", "the standardization is there, but the classes have no names")


def onnx_import() -> None:
    nothing_named("onnx", keras, keras.saving, keras.models, keras.utils)


def convolution() -> None:
    net = compiled(keras.Input((28, 28, 1)), keras.layers.Conv2D(2, 3), keras.layers.Flatten(),
                   keras.layers.Dense(3, "softmax"))
    train(net, IMAGES[..., None] / 255, Y, epochs=1)


def autodiff() -> None:
    train(compiled(keras.Input((4,)), keras.layers.Dense(16, keras.ops.sin), keras.layers.Dense(3, "softmax")))


def sparse() -> None:
    import scipy.sparse

    train(net := make(), scipy.sparse.csr_array(X))
    check_learned(predict(net))
