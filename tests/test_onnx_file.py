"""ONNX files: what onnxruntime computes is what the model predicts, and nothing is lost when they are read again."""

import json
import os
import re
import subprocess
import sys

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
from test_model import small
from test_nn_registry import Scale, Swish
from test_properties import models

from feedforward.testing.cases import make_layer
from nn import (
    ELU,
    GELU,
    LAYERS,
    LOSSES,
    BinaryCrossEntropy,
    CrossEntropy,
    Dense,
    Dropout,
    Flatten,
    InvalidFile,
    LeakyReLU,
    MeanSquaredError,
    Model,
    ReLU,
    Rescale,
    Sigmoid,
    Softmax,
    Softplus,
    Standardize,
    Tanh,
    onnx_bytes,
    onnx_file,
    onnx_nodes,
    register,
)

onnx = pytest.importorskip("onnx", reason="needs onnx: pip install 'feedforward[test]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'feedforward[test]'")

ONLY_FLOAT32 = GELU  # without a kernel for float64 in onnxruntime 1.32


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(path, x):
    """Return the outputs of an ONNX file by name."""
    running = session(path)
    return dict(zip([output.name for output in running.get_outputs()], running.run(None, {"x": x})))


def check_same(model, path, x, tolerance=1e-5):
    """Compare onnxruntime with the model, relative to the largest output."""
    outputs = run(path, x)
    expected = model.predict(x)
    y = outputs.get("probabilities", outputs.get("output"))
    assert (y.shape, y.dtype) == (expected.shape, expected.dtype)
    largest = max(1, np.abs(expected).max())
    np.testing.assert_allclose(y / largest, expected / largest, rtol=0, atol=tolerance)
    assert ("label" in outputs) == model.classifies
    return outputs


def check_round_trip(model, path):
    loaded = Model.from_onnx(path)
    assert loaded.theta.tobytes() == model.theta.tobytes()
    assert loaded.constants.tobytes() == model.constants.tobytes()
    assert loaded.components().description() == model.components().description()
    return loaded


def draw_constants(model, seed=0):
    """Give means and scales other values than 0 and 1, and biases other values than 0."""
    rng = np.random.default_rng(seed)
    for name, array in model.parameters().items():
        if name.endswith((".mean", ".scale")):
            array[:] = rng.uniform(0.5, 2, array.shape)
        elif name.endswith(".b"):
            array[:] = rng.normal(size=array.shape)


def test_every_layer_has_its_nodes():
    assert set(onnx_nodes.NODES) == set(LAYERS.values())


def variants(kind):
    """Return layers of a class for four inputs."""
    fields = {Dense: [{}, {"trainable": False}], LeakyReLU: [{"slope": 0.3}, {"slope": 0.0}], ELU: [{"alpha": 1.7}],
              Flatten: [{}, {"shape": (2, 2)}]}.get(kind, [{}])
    like = make_layer(kind, 4, 4)
    return [type(like)(**{**like.description(), **changed}) for changed in fields]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layer", [layer for kind in LAYERS.values() for layer in variants(kind)], ids=repr)
def test_onnxruntime_computes_every_layer(layer, dtype, tmp_path):
    path = tmp_path / "model.onnx"
    # first, in the middle and last
    for layers in ([layer, Dense(4, 3)], [Dense(4, 4), layer, Dense(4, 3)], [Dense(4, 4), layer]):
        if isinstance(layer, Flatten) and layers[0] is not layer:
            continue
        model = Model(layers, MeanSquaredError(), seed=1, dtype=dtype)
        draw_constants(model)
        model.to_onnx(path)
        onnx.checker.check_model(onnx.load(path), full_check=True)
        check_round_trip(model, path)
        for n in (1, 7, 1000):
            shape = layer.shape if layers[0] is layer and isinstance(layer, Flatten) and layer.shape else (4,)
            x = np.random.default_rng(n).normal(size=(n, *shape)).astype(dtype) * 3
            try:
                check_same(model, path, x, 1e-5 if dtype == "float32" else 1e-13)
            except Exception as error:
                if dtype == "float32" or not isinstance(layer, ONLY_FLOAT32) or "NOT_IMPLEMENTED" not in str(error):
                    raise


