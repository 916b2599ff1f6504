"""The bytes of ONNX files: what is refused before a file is parsed, and the arrays in it."""

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nn.files import check_regular

MAX_BYTES = (1 << 31) - 1  # of a file, which protobuf cannot exceed
MAX_OTHER = 1 << 22  # bytes of a file besides its arrays; parsed, they need up to 100 times as much memory
FIELD = 32  # bytes as which a shorter field counts
DTYPES = {1: "<f4", 7: "<i8", 11: "<f8"}  # by ONNX's numbers
PARTS = {("model", 7): "graph", ("graph", 5): "tensor"}  # the numbers of fields whose content is a message of interest
NUMBERS = (4, 9, 10)  # the fields of a tensor that hold its numbers, as compactly as in memory


def parse(onnx: Any, path: Path) -> Any:
    """Return the content of an ONNX file.

    Parameters
    ----------
    onnx : module
        The library.
    path : Path
        The file.

    Returns
    -------
    onnx.ModelProto
        The content.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not such a file, or too large.
    """
    from google.protobuf.message import DecodeError

    check_regular(path)
    with path.open("rb") as file:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ValueError(f"it has {size:,} bytes, and an ONNX file at most {MAX_BYTES:,}")
        check_size(file, size)
        file.seek(0)
        model = onnx.ModelProto()
        try:
            model.ParseFromString(file.read(size))
        except DecodeError:
            raise ValueError("it is not an ONNX file, or is damaged") from None
        return model


def check_size(file: BinaryIO, stop: int, message: str = "model") -> int:
    """Return how many bytes of a message are not numbers of arrays. Raises ValueError if they are more than MAX_OTHER.

    A message that takes two bytes in a file takes a hundred in memory, so this is found out before it is parsed.
    """
    other = 0
    while (start := file.tell()) < stop:
        tag = _varint(file)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            _varint(file)
        length = _varint(file) if kind == 2 else {0: 0, 1: 8, 5: 4}.get(kind, stop)
        content = file.tell()
        if number == 0 or content + length > stop:
            raise ValueError("it is not an ONNX file, or is not complete")
        is_part = kind == 2 and (message, number) in PARTS
        is_array = kind == 2 and message == "tensor" and number in NUMBERS
        other += max(FIELD, content - start if is_part or is_array else content - start + length)
        if is_part:
            other += check_size(file, content + length, PARTS[message, number])
        if other > MAX_OTHER:
            raise ValueError(f"it has more than {MAX_OTHER:,} bytes besides its arrays")
        file.seek(content + length)
    return other


def _varint(file: BinaryIO) -> int:
    """Return the next number of a file in the encoding of protobuf: seven bits in a byte, the lowest first."""
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            break
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
    raise ValueError("it is not an ONNX file, or is not complete")


def to_array(tensor: Any) -> np.ndarray:
    """Return the numbers of a tensor.

    Parameters
    ----------
    tensor : onnx.TensorProto
        The tensor.

    Returns
    -------
    ndarray
        A read-only array of float32, float64 or int64.

    Raises
    ------
    ValueError
        If it has another type, or is not in the file, or does not have as many numbers as its shape.
    """
    if tensor.data_location or tensor.external_data:
        raise ValueError(f"its array {tensor.name!r} is in another file, which is not read: write one file, such as by "
                         "torch.onnx.export(..., external_data=False)")
    if tensor.data_type not in DTYPES:
        raise ValueError(f"its array {tensor.name!r} has the data type {tensor.data_type} of ONNX, and only float32, "
                         "float64 and int64 are read")
    dtype = np.dtype(DTYPES[tensor.data_type])
    values = {1: tensor.float_data, 7: tensor.int64_data, 11: tensor.double_data}[tensor.data_type]
    array = np.fromiter(values, dtype, len(values)) if len(values) else np.frombuffer(tensor.raw_data, dtype)
    if min(tensor.dims, default=0) < 0:
        raise ValueError(f"its array {tensor.name!r} has the shape {list(tensor.dims)}")
    return array.reshape(tuple(tensor.dims)).astype(dtype.newbyteorder("="), copy=False)
