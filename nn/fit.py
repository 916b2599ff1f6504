"""fit: the epoch loop."""

from collections.abc import Sequence
import math
from time import perf_counter
from typing import Any, Protocol, TypedDict

import numpy as np

from nn.batches import DROPOUT, Batches, generator
from nn.denormals import FlushDenormals
from nn.history import Epoch, History
from nn.network import Network
from nn.objective import BatchObjective
from nn.undo import Undo
from nn.workers import Workers

Arrays = tuple[np.ndarray, np.ndarray]


class TakesSteps(Protocol):
    """What `fit` needs of an optimizer.

    If it has attributes `lr` and `message`, they are put in the history. If it has a method `changes_in_parts(theta)`
    that returns True, its step changes theta only through `BatchObjective.value_and_gradient_parts`, called once.
    """

    def step(self, objective: Any) -> float:
        """Change objective.theta in place, once, and return the loss before the change.

        Parameters
        ----------
        objective : BatchObjective
            The mean loss on a batch.

        Returns
        -------
        float
            The loss before the step.
        """


class Diverged(ArithmeticError):
    """Raised if the loss or the weights become NaN or infinite during training.

    Parameters
    ----------
    message : str
        What happened, and what to do.
    epoch : int
        The epoch in which it happened, from 1; also an attribute.
    step : int
        The step of that epoch, from 1; also an attribute.
    history : History
        The completed epochs; also an attribute.

    Examples
    --------
    >>> from nn import Dense, Diverged, MeanSquaredError, Model
    >>> from optimizers import get
    >>> model = Model([Dense(1, 1)], MeanSquaredError())
    >>> try:
    ...     history = model.fit([[1.0]], [1.0], get("gd", lr=1e9), epochs=100, progress=False)
    ... except Diverged as error:
    ...     history = error.history
    >>> len(history) < 100
    True
    """

    def __init__(self, message: str, epoch: int, step: int, history: History) -> None:
        super().__init__(message)
        self.epoch, self.step, self.history = epoch, step, history


class Plan(TypedDict):
    """The plan of a fit: its first and last epoch, and the numbers of steps and examples in each epoch."""

    first: int
    last: int
    steps: int
    examples: int


class Callbacks:
    """All callbacks of a fit: calls the methods that they have, with the model.

    Parameters
    ----------
    callbacks : sequence
        The callbacks, in the order in which to call them.
    model : Model
        The model that is passed to them.

    Raises
    ------
    ValueError
        If it is not a sequence, or one is not a callback.
    """

    EVENTS = ("on_fit_begin", "on_step_end", "on_epoch_end", "on_fit_end")

    def __init__(self, callbacks: Sequence[Any], model: Any) -> None:
        if not isinstance(callbacks, Sequence):
            raise ValueError(f"callbacks must be a list, not {callbacks!r}: write [callback]")
        self._model = model
        self._methods: dict[str, list[Any]] = {event: [] for event in self.EVENTS}
        for callback in callbacks:
            self.add(callback)

    def add(self, callback: Any) -> None:
        """Add a callback. Raises ValueError, with what to write, if it is not one."""
        if isinstance(callback, type):
            raise ValueError(f"callback {callback.__name__} is a class: write {callback.__name__}()")
        methods = {event: getattr(callback, event, None) for event in self.EVENTS}
        if not any(callable(method) for method in methods.values()):
            raise ValueError(f"callback {callback!r} has none of the methods {', '.join(self.EVENTS)}: "
                             "give an object with on_epoch_end(model, epoch)")
        for event, method in methods.items():
            if method is not None:
                self._methods[event].append(method)

    @property
    def stopped(self) -> bool:
        """Whether a callback has set model.stop_training."""
        return bool(self._model.stop_training)

    def begin_fit(self, first: int, last: int, steps: int, examples: int) -> None:
        """Report the plan of the fit."""
        self._call("on_fit_begin", Plan(first=first, last=last, steps=steps, examples=examples))

    def end_step(self, examples: int) -> None:
        """Report that a step on a batch of so many examples is done."""
        self._call("on_step_end", examples)

    def end_epoch(self, epoch: Epoch) -> None:
        """Report the dict of an epoch."""
        self._call("on_epoch_end", epoch)

    def end_fit(self, history: History) -> None:
        """Report that the fit has ended."""
        self._call("on_fit_end", history)

    def _call(self, event: str, argument: Any) -> None:
        for method in self._methods[event]:
            method(self._model, argument)


