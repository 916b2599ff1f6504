"""Saving and loading: nothing is lost, and an invalid file gives a message of one line."""

import copy
import json
import os
import pickle
import time

import numpy as np
import pytest
from safetensors.numpy import load_file as safe_load
from safetensors.numpy import save
from test_model import small, small_data

from feedforward.testing.cases import make_layer
from nn import (
    ELU,
    LAYERS,
    LOSSES,
    Checkpoint,
    CrossEntropy,
    Dense,
    History,
    InvalidFile,
    Model,
    Sigmoid,
    Softmax,
    archive,
)
from nn.activations import Elementwise
from optimizers import get


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_layer_and_loss_is_loaded_bit_for_bit(loss, dtype, tmp_path):
    last_layer = {"CrossEntropy": Softmax(), "BinaryCrossEntropy": Sigmoid()}.get(loss, ELU(alpha=0.5))
    layers = [make_layer(kind, 4, 4) for kind in LAYERS.values()]
    model = Model([*layers, Dense(4, 3, init="glorot"), last_layer], LOSSES[loss](), seed=5, dtype=dtype)
    model.save(tmp_path / "model.safetensors")
    loaded = Model.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.theta, model.theta)
    assert loaded.theta.dtype == model.theta.dtype
    assert loaded.components().description() == model.components().description()
    x = np.random.default_rng(0).normal(size=(7, 4))
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
    assert os.listdir(tmp_path) == ["model.safetensors"]


@pytest.mark.parametrize("loss", ["CrossEntropy", "BinaryCrossEntropy"])
def test_format_1_in_which_the_loss_is_a_name_is_loaded(loss, tmp_path):
    model = Model([Dense(3, 2), Softmax()], LOSSES[loss](), seed=4)
    tensors, described = saved(model)
    described["loss"] = loss
    (tmp_path / "m").write_bytes(described_as(json.dumps({"format": 1, **described}), tensors))
    loaded = Model.load(tmp_path / "m")
    np.testing.assert_array_equal(loaded.theta, model.theta)
    assert loaded.components().description() == model.components().description()


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    small(1).save(path)
    before = path.read_bytes()

    def raise_disk_full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", raise_disk_full)
    with pytest.raises(OSError, match="No space left"):
        small(2).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.safetensors"]


def saved(model=None):
    """Return the tensors and the description of a valid file."""
    model = model or small()
    tensors = {f"{i}.{name}": getattr(layer, name) for i, layer in enumerate(model.layers) for name in layer.shapes()}
    return tensors, model.components().description()


def altered(change):
    tensors, described = saved()
    change(tensors, described)
    return described_as(json.dumps({"format": 2, **described}), tensors)


def described_as(text, tensors=None):
    return save(tensors or {"a": np.zeros(3)}, {"feedforward": text})


def set_in_layer(i, **fields):
    return lambda tensors, described: described["layers"][i].update(fields)


