"""Each feature as a user of skorch writes it."""

from pathlib import Path
import pickle
import tomllib
from typing import Any
import warnings

import numpy as np
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, Checkpoint, EarlyStopping, EpochScoring, Freezer, LoadInitState, TensorBoard
import skorch.dataset
from skorch.dataset import ValidSplit
import skorch.helper
import torch
from torch import nn

from benchmarks.features.in_torch import levenberg_marquardt as levenberg_marquardt
from benchmarks.features.in_torch import newton as newton
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

IN_PIPELINE = "behind a StandardScaler in a Pipeline"


def network(width: int = 16) -> Any:
    """Return the module 4-16-3."""
    return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))


def make(module: Any = network, **fields: Any) -> Any:
    """Return a classifier with this module."""
    torch.manual_seed(0)
    return NeuralNetClassifier(module, **{"criterion": nn.CrossEntropyLoss, "optimizer": torch.optim.Adam, "lr": 0.02,
                                          "max_epochs": 50, "batch_size": 40, "train_split": None, "verbose": 0,
                                          "iterator_train__shuffle": True, **fields})


def scaled() -> Any:
    """Return a pipeline of scikit-learn, which takes frames."""
    return make_pipeline(StandardScaler(), make())


def pandas_frame() -> str:
    check_learned(scaled().fit(frame(), Y).predict(frame()))
    return IN_PIPELINE


def polars_frame() -> str:
    import polars

    x = polars.DataFrame(X, COLUMNS).to_numpy()  # own
    check_learned(make().fit(x, Y).predict(x))
    return without(lambda: make().fit(polars.DataFrame(X, COLUMNS), Y))


def column_order() -> str:
    net = scaled().fit(frame(), Y)
    check_refused(lambda: net.predict(frame()[ORDER]), "order", "predicts with the columns exchanged")
    return IN_PIPELINE


def text_column() -> None:
    check_refused(lambda: scaled().fit(frame().assign(width="wide"), Y), "width", "trains")


def missing_value() -> None:
    x = frame()
    x.loc[3, "width"] = np.nan
    net = scaled().fit(x, Y)[-1]
    check(not net.module_[0].weight.isnan().any(), "trains without an error, but weights become NaN")


def one_example() -> None:
    make().fit(X, Y).predict(X[0])


def string_labels() -> str:
    names, y = np.unique(TEXTS, return_inverse=True)  # own
    check_learned(names[make().fit(X, y).predict(X)], TEXTS)  # own
    return without(lambda: make().fit(X, TEXTS))


def labels_from_one() -> str:
    net = make().fit(X, Y + 1 - 1)  # own
    check_learned(net.predict(X) + 1, Y + 1)  # own
    return without(lambda: make().fit(X, Y + 1))


def bool_labels() -> str:
    labels = X[:, 0] > 0
    net = make(nn.Sequential(nn.Linear(4, 2))).fit(X, labels.astype(int))  # own
    check_learned(net.predict(X).astype(bool), labels)  # own
    return without(lambda: make().fit(X, labels))


def images() -> str:
    net, x = make(nn.Sequential(nn.Flatten(), nn.Linear(784, 3))), IMAGES.astype(np.float32)  # own
    check(net.fit(x, Y).predict(x).shape == (120,), "predicts something else")
    return without(lambda: net.fit(IMAGES, Y))


def pixel_warning() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make(nn.Sequential(nn.Flatten(), nn.Linear(784, 3))).fit(IMAGES.astype(np.float32), Y)
    check(any("255" in str(warning.message) for warning in caught), "trains without a warning")


def batches() -> str:
    net = make(classes=[0, 1, 2])
    net.fit(torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)), y=None)
    check_learned(net.predict(X))
    return "from a Dataset of PyTorch"


def validation_split() -> None:
    check(make(train_split=ValidSplit(0.2)).fit(X, Y).history[:, "valid_loss"], "no validation loss")


def command() -> None:
    check(skorch.helper.parse_args, "is gone")
    no_command("skorch", "; skorch.helper.parse_args gives a user's script its options")


def sample_weight() -> None:
    class Weighted(NeuralNetClassifier):  # own
        def get_loss(self, y_pred: Any, y_true: Any, X: Any = None, *args: Any, **kwargs: Any) -> Any:  # own
            return (X["weight"] * super().get_loss(y_pred, y_true.long(), X, *args, **kwargs)).mean()  # own

    class Ignoring(nn.Sequential):  # own
        def forward(self, x: Any, weight: Any = None) -> Any:  # own
            return super().forward(x)  # own

    torch.manual_seed(0)
    net = Weighted(Ignoring(*network()), criterion=nn.CrossEntropyLoss, criterion__reduction="none",  # own
                   optimizer=torch.optim.Adam, lr=0.02, max_epochs=200, batch_size=40, train_split=None, verbose=0)
    net.fit({"x": X, "weight": WEIGHTS}, NOISY)  # own
    check_learned(net.predict({"x": X[HALF]}), Y[HALF], 0.9)


