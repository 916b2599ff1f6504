"""Our methods beside SciPy's on the 18 problems of More, Garbow and Hillstrom: prints a table in markdown.

    python -m benchmarks.functions
"""

from collections.abc import Callable
from dataclasses import dataclass
import math
from statistics import median
from typing import Any

import numpy as np
import scipy.optimize

from optimizers import Function, get, minimize
from tests.problems import PROBLEMS, Problem

TOLERANCE = 1e-5  # of the largest component of the gradient, SciPy's default; for both sides
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


def ours(name: str, **fields: Any) -> Callable[[Problem], Run]:
    """Our optimizer of that name."""
    def run(problem: Problem) -> Run:
        function = problem.function()
        result = minimize(function, get(name, **fields), STEPS, TOLERANCE)
        return Run(result.steps, result.evaluations, result.value, _slope(function))
    return run


def scipys(method: str, **options: Any) -> Callable[[Problem], Run]:
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


# ours, SciPy's
PAIRS: dict[tuple[str, str], tuple[Callable[[Problem], Run], Callable[[Problem], Run]]] = {
    ("bfgs", "BFGS"): (ours("bfgs"), scipys("BFGS")),
    ("lbfgs", "L-BFGS-B"): (ours("lbfgs"), scipys("L-BFGS-B", ftol=0, maxfun=10 * STEPS, maxcor=10)),
    ("cg", "CG"): (ours("cg"), scipys("CG")),
}


def main() -> None:
    print(f"Iterations / evaluations (final value, largest component of the gradient), until that is {TOLERANCE:g}.\n")
    for (our_name, its_name), (our, its) in PAIRS.items():
        print(f"| problem | {our_name} | SciPy {its_name} | iterations, ratio | evaluations, ratio |")
        print("|---|---|---|---|---|")
        ratios = []
        for name, problem in PROBLEMS.items():
            a, b = our(problem), its(problem)
            both = a.solved and b.solved
            ratio = (a.iterations / b.iterations, a.evaluations / b.evaluations) if both else (math.nan, math.nan)
            if both:
                ratios.append(ratio)
            cells = [f"{run.iterations} / {run.evaluations} ({run.value:.5g}, {run.slope:.0e}"
                     f"{'' if run.solved else ', not reached'})" for run in (a, b)]
            print(f"| {name} | {' | '.join(cells)} | {' | '.join(f'{r:.2f}' if both else '' for r in ratio)} |")
        medians = [median(column) for column in zip(*ratios)]
        print(f"| **median** of {len(ratios)} that both solve | | | **{medians[0]:.2f}** | **{medians[1]:.2f}** |\n")


if __name__ == "__main__":
    main()
