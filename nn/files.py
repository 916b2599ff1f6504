"""Writing a file completely or not at all."""

from collections.abc import Callable
from contextlib import suppress
import glob
import os
from pathlib import Path
import stat
import sys
import tempfile
import threading
import time
from typing import BinaryIO

if sys.platform != "win32":  # there, temporary files of a killed process are kept
    import fcntl

SUFFIX = ".feedforward.tmp"  # no file of a user has this name
_umask_lock = threading.Lock()
GRACE = 60  # seconds in which a new temporary file may not be locked yet


def write_atomically(path: str | os.PathLike[str], write: Callable[[BinaryIO], object],
                     keep: Path | None = None) -> Path:
    """Write a file completely or not at all.

    `write` fills a temporary file in the same folder, which then replaces the file. After an error, an interrupt, a
    kill or a loss of power, the file is as it was before or complete.

    Parameters
    ----------
    path : str or path-like
        The file, in a folder that exists.
    write : callable
        Gets the temporary file, open for writing bytes.
    keep : Path, optional
        Where to keep the file that is replaced, in the same folder. If the process is killed between the two renamings,
        only this one exists.

    Returns
    -------
    Path
        The path.

    Raises
    ------
    OSError
        If the file cannot be written. The message names it.
    """
    path = Path(path)
    if path.exists():
        check_regular(path)
    check_folder(path)
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(SUFFIX, f".{path.name}.", path.parent)
        with open(handle, "wb") as file:
            _lock(file)
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        if keep is not None and path.exists():
            os.replace(path, keep)
        os.replace(temporary, path)
        temporary = ""
    except OSError as error:
        raise type(error)(error.errno, f"{error.strerror or error}; it was not written", str(path)) from error
    finally:
        if temporary:
            with suppress(OSError):
                os.unlink(temporary)
    _sync_folder(path.parent)
    _remove_leftovers(path)
    return path


def check_folder(path: Path) -> None:
    """Raise FileNotFoundError unless the folder of this file exists."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent}: make it first")


def check_regular(path: Path) -> None:
    """Raise OSError unless this is a regular file: reading a pipe may never end. Its message names the path."""
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{path} is a folder: name a file in it")
    if not stat.S_ISREG(mode):
        raise OSError(f"{path} is a pipe or a device: name a file")


def _sync_folder(folder: Path) -> None:
    """Let the names of new files in a folder survive a loss of power, where the system can do that."""
    if os.name == "posix":
        with suppress(OSError):  # some file systems cannot
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def remove_all_leftovers(folder: Path) -> None:
    """Remove the temporary files of killed processes in a folder and those below, in which no other process writes."""
    for leftover in folder.rglob(f".*{SUFFIX}"):
        with suppress(OSError):
            leftover.unlink()


def _remove_leftovers(path: Path) -> None:
    """Remove the temporary files of processes that were killed while they wrote this file: nobody locks them."""
    if sys.platform == "win32":
        return
    for name in glob.glob(f".{glob.escape(path.name)}.*{SUFFIX}", root_dir=path.parent):
        leftover = path.parent / name
        with suppress(OSError), leftover.open("rb") as file:  # an OSError: its writer has locked it, or removed it
            if time.time() - os.fstat(file.fileno()).st_mtime > GRACE:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                leftover.unlink()


def _lock(file: BinaryIO) -> None:
    if sys.platform != "win32":
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _umask() -> int:
    with _umask_lock:  # the system can only return it by changing it
        mask = os.umask(0)
        os.umask(mask)
    return mask
