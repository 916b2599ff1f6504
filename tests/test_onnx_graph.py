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
    Rescale,
    Sigmoid,
    Softmax,
    Softplus,
    Standardize,
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


def test_a_graph_that_ends_before_its_softmax_becomes_a_classifier(tmp_path):
    proto = foreign()
    proto.graph.node.pop()
    proto.graph.output[0].name = "z"
    read = read_foreign(proto, tmp_path)
    model = Model([*read.layers, Softmax()], CrossEntropy(), classes=["a", "b"])
    model.theta, model.constants[:] = read.theta, read.constants
    x = np.random.default_rng(1).normal(size=(9, 3))
    np.testing.assert_array_equal(model.predict(x), read_foreign(foreign(), tmp_path).predict(x))


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
    "GELU in a third order": (
        [DENSE, node("Mul", ["h", "inverse"], "a"), node("Erf", ["a"], "e"), node("Add", ["e", "one"], "s"),
         node("Mul", ["half", "s"], "p"), node("Mul", ["p", "h"], "y")], HALF | ONE | {"inverse": 0.5**0.5}, ("N", 3),
        [Dense(3, 4), GELU()]),
    "Sub and Div": ([node("Sub", ["x", "m"], "d"), node("Div", ["d", "s"], "z"), node("MatMul", ["z", "Q"], "y")],
                    {"m": [1.0, 2.0, 3.0], "s": [[4.0, 5.0, 6.0]], "Q": np.ones((3, 2))}, ("N", 3),
                    [Standardize(3), Dense(3, 2)]),
    "Mul and Add": ([DENSE, node("Mul", ["k", "h"], "d"), node("Add", ["c4", "d"], "y")],
                    {"k": 2.0, "c4": [1.0, 2.0, 3.0, 4.0]}, ("N", 3), [Dense(3, 4), Rescale(4)]),
    "a bias, and a sum": ([node("MatMul", ["x", "Q"], "m"), node("Add", ["m", "k"], "a"), node("Add", ["a", "c"], "y")],
                          {"k": 2.0, "Q": np.ones((3, 2))}, ("N", 3), [Dense(3, 2), Rescale(2)]),
    "Div and Sub": ([DENSE, node("Div", ["h", "k"], "d"), node("Sub", ["d", "k"], "y")], {"k": 2.0}, ("N", 3),
                    [Dense(3, 4), Standardize(4), Standardize(4)]),
    "images before Flatten": (
        [node("Sub", ["x", "k"], "d"), node("Div", ["d", "s"], "z"), node("Relu", ["z"], "r"),
         node("Flatten", ["r"], "f"), node("Gemm", ["f", "W"], "y", transB=1)],
        {"k": 0.1, "s": [[[1.0, 2.0, 3.0]]]}, ("N", 1, 3),
        [Flatten((1, 3)), Standardize(3), ReLU(), Dense(3, 4)]),
    "batch normalization": (
        [DENSE, node("BatchNormalization", ["h", "g", "b", "g", "v"], "y", epsilon=0.1)],
        {"g": [1.0, 2.0, 3.0, 4.0], "v": [4.0, 3.0, 2.0, 1.0]}, ("N", 3), [Dense(3, 4), Rescale(4)]),
    "x.view(x.size(0), -1)": (
        [node("Shape", ["x"], "size"), node("Gather", ["size", "zero"], "n", axis=0),
         node("Unsqueeze", ["n", "axis"], "N"), node("Concat", ["N", "rest"], "s", axis=0),
         node("Reshape", ["x", "s"], "f"), node("Gemm", ["f", "W"], "y", transB=1)],
        {"zero": 0, "axis": [0], "rest": [-1]}, ("N", 1, 3),
        [Flatten((1, 3)), Dense(3, 4)]),
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
                          r"node 1, '/r' \(Relu\), cannot be read: no layer computes it together with the nodes ar"),
    "shared weights": ([DENSE, node("MatMul", ["h", "Q"], "a"), node("MatMul", ["a", "Q"], "y")],
                       {"Q": np.ones((4, 4))}, r"\(MatMul\), cannot be read: it shares its weights with another"),
    "beta": ([node("Gemm", ["x", "W", "b"], "y", transB=1, beta=0.5)], {}, "its beta is 0.5, and only 1.0 is a layer"),
    "GELU by tanh": ([DENSE, node("Gelu", ["h"], "y", approximate="tanh")], {}, "its approximate is b'tanh', and only"),
    "another GELU": ([DENSE, node("Mul", ["h", "k"], "a"), node("Erf", ["a"], "y")], {"k": 0.5},
                     "its output 'y' is not that of its last layer: no layer computes the last nodes"),
    "a square": ([DENSE, node("Mul", ["h", "h"], "y")], {}, "no layer computes the last nodes"),
    "powers of two": ([DENSE, *(node("Add", [a, a], b) for a, b in zip("hijklm", "ijklmy"))], {},
                      r"\(Add\), cannot be read: no layer computes it together with the nodes around it"),
    "a threshold of 5": ([DENSE, node("Greater", ["h", "t"], "g"), node("Softplus", ["h"], "s"),
                          node("Where", ["g", "h", "s"], "y")], {"t": 5.0}, "no layer computes the last nodes"),
    "a row for each pixel": ([node("Reshape", ["x", "s"], "f"), node("MatMul", ["f", "W"], "y")], {"s": [-1, 1]},
                             r"\(Reshape\), cannot be read: it does not make each example a row"),
    "a column": ([DENSE, node("Mul", ["h", "k"], "y")], {"k": np.ones((4, 1))}, r"\(4, 1\) does not fit examples of"),
    "a row of another width": ([node("Sub", ["x", "b"], "y")], {}, r"of the shape \(4,\) does not fit examples of"),
    "a number divided": ([DENSE, node("Div", ["k", "h"], "y")], {"k": 0.5}, "no layer computes the last nodes"),
    "normalized by the batch": ([DENSE, node("BatchNormalization", ["h", "b", "b", "b", "b"], "y", training_mode=1)],
                                {}, "it computes the mean of each batch"),
    "a negative variance": ([DENSE, node("BatchNormalization", ["h", "b", "b", "b", "v"], "y")],
                            {"v": [-1.0, 1.0, 1.0, 1.0]}, "NaN or infinity"),
    "the axis of Softmax": ([DENSE, node("Softmax", ["h"], "y", axis=0)], {}, "it does not act on the last axis"),
    "the width": ([node("MatMul", ["x", "V"], "y")], {}, r"have the shape \(4, 2\), and its input 3 columns"),
    "layers that do not fit": ([DENSE, node("MatMul", ["h", "Q"], "y")], {"Q": np.ones((3, 4))}, "its input 4 columns"),
    "another domain": ([onnx.helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")], {},
                       r"node 0, 'y' \(Gelu\), cannot be read: its domain is 'com.microsoft'"),
    "a bias of another width": ([node("Gemm", ["x", "W", "c"], "y", transB=1)], {}, r"shape \(2,\) does not fit"),
    "weights of the input": ([node("MatMul", ["x", "x"], "y")], {}, "one of its other inputs is not a constant"),
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
    rng, operators = np.random.default_rng(0), [*onnx_graph.NODES, "Erf", "Where", "Greater", "Transpose", "Constant",
                                                "Shape", "Gather", "Concat", "Unsqueeze", "Conv"]
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


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("dynamo", "opset"), [(False, 13), (True, 18)])
def test_scaling_and_normalization_of_torch_are_read(dynamo, opset, tmp_path, capfd):
    torch = pytest.importorskip("torch", reason="needs torch: pip install 'feedforward[dev]'")
    if dynamo:
        pytest.importorskip("onnxscript", reason="torch's exporter needs onnxscript: pip install 'feedforward[dev]'")

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.BatchNorm1d(5), torch.nn.ReLU(),
                                              torch.nn.BatchNorm1d(5), torch.nn.Linear(5, 2))

        def forward(self, images):
            rows = ((images - 0.1307) / 0.3081).view(images.size(0), -1)
            return 5 * self.layers(rows) + 1

    torch.manual_seed(0)
    network, x = Network(), torch.randn(7, 2, 3)
    network(3 * x + 1)  # gives the normalization a mean and a variance
    with torch.no_grad():
        expected = network.eval()(x).numpy()
        export(torch, network, x, tmp_path / "m", dynamo, opset)
    model = Model.from_onnx(tmp_path / "m")
    kinds = [type(layer) for layer in model.layers]
    assert (kinds[:3], kinds[-1]) == ([Flatten, Standardize, Dense], Rescale)
    np.testing.assert_allclose(model.predict(x.numpy()), expected, atol=1e-5)


