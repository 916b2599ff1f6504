"""Undo: copies of the parameters, so that a step that fails, or makes them infinite, can be undone."""

import math

import numpy as np


class Undo:
    """The parameters before the current step, and those at the last finite loss.

    Parameters
    ----------
    theta : ndarray of shape (P,)
        The parameters, which steps change.

    Notes
    -----
    If a step changes theta in parts, each part is copied just before it is changed, and checked after it, on the same
    thread, while it is in the caches anyway. Before any other step all of theta is copied, and after it checked.
    """

    def __init__(self, theta: np.ndarray) -> None:
        self._theta, self._before, self._last_finite = theta, theta.copy(), theta.copy()
        self._in_parts, self._all_finite = False, True
        self._kept: list[slice] = []  # the parts that were copied to _last_finite in this step

    @property
    def before(self) -> np.ndarray:
        """Theta before the last step, after `end_step`; not a copy."""
        return self._last_finite

    def begin_step(self, in_parts: bool) -> None:
        """Copy theta before a step, unless the step changes it in parts, and calls `keep` before it changes one."""
        self._in_parts, self._all_finite = in_parts, True
        self._kept.clear()
        if not in_parts:
            np.copyto(self._before, self._theta)

    def keep(self, part: slice) -> None:
        """Copy a part of theta before it is changed. The loss at theta must be finite."""
        np.copyto(self._last_finite[part], self._theta[part])
        self._kept.append(part)

    def check(self, part: slice) -> None:
        """Note whether a part of theta, which has been changed, is finite."""
        values = self._theta[part]
        if not math.isfinite(values @ values) and not np.isfinite(values).all():  # quick, but it may overflow
            self._all_finite = False

    def is_finite(self) -> bool:
        """Return whether theta is finite after this step."""
        # not by `check`: a call in each step costs time
        values = self._theta
        return self._all_finite if self._kept else math.isfinite(values @ values) or bool(np.isfinite(values).all())

    def end_step(self) -> None:
        """Remember theta before this step as that at the last finite loss."""
        if not self._in_parts:
            self._before, self._last_finite = self._last_finite, self._before

    def undo_step(self) -> None:
        """Give theta its values before this step."""
        if not self._in_parts:
            np.copyto(self._theta, self._before)
        for part in self._kept:
            np.copyto(self._theta[part], self._last_finite[part])

    def restore_last_finite(self) -> None:
        """Give theta its values at the last finite loss, if the loss of this step is not finite."""
        np.copyto(self._theta, self._last_finite)
