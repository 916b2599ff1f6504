"""Read IDX files, the format of MNIST: a header with the data type and the shape, then the numbers, often gzipped."""

import gzip
import io
import math
import os
import struct
import sys
import zlib

import numpy as np

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: "i2", 0x0C: "i4", 0x0D: "f4", 0x0E: "f8"}
MAX_DIMENSIONS = 32  # every version of NumPy supports this many
MAX_COMPRESSION_RATIO = 100  # of a gzip file that is read: MNIST has 5, a file made to fill the memory 1,000
MAX_GZIP_HEADER = 1 << 16  # bytes; the header may hold a name and a comment, which end with a zero
CHUNK_SIZE = 1 << 20  # bytes per read; gzip copies each chunk to its own buffer, so chunks are small


class DataError(Exception):
    """Raised if data are missing, damaged or not available.

    The message is one line. It says what was expected, what was found and, if the user can fix it, what to do.

    Examples
    --------
    >>> from datasets import DataError, load
    >>> try:
    ...     load("imagenet")
    ... except DataError as error:
    ...     print(error)
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
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if file.peek(2)[:2] != b"\x1f\x8b":
                return _read_array(file, path, size)
            _check_gzip_header(file, path)
            with gzip.GzipFile(fileobj=file) as decompressed:
                return _read_array(decompressed, path, size, _stated_size(file, size))
    except (OSError, EOFError, zlib.error) as error:
        found = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: expected a complete IDX file, found: {found}") from None
    except MemoryError:
        raise DataError(f"{path}: expected an IDX file that fits in memory, found a larger one") from None


def _check_gzip_header(file: io.BufferedReader, path: str | os.PathLike[str]) -> None:
    """Raise DataError if the header is longer than `MAX_GZIP_HEADER`: gzip would read it byte by byte."""
    head = file.read(MAX_GZIP_HEADER)
    file.seek(0)
    flags, end = head[3] if len(head) > 3 else 0, 10
    if flags & 4:  # an extra field, after its length
        end += 2 + int.from_bytes(head[10:12], "little")
    for flag in (8, 16):  # a name and a comment
        if flags & flag:
            end = head.find(b"\0", end) + 1
            if not end:
                raise DataError(f"{path}: expected a gzip header of at most {MAX_GZIP_HEADER:,} bytes, found a longer "
                                "one")


def _stated_size(file: io.BufferedReader, size: int) -> int:
    """Return the decompressed size modulo 2**32 that the last four bytes of a gzip file state."""
    file.seek(max(size - 4, 0))
    stated = int.from_bytes(file.read(4), "little")
    file.seek(0)
    return stated


def _read_array(
    file: io.BufferedIOBase, path: str | os.PathLike[str], size: int, stated_size: int | None = None
) -> np.ndarray:
    """Read an IDX file of `size` bytes on disk; `stated_size` is None if the file is not gzipped."""
    shape, dtype = _read_header(file, path)
    total = 4 + 4 * len(shape) + math.prod(shape) * dtype.itemsize
    expected = f"{path}: expected {total:,} bytes for {_format_shape(shape)} of {dtype}"
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
        count = file.readinto(buffer[done : done + CHUNK_SIZE])
        if not count:
            raise DataError(f"{expected}, found {total - len(buffer) + done:,}")
        done += count
    if file.read(1):  # at the end of a gzip file, this read also verifies the checksum
        raise DataError(f"{expected}, found more")
    if sys.byteorder == "little":
        array.byteswap(inplace=True)
    return array


def _read_header(file: io.BufferedIOBase, path: str | os.PathLike[str]) -> tuple[tuple[int, ...], np.dtype]:
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
        raise DataError(f"{path}: expected dimensions of at least 1, found {_format_shape(shape)}")
    return shape, np.dtype(TYPES[code])


def _format_shape(shape: tuple[int, ...]) -> str:
    """Format a shape as in "3 x 4 x 5"."""
    return " x ".join(map(str, shape))
