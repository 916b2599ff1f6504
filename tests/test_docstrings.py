"""Every public name has a numpydoc docstring with parameters, return values, and an example that doctest runs."""

import importlib
from importlib.util import find_spec
import inspect
from types import FunctionType

from numpydoc.validate import validate
import pytest

PACKAGES = ("nn", "optimizers", "datasets", "feedforward.experiment", "feedforward.results",
            "feedforward.range_test", "feedforward.optuna_search", "feedforward.registration", "feedforward.run",
            "feedforward.tensorboard", "feedforward.testing", "nn.plots",
            *(["feedforward.sklearn"] if find_spec("sklearn") else []))
# no docstring or summary; parameters that are missing, unknown or without a type; no Returns; no Examples
ERRORS = {"GL08", "SS01", "SS03", "SS06", "PR01", "PR02", "PR04", "PR07", "RT01", "YD01"}


def public(module):
    names = getattr(module, "__all__", None) or [
        name for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__]
    return [name for name in names if isinstance(getattr(module, name), (type, FunctionType))]


NAMES = {f"{package}.{name}": getattr(importlib.import_module(package), name)
         for package in PACKAGES for name in public(importlib.import_module(package))}


def methods(kind):
    """Yield the public methods that a class defines and that override no method of a base class.

    Methods that start with on_ belong to callbacks: the module nn.callbacks describes them.
    """
    for name, member in vars(kind).items():
        inherited = any(hasattr(base, name) for base in kind.__mro__[1:])
        is_method = isinstance(member, (FunctionType, staticmethod, classmethod))
        if is_method and not inherited and not name.startswith(("_", "on_")):
            yield name


METHODS = [f"{path}.{name}" for path, kind in NAMES.items() if inspect.isclass(kind) for name in methods(kind)]


def errors(path, kinds):
    return [f"{code} {text}" for code, text in validate(path)["errors"] if code in kinds]


@pytest.mark.parametrize("path", NAMES)
def test_a_public_name_is_documented(path):
    kinds = ERRORS | {"EX01"}
    if hasattr(NAMES[path], "__required_keys__"):  # a TypedDict: its keys are its documentation
        kinds = kinds - {"PR01", "EX01"}
    elif getattr(NAMES[path], "_is_protocol", False):  # its constructor is not called
        kinds = kinds - {"PR01"}
    assert errors(path, kinds) == []


@pytest.mark.parametrize("path", METHODS)
def test_a_public_method_is_documented(path):
    assert errors(path, ERRORS) == []


def test_missing_sections_are_found():
    codes = {error.split()[0] for error in errors("tests_without_docstrings.add", ERRORS | {"EX01"})}
    assert codes >= {"PR01", "RT01", "EX01"}
