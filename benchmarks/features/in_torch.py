"""Each feature as a user of PyTorch writes it: `epochs` is the loop that every user writes."""

from collections.abc import Callable, Iterator
import copy
from pathlib import Path
import tomllib
from typing import Any
import warnings

import numpy as np
import scipy.optimize
from sklearn.metrics import f1_score
import torch
from torch import nn
from torch.func import functional_call, hessian, jacrev
from torch.nn.functional import cross_entropy
from torch.nn.utils import parameters_to_vector, vector_to_parameters

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

XT, YT = torch.from_numpy(X), torch.from_numpy(Y)


def make(*first: Any) -> Any:
    """Return a network 4-16-3."""
    torch.manual_seed(0)
    return nn.Sequential(*first, nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))


def epochs(net: Any, x: Any = XT, y: Any = YT, number: int = 50, loss: Callable[..., Any] | None = None,
           optimizer: Any = None) -> Iterator[int]:
    """Train, and yield after each epoch. `loss` is called with outputs, targets and the indices of the batch."""
    optimizer = torch.optim.Adam(net.parameters(), 0.02) if optimizer is None else optimizer
    for epoch in range(number):
        for rows in torch.randperm(len(x)).split(40):
            optimizer.zero_grad()
            z = net(x[rows])
            value = cross_entropy(z, y[rows]) if loss is None else loss(z, y[rows], rows)
            value.backward()
            optimizer.step()
        yield epoch


def train(net: Any, *args: Any, **options: Any) -> None:
    """Train to the end."""
    for _ in epochs(net, *args, **options):
        pass


def predict(net: Any, x: Any = XT) -> Any:
    """Return the predicted classes."""
    return net(x).argmax(1).numpy()


def pandas_frame() -> str:
    x = torch.from_numpy(frame().to_numpy())  # own
    train(net := make(), x)
    check_learned(predict(net, x))
    return without(lambda: make()(frame()))


def polars_frame() -> str:
    import polars

    x = polars.DataFrame(X, COLUMNS).to_torch()  # own
    train(net := make(), x)
    check_learned(predict(net, x))
    return "polars converts it"


def column_order() -> None:
    train(net := make(), torch.from_numpy(frame().to_numpy()))
    check_refused(lambda: predict(net, torch.from_numpy(frame()[ORDER].to_numpy())), "length",
                  "predicts with the columns exchanged: tensors have no names of columns")


def text_column() -> None:
    check_refused(lambda: torch.from_numpy(frame().assign(width="wide").to_numpy()), "width", "converts it")


def missing_value() -> None:
    x = frame()
    x.loc[3, "width"] = np.nan
    train(net := make(), torch.from_numpy(x.to_numpy()))
    check(not net[0].weight.isnan().any(), "trains without an error, but weights become NaN")


def one_example() -> str:
    check(torch.allclose(make()(XT[0]), make()(XT[:1])[0]), "predicts something else")
    return "predicts it"


def string_labels() -> None:
    names, y = np.unique(TEXTS, return_inverse=True)  # own
    train(net := make(), XT, torch.from_numpy(y))
    check_learned(names[predict(net)], TEXTS)  # own


def labels_from_one() -> str:
    labels = YT + 1
    train(net := make(), XT, labels - 1)  # own
    check_learned(predict(net) + 1, labels)  # own
    return without(lambda: train(make(), XT, labels))


def bool_labels() -> str:
    labels = XT[:, 0] > 0
    train(net := nn.Sequential(nn.Linear(4, 2)), XT, labels.long())  # own
    check_learned(predict(net).astype(bool), labels)  # own
    return without(lambda: train(nn.Sequential(nn.Linear(4, 2)), XT, labels))


def images() -> str:
    x = torch.from_numpy(IMAGES).float()  # own
    train(net := nn.Sequential(nn.Flatten(), nn.Linear(784, 3)), x)
    check(predict(net, x).shape == (120,), "predicts something else")
    return without(lambda: net(torch.from_numpy(IMAGES)))


