"""fit: the epoch loop."""

from collections.abc import Callable, Sequence
import math
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from nn.batches import DROPOUT, Batches, stream
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
    validation = None
    if validation_data is not None:
        x_val = model.examples(validation_data[0])
        validation = x_val, model.targets(validation_data[1], len(x_val))
    classifies = model.network.loss.classifies(target)
    batches = Batches(x, target, batch_size, model.seed, shuffle)

    callbacks = [*callbacks, *([Progress()] if progress else [])]
    notify = _notifier(callbacks, model)
    history = History() if history is None else history
    history.message = ""
    refused = 0
    before_it: dict[str, Any] = history.epochs[-1] if history.epochs else {"epoch": 0, "seconds": 0.0, "passes": 0.0}
    first, last = before_it["epoch"] + 1, before_it["epoch"] + epochs
    seconds, gradients = before_it["seconds"], before_it["passes"] * N
    theta = model.theta
    # where every step has the same function to minimize, methods that look at several points know it for the same
    fixed = len(batches) == 1 and not model.network.random
    shared = Shared(model.network, batches, threads)
    objective: BatchObjective | Sum | None = None
    good, before = theta.copy(), theta.copy()  # the last weights with a finite loss; those before the step under way
    model.stop_training = stepping = False
    notify("on_fit_begin", {"first": first, "last": last, "steps": len(batches), "examples": N})
    try:
        for e in range(first, last + 1):
            loss, correct, start = 0.0, 0, perf_counter()
            rng = stream(DROPOUT, model.seed, e)
            # overflow on the way to an infinite loss is no news: the loss itself is looked at in every step
            with shared, np.errstate(over="ignore", invalid="ignore"):
                for step, rows in enumerate(batches.rows(e), 1):
                    if model.stop_training:
                        return history
                    np.copyto(before, theta)
                    if objective is None or not fixed:
                        objective = shared.objective(rows, rng)
                    counted = objective.gradients
                    stepping = True
                    batch_loss = optimizer.step(objective)
                    stepping = False
                    if batch_loss is None:
                        raise ValueError(f"{type(optimizer).__name__}.step returned None: it must return the loss")
                    refused += bool(getattr(optimizer, "message", ""))
                    failed = ""
                    if not math.isfinite(batch_loss):
                        failed = f"the loss became {batch_loss}"
                        np.copyto(theta, good)
                    elif step == len(batches) and not np.isfinite(theta).all():
                        failed = "the weights became infinite"
                        np.copyto(theta, before)
                    if failed:
                        raise Diverged(f"{failed} in epoch {e}, step {step}: training stopped, and the model keeps "
                                       "the last weights whose loss was finite; try a smaller lr", e, step, history)
                    good, before = before, good
                    loss += batch_loss * len(rows) / N
                    correct += objective.correct()
                    gradients += objective.gradients - counted
                    notify("on_step_end", len(rows))
            seconds += perf_counter() - start
            evaluated = model.evaluate_targets(*validation) if validation else {"loss": None, "accuracy": None}
            history.epochs.append({
                "epoch": e, "loss": loss, "accuracy": correct / N if classifies else None,
                "val_loss": evaluated["loss"], "val_accuracy": evaluated["accuracy"],
                "lr": getattr(optimizer, "lr", None), "seconds": seconds, "passes": gradients / N})
            notify("on_epoch_end", history.epochs[-1])
            stuck = getattr(optimizer, "message", "")
            if fixed and stuck:  # the next step would end in the same way
                history.message = f"{stuck}; training ended with epoch {e}"
                return history
            if refused:
                history.message = f"{refused} steps could not move the weights" + (f", the last: {stuck}" * bool(stuck))
            if model.stop_training:
                return history
    except KeyboardInterrupt:
        if stepping:  # cut in two
            np.copyto(theta, before)
        raise
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


def _notifier(callbacks: Sequence[Any], model: "Model") -> Callable[[str, Any], None]:
    """A function that calls the method of that name of every callback that has it."""
    events = ("on_fit_begin", "on_step_end", "on_epoch_end", "on_fit_end")
    for callback in callbacks:
        if not any(callable(getattr(callback, event, None)) for event in events):
            raise ValueError(f"callback {callback!r} has none of the methods {', '.join(events)}: "
                             "give an object with on_epoch_end(model, epoch)")
    methods = {event: [getattr(c, event) for c in callbacks if hasattr(c, event)] for event in events}

    def notify(event: str, news: Any) -> None:
        for method in methods[event]:
            method(model, news)

    return notify
