"""fit: the epoch loop."""

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import islice
import math
from time import perf_counter
from typing import Any, NamedTuple, Protocol, TypedDict, cast
import warnings

import numpy as np

from nn.batches import DROPOUT, Batches, Examples, generator
from nn.denormals import FlushDenormals
from nn.diagnosis import EPOCHS, not_finite, overflowing_output, risen_loss, standstill
from nn.distributed import DistributedWorkers, together
from nn.division import Use
from nn.history import Epoch, History, Position, plain_number
from nn.interrupts import DeferredInterrupt
from nn.mpi import Ranks
from nn.network import Network
from nn.objective import BatchObjective
from nn.rows import CheckedRows
from nn.undo import Undo
from nn.workers import Workers


class TakesSteps(Protocol):
    """What `fit` needs of an optimizer.

    If it has attributes `lr` and `message`, they are put in the history. If it has a method
    `evaluate_point(objective)`, a training that continues calls it if all steps have the same objective, so that the
    optimizer knows its value and gradient, as if training had not been interrupted. If it has a method
    `changes_in_parts(theta)` that returns True, its step changes theta only through
    `BatchObjective.value_and_gradient_parts`, called once.
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
    """The plan of a fit: its first and last epoch, the numbers of steps and examples in each epoch, and its parts."""

    first: int
    last: int
    steps: int
    examples: int
    training: "Training"


def is_only_rank_0(callback: Any) -> bool:
    """Return whether a callback only watches, so that rank 0 alone calls it if several ranks train together."""
    return bool(getattr(callback, "only_rank_0", False))


class Callbacks:
    """All callbacks of a fit: calls the methods that they have, with the model.

    Parameters
    ----------
    callbacks : sequence
        The callbacks, in the order in which to call them.
    model : Model
        The model that is passed to them.

    Attributes
    ----------
    all : list
        The callbacks.
    complete : bool
        Whether all of them know of the last event; False while they are called, and if one has raised an error.

    Raises
    ------
    ValueError
        If it is not a sequence, or one is not a callback.
    """

    EVENTS = ("on_fit_begin", "on_gradient", "on_step_end", "on_epoch_end", "on_training_end", "on_fit_end")

    def __init__(self, callbacks: Sequence[Any], model: Any) -> None:
        if not isinstance(callbacks, Sequence):
            raise ValueError(f"callbacks must be a list, not {callbacks!r}: write [callback]")
        self._model = model
        self.all: list[Any] = []
        self.complete = True
        self._begun: list[Any] = []
        self._methods: dict[str, list[Any]] = {event: [] for event in self.EVENTS}
        for callback in callbacks:
            self.add(callback)

    def add(self, callback: Any, first: bool = False) -> None:
        """Add a callback, after the others or before them. Raises ValueError, with what to write, if it is not one."""
        if isinstance(callback, type):
            raise ValueError(f"callback {callback.__name__} is a class: write {callback.__name__}()")
        methods = {event: getattr(callback, event, None) for event in self.EVENTS}
        if not any(callable(method) for method in methods.values()):
            raise ValueError(f"callback {callback!r} has none of the methods {', '.join(self.EVENTS)}: "
                             "give an object with on_epoch_end(model, epoch)")
        self.all.insert(0 if first else len(self.all), callback)
        for event, method in methods.items():
            if method is not None:
                self._methods[event].insert(0 if first else len(self._methods[event]), method)

    def after(self, callback: Any) -> list[Any]:
        """Return the callbacks that follow one of them."""
        return self.all[self.all.index(callback) + 1 :]

    @property
    def stopped(self) -> bool:
        """Whether a callback has set model.stop_training."""
        return bool(self._model.stop_training)

    def begin_fit(self, plan: Plan) -> None:
        """Report the plan of the fit."""
        self._begun.clear()
        self.complete = True
        for callback in self.all:
            if hasattr(callback, "on_fit_begin"):
                callback.on_fit_begin(self._model, plan)
            self._begun.append(callback)

    @property
    def observe(self) -> Use | None:
        """The function to which a step passes each part of its gradient; None if no callback asks for it."""
        return self._report_gradient if self._methods["on_gradient"] else None

    def _report_gradient(self, part: slice, gradient: np.ndarray) -> None:
        for method in self._methods["on_gradient"]:
            method(self._model, part, gradient)

    def end_step(self, examples: int) -> None:
        """Report that a step on a batch of so many examples is done."""
        self.complete = False
        for method in self._methods["on_step_end"]:
            method(self._model, examples)
        self.complete = True

    def end_epoch(self, epoch: Epoch) -> None:
        """Report the dict of an epoch; what callbacks put into it becomes Python numbers.

        Raises ValueError if something is not a number; the message names it.
        """
        self.complete, values = False, cast(dict[str, Any], epoch)
        names, number = list(values), epoch["epoch"]
        for method in self._methods["on_epoch_end"]:
            method(self._model, epoch)
            for name, value in values.items():
                values[name] = plain_number(name, value)
            if list(values)[: len(names)] != names or epoch["epoch"] != number:
                raise ValueError(f"a callback removed an entry of an epoch or changed its number, {number}: add "
                                 "entries of other names")
        self.complete = True

    def end_fit(self, history: History) -> None:
        """Report that training and then the fit has ended, to those callbacks that it has begun with."""
        with ExitStack() as stack:  # it calls the others even if one raises
            for event in ("on_fit_end", "on_training_end"):
                for callback in reversed(self._begun):
                    if hasattr(callback, event):
                        stack.callback(getattr(callback, event), self._model, history)


class Training(NamedTuple):
    """The parts of a fit, from which it can be saved and continued; `undo.before` is theta before the last step.

    `ranks` is their number.
    """

    batches: Batches
    optimizer: TakesSteps
    history: History
    callbacks: Callbacks
    threads: int | None
    validation: Examples | CheckedRows | None
    undo: Undo
    ranks: int


def fit(network: Network, batches: Batches, optimizer: TakesSteps, epochs: int,
        validation: Examples | CheckedRows | None, callbacks: Callbacks, history: History, threads: int | None,
        warn: bool, ranks: Ranks) -> History:
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
        The number of epochs, at least 0.
    validation : tuple, CheckedRows or None
        Examples (N, n_in), targets (N, K) and weights (N,) or None, to evaluate after each epoch; or rows to read.
    callbacks : Callbacks
        The callbacks, which may also stop training.
    history : History
        The history to which the dict of each epoch is appended.
    threads : int or None
        The number of threads; None: as many as BLAS has.
    warn : bool
        Whether to warn if training made the model worse; `history.message` says it in any case.
    ranks : Ranks
        The ranks that train together.

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
    position = history.position
    if position is None or position.epoch != last + 1 or not position.intact:
        position = history.position = Position(last + 1, total=len(batches))
        history.message = ""
    with together(ranks):
        position.check(len(batches))
        workers = (Workers(network, batches, threads) if ranks.comm is None
                   else DistributedWorkers(network, batches, threads, ranks))
        steps = Steps(network, batches, optimizer, workers, callbacks, history)
    try:
        with together(ranks):
            callbacks.begin_fit(Plan(first=last + 1, last=last + epochs, steps=len(batches), examples=batches.examples,
                                     training=Training(batches, optimizer, history, callbacks, threads, validation,
                                                       steps.undo, ranks.size)))
        with workers, steps.interrupt:
            steps.check_stop()
            while position.epoch <= last + epochs and not position.ended and steps.run_epoch(position):
                position = steps.end_epoch(position, *steps.validate(validation))
                if steps.check_stop():
                    break
            steps.check_loss(position, warn)
    except BaseException as error:
        workers.fail(error, on_all_ranks=isinstance(error, Diverged))
        raise
    finally:
        steps.restore_settings()  # an interrupt may have come before a step could do it
        if ranks.size > 1:  # its memory may be shared: children that are forked later would share it, too
            network.bind(network.grad.copy())
        callbacks.end_fit(history)
    if not position.steps:
        history.position = None
    return history


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
        self.network, self.warned = network, False
        self.history, self.theta, self.undo = history, network.theta, Undo(network.theta)
        self.changes_in_parts = getattr(optimizer, "changes_in_parts", None)
        self.flush_denormals, self.interrupt = FlushDenormals(), DeferredInterrupt()
        self.numpy_settings = np.geterr()
        self.classifies, self.observe = network.loss.classifies(batches.target), callbacks.observe
        # if all steps have the same function, they get the same objective, so that optimizers can save evaluations
        self.fixed = batches.constant and not network.random
        self.objective: BatchObjective | None = None

    def run_epoch(self, position: Position) -> bool:
        """Take the steps of an epoch that remain, and return True; return False if training was stopped during it."""
        if position.rng is None:
            position.rng = generator(DROPOUT, self.batches.seed, position.epoch)
        if position.evaluated and self.objective is None:
            self.evaluate_again(position)
        started = perf_counter() - position.seconds
        for rows in islice(self.batches.rows(position.epoch), position.steps, None):
            stop, interrupt = self.workers.agree(self.callbacks.stopped, self.interrupt.requested)
            if stop:
                return False
            if interrupt:
                raise KeyboardInterrupt
            if self.objective is None or not self.fixed:
                self.objective = self.workers.objective(rows, position.rng)
            else:
                self.objective.gradients = 0.0
            position.intact = False
            loss = float(self.take_step(self.objective, position))
            position.examples += len(rows)
            position.loss += (loss - position.loss) * len(rows) / position.examples
            position.first_loss = position.first_loss or loss
            position.correct += self.objective.correct()
            position.gradients += self.objective.gradients
            position.steps += 1
            position.intact, position.evaluated = True, self.fixed
            now = perf_counter()
            position.seconds = now - started
            self.callbacks.end_step(len(rows))
            started += perf_counter() - now
        return True

    def restore_settings(self) -> None:
        """Give this thread its settings before the fit: denormal numbers, and what NumPy does about overflow."""
        self.flush_denormals.restore()
        np.seterr(**self.numpy_settings)

    def evaluate_again(self, position: Position) -> None:
        """Evaluate the objective at theta, as the last step has done before training was interrupted."""
        self.objective = self.workers.objective(np.arange(self.batches.examples), position.rng)
        evaluate = getattr(self.optimizer, "evaluate_point", None)
        if evaluate is not None:
            with self.flush_denormals, np.errstate(over="ignore", invalid="ignore"):
                evaluate(self.objective)

    def validate(self, validation: Examples | CheckedRows | None) -> tuple[float | None, float | None]:
        """Return the loss and the accuracy on the validation data."""
        if validation is None:
            return None, None
        with self.flush_denormals, np.errstate(over="ignore", invalid="ignore"):
            if isinstance(validation, CheckedRows):
                loss, correct = self.workers.sums(validation)
                n, target = len(validation), validation.sample[1]
            else:
                loss, correct = self.workers.loss_and_correct(*validation)
                n, target = len(validation[0]), validation[1]
        return loss, correct / n if self.network.loss.classifies(target) else None

    def end_epoch(self, position: Position, val_loss: float | None, val_accuracy: float | None) -> Position:
        """Add an epoch to the history, report it, and return the position at the start of the next one."""
        history, N = self.history, position.examples
        following = Position(position.epoch + 1, total=len(self.batches), refused=position.refused,
                             first_loss=position.first_loss, evaluated=position.evaluated, ended=self.cannot_continue)
        seconds, passes = (history[-1]["seconds"], history[-1]["passes"]) if history else (0.0, 0.0)
        history.epochs.append(self.workers.of_rank_0(Epoch(
            epoch=position.epoch, loss=position.loss, accuracy=position.correct / N if self.classifies else None,
            val_loss=val_loss, val_accuracy=val_accuracy, lr=getattr(self.optimizer, "lr", None),
            seconds=seconds + position.seconds, passes=passes + position.gradients / N)))
        history.position = following
        history.message = self.message(position)
        if history.message and not (self.warned or position.refused or self.cannot_continue):
            self.warned = True
            warnings.warn(f"epoch {position.epoch}: {history.message}", stacklevel=2)
        self.callbacks.end_epoch(history[-1])
        return following

    def check_stop(self) -> bool:
        """Return, before the first epoch and after each, whether a callback has stopped training on any rank."""
        stop, interrupt = self.workers.agree(self.callbacks.stopped, self.interrupt.requested, now=True)
        if interrupt and not stop:
            raise KeyboardInterrupt
        return stop

    def check_loss(self, position: Position, warn: bool) -> None:
        """Say that training has made the model worse, if it has and nothing else is said."""
        history = self.history
        if history and not history.message and not position.steps:
            data = (self.batches.x, self.batches.target, self.batches.weight)
            history.message = risen_loss(self.network, self.batches.target, position.first_loss, history[-1]["loss"],
                                         lambda: self.validate(data)[0] or 0.0)
            if history.message and warn:
                warnings.warn(history.message, stacklevel=5)

    def take_step(self, objective: BatchObjective, position: Position) -> float:
        """Return the loss of the batch before the step. Raises Diverged if it is not finite."""
        in_parts = self.changes_in_parts is not None and self.changes_in_parts(self.theta)
        self.undo.begin_step(in_parts)
        objective.undo, objective.observe = self.undo if in_parts else None, self.observe
        try:
            # an overflow that leads to an infinite loss needs no warning: loss and weights are checked
            with self.flush_denormals, np.errstate(over="ignore", invalid="ignore"):
                loss: float | None = self.optimizer.step(objective)
                finite = self.undo.is_finite()
        except BaseException:  # the step is incomplete
            self.undo.undo_step()
            raise
        if loss is None:
            raise ValueError(f"{type(self.optimizer).__name__}.step returned None: it must return the loss")
        position.refused += bool(getattr(self.optimizer, "message", ""))
        if not math.isfinite(loss):
            self.undo.undo_step()
            why = overflowing_output(objective.parts)
            self.undo.restore_last_finite()
            raise self.diverged(f"the loss became {loss}", why, position)
        if not finite:
            why = not_finite(self.network)
            self.undo.undo_step()
            raise self.diverged("weights became NaN or infinite", why, position)
        self.undo.end_step()
        return loss

    def diverged(self, problem: str, why: str, position: Position) -> Diverged:
        """Return the error that says in which step training has diverged."""
        lr = getattr(self.optimizer, "lr", None)
        epoch, step = position.epoch, position.steps + 1
        return Diverged(f"{problem} in epoch {epoch}, step {step}{'' if lr is None else f', with lr {lr:g}'}"
                        f"{why and f' ({why})'}: training stopped, and the model keeps the last weights whose loss was "
                        "finite; try a smaller lr", epoch, step, self.history)

    @property
    def cannot_continue(self) -> bool:
        """Whether the next step would fail exactly as the last one did."""
        return self.fixed and bool(getattr(self.optimizer, "message", ""))

    def message(self, position: Position) -> str:
        """Return a text that says which steps could not change the weights, and why. It is empty if all steps could."""
        last = getattr(self.optimizer, "message", "")
        if position.refused or self.cannot_continue:
            why = "" if np.isfinite(self.network.grad).all() else not_finite(self.network)
            last += f" ({why})" if why else ""
        if self.cannot_continue:
            return f"{last}; training ended with epoch {position.epoch}"
        if position.refused:
            return f"{position.refused} steps could not change the weights" + (f", the last: {last}" if last else "")
        val_loss = self.history[-1]["val_loss"]
        if val_loss is not None and not math.isfinite(val_loss):
            return f"the loss of the validation data is {val_loss}, that of the training data {position.loss:.4g}"
        if getattr(self.optimizer, "lr", None) == 0:
            return ""
        losses = [done["loss"] for done in self.history.epochs[-EPOCHS:]]
        return standstill(self.network, self.optimizer, losses, self.batches.target)
