"""Second-order methods on the article's network and all of MNIST, beside SciPy's, torch's and Adam.

    python -m benchmarks.second_order
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
import importlib.util
import sys
from time import perf_counter
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.networks import new_model
from benchmarks.report import machine, replace_part, save_figure, table
from datasets import Dataset, load
from nn import History, Model, plots
from nn.batches import Batches
from nn.objective import BatchObjective
from nn.sharing import Shared, Sum
from optimizers import get

PASSES, STEPS = 300, 600
AT_MOST = 600  # passes of one that has not reached the goal by then
GOAL = 0.999
SHOWN = (60, 100, 200)  # passes at which the loss is put down


class Watch:
    """Puts down what a model came to, with the clock and the count of passes stopped meanwhile."""

    def __init__(self, name: str, model: Model, data: Dataset) -> None:
        self.model, self.history = model, History()
        self.x, self.target = data.x_train, model.targets(data.y_train, len(data.x_train))
        self.seconds, self.began = 0.0, perf_counter()
        self.bar = tqdm(total=AT_MOST, desc=name, unit=" passes", file=sys.stderr)

    def note(self, passes: float) -> bool:
        """The model as it is now, after so many passes; whether it has had enough."""
        self.seconds += perf_counter() - self.began
        loss, correct = self.model.network.asked().evaluate(self.x, self.target, len(self.x))
        accuracy = correct / len(self.x)
        self.history.epochs.append({"epoch": len(self.history.epochs) + 1, "loss": loss, "accuracy": accuracy,
                                    "seconds": self.seconds, "passes": passes})
        self.bar.set_postfix_str(f"loss {loss:.4f}, accuracy {accuracy:.2%}", refresh=False)
        self.bar.update(min(passes, AT_MOST) - self.bar.n)
        reached = accuracy >= GOAL
        enough = passes >= (PASSES if reached else AT_MOST) or len(self.history.epochs) >= STEPS
        self.began = perf_counter()
        return enough


def ours(name: str, data: Dataset, **fields: Any) -> History:
    """Steps on the whole training set."""
    model, optimizer = new_model(), get(name, **fields)
    watch = Watch(name, model, data)
    with whole(model, data) as objective:
        while not optimizer.message:
            optimizer.step(objective)
            if watch.note(objective.gradients / len(data.x_train)):
                break
    return watch.history


@contextmanager
def whole(model: Model, data: Dataset) -> Iterator[BatchObjective | Sum]:
    """The loss of the whole training set, on as many threads as fit would take."""
    n = len(data.x_train)
    batches = Batches(data.x_train, model.targets(data.y_train, n), n, model.seed)
    with (shared := Shared(model.network, batches, None)):
        yield shared.objective(np.arange(n), None)


def batches(name: str, data: Dataset, epochs: int, history: History | None = None, model: Model | None = None,
            **fields: Any) -> tuple[Model, History]:
    """Epochs in batches of 6,000, the article's way."""
    model = model or new_model()
    watch = Watch(f"{name}, batches of 6,000", model, data)
    watch.history = history or watch.history

    class Note:
        def on_epoch_end(self, model: Model, epoch: dict[str, Any]) -> None:
            watch.note(epoch["passes"])

    model.fit(data.x_train, data.y_train, get(name, **fields), epochs, 6000, callbacks=[Note()], progress=False)
    return model, watch.history


def hand_over(first: int, name: str, data: Dataset) -> History:
    """Adam on batches for so many epochs, then the other on the whole set."""
    model, history = batches("adam", data, first, lr=0.01)
    optimizer = get(name)
    watch = Watch(f"adam:{first}+{name}", model, data)
    watch.history, watch.seconds = history, history.epochs[-1]["seconds"]
    with whole(model, data) as objective:
        while not optimizer.message:
            optimizer.step(objective)
            if watch.note(first + objective.gradients / len(data.x_train)):
                break
    return history


def scipys(method: str, data: Dataset) -> History:
    """scipy.optimize.minimize on the same objective in float64, which is what it works in."""
    from scipy.optimize import minimize

    model = new_model(dtype="float64")
    objective = model.objective(data.x_train, data.y_train)
    watch = Watch(f"SciPy {method}", model, data)
    watch.x = objective.x

    def value_and_gradient(theta: Any) -> tuple[float, Any]:
        np.copyto(objective.theta, theta)
        value, gradient = objective.value_and_gradient()
        return value, gradient.copy()

    def callback(theta: Any) -> None:
        np.copyto(objective.theta, theta)
        if watch.note(objective.gradients / len(data.x_train)):
            raise StopIteration

    start = new_model().theta.astype(float)
    minimize(value_and_gradient, start, jac=True, method=method, callback=callback,
             options={"maxiter": 10**6, "gtol": 1e-12, **({"ftol": 0.0, "maxfun": 10**6} if "BFGS" in method else {})})
    return watch.history


