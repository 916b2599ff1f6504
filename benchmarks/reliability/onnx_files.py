"""ONNX files for `benchmarks.reliability.damage`: all that is read of torch, and damaged messages."""

from collections.abc import Callable
from contextlib import suppress
import math
from typing import Any

import numpy as np

TEXTS = ["", "x", "1.weight", "Add", "Mul", "Softmax", "MatMul", "Reshape", "Identity", "axis", "../data"]
INTEGERS = [0, 1, -1, 2, 3, 7, 11, 2**31 - 1, 2**62, -2**63]
FLOATS = [0.0, -1.0, 1e30, math.inf, math.nan]


def of_torch() -> Any:
    """Return an onnx.ModelProto with the nodes of torch's exporters, of old and of new versions, in one graph."""
    import onnx

    helper, rng = onnx.helper, np.random.default_rng(0)

    def constant(value: Any, output: str) -> tuple[Any, ...]:
        return "Constant", [], output, {"value": onnx.numpy_helper.from_array(np.asarray(value))}

    nodes: list[tuple[Any, ...]] = [
        ("Shape", ["x"], "shape"), constant(0, "first"), ("Gather", ["shape", "first"], "n", {"axis": 0}),
        constant([0], "axes"), ("Unsqueeze", ["n", "axes"], "rows"), constant([-1], "columns"),
        ("Concat", ["rows", "columns"], "flat_shape", {"axis": 0}), ("Reshape", ["x", "flat_shape"], "flat"),
        ("Sub", ["flat", "mean"], "centered"), ("Div", ["centered", "std"], "standardized"),
        ("Gemm", ["standardized", "1.weight", "1.bias"], "h1", {"alpha": 1.0, "beta": 1.0, "transB": 1}),
        ("Div", ["h1", "root2"], "z"), ("Erf", ["z"], "erf"), ("Add", ["erf", "one"], "phi2"),  # GELU before opset 20
        ("Mul", ["h1", "phi2"], "twice"), ("Mul", ["twice", "half"], "gelu"),
        ("Dropout", ["gelu"], "dropped"), ("Transpose", ["2.weight"], "W", {"perm": [1, 0]}),
        ("MatMul", ["dropped", "W"], "product"), ("Add", ["2.bias", "product"], "h2"),
        ("Softplus", ["h2"], "plain"), ("Greater", ["h2", "threshold"], "large"),
        ("Where", ["large", "h2", "plain"], "softplus"), ("LeakyRelu", ["softplus"], "leaky", {"alpha": 0.2}),
        ("Mul", ["leaky", "gain"], "scaled"), ("Add", ["scaled", "one"], "shifted"), ("Softmax", ["shifted"], "y"),
    ]
    shapes = {"mean": (6,), "std": (6,), "1.weight": (5, 6), "1.bias": (5,), "2.weight": (3, 5), "2.bias": (3,),
              "gain": (3,)}
    arrays = {**{name: rng.uniform(0.5, 1.5, size) for name, size in shapes.items()},
              "root2": math.sqrt(2), "one": 1, "half": 0.5, "threshold": 20}
    stored = [onnx.numpy_helper.from_array(np.array(array, np.float32), name) for name, array in arrays.items()]
    made = [helper.make_node(operator, inputs, [output], f"node_{output}", **dict(*attributes))
            for operator, inputs, output, *attributes in nodes]
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
            for name, shape in (("x", ("batch", 2, 3)), ("y", None)))
    return helper.make_model(helper.make_graph(made, "main_graph", [x], [y], stored), producer_name="pytorch",
                             opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def damaged(data: bytes, rng: np.random.Generator, mutate: Callable[[bytes, np.random.Generator], bytes]) -> bytes:
    """Return the bytes of an ONNX model in which some fields were changed, removed or repeated."""
    import onnx

    model = onnx.ModelProto.FromString(data)
    for _ in range(int(rng.integers(1, 4))):
        with suppress(ValueError, TypeError, OverflowError):  # the field cannot hold the value
            _damage(model, rng, mutate)
    content: bytes = model.SerializeToString()
    return content


def _damage(message: Any, rng: np.random.Generator, mutate: Callable[[bytes, np.random.Generator], bytes]) -> None:
    """Change one field of a message, or of a message in it."""
    fields = message.ListFields()
    if not fields:
        return
    field, value = fields[int(rng.integers(len(fields)))]
    if hasattr(value, "ListFields"):
        _damage(value, rng, mutate)
    elif not hasattr(value, "append"):
        setattr(message, field.name, _other(value, rng, mutate))
    elif (kind := int(rng.integers(6))) == 0:
        del value[int(rng.integers(len(value)))]
    elif kind == 1:
        value.append(value[int(rng.integers(len(value)))])
    elif hasattr(value[0], "ListFields"):
        _damage(value[int(rng.integers(len(value)))], rng, mutate)
    else:
        i = int(rng.integers(len(value)))
        value[i] = _other(value[i], rng, mutate)


def _other(value: Any, rng: np.random.Generator, mutate: Callable[[bytes, np.random.Generator], bytes]) -> Any:
    if isinstance(value, bytes):
        return mutate(value, rng)
    choices: list[Any] = [*TEXTS, value[1:]] if isinstance(value, str) else list(
        FLOATS if isinstance(value, float) else INTEGERS)
    return choices[int(rng.integers(len(choices)))]
