"""Tests of fields: types say which values are allowed; nn and optimizers have the same copy of the file."""

from dataclasses import dataclass
import math
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from optimizers import fields
from optimizers.fields import Count, Declared, Fraction, NonNegative, Positive, PositiveFraction, Share, unset

ROOT = Path(__file__).parent.parent


def test_both_packages_have_the_same_file():
    assert (ROOT / "nn/fields.py").read_bytes() == (ROOT / "optimizers/fields.py").read_bytes()


class Thing(Declared):
    advice = {"size": "write count", "rate": "write a number"}

    any_number: float = 0.0
    rate: Positive = 1
    decay: NonNegative = 0
    fraction: Fraction = 0
    inner: PositiveFraction = 0.5
    share: Share = 1
    count: Count = 1
    limit: Positive | None = None
    flag: bool = False
    mode: Literal["a", "b"] = "a"
    free: list = None
    result: float = unset(default=math.nan)


@pytest.mark.parametrize(("name", "good", "bad", "allowed"), [
    ("any_number", [-1e9, 0, np.float32(2)], [math.nan, math.inf, "1", None, True], "a finite number"),
    ("rate", [1e-300, 5], [0, -1], "above 0"),
    ("decay", [0, 5], [-1e-300], "at least 0"),
    ("fraction", [0, 0.999], [1, -0.1], "at least 0 and below 1"),
    ("inner", [0.001, 0.999], [0, 1], "above 0 and below 1"),
    ("share", [0.001, 1], [0, 1.001], "above 0 and at most 1"),
    ("count", [1, np.int64(7)], [0, 1.0, "2", True], "a whole number of at least 1"),
    ("limit", [None, 3], [0, "none"], "above 0"),
    ("flag", [True, False], [1, 0, None, "yes"], "one of True, False"),
    ("mode", ["a", "b"], ["c", None, 1], "one of a, b"),
    ("free", [None, 1, "x"], [], ""),
])
def test_values_are_checked_in_the_constructor_and_whenever_they_are_set(name, good, bad, allowed):
    thing = Thing()
    for value in good:
        setattr(thing, name, value)
        assert getattr(thing, name) == value == getattr(Thing(**{name: value}), name)
        assert not isinstance(getattr(thing, name), np.generic)  # it would turn float32 arrays into float64
    for value in bad:
        for use in (lambda value=value: setattr(thing, name, value), lambda value=value: Thing(**{name: value})):
            with pytest.raises(ValueError, match=f"Thing: {name} must be .*, not ") as error:
                use()
            assert allowed in str(error.value)


def test_advice_ends_the_message():
    with pytest.raises(TypeError, match="Thing has no field 'size': write count; its fields are any_number, rate"):
        Thing(size=1)
    with pytest.raises(ValueError, match="Thing: rate must be a number, above 0, not 'fast': write a number"):
        Thing(rate="fast")
    with pytest.raises(TypeError, match=r"Thing has no field 'mod': did you mean 'mode'\? its fields are"):
        Thing(mod="a")


def test_an_unset_attribute_is_not_an_argument():
    with pytest.raises(TypeError, match="Thing has no field 'result'"):
        Thing(result=1)
    assert "result" not in repr(Thing())
    assert "result" not in Thing().description()


def test_a_description_makes_an_equal_object():
    thing = Thing(rate=2, mode="b")
    assert Thing(**thing.description()).description() == thing.description()
    assert list(fields.defaults(Thing)) == list(thing.description())


def test_an_annotation_that_cannot_be_read_does_not_affect_the_other_checks():
    class Local(Thing):
        own: "OnlyHere" = 3  # noqa: F821

    assert Local(own="anything").own == "anything"
    with pytest.raises(ValueError, match="Local: rate must be above 0, not -1"):
        Local(rate=-1)


def test_lookup_suggests_a_name():
    with pytest.raises(ValueError, match=r"unknown thing 'Alpa': did you mean 'alpha'\? choose from alpha, beta"):
        fields.lookup("thing", "Alpa", {"alpha": 1, "beta": 2})
    with pytest.raises(ValueError, match="unknown thing 3: choose from alpha"):
        fields.lookup("thing", 3, {"alpha": 1})


class Scaled(Declared):
    scale: Positive = 2.0
    parts: Count = 3


def test_a_new_type_of_a_field_keeps_its_default():
    class Narrower(Scaled):
        scale: Share

    with pytest.raises(ValueError, match="Narrower: scale must be above 0 and at most 1, not 2"):
        Narrower()
    assert Narrower(scale=0.5).scale == 0.5
    assert Narrower(scale=1).parts == 3


def test_a_constructor_of_ones_own_leaves_the_defaults():
    class Own(Scaled):
        def __init__(self, k):
            self.k = k

    own = Own(5)
    assert (own.k, own.scale, own.parts) == (5, 2.0, 3)
    with pytest.raises(ValueError, match="Own: scale must be above 0, not 0"):
        own.scale = 0
    assert not fields.has_generated_constructor(Own)
    assert fields.has_generated_constructor(Scaled)


def test_a_second_decorator_changes_nothing():
    @dataclass(eq=False)
    class Decorated(Scaled):
        more: Fraction = 0.5

    assert (Decorated().scale, Decorated().more, Decorated(more=0).more) == (2.0, 0.5, 0.0)
    assert fields.defaults(Decorated) == {"scale": 2.0, "parts": 3, "more": 0.5}
    with pytest.raises(ValueError, match="Decorated: more must be at least 0 and below 1, not 1"):
        Decorated(more=1)


def test_a_union_of_several_types_is_not_checked():
    class Union(Scaled):
        size: int | str = "auto"
        width: Count | None = None

    assert Union().size == "auto"
    assert Union(size=0.5).size == 0.5
    with pytest.raises(ValueError, match="Union: width must be a whole number of at least 1, not 0"):
        Union(width=0)


def test_a_number_above_all_floats_is_refused():
    for field in ("scale", "parts"):
        value = 10**400
        if field == "parts":
            assert Scaled(parts=value).parts == value
        else:
            with pytest.raises(ValueError, match="Scaled: scale must be above 0, not 1000"):
                Scaled(scale=value)


def test_a_text_annotation_that_cannot_be_read_leaves_the_other_checks_of_its_class(tmp_path, monkeypatch):
    (tmp_path / "unreadable.py").write_text(
        "from __future__ import annotations\nfrom typing import TYPE_CHECKING\nfrom optimizers.fields import *\n"
        "if TYPE_CHECKING:\n    from collections import OrderedDict\n"
        "class A(Declared):\n    k: Positive = 1.0\n    extra: OrderedDict | None = None\n    n: Count = 1\n"
        "class B(A):\n    j: Positive = 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    import unreadable

    for kind, values in ((unreadable.A, {"k": -1}), (unreadable.A, {"n": "x"}), (unreadable.B, {"j": -5})):
        with pytest.raises(ValueError, match="must be"):
            kind(**values)
    assert unreadable.A(extra=3).extra == 3


def test_positional_values_of_keyword_fields_say_what_to_write():
    from optimizers import Adam

    with pytest.raises(TypeError, match=r"Adam takes its fields by name: write Adam\(lr=0.01\)"):
        Adam(0.01)


def test_a_new_default_without_a_type_is_refused():
    with pytest.raises(TypeError, match=r"Faster: write the type of the field scale too, such as scale: float = 5\.0"):
        class Faster(Scaled):
            scale = 5.0

    class Computed(Scaled):
        @property
        def scale(self):
            return 7.0

        @scale.setter
        def scale(self, value):
            pass

    assert Computed().scale == 7.0
