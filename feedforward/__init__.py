"""Feedforward neural networks and their optimizers: everything public of nn, optimizers, datasets and feedforward.

    import feedforward as ff
    results = ff.Experiment("adam", dataset="digits").run()
    print(results)

Names are imported when they are first used. The stub __init__.pyi tells editors what there is.
"""

from importlib import import_module as _import_module
from importlib.util import find_spec as _find_spec
from pathlib import Path as _Path
from typing import Any as _Any

__version__ = "0.1.0"
_MODULES = ("feedforward.experiment", "feedforward.results", "feedforward.run", "feedforward.predict",
            "feedforward.repetition", "feedforward.range_test", "feedforward.optuna_search", "feedforward.registration",
            "feedforward.tensorboard", "nn", "optimizers", "datasets")


def _check_packages() -> None:
    """Raise ImportError if one of our packages would be imported from another project, which may use its name too."""
    for name in ("nn", "optimizers", "datasets"):
        spec = _find_spec(name)
        found = _Path(spec.origin).resolve() if spec and spec.origin else None
        if found is None or found.parent.parent != _Path(__file__).resolve().parent.parent:
            raise ImportError(f"the package {name!r} of feedforward is hidden by another project's: {found}; rename or "
                              "uninstall that, or start Python in feedforward's folder")


def _public() -> dict[str, str]:
    """The module of each public name."""
    return {name: module for module in reversed(_MODULES) for name in _import_module(module).__all__}


def __getattr__(name: str) -> _Any:
    if name == "__all__":
        return sorted([*_public(), "plots", "testing"])
    if name.startswith("_"):
        raise AttributeError(f"module 'feedforward' has no attribute {name!r}")
    if name in ("plots", "testing"):
        value: _Any = _import_module("nn.plots" if name == "plots" else "feedforward.testing")
    elif (module := _public().get(name)) is not None:
        value = getattr(_import_module(module), name)
    else:
        raise AttributeError(f"module 'feedforward' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*(name for name in globals() if name.startswith("__")), *_public(), "plots", "testing"])


_check_packages()
