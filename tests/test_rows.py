"""open_rows: parts of files .npy, IDX and Parquet, and of folders; what is refused; the memory of a training."""

import gzip
import os
from pathlib import Path
import struct
import subprocess
import sys

import numpy as np
import pytest

from datasets import DataError, open_rows
from datasets.parquet import Thrift, row_groups
from nn import CrossEntropy, Dense, Model, Softmax
from optimizers import get

ROOT = Path(__file__).parent.parent
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(50, 3)), rng.integers(0, 4, 50)
CUTS = [(0, 50), (0, 1), (49, 50), (9, 31), (10, 20), (20, 21), (0, 20)]


def write_idx(path, array):
    code = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}[array.dtype.str[1:]]
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.astype(array.dtype.newbyteorder(">")).tobytes())
    return path


def same(rows, x, y):
    """Check that rows give the same as arrays, whatever part is read."""
    assert len(rows) == len(x)
    assert rows.n_in == x[0].size
    for start, stop in CUTS:
        found_x, found_y = rows.read(start, stop)
        np.testing.assert_array_equal(found_x, x[start:stop].reshape(stop - start, -1))
        np.testing.assert_array_equal(found_y, y[start:stop])
        assert found_x.dtype.isnative
        assert found_y.dtype.isnative


@pytest.mark.parametrize("x", [X, X.astype("f4"), X.astype(">f8"), (10 * X).astype("i2"), X > 0, X.astype("f2"),
                               rng.normal(size=(50, 2, 3, 2))], ids=lambda x: f"{x.dtype.str}{x.shape}")
@pytest.mark.parametrize("y", [Y, Y.astype("u1"), X[:, :2], np.array(["a", "bc", "ä", ""])[Y]],
                         ids=lambda y: f"{y.dtype.str}{y.shape}")
def test_arrays(x, y, tmp_path):
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    same(open_rows(tmp_path), x, y)
    same(open_rows(str(tmp_path / "x.npy"), tmp_path / "y.npy"), x, y)


def test_parts_of_arrays(tmp_path):
    for part in ("", "_train", "_test"):
        for name, array in (("x", X), ("y", Y)):
            for number, piece in enumerate(np.split(array, [10, 11, 30])):
                np.save(tmp_path / f"{name}{part}-{number:03d}.npy", piece)
    same(open_rows(tmp_path), X, Y)
    same(open_rows(tmp_path, part="test"), X, Y)
    (tmp_path / "y_test-001.npy").unlink()
    (tmp_path / "x-001.npy").unlink()
    (tmp_path / "y-001.npy").unlink()
    np.save(tmp_path / "x_train-002.npy", X[:19, :2])
    for part, message in (("test", "holds x_test-000.npy, .*, y_test-003.npy: each x_test.npy needs its y_test.npy"),
                          ("", "parts are numbered from 0 without gaps, x-000.npy"),
                          ("train", r"x_train-002.npy holds float64 of shape \(19, 2\), but .*x_train-000.npy float64 "
                                    r"of shape \(10, 3\): all parts must have the same type and differ only in")):
        with pytest.raises(DataError, match=message):
            open_rows(tmp_path, part=part)


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
def test_idx_files(dtype, tmp_path):
    x = rng.integers(0, 100, (50, 4, 3)).astype(dtype)
    write_idx(tmp_path / "train-images-idx3-ubyte", x)
    write_idx(tmp_path / "train-labels-idx1-ubyte", Y.astype("u1"))
    write_idx(tmp_path / "t10k-images-idx3-ubyte", x[::-1])
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", Y[::-1].astype("i4"))
    expected = np.divide(x, 255, dtype="f4") if dtype == "u1" else x
    same(open_rows(tmp_path, part="train"), expected, Y)
    same(open_rows(tmp_path, part="test"), expected[::-1], Y[::-1])
    assert open_rows(tmp_path, part="train").read(0, 2)[1].dtype == np.int64


