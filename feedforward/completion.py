"""Completion: a script with which a shell completes the command line."""

import argparse
from typing import Any

import datasets
from feedforward.network import LOSSES
from feedforward.options import FURTHER, parser
import nn
import optimizers

FOLDERS, FILES = ("data_dir", "out", "resume", "run"), ("config", "file")


def completion(shell: str) -> str:
    """Return the script for a shell.

    Parameters
    ----------
    shell : str
        One of `feedforward.options.SHELLS`.

    Returns
    -------
    str
        The script: options, the names of optimizers, datasets and so on, files and folders.

    Raises
    ------
    ImportError
        If shtab is not installed.
    """
    try:
        import shtab
    except ImportError:
        raise ImportError("completion needs shtab: pip install 'feedforward[completion]'") from None
    names: dict[str, Any] = {
        "optimizer": [*optimizers.OPTIMIZERS, "all"], "dataset": list(datasets.DATASETS), "lr": ["auto"],
        "schedule": list(optimizers.SCHEDULES), "activation": list(nn.ACTIVATIONS), "init": list(nn.INITIALIZERS),
        "loss": list(LOSSES), "dtype": ["float32", "float64"]}
    whole = parser("feedforward")
    commands = whole.add_subparsers(parser_class=argparse.ArgumentParser)
    parts: list[argparse.ArgumentParser] = [whole]
    for name, make in FURTHER.items():
        part = make("feedforward")
        parts.append(commands.add_parser(name, parents=[part], add_help=False, help=part.description))
    for action in (action for part in parts for action in part._actions):
        action.choices = names.get(action.dest, action.choices)
        if action.dest in FOLDERS:
            vars(action)["complete"] = shtab.DIRECTORY
        elif action.dest in FILES:
            vars(action)["complete"] = shtab.FILE
    return str(shtab.complete(whole, shell))
