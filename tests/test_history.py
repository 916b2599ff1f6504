"""History: a sequence of epochs, a table of columns, a file."""

import os
import pickle
import time
from types import SimpleNamespace

import pandas
import pytest
from test_model import small, small_data

from nn import CSVLog, Epoch, History, InvalidFile
from optimizers import get


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
    class Norm:
        def on_epoch_end(self, model, epoch):
            epoch["norm"] = float(abs(model.theta).sum())

    history = small().fit(*small_data(), get("adam"), epochs=2, progress=False, callbacks=[Norm()])
    assert len(history["norm"]) == 2
    with pytest.raises(KeyError, match="passes, norm"):
        history["error"]


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
