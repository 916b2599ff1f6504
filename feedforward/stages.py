"""Stages: the text "adam:20+lbfgs" for 20 epochs of one optimizer and the rest of another, and their optimizers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from feedforward.data import Data, in_memory, targets
from feedforward.range_test import RangeTest, lr_find
from nn import Model
from nn.fields import Positive, check_value, lookup
from optimizers import OPTIMIZERS, Optimizer, Scheduled, get, hyperparameters, parse_schedule

ARTICLE_LR = 0.01
AUTO = "auto"  # an lr that a range test finds
MAX_RATES = 1000  # of an experiment

Rate = float | str  # a learning rate, or AUTO


class StageText(NamedTuple):
    """The name of an optimizer, the number of epochs that it trains for, and its lr if runs differ in that."""

    optimizer: str
    epochs: int
    lr: Rate | None = None


def parse_stages(text: str, epochs: int) -> tuple[StageText, ...]:
    """Return the stages of a run of so many epochs. Each stage but the last names its number of epochs.

    Raises ValueError if a name is unknown, a number is missing, or a stage would have no epoch.
    """
    stages: list[StageText] = []
    done = 0
    *first, last = text.split("+")
    for word in first:
        name, _, number = word.partition(":")
        lookup("optimizer", name, OPTIMIZERS)
        if not (number.isdecimal() and int(number)):
            raise ValueError(f"optimizer {text}: write NAME:EPOCHS+NAME, such as adam:20+lbfgs")
        stages.append(StageText(name, int(number)))
        done += int(number)
        if done >= epochs:
            raise ValueError(f"optimizer {text}: the stages before the last take {done} of the {epochs} epochs, "
                             "and leave none for it")
    name, colon, _ = last.partition(":")
    lookup("optimizer", name, OPTIMIZERS)
    if colon:
        raise ValueError(f"optimizer {text}: name the optimizer that follows, such as {text}+lbfgs")
    return (*stages, StageText(name, epochs - done))


def join_stages(stages: Sequence[StageText]) -> str:
    """Return the text of the stages, such as "adam:20+lbfgs", and their lr if they have one, such as "adam lr=0.1"."""
    text = "+".join([*(f"{stage.optimizer}:{stage.epochs}" for stage in stages[:-1]), stages[-1].optimizer])
    rates = [f" lr={rate_text(stage.lr)}" for stage in stages if stage.lr is not None]
    return text + "".join(rates[:1])


def rate_text(rate: Rate) -> str:
    """Return a learning rate as a text that no other has, such as "0.1"."""
    if isinstance(rate, str):
        return rate
    return text if float(text := f"{rate:g}") == rate else repr(rate)


def check_lr(lr: Any) -> Rate | tuple[Rate, ...] | None:
    """Return a learning rate, several to compare, or None. Raises ValueError if one is not allowed or given twice."""
    if lr is None:
        return None
    rates = list(lr) if isinstance(lr, Iterable) and not isinstance(lr, str) else [lr]
    if not 0 < len(rates) <= MAX_RATES:
        raise ValueError(f"Experiment: lr has {len(rates):,} values: give from 1 to {MAX_RATES:,}")
    if wrong := [rate for rate in rates if isinstance(rate, str) and rate != AUTO]:
        raise ValueError(f"Experiment: lr must be a number above 0, {AUTO!r}, or several of these, not {wrong[0]!r}")
    rates = [rate if rate == AUTO else check_value("Experiment", "lr", Positive, rate) for rate in rates]
    if twice := [rate for i, rate in enumerate(rates) if rate in rates[:i]]:
        raise ValueError(f"Experiment: lr {rate_text(twice[0])} is given twice")
    return rates[0] if len(rates) == 1 else tuple(rates)


def parse_plans(optimizer: str | Sequence[str], epochs: int, lr: Any = None) -> list[tuple[StageText, ...]]:
    """Return the stages of each run of a comparison: each optimizer with each lr.

    Raises ValueError if two runs are the same.
    """
    if isinstance(optimizer, str):
        optimizer = [optimizer]
    if not (isinstance(optimizer, Sequence) and optimizer and all(isinstance(text, str) for text in optimizer)):
        raise ValueError(f"optimizer must be a name such as 'adam', or several, not {optimizer!r}: fields are given as "
                         "lr=0.01 and fields={'beta1': 0.8}")
    texts = join_words(optimizer)
    plans = [parse_stages(text, epochs) for text in (OPTIMIZERS if texts == ["all"] else texts)]
    if len(set(plans)) < len(plans):
        raise ValueError(f"optimizer {' '.join(texts)}: one is named twice; learning rates are compared by --lr 0.1 "
                         "0.01, or lr=[0.1, 0.01]")
    if not isinstance(lr, tuple):
        return plans
    return list(dict.fromkeys(with_lr(stages, rate) for stages in plans for rate in lr))


def with_lr(stages: Sequence[StageText], rate: Rate) -> tuple[StageText, ...]:
    """Return the stages with this lr, if their optimizers have one."""
    return tuple(stage._replace(lr=rate) if has_lr(stage.optimizer) else stage for stage in stages)


def has_lr(name: str) -> bool:
    """Return whether the optimizer of this name has a learning rate."""
    return "lr" in hyperparameters(OPTIMIZERS[name])


def default_lr(name: str) -> float | None:
    """Return the learning rate of an optimizer if the user gives none; None if the optimizer has none."""
    default: float | None = hyperparameters(OPTIMIZERS[name]).get("lr")
    # a rule whose default is 1 scales its steps itself, so that 0.01 would not be the article's
    return ARTICLE_LR if default is not None and default < 1 else default


def join_words(words: Sequence[str]) -> list[str]:
    """Return the optimizers of a comparison: "adam:20" "lbfgs" are the stages of one, "adam:20+lbfgs"."""
    texts: list[str] = []
    for word in words:
        if texts and ":" in texts[-1].rpartition("+")[2]:
            texts[-1] += "+" + word
        else:
            texts.append(word)
    return texts


class OptimizerSettings(NamedTuple):
    """The settings of an experiment's optimizers: their names, lr, other fields, and a schedule over epochs."""

    names: Sequence[str]
    lr: Rate | tuple[Rate, ...] | None
    fields: Mapping[str, Any]
    schedule: str | None
    epochs: int

    def check(self) -> None:
        """Raise ValueError if an optimizer cannot be made, or none of them can use the lr or the schedule."""
        if not isinstance(self.fields, Mapping) or not all(isinstance(key, str) for key in self.fields):
            raise ValueError(f"Experiment: fields must be a dict such as {{'beta1': 0.8}}, not {self.fields!r}")
        if not any(map(has_lr, self.names)):
            if self.lr is not None:
                get(self.names[0], lr=self.lr)  # raises: it has no lr
            if self.schedule is not None:
                raise ValueError(f"schedule {self.schedule}: {' and '.join(self.names)} have no learning rate")
        for name in self.names:
            for rate in self.lr if isinstance(self.lr, tuple) else (self.lr,):
                self.build(name, 1, rate)

    def values(self, name: str) -> dict[str, Any]:
        """Return the fields for one optimizer: those with its name, and those without a name that it has."""
        values = {}
        for key, value in self.fields.items():
            only, dot, field = key.rpartition(".")
            if dot and only not in self.names:
                raise ValueError(f"field {key}: write a field such as beta1, or NAME.FIELD with a name among "
                                 f"{', '.join(self.names)}")
            candidates = [only] if dot else self.names
            owners = [owner for owner in candidates if field in hyperparameters(OPTIMIZERS[owner])]
            if name in (owners or candidates[:1]):  # if none has it, get() raises the error for the first
                values[field] = value
        return values

    def build(self, name: str, steps: int, lr: Rate | None) -> Optimizer:
        """Return a new optimizer with its lr, fields and schedule, for epochs of so many steps."""
        values = self.values(name)
        default = default_lr(name)
        if "lr" in values and lr is not None:
            raise ValueError(f"lr {rate_text(lr)} and the field lr={values['lr']} are both given for {name}: "
                             "give one of them")
        if default is not None:
            values.setdefault("lr", lr if isinstance(lr, float) else default)
        optimizer = get(name, **values)
        if self.schedule is None or default is None:
            return optimizer
        return Scheduled(optimizer, parse_schedule(self.schedule, self.epochs), unit=steps)


