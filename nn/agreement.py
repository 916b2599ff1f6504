"""Agreement: whether all ranks are about to train the same model, on the same data, with the same libraries."""

import platform
from typing import Any

import numpy as np

from nn import blas
from nn.batches import Batches, Examples
from nn.checkpoint import identity, settings
from nn.distributed import check_same, hash_of
from nn.history import History, Position
from nn.mpi import Ranks
from nn.rows import CheckedRows
from nn.versions import version


def versions() -> dict[str, Any]:
    """Return the versions that must be the same on all ranks."""
    return {"Python": platform.python_version(), "NumPy": np.__version__, "feedforward": version("feedforward")}


def check_training(ranks: Ranks, model: Any, optimizer: Any, batches: Batches, epochs: int,
                   validation: Examples | CheckedRows | None, callbacks: list[Any], history: History) -> None:
    """Compare the training on all ranks.

    Parameters
    ----------
    ranks : Ranks
        The ranks.
    model : Model
        The model to train.
    optimizer, batches, epochs, validation, history
        As for `fit`.
    callbacks : list
        The callbacks that every rank has.

    Raises
    ------
    ValueError
        If something differs, on all ranks; the message names it and the first rank that has another value.
    """
    described = model.components().description()
    position = history.position or Position(len(history) + 1, total=len(batches))
    state = optimizer.state() if hasattr(optimizer, "state") else {}
    facts: dict[str, Any] = {
        **versions(), "the code of BLAS": blas.kernels(), **described, **settings(batches, validation, 1),
        "optimizer": identity(optimizer), "epochs": epochs, "the last epoch": len(history),
        "the steps of an epoch": position.total, "the steps of the next epoch that are complete": position.steps,
        "callbacks": [identity(callback) for callback in callbacks],
        "the hash of theta": hash_of(model.theta), "the hash of constants": hash_of(model.constants),
        "the hash of the optimizer's state": hash_of(*map(np.asarray, state.values()))}
    check_same(ranks.gather(facts), "cannot train together",
               "; give all ranks the same data and settings: each takes its share of the rows itself")
