"""The graphs of other programs: a chain of operators in ONNX as a list of our layers, with their parameters.

It reads what torch writes for a multilayer perceptron, by either of its exporters. Anything else is an error that names
the node.
"""

from collections.abc import Callable, Mapping
import math
from typing import Any

import numpy as np

from nn.activations import ELU, GELU, LeakyReLU, ReLU, Sigmoid, Softmax, Softplus, Tanh
from nn.inputs import check_layers
from nn.layers import Dense, Layer
from nn.onnx_bytes import DTYPES, to_array
from nn.scaling import Flatten

OLDEST = 7  # the opset since which operators broadcast as NumPy does
PASSES = ("Identity", "Dropout")  # operators that change nothing in predictions
THRESHOLD = 20  # torch's Softplus(x) is x above it: the difference is below 3e-9
MAX_AXES = 64  # of an array, as in NumPy
CLOSE = 1e-6  # relative error of constants, which may be float32

Fields = dict[str, Any]  # the attributes of a node by name
Terms = dict[tuple[int, int], float]  # the sum of c x^i erf(x / sqrt(2))^j: the c by (i, j)

ACTIVATIONS: dict[str, Callable[[Fields], Layer]] = {
    "Relu": lambda fields: ReLU(),
    "LeakyRelu": lambda fields: LeakyReLU(_decimal(fields.pop("alpha", 0.01))),
    "Elu": lambda fields: ELU(_decimal(fields.pop("alpha", 1.0))),
    "Gelu": lambda fields: GELU(),
    "Tanh": lambda fields: Tanh(),
    "Sigmoid": lambda fields: Sigmoid(),
    "Softplus": lambda fields: Softplus(),
    "Softmax": lambda fields: Softmax(),
}
"""The layers of operators. Each function removes the fields that it uses."""

SAME: dict[str, Fields] = {"Gemm": {"alpha": 1.0, "beta": 1.0, "transA": 0}, "Gelu": {"approximate": b"none"}}
"""The only values of fields for which operators are layers of ours."""


def _decimal(value: float) -> float:
    """Return the shortest decimal of a float32: 0.01, not 0.009999999776."""
    return float(str(np.float32(value)))


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
    if kind.elem_type not in (1, 11) or not 2 <= len(shape) <= MAX_AXES or (len(shape) > 2 and 0 in shape[1:]):
        raise ValueError(f"its input {inputs[0].name!r} is not an array of float32 or float64 (N, n_in), or of images "
                         "with a fixed shape")
    chain = _Chain(inputs[0].name, shape, arrays)
    for i, node in enumerate(graph.node):
        try:
            chain.add(node)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise ValueError(f"node {i}, {node.name or ', '.join(node.output)!r} ({node.op_type}), cannot be read: "
                             f"{error}") from None
    if graph.output[0].name not in chain.current:
        pending = f": no layer computes {next(iter(chain.terms))!r}" if chain.terms else ""
        raise ValueError(f"its output {graph.output[0].name!r} is not that of its last layer{pending}")
    n_in, _ = check_layers(chain.layers)
    if shape[1] and n_in != math.prod(shape[1:]):
        raise ValueError(f"its input has {math.prod(shape[1:])} numbers, and its first layer expects {n_in}")
    return chain.layers, chain.parameters, np.dtype(DTYPES[kind.elem_type][1:])


