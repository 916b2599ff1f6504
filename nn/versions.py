"""The versions of installed packages."""

from functools import cache
from importlib import metadata


@cache  # a search in folders, which a run needs several times
def version(package: str) -> str | None:
    """Return the version of an installed package; None if it is not installed, but perhaps used from a folder."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
