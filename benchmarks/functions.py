"""Our methods next to SciPy's on the 18 problems of More, Garbow and Hillstrom (1981).

    python -m benchmarks.functions
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol

import numpy as np
import scipy.optimize

from benchmarks.report import machine, replace_part
from optimizers import Function, get, minimize
from tests.problems import PROBLEMS

TOLERANCE = 1e-5  # for the largest component of the gradient, for both methods of a pair: SciPy's default
STEPS = 10_000


class Problem(Protocol):
    """The part of a problem that is used: its starting point, and a new Function of its value and gradient."""

    @property
    def theta0(self) -> np.ndarray:
        """Return the starting point."""

    def function(self) -> Function:
        """Return a new Function."""


@dataclass
class Run:
    """The result of one method on one problem."""

    iterations: int
    evaluations: int
    value: float
    slope: float  # the largest component of the gradient

    @property
    def solved(self) -> bool:
        """Whether the gradient is within the tolerance."""
        return self.slope <= TOLERANCE

    def __str__(self) -> str:
        return (f"{self.iterations} / {self.evaluations} ({self.value:.5g}, {self.slope:.0e}"
                f"{'' if self.solved else ', not reached'})")


Method = Callable[[Problem], Run]


def our_method(name: str, **fields: Any) -> Method:
    """Return a function that runs our optimizer of that name."""
    def run(problem: Problem) -> Run:
        function = problem.function()
        result = minimize(function, get(name, **fields), STEPS, TOLERANCE)
        return Run(result.steps, result.evaluations, result.value, _slope(function))
    return run


def scipy_method(method: str, **options: Any) -> Method:
    """Return a function that runs SciPy's method of that name."""
    def run(problem: Problem) -> Run:
        function = problem.function()

        def value_and_gradient(theta: np.ndarray) -> tuple[float, np.ndarray]:
            function.theta[:] = theta
            return function.value_and_gradient()

        with np.errstate(all="ignore"):
            result = scipy.optimize.minimize(value_and_gradient, problem.theta0, jac=True, method=method,
                                             options={"gtol": TOLERANCE, "maxiter": STEPS, **options})
        function.theta[:] = result.x
        return Run(result.nit, result.nfev, float(result.fun), _slope(function))
    return run


def _slope(function: Function) -> float:
    return float(np.abs(function.value_and_gradient()[1]).max())


# the names of our method and of SciPy's, and what runs them: both keep the same number of curvature pairs, and only the
# gradient stops them
PAIRS: dict[tuple[str, str], tuple[Method, Method]] = {
    ("bfgs", "BFGS"): (our_method("bfgs"), scipy_method("BFGS")),
    ("lbfgs", "L-BFGS-B"): (our_method("lbfgs", memory=10),
                            scipy_method("L-BFGS-B", maxcor=10, ftol=0, maxfun=10 * STEPS)),
    ("cg", "CG"): (our_method("cg"), scipy_method("CG")),
}


def compare(pair: tuple[str, str]) -> dict[str, tuple[Run, Run]]:
    """Return the runs of both methods of a pair on every problem, by the problem's name."""
    our_run, scipy_run = PAIRS[pair]
    return {name: (our_run(problem), scipy_run(problem)) for name, problem in PROBLEMS.items()}


def ratios(a: Run, b: Run) -> tuple[float, float]:
    """Return the ratio of the iterations of a and b, and the ratio of their evaluations."""
    return a.iterations / b.iterations, a.evaluations / b.evaluations


def medians(runs: dict[str, tuple[Run, Run]]) -> tuple[float, float]:
    """Return the medians of the ratios over the problems that both solve."""
    iterations, evaluations = zip(*(ratios(a, b) for a, b in runs.values() if a.solved and b.solved))
    return median(iterations), median(evaluations)


def main() -> None:
    """Compare, and write the part "functions" of RESULTS.md."""
    lines = ["Iterations / evaluations (final value, largest component of the gradient). Both methods stop when this "
             f"component is at most {TOLERANCE:g}."]
    for pair in PAIRS:
        runs = compare(pair)
        lines += [f"\n| problem | {pair[0]} | SciPy {pair[1]} | iterations, ratio | evaluations, ratio |",
                  "|---|---|---|---|---|"]
        for name, (a, b) in runs.items():
            cells = (f"{ratio:.2f}" for ratio in ratios(a, b)) if a.solved and b.solved else ("", "")
            lines.append(f"| {name} | {a} | {b} | {' | '.join(cells)} |")
        cells = (f"{ratio:.2f}" for ratio in medians(runs))
        lines.append(f"| median of the problems that both solve | | | {' | '.join(cells)} |")
    lines.append("\nThe last digits of a product depend on the processor, and with them the counts. Measured by "
                 f"`python -m benchmarks.functions` on {machine()}.")
    text = "\n".join(lines)
    print(text)
    replace_part("functions", text)


if __name__ == "__main__":
    main()