class _Chain:
    """The layers that the nodes so far compute."""

    def __init__(self, name: str, shape: tuple[int, ...], arrays: Mapping[str, np.ndarray]) -> None:
        self.layers: list[Layer] = []
        self.parameters: dict[str, np.ndarray] = {}
        self.current = {name}  # the names of the output of the layers
        self.before: set[str] = set()  # and of the input of the last layer
        self.terms: dict[str, Terms] = {}  # functions of that output which are no layer yet
        self.large: dict[str, str] = {}  # whether an array is above THRESHOLD, and the name of that array
        self.constants = dict(arrays)
        self.names = {name, *arrays}  # of all arrays so far
        self.weights: dict[str, str] = {name: name for name in arrays}  # the initializer of each constant
        self.used: set[str] = set()  # the initializers that are weights of a layer
        self.shape = shape  # of the output
        self.open = False  # whether a bias may be added to the last layer

    def add(self, node: Any) -> None:
        """Add a node."""
        if not node.output or self.names & set(node.output):
            raise ValueError("it has no output, or one with the name of another array")
        self.names |= set(node.output)
        if node.domain not in ("", "ai.onnx"):
            raise ValueError(f"its domain is {node.domain!r}")
        fields = _fields(node)
        for name, value in SAME.get(node.op_type, {}).items():
            if (given := fields.pop(name, value)) != value:
                raise ValueError(f"its {name} is {given!r}, and only {value!r} is a layer")
        inputs = list(node.input)
        while inputs and not inputs[-1]:  # optional inputs that are left out
            inputs.pop()
        if all(name in self.constants for name in inputs):
            self._add_constant(node.op_type, inputs, node.output[0], fields)
        else:
            self._add_function(node.op_type, inputs, node.output[0], fields)
        if fields:
            raise ValueError(f"it has the attributes {', '.join(fields)}")

    def _add_constant(self, operator: str, inputs: list[str], output: str, fields: Fields) -> None:
        if operator == "Constant" and len(fields) == 1:
            (key, value), = fields.items()
            fields.clear()
            self.constants[output] = to_array(value) if key == "value" else np.array(value)
            self.weights[output] = output
        elif operator in ("Identity", "Transpose") and len(inputs) == 1:
            array = self.constants[inputs[0]]
            reverse = list(range(array.ndim))[::-1]
            if fields.pop("perm", reverse) != reverse:
                raise ValueError("it does not reverse the axes")
            self.constants[output] = array if operator == "Identity" else array.T
            self.weights[output] = self.weights[inputs[0]]
        else:
            raise ValueError("it computes with nothing but constants")

    def _add_function(self, operator: str, inputs: list[str], output: str, fields: Fields) -> None:
        if operator in PASSES:
            self._add_same(inputs, output, fields)
        elif operator in ("Flatten", "Reshape"):
            self._add_flatten(operator, inputs, output, fields)
        elif operator in ("Greater", "Where"):
            self._add_threshold(operator, inputs, output)
        elif operator in ("Gemm", "MatMul"):
            self._add_dense(operator, inputs, output, fields)
        elif operator in ACTIVATIONS:
            self._expect(inputs[0])
            if operator == "Softmax" and fields.pop("axis", 1) not in (1, -1):
                raise ValueError("it does not act on the last axis")
            self._add_layer(ACTIVATIONS[operator](fields), output)
        elif operator == "Add" and self._add_bias(inputs, output):
            pass
        elif operator in ("Add", "Mul", "Div", "Erf"):
            self._add_terms(operator, inputs, output)
        else:
            raise ValueError("no layer computes it")

    def _expect(self, name: str, rows: bool = True) -> None:
        """Raise ValueError unless this is the output of the layers, if `rows` in rows."""
        if name not in self.current:
            raise ValueError(f"its input {name!r} is not the output of the last layer: only chains are read")
        if rows and len(self.shape) > 2:
            raise ValueError(f"its input has the shape {self.shape}: it comes before Flatten")

    def _constant(self, name: str) -> np.ndarray:
        if name not in self.constants:
            raise ValueError(f"its input {name!r} is not a constant")
        return self.constants[name]

    def _number(self, name: str) -> float:
        array = self._constant(name)
        if array.size != 1 or array.ndim > 2:
            raise ValueError(f"its input {name!r} has the shape {array.shape}, and only one number is read")
        return float(array.item())

    def _add_layer(self, layer: Layer, output: str) -> None:
        self.layers.append(layer)
        self.before, self.current, self.terms, self.open = self.current, {output}, {}, False

    def _add_same(self, inputs: list[str], output: str, fields: Fields) -> None:
        fields.clear()  # the rate and the seed of Dropout
        self._expect(inputs[0], rows=False)
        if len(inputs) > 2 and self._constant(inputs[2]).any():
            raise ValueError("it drops numbers in predictions too")
        self.current.add(output)

    def _add_flatten(self, operator: str, inputs: list[str], output: str, fields: Fields) -> None:
        rows, width = self.shape[0], math.prod(self.shape[1:])
        self._expect(inputs[0], rows=False)
        if operator == "Flatten":
            valid = fields.pop("axis", 1) == 1
        else:
            same = -1 if fields.pop("allowzero", 0) else 0  # 0 may mean that the number of rows stays the same
            shape = self._constant(inputs[1]).tolist()
            valid = len(shape) == 2 and shape[0] in (-1, same, rows or -1) and shape[1] == (width or -1)
            valid = valid or (len(shape) == 2 and shape[0] in (same, rows or same) and shape[1] == -1)
        if not valid:
            raise ValueError("it does not make each example a row")
        if len(self.shape) > 2:
            self._add_layer(Flatten(self.shape[1:]), output)
            self.shape = rows, width
        self.current.add(output)

    def _add_threshold(self, operator: str, inputs: list[str], output: str) -> None:
        """Where(x > 20, x, Softplus(x)), which torch writes for Softplus."""
        if operator == "Greater":
            name, threshold = inputs
            valid = self._number(threshold) >= THRESHOLD
            self.large[output] = name
        else:
            condition, name, other = inputs
            valid = (self.large.get(condition) in self.before and name in self.before and other in self.current
                     and isinstance(self.layers[-1], Softplus))
            self.current = {output}
        if not valid:
            raise ValueError("no layer computes it")

    def _add_dense(self, operator: str, inputs: list[str], output: str, fields: Fields) -> None:
        name, *others = inputs
        self._expect(name)
        W = self._constant(others[0])
        if W.ndim != 2:
            raise ValueError(f"its weights have the shape {W.shape}")
        if operator == "Gemm" and fields.pop("transB", 0):
            W = W.T
        source = self.weights[others[0]]
        if source in self.used:
            raise ValueError(f"it shares the weights {source!r} with another layer, and each of ours has its own")
        self.used.add(source)
        n_in, n_out = W.shape
        i = len(self.layers)
        self._add_layer(Dense(n_in, n_out), output)
        b = self._constant(others[1]) if len(others) > 1 else np.zeros(n_out, W.dtype)
        self.parameters[f"{i}.W"], self.parameters[f"{i}.b"] = W, _bias(b, n_out)
        self.shape, self.open = (self.shape[0], n_out), len(others) == 1

    def _add_bias(self, inputs: list[str], output: str) -> bool:
        """Return whether a node adds the bias to the layer before it, which has none."""
        constant = [name for name in inputs if name in self.constants]
        if not self.open or len(inputs) != 2 or len(constant) != 1 or not self.current & set(inputs):
            return False
        self.parameters[f"{len(self.layers) - 1}.b"] = _bias(self.constants[constant[0]], self.shape[1])
        self.current, self.open, self.terms = {output}, False, {}
        return True

    def _add_terms(self, operator: str, inputs: list[str], output: str) -> None:
        """Compute with sums of c x^i erf(x / sqrt(2))^j until they are GELU, x / 2 + x erf(x / sqrt(2)) / 2."""
        given = [self._terms_of(name) for name in inputs]
        if operator == "Erf":
            if not _equal(given[0], {(1, 0): math.sqrt(0.5)}):
                raise ValueError("it is no part of GELU")
            result: Terms = {(0, 1): 1.0}
        else:
            a, b = given
            if operator == "Div":
                if set(b) != {(0, 0)} or not b[0, 0]:
                    raise ValueError("it divides by something else than a number")
                b = {(0, 0): 1 / b[0, 0]}
            result = _sum(a, b) if operator == "Add" else _product(a, b)
        if _equal(result, {(1, 0): 0.5, (1, 1): 0.5}):
            self._expect(next(iter(self.current)))
            self._add_layer(GELU(), output)
        else:
            self.terms[output] = result

    def _terms_of(self, name: str) -> Terms:
        if name in self.constants:
            return {(0, 0): self._number(name)}
        if name not in self.terms:
            self._expect(name)
        return self.terms.get(name, {(1, 0): 1.0})