def pixel_warning() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(nn.Sequential(nn.Flatten(), nn.Linear(784, 3)), torch.from_numpy(IMAGES).float())
    check(any("255" in str(warning.message) for warning in caught), "trains without a warning")


def batches() -> None:
    net, loader = make(), torch.utils.data.DataLoader([*zip(XT, YT)], 40, shuffle=True)
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(50):
        for x, y in loader:
            optimizer.zero_grad()
            cross_entropy(net(x), y).backward()
            optimizer.step()
    check_learned(predict(net))


def validation_split() -> None:
    net, order = make(), torch.randperm(len(XT))  # own
    held_out, rest = order[:24], order[24:]  # own
    losses = []
    for _ in epochs(net, XT[rest], YT[rest]):
        with torch.no_grad():  # own
            losses.append(cross_entropy(net(XT[held_out]), YT[held_out]).item())  # own
    check(len(losses) == 50, "no losses")


def command() -> None:
    no_command("torch")


def sample_weight() -> None:
    weights = torch.from_numpy(WEIGHTS)
    train(net := make(), XT, torch.from_numpy(NOISY), 200,
          lambda z, y, rows: (weights[rows] * cross_entropy(z, y, reduction="none")).mean())  # own
    check_learned(predict(net, XT[HALF]), Y[HALF], 0.9)


def class_weight() -> None:
    weights = torch.tensor([0.0, 1.0, 1.0])
    train(net := make(), loss=lambda z, y, rows: cross_entropy(z, y, weights))
    check(0 not in predict(net), "predicts the class of weight 0")


def balanced() -> None:
    weights = len(YT) / 3 / YT.bincount()  # own
    train(net := make(), loss=lambda z, y, rows: cross_entropy(z, y, weights))
    check_learned(predict(net))


def second_order_weights() -> str:
    net, y, weights = make(), torch.from_numpy(NOISY), torch.from_numpy(WEIGHTS)
    optimizer = torch.optim.LBFGS(net.parameters(), line_search_fn="strong_wolfe", max_iter=100)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (weights * cross_entropy(net(XT), y, reduction="none")).mean()  # own
        loss.backward()
        return loss

    optimizer.step(closure)
    check_learned(predict(net, XT[HALF]), Y[HALF], 0.9)
    return "in LBFGS"


def frozen_layer() -> None:
    net = make()
    net[0].requires_grad_(False)
    before = net[0].weight.clone()
    train(net)
    check(torch.equal(net[0].weight, before), "trains it")


def standardize() -> None:
    class Standardize(nn.Module):  # own
        def __init__(self, x: Any) -> None:  # own
            super().__init__()  # own
            self.register_buffer("mean", x.mean(0))  # own
            self.register_buffer("scale", x.std(0))  # own

        def forward(self, x: Any) -> Any:  # own
            return (x - self.mean) / self.scale  # own

    train(net := make(Standardize(1000 + XT)), 1000 + XT)
    torch.save(net.state_dict(), "model")
    again = make(Standardize(XT))
    again.load_state_dict(torch.load("model"))
    check_learned(predict(again, 1000 + XT))


def early_stopping() -> None:
    x, y = XT[~HALF], torch.from_numpy(NOISY[~HALF])
    net, best, wait = make(), np.inf, 0  # own
    for number in epochs(net, number=500):  # noqa: B007
        with torch.no_grad():  # own
            loss = cross_entropy(net(x), y).item()  # own
        if loss < best:  # own
            best, wait, weights = loss, 0, copy.deepcopy(net.state_dict())  # own
        elif (wait := wait + 1) == 5:  # own
            break  # own
    net.load_state_dict(weights)  # own
    check(number < 499 and np.isclose(cross_entropy(net(x), y).item(), best), "does not stop")


def lbfgs() -> None:
    net = make()
    optimizer = torch.optim.LBFGS(net.parameters(), line_search_fn="strong_wolfe", max_iter=100)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = cross_entropy(net(XT), YT)
        loss.backward()
        return loss

    optimizer.step(closure)
    check_learned(predict(net), least=0.95)


