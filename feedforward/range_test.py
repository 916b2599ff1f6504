"""lr_find: the learning rate range test, which suggests a learning rate for a model, its data and an optimizer."""

from collections.abc import Mapping
from contextlib import suppress
import copy
from dataclasses import dataclass
import math
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import ArrayLike

from nn import Diverged, Model
from nn.fields import Bounds, Count, Positive, check_value
from nn.inputs import check_takes_steps
from optimizers import Optimizer, Scheduled, hyperparameters

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["RangeTest", "lr_find"]

RISE = 4  # a loss that is so many times as large as that of the model at the start ends the test
SMOOTHING = 0.03  # the standard deviation of the smoothing, as a share of the steps
FALL = 0.8  # the share of the whole fall that the loss has fallen at the rate that is suggested
LEAST_FALL = 0.002  # a smaller fall, as a share of the loss at the start, suggests nothing
NOISE = 6  # nor does one of fewer standard errors
STEPS, EXAMPLES = 100, 3200  # the least numbers by default


@dataclass(frozen=True, eq=False, repr=False)
class RangeTest:
    """The result of `lr_find`: the loss at each learning rate, and the learning rate that they suggest.

    Parameters
    ----------
    rates : ndarray of shape (n,)
        The learning rate of each step that was taken, ascending.
    losses : ndarray of shape (n,)
        The loss of the batch of each step, before the step. The last one may be infinite or NaN.
    initial : ndarray of shape (n,)
        The loss of the same batch with the weights at the start.
    steps : int
        The number of steps of the whole test. There are fewer rates if the loss has become too large.

    Examples
    --------
    >>> import numpy as np
    >>> import feedforward as ff
    >>> rates = np.geomspace(0.001, 10, 41)
    >>> losses = np.where(rates < 1, 2 / (1 + rates), 9)
    >>> ff.RangeTest(rates, losses, initial=np.full(41, 2.0), steps=41)
    RangeTest(lr 0.316, of 41 rates from 0.001 to 10)
    """

    rates: np.ndarray
    losses: np.ndarray
    initial: np.ndarray
    steps: int

    @property
    def start(self) -> float:
        """The loss at the start: the mean over all batches."""
        return float(self.initial.mean())

    @property
    @np.errstate(invalid="ignore", over="ignore")
    def smoothed(self) -> np.ndarray:
        """The smoothed losses, without the differences between batches."""
        losses, deviation = self._without_differences(), SMOOTHING * self.steps
        reach = math.ceil(4 * deviation)
        kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
        weighted, weights = (np.convolve(values, kernel)[reach:-reach] for values in (losses, np.ones(len(losses))))
        return np.asarray(weighted / weights)

    def _without_differences(self) -> np.ndarray:
        """Return the losses as if those of all batches were the same at the start, and none above the limit."""
        losses, highest = self.losses - self.initial + self.start, limit(self.initial)
        return np.where(losses < highest, losses, highest)  # the last one may be very large, infinite or NaN

    @property
    @np.errstate(invalid="ignore", over="ignore")
    def lr(self) -> float:
        """The suggestion. Raises ValueError if the losses suggest none, because they have not fallen."""
        losses, smoothed, start = self._without_differences(), self.smoothed, self.start
        k = int(smoothed.argmin())
        first = max(0, k - self.steps // 4)  # the median is that of a quarter of the steps, which end with the lowest
        differences = np.abs(np.diff(losses, prepend=losses[0]))[first : first + self.steps // 4 + 1]
        # the median difference of two losses is about their standard deviation, even if they fall; the number of losses
        # in a mean, the ratio of (the sum of the weights)^2 to the sum of their squares, is about a tenth of the steps
        error = float(np.median(differences)) / math.sqrt(0.1 * self.steps)
        if not start - smoothed[k] > max(NOISE * error, LEAST_FALL * abs(start)):
            raise ValueError(f"the range test suggests no learning rate: at rates from {self.rates[0]:.3g} to "
                             f"{self.rates[-1]:.3g} the loss has not clearly fallen, from {start:.4g} to "
                             f"{smoothed[k]:.4g}; test more steps, larger batches or other rates, or choose the lr "
                             "yourself")
        return float(self.rates[int(np.argmax(smoothed <= start - FALL * (start - smoothed[k])))])

    def plot(self, title: str = "") -> "Figure":
        """Plot the losses against the learning rate, and mark the suggestion.

        Parameters
        ----------
        title : str
            The title; none by default.

        Returns
        -------
        matplotlib.figure.Figure
            The figure.
        """
        from matplotlib.figure import Figure

        from nn.plots import COLOURS

        figure = Figure(figsize=(6, 3.8), layout="constrained")
        ax, smoothed = figure.subplots(), self.smoothed
        ax.plot(self.rates, self.losses, ".", color=COLOURS[5], markersize=4, label="loss of each step")
        ax.plot(self.rates, smoothed, color=COLOURS[0], linewidth=1.6, label="smoothed")
        try:
            ax.axvline(self.lr, color=COLOURS[1], linestyle="--", label=f"suggested lr: {self.lr:.3g}")
        except ValueError:
            ax.plot([], [], " ", label="no lr is suggested")
        ax.set(xscale="log", xlabel="learning rate", ylabel="loss")
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        low, start = float(smoothed.min()), self.start
        margin = 0.15 * (start - low) or 0.1 * abs(start) or 0.1
        if math.isfinite(margin):
            ax.set_ylim(low - margin, start + 2 * margin)
        ax.grid(alpha=0.3)
        ax.legend(frameon=False)
        if title:
            figure.suptitle(title)
        return figure

    def __repr__(self) -> str:
        rates = f"{len(self.rates)} rates from {self.rates[0]:.3g} to {self.rates[-1]:.3g}"
        try:
            return f"RangeTest(lr {self.lr:.3g}, of {rates})"
        except ValueError:
            return f"RangeTest(no lr, of {rates})"


def limit(initial: np.ndarray) -> float:
    """Return the loss above which a test ends, from the losses at the start."""
    start = float(initial.mean())
    return start + (RISE - 1) * abs(start)


def lr_find(model: Model, x: ArrayLike, y: ArrayLike, optimizer: Any, batch_size: int | None = None, *,
            lowest: float = 1e-7, highest: float = 10, steps: int | None = None, threads: int | None = None,
            sample_weight: ArrayLike | None = None, class_weight: Mapping[Any, float] | str | None = None) -> RangeTest:
    """Suggest a learning rate by a range test: train a copy for some steps while the learning rate increases.

    Neither the model nor the optimizer changes.

    Parameters
    ----------
    model : Model
        The model. Its present weights are the start.
    x : array_like of shape (N, n_in)
        The examples.
    y : array_like
        The targets, as for `Model.fit`.
    optimizer : Optimizer
        An optimizer with an lr, such as ``get("adam")``. If it follows a schedule, the test is without the schedule.
    batch_size : int, optional
        The number of examples in a step, from 1 to N; N by default. Use that of the training.
    lowest, highest : float
        The first and the last learning rate, above 0.
    steps : int, optional
        The number of steps, at least 10. By default 100, or 3,200 examples if batches are small, whose losses vary.
    threads : int, optional
        The number of threads, as for `Model.fit`.
    sample_weight, class_weight : optional
        The weights of the examples, as for `Model.fit`.

    Returns
    -------
    RangeTest
        The rates, the losses, `lr`, which is the suggestion, and `plot()`.

    Raises
    ------
    ValueError
        If an argument is not allowed, or the optimizer has no learning rate. The `lr` of the result raises it, too, if
        the loss has not fallen.

    Notes
    -----
    This is the learning rate range test of Smith (2017), with another growth and another reading. His rate grows
    linearly, and he reads the accuracy of validation data. Here, step i of n, from 0, has the learning rate::

        lr := lowest (highest / lowest)^(i / (n - 1))

    and the loss of its own batch is read, before the step. The batches are those of the first epochs of the training.

    - Batches differ. So that this does not hide the fall of the loss, the loss of each batch with the weights at the
      start is subtracted, and the mean of these is added.
    - The test ends early if a loss is more than four times as large as that mean, or if it or the weights become
      infinite or NaN.
    - Smoothing: losses above that limit count as the limit; each is replaced by a mean with Gaussian weights in the
      number of the step, of standard deviation 0.03 n. They look to both sides, so that the curve is not shifted to
      larger rates, as it is by an exponential moving average.
    - The suggestion is the first rate at which the smoothed loss has fallen by four fifths of its whole fall, from the
      loss at the start to its minimum.
    - There is none if the whole fall is less than 0.2 % of the loss at the start, or less than six standard errors of a
      smoothed loss. They are estimated by the median difference of successive losses in the quarter of the steps before
      the minimum.

    ``python -m benchmarks.rates`` compares suggestions with a grid of rates: see RESULTS.md.

    References
    ----------
    Smith, L. N. (2017). Cyclical learning rates for training neural networks. WACV 2017.

    Examples
    --------
    >>> import feedforward as ff
    >>> data = ff.load("digits")
    >>> model = ff.Model([ff.Dense(64, 50), ff.ReLU(), ff.Dense(50, 10), ff.Softmax()], ff.CrossEntropy())
    >>> optimizer = ff.get("adam")
    >>> optimizer.lr = ff.lr_find(model, data.x_train, data.y_train, optimizer, batch_size=144).lr
    >>> 0.003 < optimizer.lr < 0.1
    True
    """
    copied = _copy_with_lr(optimizer)
    lowest, highest = (check_value("lr_find", name, Positive, value)
                       for name, value in (("lowest", lowest), ("highest", highest)))
    if not lowest < highest:
        raise ValueError(f"lr_find: lowest must be below highest, but they are {lowest:g} and {highest:g}")
    check_value("lr_find", "batch_size", Count | None, batch_size)
    steps = max(STEPS, EXAMPLES // (batch_size or EXAMPLES)) if steps is None else steps
    check_value("lr_find", "steps", Annotated[int, Bounds(least=10)], steps)
    test = _Steps(copied, np.geomspace(lowest, highest, steps), model.theta)
    with suppress(Diverged):
        copy.deepcopy(model).fit(x, y, test, steps, batch_size, callbacks=[test], progress=False, threads=threads,
                                 sample_weight=sample_weight, class_weight=class_weight)
    n = len(test.losses)
    return RangeTest(test.rates[:n], np.array(test.losses), np.array(test.initial[:n]), steps)


def _copy_with_lr(optimizer: Any) -> Any:
    """Return a copy of the optimizer, without its schedule. Raises ValueError if it has no learning rate."""
    check_takes_steps(optimizer)
    rule = optimizer.optimizer if isinstance(optimizer, Scheduled) else optimizer
    if not (isinstance(rule, Optimizer) and "lr" in hyperparameters(rule)):
        raise ValueError(f"{type(rule).__name__} has no learning rate that could be found: give lr_find a first-order "
                         "optimizer, such as get('adam')")
    return copy.deepcopy(rule)


class _Steps:
    """The steps of a range test, as an optimizer, and its end, as a callback."""

    lr = 0.0  # `fit` then does not warn that the loss stays the same: the first rates are too small to change it

    def __init__(self, optimizer: Any, rates: np.ndarray, theta: np.ndarray) -> None:
        self.optimizer, self.rates, self.start = optimizer, rates, theta.copy()
        self.losses: list[float] = []
        self.initial: list[float] = []

    def step(self, objective: Any) -> float:
        trained = objective.theta.copy()
        objective.theta[:] = self.start
        self.initial.append(objective.value())
        objective.theta[:] = trained
        self.optimizer.lr = self.rates[len(self.losses)]
        self.losses.append(float(self.optimizer.step(objective)))
        return self.losses[-1]

    def on_step_end(self, model: Model, examples: int) -> None:
        too_large = self.losses[-1] > limit(np.array(self.initial))
        model.stop_training = too_large or len(self.losses) == len(self.rates)