@dataclass
class Stage:
    """An optimizer, the number of epochs that it trains for, and its batch size.

    If `finds_lr`, a range test finds the optimizer's lr when the stage begins, and `found_lr` is what it has found.
    """

    name: str
    optimizer: Optimizer
    epochs: int
    batch_size: int
    finds_lr: bool = False
    found_lr: float | None = None

    def description(self) -> dict[str, Any]:
        """Return the stage as it is written to config.json. If an lr is not found yet, it is "auto"."""
        fields = hyperparameters(getattr(self.optimizer, "optimizer", self.optimizer))  # without its schedule
        if self.finds_lr:
            fields["lr"] = AUTO if self.found_lr is None else self.found_lr
        return {"optimizer": self.name, "fields": fields, "epochs": self.epochs, "batch_size": self.batch_size}

    def set_lr(self, lr: float) -> None:
        """Set the lr that was found."""
        optimizer: Any = self.optimizer  # one that has an lr
        optimizer.lr = self.found_lr = lr

    def range_test(self, model: Model, data: Data, threads: int | None) -> RangeTest:
        """Return the range test of the optimizer, from the present weights of the model."""
        data = in_memory(data, "the range test of lr 'auto'")
        y = targets(data, data.y_train)
        return lr_find(model, data.x_train, y, self.optimizer, self.batch_size, threads=threads)
