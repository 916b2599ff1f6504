"""What to do when a step no longer scales: larger batches, or fewer and more expensive steps."""

from collections.abc import Callable
from functools import partial
import math
from time import perf_counter
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.networks import new_model
from benchmarks.scaling.settings import Settings
from datasets import Dataset
import feedforward as ff
from nn import Dense, MeanSquaredError, Model, Tanh, blas
from nn.objective import BatchObjective
from optimizers import Optimizer, get

RATES = {"adam": 0.001, "momentum": 0.05}  # for the first size of a batch
RULES: dict[str, float] = {"the same lr": 0.0, "lr sqrt(k)": 0.5, "lr k": 1.0}  # the power of k
WARMUP = 0.1  # the share of the epochs
METHODS: dict[str, dict[str, Any]] = {"lbfgs": {}, "newton": {"form": "cg"}, "lm": {"form": "products"}}
CALLS = ("value", "value_and_gradient", "hessian_product", "gauss_newton_product")
EXAMPLES = 100_000  # of the regressions


def batches(settings: Settings) -> list[dict[str, Any]]:
    """Return the test accuracies of trainings with larger batches: of each epoch, for each rule and seed."""
    data = settings.load()
    first, *larger = [size for size in settings.batches if size <= len(data.x_train)]
    cases = [(optimizer, first, "the same lr", False) for optimizer in RATES]
    cases += [(optimizer, size, rule, warmup) for optimizer in RATES for size in larger for rule in RULES
              for warmup in (False, True)]
    found, hidden = [], settings.widths("keras", data)[1:-1]
    for optimizer, size, rule, warmup in tqdm(cases, desc="larger batches", unit=" trainings"):
        lr = RATES[optimizer] * (size / first) ** RULES[rule]
        schedule = f"warmup:{WARMUP * settings.epochs:g}" if warmup else None
        runs = ff.Experiment(optimizer, lr=lr, schedule=schedule, dataset=data, hidden=hidden, batch_size=size,
                             epochs=settings.epochs, seeds=settings.seeds).run(progress=False)
        found += [{"optimizer": optimizer, "batch": size, "rule": rule, "warmup": warmup, "lr": lr, "seed": run.seed,
                   "accuracies": [epoch["val_accuracy"] for epoch in run.history], "failed": bool(run.error)}
                  for run in runs]
    return found


class Calls:
    """Counts the calls of the methods of an objective, and their seconds, from now on.

    Parameters
    ----------
    objective : BatchObjective
        The objective; its methods are replaced.
    """

    def __init__(self, objective: BatchObjective) -> None:
        self.counts = dict.fromkeys(CALLS, 0)
        self.seconds = dict.fromkeys(CALLS, 0.0)
        for name in CALLS:
            setattr(objective, name, partial(self._call, name, getattr(objective, name)))

    def _call(self, name: str, method: Callable[..., Any], *arguments: Any) -> Any:
        started = perf_counter()
        result = method(*arguments)
        self.seconds[name] += perf_counter() - started
        self.counts[name] += 1
        return result


def train(name: str, model: Model, x: np.ndarray, y: np.ndarray, steps: float, passes: float,
          evaluate: Callable[[], float | None]) -> dict[str, Any]:
    """Train with a second-order method on all examples, for so many steps or passes.

    Returns the numbers of calls, their seconds in gradients, the seconds of the rest of a step, and the passes and the
    accuracy after each step.
    """
    objective, optimizer = model.objective(x, y), get(name, **METHODS[name])
    assert isinstance(optimizer, Optimizer)
    calls, seconds = Calls(objective), 0.0
    points: list[list[float | None]] = []
    while len(points) < steps and objective.gradients < passes * len(x) and not optimizer.message:
        started = perf_counter()
        optimizer.step(objective)
        seconds += perf_counter() - started
        points.append([objective.gradients / len(x), evaluate()])
    n, gradient = len(points), calls.seconds["value_and_gradient"] / calls.counts["value_and_gradient"]
    return {"steps": n, "gradients": sum(calls.seconds.values()) / gradient / n,
            "values": calls.counts["value"] / n,
            "vectors": sum(count for call, count in calls.counts.items() if call != "value") / n,
            "rest": (seconds - sum(calls.seconds.values())) / n, "points": points}


def second_order(settings: Settings) -> list[dict[str, Any]]:
    """Return the work of second-order methods on each workload's network, on one thread, and their test accuracies."""
    data, found = settings.load(), []
    networks = {settings.widths(name, data): name for name in settings.workloads}
    cases = [(widths, name, method) for widths, name in networks.items() for method in METHODS]
    for widths, name, method in tqdm(cases, desc="second order", unit=" trainings"):
        whole = name in ("small", "keras")  # the others only show how much work a step is
        count = len(data.x_train) if whole else len(data.x_train) // 10
        model = new_model(widths)
        with blas.limited(1):
            found.append({"workload": name, "method": method, "examples": count, **train(
                method, model, data.x_train[:count], data.y_train[:count],
                math.inf if whole else settings.timed_steps, settings.passes if whole else math.inf,
                partial(accuracy, model, data))})
    return found


def accuracy(model: Model, data: Dataset) -> float | None:
    """Return the accuracy of a model on the test data."""
    return model.evaluate(data.x_test, data.y_test)["accuracy"]


def triangles(settings: Settings) -> list[dict[str, Any]]:
    """Return the work of a step of Levenberg-Marquardt, form "qr", on regressions: networks 10-h-1, on one thread."""
    found = []
    for hidden in tqdm(settings.regressions, desc="triangles", unit=" networks"):
        rng = np.random.default_rng(0)
        model = Model([Dense(10, hidden), Tanh(), Dense(hidden, 1)], MeanSquaredError(), dtype="float64")
        p = len(model.theta) + 1  # with the residuals
        x = rng.uniform(-1, 1, (5 * p, 10))
        objective = model.objective(x, np.sin(x.sum(axis=1, keepdims=True)))
        with blas.limited(1):
            example = seconds_of(partial(triangle, objective), settings.rounds) / len(x)
            R = triangle(objective)
            pair = np.concatenate([R, R])
            merge = seconds_of(partial(np.linalg.qr, pair, mode="r"), settings.rounds)
            rest = seconds_of(partial(np.linalg.svd, R[:, : p - 1], full_matrices=False), settings.rounds)
        found.append({"network": f"10-{hidden}-1", "columns": p, "examples": EXAMPLES, "example": example,
                      "merge": merge, "rest": rest})
    return found


def triangle(objective: BatchObjective) -> np.ndarray:
    """Return the triangle of the QR factorization of the Jacobian and the residuals, (p, p)."""
    return np.asarray(np.linalg.qr(np.column_stack([objective.jacobian(), objective.residuals()]), mode="r"))


def seconds_of(run: Callable[[], object], rounds: int) -> float:
    """Return the smallest seconds of a call."""
    run()
    times = []
    for _ in range(rounds):
        started = perf_counter()
        run()
        times.append(perf_counter() - started)
    return min(times)
