"""Archives: a description and named arrays in one safetensors file, with a checksum of all its bytes; never pickle.

The description is JSON, in the entry "feedforward" of the file's metadata: the only entry, because safetensors writes
several in any order. Its first key, "sha256", holds the SHA-256 of the whole file with 64 zeros in place of that value.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
import csv
import hashlib
import json
import os
from pathlib import Path
import re
from typing import Any, BinaryIO, NoReturn

import numpy as np

from nn.files import check_regular, write_atomically

NO_CHECKSUM = b"0" * 64
CHECKSUM = re.compile(rb'"feedforward":"\{\\"sha256\\": \\"([0-9a-f]{64})\\"')  # in the header, which is JSON too
DTYPES = {"b": "", "i": "I", "u": "U", "f": "F"}  # letters of safetensors by those of NumPy
CHUNK = 1 << 20  # bytes
SPARE = 1 << 24  # bytes that must be free beside those of the arrays
MAX_HEADER = 1 << 26  # bytes, of which Python parses 16 million a second
MAX_REASON = 300  # characters of a reason in a message


class InvalidFile(ValueError):
    """Raised if a file is damaged, or is not what it should be.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from nn import InvalidFile, Model
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "model.safetensors"
    ...     size = path.write_bytes(b"something else")
    ...     try:
    ...         model = Model.load(path)
    ...     except InvalidFile as error:
    ...         print("not a model" in str(error))
    True
    """


@contextmanager
def one_line_errors(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Turn the errors that an invalid file causes into an InvalidFile of one line.

    Parameters
    ----------
    path : str or path-like
        The file, which the message names.
    what : str
        What the file should be, such as "a model".

    Raises
    ------
    InvalidFile
        Instead of the errors within the context, except OSError and MemoryError.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError,
            OverflowError, csv.Error) as error:
        reason = printable(str(error), MAX_REASON) or type(error).__name__
        raise InvalidFile(f"{path} is not {what} that can be loaded: {reason}") from None


def printable(text: str, length: int) -> str:
    """Return the first characters of a text from a file in one line, with ? for those that a terminal would obey.

    Parameters
    ----------
    text : str
        The text.
    length : int
        The number of characters.

    Returns
    -------
    str
        The text.
    """
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text[:length].split()))


def parse(text: str) -> Any:
    """Return the content of a JSON text. Raises ValueError if it is not JSON, or if a key occurs twice in an object.

    Parameters
    ----------
    text : str
        The text. Infinity and NaN are not JSON.

    Returns
    -------
    object
        A dict, list, text, number, bool or None.
    """
    return json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_refuse)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in pairs:
        if name in result:
            raise ValueError(f"the key {name!r} occurs twice")
        result[name] = value
    return result


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number in JSON")


def write(path: str | os.PathLike[str], description: Mapping[str, Any], arrays: Mapping[str, np.ndarray],
          keep: Path | None = None, max_header: int = MAX_HEADER) -> bytes:
    """Write an archive, completely or not at all.

    Parameters
    ----------
    path : str or path-like
        The file.
    description : mapping
        What JSON can hold, except infinity and NaN.
    arrays : mapping
        Arrays of numbers by name.
    keep : Path, optional
        Where to keep the file that is replaced.
    max_header : int
        As for `read`.

    Returns
    -------
    bytes
        The checksum, as `stated_checksum` returns it.

    Raises
    ------
    TypeError, ValueError
        If JSON cannot hold the description. Then nothing is written.
    OSError
        If the file cannot be written.
    """
    head = header(description, arrays, max_header)
    match = CHECKSUM.search(head)
    assert match is not None  # header has put it there
    start, stop = match.span(1)
    parts = [np.ascontiguousarray(arrays[name]).reshape(-1).data for name in _order(arrays)]
    digest = hashlib.sha256(head)
    for part in parts:
        digest.update(part)
    checksum = digest.hexdigest().encode()

    def fill(file: BinaryIO) -> None:
        file.write(head[:start] + checksum + head[stop:])
        for part in parts:
            file.write(part)

    write_atomically(path, fill, keep)
    return checksum


def header(description: Mapping[str, Any], arrays: Mapping[str, np.ndarray], max_header: int = MAX_HEADER) -> bytes:
    """Return the bytes of an archive up to its arrays, with zeros in place of the checksum.

    Parameters
    ----------
    description : mapping
        What JSON can hold, except infinity and NaN.
    arrays : mapping
        Arrays of numbers by name.
    max_header : int
        As for `read`.

    Returns
    -------
    bytes
        The length of the header, and the header.

    Raises
    ------
    TypeError, ValueError
        If JSON or safetensors cannot hold them.

    Notes
    -----
    The writer of safetensors needs memory for two copies of all arrays, and ends the process if there is not enough.
    So arrays are written as they are, after a header of its format. Files are read by safetensors.
    """
    text = json.dumps({"sha256": NO_CHECKSUM.decode(), **description}, allow_nan=False)
    entries: dict[str, Any] = {"__metadata__": {"feedforward": text}}
    end = 0
    for name in _order(arrays):
        array, start = arrays[name], end
        if array.dtype.kind not in DTYPES or array.dtype.byteorder == ">" or array.itemsize > 8:
            raise ValueError(f"an array of dtype {array.dtype.str} cannot be written")
        dtype = "BOOL" if array.dtype == bool else f"{DTYPES[array.dtype.kind]}{8 * array.itemsize}"
        end += array.nbytes
        entries[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": [start, end]}
    content = json.dumps(entries, separators=(",", ":")).encode()
    content += b" " * (-len(content) % 8)
    if len(content) > max_header:
        raise ValueError(f"the description has {len(content):,} bytes, and at most {max_header:,} can be read again")
    return len(content).to_bytes(8, "little") + content


def _order(arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Return the names of arrays in the order of the file: the widest numbers first, so that all are aligned."""
    return sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))


