"""Looking a thing up by its name."""

from collections.abc import Mapping
from typing import Any


def choose(kind: str, name: Any, table: Mapping[str, Any]) -> Any:
    """The entry `name` of `table`; otherwise a ValueError that lists the choices."""
    if not isinstance(name, str) or name not in table:
        raise ValueError(f"unknown {kind} {name!r}: choose from {', '.join(table)}")
    return table[name]
