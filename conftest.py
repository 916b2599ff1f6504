"""A fixture that restores the tables after each test and after each example in a docstring."""

import pytest

import nn
import optimizers

TABLES = (nn.ACTIVATIONS, nn.LAYERS, nn.LOSSES, nn.INITIALIZERS, optimizers.OPTIMIZERS, optimizers.SCHEDULES)


@pytest.fixture(autouse=True)
def _original_tables():
    before = [dict(table) for table in TABLES]
    yield
    for table, entries in zip(TABLES, before):
        if table != entries:
            table.clear()
            table.update(entries)
