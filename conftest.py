"""Fixtures of all tests and examples: tables are restored, and files are not written through to the disk."""

from importlib.util import find_spec
import os

import pytest

import nn
import optimizers

# their examples cannot be imported without scikit-learn; tests/test_sklearn.py says so
collect_ignore = [] if find_spec("sklearn") else ["feedforward/estimator.py", "feedforward/sklearn.py"]

TABLES = (nn.ACTIVATIONS, nn.LAYERS, nn.LOSSES, nn.INITIALIZERS, optimizers.OPTIMIZERS, optimizers.SCHEDULES)


@pytest.fixture(autouse=True, scope="session")
def _no_wait_for_the_disk():
    """Replace fsync, which matters only if the machine itself stops; processes that tests start still use it."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(os, "fsync", os.fstat)  # fails, as fsync does, if the file is closed
        yield


@pytest.fixture(autouse=True)
def _original_tables():
    before = [dict(table) for table in TABLES]
    yield
    for table, entries in zip(TABLES, before):
        if table != entries:
            table.clear()
            table.update(entries)
