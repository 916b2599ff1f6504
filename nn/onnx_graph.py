"""The graphs of other programs: a chain of operators in ONNX as a list of our layers, with their parameters.

It reads what torch writes for a multilayer perceptron, by either of its exporters. Anything else is an error that names
the node. Some layers are several nodes, which branch and join again: nodes are collected as an expression in X, the
output of the last layer, until later nodes need no output but the last. Then it may be one that a layer computes.
"""

from collections.abc import Callable, Mapping, Sequence
import math
from typing import Any

import numpy as np

from nn.activations import ELU, GELU, LeakyReLU, ReLU, Sigmoid, Softmax, Softplus, Tanh
from nn.inputs import check_layers
from nn.layers import Dense, Layer
from nn.onnx_bytes import DTYPES, MAX_AXES, Fields, computed, fields_of
from nn.onnx_expressions import MAX_NODES, OPERATORS, Expression, X, layer_of
from nn.scaling import Flatten, Rescale, Standardize

OLDEST = 7  # the opset since which operators broadcast as NumPy does
SPARE = 1 << 22  # numbers of the layers beyond those of the file, in which one number may stand for a whole row


def layers_of(graph: Any, arrays: Mapping[str, np.ndarray],
              opset: int) -> tuple[list[Layer], dict[str, np.ndarray], np.dtype[Any]]:
    """Return the layers that a graph computes.

    Parameters
    ----------
    graph : onnx.GraphProto
        The graph.
    arrays : mapping
        Its initializers by name.
    opset : int
        The version of the operators.

    Returns
    -------
    layers : list of Layer
        The layers.
    parameters : dict
        Their arrays, with the names of a model file.
    dtype : dtype
        The dtype of the input.

    Raises
    ------
    ValueError
        If the graph is not a chain of our layers; the message names the node. Other errors are possible.
    """
    if opset < OLDEST:
        raise ValueError(f"its operators are of opset {opset}, and {OLDEST} is the oldest that is read")
    inputs = [value for value in graph.input if value.name not in arrays]
    if (len(inputs), len(graph.output)) != (1, 1):
        raise ValueError(f"it has {len(inputs)} inputs and {len(graph.output)} outputs, and a model has one of each")
    kind = inputs[0].type.tensor_type
    shape = tuple(dim.dim_value for dim in kind.shape.dim)  # 0 if it is not fixed
    if kind.elem_type not in (1, 11) or not 2 <= len(shape) <= MAX_AXES or (len(shape) > 2 and min(shape[1:]) < 1):
        raise ValueError(f"its input {inputs[0].name!r} is not an array of float32 or float64 (N, n_in), or of images "
                         "with a fixed shape")
    chain = _Chain(graph, inputs[0].name, shape, arrays)
    with np.errstate(all="ignore"):  # what is not finite is refused with all parameters
        for i, node in enumerate(graph.node):
            try:
                chain.add(i, node)
            except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
                raise ValueError(f"node {i}, {(node.name or ', '.join(node.output))[:100]!r} ({node.op_type[:50]}), "
                                 f"cannot be read: {error}") from None
    if chain.values.get(graph.output[0].name) != X or len(chain.shape) > 1:
        raise ValueError(f"its output {graph.output[0].name!r} is not that of its last layer: no layer computes the "
                         "last nodes")
    check_layers(chain.layers)
    parameters = {f"{i}.{name}": array for i, found in enumerate(chain.arrays) for name, array in found.items()}
    if sum(array.size for array in parameters.values()) > sum(array.size for array in arrays.values()) + SPARE:
        raise ValueError("its nodes use the same arrays several times, and each of our layers has its own")
    return chain.layers, parameters, np.dtype(DTYPES[kind.elem_type][1:])