WRONG = {
    "no checksum": (described_as('{"format": 3}'), "it has no checksum"),
    "one key twice": (described_as('{"format": 2, "format": 2}'), "the key 'format' occurs twice"),
    "empty": (b"", "header"),
    "not safetensors": (b"<html>not found</html>" * 100, "header"),
    "pickle": (b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00cos\nsystem\n", "header"),
    "truncated": (altered(lambda t, d: None)[:-9], "not a model"),
    "trailing": (altered(lambda t, d: None) + b"x", "not a model"),
    "a header of 2^60 bytes": ((2**60).to_bytes(8, "little") + b"{}", "header"),
    "of another program": (save({"a": np.zeros(3)}), "it holds tensors, but no description of feedforward"),
    "a later format": (described_as('{"format": 5}'), "its format is 5, and this version reads 1, 2, 3 and 4: use"),
    "description not JSON": (described_as("{"), "Expecting"),
    "description deep": (described_as("[" * 100_000), "not a model"),
    "description a list": (described_as("[]"), "not a model"),
    "layers a number": (altered(lambda t, d: d.update(layers=3)), "not a model"),
    "layers of numbers": (altered(lambda t, d: d.update(layers=[3, 4])), "not a model"),
    "unknown layer": (altered(set_in_layer(1, layer="os.system")), "unknown layer 'os.system': choose from Dense"),
    "layer not a name": (altered(set_in_layer(1, layer=["Dense"])), "unknown layer"),
    "unknown field": (altered(set_in_layer(0, units=3)),
                      "Dense has no field 'units': write n_in and n_out, such as .*; its fields are n_in, n_out, init"),
    "huge layer": (altered(set_in_layer(0, n_in=10**9, n_out=10**9)),
                   r"its layers need 0.W \[1000000000, 1000000000\]"),
    "infinite layer": (altered(set_in_layer(0, n_in=float("inf"))), "Infinity is not a number in JSON"),
    "negative layer": (altered(set_in_layer(0, n_in=-6)), "n_in must be a whole number of at least 1, not -6"),
    "unknown initializer": (altered(set_in_layer(0, init="__import__")), "unknown initializer"),
    "bad rate": (altered(set_in_layer(2, rate=float("nan"))), "NaN is not a number in JSON"),
    "unknown loss": (altered(lambda t, d: d.update(loss={"loss": "Hinge"})),
                     "unknown loss 'Hinge': choose from CrossEntropy"),
    "unknown dtype": (altered(lambda t, d: d.update(dtype="float8")), "unknown dtype 'float8'"),
    "bad seed": (altered(lambda t, d: d.update(seed="x")), "seed must be"),
    "layers that do not fit": (altered(set_in_layer(3, n_in=4)), "its layers need"),
    "missing tensor": (altered(lambda t, d: t.pop("0.b")), r"but it holds 0.W \[6, 5\]"),
    "one tensor more": (altered(lambda t, d: t.update(extra=np.zeros(2))), "its layers need"),
    "another shape": (altered(lambda t, d: t.update({"0.b": np.zeros((5, 1), "float32")})), "its layers need"),
    "another dtype": (altered(lambda t, d: t.update({"0.b": np.zeros(5, "float64")})), "its 0.b is float64, not"),
    "NaN": (altered(lambda t, d: t["0.b"].fill(np.nan)), "its parameters hold NaN or infinity"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_invalid_file_gives_an_error_of_one_line(case, tmp_path):
    data, message = WRONG[case]
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message) as caught:
        Model.load(path)
    assert str(caught.value).startswith(f"{path} is not a model that can be loaded: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


NESTED = "[" * 3_000_000 + "]" * 3_000_000
HOSTILE = {
    "a long tail": (lambda path: small().save(path), 20 << 30),
    "nested lists": (lambda path: path.write_bytes(described_as(json.dumps({"format": 2}) + NESTED)), 0),
    "many layers": (lambda path: path.write_bytes(altered(lambda t, d: d.update(layers=d["layers"][:2] * 20_000))), 0),
    "a long name": (lambda path: path.write_bytes(altered(set_in_layer(0, init="x" * 80_000_000))), 0),
    "many tensors": (lambda path: path.write_bytes(
        described_as("{}", {f"{i}": np.zeros(1, "uint8") for i in range(40_000)})), 0),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_refused_within_a_second(case, tmp_path):
    write, tail = HOSTILE[case]
    path = tmp_path / "model.safetensors"
    write(path)
    os.truncate(path, path.stat().st_size + tail)  # zeros, which take no space
    started = time.process_time()
    with pytest.raises(InvalidFile) as caught:
        Model.load(path)
    assert time.process_time() - started < 1
    assert len(str(caught.value)) < 600


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("read", [Model.load, History.read, lambda path: Checkpoint(path).read()])
def test_a_pipe_is_refused(read, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises((OSError, InvalidFile), match="is a pipe or a device: name a file"):
        read(tmp_path / "pipe")


def test_a_checkpoint_is_recognized(tmp_path):
    small().fit(*small_data(), get("adam"), callbacks=[Checkpoint(tmp_path / "c")], progress=False)
    with pytest.raises(InvalidFile, match=r"it is the checkpoint of a training: use Checkpoint\(path\)\.restore"):
        Model.load(tmp_path / "c")


def test_a_message_does_not_obey_the_file(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(altered(lambda t, d: t.update({"\x1b[2J\u202ename\n": np.zeros(1)})))
    with pytest.raises(InvalidFile) as caught:
        Model.load(path)
    assert str(caught.value).isprintable()
    assert "?[2J?name" in str(caught.value)


def test_a_model_that_could_not_be_read_again_is_not_written(tmp_path, monkeypatch):
    from nn import model_file

    monkeypatch.setattr(model_file, "MAX_HEADER", 300)
    with pytest.raises(ValueError, match=r"the description has .* bytes, and at most 300 can be read again"):
        small().save(tmp_path / "m")
    assert not any(tmp_path.iterdir())


def test_random_damage_gives_a_model_or_an_error_of_one_line(tmp_path):
    good = altered(lambda t, d: None)
    rng = np.random.default_rng(0)
    path = tmp_path / "model.safetensors"
    for _ in range(300):
        data = bytearray(good)
        for position in rng.integers(0, len(good), 3):
            data[position] = rng.integers(0, 256)
        path.unlink(missing_ok=True)  # a new file: some file systems write one that is overwritten to the disk at once
        path.write_bytes(data)
        message = ""
        try:
            assert np.isfinite(Model.load(path).theta).all()
        except ValueError as error:
            message = str(error)
        assert "\n" not in message


def test_every_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "model.safetensors"
    small().save(path)
    data = path.read_bytes()
    for i in np.random.default_rng(0).choice(8 * len(data), 1000, replace=False):
        flipped = bytearray(data)
        flipped[i // 8] ^= 1 << i % 8
        path.unlink()
        path.write_bytes(flipped)
        with pytest.raises(InvalidFile, match="is not a model that can be loaded"):
            Model.load(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Model.load(tmp_path / "nowhere.safetensors")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        Model.load(tmp_path)


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere: make it first"):
        small().save(tmp_path / "nowhere" / "model.safetensors")
    with pytest.raises(IsADirectoryError, match="is a folder: name a file in it"):
        small().save(tmp_path)
    model = small()
    model.theta[3] = np.nan
    with pytest.raises(ValueError, match=r"the model's weights hold NaN or infinity: .* was not written"):
        model.save(tmp_path / "model.safetensors")


def test_a_loaded_model_trains_like_the_saved_one(tmp_path):
    model, (x, y) = small(), small_data()
    model.save(tmp_path / "m")
    loaded = Model.load(tmp_path / "m")
    for m in (model, loaded):
        m.fit(x, y, get("adam"), epochs=2, batch_size=10, progress=False)
    np.testing.assert_array_equal(model.theta, loaded.theta)


class Cube(Elementwise):
    """A layer that is not registered."""

    def f(self, x, out):
        return np.power(x, 3, out=out)

    def df(self, x, y, out):
        return np.multiply(np.square(x, out=out), 3, out=out)

    def d2f(self, x, y, out):
        return np.multiply(x, 6, out=out)


def test_a_layer_that_is_not_registered_is_copied_and_pickled_but_not_saved(tmp_path):
    model = Model([Dense(3, 4), Cube(), Dense(4, 2), Softmax()], CrossEntropy(), seed=3)
    x = np.random.default_rng(0).normal(size=(5, 3))
    for duplicate in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(duplicate.predict(x), model.predict(x))
        assert not np.shares_memory(duplicate.theta, model.theta)
    with pytest.raises(ValueError, match=r"layer 1 \(Cube\(\)\) is of a class that is not registered.* was not "
                                         r"written; call nn\.register\(Cube\) first"):
        model.save(tmp_path / "model.safetensors")
    assert not any(tmp_path.iterdir())


def test_a_model_always_gives_the_same_bytes(tmp_path):
    contents = set()
    for _ in range(20):
        small(1).save(tmp_path / "m")
        contents.add((tmp_path / "m").read_bytes())
    assert len(contents) == 1


def test_the_file_is_what_the_library_writes_but_for_the_checksum(tmp_path):
    """The format is that of safetensors, whose own writer needs memory for two copies."""
    arrays = {"b": np.arange(6, dtype="float32").reshape(2, 3), "a": np.ones(3, "float32"), "0": np.array(3, "float32"),
              "empty": np.zeros((0, 4), "float32"), "transposed": np.arange(6, dtype="float32").reshape(2, 3).T,
              'a "name"\n with \u00e9': np.zeros(1, "float32")}
    description = {"text": 'a "quoted" \u00e9 \n text', "numbers": [1, 2.5, None, True]}
    archive.write(tmp_path / "a", description, arrays)
    data = (tmp_path / "a").read_bytes()
    digest = archive.CHECKSUM.search(data)[1]
    text = json.dumps({"sha256": digest.decode(), **description})
    arrays["transposed"] = np.ascontiguousarray(arrays["transposed"])
    assert parsed(data) == parsed(save(arrays, {"feedforward": text}))
    assert safe_load(tmp_path / "a").keys() == arrays.keys()
    for name, array in safe_load(tmp_path / "a").items():
        np.testing.assert_array_equal(array, arrays[name])


def parsed(data):
    """Return the header and the numbers of a file of safetensors."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int16", "uint16", "float16", "int32", "uint32", "float32",
                                   "int64", "uint64", "float64"])
def test_every_dtype_is_written_and_read(dtype, tmp_path):
    arrays = {name: np.arange(n).astype(dtype) for name, n in (("a", 3), ("b", 5))} | {"wide": np.ones(2)}
    archive.write(tmp_path / "a", {}, arrays)
    _, loaded, _ = archive.read(tmp_path / "a")
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].dtype == array.dtype


@pytest.mark.parametrize("array", [np.zeros(2, complex), np.zeros(2, np.longdouble), np.array(["text"]),
                                  np.array([None]), np.zeros(2, ">f4")])
def test_what_the_format_cannot_hold_is_an_error(array, tmp_path):
    with pytest.raises(ValueError, match=f"an array of dtype {array.dtype.str.replace('|', '.')} cannot be written"):
        archive.write(tmp_path / "a", {}, {"a": array})
    assert not any(tmp_path.iterdir())


def test_torch_computes_the_same_from_the_arrays_of_a_file(tmp_path):
    torch = pytest.importorskip("torch", reason="needs torch: pip install 'feedforward[dev]'")
    from safetensors.torch import load_file

    model = Model([Dense(6, 5), ELU(), Dense(5, 3, trainable=False), Softmax()], CrossEntropy(), seed=3)
    model.theta[:] = np.random.default_rng(0).normal(size=model.theta.shape)
    model.save(tmp_path / "m")
    tensors = load_file(tmp_path / "m")
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {
        name: array.shape for name, array in model.parameters().items()}
    network = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ELU(), torch.nn.Linear(5, 3), torch.nn.Softmax(1))
    x = np.random.default_rng(1).normal(size=(7, 6)).astype("float32")
    with torch.no_grad():
        for i in (0, 2):
            network[i].weight.copy_(tensors[f"{i}.W"].T)
            network[i].bias.copy_(tensors[f"{i}.b"])
        np.testing.assert_allclose(network(torch.from_numpy(x)).numpy(), model.predict(x), atol=1e-6)