def class_weight() -> None:
    net = make(criterion__weight=torch.tensor([0.0, 1.0, 1.0])).fit(X, Y)
    check(0 not in net.predict(X), "predicts the class of weight 0")


def balanced() -> None:
    weights = len(Y) / 3 / np.bincount(Y)  # own
    check_learned(make(criterion__weight=torch.tensor(weights, dtype=torch.float32)).fit(X, Y).predict(X))


def second_order_weights() -> str:
    class Weighted(NeuralNetClassifier):  # own
        def get_loss(self, y_pred: Any, y_true: Any, X: Any = None, *args: Any, **kwargs: Any) -> Any:  # own
            return (X["weight"] * super().get_loss(y_pred, y_true.long(), X, *args, **kwargs)).mean()  # own

    class Ignoring(nn.Sequential):  # own
        def forward(self, x: Any, weight: Any = None) -> Any:  # own
            return super().forward(x)  # own

    torch.manual_seed(0)
    net = Weighted(Ignoring(*network()), criterion=nn.CrossEntropyLoss, criterion__reduction="none",  # own
                   optimizer=torch.optim.LBFGS, optimizer__line_search_fn="strong_wolfe", lr=1.0, max_epochs=20,
                   batch_size=-1, train_split=None, verbose=0)
    net.fit({"x": X, "weight": WEIGHTS}, NOISY)  # own
    check_learned(net.predict({"x": X[HALF]}), Y[HALF], 0.9)
    return "in LBFGS"


def frozen_layer() -> None:
    module = network()
    before = module[0].weight.detach().clone()
    net = make(module, callbacks=[Freezer("0.*")]).fit(X, Y)
    check(torch.equal(net.module_[0].weight, before), "trains it")


def standardize() -> None:
    saved = pickle.dumps(scaled().fit(1000 + X, Y))
    check_learned(pickle.loads(saved).predict(1000 + X))


def early_stopping() -> None:
    wrong = skorch.dataset.Dataset(X[~HALF], NOISY[~HALF])
    stopping = EarlyStopping(patience=5, load_best=True)
    net = make(max_epochs=500, train_split=skorch.helper.predefined_split(wrong), callbacks=[stopping]).fit(X, Y)
    losses = net.history[:, "valid_loss"]
    z = net.forward(X[~HALF])
    loss = nn.functional.cross_entropy(z, torch.from_numpy(NOISY[~HALF])).item()
    check(len(losses) < 500, "does not stop")
    check(np.isclose(loss, min(losses), rtol=1e-3), "keeps the last weights")


def lbfgs() -> None:
    net = make(optimizer=torch.optim.LBFGS, optimizer__line_search_fn="strong_wolfe", lr=1.0, batch_size=-1,
               max_epochs=20)
    check_learned(net.fit(X, Y).predict(X), least=0.95)


def lr_finder() -> None:
    net, rates = make().initialize(), np.geomspace(1e-5, 1, 100)  # own
    for i, rate in enumerate(rates):  # own
        net.set_params(lr=rate)  # own
        net.partial_fit(X[i % 3 :: 3], Y[i % 3 :: 3], classes=[0, 1, 2], epochs=1)  # own
    smoothed = np.convolve(net.history[:, "train_loss"], np.ones(9) / 9, "valid")  # own
    check(1e-4 < rates[4 + np.gradient(smoothed).argmin()] < 1, "suggests something else")  # own


def several_optimizers() -> None:
    found = GridSearchCV(make(), {"optimizer": [torch.optim.SGD, torch.optim.Adam]}, cv=3).fit(X, Y)
    check(len(found.cv_results_["mean_test_score"]) == 2, "trains one")


def search() -> str:
    from optuna.distributions import FloatDistribution
    from optuna_integration import OptunaSearchCV

    OptunaSearchCV(make(), {"lr": FloatDistribution(1e-4, 1e-1, log=True)}, cv=3, n_trials=3).fit(X, Y)
    return "with optuna-integration"


def configuration() -> None:
    Path("settings.toml").write_text("lr = 0.1\nmax_epochs = 3\n")
    net = make().set_params(**tomllib.loads(Path("settings.toml").read_text()))  # own
    check(len(net.fit(X, Y).history) == 3, "trains another number of epochs")


