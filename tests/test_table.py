"""Files of users: columns and arrays are read, or refused with what to do; wrong files give one error of ours."""

from contextlib import suppress
import csv
from decimal import Decimal
import io
import os
import zipfile
import zlib

import numpy as np
import pytest

from datasets import Choices, DataError, load_table
from datasets.columns import first_line, read_arrays, read_columns
from datasets.table import select_features

PASSENGERS = """\
Class,Sex,Age,Fare,Name,Survived
1,female,38,71.28,"Cumings, Mrs. John",1
3,male,,8.05,"Allen, Mr. William",0
2,female,14.5,30.07,"Nasser, Mrs. Nicholas",1
3,male,2,21.07,"Palsson, Master. Gosta",0
1,male,54,51.86,"McCarthy, Mr. Timothy",0
"""


@pytest.fixture
def passengers(tmp_path):
    path = tmp_path / "passengers.csv"
    path.write_text(PASSENGERS)
    return path


def choose(target="Survived", **options):
    return Choices(target=[target], **options)


def test_a_table_of_texts_and_missing_values_is_refused_with_what_to_do(passengers):
    for choices, message in (
            (Choices(), "choose the target, the column to predict, among Class, Sex, Age, Fare, Name, Survived"),
            (choose(), r"the columns Sex \(2 different\), Name \(5 different\) hold texts, and Age \(1 rows\) lack "
                       r"values: leave out columns \(--drop NAME ...\), or code each text as a column of 0 and 1 "
                       r"\(--one-hot NAME ...\), or replace missing numbers by their mean \(--missing mean\)$"),
            (choose(drop=["Name", "Sex"]), r"the columns Age \(1 rows\) lack values: leave out columns \(--drop "
                                           r"NAME ...\), or replace missing numbers by their mean \(--missing mean\)$"),
            (choose("survived"), r"has no column 'survived' \(target\): choose from Class, Sex"),
            (choose(drop=["Cabin"]), r"has no column 'Cabin' \(drop\)"),
            (choose(drop=["Class", "Sex", "Age", "Fare", "Name"]), "no column is left besides the target"),
            (choose("Age", drop=["Name", "Sex"]), r"1 rows lack the target Age: remove them \(empty values and the "
                                                  r"texts \?, n/a, na, nan, none, null count as missing\)"),
            (choose(drop=["Name"], one_hot=["Sex", "Age"]), r"the columns Age \(1 rows\) lack values"),
            (choose("Name", drop=["Sex"], missing="mean"), "holds 5 different texts in 5 rows, which hardly are cl"),
            (choose("Name", drop=["Sex"], classify=False, missing="mean"), "the target Name holds texts, which"),
            (choose("Fare", drop=["Name"], classify=True), "the target Fare holds fractions, which are no classes"),
            (choose("Name", drop=["Sex", "Age"], test_share=0.99), "has 5 rows, of which none are left to train on")):
        with pytest.raises(DataError, match=message):
            load_table(passengers, choices)


def test_a_table_becomes_numbers(passengers):
    data = load_table(passengers, choose(drop=["Name"], one_hot=["Sex", "Class"], missing="mean"))
    assert data.feature_names == ("Class=1", "Class=2", "Class=3", "Sex=female", "Sex=male", "Age", "Fare")
    assert (data.name, data.classes, data.labels) == ("passengers", ("0", "1"), (0, 1))
    rows = sorted(map(tuple, np.concatenate([data.x_train, data.x_test])))
    given = [row[5] for row in data.x_train if row[6] != 8.05]
    assert sorted(row[6] for row in rows) == [8.05, 21.07, 30.07, 51.86, 71.28]
    assert all(sum(row[:3]) == sum(row[3:5]) == 1 for row in rows)
    assert next(row[5] for row in rows if row[6] == 8.05) == pytest.approx(np.mean(given))  # not of the test part
    regression = load_table(passengers, choose("Fare", drop=["Name", "Sex", "Age"]))
    assert regression.labels is None
    assert regression.y_train.shape == (4, 1)
    both = load_table(passengers, Choices(target=["Fare", "Class"], drop=["Name", "Sex", "Age"]))
    assert both.y_train.shape == (4, 2)


@pytest.mark.parametrize(("values", "classify", "labels"), [
    (["a", "b"] * 10, None, ("a", "b")), ([1, 2] * 10, None, (1, 2)), ([True, False] * 10, None, (False, True)),
    (list(range(20)), None, None), (list(range(20)), True, tuple(range(20))), ([0.5, 1.0] * 10, None, None),
    (list("abcdefghijklmnopqrst"), True, tuple("abcdefghijklmnopqrst")), ([0.0, 1.0] * 10, None, None),
    ([1, 2] * 10, False, None), ([0.0, 1.0] * 10, True, (0, 1))])
