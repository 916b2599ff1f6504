"""Fields of layers, losses, optimizers and schedules: the type of a field says which values are allowed.

A value is checked whenever it is set:

    class Dropout(Layer):
        rate: Fraction = 0.5

`nn` and `optimizers` import nothing of each other, so this file is in both. A test compares the two copies.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import MISSING, dataclass, field, fields
import difflib
from functools import cache
import inspect
import math
import numbers
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Literal,
    Union,
    cast,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)


@dataclass(frozen=True)
class Bounds:
    """The allowed numbers: above < value < below and least <= value <= most."""

    above: float = -math.inf
    least: float = -math.inf
    below: float = math.inf
    most: float = math.inf

    def hold(self, value: float) -> bool:
        """Return whether `value` is within these bounds."""
        return self.above < value < self.below and self.least <= value <= self.most

    def __str__(self) -> str:
        words = {"above": self.above, "at least": self.least, "below": self.below, "at most": self.most}
        return " and ".join(f"{word} {bound:g}" for word, bound in words.items() if math.isfinite(bound))


Positive = Annotated[float, Bounds(above=0)]
NonNegative = Annotated[float, Bounds(least=0)]
Fraction = Annotated[float, Bounds(least=0, below=1)]
PositiveFraction = Annotated[float, Bounds(above=0, below=1)]
Share = Annotated[float, Bounds(above=0, most=1)]
Count = Annotated[int, Bounds(least=1)]


def unset(*, default: Any = MISSING, init: Literal[False] = False) -> Any:
    """Declare an attribute that is not an argument of the constructor; without a default it has no value at first."""
    return field(default=default, init=init, repr=False)


class CheckedField:
    """The descriptor of a field: it checks each value that is set, and stores it in the object's own dict.

    It has no __get__, so that reading a field is an ordinary look-up in that dict.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __set__(self, instance: "Declared", value: Any) -> None:
        owner: type = type(instance)
        kind = field_types(owner)[self.name]
        vars(instance)[self.name] = check_value(owner.__name__, self.name, kind, value, instance.advice)
        instance._field_changed()


@dataclass_transform(eq_default=False, field_specifiers=(unset,))
class Declared:
    """Base of the classes whose annotated attributes are fields: a subclass becomes a dataclass by itself.

    The value of a field is checked against its type whenever it is set. `advice` maps the name of a field, or a name
    that users write in its place, to what to write instead; messages contain it.

    Examples
    --------
    >>> class Noise(Declared):
    ...     scale: Positive = 1.0
    >>> noise = Noise(scale=2)
    >>> noise.scale = -1
    Traceback (most recent call last):
    ValueError: Noise: scale must be above 0, not -1
    >>> Noise(scal=2)
    Traceback (most recent call last):
    TypeError: Noise has no field 'scal': did you mean 'scale'? its fields are scale
    """

    keyword_only: ClassVar[bool] = False
    advice: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        dataclass(eq=False, kw_only=cls.keyword_only)(cls)
        for spec in fields(cast(Any, cls)):
            if spec.init:
                setattr(cls, spec.name, CheckedField(spec.name))

    if not TYPE_CHECKING:  # type checkers and editors take the signature from the fields

        def __new__(cls, *values, **named):
            accepted = _accepted(cls)
            for name in named:
                if accepted is not None and name not in accepted:
                    raise TypeError(unknown_field(cls.__name__, name, accepted, cls.advice))
            return super().__new__(cls)

    def _field_changed(self) -> None:
        """Do what a new value of a field requires; it is called whenever one is set."""

    def description(self) -> dict[str, Any]:
        """Return the values of the fields, the arguments of the constructor, by name."""
        kind: type = type(self)
        return {name: getattr(self, name) for name in field_types(kind)}


@cache
def field_types(kind: type[Any]) -> dict[str, Any]:
    """Return the types of the fields that a constructor takes, by name."""
    hints: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        with suppress(NameError):  # an annotation, as text, of a name that only the body of a function knows
            hints |= get_type_hints(base, include_extras=True)
    return {spec.name: hints.get(spec.name, Any) for spec in fields(kind) if spec.init}


def defaults(kind: type[Any]) -> dict[str, Any]:
    """Return the default values of these fields, by name; MISSING for one that must be given."""
    return {spec.name: spec.default if spec.default_factory is MISSING else spec.default_factory()
            for spec in fields(kind) if spec.init}


@cache
def _accepted(kind: type[Any]) -> tuple[str, ...] | None:
    """Return the names of the arguments of a constructor; None if it takes any name."""
    arguments = list(inspect.signature(kind.__init__).parameters.values())[1:]
    if any(argument.kind is argument.VAR_KEYWORD for argument in arguments):
        return None
    return tuple(argument.name for argument in arguments)


def check_value(owner: str, name: str, kind: Any, value: Any, advice: Mapping[str, str] = {}) -> Any:
    """Return `value` as a field of type `kind` holds it. Raises ValueError that says what is allowed.

    Numbers, bool, Literal, and each of them with None are checked; other types are not. A number becomes a Python float
    or int: NumPy scalars would turn float32 arrays into float64.
    """
    choices = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    if value is None and NoneType in choices:
        return None
    kind = next(choice for choice in choices if choice is not NoneType)
    # the bounds may be of the other copy of this file
    bounds = next((extra for extra in getattr(kind, "__metadata__", ()) if hasattr(extra, "hold")), Bounds())
    kind = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if kind is float:
        allowed = f"{bounds}" or "a finite number"
        valid = isinstance(value, numbers.Real) and math.isfinite(value) and bounds.hold(float(value))
    elif kind is int:
        allowed = f"a whole number of {bounds}" if f"{bounds}" else "a whole number"
        valid = isinstance(value, numbers.Integral) and bounds.hold(int(value))
    elif kind is bool or get_origin(kind) is Literal:
        options = (True, False) if kind is bool else get_args(kind)
        if any(type(value) is type(option) and value == option for option in options):
            return value
        allowed, valid = f"one of {', '.join(map(str, options))}", False
    else:
        return value
    if isinstance(value, bool) or not valid:
        hint = f": {advice[name]}" if name in advice and not isinstance(value, numbers.Number) else ""
        raise ValueError(f"{owner}: {name} must be {allowed}, not {value!r}{hint}")
    return kind(value)


def _closest(name: Any, names: Mapping[str, Any] | tuple[str, ...]) -> str:
    """Return "did you mean 'adam'? " for the known name that is most similar, or nothing if no name is."""
    by_lower_case = {known.lower(): known for known in names}
    found = difflib.get_close_matches(str(name).lower(), by_lower_case, n=1)
    return f"did you mean {by_lower_case[found[0]]!r}? " if found else ""


def unknown_field(owner: str, name: str, known: tuple[str, ...], advice: Mapping[str, str]) -> str:
    """Return the message for a field that does not exist: what to write instead, and which fields exist."""
    hint = f"{advice[name]}; " if name in advice and name not in known else _closest(name, known)
    return f"{owner} has no field {name!r}: {hint}its fields are {', '.join(known) or 'none'}"


def lookup(what: str, name: Any, table: Mapping[str, Any]) -> Any:
    """Return the entry `name` of a table. Raises ValueError that lists the names."""
    if not isinstance(name, str) or name not in table:
        raise ValueError(f"unknown {what} {name!r}: {_closest(name, table)}choose from {', '.join(table)}")
    return table[name]
