"""The graph of a model in ONNX: a table of the nodes of each class of layers, and what joins them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nn.activations import ELU, GELU, LeakyReLU, ReLU, Sigmoid, Softmax, Softplus, Tanh
from nn.inputs import check_layers
from nn.labels import Label, check_classes
from nn.layers import Dense, Dropout, Layer
from nn.model_file import Components
from nn.scaling import Flatten, Rescale, Standardize

LARGEST = float(np.finfo(np.float32).max)
TYPES = {"float32": 1, "int64": 7, "bool": 9, "float64": 11}  # ONNX's numbers of dtypes
TEXT = 8  # and that of texts
CONSTANT, LABEL = "constant.", "label."  # how the names of arrays begin that are not of a layer


class Operators:
    """The nodes of a graph, to which ``op("Mul", x, 2.0)`` adds one. It returns the name of the node's output.

    The inputs are names: that of an output, or ``op["W"]`` for an array of the layer; or numbers, which get the dtype
    of the model, or arrays, which keep theirs. Named arguments are the attributes of the node.

    Parameters
    ----------
    onnx : module
        The library.
    dtype : {"float32", "float64"}
        The dtype of the model.

    Attributes
    ----------
    graph : onnx.GraphProto
        The graph.
    dtype : str
        The dtype of the model.
    prefix : str
        How the names of nodes begin; up to its first dot, also those of the arrays of the layer.

    Examples
    --------
    >>> import onnx
    >>> from nn.onnx_nodes import Operators
    >>> op = Operators(onnx, "float32")
    >>> op("Mul", "x", op("Sigmoid", op("Mul", "x", 1.5)))
    'Mul.2'
    >>> [node.op_type for node in op.graph.node]
    ['Mul', 'Sigmoid', 'Mul']
    """

    def __init__(self, onnx: Any, dtype: str) -> None:
        self.graph, self.dtype, self.prefix = onnx.GraphProto(name="model"), dtype, ""
        self._onnx, self._names = onnx, set[str]()

    def __getitem__(self, name: str) -> str:
        """Return the name of an array of the layer."""
        return f"{self.prefix.split('.')[0]}.{name}"

    def __call__(self, operator: str, *inputs: Any, **fields: Any) -> str:
        """Add a node, and return the name of its output."""
        names = [value if isinstance(value, str) else self._constant(value) for value in inputs]
        name = self._unused(f"{self.prefix}{operator}")
        node = self.graph.node.add(name=name, op_type=operator, input=names, output=[name])
        for key, value in fields.items():
            if isinstance(value, float) and abs(value) > LARGEST:
                raise ValueError(f"{key} of {name} is {value:g}, and ONNX holds it in float32")
            node.attribute.append(self._onnx.helper.make_attribute(key, value))
        return name

    def _constant(self, value: Any) -> str:
        array = value if isinstance(value, np.ndarray) else np.array(value, self.dtype)
        name = self._unused(f"{CONSTANT}{self.prefix.rstrip('.')}")
        self.graph.initializer.append(to_tensor(self._onnx, name, array))
        return name

    def _unused(self, name: str) -> str:
        """Return the name, with a number if it is in use."""
        number, result = 1, name
        while result in self._names:
            number += 1
            result = f"{name}.{number}"
        self._names.add(result)
        return result


def _leaky_relu(op: Operators, layer: Any, x: str) -> str:
    """LeakyRelu; in float64, max(x, slope x): attributes are float32, and onnxruntime lacks the operator."""
    if op.dtype == "float32":
        return op("LeakyRelu", x, alpha=layer.slope)
    return op("Max", x, op("Mul", x, layer.slope))


def _elu(op: Operators, layer: Any, x: str) -> str:
    """Elu; in float64, max(x, 0) + alpha (e^min(x, 0) - 1), for the same reasons."""
    if op.dtype == "float32":
        return op("Elu", x, alpha=layer.alpha)
    return op("Add", op("Relu", x), op("Mul", op("Sub", op("Exp", op("Min", x, 0)), 1), layer.alpha))


def _softplus(op: Operators, layer: Any, x: str) -> str:
    """Softplus; in float64, max(x, 0) + log(e^-|x| + 1), because onnxruntime lacks the operator."""
    if op.dtype == "float32":
        return op("Softplus", x)
    return op("Add", op("Relu", x), op("Log", op("Add", op("Exp", op("Neg", op("Abs", x))), 1)))


NODES: dict[type[Layer], Callable[[Operators, Any, str], str]] = {
    Dense: lambda op, layer, x: op("Gemm", x, op["W"], op["b"]),
    Dropout: lambda op, layer, x: x,
    ReLU: lambda op, layer, x: op("Relu", x),
    LeakyReLU: _leaky_relu,
    ELU: _elu,
    GELU: lambda op, layer, x: op("Gelu", x),  # by default the exact form, as here
    Tanh: lambda op, layer, x: op("Tanh", x),
    Sigmoid: lambda op, layer, x: op("Sigmoid", x),
    Softplus: _softplus,
    Softmax: lambda op, layer, x: op("Softmax", x, axis=1),
    Flatten: lambda op, layer, x: op("Flatten", x, axis=1),
    Standardize: lambda op, layer, x: op("Div", op("Sub", x, op["mean"]), op["scale"]),
    Rescale: lambda op, layer, x: op("Add", op("Mul", x, op["scale"]), op["mean"]),
}
"""Functions that add the nodes of each class of layers. They get the `Operators`, the layer and the name of its input,
and return the name of its output. For a class of your own, add one: ``NODES[Swish] = lambda op, layer, x: op("Mul", x,
op("Sigmoid", x))``."""


def check_known(layers: Sequence[Layer]) -> None:
    """Raise ValueError if a layer has no entry in NODES."""
    for i, layer in enumerate(layers):
        if type(layer) not in NODES:
            raise ValueError(f"layer {i} ({layer}) is of a class that has no form in ONNX: say which operators compute "
                             f"it, such as nn.onnx_nodes.NODES[{type(layer).__name__}] = lambda op, layer, x: "
                             "op('Mul', x, op('Sigmoid', x))")


def build_graph(onnx: Any, components: Components) -> Any:
    """Return the graph of a model, without the arrays of its layers.

    Parameters
    ----------
    onnx : module
        The library.
    components : Components
        The components of a model whose layers have entries in NODES.

    Returns
    -------
    onnx.GraphProto
        The graph. Its nodes are named by the index and the class of their layers.

    Raises
    ------
    ValueError
        If ONNX cannot hold a field or a label.
    """
    n_in, n_out = check_layers(components.layers)
    first, dtype = components.layers[0], TYPES[components.dtype]
    op, x = Operators(onnx, components.dtype), "x"
    for i, layer in enumerate(components.layers):
        x = _add_layer(op, i, layer, x)
    op.prefix = ""
    if not op.graph.node or op.graph.node[-1].output[0] != x:
        op("Identity", x)
    ends_in_probabilities = isinstance(components.layers[-1], (Sigmoid, Softmax))
    output = op.graph.node[-1].output[0] = "probabilities" if ends_in_probabilities else "output"
    shape = first.shape if isinstance(first, Flatten) and first.shape else (n_in,)
    op.graph.input.append(_value(onnx, "x", dtype, shape, ", ".join(components.feature_names or ())))
    op.graph.output.append(_value(onnx, output, dtype, (n_out,)))
    if components.classifies:
        _add_label(onnx, op, output, n_out, components)
    return op.graph


def _add_layer(op: Operators, i: int, layer: Layer, x: str) -> str:
    """Add the nodes of a layer, and return the name of its output."""
    before, name = len(op.graph.node), f"{i}.{type(layer).__name__}"
    op.prefix = f"{name}."
    y = NODES[type(layer)](op, layer, x)
    if len(op.graph.node) == before + 1 and (node := op.graph.node[-1]).output[0] == y:
        node.name = node.output[0] = y = name
    return y


def _add_label(onnx: Any, op: Operators, output: str, n_out: int, components: Components) -> None:
    """Add the output "label", as `Model.predict_classes` computes it: that of the largest output, or that above 1/2."""
    classes: tuple[Label, ...] | None = check_classes(components.classes, n_out)
    op.prefix = LABEL
    if n_out > 1:
        index = op("ArgMax", output, axis=1, keepdims=0)
    else:
        index = op("Squeeze", op("Cast", op("Greater", output, 0.5), to=TYPES["int64"]), np.array([1]))
    kind = TYPES["int64"]
    if classes is not None:
        labels = _labels(onnx, classes)
        kind = labels.data_type
        op.graph.initializer.append(labels)
        op("Gather", labels.name, index, axis=0)
    op.graph.node[-1].output[0] = "label"
    op.graph.output.append(_value(onnx, "label", kind, ()))


def _labels(onnx: Any, classes: Sequence[Label]) -> Any:
    """Return the tensor of the classes, of texts, integers or bools."""
    name = f"{LABEL}classes"
    if isinstance(classes[0], str):
        texts = [str(label).encode() for label in classes]
        return onnx.TensorProto(name=name, data_type=TEXT, dims=[len(classes)], string_data=texts)
    dtype = np.dtype(bool if isinstance(classes[0], bool) else np.int64)
    return to_tensor(onnx, name, np.array(classes, dtype))


def _value(onnx: Any, name: str, dtype: int, shape: Sequence[int], text: str = "") -> Any:
    """Return the description of an input or output with these axes after the first, the examples."""
    result = onnx.ValueInfoProto(name=name, doc_string=text)
    result.type.tensor_type.elem_type = dtype
    result.type.tensor_type.shape.dim.add(dim_param="N")
    for size in shape:
        result.type.tensor_type.shape.dim.add(dim_value=size)
    return result


def to_tensor(onnx: Any, name: str, array: np.ndarray) -> Any:
    """Return an array as an onnx.TensorProto."""
    data = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    return onnx.TensorProto(name=name, data_type=TYPES[array.dtype.name], dims=array.shape, raw_data=data)