def newton() -> str:
    net = make()
    shapes = {name: p.shape for name, p in net.named_parameters()}  # own

    def loss(theta: Any) -> Any:  # own
        parts = theta.split([shape.numel() for shape in shapes.values()])  # own
        arrays = {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts)}  # own
        return cross_entropy(functional_call(net, arrays, XT), YT)  # own

    def of_numpy(function: Any) -> Any:  # own
        return lambda theta: function(torch.from_numpy(np.float32(theta))).detach().numpy()  # own

    theta = parameters_to_vector(net.parameters()).detach().numpy()  # own
    found = scipy.optimize.minimize(of_numpy(loss), theta, jac=of_numpy(jacrev(loss)),  # own
                                    hess=of_numpy(hessian(loss)), method="trust-exact")  # own
    vector_to_parameters(torch.from_numpy(np.float32(found.x)), net.parameters())  # own
    check_learned(predict(net), least=0.95)
    return "torch.func's Hessian in SciPy's trust-exact"


def levenberg_marquardt() -> str:
    net, y = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)), XT[:, 0] * XT[:, 1]
    shapes = {name: p.shape for name, p in net.named_parameters()}  # own

    def residuals(theta: Any) -> Any:  # own
        parts = theta.split([shape.numel() for shape in shapes.values()])  # own
        arrays = {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts)}  # own
        return functional_call(net, arrays, XT)[:, 0] - y  # own

    def of_numpy(function: Any) -> Any:  # own
        return lambda theta: function(torch.from_numpy(np.float32(theta))).detach().numpy()  # own

    theta = parameters_to_vector(net.parameters()).detach().numpy()  # own
    found = scipy.optimize.least_squares(of_numpy(residuals), theta, of_numpy(jacrev(residuals)), method="lm")  # own
    vector_to_parameters(torch.from_numpy(np.float32(found.x)), net.parameters())  # own
    check((net(XT)[:, 0] - y).square().mean() < 0.01, "does not fit")
    return "torch.func's Jacobian in SciPy's least_squares"


def lr_finder() -> None:
    net, rates, losses = make(), np.geomspace(1e-5, 1, 100), []  # own
    optimizer = torch.optim.Adam(net.parameters())  # own
    for i, rate in enumerate(rates):  # own
        optimizer.param_groups[0]["lr"] = rate  # own
        optimizer.zero_grad()  # own
        loss = cross_entropy(net(XT[i % 3 :: 3]), YT[i % 3 :: 3])  # own
        loss.backward()  # own
        optimizer.step()  # own
        losses.append(loss.item())  # own
    smoothed = np.convolve(losses, np.ones(9) / 9, "valid")  # own
    check(1e-4 < rates[4 + np.gradient(smoothed).argmin()] < 1, "suggests something else")  # own


def several_optimizers() -> None:
    trained = {}  # own
    for kind in (torch.optim.SGD, torch.optim.Adam):  # own
        trained[kind] = net = make()  # own
        train(net, optimizer=kind(net.parameters(), 0.02))  # own
    check(len(trained) == 2, "trains one")


def search() -> None:
    import optuna

    def objective(trial: Any) -> Any:  # own
        net = make()  # own
        optimizer = torch.optim.Adam(net.parameters(), trial.suggest_float("lr", 1e-4, 1e-1, log=True))  # own
        train(net, XT[:96], YT[:96], optimizer=optimizer)  # own
        return cross_entropy(net(XT[96:]), YT[96:]).item()  # own

    study = optuna.create_study()  # own
    study.optimize(objective, 3)  # own
    check(len(study.trials) == 3, "tries something else")


def configuration() -> None:
    Path("settings.toml").write_text('epochs = 2\noptimizer = "RMSprop"\nlr = 0.003\n')
    settings = tomllib.loads(Path("settings.toml").read_text())  # own
    net = make()
    optimizer = getattr(torch.optim, settings["optimizer"])(net.parameters(), settings["lr"])  # own
    check(len([*epochs(net, number=settings["epochs"], optimizer=optimizer)]) == 2, "trains otherwise")  # own


