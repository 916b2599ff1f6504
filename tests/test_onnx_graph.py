"""Graphs of other programs: what our layers compute is read, and anything else is an error that names the node."""

import numpy as np
import pytest
from test_onnx_file import check_damaged, session  # without onnx or onnxruntime this file is skipped too

from nn import (
    ELU,
    GELU,
    BinaryCrossEntropy,
    CrossEntropy,
    Dense,
    Flatten,
    InvalidFile,
    MeanSquaredError,
    Model,
    ReLU,
    Sigmoid,
    Softplus,
    Tanh,
    onnx_graph,
)

onnx = pytest.importorskip("onnx", reason="needs onnx: pip install 'feedforward[test]'")


def node(operator, inputs, output, **attributes):
    return onnx.helper.make_node(operator, inputs, [output], name=f"/{output}", **attributes)


def foreign(nodes=None, arrays=None, shape=("N", 3), output="y", opset=18, dtype="float32"):
    """Return a model of another program, by default of two layers."""
    rng = np.random.default_rng(0)
    default = {name: rng.normal(size=shape) for name, shape in (("W", (4, 3)), ("b", 4), ("V", (4, 2)), ("c", 2))}
    numbers = {name: np.array(value, dtype if np.array(value).dtype == float else np.int64)
               for name, value in (default | (arrays or {})).items()}
    nodes = nodes or [
        node("Gemm", ["x", "W", "b"], "h", transB=1), node("LeakyRelu", ["h"], "r", alpha=0.2),
        node("MatMul", ["r", "V"], "m"), node("Add", ["c", "m"], "z"), node("Softmax", ["z"], "y", axis=-1)]
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = onnx.helper.make_graph(
        nodes, "g", [onnx.helper.make_tensor_value_info("x", kind, shape)],
        [onnx.helper.make_tensor_value_info(output, kind, None)],
        [onnx.numpy_helper.from_array(value, name) for name, value in numbers.items()])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8)


