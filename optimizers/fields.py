"""Fields of layers, losses, optimizers and schedules: the type of a field says which values are allowed.

A value is checked whenever it is set:

    class Dropout(Layer):
        rate: Fraction = 0.5

`nn` and `optimizers` do not import each other, so this file is in both. A test compares the two copies.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import MISSING, Field, dataclass, field, fields
import difflib
from functools import cache
import inspect
from inspect import get_annotations
import math
import numbers
import sys
from types import NoneType, SimpleNamespace, UnionType
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


@dataclass(frozen=True, repr=False)
class Bounds:
    """The allowed numbers: above < value < below and least <= value <= most."""

    above: float = -math.inf
    least: float = -math.inf
    below: float = math.inf
    most: float = math.inf

    def hold(self, value: float) -> bool:
        """Return whether `value` is within these bounds."""
        return self.above < value < self.below and self.least <= value <= self.most

    def __repr__(self) -> str:
        """Return the bounds as messages and signatures show them, such as "above 0"."""
        words = {"above": self.above, "at least": self.least, "below": self.below, "at most": self.most}
        return " and ".join(f"{word} {bound:g}" for word, bound in words.items() if math.isfinite(bound))


Positive = Annotated[float, Bounds(above=0)]
NonNegative = Annotated[float, Bounds(least=0)]
Fraction = Annotated[float, Bounds(least=0, below=1)]
PositiveFraction = Annotated[float, Bounds(above=0, below=1)]
Share = Annotated[float, Bounds(above=0, most=1)]
Count = Annotated[int, Bounds(least=1)]


def unset(*, default: Any = MISSING, metadata: Mapping[str, Any] | None = None, init: Literal[False] = False) -> Any:
    """Declare an attribute that is not an argument of the constructor; without a default it has no value at first."""
    return field(default=default, init=init, repr=False, metadata=metadata)


class CheckedField:
    """The descriptor of a field: it checks each value that is set, and stores it in the object's own dict.

    It has no __get__, so that reading a field is an ordinary look-up in that dict.
    """

    def __init__(self, spec: Field[Any]) -> None:
        self.name, self.default, self.default_factory = spec.name, spec.default, spec.default_factory

    def __set__(self, instance: "Declared", value: Any) -> None:
        owner: type = type(instance)
        if isinstance(value, CheckedField):  # the default of a class that is decorated as a dataclass once more
            value = defaults(owner)[self.name]
        kind = field_types(owner)[self.name]
        vars(instance)[self.name] = check_value(owner.__name__, self.name, kind, value, instance.advice)
        instance._field_changed()

    def __repr__(self) -> str:
        return f"<field {self.name}>"


@dataclass_transform(eq_default=False, field_specifiers=(unset,))
class Declared:
    """Base of the classes whose annotated attributes are fields: a subclass becomes a dataclass automatically.

    The value of a field is checked against its type whenever it is set. `advice` maps the name of a field, or a wrong
    name that users may write for it, to what to write instead; messages contain this text.

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
        own = get_annotations(cls)
        for name in set(own) - set(vars(cls)):  # a field with a new type keeps its default
            if isinstance(inherited := getattr(cls, name, None), CheckedField):
                setattr(cls, name, field(default=inherited.default, default_factory=inherited.default_factory))
        for name, value in vars(cls).items():
            inherited = getattr(super(cls, cls), name, None)
            if name not in own and isinstance(inherited, CheckedField) and not hasattr(value, "__get__"):
                raise TypeError(f"{cls.__name__}: write the type of the field {name} too, such as "
                                f"{name}: float = {value!r}")
        has_constructor = "__init__" in vars(cls)
        dataclass(eq=False, kw_only=cls.keyword_only)(cls)
        if not has_constructor:
            _generated.add(cls)
        for spec in fields(cast(Any, cls)):
            if spec.init and spec.name in own:
                setattr(cls, spec.name, CheckedField(spec))

    if not TYPE_CHECKING:  # type checkers and editors take the signature from the fields

        def __new__(cls, *values, **named):
            accepted = _accepted(cls)
            for name in named:
                if accepted is not None and name not in accepted:
                    raise TypeError(unknown_field(cls.__name__, name, accepted, cls.advice))
            if values and accepted and cls.keyword_only and has_generated_constructor(cls):
                raise TypeError(f"{cls.__name__} takes its fields by name: write "
                                f"{cls.__name__}({accepted[0]}={values[0]!r})")
            instance = super().__new__(cls)
            vars(instance).update({name: value for name, value in defaults(cls).items() if value is not MISSING})
            return instance

    def _field_changed(self) -> None:
        """Do what a new value of a field requires; it is called whenever one is set."""

    def description(self) -> dict[str, Any]:
        """Return the values of the fields, the arguments of the constructor, by name."""
        kind: type = type(self)
        return {name: getattr(self, name) for name in field_types(kind)}