def metric() -> None:
    net, scores = make(), []
    for _ in epochs(net):
        scores.append(f1_score(Y, predict(net), average="macro"))  # own
    check(len(scores) == 50, "is not in the history")


def gradient_norms() -> str:
    net, norms = make(), []
    for _ in epochs(net):
        norms.append(nn.utils.get_total_norm(p.grad for p in net.parameters()).item())  # own
    check(len(norms) == 50, "is not in the history")
    return "of the last step of an epoch"


def tensorboard() -> None:
    from torch.utils.tensorboard import SummaryWriter

    net, writer = make(), SummaryWriter("events")  # own
    for epoch in epochs(net):
        writer.add_scalar("loss", cross_entropy(net(XT), YT), epoch)  # own
    writer.close()  # own
    check(list(Path("events").glob("*tfevents*")), "writes nothing")


def same_bytes() -> None:
    train(first := make())
    train(second := make())
    check(torch.equal(parameters_to_vector(first.parameters()), parameters_to_vector(second.parameters())),
          "the bytes differ")


def resume() -> None:
    def run(until: int) -> Any:
        net = make()
        optimizer, done, state = torch.optim.Adam(net.parameters(), 0.02), 0, Path("state")
        if state.exists():  # own
            weights, moments, done = torch.load(state)  # own
            net.load_state_dict(weights)  # own
            optimizer.load_state_dict(moments)  # own
        for step in range(done, until):  # own
            order = torch.randperm(120, generator=torch.Generator().manual_seed(step // 3))  # own
            rows = order[step % 3 * 40:][:40]  # own
            optimizer.zero_grad()
            cross_entropy(net(XT[rows]), YT[rows]).backward()
            optimizer.step()
            torch.save((net.state_dict(), optimizer.state_dict(), step + 1), state)  # own
        return parameters_to_vector(net.parameters())

    whole = run(15)
    Path("state").unlink()
    run(8)
    check(torch.equal(run(15), whole), "the bytes differ")


def repeat() -> None:
    nothing_named("^repeat$|reproduce|rerun", nn.Module, torch.utils)


def safe_file() -> None:
    torch.save(make().state_dict(), "good")
    make().load_state_dict(torch.load("good"))
    check_safe(torch.load, "model")


def damaged_file() -> None:
    train(net := make())
    torch.save(net.state_dict(), "model")

    def load() -> Any:
        net.load_state_dict(torch.load("model"))
        return net(XT).detach().numpy()

    check_damage("model", load)


def pipeline() -> None:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    make_pipeline(StandardScaler(), make()).fit(X, Y)


def grid_search() -> None:
    from sklearn.model_selection import GridSearchCV

    GridSearchCV(make(), {"lr": [0.1, 0.01]}).fit(X, Y)


def estimator_checks() -> None:
    from sklearn.utils.estimator_checks import check_estimator

    check_estimator(make())


def run_onnx(net: Any, x: Any) -> Any:
    """Write a network, and return what onnxruntime predicts."""
    import onnxruntime

    torch.onnx.export(net, (x[:2],), "model.onnx", dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), verbose=False)
    session = onnxruntime.InferenceSession("model.onnx")
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]


def onnx_export() -> None:
    train(net := make())
    check(np.allclose(run_onnx(net, XT), net(XT).detach().numpy(), atol=1e-5), "onnxruntime predicts otherwise")


def onnx_classes() -> None:
    torch.tensor(["daisy", "rose", "tulip"])


def onnx_import() -> None:
    nothing_named("^import|load|from_onnx|^read", torch.onnx)


def convolution() -> None:
    train(nn.Sequential(nn.Unflatten(1, (1, 28)), nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 26 * 26, 3)),
          torch.from_numpy(IMAGES) / 255, number=1)


class Sine(nn.Module):
    """An activation without a derivative."""

    def forward(self, x: Any) -> Any:
        return torch.sin(x)


def autodiff() -> None:
    train(nn.Sequential(nn.Linear(4, 16), Sine(), nn.Linear(16, 3)))


def sparse() -> None:
    net, x = make(), XT.to_sparse()
    cross_entropy(net(x), YT).backward()
