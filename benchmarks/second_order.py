"""Second-order methods on the article's network and all of MNIST, next to SciPy's, torch's and Adam.

    python -m benchmarks.second_order
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
import importlib.util
import sys
from time import perf_counter
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.networks import new_model
from benchmarks.report import machine, replace_part, save_figure, table
from datasets import Dataset, load
import feedforward as ff
from nn import Epoch, History, Model, plots

PASSES, STEPS = 300, 600
MAX_PASSES = 600  # for methods that do not reach the goal earlier
GOAL = 0.999
SHOWN = (60, 100, 200)  # passes at which the loss is shown


class Watch:
    """Evaluates a model on the training data after each step, and stops the training when it is complete.

    It is a callback of `fit`. Other trainings call `note` with the time from `seconds`, which leaves out the
    evaluations.
    """

    def __init__(self, name: str, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y, self.history = x, y, History()
        self.started, self.evaluating = perf_counter(), 0.0
        self.bar = tqdm(total=MAX_PASSES, desc=name, unit=" passes", file=sys.stderr)

    def on_epoch_end(self, model: Model, epoch: Epoch) -> None:
        """Evaluate the model after a step or an epoch of `fit`."""
        if self.note(model, epoch["seconds"], epoch["passes"]):
            model.stop_training = True

    def seconds(self) -> float:
        """Return the seconds since the start, without those of the evaluations."""
        return perf_counter() - self.started - self.evaluating

    def note(self, model: Model, seconds: float, passes: float) -> bool:
        """Evaluate the model after so many seconds and passes. Return whether training is complete."""
        started = perf_counter()
        scores = model.evaluate(self.x, self.y)
        accuracy = scores["accuracy"] or 0.0
        self.history.epochs.append(Epoch(epoch=len(self.history) + 1, loss=scores["loss"], accuracy=accuracy,
                                         val_loss=None, val_accuracy=None, lr=None, seconds=seconds, passes=passes))
        self.bar.set_postfix_str(f"loss {scores['loss']:.4f}, accuracy {accuracy:.2%}", refresh=False)
        self.bar.update(min(passes, MAX_PASSES) - self.bar.n)
        self.evaluating += perf_counter() - started
        return passes >= (PASSES if accuracy >= GOAL else MAX_PASSES) or len(self.history) >= STEPS


def train_ours(name: str, data: Dataset, epochs: int = STEPS) -> History:
    """Train with one of our optimizers: second-order methods on the whole set, others on batches of 6,000."""
    watch = Watch(name, data.x_train, data.y_train)
    run = ff.Experiment(name, dataset=data, epochs=epochs).run(callbacks=[watch], progress=False)[0]
    if run.error:
        raise RuntimeError(run.error)
    return watch.history


def train_scipy(method: str, data: Dataset, dtype: str = "float64") -> History:
    """Train with scipy.optimize.minimize, which works in float64, on our objective in either type."""
    from scipy.optimize import minimize

    model = new_model(dtype=dtype)
    x = data.x_train.astype(dtype)
    objective = model.objective(x, data.y_train)
    start = new_model().theta.astype(float)
    watch = Watch(f"SciPy {method}, {dtype}", x, data.y_train)

    def value_and_gradient(theta: np.ndarray) -> tuple[float, np.ndarray]:
        np.copyto(model.theta, theta, casting="same_kind")
        value, gradient = objective.value_and_gradient()
        return value, gradient.astype(float)

    def callback(theta: np.ndarray) -> None:
        np.copyto(model.theta, theta, casting="same_kind")
        if watch.note(model, watch.seconds(), objective.gradients / len(x)):
            raise StopIteration

    minimize(value_and_gradient, start, jac=True, method=method, callback=callback,
             options={"maxiter": 10**6, "gtol": 1e-12, **({"ftol": 0.0, "maxfun": 10**6} if "BFGS" in method else {})})
    return watch.history


def train_torch(data: Dataset) -> History:
    """Train with torch.optim.LBFGS and its strong Wolfe line search, float32, from the same weights."""
    import torch

    model = new_model()
    x, y = torch.from_numpy(data.x_train), torch.from_numpy(data.y_train)
    net = torch.nn.Sequential(torch.nn.Linear(784, 50), torch.nn.ReLU(), torch.nn.Linear(50, 10))
    pairs: list[tuple[Any, Any]] = [(net[0], model.layers[0]), (net[2], model.layers[2])]
    with torch.no_grad():
        for torch_layer, our_layer in pairs:
            torch_layer.weight.copy_(torch.from_numpy(our_layer.W.T.copy()))
            torch_layer.bias.copy_(torch.from_numpy(our_layer.b.copy()))
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=5, history_size=50, line_search_fn="strong_wolfe")
    watch = Watch("torch LBFGS", data.x_train, data.y_train)
    evaluations = 0

    def closure() -> Any:
        nonlocal evaluations
        evaluations += 1
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x), y)
        loss.backward()
        return loss

    complete = False
    while not complete:
        before = evaluations
        optimizer.step(closure)
        with torch.no_grad():
            for torch_layer, our_layer in pairs:
                our_layer.W[:] = torch_layer.weight.numpy().T
                our_layer.b[:] = torch_layer.bias.numpy()
        complete = watch.note(model, watch.seconds(), evaluations) or evaluations == before
    return watch.history


def methods(data: Dataset) -> Iterator[tuple[str, Callable[[], History]]]:
    """Yield the name of each method and a function that trains with it."""
    yield "adam, batches", lambda: train_ours("adam", data, 120)
    for name in ("lbfgs", "cg", "newton", "lm", "adam:20+lbfgs"):
        yield name, partial(train_ours, name, data)
    yield "SciPy L-BFGS-B", lambda: train_scipy("L-BFGS-B", data)
    yield "SciPy L-BFGS-B, float32 gradient", lambda: train_scipy("L-BFGS-B", data, "float32")
    yield "SciPy CG", lambda: train_scipy("CG", data)
    if importlib.util.find_spec("torch"):
        yield "torch LBFGS", lambda: train_torch(data)


def row(name: str, history: History) -> list[str]:
    """Return a method's row of the table."""
    losses = [next((f"{point['loss']:.4f}" for point in reversed(history) if point["passes"] <= passes), "")
              for passes in SHOWN]
    goal = next((point for point in history if (point["accuracy"] or 0.0) >= GOAL), None)
    reached = [f"{goal['epoch']}", f"{goal['passes']:.0f}", f"{goal['seconds']:.0f}"] if goal else ["", "", ""]
    last = history[-1]
    return [name, *losses, *reached, f"{last['loss']:.2g}", f"{100 * (last['accuracy'] or 0.0):.2f}",
            f"{last['passes']:.0f}", f"{last['seconds']:.0f}"]