def read_foreign(proto, tmp_path, **options):
    path = tmp_path / "foreign.onnx"
    path.write_bytes(proto.SerializeToString())
    return Model.from_onnx(path, **options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_foreign_graph_is_read(dtype, tmp_path):
    model = read_foreign(foreign(dtype=dtype), tmp_path)
    assert [repr(layer) for layer in model.layers] == [
        "Dense(n_in=3, n_out=4, init='he')", "LeakyReLU(slope=0.2)", "Dense(n_in=4, n_out=2, init='he')", "Softmax()"]
    assert (type(model.loss), model.dtype, model.seed) == (CrossEntropy, dtype, 0)
    if dtype == "float32":
        x = np.random.default_rng(1).normal(size=(9, 3)).astype(dtype)
        y, = session(tmp_path / "foreign.onnx").run(None, {"x": x})
        np.testing.assert_allclose(model.predict(x), y, atol=1e-6)


DENSE = node("Gemm", ["x", "W"], "h", transB=1)
HALF, ONE, ROOT = {"half": 0.5}, {"one": 1.0}, {"root": 2**0.5}
READ = {
    "Flatten": ([node("Flatten", ["x"], "f"), node("Gemm", ["f", "W"], "y", transB=1)], {}, ("N", 1, 3),
                [Flatten((1, 3)), Dense(3, 4)]),
    "Reshape": ([node("Reshape", ["x", "s"], "f"), node("Gemm", ["f", "W"], "y", transB=1)], {"s": [-1, 3]},
                (5, 1, 3), [Flatten((1, 3)), Dense(3, 4)]),
    "Reshape of 0 rows": ([node("Reshape", ["x", "s"], "f"), node("Gemm", ["f", "W"], "y", transB=1)], {"s": [0, -1]},
                          ("N", 3, 1), [Flatten((3, 1)), Dense(3, 4)]),
    "Transpose": ([node("Transpose", ["W"], "T"), node("MatMul", ["x", "T"], "y")], {}, ("N", 3), [Dense(3, 4)]),
    "constants": ([node("Constant", [], "k", value=onnx.numpy_helper.from_array(np.ones((3, 2), "float32"))),
                   node("Identity", ["k"], "i"), node("MatMul", ["x", "i"], "y")], {}, ("N", 3), [Dense(3, 2)]),
    "Dropout": ([node("Dropout", ["x"], "d"), node("Gemm", ["d", "W"], "h", transB=1), node("Identity", ["h"], "y")],
                {}, ("N", 3), [Dense(3, 4)]),
    "Elu and Gelu": ([DENSE, node("Elu", ["h"], "e", alpha=1.5), node("Gelu", ["e"], "y")], {}, ("N", 3),
                     [Dense(3, 4), ELU(1.5), GELU()]),
    "GELU by Erf": ([DENSE, node("Div", ["h", "root"], "a"), node("Erf", ["a"], "e"), node("Add", ["one", "e"], "s"),
                     node("Mul", ["h", "s"], "p"), node("Mul", ["p", "half"], "y")], HALF | ONE | ROOT, ("N", 3),
                    [Dense(3, 4), GELU()]),
    "GELU in another order": (
        [DENSE, node("Mul", ["h", "half"], "g"), node("Div", ["h", "root"], "a"), node("Erf", ["a"], "e"),
         node("Mul", ["e", "g"], "p"), node("Add", ["p", "g"], "y")], HALF | ROOT, ("N", 3), [Dense(3, 4), GELU()]),
    "Softplus with a threshold": (
        [DENSE, node("Greater", ["h", "t"], "large"), node("Softplus", ["h"], "s"),
         node("Where", ["large", "h", "s"], "y")], {"t": 20.0}, ("N", 3), [Dense(3, 4), Softplus()]),
    "Sigmoid": ([DENSE, node("Sigmoid", ["h"], "y")], {}, ("N", 3), [Dense(3, 4), Sigmoid()]),
    "Relu and Tanh": ([DENSE, node("Relu", ["h"], "r"), node("Tanh", ["r"], "y")], {}, ("N", 3),
                      [Dense(3, 4), ReLU(), Tanh()]),
}


@pytest.mark.parametrize("case", READ)
def test_foreign_operators_are_read(case, tmp_path):
    nodes, arrays, shape, layers = READ[case]
    opset = 20 if "Gelu" in case else 18
    model = read_foreign(foreign(nodes, arrays, shape, opset=opset), tmp_path)
    assert [repr(layer) for layer in model.layers] == [repr(layer) for layer in layers]
    assert type(model.loss) is {Sigmoid: BinaryCrossEntropy}.get(type(layers[-1]), MeanSquaredError)
    x = 4 * np.random.default_rng(1).normal(size=(5, *shape[1:])).astype("float32")
    y, = session(tmp_path / "foreign.onnx").run(None, {"x": x})
    np.testing.assert_allclose(model.predict(x), y, atol=2e-6)


REFUSED = {
    "Conv": ([node("Conv", ["x", "W"], "y")], {}, r"node 0, '/y' \(Conv\), cannot be read: no layer computes it"),
    "a skip connection": ([DENSE, node("Relu", ["h"], "r"), node("Add", ["h", "r"], "y")], {},
                          r"node 2, '/y' \(Add\), cannot be read: its input 'h' is not the output of the last layer"),
    "shared weights": ([DENSE, node("MatMul", ["h", "Q"], "a"), node("MatMul", ["a", "Q"], "y")],
                       {"Q": np.ones((4, 4))}, r"\(MatMul\), cannot be read: it shares the weights 'Q' with another"),
    "beta": ([node("Gemm", ["x", "W", "b"], "y", transB=1, beta=0.5)], {}, "its beta is 0.5, and only 1.0 is a layer"),
    "GELU by tanh": ([DENSE, node("Gelu", ["h"], "y", approximate="tanh")], {}, "its approximate is b'tanh', and only"),
    "another GELU": ([DENSE, node("Mul", ["h", "k"], "a"), node("Erf", ["a"], "y")], {"k": 0.5},
                     r"\(Erf\), cannot be read: it is no part of GELU"),
    "a square": ([DENSE, node("Mul", ["h", "h"], "y")], {}, r"\(Mul\), cannot be read: it is no part of GELU"),
    "a threshold of 5": ([DENSE, node("Greater", ["h", "t"], "g"), node("Softplus", ["h"], "s"),
                          node("Where", ["g", "h", "s"], "y")], {"t": 5.0}, r"\(Greater\), cannot be read: no layer"),
    "a row for each pixel": ([node("Reshape", ["x", "s"], "f"), node("MatMul", ["f", "W"], "y")], {"s": [-1, 1]},
                             r"\(Reshape\), cannot be read: it does not make each example a row"),
    "a factor": ([DENSE, node("Mul", ["h", "k"], "y")], {"k": 0.5}, "its output 'y' is not that of its last layer"),
    "the axis of Softmax": ([DENSE, node("Softmax", ["h"], "y", axis=0)], {}, "it does not act on the last axis"),
    "the width": ([node("MatMul", ["x", "V"], "y")], {}, "its input has 3 numbers, and its first layer expects 4"),
    "layers that do not fit": ([DENSE, node("MatMul", ["h", "Q"], "y")], {"Q": np.ones((3, 4))}, "expects 3 inputs"),
    "another domain": ([onnx.helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")], {},
                       r"node 0, 'y' \(Gelu\), cannot be read: its domain is 'com.microsoft'"),
    "a bias of another width": ([node("Gemm", ["x", "W", "c"], "y", transB=1)], {}, r"its bias has the shape \(2,\)"),
    "weights of the input": ([node("MatMul", ["x", "x"], "y")], {}, "its input 'x' is not a constant"),
    "random numbers": ([onnx.helper.make_node("RandomNormal", [], ["y"], shape=[1])], {}, "with nothing but constants"),
    "dropout in predictions": ([node("Dropout", ["x", "k", "t"], "y")], {"k": 0.5, "t": 1}, "drops numbers in predict"),
    "a name twice": ([DENSE, node("Relu", ["h"], "W")], {}, "one with the name of another array"),
    "a slope above 1": ([DENSE, node("LeakyRelu", ["h"], "y", alpha=2.0)], {}, "LeakyReLU: slope must be at least 0"),
    "an unknown attribute": ([DENSE, node("Relu", ["h"], "y", alpha=2.0)], {}, "it has the attributes alpha"),
    "no node": ([node("Identity", ["x"], "y")], {}, "a model needs at least one layer with weights"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_layer_computes_is_refused_with_the_node(case, tmp_path):
    nodes, arrays, message = REFUSED[case]
    with pytest.raises(InvalidFile, match=message) as caught:
        read_foreign(foreign(nodes, arrays), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_foreign_graph_must_have_one_input_and_one_output(tmp_path):
    proto = foreign()
    proto.graph.output.append(proto.graph.output[0])
    with pytest.raises(InvalidFile, match="it has 1 inputs and 2 outputs, and a model has one of each"):
        read_foreign(proto, tmp_path)
    for shape in (("N",), ("N", "height", 3)):
        with pytest.raises(InvalidFile, match=r"its input 'x' is not an array of float32 or float64 \(N, n_in\)"):
            read_foreign(foreign(shape=shape), tmp_path)
    with pytest.raises(InvalidFile, match="of opset 6, and 7 is the oldest"):
        read_foreign(foreign(opset=6), tmp_path)


def test_random_damage_gives_a_model_or_an_error_of_one_line(tmp_path):
    assert 0 < check_damaged(foreign().SerializeToString(), 300, tmp_path / "m") < 300


def test_changed_nodes_give_a_model_or_an_error_of_one_line(tmp_path):
    """Names, operators, attributes and shapes that fit each other by chance reach further than random bytes."""
    rng, operators = np.random.default_rng(0), [*onnx_graph.ACTIVATIONS, "Gemm", "MatMul", "Add", "Mul", "Div", "Erf",
                                                "Flatten", "Reshape", "Where", "Greater", "Identity", "Transpose",
                                                "Constant", "Dropout", "Conv"]
    seen = set()
    for _ in range(400):
        nodes, arrays, shape, _ = list(READ.values())[rng.integers(len(READ))]
        proto = foreign(nodes, arrays, shape, opset=20)
        for _ in range(rng.integers(1, 4)):
            changed = proto.graph.node[rng.integers(len(proto.graph.node))]
            names = [*(name for one in proto.graph.node for name in (*one.input, *one.output)), "x", "W", "b", ""]
            kind, name = rng.integers(7), names[rng.integers(len(names))]
            if kind == 0:
                changed.op_type = operators[rng.integers(len(operators))]
            elif kind == 1 and changed.input:
                changed.input[rng.integers(len(changed.input))] = name
            elif kind == 2:
                changed.input.append(name)
            elif kind == 3 and changed.input:
                changed.input.pop()
            elif kind == 4 and changed.output:
                changed.output[0] = name
            elif kind == 5:
                value = [1.5, 2, "text", [1, 0], [0.5]][rng.integers(5)]
                field = ["alpha", "axis", "perm", "transB", "value", "value_float", "approximate"][rng.integers(7)]
                changed.attribute.append(onnx.helper.make_attribute(field, value))
            else:
                tensor = proto.graph.initializer[rng.integers(len(proto.graph.initializer))]
                tensor.dims[:] = list(tensor.dims)[::-1] + [1] * int(rng.integers(2))
        message = "a model"
        try:
            read_foreign(proto, tmp_path)
        except InvalidFile as error:
            message = str(error)
        assert "\n" not in message
        seen.add(message)
    assert "a model" in seen
    assert len(seen) > 50


# what torch writes

@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("dynamo", "opset"), [(False, 13), (False, 20), (True, 18), (True, 20)])
def test_what_torch_writes_is_read(dynamo, opset, tmp_path, capfd):
    torch = pytest.importorskip("torch", reason="needs torch: pip install 'feedforward[dev]'")
    if dynamo:
        pytest.importorskip("onnxscript", reason="torch's exporter needs onnxscript: pip install 'feedforward[dev]'")
    torch.manual_seed(0)
    linear, path = torch.nn.Linear, tmp_path / "torch.onnx"
    for last, loss in ((torch.nn.Softmax(1), CrossEntropy), (torch.nn.Sigmoid(), BinaryCrossEntropy),
                       (torch.nn.Identity(), MeanSquaredError)):
        network = torch.nn.Sequential(
            torch.nn.Flatten(), linear(6, 5), torch.nn.ReLU(), torch.nn.Dropout(0.3), linear(5, 4, bias=False),
            torch.nn.Tanh(), torch.nn.LeakyReLU(0.2), torch.nn.ELU(1.5), linear(4, 4), torch.nn.GELU(),
            torch.nn.Softplus(), torch.nn.Sigmoid(), linear(4, 3), last).eval()
        x = 3 * torch.randn(7, 2, 3)
        with torch.no_grad():
            expected = network(x).numpy()
            export(torch, network, x, path, dynamo, opset)
        model = Model.from_onnx(path)
        assert [type(layer).__name__ for layer in model.layers[:11]] == [
            "Flatten", "Dense", "ReLU", "Dense", "Tanh", "LeakyReLU", "ELU", "Dense", "GELU", "Softplus", "Sigmoid"]
        np.testing.assert_array_equal(model.layers[1].W, network[1].weight.detach().numpy().T)
        assert (model.layers[0].shape, model.layers[5].slope, type(model.loss)) == ((2, 3), 0.2, loss)
        np.testing.assert_allclose(model.predict(x.numpy()), expected, atol=1e-6)


def export(torch, network, x, path, dynamo, opset):
    if dynamo:
        torch.onnx.export(network, (x,), path, dynamo=True, opset_version=opset, external_data=False,
                          dynamic_shapes=({0: "N"},))
    else:
        torch.onnx.export(network, (x,), path, dynamo=False, opset_version=opset, input_names=["x"],
                          dynamic_axes={"x": {0: "N"}})


@pytest.mark.filterwarnings("ignore")
def test_external_data_of_torch_are_refused(tmp_path, capfd):
    torch = pytest.importorskip("torch", reason="needs torch: pip install 'feedforward[dev]'")
    pytest.importorskip("onnxscript", reason="torch's exporter needs onnxscript: pip install 'feedforward[dev]'")
    torch.onnx.export(torch.nn.Linear(300, 200), (torch.zeros(2, 300),), tmp_path / "m", dynamo=True,
                      external_data=True)
    with pytest.raises(InvalidFile, match=r"is in another file, which is not read: .*external_data=False"):
        Model.from_onnx(tmp_path / "m")