class _Chain:
    """The layers that compute the nodes so far, and their arrays."""

    def __init__(self, graph: Any, name: str, shape: tuple[int, ...], arrays: Mapping[str, np.ndarray]) -> None:
        self.layers: list[Layer] = []
        self.arrays: list[dict[str, np.ndarray]] = []
        self.follows: dict[str, str] = {}  # the array of the last layer that the next operator may give
        self.used: set[int] = set()  # the weights of the layers, by their ids
        self.constants = dict(arrays)
        self.values: dict[str, Any] = {name: X}  # and expressions, since the last layer
        self.names = {name, *arrays}  # of everything so far
        uses = [(i, node) for i, node in enumerate(graph.node) if node.op_type != "Shape"]
        self.last_uses = {used: i for i, node in uses for used in node.input} | {graph.output[0].name: len(graph.node)}
        self.needed = self.last_uses.get(name, -1)  # the last node that needs one of the values
        self.batch, self.shape = shape[0], shape[1:]  # of X; 0 if it is not fixed
        self.shapes = {name: self.shape}  # of everything so far that is not constant
        if len(self.shape) > 1:
            self.append(Flatten(self.shape))

    def append(self, layer: Layer, **arrays: np.ndarray) -> None:
        """Add a layer with its arrays."""
        self.layers.append(layer)
        self.arrays.append(arrays)
        self.follows = {}

    def add(self, position: int, node: Any) -> None:
        """Add the node at a position. Raises ValueError if no layer computes it."""
        if not node.output or self.names & set(node.output):
            raise ValueError("it has no output, or one with the name of another array")
        self.names |= set(node.output)
        if node.domain not in ("", "ai.onnx"):
            raise ValueError(f"its domain is {node.domain!r}")
        fields, output = fields_of(node), node.output[0]
        if node.op_type == "Shape" and node.input[0] in self.shapes:
            # 0 for the number of examples: as the size of an axis, Reshape takes it as the same
            sizes = np.array([0, *self.shapes[node.input[0]]], np.int64)
            self.constants[output] = sizes[fields.pop("start", None) : fields.pop("end", None)]
        else:
            self._add_value(position, node, fields, output)
        if fields:
            raise ValueError(f"it has the attributes {', '.join(fields)}")

    def _add_value(self, position: int, node: Any, fields: Fields, output: str) -> None:
        """Add a node that computes with X, or an array from arrays."""
        inputs = [self._value(name) for name in node.input]
        while inputs and inputs[-1] is None:
            inputs.pop()
        if all(isinstance(value, np.ndarray) for value in inputs):
            self.constants[output] = computed(node.op_type, inputs, fields)
        else:
            self._add_function(position, Expression(node.op_type, inputs), fields, output)
            self.shapes[output] = self.shape

    def _value(self, name: str) -> Any:
        """Return an input of a node: X, an array, an expression, or None if it is left out."""
        value = self.values.get(name, self.constants.get(name))
        if value is None and name:
            raise ValueError(f"its input {name!r} is not the output of the last layer: only chains are read")
        return value

    def _add_function(self, position: int, found: Expression, fields: Fields, output: str) -> None:
        """Add the layer that computes an expression, or let it be a part of a larger one."""
        is_last = self.needed <= position  # no node after this one needs X or another expression
        if is_last and self._add_layer(found, fields):
            self.values, self.needed = {output: X}, self.last_uses.get(output, -1)
        elif found.operator in OPERATORS and found.size() <= MAX_NODES:
            self.values[output], self.needed = found, max(self.needed, self.last_uses.get(output, -1))
        else:
            known = found.operator in OPERATORS or found.operator in NODES
            raise ValueError(f"no layer computes it{' together with the nodes around it' if known else ''}")

    def _add_layer(self, found: Expression, fields: Fields) -> bool:
        """Add the layer that computes an expression; return whether there is one."""
        if layer := layer_of(found):
            self.append(layer)
            return True
        swap = found.operator in ("Add", "Mul") and isinstance(found.inputs[0], np.ndarray)
        x, *others = found.inputs[::-1] if swap else found.inputs
        if found.operator not in NODES or not isinstance(x, str):
            return False
        if any(isinstance(value, (str, Expression)) for value in others):
            if found.operator in OPERATORS:
                return False
            raise ValueError("one of its other inputs is not a constant")
        NODES[found.operator](self, others, fields)
        return True


