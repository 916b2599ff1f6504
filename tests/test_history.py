"""History: a sequence of epochs, a table of columns, a file; the columns that callbacks add."""

import math
import os
import pickle
import time
from types import SimpleNamespace

import numpy as np
import pandas
import pytest
from test_model import small, small_data

from nn import Checkpoint, CSVLog, EarlyStopping, Epoch, History, InvalidFile, plots
from optimizers import get

VALUES = [np.float32(0.1), np.float64("nan"), 1e-300, np.int64(2**60), -np.inf, None, np.array(1 / 3), True]
PLAIN = [float(np.float32(0.1)), math.nan, 1e-300, 2**60, -math.inf, None, 1 / 3, 1]  # the same as Python's numbers


class Adds:
    """Adds the n-th of some values to the n-th epoch, from the first one that has it."""

    def __init__(self, name="extra", values=VALUES, first=1):
        self.name, self.values, self.first = name, values, first

    def on_epoch_end(self, model, epoch):
        if epoch["epoch"] >= self.first:
            epoch[self.name] = self.values[epoch["epoch"] - 1]


@pytest.fixture
def history():
    return small().fit(*small_data(), get("adam"), epochs=3, progress=False)


def test_a_column_an_epoch_and_the_number_of_epochs(history):
    assert history["loss"] == [epoch["loss"] for epoch in history.epochs] == history.column("loss")
    assert history["epoch"] == [1, 2, 3]
    assert history[-1] is history.epochs[-1]
    assert history[1:] == history.epochs[1:]
    assert list(history) == history.epochs
    assert len(history) == 3
    assert list(reversed(history)) == history.epochs[::-1]
    assert bool(history)
    assert not History()


def test_an_unknown_column_lists_the_names(history):
    for table in (history, History()):
        with pytest.raises(KeyError, match="history has no 'error': choose from epoch, loss, accuracy, val_loss, "):
            table["error"]
    assert History()["loss"] == []


def test_a_value_that_a_callback_adds_is_a_column():
    history = small().fit(*small_data(), get("adam"), epochs=2, progress=False, callbacks=[Adds("norm", [1.5, 2.5])])
    assert history["norm"] == [1.5, 2.5]
    assert history.columns == [*Epoch.__annotations__, "norm"]
    with pytest.raises(KeyError, match="passes, norm"):
        history["error"]


def test_added_values_are_kept_bit_for_bit(tmp_path):
    """Equal texts of numbers mean equal types and bits."""
    model, (x, y), optimizer = small(), small_data(), get("adam")
    callbacks = [Adds(), CSVLog(tmp_path / "log.csv"), Checkpoint(tmp_path / "checkpoint", every=1)]
    history = model.fit(x, y, optimizer, len(VALUES), callbacks=callbacks, progress=False)
    restored = Checkpoint(tmp_path / "checkpoint").restore(small(), get("adam"))
    for table in (history, History.read(tmp_path / "log.csv"), restored):
        assert list(map(repr, table["extra"])) == list(map(repr, PLAIN))
        assert table.columns == history.columns


@pytest.mark.parametrize("stop", [1, 3, 6])
def test_a_continued_log_has_the_same_bytes(stop, tmp_path):
    def train(name, *ends):
        for end in ends:
            model, (x, y), optimizer = small(), small_data(), get("adam")
            checkpoint = Checkpoint(tmp_path / f"{name}.checkpoint")
            callbacks = [Adds(), Adds("seconds", [0.5] * 8), Adds("late", VALUES, 4), CSVLog(tmp_path / f"{name}.csv"),
                         checkpoint]
            history = checkpoint.restore(model, optimizer, callbacks)
            model.fit(x, y, optimizer, end - len(history), callbacks=callbacks, progress=False, history=history)
        return (tmp_path / f"{name}.csv").read_bytes()

    whole = train("whole", 8)
    assert train("continued", stop, 8) == whole
    assert whole.splitlines()[0].endswith(b"passes,extra,late")
    assert History.read(tmp_path / "whole.csv")["late"][:4] == [None, None, None, 2**60]


def test_a_column_that_an_epoch_lacks_is_empty(tmp_path):
    model, (x, y), optimizer, log = small(), small_data(), get("adam"), tmp_path / "log.csv"
    history = model.fit(x, y, optimizer, 2, callbacks=[Adds(), CSVLog(log)], progress=False)
    model.fit(x, y, optimizer, 2, callbacks=[CSVLog(log)], progress=False, history=history)
    assert history["extra"][2:] == [None, None]
    assert log.read_text().splitlines()[-1].endswith(",")
    assert list(map(repr, History.read(log)["extra"])) == list(map(repr, history["extra"]))
    assert pandas.DataFrame(history)["extra"][2:].isna().all()