def torchs(data: Dataset) -> History:
    """torch.optim.LBFGS with the strong Wolfe search, float32, from the same weights."""
    import torch

    model = new_model()
    watch = Watch("torch LBFGS", model, data)
    x, y = torch.from_numpy(data.x_train), torch.from_numpy(data.y_train)
    net = torch.nn.Sequential(torch.nn.Linear(784, 50), torch.nn.ReLU(), torch.nn.Linear(50, 10))
    pairs = [(net[0], model.layers[0]), (net[2], model.layers[2])]
    with torch.no_grad():
        for theirs, mine in pairs:
            theirs.weight.copy_(torch.from_numpy(mine.W.T.copy()))  # type: ignore[attr-defined]
            theirs.bias.copy_(torch.from_numpy(mine.b.copy()))  # type: ignore[attr-defined]
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=5, history_size=50, line_search_fn="strong_wolfe")
    evaluations = 0

    def closure() -> Any:
        nonlocal evaluations
        evaluations += 1
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x), y)
        loss.backward()
        return loss

    enough = False
    while not enough:
        before = evaluations
        optimizer.step(closure)
        with torch.no_grad():
            for theirs, mine in pairs:
                mine.W[:] = theirs.weight.numpy().T  # type: ignore[attr-defined]
                mine.b[:] = theirs.bias.numpy()  # type: ignore[attr-defined]
        enough = watch.note(evaluations) or evaluations == before
    return watch.history


def methods(data: Dataset) -> Iterator[tuple[str, Callable[[], History]]]:
    yield "adam, batches", lambda: batches("adam", data, 120, lr=0.01)[1]
    for name in ("lbfgs", "cg", "newton", "lm"):
        yield name, lambda name=name: ours(name, data)  # type: ignore[misc]
    yield "adam:20+lbfgs", lambda: hand_over(20, "lbfgs", data)
    yield "SciPy L-BFGS-B", lambda: scipys("L-BFGS-B", data)
    yield "SciPy CG", lambda: scipys("CG", data)
    if importlib.util.find_spec("torch"):
        yield "torch LBFGS", lambda: torchs(data)


def row(name: str, history: History) -> list[str]:
    points = history.epochs
    losses = [next((f"{point['loss']:.4f}" for point in reversed(points) if point["passes"] <= passes), "")
              for passes in SHOWN]
    goal = next((point for point in points if point["accuracy"] >= GOAL), None)
    reached = [f"{goal['epoch']}", f"{goal['passes']:.0f}", f"{goal['seconds']:.0f}"] if goal else ["", "", ""]
    last = points[-1]
    return [name, *losses, *reached, f"{last['loss']:.2g}", f"{100 * last['accuracy']:.2f}",
            f"{last['passes']:.0f}", f"{last['seconds']:.0f}"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.second_order", description=__doc__)
    parser.add_argument("--data-dir", help="the folder that has MNIST")
    args = parser.parse_args()
    data = load("mnist", args.data_dir)
    histories = {name: run() for name, run in methods(data)}
    for against, file in (("passes", "second-order-passes.png"), ("seconds", "second-order-seconds.png")):
        save_figure(plots.compare({name: [history] for name, history in histories.items()}, against,
                                  "MNIST, 784-50-10, the whole training set"), file)
    head = ["method", *(f"loss at {passes} passes" for passes in SHOWN), "steps to 99.9 %", "passes", "seconds",
            "last loss", "accuracy %", "passes", "seconds"]
    replace_part("second order", f"""
{table(head, [row(name, history) for name, history in histories.items()])}

All from the same start (He, seed 0), float32 but for SciPy, until {PASSES} passes, or up to {AT_MOST} where 99.9 % took
longer; a pass is the cost of one gradient over the training set. Loss and accuracy are those of the training data,
measured apart with the clock and the count stopped. A step of Adam's row is an epoch of ten batches, of torch's at most
five iterations. torch remembers 50 pairs, as lbfgs does by default, and SciPy 10, its own default.

![Against passes](benchmarks/figures/second-order-passes.png)

![Against seconds](benchmarks/figures/second-order-seconds.png)

Measured by `python -m benchmarks.second_order` on {machine()}.
""")


if __name__ == "__main__":
    main()