def _row(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array that an operator broadcasts with examples of this shape as a row, which may be a view."""
    own = array.shape[1:] if array.ndim == len(shape) + 1 and array.shape[0] == 1 else array.shape
    if array.size == 1 and len(own) <= len(shape) and 0 not in shape:
        return np.broadcast_to(array.reshape(()), (math.prod(shape),))
    if own != shape and (shape != (0,) or len(own) != 1):
        raise ValueError(f"its array of the shape {array.shape} does not fit examples of the shape {shape}")
    return array.reshape(-1)


def _expect_rows(chain: _Chain) -> None:
    if len(chain.shape) > 1:
        raise ValueError(f"its input has examples of the shape {chain.shape}: it comes before Flatten")


def _add_dense(chain: _Chain, W: np.ndarray, b: np.ndarray | None) -> None:
    _expect_rows(chain)
    if W.ndim != 2 or chain.shape[0] not in (0, len(W)):
        raise ValueError(f"its weights have the shape {W.shape}, and its input {chain.shape[0]} columns")
    source = W
    while isinstance(source.base, np.ndarray):  # of which W is a view
        source = source.base
    if id(source) in chain.used:
        raise ValueError("it shares its weights with another layer, and each of ours has its own")
    chain.used.add(id(source))
    chain.shape = W.shape[1:]
    chain.append(Dense(*W.shape), W=W, b=_row(np.zeros((), W.dtype) if b is None else b, chain.shape))


def _gemm(chain: _Chain, inputs: Sequence[Any], fields: Fields) -> None:
    for name, value in (("alpha", 1.0), ("beta", 1.0), ("transA", 0)):
        if (given := fields.pop(name, value)) != value:
            raise ValueError(f"its {name} is {given!r}, and only {value!r} is a layer")
    W, b = (*inputs, None)[:2]
    _add_dense(chain, W.T if fields.pop("transB", 0) else W, b)


def _matmul(chain: _Chain, inputs: Sequence[Any], fields: Fields) -> None:
    _add_dense(chain, inputs[0], None)
    chain.follows = {"Add": "b"}


def _scaling(operator: str, kind: type[Standardize | Rescale], name: str, **follows: str) -> Callable[..., None]:
    """Return the function of an operator that gives the array `name` of a layer; the other is neutral, or follows."""

    def add(chain: _Chain, inputs: Sequence[Any], fields: Fields) -> None:
        row = _row(inputs[0], chain.shape)
        if operator in chain.follows:
            chain.arrays[-1][chain.follows.pop(operator)] = row
            return
        mean, scale = (np.broadcast_to(row.dtype.type(value), row.shape) for value in (0, 1))
        chain.append(kind(len(row)), **{"mean": mean, "scale": scale, name: row})
        chain.shape = chain.shape if 0 not in chain.shape else row.shape
        chain.follows = dict(follows)

    return add


def _batch_normalization(chain: _Chain, inputs: Sequence[Any], fields: Fields) -> None:
    """y = (x - mean) / sqrt(variance + epsilon) gamma + beta, with stored mean and variance."""
    gamma, beta, mean, variance = inputs
    _expect_rows(chain)
    epsilon, training = fields.pop("epsilon", 1e-5), fields.pop("training_mode", 0)
    if training:
        raise ValueError("it computes the mean of each batch: export the model for predictions")
    for name in ("momentum", "spatial"):
        fields.pop(name, None)
    scale = gamma / np.sqrt(variance + epsilon)
    NODES["Mul"](chain, [scale], {})
    NODES["Add"](chain, [beta - mean * scale], {})


def _softmax(chain: _Chain, inputs: Sequence[Any], fields: Fields) -> None:
    _expect_rows(chain)
    if fields.pop("axis", 1) not in (1, -1):
        raise ValueError("it does not act on the last axis")
    chain.append(Softmax())


def _flatten(chain: _Chain, inputs: Sequence[Any], fields: Fields) -> None:
    if fields.pop("axis", 1) != 1:
        raise ValueError("it does not make each example a row")
    chain.shape = (math.prod(chain.shape),)


def _reshape(chain: _Chain, inputs: Sequence[Any], fields: Fields) -> None:
    same = -1 if fields.pop("allowzero", 0) else 0  # 0 may mean that the number of rows stays the same
    rows, columns = inputs[0].tolist() if inputs[0].shape == (2,) else (None, None)
    _flatten(chain, [], {})
    if rows not in (-1, same, chain.batch or -1) or columns not in (-1, chain.shape[0] or -1) or rows == columns:
        raise ValueError("it does not make each example a row")


def _dropout(chain: _Chain, inputs: Sequence[Any], fields: Fields) -> None:
    """It changes nothing in predictions."""
    for name in ("ratio", "seed"):
        fields.pop(name, None)
    if len(inputs) > 1 and inputs[1].any():
        raise ValueError("it drops numbers in predictions too")


def _gelu(chain: _Chain, inputs: Sequence[Any], fields: Fields) -> None:
    if (given := fields.pop("approximate", b"none")) != b"none":
        raise ValueError(f"its approximate is {given!r}, and only b'none' is a layer")
    chain.append(GELU())


def _decimal(value: float) -> float:
    """Return the shortest decimal of a float32: 0.01, not 0.009999999776."""
    return float(str(np.float32(value)))


NODES: dict[str, Callable[[_Chain, Sequence[Any], Fields], None]] = {
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Sub": _scaling("Sub", Standardize, "mean", Div="scale"),
    "Div": _scaling("Div", Standardize, "scale"),
    "Mul": _scaling("Mul", Rescale, "scale", Add="mean"),
    "Add": _scaling("Add", Rescale, "mean"),
    "BatchNormalization": _batch_normalization,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Identity": lambda chain, inputs, fields: None,
    "Dropout": _dropout,
    "Relu": lambda chain, inputs, fields: chain.append(ReLU()),
    "LeakyRelu": lambda chain, inputs, fields: chain.append(LeakyReLU(_decimal(fields.pop("alpha", 0.01)))),
    "Elu": lambda chain, inputs, fields: chain.append(ELU(_decimal(fields.pop("alpha", 1.0)))),
    "Gelu": _gelu,
    "Tanh": lambda chain, inputs, fields: chain.append(Tanh()),
    "Sigmoid": lambda chain, inputs, fields: chain.append(Sigmoid()),
    "Softplus": lambda chain, inputs, fields: chain.append(Softplus()),
    "Softmax": _softmax,
}
"""A function for each operator that is a layer or a part of one. It gets the inputs after the first, X, and the
attributes, of which it removes those that it uses."""