def test_pixels_are_those_of_load(tmp_path):
    from datasets import load_mnist

    if "MNIST_DIR" not in os.environ:
        pytest.skip("needs the files of MNIST: set MNIST_DIR")
    for path in Path(os.environ["MNIST_DIR"]).glob("*.gz"):
        (tmp_path / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    data = load_mnist()
    for part in ("train", "test"):
        rows, x, y = open_rows(tmp_path, part=part), getattr(data, f"x_{part}"), getattr(data, f"y_{part}")
        assert len(rows) == len(x)
        for start in (0, 5000, 9990):
            found_x, found_y = rows.read(start, start + 10)
            np.testing.assert_array_equal(found_x, x[start : start + 10])
            np.testing.assert_array_equal(found_y, y[start : start + 10])


def table(**changed):
    import polars

    columns = {"a": X[:, 0], "b": X[:, 1].astype("f4"), "c": Y, "d": Y > 1, "label": np.array(["p", "q", "r", "s"])[Y]}
    return polars.DataFrame({**columns, **changed})


@pytest.fixture
def parquet(tmp_path):
    pytest.importorskip("polars")
    frame = table()
    for number, (start, stop) in enumerate([(0, 20), (20, 21), (21, 50)]):
        frame[start:stop].write_parquet(tmp_path / f"train-{number}.parquet", row_group_size=7)
    return tmp_path


def test_parquet(parquet, monkeypatch):
    x = np.stack([X[:, 0], X[:, 1].astype("f4"), Y, Y > 1], axis=1)
    rows = open_rows(parquet, target="label")
    same(rows, x, np.array(["p", "q", "r", "s"])[Y])
    assert rows.feature_names == ("a", "b", "c", "d")
    assert rows.block_ends.tolist() == [50]  # small row groups are read together
    monkeypatch.setattr("datasets.parquet.SMALL", 6)
    rows = open_rows(parquet, part="train", target=["a", "b"], drop="label")
    same(rows, x[:, 2:], x[:, :2])
    assert rows.block_ends.tolist() == [7, 14, 20, 28, 35, 42, 49, 50]
    single = open_rows(sorted(parquet.glob("*.parquet")), target="c", drop=["a", "label"])
    same(single, x[:, [1, 3]].astype("f4"), Y)
    assert single.read(0, 5)[0].dtype == np.float32
    assert single.read(0, 5)[1].dtype == np.int64


def test_a_network_is_trained_on_parquet(parquet):
    rows = open_rows(parquet, target="label")
    model = Model([Dense(4, 4), Softmax()], CrossEntropy(), classes=["p", "q", "r", "s"])
    model.fit_rows(rows, get("adam", lr=0.1), 60, 10, validation_data=rows, progress=False)
    assert model.feature_names == ("a", "b", "c", "d")
    assert model.evaluate_rows(rows)["accuracy"] > 0.9


@pytest.mark.parametrize(("choices", "message"), [
    ({}, "choose the target, the column to predict, among a, b, c, d, label"),
    ({"target": "x"}, "has no column 'x': choose from a, b, c, d, label"),
    ({"target": "label", "drop": "x"}, "has no column 'x'"),
    ({"target": "a"}, r"the columns label \(String\) hold no numbers, and rows .*: leave these columns out \(drop\)"),
    ({"target": ["a", "label"]}, r"label \(String\) hold no numbers"),
    ({"target": "a", "drop": ["b", "c", "d", "label"]}, "no column is left besides the target")])
def test_columns_that_do_not_fit(parquet, choices, message):
    with pytest.raises(DataError, match=message):
        open_rows(parquet, **choices)


@pytest.mark.parametrize(("changed", "message"), [
    ({"a": [None, *X[1:, 0]]}, "row 0, numbered from 0, lacks a value of 'a': remove such rows, or leave out"),
    ({"label": [None, *["p"] * 49]}, "row 0, numbered from 0, lacks a value of 'label'"),
    ({"e": Y}, r"has the columns .*e \(Int64\), but .*train-0.parquet has .*: all files must have the same"),
    ({"a": Y}, r"has the columns a \(Int64\), .*, but .*a \(Float64\)")])
def test_values_that_are_missing_and_other_columns(parquet, changed, message):
    count = len(list(parquet.glob("*.parquet")))
    table(**changed).write_parquet(parquet / f"train-{count}.parquet")
    with pytest.raises(DataError, match=message):
        open_rows(parquet, target="label").read(50, 60)


@pytest.mark.parametrize("size", [1, 13, 1000])
def test_row_groups(size, tmp_path):
    polars = pytest.importorskip("polars")
    columns = {f"column {i}": rng.normal(size=1000) for i in range(20)} | {
        "text": ["ä" * 300] * 1000, "list": [[1, 2]] * 1000, "bool": [True] * 1000, "none": [None] * 1000}
    polars.DataFrame(columns).write_parquet(tmp_path / "t.parquet", row_group_size=size, statistics="full")
    assert row_groups(tmp_path / "t.parquet") == [size] * (1000 // size) + [1000 % size] * bool(1000 % size)


def test_damaged_descriptions_of_parquet(parquet):
    """If a byte of a description is wrong, the file is refused, or the byte says something that is not read."""
    path = parquet / "train-0.parquet"
    content, outcomes = path.read_bytes(), []
    size = int.from_bytes(content[-8:-4], "little")
    for at in np.random.default_rng(0).integers(len(content) - 8 - size, len(content), 300).tolist():
        for value in (0, 0xFF, content[at] ^ 1):
            path.write_bytes(content[:at] + bytes([value]) + content[at + 1 :])
            try:
                outcomes.append(row_groups(path))
            except DataError as error:
                outcomes.append(str(error))
    refused = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert outcomes.count([7, 7, 6]) > 100 < len(refused)
    assert all(sum(outcome) == 20 for outcome in outcomes if outcome not in refused)
    assert all(text.startswith(str(path)) and "\n" not in text for text in refused)
    for length in (0, 3, 11, 12, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match="cannot be read as a table"):
            row_groups(path)
    many = b"\xff" * 8 + b"\x7f"
    numbers, lists, maps = b"\x18" + many, b"\x19\xf3" + many, b"\x1b" + many + b"\x11"  # more than there is
    for data in (b"", numbers, lists, maps, b"\x1c" * 5000, b"\x18" + b"\xff" * 20):
        with pytest.raises((ValueError, IndexError, RecursionError)):
            Thrift(data).skip(12)


@pytest.mark.parametrize(("damage", "message"), [
    (lambda content: content[:-1], "expected 1,328 bytes for 50 x 3 of float64, found 1,327: it is damaged or was not"),
    (lambda content: content + b"0", "expected 1,328 bytes for 50 x 3 of float64, found 1,329"),
    (lambda content: content[:50], "cannot be read: "), (lambda content: b"", "found one that begins with b''"),
    (lambda content: b"PK" + content, "expected a file .npy, IDX or .parquet, found one that begins with b'PK"),
    (lambda content: content[:6] + b"\x09" + content[7:], r"version 1 or 2, found \(9, 0\)"),
    (lambda content: content.replace(b"<f8", b"|O8"), "must hold rows of numbers or texts, not object"),
    (lambda content: content.replace(b"(50, 3)", b"(-5, 3)"), "expected .* bytes for -5 x 3 of float64, found"),
    (lambda content: content.replace(b"(50, 3), }", b"(), }      "), "must hold rows of numbers or texts"),
    (lambda content: content.replace(b"(50, 3), }", b"(0, 3), } ")[:128], "holds no rows"),
    (lambda content: gzip.compress(content), r"is compressed, so that rows .*: decompress it, by gunzip --keep")])
def test_damaged_arrays(damage, message, tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    content = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(damage(content))
    with pytest.raises(DataError, match=message):
        open_rows(tmp_path)


@pytest.mark.parametrize(("x", "y", "message"), [
    (np.asfortranarray(X), Y, "holds its numbers column by column: write it again by numpy.save"),
    (X, Y[:-1], r"x.npy has 50 rows, but .*y.npy has shape \(49,\): it must have one target for each"),
    (X, X[:, :, None], r"y.npy has shape \(50, 3, 1\)"), (X, np.full((50, 2), "a"), r"y.npy has shape \(50, 2\)"),
    (X[:, 0], Y, r"the examples must be numbers of shape \(N, ..."), (X.astype("U3"), Y, "the examples must be numb"),
    (X + 1j, Y, "must hold rows of numbers or texts, not complex128"),
    (np.zeros(50, [("a", "f4")]), Y, "must hold rows of numbers or texts, not")])
def test_arrays_that_do_not_fit(x, y, message, tmp_path):
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    with pytest.raises(DataError, match=message):
        open_rows(tmp_path)


def test_a_file_that_changes_later_is_an_error(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    rows = open_rows(tmp_path)
    os.truncate(tmp_path / "x.npy", 700)
    with pytest.raises(DataError, match="expected 1,328 bytes for 50 x 3 of float64, found 700"):
        rows.read(0, 1)
    (tmp_path / "x.npy").unlink()
    with pytest.raises(DataError, match=r"rows 3 to 4 cannot be read: .*No such file"):
        rows.read(3, 5)
    for start, stop in ((-1, 2), (3, 3), (45, 51)):
        with pytest.raises(ValueError, match="there are 50 rows, not those from"):
            rows.read(start, stop)


def test_files_that_are_missing_or_ambiguous(tmp_path):
    def fails(message, *arguments, **options):
        with pytest.raises(DataError, match=message):
            open_rows(*arguments, **options)

    fails(r"holds no x.npy and y.npy, or \.\.\..parquet$", tmp_path)
    fails("holds no x_train.npy and y_train.npy, or train.parquet, or train-images-idx3-ubyte and", tmp_path,
          part="train")
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(b"")
    fails("decompress t10k-images-idx3-ubyte.gz by gunzip", tmp_path, part="test")
    fails("no such file|No such file", tmp_path / "missing")
    np.save(tmp_path / "x.npy", X)
    fails("holds x.npy: each x.npy needs its y.npy", tmp_path)
    fails(r"x.npy: give the files of the targets, too: open_rows\(x, y\)", tmp_path / "x.npy")
    np.save(tmp_path / "y.npy", Y)
    fails("is a folder, which holds the targets, too: leave out y", tmp_path, tmp_path / "y.npy")
    fails("target and drop are for columns of .parquet", tmp_path, target="a")
    fails("part names files of a folder", tmp_path / "x.npy", part="train")
    fails("there are 2 files of examples, but 1 of targets", [tmp_path / "x.npy"] * 2, [tmp_path / "y.npy"])
    fails("x names no file", [])
    fails("holds the targets, too: name their column by target, and leave out y", "a.parquet", "y.npy")
    fails("a.parquet: there is no such file", "a.parquet", target="y")
    (tmp_path / "other.parquet").write_bytes(b"")
    fails("holds x.npy, other.parquet: leave only one kind of files in it", tmp_path)


PROGRAM = """
import sys
from datasets import open_rows
from nn import CrossEntropy, Dense, Model, Softmax
from optimizers import get

peaks = []
for folder in sys.argv[1:]:
    rows, model = open_rows(folder), Model([Dense(500, 2), Softmax()], CrossEntropy())
    model.fit_rows(rows, get("gd"), 1, 1000, validation_data=rows, progress=False, threads=1)
    status = dict(line.split(":") for line in open("/proc/self/status"))
    peaks.append(int(status["VmHWM"].split()[0]) * 1024)
print(peaks[1] - peaks[0])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says how much memory was used at most")
def test_the_memory_of_a_training_does_not_grow_with_the_file(tmp_path):
    """A file of 300 MB, of zeros that take no space on the disk, after one of 2 MB: 16 blocks of 2 MB, and a batch."""
    for name, n in (("small", 1000), ("large", 150_000)):
        (tmp_path / name).mkdir()
        np.lib.format.open_memmap(tmp_path / name / "x.npy", "w+", np.float32, (n, 500))
        np.save(tmp_path / name / "y.npy", np.arange(n) % 2)
    folders = [str(tmp_path / "small"), str(tmp_path / "large")]
    command = [sys.executable, "-c", PROGRAM, *folders]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) < 60e6


def test_a_number_that_is_missing_between_parquet_files(parquet):
    files = sorted(parquet.glob("*.parquet"))
    files[1].unlink()
    with pytest.raises(DataError, match=rf"holds {files[0].name} to {files[-1].name}, but none with the number 1: add"):
        open_rows(parquet, target="label")
