"""Levenberg-Marquardt and Newton next to SciPy's, on the least-squares problems of More, Garbow & Hillstrom (1981).

    python -m benchmarks.least_squares
"""

from typing import Any

import numpy as np
from scipy.optimize import least_squares
from scipy.optimize import minimize as scipy_minimize

from benchmarks.report import replace_part
from optimizers import get, minimize
from tests.least_squares import PROBLEMS

TOLERANCE = 1e-5  # of Newton, for the largest component of the gradient, relative to its first value if that is above 1


def lm(problem: Any) -> tuple[int, int, float, float]:
    """Return the evaluations of the residuals and the sums of squares: ours, and SciPy's by its own tolerances."""
    result = minimize(problem.function(), get("lm"), max_steps=3000, tolerance=1e-8)
    scipy_result = least_squares(problem.residuals, np.array(problem.start, dtype=float), problem.jacobian, method="lm",
                                 max_nfev=3000)
    return result.evaluations, scipy_result.nfev, 2 * result.value, 2 * scipy_result.cost


def newton(problem: Any) -> tuple[int, int, float, float]:
    """Return the steps until the gradient is small and the sums of squares: ours and SciPy's."""
    start = np.array(problem.start, dtype=float)
    tolerance = TOLERANCE * max(1.0, np.abs(problem.gradient(start)).max())

    def stop(intermediate_result: Any) -> None:
        if np.abs(problem.gradient(intermediate_result.x)).max() <= tolerance:
            raise StopIteration

    result = minimize(problem.function(), get("newton"), max_steps=3000, tolerance=tolerance)
    scipy_result = scipy_minimize(lambda x: problem.residuals(x) @ problem.residuals(x) / 2, start,
                                  jac=problem.gradient, hess=problem.hessian, method="Newton-CG", callback=stop,
                                  options={"xtol": 1e-15, "maxiter": 3000})
    return result.steps, scipy_result.nit, 2 * result.value, 2 * scipy_result.fun


def main() -> None:
    """Compare, and write the part "least squares" of RESULTS.md."""
    lines = ["The values are the final sums of squares. lm: evaluations of the residuals until every component of the "
             "gradient is at most 1e-8, or until rounding prevents further progress, next to nfev of SciPy's "
             "`least_squares(method=\"lm\")`, which has its own tolerances. newton: steps until every component of the "
             f"gradient is at most {TOLERANCE:g}, relative to the largest at the start if that is above 1, next to the "
             "iterations of SciPy's Newton-CG, which stops early on meyer and the two badly scaled problems.\n",
             "| problem | lm | SciPy | value | SciPy | newton | Newton-CG | value | SciPy |",
             "|---" + "|---:" * 8 + "|"]
    ratios = []
    with np.errstate(all="ignore"):
        for name, problem in PROBLEMS.items():
            rows = lm(problem), newton(problem)
            lines.append(" ".join([f"| {name} |", *(f"{a} | {b} | {u:.6g} | {v:.6g} |" for a, b, u, v in rows)]))
            ratios.append([a / b for a, b, _, _ in rows])
    lines.append("\nMedian ratio, ours to SciPy's: lm {:.2f}, newton {:.2f}.".format(*np.median(ratios, axis=0)))
    text = "\n".join([*lines, "\nMeasured by `python -m benchmarks.least_squares`."])
    print(text)
    replace_part("least squares", text)


if __name__ == "__main__":
    main()
