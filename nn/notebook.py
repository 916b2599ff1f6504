"""LiveCurve: the curves of a training in a notebook, drawn again while it goes on."""

from collections.abc import Sequence
import io
import sys
from time import monotonic
from typing import Any, cast

from nn.fit import Plan
from nn.history import Epoch, History
from nn.plots import curves

PAUSE = 0.5  # seconds between two drawings, at least
SHARE = 0.1  # of the time that drawing may take


def in_notebook() -> bool:
    """Return whether this is the kernel of a notebook, such as Jupyter's or an editor's."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return hasattr(shell, "kernel")


class LiveCurve:
    """Draw the curves of the training in the output of a notebook's cell, at most twice a second.

    There is one picture, which is replaced: by the last one at the end of the fit, also if that ends early. Drawing
    takes at most about a tenth of the time of the training.

    Parameters
    ----------
    names : sequence of str
        The columns of the history to draw, as for `plots.curves`; by default accuracy and loss. Put the callbacks that
        add columns before this one.
    title : str
        The title of the picture; none by default.
    validation : str or None
        What the picture calls the validation data; None to show only the training data.

    Raises
    ------
    ValueError
        During the fit: outside of a notebook, because nothing could show the picture, or if there is no such column.

    Examples
    --------
    In a notebook, ``model.fit(x, y, get("adam"), 100, callbacks=[LiveCurve()], progress=False)`` shows the curves.
    Elsewhere there is an error before the first step:

    >>> from nn import Dense, LiveCurve, MeanSquaredError, Model
    >>> from optimizers import get
    >>> model = Model([Dense(1, 1)], MeanSquaredError())
    >>> model.fit([[1.0]], [2.0], get("gd"), 3, callbacks=[LiveCurve()], progress=False)
    Traceback (most recent call last):
    ValueError: LiveCurve needs a notebook to draw in: leave it out here, and draw plots.curves(history) after the fit
    """

    only_rank_0 = True

    def __init__(self, names: Sequence[str] = ("accuracy", "loss"), title: str = "",
                 validation: str | None = "validation") -> None:
        self.names, self.title, self.validation = names, title, validation

    def on_fit_begin(self, model: Any, plan: Plan) -> None:
        """Begin a new picture, which appears with the first epoch.

        Parameters
        ----------
        model : Model
            The model that is trained.
        plan : dict
            See `nn.callbacks`.

        Raises
        ------
        ValueError
            Outside of a notebook.
        """
        if not in_notebook():
            raise ValueError("LiveCurve needs a notebook to draw in: leave it out here, and draw plots.curves(history) "
                             "after the fit")
        self._history = plan["training"].history
        self._picture: Any = None
        self._drawn, self._next = len(self._history), 0.0

    def on_epoch_end(self, model: Any, epoch: Epoch) -> None:
        """Draw if it is time.

        Parameters
        ----------
        model : Model
            The model that is trained.
        epoch : dict
            The dict of the epoch.
        """
        if monotonic() >= self._next:
            self._draw()

    def on_fit_end(self, model: Any, history: History) -> None:
        """Draw the epochs that have not been drawn.

        Parameters
        ----------
        model : Model
            The model that is trained.
        history : History
            The dicts of all epochs.
        """
        if len(history) > self._drawn:
            self._draw()

    def _draw(self) -> None:
        from IPython import display

        started, png, tools = monotonic(), io.BytesIO(), cast(Any, display)  # its functions have no types
        curves(self._history, self.title, self.validation, self.names).savefig(png, format="png", dpi=144)
        image = tools.Image(png.getvalue(), format="png", retina=True)  # shown at half its size, sharp on any screen
        if self._picture is None:
            self._picture = tools.display(image, display_id=True)
        else:
            self._picture.update(image)
        ended, self._drawn = monotonic(), len(self._history)
        self._next = ended + max(PAUSE, (ended - started) * (1 / SHARE - 1))
