"""Our methods beside SciPy's on the 18 problems of More, Garbow and Hillstrom (1981).

    python -m benchmarks.functions
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import scipy.optimize

from benchmarks.report import replace_part
from optimizers import Function, get, minimize
from tests.problems import PROBLEMS, Problem

TOLERANCE = 1e-5  # of the largest component of the gradient, for both sides: SciPy's default
STEPS = 10_000


@dataclass
class Run:
    """What one method came to on one problem."""

    iterations: int
    evaluations: int
    value: float
    slope: float  # the largest component of the gradient

    @property
    def solved(self) -> bool:
        return self.slope <= TOLERANCE

    def __str__(self) -> str:
        return (f"{self.iterations} / {self.evaluations} ({self.value:.5g}, {self.slope:.0e}"
                f"{'' if self.solved else ', not reached'})")


Method = Callable[[Problem], Run]


def ours(name: str, **fields: Any) -> Method:
    """Our optimizer of that name."""
    def run(problem: Problem) -> Run:
        function = problem.function()
        result = minimize(function, get(name, **fields), STEPS, TOLERANCE)
        return Run(result.steps, result.evaluations, result.value, _slope(function))
    return run


def scipys(method: str, **options: Any) -> Method:
    """SciPy's method of that name."""
    def run(problem: Problem) -> Run:
        function = problem.function()

        def value_and_gradient(theta: Any) -> tuple[float, Any]:
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


# the names of ours and SciPy's, and how each is run: with as many pairs remembered, and ending by the gradient alone
PAIRS: dict[tuple[str, str], tuple[Method, Method]] = {
    ("bfgs", "BFGS"): (ours("bfgs"), scipys("BFGS")),
    ("lbfgs", "L-BFGS-B"): (ours("lbfgs", memory=10), scipys("L-BFGS-B", maxcor=10, ftol=0, maxfun=10 * STEPS)),
    ("cg", "CG"): (ours("cg"), scipys("CG")),
}


def compare(pair: tuple[str, str]) -> dict[str, tuple[Run, Run]]:
    """Both methods of a pair on every problem, by the problem's name."""
    ours, its = PAIRS[pair]
    return {name: (ours(problem), its(problem)) for name, problem in PROBLEMS.items()}


def ratios(a: Run, b: Run) -> tuple[float, float]:
    """How many times as many iterations, and evaluations, a takes as b."""
    return a.iterations / b.iterations, a.evaluations / b.evaluations


def medians(runs: dict[str, tuple[Run, Run]]) -> tuple[float, float]:
    """The medians of the ratios over the problems that both solve."""
    iterations, evaluations = zip(*(ratios(a, b) for a, b in runs.values() if a.solved and b.solved))
    return median(iterations), median(evaluations)


def main() -> None:
    lines = [f"Iterations / evaluations (final value, largest component of the gradient), until that is {TOLERANCE:g}."]
    for pair in PAIRS:
        runs = compare(pair)
        lines += [f"\n| problem | {pair[0]} | SciPy {pair[1]} | iterations, ratio | evaluations, ratio |",
                  "|---|---|---|---|---|"]
        for name, (a, b) in runs.items():
            cells = (f"{ratio:.2f}" for ratio in ratios(a, b)) if a.solved and b.solved else ("", "")
            lines.append(f"| {name} | {a} | {b} | {' | '.join(cells)} |")
        lines.append(f"| median where both solve | | | {' | '.join(f'{ratio:.2f}' for ratio in medians(runs))} |")
    text = "\n".join([*lines, "\nMeasured by `python -m benchmarks.functions`."])
    print(text)
    replace_part("functions", text)


if __name__ == "__main__":
    main()