def export(torch, network, x, path, dynamo, opset):
    if dynamo:
        torch.onnx.export(network, (x,), path, dynamo=True, opset_version=opset, external_data=False,
                          dynamic_shapes=({0: "N"},))
    else:
        torch.onnx.export(network, (x,), path, dynamo=False, opset_version=opset, input_names=["x"],
                          dynamic_axes={"x": {0: "N"}})


@pytest.mark.filterwarnings("ignore")
def test_a_file_of_torch_beside_the_model_is_read(tmp_path, capfd):
    torch = pytest.importorskip("torch", reason="needs torch: pip install 'feedforward[dev]'")
    pytest.importorskip("onnxscript", reason="torch's exporter needs onnxscript: pip install 'feedforward[dev]'")
    linear = torch.nn.Linear(300, 200)
    torch.onnx.export(linear, (torch.zeros(2, 300),), tmp_path / "m", dynamo=True, external_data=True)
    assert len(list(tmp_path.iterdir())) == 2
    np.testing.assert_array_equal(Model.from_onnx(tmp_path / "m").layers[0].W, linear.weight.detach().numpy().T)


# arrays in other files

def external(tmp_path, *entries):
    """Return the path of a graph whose first arrays, W and others, are in other files."""
    proto = foreign([node("Gemm", ["x", "W"], "y", transB=1)])
    for tensor, given in zip(proto.graph.initializer, entries):
        tensor.ClearField("raw_data")
        tensor.data_location = 1
        for key, value in given.items():
            tensor.external_data.add(key=key, value=str(value))
    path = tmp_path / "folder" / "foreign.onnx"
    path.parent.mkdir()
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.mark.parametrize("entries", [{"offset": 16, "length": 48}, {"offset": 16}], ids=repr)
def test_arrays_in_a_file_beside_the_model_are_read(entries, tmp_path):
    path, W = external(tmp_path, {"location": "numbers", **entries}), np.arange(12, dtype="float32").reshape(4, 3)
    (path.parent / "numbers").write_bytes(bytes(16) + W.tobytes())
    np.testing.assert_array_equal(Model.from_onnx(path).layers[0].W, W.T)