def test_callbacks_before_others_add_values_for_them(tmp_path):
    model, (x, y) = small(), small_data()
    callbacks = [CSVLog(tmp_path / "before"), Adds(values=range(9)), CSVLog(tmp_path / "after"),
                 EarlyStopping("extra", patience=3)]
    history = model.fit(x, y, get("adam"), 9, callbacks=callbacks, progress=False)
    assert len(history) == 4
    assert History.read(tmp_path / "before").columns == list(Epoch.__annotations__)
    assert History.read(tmp_path / "after")["extra"] == history["extra"] == [0, 1, 2, 3]
    callbacks[-1] = EarlyStopping("extra", patience=3, maximize=True)
    assert len(model.fit(x, y, get("adam"), 9, callbacks=callbacks, progress=False)) == 9


@pytest.mark.parametrize("value", ["0.5", [1.0], np.ones(1), 1j])
def test_what_is_not_a_number_is_refused_after_the_first_epoch(value):
    model, (x, y) = small(), small_data()
    with pytest.raises(ValueError, match=rf"the 'extra' of an epoch is of type {type(value).__name__}: add numbers"):
        model.fit(x, y, get("adam"), 3, callbacks=[Adds(values=[value])], progress=False)


def test_added_columns_can_be_drawn():
    callbacks = [Adds("norm", [3.0, 2.0]), Adds("val_f1", [0.1, 0.2])]
    history = small().fit(*small_data(), get("adam"), epochs=2, progress=False, callbacks=callbacks)
    figure = plots.curves(history, names=["loss", "norm", "f1"])
    assert [ax.get_ylabel() for ax in figure.axes] == ["loss", "norm", "f1"]
    labels = [[line.get_label().split(":")[0] for line in ax.lines] for ax in figure.axes]
    assert labels == [["training"], ["training"], ["validation"]]
    assert [text.get_text().split(":")[0] for text in figure.legends[0].get_texts()] == ["training", "validation"]
    assert list(figure.axes[1].lines[0].get_ydata()) == [3.0, 2.0]
    with pytest.raises(ValueError, match=r"there is no column 'f2' to plot: choose from epoch, loss, .*, val_f1"):
        plots.curves(history, names=["f2"])


def test_it_can_be_converted_to_a_data_frame(history):
    frame = pandas.DataFrame(history)
    assert list(frame.columns) == list(Epoch.__annotations__)
    assert frame["loss"].tolist() == history["loss"]
    assert len(frame) == 3


def test_repr_shows_the_last_epoch(history):
    assert repr(history).startswith(f"History(epoch 3, loss {history[-1]['loss']:.4g}, accuracy ")
    assert repr(History()) == "History(no epochs)"


def test_it_can_be_pickled(history):
    assert pickle.loads(pickle.dumps(history)).epochs == history.epochs


@pytest.mark.parametrize(("text", "message"), [
    ("a,b\n1,2\n", "is not a history that can be loaded: it has no column accuracy, epoch, "),
    (",".join(Epoch.__annotations__) + "\n1,x,,,,,,\n", "is not a history that can be loaded: line 2 holds"),
    (",".join(Epoch.__annotations__) + "\n1,2\n", "is not a history that can be loaded: line 2 holds"),
])
def test_a_file_that_is_not_a_history_is_named(text, message, tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        History.read(path)
    assert str(caught.value).startswith(f"{path} is not a history that can be loaded: ")
    assert "\n" not in str(caught.value)


def test_an_empty_log_is_an_empty_history(tmp_path):
    path = tmp_path / "log.csv"
    CSVLog(path).on_fit_begin(None, {"training": SimpleNamespace(history=History())})
    assert len(History.read(path)) == 0


def test_a_file_with_an_endless_line_is_refused_at_once(history, tmp_path):
    CSVLog(tmp_path / "log").on_fit_begin(None, {"training": SimpleNamespace(history=history)})
    os.truncate(tmp_path / "log", 3 << 30)  # zeros, which take no space
    started = time.process_time()
    with pytest.raises(InvalidFile, match="it has a line of more than 10,000 characters"):
        History.read(tmp_path / "log")
    assert time.process_time() - started < 1


@pytest.mark.parametrize("change", [
    lambda epoch: epoch.update(epoch=10 * epoch["epoch"]), lambda epoch: epoch.pop("loss"),
    lambda epoch: epoch.update(huge=10**400)])
def test_a_callback_that_spoils_an_epoch_is_named(change):
    class Spoil:
        def on_epoch_end(self, model, epoch):
            change(epoch)

    (x, y), wrong = small_data(), "a callback removed an entry of an epoch or changed its number, 1|the 'huge' of"
    with pytest.raises(ValueError, match=wrong):
        small(0).fit(x, y, get("gd"), callbacks=[Spoil()], progress=False)