def report(histories: dict[str, History]) -> str:
    """Return the text for RESULTS.md."""
    head = ["method", *(f"loss at {passes} passes" for passes in SHOWN), "steps to 99.9 %", "passes", "seconds",
            "last loss", "accuracy %", "passes", "seconds"]
    return f"""
{table(head, [row(name, history) for name, history in histories.items()])}

All start from the same weights (He, seed 0), in float32, except SciPy, which works in float64; in one row it is given
the value and the gradient that lbfgs gets, in float32. Each trains for {PASSES} passes, or up to {MAX_PASSES} if 99.9 %
takes longer. A pass is the cost of one gradient over the training set. The loss at {SHOWN[0]} passes is that of the
last step at or before {SHOWN[0]} passes. Loss and accuracy are those of the training data after the step; their
evaluation is not counted in the seconds and passes. In Adam's row a step is an epoch of ten batches, in torch's row at
most five iterations. torch keeps 50 curvature pairs, the default of lbfgs, and SciPy keeps 10, its own default.

![Against passes](benchmarks/figures/second-order-passes.png)

![Against seconds](benchmarks/figures/second-order-seconds.png)

Measured by `python -m benchmarks.second_order` on {machine()}.
"""


def main() -> None:
    """Measure, and write the part "second order" of RESULTS.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.second_order", description=__doc__)
    parser.add_argument("--data-dir", help="the folder of the MNIST files")
    args = parser.parse_args()
    data = load("mnist", args.data_dir)
    histories = {name: train() for name, train in methods(data)}
    for against, file in (("passes", "second-order-passes.png"), ("seconds", "second-order-seconds.png")):
        save_figure(plots.compare({name: [history] for name, history in histories.items()}, against,
                                  "MNIST, 784-50-10, the whole training set"), file)
    replace_part("second order", report(histories))


if __name__ == "__main__":
    main()
