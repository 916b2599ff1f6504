"""Bring one file of known sha256 from one address to its place, whole or not at all, however its host misbehaves."""

from collections.abc import Iterator
import contextlib
import hashlib
import logging
import os
from pathlib import Path
import tempfile
import threading
import time
from typing import Any

from datasets.idx import DataError


class DownloadError(Exception):
    """Why one address did not give its file, in a few words."""


def sha256_of(path: Path) -> str | None:
    """The sha256 of a file in hexadecimal, None if there is no such file; DataError if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path}: expected a readable file, found: {error.strerror}") from None


def download(url: str, path: Path, sha256: str, size: int, patience: float) -> None:
    """
    Fetch `url` into a scratch folder beside `path`, and move it to `path` once its sha256 is right.

    It may take as long as it needs while bytes arrive, but is given up after `patience` seconds without any. `size`
    in bytes is for the progress bar, shown if stderr is a terminal. Raises DownloadError if the address does not give
    the file, and DataError if the folder of `path` cannot be made or written to; `path` is then as it was.
    """
    import pooch  # slow to import, and needed only here
    from tqdm import tqdm

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=".download-", dir=path.parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise DataError(f"{path.parent}: expected a folder to download into, found: {error.strerror}") from None

    errors: list[Exception] = []

    def retrieve(progress: tqdm) -> None:
        responses: list[Any] = []
        fetcher = pooch.HTTPDownloader(
            progress,
            timeout=patience,
            # A host that packs the file once more, as some do with .gz, would change its sha256: ask for it as it is.
            headers={"Accept-Encoding": "identity"},
            hooks={"response": lambda response, **_: responses.append(response)},
        )
        try:
            pooch.retrieve(url, sha256, path.name, scratch.name, downloader=fetcher)
        except Exception as error:
            errors.append(error)
        finally:
            for response in responses:  # pooch leaves the connection open after an error
                response.close()

    bar = tqdm(total=size, desc=path.name, unit="B", unit_scale=True, leave=False, disable=None)
    with scratch, _quiet(pooch.get_logger()), bar as progress:
        # The timeout of a request does not bound the search for its host's address, which can hang for a minute:
        # only a thread can be walked away from.
        thread = threading.Thread(target=retrieve, args=(progress,), daemon=True)
        thread.start()
        _wait(thread, Path(scratch.name), patience)
        if errors:
            raise DownloadError(_reason(errors[0], patience))
        arrived = Path(scratch.name, path.name)
        try:
            arrived.chmod(0o644)  # pooch makes files that only their owner may read; others may share this folder
            os.replace(arrived, path)
        except OSError as error:
            raise DataError(f"{path}: expected a file that can be replaced, found: {error.strerror}") from None


def _wait(thread: threading.Thread, scratch: Path, patience: float) -> None:
    """Wait for the end of a thread as long as the files in `scratch` grow; DownloadError after too long a silence."""
    size, heard = 0, time.monotonic()
    while thread.is_alive():
        thread.join(timeout=0.05)
        before = size
        with contextlib.suppress(FileNotFoundError):  # pooch may rename its file meanwhile
            size = sum(file.stat().st_size for file in scratch.iterdir())
        if size != before:
            heard = time.monotonic()
        elif thread.is_alive() and time.monotonic() - heard > patience:
            raise DownloadError(_silence(patience))


def _reason(error: BaseException, patience: float) -> str:
    """What went wrong, in a few words: requests wraps it in pages."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP {response.status_code}"
    if isinstance(error, ValueError) and not isinstance(error, OSError):  # what pooch says of a wrong sha256
        return "it sent another file, by its sha256"
    while cause := error.__cause__ or error.__context__:
        error = cause
    if isinstance(error, TimeoutError):
        return _silence(patience)
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(words).split())[:100]


def _silence(patience: float) -> str:
    return f"silent for {patience:g} s"


@contextlib.contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Only warnings from this logger, for as long as the block lasts."""
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
