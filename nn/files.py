"""Writing a file completely or not at all."""

from collections.abc import Callable
import os
from pathlib import Path
import tempfile
from typing import BinaryIO


def write_atomically(path: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> Path:
    """Write a file completely or not at all.

    `write` fills a temporary file in the same folder, which then replaces the file. After an error or an interrupt, the
    file is as it was before.

    Parameters
    ----------
    path : str or path-like
        The file, in a folder that exists.
    write : callable
        Gets the temporary file, open for writing bytes.

    Returns
    -------
    Path
        The path.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file in it")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent}: make it first")
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