def test_the_target_chooses_between_classes_and_numbers(tmp_path, values, classify, labels):
    path = tmp_path / "t.csv"
    path.write_text("x,y\n" + "".join(f"{i},{value}\n" for i, value in enumerate(values)))
    assert load_table(path, Choices(target=["y"], classify=classify)).labels == labels


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_columns_have_the_type_of_all_their_values(tmp_path, delimiter):
    rows = [["whole", "number", "yes or no", "text", "empty", "code"], ["1", "1e3", "True", "a", "", "1_000"],
            ["-2", "NA", "False", "", "?", "2"], ["3", " .5 ", "True", "1", "null", "3"]]
    path = tmp_path / "t.csv"
    path.write_text("\ufeff" + "\r\n".join(delimiter.join(row) for row in rows), encoding="utf-8")
    columns = read_columns(path)
    assert {name: column.dtype.kind for name, column in columns.items()} == dict(zip(rows[0], "ifbOfO"))
    np.testing.assert_array_equal(columns["number"], [1000, np.nan, 0.5])
    assert columns["text"].tolist() == ["a", None, "1"]
    kept = read_columns(path, rows[0])
    assert kept["number"].tolist() == ["1e3", None, ".5"]
    assert kept["yes or no"].tolist() == ["True", "False", "True"]
    assert kept["empty"].tolist() == [None] * 3


def test_parquet_gives_the_columns_of_csv(tmp_path, passengers):
    polars = pytest.importorskip("polars")
    polars.read_csv(passengers).write_parquet(tmp_path / "passengers.parquet")
    expected, columns = read_columns(passengers), read_columns(tmp_path / "passengers.parquet")
    assert list(columns) == list(expected)
    for name, column in expected.items():
        if column.dtype == object:
            assert columns[name].tolist() == column.tolist()
        else:
            np.testing.assert_array_equal(columns[name], column)
    kept, kept_of_csv = (read_columns(tmp_path / name, ["Class", "Sex", "Age"])
                         for name in ("passengers.parquet", "passengers.csv"))
    assert kept["Class"].tolist() == kept_of_csv["Class"].tolist() == ["1", "3", "2", "3", "1"]
    assert kept["Age"].tolist() == ["38.0", None, "14.5", "2.0", "54.0"]


def test_a_damaged_parquet_file_is_named(tmp_path, monkeypatch):
    polars = pytest.importorskip("polars")
    path = tmp_path / "[t].parquet"
    polars.DataFrame({"a": [Decimal("1.5"), Decimal(2)], "b": [None, None]}).write_parquet(path)
    columns = read_columns(path)
    assert (columns["a"].dtype, columns["a"].tolist()) == (np.float64, [1.5, 2])
    np.testing.assert_array_equal(columns["b"], [np.nan, np.nan])
    good = path.read_bytes()
    for content, message in ((b"PAR1" + b"nothing" * 100 + b"PAR1", "description would be larger than the file"),
                             (good[:-1], "does not begin and end as a Parquet"), (b"", "does not begin and end as"),
                             (b"P" + good, "does not begin and end as"), (good[:-100] + good[-8:], "cannot be read")):
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_columns(path)

    def panic(*_, **__):
        raise polars.exceptions.PanicException("index out of range\nin a thread")

    path.write_bytes(good)
    monkeypatch.setattr(polars, "read_parquet", panic)
    with pytest.raises(DataError, match=r"cannot be read as a table: index out of range$"):
        read_columns(path)
    monkeypatch.setattr("datasets.columns.PLAUSIBLE", 3)
    monkeypatch.setattr("datasets.columns.MAX_RATIO", 0)
    with pytest.raises(DataError, match="it holds 2 rows of 2 columns, which is not plausible"):
        read_columns(path)


