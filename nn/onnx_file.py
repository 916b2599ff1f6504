"""ONNX files: a model as a graph that other programs run, with the description that `Model.from_onnx` reads.

The graph holds everything: scaling of the inputs, layers, and the labels of the classes. All numbers are in the file
itself.
"""

from collections.abc import Mapping
import hashlib
from io import BytesIO
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from nn import archive
from nn.activations import Sigmoid, Softmax
from nn.files import write_atomically
from nn.losses import BinaryCrossEntropy, CrossEntropy, Loss, MeanSquaredError
from nn.model_file import Components, build, check_writable, join_arrays
from nn.onnx_bytes import MAX_BYTES, MAX_OTHER, Folder, check_size, parse, to_array
from nn.onnx_graph import layers_of
from nn.onnx_nodes import CONSTANT, LABEL, build_graph, check_known, to_tensor
from nn.versions import version

OPSET = 13  # the lowest that is written: the first in which Softmax acts on one axis
FORMAT = 2  # of our graphs: if NODES changes, so that old files have other nodes, it needs a new number
READABLE = (1, 2)  # the formats that can be read; in format 1 some layers have other nodes
KEY = "feedforward"  # of the description in the metadata


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
        If a layer has no entry in NODES, the weights are not finite, or ONNX cannot hold the model. Then nothing is
        written.
    OSError
        If the file cannot be written.
    """
    onnx = _library("to_onnx")
    check_known(components.layers)
    check_writable(path, components)
    arrays = components.arrays()
    size = sum(array.nbytes for array in arrays.values())
    if size + MAX_OTHER > MAX_BYTES:
        raise ValueError(f"the model has {size:,} bytes, and an ONNX file holds at most 2 GiB: {path} was not written; "
                         "use model.save")
    try:
        graph = build_graph(onnx, components)
        opset = onnx.OperatorSetIdProto(domain="", version=_opset_of(onnx, graph))
        model = onnx.ModelProto(
            ir_version=onnx.helper.find_min_ir_version_for([opset]), producer_name="feedforward",
            producer_version=version("feedforward") or "", opset_import=[opset], graph=graph,
            doc_string=f"{', '.join(map(repr, components.layers))}; {components.loss}")
        for name, array in arrays.items():
            model.graph.initializer.append(to_tensor(onnx, name, array))
        for key, value in _metadata(components).items():
            model.metadata_props.add(key=key, value=value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"a node, a field or a label cannot be written ({error}): {path} was not written") from None
    data = model.SerializeToString()
    try:
        check_size(BytesIO(data), len(data))
    except ValueError as error:
        raise ValueError(f"the file could not be read again, because {error}: {path} was not written") from None
    write_atomically(path, lambda file: file.write(data))


def _opset_of(onnx: Any, graph: Any) -> int:
    """Return the lowest version of ONNX's operators, from OPSET on, that has those of a graph."""
    operators = {node.op_type for node in graph.node}
    for opset in range(OPSET, onnx.defs.onnx_opset_version() + 1):
        if all(onnx.defs.has(operator, opset) for operator in operators):
            return opset
    unknown = sorted(operator for operator in operators if not onnx.defs.has(operator))
    raise ValueError(f"ONNX has no operator {', '.join(unknown)}")


def _library(method: str) -> Any:
    try:
        import onnx
    except ModuleNotFoundError:
        raise ImportError(f"{method} needs onnx: pip install 'feedforward[onnx]'") from None
    return onnx


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
        folder = Folder(Path(path))
        components = _read_other(model, {name: to_array(tensor, folder) for name, tensor in tensors.items()})
    return components if loss is None else components._replace(loss=loss)


def _read_own(onnx: Any, model: Any, described: Any, tensors: Mapping[str, Any]) -> Components:
    """Return the components that the description says. Raises ValueError unless the graph is the one that they have.

    The graph of format 1 is not compared: the description and the arrays, whose checksum is, are the whole model.
    """
    if not isinstance(described, dict):
        raise ValueError("its description is not a JSON object")
    archive.check_format(described["format"], READABLE)
    arrays = {name: to_array(tensor) for name, tensor in tensors.items() if not name.startswith((CONSTANT, LABEL))}
    components = build(described, arrays)
    if described["sha256"] != _checksum(arrays):
        raise ValueError("its arrays are not those that were written: it is damaged, or another program has changed it")
    if described["format"] == 1:
        return components
    check_known(components.layers)
    expected = build_graph(onnx, components)
    others = [tensor for name, tensor in tensors.items() if name not in arrays]
    opsets = [(entry.domain, entry.version) for entry in model.opset_import]
    if (opsets != [("", _opset_of(onnx, expected))] or others != list(expected.initializer)
            or _function(model.graph) != _function(expected)):
        raise ValueError("its graph is not the one that its metadata describe: another program has changed it, or "
                         "nn.onnx_nodes.NODES has other nodes for a layer of your own; write it again by to_onnx")
    return components


def _function(graph: Any) -> tuple[Any, ...]:
    """Return what a graph computes, without its constants, the names of nodes, and other texts."""
    nodes = [(node.op_type, node.domain, list(node.input), list(node.output), list(node.attribute))
             for node in graph.node]
    return nodes, [(value.name, value.type) for part in (graph.input, graph.output) for value in part]


def _read_other(model: Any, arrays: Mapping[str, np.ndarray]) -> Components:
    """Return the components of a graph that another program wrote."""
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    layers, parameters, dtype = layers_of(model.graph, arrays, opsets.get("", opsets.get("ai.onnx", 0)))
    loss = {Softmax: CrossEntropy, Sigmoid: BinaryCrossEntropy}.get(type(layers[-1]), MeanSquaredError)
    return Components(layers, loss(), 0, dtype.name, *join_arrays(parameters, layers, dtype))
