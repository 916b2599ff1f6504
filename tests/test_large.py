"""Folders that are read in blocks, as the data of an experiment: as in memory, continued, repeated, and refused."""

import numpy as np
import pytest

from datasets import Choices, DataError
from feedforward import Experiment, repeat
from feedforward.command import main
from feedforward.data import Data, in_memory, load_data, shape_of
from feedforward.large import LargeDataset, look_through, true_and_predicted

SILENT = {"progress": False, "figures": False}
rng = np.random.default_rng(0)
X = rng.normal(size=(300, 3)) * [1, 10, 100] + 7
LABELS = np.array(["blue", "green", "red"])[np.digitize(X[:, 0], [6.5, 7.5])]
PRICES = np.stack([X @ [1, 2, 3], X @ [1, -1, 0]], axis=1)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(folder, y=LABELS, x=X):
    """Write a folder of arrays, and the same arrays as a file of the same name."""
    folder.mkdir()
    parts = {"x_train": x[:240], "y_train": y[:240], "x_test": x[240:], "y_test": y[240:]}
    for name, array in parts.items():
        np.save(folder / f"{name}.npy", array)
    np.savez(f"{folder}.npz", **parts)
    return folder


@pytest.mark.parametrize("y", [LABELS, np.unique(LABELS, return_inverse=True)[1] + 5, LABELS == "red", PRICES,
                               PRICES[:, 0]], ids=lambda y: f"{y.dtype}{y.shape}")
def test_results_are_those_of_the_same_arrays_in_memory(y, tmp_path):
    folder = write(tmp_path / "mine", y)
    options = {"optimizer": "lbfgs", "epochs": 8, "dtype": "float64", "hidden": [4]}
    large = Experiment(dataset=folder, **options).run(**SILENT)
    small = Experiment(dataset=f"{folder}.npz", **options).run(**SILENT)
    np.testing.assert_allclose(large.model.theta, small.model.theta, rtol=1e-8, atol=1e-10)
    assert large.model.classes == small.model.classes
    assert large[0].test["loss"] == pytest.approx(small[0].test["loss"])
    assert large[0].training["accuracy"] == small[0].training["accuracy"]
    assert large.title() == small.title()
    if y.ndim == 1 and y.dtype.kind != "f":
        true, predicted = true_and_predicted(large.model, large._data.test)
        assert (true == predicted).mean() == large[0].test["accuracy"]
        assert set(large.figures()) == set(small.figures()) == {"curves", "confusion"}


def test_the_command_line(tmp_path, capsys):
    write(tmp_path / "mine")
    assert main(["--dataset", "mine", "--dry-run"]) == 0
    assert "mine: 100 epochs" in (planned := capsys.readouterr().out)
    assert "in batches of 24" in planned
    assert "Standardize(n_in=3)" in planned
    assert main(["--dataset", "mine", "--epochs", "3", "--out", "run"]) == 0
    assert ("mine: predicts y, one of 3 classes, from 3 standardized inputs; trains on 240 rows and tests on 60, which "
            "are read in blocks\n") in capsys.readouterr().err
    assert main(["--resume", "run", "--epochs", "6", "-q", "--no-plots"]) == 0
    assert main(["--dataset", "mine", "--epochs", "6", "--out", "whole", "-q", "--no-plots"]) == 0
    assert (tmp_path / "run/model.safetensors").read_bytes() == (tmp_path / "whole/model.safetensors").read_bytes()
    assert repeat("run", "again", **SILENT)[1] == []
    assert (tmp_path / "run/confusion.png").exists()


def test_parquet(tmp_path):
    polars = pytest.importorskip("polars")
    (tmp_path / "mine").mkdir()
    frame = polars.DataFrame({**{f"x{k}": X[:, k] for k in range(3)}, "colour": LABELS, "price": PRICES[:, 0]})
    for name, start, stop in (("train-a", 0, 100), ("train-b", 100, 240), ("test", 240, 300)):
        frame[start:stop].write_parquet(tmp_path / "mine" / f"{name}.parquet", row_group_size=50)
    run = Experiment(dataset="mine", target="colour", drop="price", epochs=30, lr=0.1).run("run", **SILENT)[0]
    assert run.model.feature_names == ("x0", "x1", "x2")
    assert run.test["accuracy"] > 0.8
    assert main(["predict", "run", "mine/test.parquet", "--out", "p.csv"]) == 0
    assert (tmp_path / "p.csv").read_text().startswith("colour,colour=blue")
    number = Experiment(dataset="mine", target="price", drop="colour", epochs=60, lr=0.03).run(**SILENT)[0]
    assert number.test["loss"] < 0.1
    with pytest.raises(DataError, match="can only hold numbers: leave out one_hot and missing"):
        Experiment(dataset="mine", target="price", one_hot="colour").run(**SILENT)


