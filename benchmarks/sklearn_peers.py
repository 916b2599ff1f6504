"""Our estimators beside scikit-learn's MLPClassifier and MLPRegressor on its data sets, all with their defaults.

    python -m benchmarks.sklearn_peers

Each method is the last step of ``make_pipeline(StandardScaler(), ...)``. Both are fitted on the same folds, one after
the other, in alternating order. The table has the mean score on the fold that was left out (the accuracy; R^2 for
numbers) and its standard deviation over the folds, and the median time of a fit.
"""

import argparse
from collections.abc import Iterator
from itertools import count
import statistics
import sys
from time import perf_counter, sleep
from typing import Any, NamedTuple
import warnings

import numpy as np
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from benchmarks.report import machine, table, versions
from benchmarks.turns import PAUSE
from feedforward.sklearn import FeedforwardClassifier, FeedforwardRegressor

FOLDS = 5
CLASSES = {"iris": datasets.load_iris, "wine": datasets.load_wine, "breast_cancer": datasets.load_breast_cancer,
           "digits": datasets.load_digits}
NUMBERS = {"diabetes": datasets.load_diabetes, "linnerud": datasets.load_linnerud}


class Fold(NamedTuple):
    """The score and the seconds of both methods, ours first."""

    scores: tuple[float, float]
    seconds: tuple[float, float]


def fit(estimator: Any, x: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray) -> tuple[float, float]:
    """Return the score of a pipeline on the fold that is left out, and the seconds of its fit."""
    pipeline = make_pipeline(StandardScaler(), estimator)
    sleep(PAUSE)  # threads of BLAS that wait in a loop go to sleep meanwhile
    started = perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        pipeline.fit(x[train], y[train])
    seconds = perf_counter() - started
    return pipeline.score(x[test], y[test]), seconds


def folds(name: str, repeats: int) -> Iterator[Fold]:
    """Fit both methods on each fold of a data set, divided anew `repeats` times, each time with another seed."""
    kinds: tuple[Any, Any] = (FeedforwardClassifier, MLPClassifier) if name in CLASSES else (
        FeedforwardRegressor, MLPRegressor)
    x, y = (CLASSES | NUMBERS)[name](return_X_y=True)
    turn = count()
    for seed in range(repeats):
        splitter = (StratifiedKFold if name in CLASSES else KFold)(FOLDS, shuffle=True, random_state=seed)
        for train, test in splitter.split(x, y):
            order = (0, 1) if next(turn) % 2 else (1, 0)
            results = {which: fit(kinds[which](random_state=seed), x, y, train, test) for which in order}
            yield Fold((results[0][0], results[1][0]), (results[0][1], results[1][1]))


def row(name: str, results: list[Fold]) -> list[str]:
    """Return the row of a data set."""
    x, y = (CLASSES | NUMBERS)[name](return_X_y=True)
    scores, seconds = (np.array(column) for column in zip(*results))
    what = f"{len(np.unique(y))} classes" if name in CLASSES else "1 number" if y.ndim == 1 else f"{y.shape[1]} numbers"
    digits = 4 if name in CLASSES else 3
    ratio = statistics.median(float(ours / theirs) for ours, theirs in seconds)
    return [name, f"{x.shape[0]:,} × {x.shape[1]}", what,
            *(f"{mean:.{digits}f} ± {std:.{digits}f}" for mean, std in zip(scores.mean(0), scores.std(0))),
            *(f"{1000 * median:.0f}" for median in np.median(seconds, axis=0)), f"{ratio:.2f}"]


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="how many times to divide each data set into folds")
    repeats = parser.parse_args().repeats
    rows = []
    with tqdm(total=len(CLASSES | NUMBERS) * repeats * FOLDS, unit=" folds", file=sys.stderr) as bar:
        for name in CLASSES | NUMBERS:
            results = []
            for fold in folds(name, repeats):
                results.append(fold)
                bar.update()
            rows.append(row(name, results))
    print(table(["data set", "examples", "predicts", "score of ours", "score of MLP", "ms of a fit", "ms of MLP",
                 "ratio of times"], rows))
    print(f"\n{FOLDS} folds, divided {repeats} times. {machine()}; {versions('scikit-learn', 'numba')}.")


if __name__ == "__main__":
    main()
