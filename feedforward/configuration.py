"""Configuration files: the fields of an Experiment in TOML, written by hand, or the config.json of a run folder."""

from collections.abc import Mapping
import os
from pathlib import Path
import tomllib
from typing import Any

from feedforward.folder import read_limited
from nn.archive import one_line_errors, parse


def read_fields(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the fields of an Experiment that a file gives.

    Parameters
    ----------
    path : str or path-like
        A file .toml, whose keys are the fields; or .json, the same or the config.json of a run.

    Returns
    -------
    dict
        The values by name. They are checked by Experiment.

    Raises
    ------
    nn.InvalidFile
        If it is not such a file.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    with one_line_errors(path, "a configuration"):
        if path.suffix not in (".toml", ".json"):
            raise ValueError("its name must end in .toml or .json")
        text = read_limited(path).removeprefix("\ufeff")  # editors may write this mark at the beginning
        content = tomllib.loads(text) if path.suffix == ".toml" else parse(text)
        if not isinstance(content, dict):
            raise ValueError("it must hold fields of an Experiment, such as optimizer and epochs")
        if isinstance(content.get("experiment"), dict):
            content = content["experiment"]
    if isinstance(content.get("fields"), dict):
        content["fields"] = _flat(content["fields"])
    return content


def _flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of optimizers with dotted names: TOML writes adam.beta1 = 0.8 as a table adam."""
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        entries = {f"{name}.{field}": entry for field, entry in value.items()} if isinstance(value, dict) else {}
        flat |= entries or {name: value}
    return flat