def read(path: str | os.PathLike[str],
         max_header: int = MAX_HEADER) -> tuple[dict[str, Any], dict[str, np.ndarray], bool]:
    """Return the description and the arrays of an archive. Call it within `one_line_errors`.

    Nothing in the file is executed, and no memory is allocated for arrays that the file does not hold.

    Parameters
    ----------
    path : str or path-like
        The file.
    max_header : int
        The largest size of a header in bytes.

    Returns
    -------
    description : dict
        The description.
    arrays : dict
        The arrays by name.
    has_checksum : bool
        Whether the file has a checksum, which was right. Files of earlier versions have none.

    Raises
    ------
    OSError
        If the file cannot be read.
    MemoryError
        If there is not enough memory for the arrays.
    ValueError
        If it is not such a file, or is damaged. Other errors are possible, which `one_line_errors` turns into an
        InvalidFile.
    """
    from safetensors import safe_open

    path = Path(path)
    check_regular(path)
    with path.open("rb") as file:  # raises an OSError that names the path; safetensors' own does not
        head = _read_header(file, max_header)
        with safe_open(path, "numpy") as tensors:  # raises an error if the file is larger than its arrays
            has_checksum = _check(head, file)
            metadata = tensors.metadata() or {}
            if "feedforward" not in metadata:
                raise ValueError("it holds tensors, but no description of feedforward")
            description = parse(metadata["feedforward"])
            if not isinstance(description, dict):
                raise ValueError("its description is not a JSON object")
            description.pop("sha256", None)
            names = tensors.keys()
            np.empty(path.stat().st_size + SPARE, np.uint8)  # raises MemoryError; the library would panic
            return description, {name: tensors.get_tensor(name) for name in names}, has_checksum


def check_format(found: object, readable: Sequence[int]) -> None:
    """Raise ValueError if a file has a format that this version does not read."""
    if found not in readable:
        *first, last = map(str, readable)
        raise ValueError(f"its format is {found!r}, and this version reads {', '.join(first)}{' and ' if first else ''}"
                         f"{last}: use a newer version of feedforward")


def stated_checksum(path: Path) -> bytes | None:
    """Return the checksum that a file states; None if there is no such file, or it states none."""
    try:
        check_regular(path)
        with path.open("rb") as file:
            match = CHECKSUM.search(_read_header(file, MAX_HEADER))
    except (OSError, ValueError):
        return None
    return match[1] if match else None


def _read_header(file: BinaryIO, max_header: int) -> bytes:
    """Return the header and its length, the first 8 bytes. Raises ValueError if it is too long, or not complete."""
    first = file.read(8)
    length = int.from_bytes(first, "little")
    if length > max_header:
        raise ValueError(f"its header has {length:,} bytes, and at most {max_header:,} are read")
    header = first + file.read(length)
    if len(header) < 8 + length:
        raise ValueError("its header is not complete")
    return header


def _check(header: bytes, file: BinaryIO) -> bool:
    """Return whether a file, whose header has been read, has a checksum. Raises ValueError if it is wrong."""
    match = CHECKSUM.search(header)
    if match is None:
        return False
    start, stop = match.span(1)
    digest = hashlib.sha256(header[:start])
    digest.update(NO_CHECKSUM)
    digest.update(header[stop:])
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    if digest.hexdigest().encode() != match[1]:
        raise ValueError("it is damaged: its checksum is not that of its content")
    return True