_generated: set[type] = set()  # the classes whose constructor takes their fields


def has_generated_constructor(kind: type[Any]) -> bool:
    """Return whether the constructor of a class takes its fields, and is not one that the class defines itself."""
    return kind in _generated


@cache
def field_types(kind: type[Any]) -> dict[str, Any]:
    """Return the types of the fields that a constructor accepts, by name."""
    hints: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        for name, annotation in get_annotations(base).items():
            hints[name] = Any
            with suppress(NameError):  # a text annotation with a name that is defined only inside a function
                known = SimpleNamespace(__annotations__={name: annotation})
                hints |= get_type_hints(known, vars(sys.modules[base.__module__]), include_extras=True)
    return {spec.name: hints.get(spec.name, Any) for spec in fields(kind) if spec.init}


def defaults(kind: type[Any]) -> dict[str, Any]:
    """Return the default values of these fields, by name; MISSING for one that must be given."""
    specs: list[Any] = [spec.default if isinstance(spec.default, CheckedField) else spec
                        for spec in fields(kind) if spec.init]
    return {spec.name: spec.default if spec.default_factory is MISSING else spec.default_factory() for spec in specs}


@cache
def _accepted(kind: type[Any]) -> tuple[str, ...] | None:
    """Return the names of the arguments of a constructor; None if it accepts any name."""
    arguments = list(inspect.signature(kind.__init__).parameters.values())[1:]
    if any(argument.kind is argument.VAR_KEYWORD for argument in arguments):
        return None
    return tuple(argument.name for argument in arguments)


def check_value(owner: str, name: str, kind: Any, value: Any, advice: Mapping[str, str] = {}) -> Any:
    """Return `value` in the form in which a field of type `kind` holds it. Raises ValueError if it is not allowed.

    Numbers, bool, str, Literal, and each of them with None are checked; other types are not. A number becomes a Python
    float or int: NumPy scalars would turn float32 arrays into float64.
    """
    choices = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    if value is None and NoneType in choices:
        return None
    kind, *others = (choice for choice in choices if choice is not NoneType)
    if others:  # a union of several types
        return value
    # the class of the bounds may be that of the other copy of this file
    bounds = next((extra for extra in getattr(kind, "__metadata__", ()) if hasattr(extra, "hold")), Bounds())
    kind = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if kind is float:
        is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        allowed = (f"{bounds}" if is_number else f"a number, {bounds}") if f"{bounds}" else "a finite number"
        if is_number and str(value) in ("inf", "nan") and f"{bounds}":
            allowed = f"a finite number, {bounds}"
        valid = isinstance(value, numbers.Real) and _is_finite(value) and bounds.hold(float(value))
    elif kind is int:
        allowed = f"a whole number of {bounds}" if f"{bounds}" else "a whole number"
        valid = isinstance(value, numbers.Integral) and bounds.hold(int(value))
    elif kind is bool or get_origin(kind) is Literal:
        options = (True, False) if kind is bool else get_args(kind)
        if any(type(value) is type(option) and value == option for option in options):
            return value
        allowed, valid = f"one of {', '.join(map(str, options))}", False
    elif kind is str:
        allowed, valid = "a text", isinstance(value, str)
    else:
        return value
    if isinstance(value, bool) or not valid:
        hint = f": {advice[name]}" if name in advice and not isinstance(value, numbers.Number) else ""
        raise ValueError(f"{owner}: {name} must be {allowed}, not {value!r}{hint}")
    return kind(value)


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number above all floats
        return False


def _closest(name: Any, names: Mapping[str, Any] | tuple[str, ...]) -> str:
    """Return "did you mean 'adam'? " for the known name that is most similar, or nothing if no name is."""
    by_lower_case = {known.lower(): known for known in names}
    matches = difflib.get_close_matches(str(name).lower(), by_lower_case, n=1)
    return f"did you mean {by_lower_case[matches[0]]!r}? " if matches else ""


def unknown_field(owner: str, name: str, known: tuple[str, ...], advice: Mapping[str, str]) -> str:
    """Return the message for a field that does not exist: what to write instead, and which fields exist."""
    hint = f"{advice[name]}; " if name in advice and name not in known else _closest(name, known)
    return f"{owner} has no field {name!r}: {hint}its fields are {', '.join(known) or 'none'}"


def lookup(what: str, name: Any, table: Mapping[str, Any]) -> Any:
    """Return the entry `name` of a table. Raises ValueError, with all names, if there is none."""
    if not isinstance(name, str) or name not in table:
        raise ValueError(f"unknown {what} {name!r}: {_closest(name, table)}choose from {', '.join(table)}")
    return table[name]
