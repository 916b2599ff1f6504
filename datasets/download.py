"""Download one file of known sha256. The file at its destination is either complete and verified, or unchanged."""

from collections.abc import Iterator
import contextlib
import hashlib
import logging
import os
from pathlib import Path
import tempfile
import threading
import time
from typing import TYPE_CHECKING

from datasets.idx import DataError

if TYPE_CHECKING:
    import requests
    from tqdm import tqdm


class DownloadError(Exception):
    """Raised if a download from one URL fails. The message says why in a few words."""


def sha256_of(path: Path) -> str | None:
    """Compute the sha256 of a file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    str or None
        The sha256 in hexadecimal, or None if there is no such file.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path}: expected a readable file, found: {error.strerror}") from None


def download(url: str, path: Path, sha256: str, size: int, timeout: float) -> None:
    """Download a file, verify it and move it to `path`.

    Parameters
    ----------
    url : str
        The URL of the file.
    path : Path
        The destination. Its folder is created if it does not exist.
    sha256 : str
        The expected sha256 in hexadecimal.
    size : int
        The expected size in bytes, for the progress bar. The bar is shown only if stderr is a terminal.
    timeout : float
        The download is stopped after this many seconds without new data. The total time is not limited.

    Raises
    ------
    DownloadError
        If the URL does not deliver the file.
    DataError
        If the folder cannot be created, or the folder or the file cannot be written.

    Notes
    -----
    The file is downloaded into a temporary folder beside `path`. After its sha256 was verified, it replaces `path` in
    one step. If an error is raised, `path` is unchanged.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(prefix=".download-", dir=path.parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise DataError(f"{path.parent}: expected a folder to download into, found: {error.strerror}") from None
    with temporary:
        downloaded = Path(temporary.name, path.name)
        _download_in_thread(url, downloaded, sha256, size, timeout)
        try:
            downloaded.chmod(0o644)  # pooch lets only the owner read its files, but users may share the folder
            os.replace(downloaded, path)
        except OSError as error:
            raise DataError(f"{path}: expected a file that can be replaced, found: {error.strerror}") from None


def _download_in_thread(url: str, path: Path, sha256: str, size: int, timeout: float) -> None:
    """Download a file to `path` in a thread that is abandoned if no data arrives."""
    import pooch  # slow to import
    from tqdm import tqdm

    errors: list[Exception] = []

    def run() -> None:
        try:
            _retrieve(url, path, sha256, timeout, bar)
        except Exception as error:
            errors.append(error)

    with (
        _warnings_only(pooch.get_logger()),
        tqdm(total=size, desc=path.name, unit="B", unit_scale=True, leave=False, disable=None) as bar,
    ):
        # The timeout of a request does not cover the DNS lookup, which can block for a minute. A lookup cannot be
        # interrupted, but its thread can be abandoned.
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        _wait(thread, path.parent, timeout)
    if errors:
        raise DownloadError(_reason(errors[0], timeout))


def _retrieve(url: str, path: Path, sha256: str, timeout: float, bar: "tqdm") -> None:
    """Download a file to `path` with pooch, and close the connection in every case."""
    import pooch

    with contextlib.ExitStack() as stack:

        def close_at_end(response: "requests.Response", **_: object) -> None:
            stack.callback(response.close)  # after an error, pooch leaves the connection open

        downloader = pooch.HTTPDownloader(
            bar,
            timeout=timeout,
            # Some servers compress .gz files again, which changes the sha256: ask for the file as it is.
            headers={"Accept-Encoding": "identity"},
            hooks={"response": close_at_end},
        )
        pooch.retrieve(url, sha256, path.name, path.parent, downloader=downloader)


def _wait(thread: threading.Thread, folder: Path, timeout: float) -> None:
    """Wait for a thread; raise DownloadError if the files in `folder` do not grow for `timeout` seconds."""
    size, last_change = 0, time.monotonic()
    while thread.is_alive():
        thread.join(timeout=0.05)
        previous_size = size
        with contextlib.suppress(FileNotFoundError):  # pooch may rename its file at the same time
            size = sum(file.stat().st_size for file in folder.iterdir())
        if size != previous_size:
            last_change = time.monotonic()
        elif thread.is_alive() and time.monotonic() - last_change > timeout:
            raise DownloadError(_timeout_message(timeout))


def _reason(error: BaseException, timeout: float) -> str:
    """Describe an error in a few words; the messages of requests are long and nested."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP {response.status_code}"
    if isinstance(error, ValueError) and not isinstance(error, OSError):  # pooch raises this for a wrong sha256
        return "wrong sha256"
    while cause := error.__cause__ or error.__context__:
        error = cause
    if isinstance(error, TimeoutError):
        return _timeout_message(timeout)
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:100]


def _timeout_message(timeout: float) -> str:
    """Describe a timeout in a few words."""
    return f"no data for {timeout:g} s"


@contextlib.contextmanager
def _warnings_only(logger: logging.Logger) -> Iterator[None]:
    """Let a logger pass only warnings and errors inside the block."""
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
