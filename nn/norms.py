"""GradientNorms: how large the gradients and the steps of each epoch were."""

from collections.abc import Mapping
import math
from typing import Any

import numpy as np

from nn.fit import Plan


class GradientNorms:
    """Add the mean norm of the gradient, and the mean relative length of a step, to each epoch.

    The epoch gets two numbers. Either is None if no step gave one.

    - `gradient_norm`: the mean over the steps of ``|grad|``.
    - `update_ratio`: the mean over the steps of ``|theta_after - theta_before| / |theta_before|``.

    Notes
    -----
    The gradient is that of the mean loss of the batch, before the optimizer clips it, adds weight decay or scales it;
    `Model.grad` after a step may hold what the rule has made of it. First-order rules evaluate one gradient, at the
    start of the step. Second-order methods evaluate several: the last one counts, which is that at the end of the
    step, unless the step was refused. An optimizer that evaluates only values has no gradient. A step from theta = 0
    has no ratio.

    In many trainings that go well, `update_ratio` is about 1e-3. If it is far above, lr may be too large; if it is far
    below, too small.

    Examples
    --------
    >>> from nn import Dense, GradientNorms, MeanSquaredError, Model
    >>> from optimizers import get
    >>> model = Model([Dense(1, 1, init="zeros")], MeanSquaredError())
    >>> history = model.fit([[1.0]], [2.0], get("gd", lr=0.25), 3, callbacks=[GradientNorms()], progress=False)
    >>> [round(norm, 4) for norm in history["gradient_norm"]]
    [5.6569, 0.0, 0.0]
    >>> history["update_ratio"]
    [None, 0.0, 0.0]
    """

    def __init__(self) -> None:
        self._parts: dict[int, float] = {}  # the norms of the parts of the last gradient, by their first component
        self._reset()

    def _reset(self) -> None:
        self._gradients = self._ratios = 0  # how many there were in the epoch
        self._gradient_sum = self._ratio_sum = 0.0

    def on_fit_begin(self, model: Any, plan: Plan) -> None:
        """Begin, or continue within an epoch that was interrupted.

        Parameters
        ----------
        model : Model
            The model that is trained.
        plan : dict
            See `nn.callbacks`.
        """
        self._undo, self._work = plan["training"].undo, np.empty_like(model.theta)
        self._parts.clear()  # those of a step that was interrupted
        position = plan["training"].history.position
        if position is None or not position.steps:
            self._reset()

    def on_gradient(self, model: Any, part: slice, gradient: np.ndarray) -> None:
        """Remember the norm of a part of the gradient.

        Parameters
        ----------
        model : Model
            The model that is trained.
        part : slice
            The part of theta.
        gradient : ndarray
            The derivatives with respect to theta[part].
        """
        self._parts[part.start] = norm(gradient, self._work[part])

    def on_step_end(self, model: Any, examples: int) -> None:
        """Add the norms of this step.

        Parameters
        ----------
        model : Model
            The model that is trained.
        examples : int
            The number of examples in the batch.
        """
        if self._parts:
            # in their order: threads come in any, and the sum would depend on it
            self._gradient_sum += math.hypot(*(self._parts[start] for start in sorted(self._parts)))
            self._gradients += 1
            self._parts.clear()
        before = norm(self._undo.before, self._work)
        if before:
            step = np.subtract(model.theta, self._undo.before, out=self._work)
            self._ratio_sum += norm(step, step) / before
            self._ratios += 1

    def on_epoch_end(self, model: Any, epoch: dict[str, Any]) -> None:
        """Add the means to the epoch.

        Parameters
        ----------
        model : Model
            The model that is trained.
        epoch : dict
            The dict of the epoch.
        """
        epoch["gradient_norm"] = self._gradient_sum / self._gradients if self._gradients else None
        epoch["update_ratio"] = self._ratio_sum / self._ratios if self._ratios else None
        self._reset()

    def state(self) -> dict[str, Any]:
        """Return the sums of the epoch that is not complete.

        Returns
        -------
        dict
            The sums, and how many steps are in them.
        """
        return {"gradients": self._gradients, "gradient_sum": self._gradient_sum, "ratios": self._ratios,
                "ratio_sum": self._ratio_sum}

    def restore(self, values: Mapping[str, Any]) -> None:
        """Continue from a state at the next fit.

        Parameters
        ----------
        values : mapping
            The state, from `state`.
        """
        self._gradients, self._gradient_sum = int(values["gradients"]), float(values["gradient_sum"])
        self._ratios, self._ratio_sum = int(values["ratios"]), float(values["ratio_sum"])


@np.errstate(over="ignore")
def norm(vector: np.ndarray, work: np.ndarray) -> float:
    """Return the Euclidean norm of a vector, also if the squares of its components overflow or underflow.

    `work` is a vector of the same shape, perhaps the same one, which may be overwritten. Nothing is allocated.
    """
    square, limits = float(vector @ vector), np.finfo(vector.dtype)
    if limits.tiny / limits.eps < square < math.inf:
        return math.sqrt(square)
    largest = float(max(vector.max(initial=0.0), -vector.min(initial=0.0)))
    if not 0 < largest < math.inf:
        return largest
    np.divide(vector, largest, out=work)
    return largest * math.sqrt(float(work @ work))