@pytest.mark.parametrize(("content", "message"), [
    ("", "the first line must hold the names of the columns, not ''"),
    ("1,2,3\n4,5,6\n", "the first line must hold the names of the columns, not '1,2,3'"),
    ("a,b\n", "holds no rows"), ("a,b\n1,2\n3\n", "line 3 has 1 values, but there are 2 columns"),
    ("a,a\n1,2\n", "each column needs a name of its own"), ("a,\n1,2\n", "each column needs a name of its own"),
    (",a,y\n0,1,2\n", r"the first column has no name: write the file without the index \(index=False in pandas\), or"),
    (",\n1,2\n", "each column needs a name of its own"), ("a\x1b[2J,a,a\n1,2,3\n", "the first line is 'a.\\[2J,a,a'"),
    ('a,b\n1,"2\n', "cannot be read as a table: unexpected end of data"),
    (b"a,b\n\xff\xfe,2\n", "cannot be read as a table"),
    ("a,b\n1," + "9" * 200_000 + "\n", "cannot be read as a table: field larger than field limit")])
def test_a_wrong_csv_is_named(tmp_path, content, message):
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message):
        read_columns(path)


def test_a_file_that_does_not_exist(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    for read in (read_columns, read_arrays):
        with pytest.raises(DataError, match="there is no such file"):
            read(tmp_path / "t.csv")
        with pytest.raises(DataError, match=r"folder\.csv is not a file"):
            read(tmp_path / "folder.csv")


def test_delimiters_are_those_outside_of_quotes(tmp_path):
    (tmp_path / "t.csv").write_text('"a;b;c",y\n1,2\n')
    assert list(read_columns(tmp_path / "t.csv")) == ["a;b;c", "y"]
    (tmp_path / "t.tsv").write_text("a,b,c\ty\n1\t2\n3\t4\n")
    assert list(read_columns(tmp_path / "t.tsv")) == ["a,b,c", "y"]
    assert load_table(tmp_path / "t.tsv", Choices(target="y", test_share=0.5)).x_train.shape == (1, 1)


@pytest.mark.parametrize("names", [("x", "y"), ("data", "target"), ("images", "labels")])
def test_arrays(tmp_path, names):
    x, y = np.arange(120, dtype=np.uint8).reshape(10, 3, 4), np.array(["a", "b"] * 5)
    np.savez(tmp_path / "t.npz", **dict(zip(names, (x, y))))
    data = load_table(tmp_path / "t.npz", Choices())
    assert (data.image_shape, data.labels) == ((3, 4), ("a", "b"))
    assert (data.x_train.shape, data.x_test.shape) == ((8, 12), (2, 12))
    for row, label in zip(data.x_train, data.y_train):
        assert label == row[0] // 12 % 2


def test_arrays_with_a_test_part(tmp_path):
    rng = np.random.default_rng(0)
    np.savez_compressed(tmp_path / "t.npz", x_train=rng.normal(size=(8, 2)), y_train=rng.normal(size=8),
                        x_test=rng.normal(size=(3, 2)), y_test=rng.normal(size=3))
    data = load_table(tmp_path / "t.npz", Choices())
    assert (data.labels, data.x_train.shape, data.y_test.shape) == (None, (8, 2), (3, 1))


def parts(**others):
    return {"x_train": np.zeros((4, 2)), "y_train": np.zeros(4), "x_test": np.zeros((2, 2)), "y_test": np.zeros(2),
            **others}


@pytest.mark.parametrize("dtype", [float, int, bool])
def test_rows_with_a_single_1_are_classes(tmp_path, dtype):
    y = np.eye(3, dtype=dtype)[[0, 1, 0, 0, 1, 0]]
    np.savez(tmp_path / "t.npz", **parts(y_train=y[:4], y_test=y[4:]))
    data = load_table(tmp_path / "t.npz", Choices())
    assert (data.labels, data.y_train.tolist(), data.y_test.tolist()) == ((0, 1, 2), [0, 1, 0, 0], [1, 0])
    assert load_table(tmp_path / "t.npz", Choices(classify=False)).y_train.shape == (4, 3)
    np.savez(tmp_path / "t.npz", x=np.zeros((6, 2)), y=y.astype(float) * 2)
    assert load_table(tmp_path / "t.npz", Choices()).labels is None
    with pytest.raises(DataError, match="choose one of them as the target, not y, x"):
        load_table(tmp_path / "t.npz", Choices(["y", "x"]))


@pytest.mark.parametrize(("arrays", "message"), [
    ({"a": np.zeros((3, 2)), "b": np.zeros(3)}, "holds the arrays a, b: name them x and y"),
    ({"x": np.zeros(3), "y": np.zeros(3)}, r"x must be numbers of shape \(N, ...\)"),
    ({"x": np.zeros((30, 2)), "y": np.zeros(20)}, r"x has 30 rows, but y has shape \(20,\)"),
    ({"x": np.full((30, 2), np.nan), "y": np.zeros(30)}, "30 rows of x hold NaN or infinity"),
    ({"x": np.zeros((30, 2)), "y": np.zeros((30, 0))}, r"x has 30 rows, but y has shape \(30, 0\)"),
    ({"x": np.zeros((30, 2)), "y": np.array(1)}, r"x has 30 rows, but y has shape \(\)"),
    ({"x": np.zeros((30, 2)), "y": np.full(30, np.inf)}, "the target y holds infinite values"),
    ({"x": np.zeros((30, 2)), "y": np.full(30, 1j)}, "y must hold numbers or texts, not complex128"),
    (parts(y_train=np.zeros(6)), r"x_train has 4 rows, but y_train has shape \(6,\)"),
    (parts(x_train=np.zeros((6, 2)), y_test=np.zeros(0)), r"x_train has 6 rows, but y_train has shape \(4,\)"),
    (parts(x_test=np.zeros((2, 3))), r"x_train holds float64 of shape \(4, 2\), and x_test float64 of shape \(2, 3\)"),
    (parts(x_test=np.zeros((2, 2, 1))), "only their rows may differ"),
    (parts(x_test=np.zeros((0, 2)), y_test=np.zeros(0)), r"x_test must be numbers of shape \(N, ...\), not float64 of"),
    (parts(x_train=np.array(1)), r"x_train must be numbers of shape \(N, ...\), not int64 of shape \(\)"),
    (parts(y_test=np.array(["a", "b"])), "y_train holds float64 of shape .* and y_test <U1 of shape"),
    ({"x": np.array([[None, 1]] * 30), "y": np.zeros(30)}, "cannot be read as a file of arrays: Object arr")])
def test_wrong_arrays_are_named(tmp_path, arrays, message):
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(DataError, match=message):
        load_table(tmp_path / "t.npz", Choices())


def test_a_file_of_arrays_does_not_allocate_what_it_only_claims(tmp_path):
    claim = io.BytesIO()
    np.lib.format.write_array_header_1_0(claim, {"descr": "<f8", "fortran_order": False, "shape": (10**12, 10**3)})
    with zipfile.ZipFile(tmp_path / "claims.npz", "w") as archive:
        archive.writestr("x.npy", claim.getvalue())
    with pytest.raises(DataError, match=r"its array x.npy says that it has shape \(1000000000000, 1000\)"):
        read_arrays(tmp_path / "claims.npz")
    np.savez_compressed(tmp_path / "zeros.npz", x=np.zeros(50_000_000, np.uint8))
    with pytest.raises(DataError, match="would become more than 1000 times as large"):
        read_arrays(tmp_path / "zeros.npz")


def test_damaged_files_give_one_error(tmp_path):
    rng, good = np.random.default_rng(0), io.BytesIO()
    np.savez_compressed(good, x=rng.normal(size=(8, 2)), y=np.arange(8))
    for original, name, read in ((good.getvalue(), "t.npz", read_arrays), (PASSENGERS.encode(), "t.csv", read_columns)):
        for _ in range(300):
            damaged = bytearray(original)
            for place in rng.integers(0, len(damaged), rng.integers(1, 6)):
                damaged[place] = rng.integers(256)
            (tmp_path / name).write_bytes(damaged[: rng.integers(1, len(damaged) + 1)])
            with suppress(DataError):
                read(tmp_path / name)


@pytest.mark.parametrize("error", [EOFError(), zlib.error("Error -3 while decompressing"), IndexError("a\nb")])
def test_every_error_of_a_reader_is_one_of_ours(tmp_path, monkeypatch, error):
    def fail(*_, **__):
        raise error

    np.savez(tmp_path / "t.npz", x=np.zeros(3))
    monkeypatch.setattr(np, "load", fail)
    with pytest.raises(DataError, match=f": {first_line(error)}$"):
        read_arrays(tmp_path / "t.npz")
    assert first_line(error) in ("EOFError", "Error -3 while decompressing", "a")


def test_inputs_come_from_columns_in_any_order():
    columns = {"b": np.array([1, 2]), "a": np.array(["x", "y"], object), "n": np.array(["3", "z"], object)}
    np.testing.assert_array_equal(select_features(columns, ("a=y", "b", "n=3", "a=x", "n=z"), ["a", "n"]),
                                  [[0, 1, 1, 1, 0], [1, 2, 0, 0, 1]])
    with pytest.raises(DataError, match="the table has no column 'c', which the network takes: it has b, a"):
        select_features(columns, ("c=1",), ["c"])
    with pytest.raises(DataError, match="the column 'a' holds texts"):
        select_features(columns, ("a",))


def test_every_text_survives_quoting(tmp_path):
    texts = ['a "quote"', "a, comma", "two\nlines", "ünï", "=1+1", "'"]
    with open(tmp_path / "t.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["text"], *([text] for text in texts)])
    assert read_columns(tmp_path / "t.csv")["text"].tolist() == texts


@pytest.mark.parametrize(("options", "message"), [
    ({"target": ["y", "y"]}, "the column 'y' is named twice, in target: name it once"),
    ({"target": "y", "drop": ["y"]}, "the column 'y' is named twice, in target and drop"),
    ({"target": "y", "one_hot": ["y"]}, "the column 'y' is named twice, in target and one_hot"),
    ({"drop": "a", "one_hot": "a"}, "the column 'a' is named twice, in drop and one_hot"),
    ({"target": 3}, "target must hold names of columns, not 3"), ({"drop": None}, "drop must hold names of columns"),
    ({"one_hot": [1]}, "one_hot must hold names of columns"), ({"missing": "median"}, "missing must be 'mean' or None"),
    ({"test_share": 1}, "test_share must be above 0 and below 1")])
def test_choices_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Choices(**options)


def test_a_name_may_stand_for_a_list_of_one():
    assert Choices(target="kind", drop="a", one_hot="b") == Choices(("kind",), ("a",), ("b",))


def features(path, content, **options):
    path.write_text(content)
    data = load_table(path, Choices(target="y", test_share=0.5, **options))
    return data.feature_names, np.concatenate([data.x_train, data.x_test])


@pytest.mark.parametrize("values", [("true", "false", ""), ("01", "02", "A1"), ("1.50", "2.50", "x"),
                                    ("1", "1.0", "2")])
def test_coded_columns_hold_the_texts_of_the_file(tmp_path, values):
    for given in (values, values[:2]):
        content = "a,y\n" + "".join(f"{value},1.5\n" for value in given)
        names, x = features(tmp_path / "t.csv", content, one_hot=["a"], missing="mean")
        assert set(names) == {f"a={value}" for value in given if value}
        assert sorted(x.sum(axis=1)) == sorted(float(value != "") for value in given)


@pytest.mark.parametrize(("content", "one_hot", "message"), [
    ("a,a=u,y\nu,1,1\nv,0,2\n", ["a"], "the column 'a=u' has a name as those of the values of 'a', which is coded"),
    ("a,a=b,y\nu,1,1\nv,0,2\n", ["a=b", "a"], "the column 'a=b' has a name as those of the values of 'a'"),
    ("a,b,y\n,1,1\n?,0,2\n", ["a"], "the column 'a' holds 0 different values"),
    ("a,y\n" + "".join(f"{i},{i % 2}\n" for i in range(1001)), ["a"],
     "holds 1,001 different values, but only 1 to 1,000"),
    ("a,y\ninf,1\n1,2\n", [], "the column 'a' holds 1 infinite values: correct or remove them"),
    ("a,y\n1,inf\n1,2.5\n", [], "the target y holds infinite values"),
    ('"a\x1b[2J' + "long" * 20 + '",y\nu,1\nv,2\n', [], r"columns a\?\[2J(long){8}lon\.\.\. \(2 different\) hold")])
def test_columns_that_cannot_be_inputs_are_named(tmp_path, content, one_hot, message):
    with pytest.raises(DataError, match=message) as caught:
        features(tmp_path / "t.csv", content, one_hot=one_hot, missing="mean" if one_hot else None)
    assert str(caught.value).isprintable()


def test_a_coded_column_may_have_any_name(tmp_path):
    names, x = features(tmp_path / "t.csv", "a=b,c,a,y\nu=1,1,3,1\nv,0,3,2\n", one_hot=["a=b"])
    assert names == ("a=b=u=1", "a=b=v", "c", "a")
    assert sorted(map(tuple, x)) == [(0, 1, 0, 3), (1, 0, 1, 3)]


def test_few_of_many_columns_are_named(tmp_path):
    names = [f"c{i}" for i in range(30)]
    with pytest.raises(DataError, match=r"c7 \(1 rows\), \.\.\. \(30\) lack values"):
        features(tmp_path / "t.csv", ",".join([*names, "y"]) + "\n" + "," * 30 + "1\n" + "1," * 30 + "2\n")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_named_pipe_is_no_table(tmp_path):
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(DataError, match=r"t\.csv is not a file"):
        read_columns(tmp_path / "t.csv")
