"""ONNX files: a model as a graph that other programs run, with the description that `Model.from_onnx` reads.

The graph holds everything: scaling of the inputs, layers, and the labels of the classes. It is written for OPSET, the
first with an operator for each of our layers. All numbers are in the file itself; external data are neither written
nor read.
"""

from collections.abc import Callable, Mapping, Sequence
import hashlib
from importlib import metadata
from io import BytesIO
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from nn import archive
from nn.activations import ELU, GELU, LeakyReLU, ReLU, Sigmoid, Softmax, Softplus, Tanh
from nn.files import write_atomically
from nn.inputs import check_layers
from nn.labels import Label, check_classes
from nn.layers import Dense, Dropout, Layer
from nn.losses import BinaryCrossEntropy, CrossEntropy, Loss, MeanSquaredError
from nn.model_file import Components, build, check_writable, join_arrays
from nn.onnx_bytes import MAX_BYTES, MAX_OTHER, check_size, parse, to_array
from nn.onnx_graph import layers_of
from nn.scaling import Flatten, Rescale, Standardize

OPSET = 20  # the first with Gelu
IR_VERSION = 9  # the version of the file format that belongs to it
FORMAT = 1  # of our graphs: if NODES changes, so that old files have other nodes, it needs a new number
KEY = "feedforward"  # of the description in the metadata
LARGEST = float(np.finfo(np.float32).max)
TYPES = {"float32": 1, "int64": 7, "bool": 9, "float64": 11}  # ONNX's numbers of dtypes
TEXT = 8  # and that of texts

Step = tuple[str, tuple[str, ...], dict[str, Any]]  # an operator, the layer's arrays that it takes, its attributes

NODES: dict[type[Layer], Callable[[Any], list[Step]]] = {
    Dense: lambda layer: [("Gemm", ("W", "b"), {})],
    Dropout: lambda layer: [],
    ReLU: lambda layer: [("Relu", (), {})],
    LeakyReLU: lambda layer: [("LeakyRelu", (), {"alpha": layer.slope})],
    ELU: lambda layer: [("Elu", (), {"alpha": layer.alpha})],
    GELU: lambda layer: [("Gelu", (), {})],  # by default the exact form, as here
    Tanh: lambda layer: [("Tanh", (), {})],
    Sigmoid: lambda layer: [("Sigmoid", (), {})],
    Softplus: lambda layer: [("Softplus", (), {})],
    Softmax: lambda layer: [("Softmax", (), {"axis": 1})],
    Flatten: lambda layer: [("Flatten", (), {"axis": 1})],
    Standardize: lambda layer: [("Sub", ("mean",), {}), ("Div", ("scale",), {})],
    Rescale: lambda layer: [("Mul", ("scale",), {}), ("Add", ("mean",), {})],
}
"""The operators that compute each layer, one after the other."""


def write(path: str | os.PathLike[str], components: Components) -> None:
    """Write the components of a model to an ONNX file, completely or not at all.

    Parameters
    ----------
    path : str or path-like
        The file.
    components : Components
        The components to write.

    Raises
    ------
    ImportError
        If onnx is not installed.
    ValueError
        If a layer is none of ours, the weights are not finite, or ONNX cannot hold the model. Then nothing is written.
    OSError
        If the file cannot be written.
    """
    onnx = _library("to_onnx")
    for i, layer in enumerate(components.layers):
        if type(layer) not in NODES:
            raise ValueError(f"layer {i} ({layer}) is of a class that has no form in ONNX: {path} was not written; use "
                             f"model.save, or only layers of {', '.join(kind.__name__ for kind in NODES)}")
    check_writable(path, components)
    arrays = components.arrays()
    size = sum(array.nbytes for array in arrays.values())
    if size + MAX_OTHER > MAX_BYTES:
        raise ValueError(f"the model has {size:,} bytes, and an ONNX file holds at most 2 GiB: {path} was not written; "
                         "use model.save")
    try:
        model = onnx.ModelProto(
            ir_version=IR_VERSION, producer_name="feedforward", producer_version=_version(),
            opset_import=[onnx.OperatorSetIdProto(domain="", version=OPSET)], graph=graph(onnx, components))
        for name, array in arrays.items():
            model.graph.initializer.append(_tensor(onnx, name, array))
        for key, value in _metadata(components).items():
            model.metadata_props.add(key=key, value=value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"a field or a label cannot be written ({error}): {path} was not written") from None
    data = model.SerializeToString()
    try:
        check_size(BytesIO(data), len(data))
    except ValueError as error:
        raise ValueError(f"the file could not be read again, because {error}: {path} was not written") from None
    write_atomically(path, lambda file: file.write(data))


