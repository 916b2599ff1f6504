"""Stages: the text "adam:20+lbfgs" for 20 epochs of one optimizer and the rest of another, and their optimizers."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nn.fields import lookup
from optimizers import OPTIMIZERS, Optimizer, Scheduled, get, hyperparameters, parse_schedule

ARTICLE_LR = 0.01


class StageText(NamedTuple):
    """The name of an optimizer, and the number of epochs that it trains for."""

    optimizer: str
    epochs: int


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
    """Return the text of the stages, such as "adam:20+lbfgs"."""
    return "+".join([*(f"{name}:{epochs}" for name, epochs in stages[:-1]), stages[-1].optimizer])


def parse_plans(optimizer: str | Sequence[str], epochs: int) -> list[tuple[StageText, ...]]:
    """Return the stages of each run of a comparison. Raises ValueError if two runs are the same."""
    if isinstance(optimizer, str):
        optimizer = [optimizer]
    if not (isinstance(optimizer, Sequence) and optimizer and all(isinstance(text, str) for text in optimizer)):
        raise ValueError(f"optimizer must be a name such as 'adam', or several, not {optimizer!r}: fields are given as "
                         "lr=0.01 and fields={'beta1': 0.8}")
    texts = join_words(optimizer)
    plans = [parse_stages(text, epochs) for text in (OPTIMIZERS if texts == ["all"] else texts)]
    if len(set(plans)) < len(plans):
        raise ValueError(f"optimizer {' '.join(texts)}: one is named twice")
    return plans


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
    """The settings of an experiment's optimizers: their names, the lr, other fields, and a schedule over epochs."""

    names: Sequence[str]
    lr: float | None
    fields: Mapping[str, Any]
    schedule: str | None
    epochs: int

    def check(self) -> None:
        """Raise ValueError if an optimizer cannot be made, or none of them can use the lr or the schedule."""
        if not isinstance(self.fields, Mapping) or not all(isinstance(key, str) for key in self.fields):
            raise ValueError(f"Experiment: fields must be a dict such as {{'beta1': 0.8}}, not {self.fields!r}")
        with_lr = [name for name in self.names if "lr" in hyperparameters(OPTIMIZERS[name])]
        if self.lr is not None and not with_lr:
            get(self.names[0], lr=self.lr)  # raises: it has no lr
        if self.schedule is not None and not with_lr:
            raise ValueError(f"schedule {self.schedule}: {' and '.join(self.names)} have no learning rate")
        for name in self.names:
            self.build(name, 1)

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

    def build(self, name: str, steps: int) -> Optimizer:
        """Return a new optimizer with its fields and its schedule, for epochs of so many steps."""
        values = self.values(name)
        default = hyperparameters(OPTIMIZERS[name]).get("lr")  # None if it has no learning rate
        if "lr" in values and self.lr is not None:
            raise ValueError(f"lr {self.lr:g} and the field lr={values['lr']} are both given for {name}: "
                             "give one of them")
        if default is not None:
            # a rule whose default is 1 scales its steps itself, so that 0.01 would not be the article's
            values.setdefault("lr", self.lr if self.lr is not None else ARTICLE_LR if default < 1 else default)
        optimizer = get(name, **values)
        if self.schedule is None or default is None:
            return optimizer
        return Scheduled(optimizer, parse_schedule(self.schedule, self.epochs), unit=steps)
