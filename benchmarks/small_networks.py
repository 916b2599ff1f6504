"""Small regression networks: Levenberg-Marquardt next to Newton, the quasi-Newton methods, CG, Adam, and SciPy's.

    python -m benchmarks.small_networks
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
import statistics
import sys
from time import perf_counter
from typing import Any

import numpy as np
from scipy.optimize import least_squares
from tqdm import tqdm

from benchmarks.report import machine, replace_part, table
from nn import Dense, MeanSquaredError, Model, Tanh
from optimizers import get

SEEDS = range(10)
METHODS = {"lm": (200, {}), "newton": (200, {}), "bfgs": (200, {}), "lbfgs": (200, {}), "cg": (200, {}),
           "adam": (5000, {"lr": 0.01})}  # the largest number of steps, and the fields


@dataclass(frozen=True)
class Problem:
    """The data, the network, and the mean squared error below which the problem counts as solved."""

    title: str
    widths: tuple[int, ...]
    x: np.ndarray
    y: np.ndarray
    goal: float

    def model(self, seed: int) -> Model:
        """Return the untrained network."""
        first, *rest = [Dense(*pair, init="glorot") for pair in zip(self.widths, self.widths[1:])]
        layers = [first, *(layer for dense in rest for layer in (Tanh(), dense))]
        return Model(layers, MeanSquaredError(), seed, "float64")


def sine() -> Problem:
    """Return a function of one number."""
    x = np.linspace(-1, 1, 41)[:, np.newaxis]
    return Problem("sin(pi x), 41 points, 1-5-1", (1, 5, 1), x, np.sin(np.pi * x), 1e-4)


def swirl() -> Problem:
    """Return a rotation of points by an angle that depends on their distance from the origin."""
    side = np.linspace(-1, 1, 15)
    x = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    angle = np.pi / 2 * np.exp(-np.sum(x**2, axis=1))
    rotated = [x[:, 0] * np.cos(angle) - x[:, 1] * np.sin(angle), x[:, 0] * np.sin(angle) + x[:, 1] * np.cos(angle)]
    return Problem("a swirl of the plane, 225 points, 2-30-2", (2, 30, 2), x, np.stack(rotated, axis=1), 1e-6)


def parity() -> Problem:
    """Return the product of three signs."""
    x = np.array([[a, b, c] for a in (-1.0, 1.0) for b in (-1.0, 1.0) for c in (-1.0, 1.0)])
    return Problem("parity of 3 bits, 3-5-1", (3, 5, 1), x, np.prod(x, axis=1, keepdims=True), 1e-4)


@dataclass
class Outcome:
    """The result of one run, with the step and the time at which its error fell below the goal."""

    error: float
    steps: int | None
    seconds: float | None
    points: int  # the number of points at which the method computed a value


def train(problem: Problem, seed: int, name: str) -> Outcome:
    """Train from one seed with one method."""
    max_steps, fields = METHODS[name]
    model, optimizer = problem.model(seed), get(name, **fields)
    objective: Any = model.objective(problem.x, problem.y)
    value, points = objective.value, [1]

    def counted() -> float:  # methods call value() at each trial point
        points[0] += 1
        return float(value())

    objective.value = counted
    steps = seconds = None
    started = perf_counter()
    for step in range(max_steps):
        if optimizer.step(objective) < problem.goal and steps is None:
            steps, seconds = step, perf_counter() - started
        if optimizer.message:
            break
    return Outcome(model.evaluate(problem.x, problem.y)["loss"] or 0.0, steps, seconds, points[0])


def train_scipy(problem: Problem, seed: int, evaluations: int) -> float:
    """Return the mean squared error of SciPy's least_squares(method="lm") from the same start."""
    model = problem.model(seed)
    objective = model.objective(problem.x, problem.y)

    def at(method: Callable[[], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
        def call(theta: np.ndarray) -> np.ndarray:
            np.copyto(model.theta, theta)
            return method().copy()

        return call

    result = least_squares(at(objective.residuals), model.theta.copy(), at(objective.jacobian), method="lm",
                           max_nfev=evaluations, xtol=1e-15, ftol=1e-15, gtol=1e-15)
    return float(result.cost)  # half the sum of squares: with our residuals, the mean squared error


def compare(problem: Problem, bar: Any) -> str:
    """Train with every method from every seed, and return the table."""
    rows: list[list[str]] = []
    evaluations: Sequence[int] = []
    for name in METHODS:
        outcomes = []
        for seed in SEEDS:
            outcomes.append(train(problem, seed, name))
            bar.update()
        if name == "lm":
            evaluations = [outcome.points for outcome in outcomes]
        median = statistics.median(outcome.error for outcome in outcomes)
        steps = [outcome.steps for outcome in outcomes if outcome.steps is not None]
        seconds = [outcome.seconds for outcome in outcomes if outcome.seconds is not None]
        rows.append([name, str(METHODS[name][0]), f"{len(steps)} of {len(outcomes)}",
                     f"{statistics.median(steps):g}" if steps else "",
                     f"{1000 * statistics.median(seconds):.0f}" if steps else "", f"{median:.1e}"])
    if problem.y.size >= len(problem.model(0).theta):
        scipy_errors = [train_scipy(problem, seed, number) for seed, number in zip(SEEDS, evaluations)]
        below = sum(error < problem.goal for error in scipy_errors)
        rows.append(["SciPy lm", "as many points as lm", f"{below} of {len(scipy_errors)}", "", "",
                     f"{statistics.median(scipy_errors):.1e}"])
    else:
        rows.append(["SciPy lm", "refuses fewer residuals than parameters", "", "", "", ""])
    head = ["method", "maximum steps", f"below {problem.goal:g}", "steps until then", "milliseconds", "last error"]
    return f"### {problem.title}\n\n{table(head, rows)}"


def main() -> None:
    """Compare, and write the part "small networks" of RESULTS.md."""
    problems = [sine(), swirl(), parity()]
    with tqdm(total=len(problems) * len(METHODS) * len(SEEDS), unit=" runs", file=sys.stderr) as bar:
        parts = [compare(problem, bar) for problem in problems]
    notes = ("Errors are mean squared errors. Each step is on the whole set, in float64. The initialization is "
             f"Glorot's, with zero biases. Steps, time and error are medians over {len(SEEDS)} seeds; those of steps "
             "and time are over the seeds whose error fell below the goal.")
    text = "\n\n".join([*parts, notes, f"Measured by `python -m benchmarks.small_networks` on {machine()}."])
    print(text)
    replace_part("small networks", text)


if __name__ == "__main__":
    main()