ELSEWHERE = [*([{"location": name}] for name in ("", ".", "..", "../outside", "/etc/hostname", "none", "link", "a\0b",
                                                 "n" * 300)), [{}]]


@pytest.mark.parametrize(("entries", "message"), [
    *((entries, "which is not a file beside it: write one file, such as by torch") for entries in ELSEWHERE),
    ([{"location": "numbers", "offset": 17}], "buffer size|cannot reshape"),
    ([{"location": "numbers", "offset": 20}], "cannot reshape"),
    ([{"location": "numbers", "offset": 20, "length": 48}], "is not completely in the file 'numbers'"),
    ([{"location": "numbers", "offset": -4}], "is not completely in the file"),
    ([{"location": "numbers", "length": 10**15}], "is not completely in the file"),
    ([{"location": "numbers", "length": "long"}], "invalid literal"),
    ([{"location": "numbers", "length": 48}, {"location": "numbers", "length": 32}], "shares numbers of the file"),
], ids=lambda value: repr(value)[:60])
def test_arrays_elsewhere_are_refused(entries, message, tmp_path):
    path = external(tmp_path, *entries)
    for file in (tmp_path / "outside", path.parent / "numbers"):
        file.write_bytes(bytes(64))
    (path.parent / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(InvalidFile, match=message) as caught:
        Model.from_onnx(path)
    assert "\n" not in str(caught.value)


def test_numbers_that_stand_for_many_need_no_memory(tmp_path, monkeypatch):
    nodes = [node("Sub", ["x", "k"], "a"), node("Mul", ["a", "k"], "y")]
    with pytest.raises(InvalidFile, match="its nodes use the same arrays several times"):
        read_foreign(foreign(nodes, {"k": 2.0}, ("N", 2**40)), tmp_path)
    monkeypatch.setattr(onnx_graph, "SPARE", 10)
    nodes = [node("Sub", [a, "r"], b) for a, b in zip("xijkl", "ijkly")]
    with pytest.raises(InvalidFile, match="its nodes use the same arrays several times"):
        read_foreign(foreign(nodes, {"r": np.ones(30)}, ("N", 30)), tmp_path)