def _library(method: str) -> Any:
    try:
        import onnx
    except ModuleNotFoundError:
        raise ImportError(f"{method} needs onnx: pip install 'feedforward[onnx]'") from None
    return onnx


def _version() -> str:
    try:
        return metadata.version("feedforward")
    except metadata.PackageNotFoundError:  # used from a folder, without an installation
        return ""


def _metadata(components: Components) -> dict[str, str]:
    """Return the description that `read` needs, and the entries that other programs show."""
    entries = {"loss": type(components.loss).__name__}
    if components.feature_names is not None:
        entries["feature_names"] = json.dumps(components.feature_names)
    description = {"format": FORMAT, "sha256": _checksum(components.arrays()), **components.description()}
    return {**entries, KEY: json.dumps(description, allow_nan=False)}


def _checksum(arrays: Mapping[str, np.ndarray]) -> str:
    """Return a hash of the numbers of all arrays."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(name.encode() + np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def graph(onnx: Any, components: Components) -> Any:
    """Return the graph of a model, without the arrays of its layers.

    Parameters
    ----------
    onnx : module
        The library.
    components : Components
        The components of the model.

    Returns
    -------
    onnx.GraphProto
        The graph. Its nodes are named by the index and the class of their layers.
    """
    n_in, n_out = check_layers(components.layers)
    first, dtype = components.layers[0], TYPES[components.dtype]
    shape = first.shape if isinstance(first, Flatten) and first.shape else (n_in,)
    result = onnx.GraphProto(name="model", input=[_value(onnx, "x", dtype, shape)])
    current = "x"
    for i, layer in enumerate(components.layers):
        steps = NODES[type(layer)](layer)
        for operator, arrays, fields in steps:
            name = f"{i}.{type(layer).__name__}" + (f".{operator}" if len(steps) > 1 else "")
            _add_node(result, name, operator, [current, *(f"{i}.{array}" for array in arrays)], **fields)
            current = name
    output = "probabilities" if isinstance(components.layers[-1], (Sigmoid, Softmax)) else "output"
    result.node[-1].output[0] = output  # a layer with a fixed width has a node
    result.output.append(_value(onnx, output, dtype, (n_out,)))
    if components.classifies:
        _add_label(onnx, result, output, n_out, components)
    return result


def _add_label(onnx: Any, result: Any, output: str, n_out: int, components: Components) -> None:
    """Add the output "label", as `Model.predict_classes` computes it: that of the largest output, or that above 1/2."""
    classes: tuple[Label, ...] | None = check_classes(components.classes, n_out)
    index = "label" if classes is None else "label.index"
    if n_out > 1:
        _add_node(result, "label.ArgMax", "ArgMax", [output], index, axis=1, keepdims=0)
    else:
        result.initializer.append(_tensor(onnx, "label.threshold", np.array(0.5, components.dtype)))
        result.initializer.append(_tensor(onnx, "label.axis", np.array([1], np.int64)))
        _add_node(result, "label.Greater", "Greater", [output, "label.threshold"])
        _add_node(result, "label.Cast", "Cast", ["label.Greater"], to=TYPES["int64"])
        _add_node(result, "label.Squeeze", "Squeeze", ["label.Cast", "label.axis"], index)
    kind = TYPES["int64"]
    if classes is not None:
        labels = _labels(onnx, classes)
        kind = labels.data_type
        result.initializer.append(labels)
        _add_node(result, "label.Gather", "Gather", ["label.classes", index], "label", axis=0)
    result.output.append(_value(onnx, "label", kind, ()))


def _labels(onnx: Any, classes: Sequence[Label]) -> Any:
    """Return the tensor of the classes, of texts, integers or bools."""
    if isinstance(classes[0], str):
        texts = [str(label).encode() for label in classes]
        return onnx.TensorProto(name="label.classes", data_type=TEXT, dims=[len(classes)], string_data=texts)
    dtype = np.dtype(bool if isinstance(classes[0], bool) else np.int64)
    return _tensor(onnx, "label.classes", np.array(classes, dtype))


def _add_node(result: Any, name: str, operator: str, inputs: Sequence[str], output: str = "", **fields: Any) -> None:
    node = result.node.add(name=name, op_type=operator, input=inputs, output=[output or name])
    for key, value in fields.items():
        if isinstance(value, int):
            node.attribute.add(name=key, type=2, i=value)
        elif abs(value) <= LARGEST:
            node.attribute.add(name=key, type=1, f=value)
        else:
            raise ValueError(f"{key} of {name} is {value:g}, and ONNX holds it in float32")


def _value(onnx: Any, name: str, dtype: int, shape: Sequence[int]) -> Any:
    """Return the description of an input or output with these axes after the first, the examples."""
    result = onnx.ValueInfoProto(name=name)
    result.type.tensor_type.elem_type = dtype
    result.type.tensor_type.shape.dim.add(dim_param="N")
    for size in shape:
        result.type.tensor_type.shape.dim.add(dim_value=size)
    return result


def _tensor(onnx: Any, name: str, array: np.ndarray) -> Any:
    data = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    return onnx.TensorProto(name=name, data_type=TYPES[array.dtype.name], dims=array.shape, raw_data=data)


def read(path: str | os.PathLike[str], loss: Loss | None = None) -> Components:
    """Return the components of a model from an ONNX file. Call it within `archive.one_line_errors`.

    Nothing in the file is executed, and memory is allocated only for what the file holds.

    Parameters
    ----------
    path : str or path-like
        The file.
    loss : Loss, optional
        The loss, instead of that of the file.

    Returns
    -------
    Components
        The components.

    Raises
    ------
    ImportError
        If onnx is not installed.
    OSError
        If the file cannot be read.
    ValueError
        If it is not such a file, or holds something else than a chain of our layers. Many other errors are possible,
        which `one_line_errors` turns into an InvalidFile.
    """
    onnx = _library("from_onnx")
    model = parse(onnx, Path(path))
    if model.functions or model.training_info or model.graph.sparse_initializer:
        raise ValueError("it holds functions, training information or sparse arrays, which are not read")
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    if len(tensors) < len(model.graph.initializer):
        raise ValueError("two of its arrays have the same name")
    described = {entry.key: entry.value for entry in model.metadata_props}.get(KEY)
    if described is not None:
        components = _read_own(onnx, model, archive.parse(described), tensors)
    else:
        components = _read_other(model, {name: to_array(tensor) for name, tensor in tensors.items()})
    return components if loss is None else components._replace(loss=loss)


def _read_own(onnx: Any, model: Any, described: Any, tensors: Mapping[str, Any]) -> Components:
    """Return the components that the description says. Raises ValueError unless the graph is the one that they have."""
    if not isinstance(described, dict):
        raise ValueError("its description is not a JSON object")
    archive.check_format(described["format"], [FORMAT])
    arrays = {name: to_array(tensor) for name, tensor in tensors.items() if not name.startswith("label.")}
    components = build(described, arrays)
    if described["sha256"] != _checksum(arrays):
        raise ValueError("its arrays are not those that were written: it is damaged, or another program has changed it")
    expected = graph(onnx, components)
    labels = [tensor for name, tensor in tensors.items() if name.startswith("label.")]
    opsets = [(entry.domain, entry.version) for entry in model.opset_import]
    if opsets != [("", OPSET)] or labels != list(expected.initializer) or any(
            list(getattr(model.graph, part)) != list(getattr(expected, part)) for part in ("node", "input", "output")):
        raise ValueError("its graph is not the one that its metadata describe: another program has changed it, so "
                         "write it again by to_onnx")
    return components


def _read_other(model: Any, arrays: Mapping[str, np.ndarray]) -> Components:
    """Return the components of a graph that another program wrote."""
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    layers, parameters, dtype = layers_of(model.graph, arrays, opsets.get("", opsets.get("ai.onnx", 0)))
    loss = {Softmax: CrossEntropy, Sigmoid: BinaryCrossEntropy}.get(type(layers[-1]), MeanSquaredError)
    return Components(layers, loss(), 0, dtype.name, *join_arrays(parameters, layers, dtype))