def test_inputs_outputs_and_nodes_have_their_names(tmp_path):
    path = tmp_path / "model.onnx"
    model = Model([Standardize(2), Dense(2, 4), ReLU(), Dropout(0.3), Dense(4, 3), Softmax()], CrossEntropy(),
                  classes=["a", "b", "c"], feature_names=["width", "length"])
    model.to_onnx(path)
    proto = onnx.load(path)
    assert [node.name for node in proto.graph.node] == [
        "0.Standardize.Sub", "0.Standardize.Div", "1.Dense", "2.ReLU", "4.Dense", "5.Softmax", "label.ArgMax",
        "label.Gather"]
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    for name, array in model.parameters().items():
        np.testing.assert_array_equal(arrays[name], array)
    assert set(arrays) - set(model.parameters()) == {"label.classes"}
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    assert (proto.producer_name, metadata["loss"]) == ("feedforward", "CrossEntropy")
    assert proto.doc_string.endswith("Dropout(rate=0.3), Dense(n_in=4, n_out=3, init='he'), Softmax(); CrossEntropy()")
    assert proto.graph.input[0].doc_string == "width, length"
    assert json.loads(metadata["feature_names"]) == ["width", "length"]
    assert json.loads(metadata["feedforward"])["layers"][2] == {"layer": "ReLU"}
    running = session(path)
    assert [(value.name, value.type, value.shape) for value in running.get_inputs()] == [
        ("x", "tensor(float)", ["N", 2])]
    assert [(value.name, value.type, value.shape) for value in running.get_outputs()] == [
        ("probabilities", "tensor(float)", ["N", 3]), ("label", "tensor(string)", ["N"])]


@pytest.mark.parametrize("classes", [None, ["b", "a"], [7, -3], [False, True], [True, False], ["", "\u00e9\0"]])
@pytest.mark.parametrize("ending", [(1, Sigmoid, BinaryCrossEntropy), (2, Sigmoid, BinaryCrossEntropy),
                                    (2, Softmax, CrossEntropy), (1, Sigmoid, MeanSquaredError)])
def test_labels_are_those_of_predict_classes(ending, classes, tmp_path):
    width, last, loss = ending
    model = Model([Dense(3, width), last()], loss(), classes=classes)
    model.to_onnx(tmp_path / "m")
    onnx.checker.check_model(onnx.load(tmp_path / "m"), full_check=True)
    x = np.random.default_rng(0).normal(size=(50, 3)).astype("float32")
    x[0] = 0  # outputs of 1/2
    labels = run(tmp_path / "m", x)["label"]
    indices = Model(model.layers, loss(), seed=model.seed).predict_classes(x)
    assert labels.tolist() == [(classes or [0, 1])[i] for i in indices]
    assert labels.dtype == {str: object, int: np.int64, bool: bool}[type((classes or [0])[0])]
    assert len(set(labels.tolist())) == 2
    assert check_round_trip(model, tmp_path / "m").classes == model.classes


def test_a_regression_with_images_and_scales(tmp_path):
    model = Model([Flatten((2, 3)), Standardize(6), Dense(6, 2), Tanh(), Dense(2, 2), Rescale(2), Dropout(0.1)],
                  MeanSquaredError(units=(2.0, 5.0)), seed=2**40)
    draw_constants(model)
    model.to_onnx(tmp_path / "m")
    x = np.random.default_rng(0).normal(size=(7, 2, 3)).astype("float32")
    assert list(check_same(model, tmp_path / "m", x)) == ["output"]
    loaded = check_round_trip(model, tmp_path / "m")
    assert (loaded.loss.units, loaded.seed) == ((2.0, 5.0), 2**40)


