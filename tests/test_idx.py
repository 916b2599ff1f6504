"""Valid IDX files are read. Invalid ones raise DataError with a one-line message and allocate almost no memory."""

import contextlib
import gzip
import os
from pathlib import Path
import random
import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest

from datasets import DataError, read_idx
from datasets.idx import TYPES


def idx(array: np.ndarray) -> bytes:
    """Return the array as an IDX file."""
    code = {kind: code for code, kind in TYPES.items()}[array.dtype.str[1:]]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


IMAGES = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
PLAIN = idx(IMAGES)
GZIPPED = gzip.compress(PLAIN, mtime=0)
HUGE = b"\0\0\x08\x02" + b"\x80\0\0\0" * 2  # a header for 2**31 x 2**31 bytes
LARGE = b"\0\0\x08\x01\xff\xff\xff\xff"  # a header for 4 GB


def with_stated_size(content: bytes, size: int) -> bytes:
    """Compress content with gzip, and state `size` as its decompressed size in the trailer."""
    return gzip.compress(content)[:-4] + struct.pack("<I", size % 2**32)


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize("kind", TYPES.values())
@pytest.mark.parametrize("shape", [(7,), (1,), (3, 4), (2, 3, 4, 5)])
def test_round_trip(tmp_path: Path, kind: str, shape: tuple[int, ...], gzipped: bool) -> None:
    array = np.random.default_rng(0).uniform(0, 100, shape).astype(kind)
    path = tmp_path / "name.gz"  # the name does not matter
    path.write_bytes(gzip.compress(idx(array)) if gzipped else idx(array))
    result = read_idx(path)
    np.testing.assert_array_equal(result, array)
    assert result.dtype == np.dtype(kind)
    assert result.dtype.isnative
    assert result.flags.c_contiguous
    assert result.flags.writeable


