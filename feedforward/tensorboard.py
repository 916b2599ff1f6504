"""TensorBoard: a callback that writes what TensorBoard shows of a training."""

from collections.abc import Iterator, Sequence
import io
import os
from pathlib import Path
import struct
import time
from typing import TYPE_CHECKING, Any, NoReturn, cast
import warnings

import numpy as np

from nn import Epoch, History, Model, plots
from nn.arrays import views
from nn.fields import Count, check_value
from nn.fit import Plan
from nn.labels import class_indices

if TYPE_CHECKING:
    from tensorboardX.proto.summary_pb2 import Summary

__all__ = ["TensorBoard"]

BINS = 50  # of a histogram


class TensorBoard:
    """Write numbers, histograms and the confusion matrix of each epoch to a folder that TensorBoard shows.

    It needs the package tensorboardX: ``pip install tensorboardX``. The server is a package of its own: ``pip install
    tensorboard``, and then ``tensorboard --logdir FOLDER``.

    Parameters
    ----------
    folder : str or path-like
        The folder of the training, which is made if it does not exist. TensorBoard shows each folder as a run.
    histograms : int, optional
        How often, in epochs, to write histograms of the weights and gradients; None: never.
    confusion : int, optional
        How often, in epochs, to draw the confusion matrix of the validation data. It is drawn after the last epoch in
        any case, if the targets are classes.
    classes : sequence of str, optional
        The names of the classes in the confusion matrix; by default their labels.

    Attributes
    ----------
    error : str
        Why the last epoch could not be written; empty if it was. Training goes on, and its numbers are written later.

    Raises
    ------
    ImportError
        If tensorboardX is not installed.
    ValueError
        If a number is not at least 1; during the fit, if there is another number of classes.

    Notes
    -----
    A step of TensorBoard is an epoch. Its numbers are all those of the epoch's dict, also those that callbacks before
    this one have added; TensorBoard keeps them as float32. The histograms are those of each parameter after the epoch,
    such as ``weights/0.W``, and of the gradient of the last step, before the optimizer changes it, such as
    ``gradients/0.W``. The confusion matrix is that of the weights after the epoch, not of those that EarlyStopping
    restores.

    A fit that continues a history continues its steps, also after a kill: epochs that are trained again replace what
    the folder holds of them. A fit that starts with epoch 1 replaces everything.

    Several runs need a folder each; with several runs of an `Experiment` give a function, such as
    ``callbacks=lambda run: [TensorBoard(f"events/{run.name}-{run.seed}")]``.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import feedforward as ff
    >>> model = ff.Model([ff.Dense(1, 1)], ff.MeanSquaredError())
    >>> with TemporaryDirectory() as folder:
    ...     history = model.fit([[1.0]], [2.0], ff.get("gd"), 3, callbacks=[ff.TensorBoard(folder)], progress=False)
    ...     [path.name[:20] for path in Path(folder).iterdir()]
    ['events.out.tfevents.']
    """

    only_rank_0 = True

    def __init__(self, folder: str | os.PathLike[str], histograms: int | None = 1, confusion: int | None = None,
                 classes: Sequence[str] | None = None) -> None:
        self.folder = Path(folder).absolute()  # the working folder may change during the training
        self.histograms: int | None = check_value("TensorBoard", "histograms", Count | None, histograms)
        self.confusion: int | None = check_value("TensorBoard", "confusion", Count | None, confusion)
        self.classes, self.error = classes, ""
        try:
            import tensorboardX  # noqa: F401
        except ImportError:
            raise ImportError("TensorBoard needs the package tensorboardX: pip install tensorboardX") from None

    def __deepcopy__(self, memo: Any) -> NoReturn:
        raise ValueError(f"TensorBoard: several runs cannot write into one folder, {self.folder}: give a function, "
                         "callbacks=lambda run: [TensorBoard(f'events/{run.name}-{run.seed}')]")

    def on_fit_begin(self, model: Model, plan: Plan) -> None:
        """Begin; nothing is written before the first epoch is complete.

        Parameters
        ----------
        model : Model
            The model that is trained.
        plan : dict
            See `nn.callbacks`.

        Raises
        ------
        ValueError
            If there are not as many classes as names.
        """
        self._training, self._history = plan["training"], plan["training"].history
        self._path: Path | None = None  # the file of this fit
        self._gradient, self._observed = np.empty_like(model.theta), False
        # a history may be older than its folder
        self._written = len(self._history) if any(self.folder.glob("*tfevents*")) else 0
        self._drawn = len(self._history)
        K = max(2, model.n_out)
        if self.classes is not None and len(self.classes) != K:
            raise ValueError(f"TensorBoard: there are {len(self.classes)} names for {K} classes")

    def on_gradient(self, model: Model, part: slice, gradient: np.ndarray) -> None:
        """Keep the gradient of the last step of an epoch whose histograms are written.

        Parameters
        ----------
        model : Model
            The model that is trained.
        part : slice
            The part of theta.
        gradient : ndarray
            The derivatives with respect to theta[part].
        """
        position = self._history.position
        if position is not None and position.steps == position.total - 1 and is_due(position.epoch, self.histograms):
            np.copyto(self._gradient[part], gradient)
            self._observed = True

    def on_epoch_end(self, model: Model, epoch: Epoch) -> None:
        """Write the epoch.

        Parameters
        ----------
        model : Model
            The model that is trained.
        epoch : dict
            The dict of the epoch.
        """
        number = epoch["epoch"]
        with np.errstate(over="ignore"):  # in the sum of the squares
            summaries = list(self._parameters(model)) if is_due(number, self.histograms) else []
        if is_due(number, self.confusion):
            summaries += self._draw(model)
        self._observed = False
        self._write(summaries)

    def on_training_end(self, model: Model, history: History) -> None:
        """Draw the confusion matrix after the last epoch.

        Parameters
        ----------
        model : Model
            The model that is trained.
        history : History
            The dicts of all epochs.
        """
        if len(history) > self._drawn:
            self._write(self._draw(model))

    def _parameters(self, model: Model) -> Iterator["Summary"]:
        """Yield the histograms of the weights and, if there was one, of the gradient."""
        from tensorboardX.summary import histogram

        vectors = {"weights": model.theta, **({"gradients": self._gradient} if self._observed else {})}
        for kind, vector in vectors.items():
            for i, (layer, part) in enumerate(zip(model.layers, model.network.slices)):
                for name, values in views(vector[part], layer.shapes()).items():
                    finite = values[np.isfinite(values)]
                    if finite.size:
                        yield histogram(f"{kind}/{i}.{name}", finite, BINS)

    def _draw(self, model: Model) -> list["Summary"]:
        """Return the confusion matrix of the validation data; nothing if there are none, or no classes."""
        from tensorboardX.proto.summary_pb2 import Summary

        validation = self._training.validation
        if not isinstance(validation, tuple) or not model.network.loss.classifies(validation[1]):
            return []
        self._drawn = len(self._history)
        x, target, _ = validation
        names = self.classes or model.classes or range(max(2, model.n_out))
        with np.errstate(over="ignore", invalid="ignore"):
            predicted = class_indices(model.predict(x))
        figure, png = plots.confusion(class_indices(target), predicted, list(map(str, names))), io.BytesIO()
        figure.savefig(png, format="png", dpi=100)
        width, height = struct.unpack(">II", png.getvalue()[16:24])  # where every PNG has them
        image = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=png.getvalue())
        return [Summary(value=[Summary.Value(tag="confusion", image=image)])]

    def _write(self, summaries: Sequence["Summary"]) -> None:
        """Append the numbers that are not written yet, and summaries of the last epoch. Warn if that fails."""
        numbers = [(epoch["epoch"], scalars(epoch)) for epoch in self._history.epochs[self._written :]]
        records = [event(number, summary=summary)
                   for number, summary in [*numbers, *((len(self._history), summary) for summary in summaries)]]
        if not records:
            return
        try:
            if self._path is None:
                records = [*self._first_records(), *records]
                self.folder.mkdir(parents=True, exist_ok=True)
                self._path = self.folder / f"events.out.tfevents.{time.time():017.6f}"  # they are read in this order
            with self._path.open("ab") as file:
                file.write(b"".join(records))
            self._written, self.error = len(self._history), ""
        except OSError as error:
            # readers stop at an incomplete record, so what follows goes into another file
            first, self._path, self.error = not self.error, None, str(error)
            if first:
                warnings.warn(f"nothing was written for TensorBoard, and training goes on: {error}", stacklevel=2)

    def _first_records(self) -> list[bytes]:
        """Return the beginning of a file. It replaces what earlier ones hold of epochs that are not written yet."""
        from tensorboardX.proto.event_pb2 import SessionLog

        return [event(0, file_version="brain.Event:2"),
                event(self._written + 1, session_log=SessionLog(status=SessionLog.START))]


def is_due(number: int, every: int | None) -> bool:
    """Return whether something that is done every so many epochs is due in this epoch."""
    return every is not None and number % every == 0


def scalars(epoch: Epoch) -> "Summary":
    """Return all numbers of an epoch."""
    from tensorboardX.proto.summary_pb2 import Summary

    numbers = {name: value for name, value in cast(dict[str, Any], epoch).items() if name != "epoch"}
    return Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in numbers.items()
                          if value is not None])


def event(step: int, **content: Any) -> bytes:
    """Return an event as files of TensorBoard hold it: its length and its bytes, each with a checksum."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    data = Event(step=step, wall_time=time.time(), **content).SerializeToString()
    length = struct.pack("<Q", len(data))
    return b"".join([length, struct.pack("<I", masked_crc32c(length)), data, struct.pack("<I", masked_crc32c(data))])