def fit(network: Network, batches: Batches, optimizer: TakesSteps, epochs: int, validation: Arrays | None,
        callbacks: Callbacks, history: History, threads: int | None) -> History:
    """Train the network for some epochs, after those in the history.

    Parameters
    ----------
    network : Network
        The network to train: its theta is changed.
    batches : Batches
        The examples and targets.
    optimizer : TakesSteps
        The optimizer, which takes the steps.
    epochs : int
        The number of epochs, at least 1.
    validation : tuple of ndarray or None
        Examples (N, n_in) and targets (N, K) to evaluate after each epoch.
    callbacks : Callbacks
        The callbacks, which may also stop training.
    history : History
        The history to which the dict of each epoch is appended.
    threads : int or None
        The number of threads; None: as many as BLAS has.

    Returns
    -------
    History
        `history`.

    Raises
    ------
    Diverged
        If the loss of a step is not finite.
    """
    last = history[-1]["epoch"] if history else 0
    seconds, passes = (history[-1]["seconds"], history[-1]["passes"]) if history else (0.0, 0.0)
    history.message = ""
    workers = Workers(network, batches, threads)
    steps = Steps(network, batches, optimizer, workers, callbacks, history)
    try:
        callbacks.begin_fit(last + 1, last + epochs, len(batches), len(batches.x))
        with workers:
            for number in range(last + 1, last + epochs + 1):
                started = perf_counter()
                result = steps.run_epoch(number)
                if result is None:
                    break
                loss, accuracy, cost = result
                seconds, passes = seconds + perf_counter() - started, passes + cost
                val_loss, val_accuracy = _validate(workers, network, validation)
                history.epochs.append(Epoch(
                    epoch=number, loss=loss, accuracy=accuracy, val_loss=val_loss, val_accuracy=val_accuracy,
                    lr=getattr(optimizer, "lr", None), seconds=seconds, passes=passes))
                callbacks.end_epoch(history[-1])
                history.message = steps.message(number)
                if steps.cannot_continue or callbacks.stopped:
                    break
    finally:
        callbacks.end_fit(history)
    return history


def _validate(workers: Workers, network: Network, validation: Arrays | None) -> tuple[float | None, float | None]:
    """Return the loss and the accuracy on the validation data."""
    if validation is None:
        return None, None
    with FlushDenormals(), np.errstate(over="ignore", invalid="ignore"):
        loss, correct = workers.loss_and_correct(*validation)
    return loss, correct / len(validation[0]) if network.loss.classifies(validation[1]) else None


class Steps:
    """The steps of a fit. Each is a step on the objective of a batch; it is undone if the loss is infinite or NaN.

    Parameters
    ----------
    network, batches, optimizer, callbacks, history
        As for `fit`.
    workers : Workers
        The workers, which make the objectives.
    """

    def __init__(self, network: Network, batches: Batches, optimizer: TakesSteps, workers: Workers,
                 callbacks: Callbacks, history: History) -> None:
        self.batches, self.optimizer, self.workers, self.callbacks = batches, optimizer, workers, callbacks
        self.history, self.theta, self.undo = history, network.theta, Undo(network.theta)
        self.changes_in_parts = getattr(optimizer, "changes_in_parts", None)
        self.flush_denormals = FlushDenormals()
        self.refused = 0  # the number of steps that could not change theta
        self.classifies = network.loss.classifies(batches.target)
        # if all steps have the same function, they get the same objective, so that optimizers can save evaluations
        self.fixed = len(batches) == 1 and not network.random
        self.objective: BatchObjective | None = None

    def run_epoch(self, number: int) -> tuple[float, float | None, float] | None:
        """Return the loss, the accuracy and the cost in passes of an epoch; None if training was stopped during it."""
        N, loss, correct, gradients = len(self.batches.x), 0.0, 0, 0.0
        rng = generator(DROPOUT, self.batches.seed, number)
        counted = 0.0 if self.objective is None else self.objective.gradients  # an objective counts all its steps
        for step, rows in enumerate(self.batches.rows(number), 1):
            if self.callbacks.stopped:
                return None
            if self.objective is None or not self.fixed:
                self.objective, counted = self.workers.objective(rows, rng), 0.0
            loss += self.take_step(self.objective, number, step) * len(rows) / N
            correct += self.objective.correct()
            total = self.objective.gradients
            gradients, counted = gradients + total - counted, total
            self.callbacks.end_step(len(rows))
        return loss, correct / N if self.classifies else None, gradients / N

    def take_step(self, objective: BatchObjective, epoch: int, step: int) -> float:
        """Return the loss of the batch before the step. Raises Diverged if it is not finite."""
        in_parts = self.changes_in_parts is not None and self.changes_in_parts(self.theta)
        self.undo.begin_step(in_parts)
        objective.undo = self.undo if in_parts else None
        try:
            # an overflow that leads to an infinite loss needs no warning: the loss itself is checked
            with self.flush_denormals, np.errstate(over="ignore", invalid="ignore"):
                loss: float | None = self.optimizer.step(objective)
        except KeyboardInterrupt:  # the step is incomplete
            self.undo.undo_step()
            raise
        if loss is None:
            raise ValueError(f"{type(self.optimizer).__name__}.step returned None: it must return the loss")
        self.refused += bool(getattr(self.optimizer, "message", ""))
        problem = ""
        if not math.isfinite(loss):
            problem = f"the loss became {loss}"
            self.undo.restore_last_finite()
        elif step == len(self.batches) and not np.isfinite(self.theta).all():
            problem = "the weights became infinite"
            self.undo.undo_step()
        if problem:
            raise Diverged(f"{problem} in epoch {epoch}, step {step}: training stopped, and the model keeps the last "
                           "weights whose loss was finite; try a smaller lr", epoch, step, self.history)
        self.undo.end_step()
        return loss

    @property
    def cannot_continue(self) -> bool:
        """Whether the next step would fail exactly as the last one did."""
        return self.fixed and bool(getattr(self.optimizer, "message", ""))

    def message(self, epoch: int) -> str:
        """Return a text that says which steps could not change the weights, and why. It is empty if all steps could."""
        last = getattr(self.optimizer, "message", "")
        if self.cannot_continue:
            return f"{last}; training ended with epoch {epoch}"
        if self.refused:
            return f"{self.refused} steps could not change the weights" + (f", the last: {last}" if last else "")
        return ""
