"""Read IDX files, the format of MNIST: a header with the data type and the shape, then the numbers, often gzipped."""

import errno
import io
import math
import os
import stat
import struct
import sys
from typing import Protocol
import zlib

import numpy as np

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: "i2", 0x0C: "i4", 0x0D: "f4", 0x0E: "f8"}
MAX_DIMENSIONS = 32  # every version of NumPy supports this many
MAX_COMPRESSION_RATIO = 100  # of a gzip file that is read: MNIST has 5, a file made to fill the memory 1,000
CHUNK_SIZE = 1 << 18  # bytes per read


class Readable(Protocol):
    """The part of a file that is used."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes: `size`, or fewer at the end."""


class DataError(Exception):
    """Raised if data are missing, damaged or not available.

    The message is one line. It says what was expected, what was found and, if the user can fix it, what to do.

    Examples
    --------
    >>> from datasets import DataError, load
    >>> try:
    ...     load("imagenet")
    ... except DataError as error:
    ...     print(str(error)[:73])
    no dataset is called 'imagenet': choose from mnist, fashion-mnist, digits
    """


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Read an IDX file, gzipped or not, into an array.

    Parameters
    ----------
    path : str or path-like
        The file. Its first bytes decide whether it is read as gzip; its name does not matter.

    Returns
    -------
    np.ndarray
        A new C-contiguous array in native byte order, with the shape and the data type in the header: uint8, int8,
        int16, int32, float32 or float64, with 1 to 32 dimensions of at least 1.

    Raises
    ------
    DataError
        If the file cannot be read, is truncated, damaged or longer than its header says, or does not fit in memory.

    Notes
    -----
    The size in the header is compared with the size of the file before the array is allocated. A damaged
    or malicious file therefore cannot exhaust the memory.

    References
    ----------
    Y. LeCun, C. Cortes, C. J. C. Burges, *The MNIST database of handwritten digits*, 1998, describes the format.

    Examples
    --------
    >>> from pathlib import Path
    >>> import tempfile
    >>> from datasets import read_idx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "labels-idx1-ubyte")
    ...     header = bytes([0, 0, 0x08, 1, 0, 0, 0, 3])  # two zeros, uint8, one dimension, of length 3
    ...     _ = path.write_bytes(header + bytes([7, 2, 1]))
    ...     read_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if file.peek(2)[:2] != b"\x1f\x8b":
                return _read_array(file, path, size)
            stated_size = _stated_size(file, size)
            return _read_array(Gunzip(file), path, size, stated_size)
    except (OSError, EOFError, zlib.error) as error:
        found = str(getattr(error, "strerror", None) or error).removeprefix("Error -3 while decompressing data: ")
        raise DataError(f"{path}: expected a complete IDX file, found: {found}") from None
    except MemoryError:
        raise DataError(f"{path}: expected an IDX file that fits in memory, found a larger one") from None


def open_regular(path: str | os.PathLike[str]) -> io.BufferedReader:
    """Open a file for reading bytes. Raises OSError also for what is no regular file: reading a pipe may never end."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # open raises an OSError for a folder
        raise OSError(errno.EINVAL, "no regular file", str(path))
    return open(path, "rb")


class Gunzip:
    """Reads the content of a gzip file of one member. Unlike gzip.GzipFile, it does nothing byte by byte in Python.

    Parameters
    ----------
    file : binary file
        The gzip file, at its start.
    """

    def __init__(self, file: io.BufferedReader) -> None:
        self._file, self._stream = file, zlib.decompressobj(wbits=31)

    def read(self, size: int) -> bytes:
        """Return the next bytes of the content: `size`, or fewer at its end, where the checksum is verified."""
        content = b""
        while len(content) < size and not self._stream.eof:
            compressed = self._stream.unconsumed_tail or self._file.read(CHUNK_SIZE)
            if not compressed:
                raise EOFError("the file ended before the end of the compressed data")
            content += self._stream.decompress(compressed, size - len(content))
        if self._stream.eof and (self._stream.unused_data or self._file.peek(1)):
            raise EOFError("bytes after the end of the compressed data")
        return content


def _stated_size(file: io.BufferedReader, size: int) -> int:
    """Return the decompressed size modulo 2**32 that the last four bytes of a gzip file state."""
    file.seek(max(size - 4, 0))
    stated = int.from_bytes(file.read(4), "little")
    file.seek(0)
    return stated


def _read_array(
    file: Readable, path: str | os.PathLike[str], size: int, stated_size: int | None = None
) -> np.ndarray:
    """Read an IDX file of `size` bytes on disk; `stated_size` is None if the file is not gzipped."""
    shape, dtype = read_header(file, path)
    total = 4 + 4 * len(shape) + math.prod(shape) * dtype.itemsize
    expected = f"{path}: expected {total:,} bytes for {format_shape(shape)} of {dtype}"
    if stated_size is None and total != size:
        raise DataError(f"{expected}, found {size:,}")
    if stated_size is not None and total > size * MAX_COMPRESSION_RATIO:
        raise DataError(f"{expected}, found a gzip file of {size:,} bytes, which is too small to contain them: if "
                        "they are what you want, decompress it first")
    if stated_size is not None and total % 2**32 != stated_size:
        raise DataError(f"{expected}, found a truncated or damaged gzip file, which states {stated_size:,} bytes")

    array = np.empty(shape, dtype)
    buffer = array.reshape(-1).view(np.uint8).data
    done = 0
    while done < len(buffer):
        content = file.read(min(CHUNK_SIZE, len(buffer) - done))
        if not content:
            raise DataError(f"{expected}, found {total - len(buffer) + done:,}")
        buffer[done : done + len(content)] = content
        done += len(content)
    if file.read(1):  # at the end of a gzip file, this read also verifies the checksum
        raise DataError(f"{expected}, found more")
    if sys.byteorder == "little":
        array.byteswap(inplace=True)
    return array


def read_header(file: Readable, path: str | os.PathLike[str]) -> tuple[tuple[int, ...], np.dtype]:
    """Read the shape and the data type from the start of an IDX file."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        found = f"{magic!r}" if magic else "an empty file"
        raise DataError(f"{path}: expected an IDX file, which starts with two zero bytes, found {found}")
    code, ndim = magic[2:]
    if code not in TYPES:
        known = ", ".join(f"0x{known:02x}" for known in TYPES)
        raise DataError(f"{path}: expected an IDX type among {known}, found 0x{code:02x}")
    if not 1 <= ndim <= MAX_DIMENSIONS:
        raise DataError(f"{path}: expected 1 to {MAX_DIMENSIONS} dimensions, found {ndim}")
    sizes = file.read(4 * ndim)
    if len(sizes) < 4 * ndim:
        raise DataError(f"{path}: expected {ndim} dimensions of 4 bytes each, found {len(sizes)} bytes")
    shape = struct.unpack(f">{ndim}I", sizes)
    if 0 in shape:
        raise DataError(f"{path}: expected dimensions of at least 1, found {format_shape(shape)}")
    return shape, np.dtype(TYPES[code])


def format_shape(shape: tuple[int, ...]) -> str:
    """Format a shape as in "3 x 4 x 5"."""
    return " x ".join(map(str, shape))
