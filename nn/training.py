"""fit: the epoch loop."""

from collections.abc import Callable, Sequence
import math
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from nn.batches import DROPOUT, Batches, stream
from nn.buffers import Array
from nn.callbacks import Progress
from nn.history import History
from nn.objective import BatchObjective
from nn.sharing import Shared, Sum

if TYPE_CHECKING:
    from nn.model import Model


class Diverged(ArithmeticError):
    """The loss became NaN or infinite, in step `step` of epoch `epoch` (from 1); `history` holds the epochs before."""

    def __init__(self, message: str, epoch: int, step: int, history: History) -> None:
        super().__init__(message)
        self.epoch, self.step, self.history = epoch, step, history


class Steps:
    """Takes the steps of a fit, and keeps theta from what a bad one would leave in it."""

    def __init__(self, model: "Model", optimizer: Any, batches: Batches, shared: Shared, history: History,
                 notify: Callable[[str, Any], None]) -> None:
        self.model, self.optimizer, self.batches, self.shared = model, optimizer, batches, shared
        self.history, self.notify = history, notify
        self.refused = 0  # steps that could not move theta
        # where every step has the same function to minimize, methods that look at several points know it for the same
        self.fixed = len(batches) == 1 and not model.network.random
        self.objective: BatchObjective | Sum | None = None
        # the last weights with a finite loss, and those before the step under way
        self.good, self.before = model.theta.copy(), model.theta.copy()

    def epoch(self, e: int) -> tuple[float, int, float] | None:
        """The loss, how many examples were right, and the passes it cost; None where training was stopped meanwhile."""
        N, loss, correct, gradients = len(self.batches.x), 0.0, 0, 0.0
        rng = stream(DROPOUT, self.model.seed, e)
        for step, rows in enumerate(self.batches.rows(e), 1):
            if self.model.stop_training:
                return None
            if self.objective is None or not self.fixed:
                self.objective = self.shared.objective(rows, rng)
            before = self.objective.gradients
            loss += self._step(self.objective, e, step) * len(rows) / N
            correct += self.objective.correct()
            gradients += self.objective.gradients - before
            self.notify("on_step_end", len(rows))
        return loss, correct, gradients / N

    def _step(self, objective: BatchObjective | Sum, e: int, step: int) -> float:
        theta = self.model.theta
        np.copyto(self.before, theta)
        try:
            # overflow on the way to an infinite loss is no news: the loss itself is looked at
            with np.errstate(over="ignore", invalid="ignore"):
                loss: float | None = self.optimizer.step(objective)
        except KeyboardInterrupt:  # cut in two
            np.copyto(theta, self.before)
            raise
        if loss is None:
            raise ValueError(f"{type(self.optimizer).__name__}.step returned None: it must return the loss")
        self.refused += bool(getattr(self.optimizer, "message", ""))
        failed = ""
        if not math.isfinite(loss):
            failed = f"the loss became {loss}"
            np.copyto(theta, self.good)
        elif step == len(self.batches) and not np.isfinite(theta).all():
            failed = "the weights became infinite"
            np.copyto(theta, self.before)
        if failed:
            raise Diverged(f"{failed} in epoch {e}, step {step}: training stopped, and the model keeps the last "
                           "weights whose loss was finite; try a smaller lr", e, step, self.history)
        self.good, self.before = self.before, self.good
        return loss


