"""Undo: copies of the parameters, so that a step that fails can be undone."""

import numpy as np


class Undo:
    """The parameters before the current step, and those at the last finite loss.

    Parameters
    ----------
    theta : ndarray of shape (P,)
        The parameters, which steps change.

    Notes
    -----
    Theta is copied before each step, except if the last step has changed it part by part. Then each part is copied when
    its new values are about to be written, on the same thread, while it is in the caches anyway.
    """

    def __init__(self, theta: np.ndarray) -> None:
        self._theta, self._before, self._last_finite = theta, theta.copy(), theta.copy()
        self._in_parts = False  # whether the last step changed theta in parts
        self._kept: list[slice] = []  # the parts that were copied to _last_finite in this step

    def begin_step(self) -> None:
        """Copy theta before a step."""
        self._kept.clear()
        if not self._in_parts:
            np.copyto(self._before, self._theta)

    def keep(self, part: slice) -> None:
        """Copy a part of theta before it is changed. The loss at theta is finite."""
        np.copyto(self._last_finite[part], self._theta[part])
        self._kept.append(part)

    def keep_all(self) -> None:
        """Copy theta if `begin_step` has left this to `keep`, but nothing is changed in parts now."""
        if self._in_parts and not self._kept:
            self.keep(slice(None))

    def end_step(self) -> None:
        """Remember theta before this step as that at the last finite loss."""
        self._in_parts = bool(self._kept)
        if not self._in_parts:
            self._before, self._last_finite = self._last_finite, self._before

    def undo_step(self) -> None:
        """Give theta its values before this step."""
        if self._in_parts or self._kept:
            for part in self._kept:
                np.copyto(self._theta[part], self._last_finite[part])
        else:
            np.copyto(self._theta, self._before)

    def restore_last_finite(self) -> None:
        """Give theta its values at the last finite loss, if the loss of this step is not finite."""
        np.copyto(self._theta, self._last_finite)
