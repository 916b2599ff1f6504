"""Checkpoints: everything that a training needs to be continued, bit for bit, in one file."""

from collections.abc import Mapping, Sequence
import copy
from functools import reduce
import hashlib
import json
import math
import os
from pathlib import Path
from time import monotonic
from types import NoneType
from typing import Any, NamedTuple, cast
import warnings

import numpy as np

from nn import archive, blas
from nn.archive import InvalidFile
from nn.batches import Batches, Examples
from nn.blocks import Blocks
from nn.fields import Count, check_value
from nn.files import check_folder, check_regular
from nn.fit import Plan
from nn.history import Epoch, History, Position
from nn.inputs import check_names
from nn.labels import check_classes
from nn.rows import CheckedRows

FORMAT = 1
PERIOD = 60  # seconds between two checkpoints by default
MAX_TEXT = 120  # characters of a value in a message
SAMPLE = 1000  # examples from which data are recognized
TEXTS = ("message", "form_used")  # attributes of an optimizer that say what its last step has done


class Saved(NamedTuple):
    """The content of a checkpoint: a description, arrays by name, and the file from which it was read."""

    description: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]
    path: Path


class Checkpoint:
    """Save the training at intervals and at the end of the fit, so that it can be continued exactly.

    It must follow all callbacks with a state, such as EarlyStopping. The same lines start and continue a training::

        checkpoint = Checkpoint("run.checkpoint")
        callbacks = [EarlyStopping(), checkpoint]
        history = checkpoint.restore(model, optimizer, callbacks)
        model.fit(x, y, optimizer, epochs=100 - len(history), history=history, callbacks=callbacks)

    Parameters
    ----------
    path : str or path-like
        The file. The checkpoint before is kept beside it, in a file whose name ends in ``.previous``.
    every : int or str, optional
        A number of epochs, such as 10, or of steps, such as "200s". By default about once a minute.

    Attributes
    ----------
    notes : dict
        What to save in addition: what JSON can hold. `restore` sets them.
    error : str
        Why the last checkpoint could not be written; empty if it was.

    Raises
    ------
    ValueError
        If `every` is not such a number; during the fit, if the optimizer has no state, or another callback that has
        one follows.

    Notes
    -----
    A checkpoint holds weights, the state of optimizer, schedule and callbacks, the history, the position in the epoch
    and the source of dropout masks. Continued on the same machine with the same number of threads, a training ends with
    the same bits as one that was never interrupted. If a checkpoint cannot be written, there is a warning, and training
    goes on.

    The checkpoint at the end of a fit is made before callbacks such as EarlyStopping restore other weights: it
    continues as a fit of more epochs would have done.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from nn import Checkpoint, Dense, MeanSquaredError, Model
    >>> from optimizers import get
    >>> x = [[0.0], [1.0], [2.0]]
    >>> with TemporaryDirectory() as folder:
    ...     for epochs in (3, 5):
    ...         model, optimizer = Model([Dense(1, 1)], MeanSquaredError()), get("adam")
    ...         checkpoint = Checkpoint(Path(folder) / "checkpoint", every=1)
    ...         history = checkpoint.restore(model, optimizer)
    ...         print(len(history))
    ...         history = model.fit(x, x, optimizer, epochs - len(history), history=history, callbacks=[checkpoint],
    ...                             progress=False)
    0
    3
    >>> len(history)
    5
    """

    only_rank_0 = True

    def __init__(self, path: str | os.PathLike[str], every: int | str | None = None) -> None:
        self.path, self.every = Path(path).absolute(), every  # the working folder may change during the training
        self._epochs = self._steps = 0
        if isinstance(every, str) and every.endswith("s") and every[:-1].isdecimal():
            self._steps = check_value("Checkpoint", "every", Count, int(every[:-1]))
        elif every is not None:
            if not isinstance(every, (int, np.integer)) or every < 1:
                raise ValueError(f"Checkpoint: every must be a number of epochs, such as 10, or of steps, such as "
                                 f"'200s', each at least 1, not {every!r}")
            self._epochs = int(every)
        self.notes: dict[str, Any] = {}
        self.error = ""
        self._parts: list[Any] = []  # the optimizer and the callbacks that are trained or were restored
        self._texts: list[str] = []  # and what they were at first: fields may change during the training
        self._expected: Mapping[str, Any] = {}  # the data and settings of the training that was restored
        self._damaged = False  # whether the newest file is
        self._was_read = False  # whether this object knows what is in the files
        self._file: bytes | None = None  # the checksum of the newest file, as this object has read or written it
        self._restored: History | None = None  # what fit must continue

    @property
    def previous(self) -> Path:
        """The file of the checkpoint before the newest."""
        return self.path.with_name(self.path.name + ".previous")

    def on_fit_begin(self, model: Any, plan: Plan) -> None:
        """Check that the training can be saved, and is the one that was restored.

        Parameters
        ----------
        model : Model
            The model that is trained.
        plan : dict
            See `nn.callbacks`.

        Raises
        ------
        ValueError
            If it is not, or another training has written the file.
        OSError
            If there is no such folder, or the path is one of a folder or a device.
        """
        check_folder(self.path)
        self._check_files()
        self._training = plan["training"]
        kind = type(self._training.optimizer).__name__
        if not (hasattr(self._training.optimizer, "state") and hasattr(self._training.optimizer, "restore")):
            raise ValueError(f"Checkpoint: {kind} has no methods state() and restore(): derive it from Optimizer")
        following = self._training.callbacks.after(self)
        if late := [type(callback).__name__ for callback in following if hasattr(callback, "state")]:
            raise ValueError(f"Checkpoint must follow {' and '.join(late)}, so that it saves what they do: put it at "
                             "the end of callbacks")
        parts = [part for _, part in owners(self._training.optimizer, self._training.callbacks.all)]
        self._check_restored(parts)
        if not _same_objects(parts, self._parts):
            self._parts, self._texts, self._expected = parts, list(map(identity, parts)), {}
        self._settings = {**settings(self._training.batches, self._training.validation, self._training.threads),
                          "ranks": self._training.ranks}
        expected = dict(self._expected)
        if expected.pop("ranks", 1) != self._training.ranks:  # then the next steps differ by rounding in any case
            expected.pop("threads", None)
        if differences := compare(expected, self._settings):
            threads = expected.get("threads", self._settings["threads"])
            advice = f"; set threads to {threads}" if threads != self._settings["threads"] else ""
            changed = [name for name in ("data", "validation data") if name in self._expected
                       and self._expected[name] != self._settings[name]]
            what = "on other data" if changed else "with other settings"
            advice = f"{advice}; continue with the data of that training" if changed else advice
            raise ValueError(f"{self.path} is of a training {what}: {differences}{advice}")
        self._expected = {}
        self._taken, self._last, self._due = 0, monotonic(), False
        description, arrays = self._content(model)
        try:
            archive.header(description, arrays)
        except (TypeError, ValueError) as error:
            raise ValueError(f"Checkpoint: this training cannot be saved: {error}; fields, notes and states may hold "
                             "numbers, texts, bool, and arrays of numbers") from None

    def _check_files(self) -> None:
        """Raise ValueError if the files are those of another training; OSError if the path is not one of a file."""
        existing = [path for path in (self.path, self.previous) if path.exists()]
        for path in existing:
            check_regular(path)
        if existing and not self._was_read:
            raise ValueError(f"{existing[0]} holds the checkpoint of another training: call restore(model, optimizer, "
                             "callbacks) to continue it, or name another file")

    def _check_restored(self, parts: Sequence[Any]) -> None:
        """Raise ValueError if the fit does not continue what was restored."""
        if self._restored is None:
            return
        if self._training.history is not self._restored:
            raise ValueError(f"{self.path} was restored, but this fit does not continue it: give fit the history that "
                             "restore has returned")
        if not _same_objects(parts, self._parts):
            raise ValueError(f"{self.path} was restored into other objects: give fit the optimizer and the callbacks "
                             "that restore was given")
        self._restored = None

    def on_step_end(self, model: Any, examples: int) -> None:
        """Save if it is time.

        Parameters
        ----------
        model : Model
            The model that is trained.
        examples : int
            The number of examples in the batch.
        """
        self._taken += 1
        if self._steps:
            self._due = self._due or self._taken % self._steps == 0
        else:
            self._due = self._due or (not self._epochs and monotonic() - self._last >= PERIOD)
        position = self._training.history.position
        if self._due and position is not None and position.steps < position.total:  # else at the end of the epoch
            self.save(model)

    def on_epoch_end(self, model: Any, epoch: Epoch) -> None:
        """Save if it is time.

        Parameters
        ----------
        model : Model
            The model that is trained.
        epoch : dict
            The dict of the epoch.
        """
        if self._due or (self._epochs and epoch["epoch"] % self._epochs == 0):
            self.save(model)

    def on_training_end(self, model: Any, history: History) -> None:
        """Save, unless an error has interrupted a step or the end of an epoch.

        Parameters
        ----------
        model : Model
            The model that is trained.
        history : History
            The dicts of all epochs.
        """
        position = history.position
        # if a callback has raised, those after it do not know of the last step or epoch
        complete = self._training.callbacks.complete
        if complete and position is not None and position.intact and position.steps < position.total:
            self.save(model)

    def save(self, model: Any) -> None:
        """Write a checkpoint now, unless the weights are not finite. If it cannot be written, warn, and set `error`.

        Parameters
        ----------
        model : Model
            The model that is trained.
        """
        if not np.isfinite(model.theta).all():
            return
        try:
            if self._file != (found := archive.stated_checksum(self.path)) and found is not None:
                raise ValueError(f"another training writes {self.path}, too")
            self._file = archive.write(self.path, *self._content(model), keep=None if self._damaged else self.previous)
            self.error, self._damaged, self._was_read = "", False, True
        except Exception as error:  # whatever it is, it must not end the training
            first, self.error = not self.error, str(error) or type(error).__name__
            if first:
                warnings.warn(f"no checkpoint was written, and training goes on: {self.error}", stacklevel=2)
        self._last, self._due = monotonic(), False

    def _content(self, model: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        training = self._training
        history, position = training.history, training.history.position
        assert position is not None  # it is set while a fit works
        arrays = {"theta": model.theta, "constants": model.constants}
        for prefix, values in states(training.optimizer, training.callbacks.all):
            arrays |= {f"{prefix}.{name}": np.asarray(value) for name, value in values.items()}
        return {
            "checkpoint": FORMAT, "model": model.components().description(),
            "optimizer": self._texts[0], "callbacks": self._texts[1:],
            "fields": _to_json(changeable_fields(training.optimizer)),
            "texts": {name: getattr(training.optimizer, name, "") for name in TEXTS},
            "settings": self._settings, "epochs": [_to_json(cast(dict[str, Any], epoch)) for epoch in history.epochs],
            "message": history.message, "position": position.description(), "notes": self.notes}, arrays

    def read(self) -> Saved | None:
        """Return the newest checkpoint that is not damaged; None if there is none.

        Returns
        -------
        Saved or None
            A named tuple: description, arrays and path.

        Raises
        ------
        InvalidFile
            If all that exist are damaged.
        """
        problems = []
        self._was_read, self._file = True, archive.stated_checksum(self.path)
        for path in (self.path, self.previous):
            try:
                with archive.one_line_errors(path, "a checkpoint"):
                    description, arrays, has_checksum = archive.read(path)
                    if "checkpoint" not in description or not has_checksum:
                        raise ValueError("it holds something else")
                    archive.check_format(description["checkpoint"], [FORMAT])
            except FileNotFoundError:
                continue
            except (InvalidFile, OSError) as error:
                problems.append(str(error))
                continue
            self._damaged = bool(problems)
            if problems:
                warnings.warn(f"{problems[0]}; {path}, the one before it, is used", stacklevel=2)
            return Saved(description, arrays, path)
        if problems:
            raise InvalidFile(f"{'; '.join(problems)}; remove what is damaged to start again")
        return None

    def restore(self, model: Any, optimizer: Any, callbacks: Sequence[Any] = (), saved: Saved | None = None) -> History:
        """Set model, optimizer and callbacks to the last checkpoint, if there is one.

        Parameters
        ----------
        model : Model
            A model with the same layers, loss, seed and dtype.
        optimizer : Optimizer
            An optimizer of the same class with the same fields.
        callbacks : sequence
            The same callbacks. Those without methods ``state`` and ``restore`` may differ.
        saved : Saved, optional
            What `read` has returned.

        Returns
        -------
        History
            The history, for `fit`; without epochs if there is no checkpoint.

        Raises
        ------
        InvalidFile
            If the files are damaged.
        ValueError
            If something differs from the training that was saved. The message names each difference. Nothing has then
            changed.
        """
        saved = saved or self.read()
        if saved is None:
            return History()
        now = json.loads(json.dumps({
            "model": model.components().description(), "optimizer": identity(optimizer),
            "callbacks": [identity(callback) for callback in with_state(callbacks)]}))
        with archive.one_line_errors(saved.path, "a checkpoint"):
            description, arrays = saved.description, saved.arrays
            described = dict(description["model"])
            # what the first fit has learned from its data, a new model does not know yet
            classes = described.pop("classes", None) if model.classes is None else model.classes
            names = described.pop("feature_names", None) if model.feature_names is None else model.feature_names
            differences = compare({**{name: description[name] for name in now}, "model": described}, now)
        if differences:
            raise ValueError(f"{saved.path} is of a training with other settings: {differences}")
        with archive.one_line_errors(saved.path, "a checkpoint"):
            classes, names = check_classes(classes, model.n_out), check_names(names, model.n_in)
            if any(arrays[name].shape != now.shape or arrays[name].dtype != now.dtype
                   for name, now in (("theta", model.theta), ("constants", model.constants))):
                raise ValueError("its weights do not fit the model that it describes")
            history, fields = _history(description), _from_json(description["fields"])
            if fields.keys() != changeable_fields(optimizer).keys():
                raise ValueError("its fields are not those of the optimizer that it describes")
            notes, settings = dict(description["notes"]), dict(description["settings"])
            texts = {name: str(description["texts"][name]) for name in TEXTS}
            _set_fields(_copy(optimizer), fields)  # raises ValueError for a value that is not allowed
            for prefix, callback in owners(optimizer, callbacks)[1:]:
                callback.restore(_part(prefix, arrays))
            optimizer.restore(_part("optimizer", arrays), model.theta)
        _set_fields(optimizer, fields)
        for name, text in texts.items():
            if hasattr(optimizer, name):
                setattr(optimizer, name, text)
        model.classes, model.feature_names = classes, names
        model.theta[:], model.constants[:] = arrays["theta"], arrays["constants"]
        self.notes, self._expected = notes, settings
        self._parts = [part for _, part in owners(optimizer, callbacks)]
        self._texts = [now["optimizer"], *now["callbacks"]]
        self._restored = history
        return history


def _same_objects(a: Sequence[Any], b: Sequence[Any]) -> bool:
    return len(a) == len(b) and all(one is other for one, other in zip(a, b))


def owners(optimizer: Any, callbacks: Sequence[Any]) -> list[tuple[str, Any]]:
    """Return the optimizer and the callbacks that have a state, each with the first part of its arrays' names."""
    return [("optimizer", optimizer), *((f"callback{i}", callback) for i, callback in enumerate(with_state(callbacks)))]


def states(optimizer: Any, callbacks: Sequence[Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the states of the optimizer and the callbacks, each with the first part of its arrays' names."""
    return [(prefix, owner.state()) for prefix, owner in owners(optimizer, callbacks)]


def with_state(callbacks: Sequence[Any]) -> list[Any]:
    """Return the callbacks that have a state."""
    return [callback for callback in callbacks if hasattr(callback, "state") and hasattr(callback, "restore")]


def identity(thing: Any) -> str:
    """Return what an optimizer or a callback is: its class and, if its text shows them, its fields."""
    shows_fields = any("__repr__" in vars(kind) for kind in type(thing).__mro__[:-1])  # the last one is object
    return repr(thing) if shows_fields else type(thing).__name__


def changeable_fields(optimizer: Any) -> dict[str, Any]:
    """Return the fields of an optimizer that are numbers and the like: callbacks may change them.

    The names of those of an optimizer within another, which a schedule changes, begin with "optimizer."; its lr is
    part of the state.
    """
    described = optimizer.description() if hasattr(optimizer, "description") else {}
    fields = {name: value for name, value in described.items() if isinstance(value, (int, float, str, NoneType))}
    inner = getattr(optimizer, "optimizer", None)
    within = {} if inner is None else changeable_fields(inner)
    return {**fields, **{f"optimizer.{name}": value for name, value in within.items() if name != "lr"}}


def _copy(optimizer: Any) -> Any:
    """Return a copy whose fields can be set; its arrays are those of the optimizer."""
    duplicate = copy.copy(optimizer)
    if hasattr(duplicate, "optimizer"):
        duplicate.optimizer = _copy(duplicate.optimizer)
    return duplicate


def _set_fields(optimizer: Any, fields: Mapping[str, Any]) -> None:
    """Set the fields that have another value."""
    for name, value in fields.items():
        *path, last = name.split(".")
        owner = reduce(getattr, path, optimizer)
        if getattr(owner, last) != value:
            setattr(owner, last, value)


def settings(batches: Batches, validation: Examples | CheckedRows | None,
             threads: int | None) -> dict[str, Any]:
    """Return what the next steps depend on besides model and optimizer, for JSON."""
    if isinstance(validation, CheckedRows):
        validation = validation.sample
    return {"batch_size": batches.size, "shuffle": batches.shuffle, "threads": threads or blas.threads(),
            "examples": batches.examples, "data": fingerprint(batches.x, batches.target, batches.weight),
            "validation data": None if validation is None else fingerprint(*validation),
            **({"lanes": batches.lanes, "blocks": fingerprint(batches.ends)} if isinstance(batches, Blocks) else {})}


def fingerprint(*arrays: np.ndarray | None) -> str:
    """Return a hash of some of the rows of the arrays that there are, spread over all of them."""
    digest = hashlib.sha256()
    for array in (array for array in arrays if array is not None):
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(array[np.linspace(0, len(array) - 1, min(SAMPLE, len(array))).astype(int)].tobytes())
    return digest.hexdigest()[:16]


def compare(saved: Mapping[str, Any], now: Mapping[str, Any], of: str = "") -> str:
    """Return how two descriptions differ, such as "batch_size was 100 and is 200"; empty if they do not."""
    differences = []
    for name, before in saved.items():
        after = now.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping) and before.keys() == after.keys():
            differences += [compare(before, after, f"{of}{name}.")]
        elif before != after:
            differences.append(f"{of}{name} was {_brief(before)} and is {_brief(after)}")
    return "; ".join(filter(None, differences))


def _brief(value: Any) -> str:
    """Return a value as it is written in a message."""
    text = archive.printable(repr(value), MAX_TEXT)
    return text if len(text) < MAX_TEXT else f"{text}..."


def _to_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values for JSON: NumPy's numbers become Python's, and infinity and NaN an object with their text."""
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
    return {name: {"number": repr(value)} if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in plain.items()}


def _from_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that `_to_json` was given."""
    return {name: float(value["number"]) if isinstance(value, dict) else value for name, value in values.items()}


def _part(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin with this prefix, by the rest of their names."""
    return {name.removeprefix(f"{prefix}."): array for name, array in arrays.items() if name.startswith(f"{prefix}.")}


def _history(description: Mapping[str, Any]) -> History:
    """Return the history. Raises errors of many types if it is not one."""
    history = History()
    history.message = str(description["message"])
    for number, values in enumerate(description["epochs"], 1):
        epoch = _from_json(values)
        if epoch["epoch"] != number or not all(
                value is None or isinstance(value, (int, float)) for value in map(epoch.get, Epoch.__annotations__)):
            raise ValueError(f"its epoch {number} is {values}")
        history.epochs.append(cast(Epoch, epoch))
    history.position = Position.from_description(description["position"])
    if history.position.epoch != len(history) + 1:
        raise ValueError(f"its position is in epoch {history.position.epoch}, after {len(history)} epochs")
    return history