def _fields(node: Any) -> Fields:
    """Return the attributes of a node by name."""
    read: dict[int, Callable[[Any], Any]] = {
        1: lambda field: field.f, 2: lambda field: field.i, 3: lambda field: field.s, 4: lambda field: field.t,
        6: lambda field: list(field.floats), 7: lambda field: list(field.ints)}
    for field in node.attribute:
        if field.type not in read or field.ref_attr_name:
            raise ValueError(f"its attribute {field.name!r} is of a kind that is not read")
    return {field.name: read[field.type](field) for field in node.attribute}


def _bias(b: np.ndarray, n_out: int) -> np.ndarray:
    if b.shape not in ((n_out,), (1, n_out), (1,), ()):
        raise ValueError(f"its bias has the shape {b.shape}, and the layer {n_out} outputs")
    return np.broadcast_to(b.reshape(-1), (n_out,))


def _sum(a: Terms, b: Terms) -> Terms:
    return {key: a.get(key, 0.0) + b.get(key, 0.0) for key in {**a, **b}}


def _product(a: Terms, b: Terms) -> Terms:
    result: Terms = {}
    for (i, j), c in a.items():
        for (k, l), d in b.items():
            result[i + k, j + l] = result.get((i + k, j + l), 0.0) + c * d
    if any(i > 1 or j > 1 for i, j in result):
        raise ValueError("it is no part of GELU, and no layer computes it")
    return result


def _equal(a: Terms, b: Terms) -> bool:
    return all(abs(a.get(key, 0.0) - b.get(key, 0.0)) <= CLOSE for key in {**a, **b})
