"""The bytes of ONNX files: what is refused before a file is parsed, and the arrays in it."""

from collections.abc import Callable, Sequence
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nn.files import check_regular

MAX_BYTES = (1 << 31) - 1  # of a file, which protobuf cannot exceed
MAX_OTHER = 1 << 22  # bytes of a file besides its arrays; parsed, they need up to 100 times as much memory
FIELD = 32  # bytes as which a shorter field counts
MAX_AXES = 32  # of an array
MAX_COMPUTED = 16  # numbers in an array that is computed, which can only be a shape
DTYPES = {1: "<f4", 7: "<i8", 9: "?", 11: "<f8"}  # by ONNX's numbers
PARTS = {("model", 7): "graph", ("graph", 5): "tensor"}  # the numbers of fields whose content is a message of interest
NUMBERS = (4, 9, 10)  # the fields of a tensor that hold its numbers, as compactly as in memory

Fields = dict[str, Any]  # the attributes of a node by name


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


class Folder:
    """The files beside a model, in which other programs store large arrays of it.

    Parameters
    ----------
    path : Path
        The file of the model.
    """

    def __init__(self, path: Path) -> None:
        self._folder = path.parent
        self._left: dict[str, int] = {}  # the bytes of each file that no array has taken

    def read(self, tensor: Any) -> bytes:
        """Return the bytes of a tensor. Raises ValueError unless they are in a file of this folder, for it alone."""
        entries = {entry.key: entry.value for entry in tensor.external_data}
        name, array = entries.get("location", ""), f"its array {tensor.name!r}"
        path = self._folder / name
        if os.path.basename(name) != name or os.path.islink(path) or not os.path.isfile(path):
            raise ValueError(f"{array} is in {name[:100]!r}, which is not a file beside it: write one file, such as by "
                             "torch.onnx.export(..., external_data=False)")
        size = path.stat().st_size
        start = int(entries.get("offset", 0))
        length = int(entries.get("length", size - start))
        if min(start, length) < 0 or start + length > size:
            raise ValueError(f"{array} is not completely in the file {name!r}")
        self._left[name] = self._left.get(name, size) - length
        if self._left[name] < 0:
            raise ValueError(f"{array} shares numbers of the file {name!r} with others")
        with path.open("rb") as file:
            file.seek(start)
            content: bytes = file.read(length)
            return content


def to_array(tensor: Any, folder: Folder | None = None) -> np.ndarray:
    """Return the numbers of a tensor.

    Parameters
    ----------
    tensor : onnx.TensorProto
        The tensor.
    folder : Folder, optional
        The files that may hold them.

    Returns
    -------
    ndarray
        A read-only array of float32, float64, int64 or bool.

    Raises
    ------
    ValueError
        If it has another type, is in another file than it may, or does not have as many numbers as its shape.
    """
    if tensor.data_type not in DTYPES:
        raise ValueError(f"its array {tensor.name!r} has the data type {tensor.data_type} of ONNX, and only float32, "
                         "float64, int64 and bool are read")
    dtype = np.dtype(DTYPES[tensor.data_type])
    values = {1: tensor.float_data, 7: tensor.int64_data, 9: tensor.int32_data, 11: tensor.double_data}[
        tensor.data_type]
    if tensor.data_location or tensor.external_data:
        if folder is None:
            raise ValueError(f"its array {tensor.name!r} must be in the file itself")
        array = np.frombuffer(folder.read(tensor), dtype)
    else:
        array = np.fromiter(values, dtype, len(values)) if len(values) else np.frombuffer(tensor.raw_data, dtype)
    if min(tensor.dims, default=0) < 0:
        raise ValueError(f"its array {tensor.name!r} has the shape {list(tensor.dims)}")
    return array.reshape(tuple(tensor.dims)).astype(dtype.newbyteorder("="), copy=False)


def fields_of(node: Any) -> Fields:
    """Return the attributes of a node by name."""
    read: dict[int, Callable[[Any], Any]] = {
        1: lambda field: field.f, 2: lambda field: field.i, 3: lambda field: field.s, 4: lambda field: field.t,
        6: lambda field: list(field.floats), 7: lambda field: list(field.ints)}
    for field in node.attribute:
        if field.type not in read or field.ref_attr_name:
            raise ValueError(f"its attribute {field.name!r} is of a kind that is not read")
    return {field.name: read[field.type](field) for field in node.attribute}


def computed(operator: str, inputs: Sequence[np.ndarray], fields: Fields) -> np.ndarray:
    """Return the array that an operator computes from arrays, which are weights or shapes."""
    if operator == "Constant" and len(fields) == 1:
        key, value = fields.popitem()
        return to_array(value) if key == "value" else np.array(value)
    if operator == "Identity":
        return inputs[0]
    if operator == "Transpose":
        return np.transpose(inputs[0], fields.pop("perm", None))
    if inputs and sum(array.size for array in inputs) <= MAX_COMPUTED:
        if operator == "Gather":
            return np.asarray(np.take(inputs[0], inputs[1], fields.pop("axis", 0)))
        if operator == "Concat":
            return np.concatenate(inputs, fields.pop("axis"))
        if operator == "Unsqueeze":
            return np.expand_dims(inputs[0], tuple(fields.pop("axes") if len(inputs) == 1 else inputs[1].tolist()))
    raise ValueError("it computes with nothing but constants")