def test_batches_of_large_data_are_not_a_tenth():
    N = 30_000
    for part in ("train", "test"):
        np.save(f"x_{part}.npy", np.zeros((N, 1)))
        np.save(f"y_{part}.npy", np.arange(N) % 2)
    data = load_data(".", None, Choices(), print)
    assert isinstance(data, LargeDataset)
    assert shape_of(data, Choices(), True).batch_size == 1000
    assert shape_of(data, Choices(), True)._replace(in_blocks=False).batch_size == 3000


def data_of(folder, y, choices=None):
    choices = choices or Choices()
    return load_data(write(folder, y), None, choices, print), choices


@pytest.mark.parametrize(("y", "classify", "expected"), [
    (LABELS, None, (("blue", "green", "red"), 3, False)), (X[:, 0] > 7, None, ((False, True), 2, False)),
    (np.arange(300) % 5 + 1, None, ((1, 2, 3, 4, 5), 5, False)), (np.arange(300) % 5 + 1, False, (None, 1, True)),
    (np.arange(300) % 5 * 1.0, True, ((0, 1, 2, 3, 4), 5, False)), (np.arange(300) % 5 * 1.0, None, (None, 1, True)),
    (np.arange(300) % 50, None, (None, 1, False)), (np.arange(300) % 50, True, (tuple(range(50)), 50, False)),
    (np.eye(3)[np.arange(300) % 3], True, (None, 3, False)), (X, None, (None, 3, False))])
def test_classes_and_numbers(y, classify, expected, tmp_path):
    inputs, *found = look_through(*data_of(tmp_path / "mine", y, Choices(classify=classify)))
    assert tuple(found) == expected
    np.testing.assert_allclose(inputs._initial, [X[:240].mean(axis=0), X[:240].std(axis=0)], rtol=1e-13)


@pytest.mark.parametrize(("y", "classify", "message"), [
    (X[:, 0], True, "the target holds fractions, which are no classes"), (LABELS, False, "the target holds texts, "),
    (np.zeros(300, int), None, "the target is always 0: there is nothing to learn")])
def test_targets_that_do_not_fit(y, classify, message, tmp_path):
    with pytest.raises(DataError, match=message):
        look_through(*data_of(tmp_path / "mine", y, Choices(classify=classify)))


def test_many_texts_are_no_classes(tmp_path, monkeypatch):
    monkeypatch.setattr("feedforward.large.MAX_LABELS", 2)
    with pytest.raises(DataError, match="the target holds more than 2 different values, which are no classes"):
        look_through(*data_of(tmp_path / "mine", LABELS))


def test_folders_that_do_not_fit(tmp_path, capsys):
    folder = write(tmp_path / "mine")
    data: Data = load_data(folder, None, Choices(), print)
    with pytest.raises(ValueError, match="a search needs data in memory, but mine is read in blocks"):
        in_memory(data, "a search")
    run = Experiment(dataset=folder, lr="auto", epochs=1).run(**SILENT)[0]
    assert run.error == "the range test of lr 'auto' needs data in memory, but mine is read in blocks"
    Experiment(dataset=folder, epochs=2).run("run", **SILENT)
    np.save(folder / "x_test.npy", X[:60, :2])
    with pytest.raises(DataError, match="the training part has 3 inputs and the test part 2"):
        Experiment(dataset=folder).run(**SILENT)
    (folder / "x_test.npy").unlink()
    assert main(["--dataset", "mine"]) == 2
    assert "holds y_test.npy: each x_test.npy needs its y_test.npy" in capsys.readouterr().err
    folder.rename(tmp_path / "moved")
    assert main(["--resume", "run"]) == 2
    assert f"{folder}: there is no such folder" in capsys.readouterr().err
    with pytest.raises(DataError, match="no dataset is called 'mine'"):
        Experiment(dataset="mine").plan()


def test_a_file_that_is_truncated_during_a_run_ends_it_with_a_message(tmp_path):
    folder = write(tmp_path / "mine")

    class Truncate:
        def on_epoch_end(self, model, epoch):
            if epoch["epoch"] == 2:
                with open(folder / "x_train.npy", "r+b") as file:
                    file.truncate(1000)

    [run] = Experiment(dataset=folder, epochs=5).run("run", callbacks=[Truncate()], **SILENT)
    assert "x_train.npy: expected 5,888 bytes for 240 x 3 of float64, found 1,000: it is damaged" in run.error
    assert len(run.history) == 2
    np.save(folder / "x_train.npy", X[:240])
    assert len(Experiment.resume("run", **SILENT).history) == 5
