"""TensorBoard: the events in its files, as tensorboard and a reader here see them; also after a kill or a full disk."""

import builtins
import io
from pathlib import Path
import sys

import numpy as np
import pytest
from test_checkpoint import Kill
from test_model import small, small_data

import feedforward as ff
from nn import Checkpoint, CSVLog, Dense, GradientNorms, MeanSquaredError, Model
from optimizers import get

pytest.importorskip("tensorboardX", reason="tensorboardX is not installed (extra tensorboard)")
PARAMETERS = [f"{i}.{name}" for i in (0, 3) for name in "Wb"]
TAGS = {f"{kind}/{name}" for kind in ("weights", "gradients") for name in PARAMETERS}


def read(folder):
    """Return the values of each kind by tag and step: what a reader shows, with epochs trained again replaced."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    values = {}
    for path in sorted(Path(folder).iterdir()):
        data = path.read_bytes()
        while len(data) > 12 and len(data) >= (end := 12 + int.from_bytes(data[:8], "little")) + 4:
            assert int.from_bytes(data[8:12], "little") == masked_crc32c(data[:8])
            assert int.from_bytes(data[end : end + 4], "little") == masked_crc32c(data[12:end])
            event = Event.FromString(data[12:end])
            if event.HasField("session_log"):
                values = {tag: {step: value for step, value in steps.items() if step < event.step}
                          for tag, steps in values.items()}
            for value in event.summary.value:
                content = getattr(value, value.WhichOneof("value"))
                assert event.step not in values.setdefault(value.tag, {}), (value.tag, event.step)
                values[value.tag][event.step] = content
            data = data[end + 4 :]
    return values


def assert_shows(folder, history, confusion):
    """Check that the folder holds the history, all histograms, and the confusion matrix of these epochs."""
    values = read(folder)
    epochs = [epoch["epoch"] for epoch in history]
    for name in history.columns:
        expected = {epoch["epoch"]: epoch[name] for epoch in history if epoch[name] is not None and name != "epoch"}
        assert values.pop(name, {}) == pytest.approx(expected, rel=1e-6)
    assert list(values.pop("confusion", [])) == confusion
    assert values.keys() == TAGS
    assert all(list(steps) == epochs for steps in values.values())
    return values


def train(folder, epochs=5, callbacks=(), history=None, optimizer=None, model=None, name="adam", **options):
    model, (x, y), optimizer = model or small(), small_data(), optimizer or get(name)
    board = ff.TensorBoard(folder, **options)
    history = model.fit(x, y, optimizer, epochs, 16, (x, y), [*callbacks, board], progress=False, history=history)
    return model, history


@pytest.mark.parametrize("name", ["adadelta", "nadam", "lbfgs"])
def test_numbers_histograms_and_the_confusion_matrix(name, tmp_path):
    gradients = {}

    class Keeps:
        def on_gradient(self, model, part, gradient):
            gradients[model.theta[part].size] = gradient.copy()

    model, history = train(tmp_path, 4, [GradientNorms(), Keeps()], confusion=3, name=name)
    values = assert_shows(tmp_path, history, confusion=[3, 4])
    (gradient,) = gradients.values()
    for kind, vector in (("weights", model.theta), ("gradients", gradient)):
        for i, part in ((0, slice(0, 30)), (3, slice(35, 50))):
            histogram, numbers = values[f"{kind}/{i}.W"][4], vector[part].astype(float)
            assert (histogram.min, histogram.max) == (numbers.min(), numbers.max())
            assert (histogram.num, sum(histogram.bucket)) == (numbers.size, numbers.size)
            assert histogram.sum == pytest.approx(numbers.sum(), abs=1e-9)
            left = np.array([-np.inf, *histogram.bucket_limit[:-1]])
            for low, high, count in zip(left[1:-1], histogram.bucket_limit[1:-1], histogram.bucket[1:-1]):
                assert np.count_nonzero((low <= numbers) & (numbers < high)) == count


def test_the_confusion_matrix_is_a_picture_with_the_names_of_the_classes(tmp_path, monkeypatch):
    from matplotlib.image import imread

    drawn, confusion = [], ff.plots.confusion

    def record(y_true, y_predicted, classes):
        drawn.append((y_true, y_predicted, classes))
        return confusion(y_true, y_predicted, classes)

    monkeypatch.setattr("feedforward.tensorboard.plots.confusion", record)
    model, _ = train(tmp_path, 2, classes=["cat", "dog", "eel"])
    x, y = small_data()
    np.testing.assert_array_equal(drawn[0][:2], [y, model.predict_classes(x)])
    assert (len(drawn), drawn[0][2]) == (1, ["cat", "dog", "eel"])
    image = read(tmp_path)["confusion"][2]
    assert imread(io.BytesIO(image.encoded_image_string)).shape == (image.height, image.width, image.colorspace)
    with pytest.raises(ValueError, match="TensorBoard: there are 2 names for 3 classes"):
        train(tmp_path, 2, classes=["cat", "dog"])


def test_how_often(tmp_path):
    train(tmp_path / "a", 5, histograms=2)
    values = read(tmp_path / "a")
    assert {tuple(values[tag]) for tag in TAGS} == {(2, 4)}
    assert list(values["loss"]) == [1, 2, 3, 4, 5]
    train(tmp_path / "b", 2, histograms=None)
    assert TAGS & read(tmp_path / "b").keys() == set()
    for options in ({"histograms": 0}, {"confusion": 1.5}):
        with pytest.raises(ValueError, match=f"TensorBoard: {next(iter(options))} must be a whole number of at least"):
            ff.TensorBoard(tmp_path, **options)


def test_a_regression_without_validation_data_has_no_confusion_matrix(tmp_path):
    model, (x, _) = Model([Dense(6, 1)], MeanSquaredError()), small_data()
    model.fit(x, x[:, 0], get("gd"), 2, callbacks=[ff.TensorBoard(tmp_path, confusion=1)], progress=False)
    assert read(tmp_path).keys() == {"loss", "lr", "seconds", "passes", *(
        f"{kind}/0.{name}" for kind in ("weights", "gradients") for name in "Wb")}


class KillAfter:
    """Raises an error at the end of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, model, epoch):
        if epoch["epoch"] == self.epoch:
            raise Kill