def metric() -> None:
    scoring = EpochScoring("f1_macro", lower_is_better=False, on_train=True)
    check(len(make(callbacks=[scoring]).fit(X, Y).history[:, "f1_macro"]) == 50, "is not in the history")


def gradient_norms() -> str:
    class Norm(Callback):  # own
        def on_grad_computed(self, net: Any, named_parameters: Any, **kwargs: Any) -> None:  # own
            norm = nn.utils.get_total_norm(p.grad for _, p in named_parameters)  # own
            net.history.record("gradient_norm", norm.item())  # own

    check(len(make(callbacks=[Norm()]).fit(X, Y).history[:, "gradient_norm"]) == 50, "is not in the history")
    return "of the last step of an epoch"


def tensorboard() -> None:
    from torch.utils.tensorboard import SummaryWriter

    make(callbacks=[TensorBoard(SummaryWriter("events"))]).fit(X, Y)
    check(list(Path("events").glob("*tfevents*")), "writes nothing")


def weights(net: Any) -> Any:
    """Return all weights."""
    return nn.utils.parameters_to_vector(net.module_.parameters())


def same_bytes() -> None:
    check(torch.equal(weights(make().fit(X, Y)), weights(make().fit(X, Y))), "the bytes differ")


class Kill(Callback):
    """Interrupt a training in the middle of its third epoch."""

    steps = 0

    def on_batch_end(self, net: Any, **kwargs: Any) -> None:
        self.steps += 1
        if self.steps == 8:
            raise KeyboardInterrupt


def resume() -> None:
    whole = make(max_epochs=5).fit(X, Y)
    saving = Checkpoint(dirname="state", monitor=None)
    make(max_epochs=5, callbacks=[saving, Kill()]).fit(X, Y)
    net = make(max_epochs=3, callbacks=[LoadInitState(saving)]).fit(X, Y)
    check(torch.equal(weights(net), weights(whole)), "LoadInitState continues after the last whole epoch, and in "
          "another order of examples: the weights differ")


def repeat() -> None:
    nothing_named("repeat|reproduce|rerun", skorch, skorch.helper, NeuralNetClassifier)


def safe_file() -> str:
    net = make().fit(X, Y)
    net.save_params(f_params="good", use_safetensors=True)
    net.load_params(f_params="good", use_safetensors=True)
    check_safe(lambda path: net.load_params(f_params=path, use_safetensors=True), "model")
    return "the weights alone, as safetensors; pickle runs code"


def damaged_file() -> None:
    net = make().fit(X, Y)
    net.save_params(f_params="model", use_safetensors=True)

    def load() -> Any:
        net.load_params(f_params="model", use_safetensors=True)
        return net.predict_proba(X)

    check_damage("model", load)


def pipeline() -> None:
    check_learned(scaled().fit(X, Y).predict(X))


def grid_search() -> None:
    check_learned(GridSearchCV(make(), {"module__width": [8, 16]}, cv=3).fit(X, Y).predict(X))


def estimator_checks() -> None:
    from sklearn.utils.estimator_checks import check_estimator

    module = nn.Sequential(nn.LazyLinear(16), nn.ReLU(), nn.Linear(16, 8)).double()  # as the data of the checks
    results = check_estimator(make(module), on_fail=None)
    failed = [result["check_name"] for result in results if result["status"] == "failed"]
    check(not failed, f"{len(failed)} of {len(results)} fail, such as {', '.join(failed[:2])}")


def onnx_export() -> str:
    from benchmarks.features.in_torch import run_onnx

    net = make().fit(X, Y)
    z = run_onnx(net.module_, torch.from_numpy(X))
    check(np.allclose(z, net.forward(X), atol=1e-5), "onnxruntime predicts otherwise")
    return "PyTorch's export of its module_"


def onnx_classes() -> None:
    nothing_named("onnx", skorch, NeuralNetClassifier)


def onnx_import() -> None:
    nothing_named("onnx", skorch, NeuralNetClassifier)


def convolution() -> None:
    module = nn.Sequential(nn.Unflatten(1, (1, 28)), nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 26 * 26, 3))
    make(module, max_epochs=1).fit(np.float32(IMAGES / 255), Y)


def autodiff() -> None:
    from benchmarks.features.in_torch import Sine

    make(nn.Sequential(nn.Linear(4, 16), Sine(), nn.Linear(16, 3))).fit(X, Y)


def sparse() -> None:
    import scipy.sparse

    check_learned(make().fit(scipy.sparse.csr_matrix(X), Y).predict(X))