def check_random_models(count, tmp_path_factory):
    """Write, read and run random models in float32, and in float64 as far as onnxruntime has kernels."""
    @given(st.data(), st.sampled_from(list(LOSSES)))
    @settings(max_examples=count, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def check(data, loss):
        drawn, n_in = data.draw(models(loss, "float32"))
        x = np.random.default_rng(0).normal(size=(5, n_in))
        for dtype, tolerance in (("float32", 1e-5), ("float64", 1e-13)):
            model = Model(drawn.layers, drawn.loss, drawn.seed, dtype)
            draw_constants(model, 1)
            path = tmp_path_factory.mktemp("models") / "model.onnx"
            model.to_onnx(path)
            check_round_trip(model, path)
            if dtype == "float32" or not any(isinstance(layer, ONLY_FLOAT32) for layer in model.layers):
                check_same(model, path, x.astype(dtype), tolerance)

    check()


def test_random_models(tmp_path_factory):
    check_random_models(20, tmp_path_factory)


@pytest.mark.slow
def test_200_random_models(tmp_path_factory):
    check_random_models(200, tmp_path_factory)


def test_a_layer_of_a_user_needs_its_nodes(tmp_path, monkeypatch):
    for kind in (Swish, Scale):
        register(kind)
    model = Model([Dense(4, 3), Swish(beta=2.0), Scale(3, start=0.5), Softmax()], CrossEntropy())
    with pytest.raises(ValueError, match=r"layer 1 \(Swish\(beta=2\.0\)\) is of a class that has no form in ONNX: say "
                                         r".*nn\.onnx_nodes\.NODES\[Swish\] = lambda op, layer, x: "):
        model.to_onnx(tmp_path / "m")
    monkeypatch.setitem(onnx_nodes.NODES, Swish, lambda op, layer, x: op(
        "Mul", x, op("Sigmoid", op("Mul", x, layer.beta))))
    monkeypatch.setitem(onnx_nodes.NODES, Scale, lambda op, layer, x: op("Product", x, op["a"]))
    with pytest.raises(ValueError, match="ONNX has no operator Product"):
        model.to_onnx(tmp_path / "m")
    assert not any(tmp_path.iterdir())
    monkeypatch.setitem(onnx_nodes.NODES, Scale, lambda op, layer, x: op("Mul", x, op["a"]))
    model.to_onnx(tmp_path / "m")
    onnx.checker.check_model(onnx.load(tmp_path / "m"), full_check=True)
    assert [node.name for node in onnx.load(tmp_path / "m").graph.node][1:5] == [
        "1.Swish.Mul", "1.Swish.Sigmoid", "1.Swish.Mul.2", "2.Scale"]
    check_same(model, tmp_path / "m", np.random.default_rng(0).normal(size=(5, 4)).astype("float32"))
    check_round_trip(model, tmp_path / "m")
    monkeypatch.delitem(onnx_nodes.NODES, Scale)
    with pytest.raises(InvalidFile, match=r"layer 2 .* has no form in ONNX"):
        Model.from_onnx(tmp_path / "m")


LARGE = [-1e4, -100, -15, -1e-3, 0, 1e-3, 15, 100, 1e4]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layer", [ELU(2.5), LeakyReLU(0.3), Tanh(), Sigmoid(), Softplus(), Softmax()], ids=repr)
def test_large_numbers(layer, dtype, tmp_path):
    model = Model([Flatten((len(LARGE),)), layer], MeanSquaredError(), dtype=dtype)
    model.to_onnx(tmp_path / "m")
    tolerance = 1e-5 if dtype == "float32" else 1e-15
    check_same(model, tmp_path / "m", np.array([LARGE], dtype), tolerance)


@pytest.mark.parametrize(("layer", "opset", "version"), [(ELU(), 13, 7), (GELU(), 20, 9)])
def test_the_opset_is_the_lowest_that_has_the_operators(layer, opset, version, tmp_path):
    Model([Dense(3, 2), layer], MeanSquaredError()).to_onnx(tmp_path / "m")
    proto = onnx.load(tmp_path / "m")
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", opset)]
    assert proto.ir_version == version


@pytest.mark.parametrize("layers", [[Flatten((3,)), Dropout(0.5)], [Dropout(0.5), Standardize(3), Dropout(0.5)],
                                    [Dense(3, 3), Dropout(0.5)]], ids=repr)
def test_dropout_is_left_out(layers, tmp_path):
    model = Model(layers, MeanSquaredError())
    model.to_onnx(tmp_path / "m")
    assert "Dropout" not in {node.op_type for node in onnx.load(tmp_path / "m").graph.node}
    check_same(model, tmp_path / "m", np.ones((4, 3), "float32"))
    check_round_trip(model, tmp_path / "m")


def test_a_registered_loss_of_a_user_is_written_and_must_be_known(tmp_path):
    class Ordinal(MeanSquaredError):
        is_regression = False

    model = Model([Dense(3, 2)], Ordinal(), classes=["a", "b"])
    with pytest.raises(ValueError, match=r"call nn\.register\(Ordinal\) first"):
        model.to_onnx(tmp_path / "m")
    register(Ordinal)
    model.to_onnx(tmp_path / "m")
    assert list(run(tmp_path / "m", np.ones((1, 3), "float32"))) == ["output", "label"]
    check_round_trip(model, tmp_path / "m")
    del LOSSES["Ordinal"]
    with pytest.raises(InvalidFile, match="unknown loss 'Ordinal'"):
        Model.from_onnx(tmp_path / "m")


@pytest.mark.parametrize(("layers", "classes", "message"), [
    ([Dense(2, 2), ELU(alpha=1e39), Softmax()], None, r"alpha of 1\.ELU\.Elu is 1e\+39, and ONNX holds it in float32"),
    ([Dense(2, 2), Softmax()], [0, 2**63], "too large"),
    ([Dense(2, 2), Softmax()], ["a", "\ud800"], "surrogates not allowed")])
def test_what_onnx_cannot_hold_is_an_error(layers, classes, message, tmp_path):
    with pytest.raises(ValueError, match=rf"a field or a label cannot be written \(.*{message}.*\): .*m was not") as e:
        Model(layers, CrossEntropy(), classes=classes).to_onnx(tmp_path / "m")
    assert "\n" not in str(e.value)
    assert not any(tmp_path.iterdir())


def test_weights_that_are_not_finite_are_not_written(tmp_path):
    model = small()
    model.theta[3] = np.nan
    with pytest.raises(ValueError, match=r"the model's weights hold NaN or infinity: .*m was not written"):
        model.to_onnx(tmp_path / "m")
    assert not any(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    small(1).to_onnx(tmp_path / "m")
    before = (tmp_path / "m").read_bytes()

    def raise_disk_full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", raise_disk_full)
    with pytest.raises(OSError, match="No space left"):
        small(2).to_onnx(tmp_path / "m")
    assert os.listdir(tmp_path) == ["m"]
    assert (tmp_path / "m").read_bytes() == before


def test_a_model_always_gives_the_same_bytes(tmp_path):
    contents = set()
    for _ in range(3):
        small(1).to_onnx(tmp_path / "m")
        contents.add((tmp_path / "m").read_bytes())
    assert len(contents) == 1


def test_a_model_that_could_not_be_read_again_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_bytes, "MAX_OTHER", 900)
    with pytest.raises(ValueError, match="the file could not be read again, because it has more than 900 bytes"):
        small().to_onnx(tmp_path / "m")
    monkeypatch.setattr(onnx_file, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match="an ONNX file holds at most 2 GiB"):
        small().to_onnx(tmp_path / "m")
    assert not any(tmp_path.iterdir())


def test_another_loss(tmp_path):
    small().to_onnx(tmp_path / "m")
    assert type(Model.from_onnx(tmp_path / "m", loss=MeanSquaredError()).loss) is MeanSquaredError


# what is refused

def altered(change):
    """Return the bytes of a valid file of ours after a change."""
    proto = onnx_file_of(Model([Standardize(3), Dense(3, 4), ELU(), Dense(4, 2), Softmax()], CrossEntropy(),
                               classes=["a", "b"]))
    change(proto)
    return proto.SerializeToString()


def onnx_file_of(model):
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        model.to_onnx(f"{folder}/m")
        return onnx.load(f"{folder}/m")


def describe(**changes):
    """Return a change of the description."""
    def change(proto):
        entry = proto.metadata_props[-1]
        entry.value = json.dumps({**json.loads(entry.value), **changes})
    return change


def array(name):
    return lambda proto: next(tensor for tensor in proto.graph.initializer if tensor.name == name)


def strip(proto):
    """Remove what other programs remove or add: names of nodes, texts and entries of their own."""
    for node in proto.graph.node:
        node.name = ""
    proto.doc_string = proto.graph.input[0].doc_string = ""
    proto.metadata_props.add(key="of another program", value="not JSON")


def test_names_and_texts_may_change(tmp_path):
    (tmp_path / "m").write_bytes(altered(strip))
    assert Model.from_onnx(tmp_path / "m").classes == ("a", "b")


def format_1(proto):
    """Make a file like one of format 1, with another opset and other nodes."""
    describe(format=1)(proto)
    proto.opset_import[0].version = 20
    proto.graph.node[-2].output[0] = proto.graph.node[-1].input[1] = "label.index"


def test_a_file_of_format_1_is_read(tmp_path):
    for name, change in (("new", lambda proto: None), ("old", format_1)):
        (tmp_path / name).write_bytes(altered(change))
    new, old = (Model.from_onnx(tmp_path / name) for name in ("new", "old"))
    assert old.theta.tobytes() == new.theta.tobytes()
    assert old.components().description() == new.components().description()


def set_external(proto):
    tensor = array("1.W")(proto)
    tensor.ClearField("raw_data")
    tensor.data_location = 1
    tensor.external_data.add(key="location", value="/etc/passwd")


WRONG = {
    "empty": (lambda proto: proto.Clear(), "it has 0 inputs and 0 outputs|its operators are of opset 0"),
    "a later format": (describe(format=3), "its format is 3, and this version reads 1 and 2: use a newer version"),
    "other weights in format 1": (lambda proto: (format_1(proto), setattr(array("1.b")(proto), "raw_data", b"1" * 16)),
                                  "its arrays are not those that were written"),
    "no object": (lambda proto: setattr(proto.metadata_props[-1], "value", "[]"), "is not a JSON object"),
    "huge layer": (describe(layers=[{"layer": "Dense", "n_in": 10**9, "n_out": 10**9}]), r"need 0.W \[1000000000, "),
    "unknown layer": (describe(layers=[{"layer": "os.system"}]), "unknown layer 'os.system'"),
    "other classes": (describe(classes=["a", "c"]), "its graph is not the one that its metadata describe"),
    "another node": (lambda proto: setattr(proto.graph.node[3], "op_type", "Relu"), "its graph is not the one"),
    "another alpha": (lambda proto: setattr(proto.graph.node[3].attribute[0], "f", 2.0), "its graph is not the one"),
    "another opset": (lambda proto: setattr(proto.opset_import[0], "version", 21), "its graph is not the one"),
    "another shape": (lambda proto: array("1.b")(proto).dims.__setitem__(0, 3), "cannot reshape"),
    "a negative shape": (lambda proto: array("1.b")(proto).dims.__setitem__(0, -1), r"has the shape \[-1\]"),
    "NaN": (lambda proto: setattr(array("1.b")(proto), "raw_data", b"\xff" * 16), "hold NaN or infinity"),
    "external": (set_external, r"its array '1\.W' must be in the file itself"),
    "two of one name": (lambda proto: proto.graph.initializer.append(array("1.b")(proto)), "have the same name"),
    "a function": (lambda proto: proto.functions.add(name="Relu"), "it holds functions"),
    "float16": (lambda proto: setattr(array("1.b")(proto), "data_type", 10), "has the data type 10 of ONNX"),
}

@pytest.mark.parametrize("case", WRONG)
def test_an_altered_file_gives_an_error_of_one_line(case, tmp_path):
    change, message = WRONG[case]
    (tmp_path / "m").write_bytes(altered(change))
    with pytest.raises(InvalidFile, match=rf"^{re.escape(str(tmp_path))}/m is not an ONNX model that can be loaded: "
                                          rf".*{message}") as caught:
        Model.from_onnx(tmp_path / "m")
    assert "\n" not in str(caught.value)


def many(number, size, count):
    """Return a graph with `count` fields of this number and of `size` zeros, which take much memory once parsed."""
    content = (bytes([number << 3 | 2, size]) + bytes(size)) * count
    return b"\x3a" + varint(len(content)) + content


def varint(value):
    return bytes([value & 127 | 128]) + varint(value >> 7) if value > 127 else bytes([value])


HOSTILE = {
    "no bytes": b"", "html": b"<html>not found</html>" * 100, "zeros": bytes(1000), "a group": b"\x0b\x0c",
    "an endless number": b"\xff" * 100, "a length beyond the end": b"\x3a\xff\xff\xff\xff\x7f", "half": b"\x3a",
    "many nodes": many(1, 0, 2_200_000), "many arrays": many(5, 0, 2_200_000),
    "safetensors": b"\x10\x00\x00\x00\x00\x00\x00\x00{}              "}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_refused(case, tmp_path):
    (tmp_path / "m").write_bytes(HOSTILE[case])
    with pytest.raises(InvalidFile, match="is not an ONNX model that can be loaded: ") as caught:
        Model.from_onnx(tmp_path / "m")
    assert len(str(caught.value)) < 600
    if case.startswith("many"):
        assert "it has more than 4,194,304 bytes besides its arrays" in str(caught.value)


def test_a_file_that_is_too_long_is_refused_before_it_is_read(tmp_path):
    (tmp_path / "m").write_bytes(altered(lambda proto: None))
    os.truncate(tmp_path / "m", 20 << 30)  # zeros, which take no space
    with pytest.raises(InvalidFile, match="an ONNX file at most 2,147,483,647"):
        Model.from_onnx(tmp_path / "m")
    os.truncate(tmp_path / "m", 2_000_000_000)
    with pytest.raises(InvalidFile, match="is not an ONNX file"):
        Model.from_onnx(tmp_path / "m")


def damage(data, rng):
    """Return bytes with a few random changes: other bytes, a part that is removed, repeated or moved."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        i, j = sorted(rng.integers(0, len(data) + 1, 2))
        kind = rng.integers(5)
        if kind < 2 and i < len(data):
            data[i] = rng.integers(256) if kind else data[i] ^ 1 << rng.integers(8)
        elif kind == 2:
            del data[i : min(j, i + 20)]
        elif kind == 3:
            data[i:i] = data[i : min(j, i + 50)]
        else:
            data[i:i] = rng.integers(0, 256, 3, dtype=np.uint8).tobytes()
    return bytes(data)


def check_damaged(good, count, path, seed=0):
    """Return how many damaged files are read as models; all others must be an InvalidFile of one line."""
    rng, models_read = np.random.default_rng(seed), 0
    for _ in range(count):
        path.write_bytes(damage(good, rng))
        message = ""
        try:
            assert np.isfinite(Model.from_onnx(path).theta).all()
            models_read += 1
        except InvalidFile as error:
            message = str(error)
        assert "\n" not in message
    return models_read


def test_random_damage_gives_a_model_or_an_error_of_one_line(tmp_path):
    assert 0 < check_damaged(altered(lambda proto: None), 300, tmp_path / "m") < 300


def test_without_onnx_the_error_says_what_to_install(tmp_path):
    code = """if True:
        import sys
        sys.modules["onnx"] = None
        from nn import Dense, MeanSquaredError, Model
        model = Model([Dense(1, 1)], MeanSquaredError())
        for call in (model.to_onnx, Model.from_onnx):
            try:
                call("m.onnx")
            except ImportError as error:
                print(error)
        """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{name} needs onnx: pip install 'feedforward[onnx]'" for name in (
        "to_onnx", "from_onnx")]


def test_a_flipped_bit_of_a_weight_is_noticed(tmp_path):
    model = Model([Dense(4, 3), ReLU(), Dense(3, 2), Softmax()], CrossEntropy())
    model.to_onnx(tmp_path / "good")
    good, weights = (tmp_path / "good").read_bytes(), np.ascontiguousarray(model.layers[0].W).tobytes()
    place = good.index(weights)
    for bit in range(0, 8 * len(weights), 13):
        damaged = bytearray(good)
        damaged[place + bit // 8] ^= 1 << bit % 8
        (tmp_path / "bad").write_bytes(damaged)
        with pytest.raises(InvalidFile, match="its arrays are not those that were written"):
            Model.from_onnx(tmp_path / "bad")