def fit(model: "Model", x: Any, y: Any, optimizer: Any, epochs: int, batch_size: int | None,
        validation_data: tuple[Any, Any] | None, callbacks: Sequence[Any], progress: bool, shuffle: bool,
        history: History | None, threads: int | None) -> History:
    """Model.fit, which says what the arguments are."""
    if not callable(getattr(optimizer, "step", None)):
        raise ValueError(f"optimizer must have a step(objective), which {optimizer!r} has not: "
                         "write optimizer=optimizers.get('adam', lr=0.01)")
    if isinstance(optimizer, type):
        raise ValueError(f"optimizer is the class {optimizer.__name__}: write optimizer={optimizer.__name__}()")
    x = model.examples(x)
    target = model.targets(y, N := len(x))
    batch_size = N if batch_size is None else batch_size
    check_plan(epochs, batch_size, N, threads)
    validation = _validation(model, validation_data)
    batches = Batches(x, target, batch_size, model.seed, shuffle)

    if not isinstance(callbacks, Sequence):
        raise ValueError(f"callbacks must be a list, not {callbacks!r}")
    notify = _notifier([*callbacks, *([Progress()] if progress else [])], model)
    history = History() if history is None else history
    if not isinstance(history, History):
        raise ValueError(f"history must be the History of an earlier fit, not {history!r}")
    history.message = ""
    last: dict[str, Any] = history.epochs[-1] if history.epochs else {"epoch": 0, "seconds": 0.0, "passes": 0.0}
    until, seconds, passes = last["epoch"] + epochs, last["seconds"], last["passes"]
    shared = Shared(model.network, batches, threads)
    steps = Steps(model, optimizer, batches, shared, history, notify)
    classifies = model.network.loss.classifies
    model.stop_training = False
    try:
        notify("on_fit_begin", {"first": last["epoch"] + 1, "last": until, "steps": len(batches), "examples": N})
        with shared:
            for e in range(last["epoch"] + 1, until + 1):
                start = perf_counter()
                result = steps.epoch(e)
                if result is None:
                    break
                loss, correct, cost = result
                seconds, passes = seconds + perf_counter() - start, passes + cost
                val_loss, val_accuracy = None, None
                if validation is not None:
                    with np.errstate(over="ignore", invalid="ignore"):
                        val_loss, val_correct = shared.evaluate(*validation)
                    val_accuracy = val_correct / len(validation[0]) if classifies(validation[1]) else None
                history.epochs.append({
                    "epoch": e, "loss": loss, "accuracy": correct / N if classifies(target) else None,
                    "val_loss": val_loss, "val_accuracy": val_accuracy,
                    "lr": getattr(optimizer, "lr", None), "seconds": seconds, "passes": passes})
                notify("on_epoch_end", history.epochs[-1])
                stuck = getattr(optimizer, "message", "")
                if steps.fixed and stuck:  # the next step would end in the same way
                    history.message = f"{stuck}; training ended with epoch {e}"
                    break
                if steps.refused:
                    last_one = f", the last: {stuck}" if stuck else ""
                    history.message = f"{steps.refused} steps could not move the weights{last_one}"
                if model.stop_training:
                    break
    finally:
        notify("on_fit_end", history)
    return history


def check_plan(epochs: Any, batch_size: Any, N: int, threads: Any = None) -> None:
    """Raises ValueError where N examples cannot be trained on for that many epochs in batches of that size."""
    for name, n in (("epochs", epochs), ("batch_size", batch_size), ("threads", 1 if threads is None else threads)):
        if not isinstance(n, (int, np.integer)) or isinstance(n, bool) or n < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, not {n!r}")
    if batch_size > N:
        raise ValueError(f"batch_size {batch_size} is larger than the data, {N} examples: give at most {N}")


def _validation(model: "Model", given: Any) -> tuple[Array, Array] | None:
    if given is None:
        return None
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise ValueError("validation_data must be a pair (x, y)")
    x = model.examples(given[0])
    return x, model.targets(given[1], len(x))


def _notifier(callbacks: Sequence[Any], model: "Model") -> Callable[[str, Any], None]:
    """A function that calls the method of that name of every callback that has it."""
    events = ("on_fit_begin", "on_step_end", "on_epoch_end", "on_fit_end")
    for callback in callbacks:
        if isinstance(callback, type):
            raise ValueError(f"callback {callback.__name__} is a class: write {callback.__name__}()")
        if not any(callable(getattr(callback, event, None)) for event in events):
            raise ValueError(f"callback {callback!r} has none of the methods {', '.join(events)}: "
                             "give an object with on_epoch_end(model, epoch)")
    methods = {event: [getattr(c, event) for c in callbacks if hasattr(c, event)] for event in events}

    def notify(event: str, news: Any) -> None:
        for method in methods[event]:
            method(model, news)

    return notify