FAULTS = {
    "empty": (b"", "found an empty file"),
    "web page": (b"<!DOCTYPE html><html>", r"starts with two zero bytes, found b'<!DO'"),
    "gzipped web page": (gzip.compress(b"<!DOCTYPE html><html>"), r"found b'<!DO'"),
    "gzipped empty file": (gzip.compress(b""), "found an empty file"),
    "wrong magic number": (b"\1" + PLAIN[1:], "starts with two zero bytes"),
    "short magic number": (PLAIN[:3], "starts with two zero bytes"),
    "unknown type": (b"\0\0\x0a\x03" + PLAIN[4:], "type among 0x08, .* found 0x0a"),
    "no dimensions": (b"\0\0\x08\x00" + PLAIN[4:], "expected 1 to 32 dimensions, found 0"),
    "too many dimensions": (b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"x", "dimensions, found 255"),
    "truncated dimensions": (PLAIN[:11], "expected 3 dimensions of 4 bytes each, found 7 bytes"),
    "zero dimension": (b"\0\0\x08\x02\0\0\0\0\xff\xff\xff\xff", "at least 1, found 0 x 4294967295"),
    "truncated": (PLAIN[:-1], "expected 76 bytes for 3 x 4 x 5 of uint8, found 75"),
    "trailing byte": (PLAIN + b"x", "expected 76 bytes .* found 77"),
    "huge": (HUGE, r"expected 4,611,686,018,427,387,916 bytes .* found 12"),
    "4 GB": (LARGE, "expected 4,294,967,303 bytes .* found 8"),
    "gzipped truncated": (gzip.compress(PLAIN[:-1]), "expected 76 bytes .* which states 75 bytes"),
    "gzipped truncated, wrong stated size": (with_stated_size(PLAIN[:-1], 76), "incorrect length check|found 75"),
    "gzipped trailing byte": (gzip.compress(PLAIN + b"x"), "expected 76 bytes .* which states 77 bytes"),
    "gzipped trailing byte, wrong stated size": (with_stated_size(PLAIN + b"x", 76), "found: incorrect length check"),
    "gzipped huge": (gzip.compress(HUGE), "which is too small to contain them"),
    "gzipped huge, wrong stated size": (with_stated_size(HUGE, 2**62 + 12), "which is too small to contain them"),
    "gzipped 4 GB": (gzip.compress(LARGE), "which is too small to contain them"),
    "gzipped 4 GB, wrong stated size": (
        with_stated_size(LARGE, 2**32 + 7),
        "found: incorrect length check|which is too small to contain them",
    ),
    "decompression bomb": (
        gzip.compress(PLAIN + bytes(50_000_000)),
        "expected 76 bytes .* which states 50,000,076 bytes",
    ),
    "decompression bomb, wrong stated size": (
        with_stated_size(PLAIN + bytes(50_000_000), 76),
        "expected 76 bytes .* found more",
    ),
    "truncated gzip": (GZIPPED[:-9], "truncated or damaged gzip file"),
    "gzip magic number only": (GZIPPED[:2], "ended before the end of the compressed data"),
    "gzip header only": (GZIPPED[:10], "ended before the end of the compressed data"),
    "bytes after gzip": (GZIPPED + b"trailing", "truncated or damaged gzip file"),
    "bytes after gzip, wrong stated size": (GZIPPED + GZIPPED[-4:], "bytes after the end of the compressed data"),
    "bad checksum": (GZIPPED[:-8] + b"\0\0\0\0" + GZIPPED[-4:], "incorrect data check"),
    "bad deflate": (GZIPPED[:10] + b"\xff\xff" + GZIPPED[12:], "invalid block type"),
    "unknown method": (b"\x1f\x8b\x07" + GZIPPED[3:], "unknown compression method"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_error_is_one_line_that_names_the_path(tmp_path: Path, fault: str) -> None:
    content, message = FAULTS[fault]
    path = tmp_path / "file"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=message) as caught:
            read_idx(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000, "no memory must be allocated for an invalid file"
    text = str(caught.value)
    assert text.startswith(f"{path}: expected ")
    assert "found" in text
    assert "\n" not in text
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing: expected a complete IDX file, found: No such file or directory"):
        read_idx(tmp_path / "missing")
    with pytest.raises(DataError, match="expected a complete IDX file, found: Is a directory"):
        read_idx(tmp_path)


def gzip_with_name(name_length: int) -> bytes:
    return GZIPPED[:3] + b"\x08" + GZIPPED[4:10] + b"a" * name_length + b"\0" + GZIPPED[10:]


@pytest.mark.parametrize(("content", "tail"), [
    (GZIPPED + GZIPPED, 0), (GZIPPED, 200_000_000), (GZIPPED + gzip.compress(b"") * 100_000, 0),
    (GZIPPED + gzip_with_name(20_000_000), 0), (gzip_with_name(50_000_000)[:-1], 0), (PLAIN, 3 << 30)])
def test_a_hostile_file_is_refused_within_a_second(tmp_path: Path, content: bytes, tail: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    os.truncate(path, len(content) + tail)  # zeros, which take no space
    with open(path, "r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(GZIPPED[-4:])  # the size that the reader compares
    started = time.process_time()
    with pytest.raises(DataError):
        read_idx(path)
    assert time.process_time() - started < 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="found: no regular file"):
        read_idx(tmp_path / "pipe")


def test_file_larger_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(*_: object) -> None:
        raise MemoryError

    (tmp_path / "file").write_bytes(PLAIN)
    monkeypatch.setattr(np, "empty", out_of_memory)
    with pytest.raises(DataError, match="expected an IDX file that fits in memory"):
        read_idx(tmp_path / "file")


def test_peak_memory_is_one_copy(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(0, 256, (100, 200, 200), dtype=np.uint8)
    path = tmp_path / "file"
    for content in (idx(array), gzip.compress(idx(array), compresslevel=1)):
        path.write_bytes(content)
        del content
        tracemalloc.start()
        try:
            result = read_idx(path)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        np.testing.assert_array_equal(result, array)
        assert peak < array.nbytes + 3_000_000


def test_random_damage_is_detected(tmp_path: Path) -> None:
    """A file with random truncation and flipped bits gives the right array or a DataError, nothing else."""
    rng = random.Random(0)
    path = tmp_path / "file"
    messages = []
    for _ in range(3000):
        content = bytearray(GZIPPED)
        if rng.random() < 0.3:
            del content[rng.randrange(len(content)) :]
        for _ in range(rng.randrange(4)):
            if content:
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.unlink(missing_ok=True)  # a new file: some file systems write one that is overwritten to the disk at once
        path.write_bytes(content)
        try:
            np.testing.assert_array_equal(read_idx(path), IMAGES)
        except DataError as error:
            messages.append(str(error))
    assert len(messages) > 1500
    assert all(message.startswith(str(path)) and "\n" not in message for message in messages)


def test_random_damage_with_a_valid_checksum(tmp_path: Path) -> None:
    """A damaged header inside an intact gzip file gives an array that is not too large or a DataError."""
    rng = random.Random(1)
    path = tmp_path / "file"
    for _ in range(1000):
        content = bytearray(PLAIN)
        for _ in range(rng.randrange(1, 4)):
            content[rng.randrange(16)] ^= 1 << rng.randrange(8)
        path.unlink(missing_ok=True)
        path.write_bytes(gzip.compress(content) if rng.random() < 0.5 else content)
        with contextlib.suppress(DataError):
            assert read_idx(path).nbytes <= 72


def test_gzip_checksum_is_the_crc32_of_the_content() -> None:
    assert struct.unpack("<I", GZIPPED[-8:-4])[0] == zlib.crc32(PLAIN)
