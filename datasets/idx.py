"""Read IDX, the format of MNIST: a few bytes that say type and shape, then the numbers, often with gzip around it."""

import gzip
import io
import math
import os
import struct
import sys
import zlib

import numpy as np

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: "i2", 0x0C: "i4", 0x0D: "f4", 0x0E: "f8"}
MAX_DIMENSIONS = 32  # what every NumPy can hold
MAX_EXPANSION = 1032  # deflate cannot unpack a byte to more than this many
CHUNK = 1 << 20  # bytes read at a time: gzip reads into a buffer of its own first, which this keeps small


class DataError(Exception):
    """Data that cannot be had or cannot be trusted; the message is one line that says what to do about it."""


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """
    Read an IDX file, gzipped or plain (its first bytes tell, not its name), into an array in native byte order.

    The size that the header claims is held against the size of the file before any memory is taken, so that a
    damaged or hostile file costs nothing. Raises DataError, naming path, what was expected and what was found, if
    anything is wrong with the file.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if file.peek(2)[:2] != b"\x1f\x8b":
                return _read(file, path, size)
            with gzip.GzipFile(fileobj=file) as unpacked:
                return _read(unpacked, path, size, _trailer(file, size))
    except (OSError, EOFError, zlib.error) as error:
        found = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: expected a whole IDX file, found: {found}") from None
    except MemoryError:
        raise DataError(f"{path}: expected an IDX file that fits in memory, found a larger one") from None


def _trailer(file: io.BufferedReader, size: int) -> int:
    """The length of the unpacked content modulo 2**32, which gzip writes into the last four bytes."""
    file.seek(max(size - 4, 0))
    length = int.from_bytes(file.read(4), "little")
    file.seek(0)
    return length


def _read(file: io.BufferedIOBase, path: str | os.PathLike[str], size: int, trailer: int | None = None) -> np.ndarray:
    """Read an IDX file of `size` bytes on disk; if that is gzipped, `trailer` is the length it claims to unpack to."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        found = f"{magic!r}" if magic else "an empty file"
        raise DataError(f"{path}: expected an IDX file, which begins with two zero bytes, found {found}")
    code, ndim = magic[2:]
    if code not in TYPES:
        known = ", ".join(f"0x{known:02x}" for known in TYPES)
        raise DataError(f"{path}: expected an IDX type among {known}, found 0x{code:02x}")
    if not 1 <= ndim <= MAX_DIMENSIONS:
        raise DataError(f"{path}: expected 1 to {MAX_DIMENSIONS} dimensions, found {ndim}")
    header = file.read(4 * ndim)
    if len(header) < 4 * ndim:
        raise DataError(f"{path}: expected {ndim} dimensions of 4 bytes each, found {len(header)} bytes")
    shape = struct.unpack(f">{ndim}I", header)
    if 0 in shape:
        raise DataError(f"{path}: expected dimensions of at least 1, found {_times(shape)}")

    dtype = np.dtype(TYPES[code])
    total = 4 + 4 * ndim + math.prod(shape) * dtype.itemsize
    expected = f"{path}: expected {total:,} bytes for {_times(shape)} of {dtype}"
    if trailer is None and total != size:
        raise DataError(f"{expected}, found {size:,}")
    if trailer is not None and total > size * MAX_EXPANSION:
        raise DataError(f"{expected}, found a gzip file of {size:,} bytes, which cannot hold as many")
    if trailer is not None and total % 2**32 != trailer:
        raise DataError(f"{expected}, found a gzip file that ends by claiming {trailer:,}: cut short or damaged")

    array = np.empty(shape, dtype)
    buffer = array.reshape(-1).view(np.uint8).data
    done = 0
    while done < len(buffer):
        count = file.readinto(buffer[done : done + CHUNK])
        if not count:
            raise DataError(f"{expected}, found {total - len(buffer) + done:,}")
        done += count
    if file.read(1):  # at the end of a gzip file this also compares its checksum
        raise DataError(f"{expected}, found more")
    if sys.byteorder == "little":
        array.byteswap(inplace=True)
    return array


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