def continued(path):
    """Train 8 epochs, killed after the fifth, and continued from the checkpoint of the fourth; return the history."""
    for callbacks in ([KillAfter(5)], []):
        model, (x, y), optimizer = small(), small_data(), get("adam")
        checkpoint = Checkpoint(path / "checkpoint", every=4)
        callbacks = [GradientNorms(), ff.TensorBoard(path / "events"), CSVLog(path / "log.csv"), *callbacks, checkpoint]
        history = checkpoint.restore(model, optimizer, callbacks)
        try:
            model.fit(x, y, optimizer, 8 - len(history), 16, (x, y), callbacks, progress=False, history=history,
                      metrics={"errors": lambda y_true, y_predicted: (y_true != y_predicted).sum()})
        except Kill:
            continue
    return history


def test_a_continued_training_continues_its_steps(tmp_path):
    history = continued(tmp_path)
    assert history["val_errors"] == ff.History.read(tmp_path / "log.csv")["val_errors"]
    assert_shows(tmp_path / "events", history, confusion=[8])
    assert len(list((tmp_path / "events").iterdir())) == 2
    train(tmp_path / "events", 2)  # another training replaces it
    assert list(read(tmp_path / "events")["loss"]) == [1, 2]


def test_a_history_that_is_older_than_the_folder_is_written(tmp_path):
    model, (x, y), optimizer = small(), small_data(), get("adam")
    history = model.fit(x, y, optimizer, 2, progress=False)
    train(tmp_path, 2, history=history, optimizer=optimizer, model=model)
    assert list(read(tmp_path)["loss"]) == [1, 2, 3, 4]


def test_tensorboard_itself_reads_everything(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator",
                                      reason="tensorboard is not installed (extra dev)")
    history = continued(tmp_path)
    events = accumulator.EventAccumulator(str(tmp_path / "events"), {"scalars": 0, "histograms": 0, "images": 0})
    events.Reload()
    tags = events.Tags()
    assert set(tags["scalars"]) == set(history.columns) - {"epoch"}
    for name in tags["scalars"]:
        points = [(point.step, point.value) for point in events.Scalars(name)]
        assert points == [(epoch["epoch"], pytest.approx(epoch[name], rel=1e-6)) for epoch in history]
    assert set(tags["histograms"]) == TAGS
    assert all([point.step for point in events.Histograms(tag)] == list(range(1, 9)) for tag in TAGS)
    assert sum(events.Histograms("weights/0.W")[-1].histogram_value.bucket) == 30
    assert [(image.step, image.width > 100) for image in events.Images("confusion")] == [(8, True)]


@pytest.mark.parametrize("fails", [(2, 3), (4, 5)])
def test_a_full_disk_costs_only_the_histograms_of_its_epochs(fails, tmp_path, monkeypatch):
    class Disk:
        """Fills up in some epochs, after a part of what is written."""

        def on_epoch_end(self, model, epoch):
            self.full = epoch["epoch"] in fails

        def on_training_end(self, model, history):
            self.full = False

        def open(self, path, *arguments, **options):
            if self.full and "tfevents" in str(path):
                with builtins.open(path, "ab") as file:
                    file.write(b"incomplete")
                raise OSError(28, "No space left on device")
            return builtins.open(path, *arguments, **options)

    disk = Disk()
    monkeypatch.setattr(Path, "open", lambda path, *arguments, **options: disk.open(path, *arguments, **options))
    with pytest.warns(UserWarning, match="nothing was written for TensorBoard, and training goes on: .*No space") as w:
        _, history = train(tmp_path, 5, [disk])
    assert len(w) == 1
    values = read(tmp_path)
    assert list(values["loss"].values()) == pytest.approx(history["loss"])
    assert list(values["weights/0.W"]) == [epoch for epoch in range(1, 6) if epoch not in fails]
    assert list(values["confusion"]) == [5]


def test_several_runs_of_an_experiment_need_a_folder_each(tmp_path):
    experiment = ff.Experiment(["gd", "adam"], dataset="digits", hidden=(4,), epochs=2, jobs=1)
    with pytest.raises(ValueError, match=r"several runs cannot write into one folder, .*: give a function"):
        experiment.run(callbacks=[ff.TensorBoard(tmp_path)], progress=False)
    results = experiment.run(callbacks=lambda run: [ff.TensorBoard(tmp_path / run.name)], progress=False)
    for run in results:
        assert read(tmp_path / run.name)["loss"] == pytest.approx(dict(enumerate(run.history["loss"], 1)), rel=1e-6)


def test_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"^TensorBoard needs the package tensorboardX: pip install tensorboardX$"):
        ff.TensorBoard(tmp_path)
