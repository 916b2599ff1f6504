"""Checkpoints: a training that was stopped anywhere and continued ends with the same bits as one that never stopped."""

import json
import os

import numpy as np
import pytest
from test_model import small, small_data
from test_optimizer import with_lr

from nn import Checkpoint, CSVLog, EarlyStopping, History, InvalidFile, archive
from optimizers import OPTIMIZERS, Scheduled, get, parse_schedule

EPOCHS = 6


class StopAt:
    """Ends the fit after so many steps."""

    def __init__(self, steps):
        self.left = steps

    def on_step_end(self, model, examples):
        self.left -= 1
        model.stop_training = model.stop_training or self.left == 0


class Kill(Exception):
    """Stands for the end of the process."""


class KillAt(StopAt):
    """Raises an error after so many steps, before the checkpoint of that step is written."""

    def on_step_end(self, model, examples):
        self.left -= 1
        if self.left == 0:
            raise Kill


def optimizer_of(name, schedule=None):
    optimizer = with_lr(name, 0.05)
    return Scheduled(optimizer, parse_schedule(schedule, EPOCHS), unit=4) if schedule else optimizer


def train(path, name, epochs=EPOCHS, dropout=0.2, schedule=None, batch_size=16, callbacks=(), every="1s", own=(),
          validation=True, kind=Checkpoint, threads=None):
    """Train up to an epoch, or continue from the checkpoint, as a new process would."""
    model, optimizer, (x, y) = small(3, dropout=dropout), optimizer_of(name, schedule), small_data(60)
    log = CSVLog(path.with_suffix(".csv"))
    stopping = [make() for make in own]
    checkpoint = kind(path, every)
    history = checkpoint.restore(model, optimizer, stopping)
    if len(history) < epochs:
        model.fit(x, y, optimizer, epochs - len(history), batch_size, (x, y) if validation else None,
                  [*callbacks, log, *stopping, checkpoint], progress=False, history=history, threads=threads)
    return model, optimizer, history


def assert_same(continued, whole):
    (model, optimizer, history), (expected, expected_optimizer, expected_history) = continued, whole
    np.testing.assert_array_equal(model.theta, expected.theta)
    state, expected_state = optimizer.state(), expected_optimizer.state()
    assert state.keys() == expected_state.keys()
    for key, value in state.items():
        np.testing.assert_array_equal(value, expected_state[key])
    assert rows(history) == rows(expected_history)
    assert history.message == expected_history.message


def rows(history):
    return [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in history]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(("batch_size", "dropout"), [
    (16, 0.2), *(pytest.param(60, dropout, marks=pytest.mark.slow) for dropout in (0.0, 0.2))])
def test_stopped_anywhere_and_continued_it_ends_with_the_same_bits(name, batch_size, dropout, tmp_path):
    options = {"batch_size": batch_size, "dropout": dropout, "threads": 1}  # with more, BLAS is slow on small matrices
    whole = train(tmp_path / "whole", name, **options)
    steps = EPOCHS * -(-60 // batch_size)
    for number, stop in enumerate(np.random.default_rng(0).choice(np.arange(1, steps), 3, replace=False)):
        path = tmp_path / f"{number}"
        train(path, name, callbacks=[StopAt(stop)], **options)
        assert_same(train(path, name, **options), whole)
        assert History.read(path.with_suffix(".csv"))["loss"] == whole[2]["loss"]


class KilledCheckpoint(Checkpoint):
    """Writes nothing at the end, as the checkpoint of a process that is killed."""

    def on_training_end(self, model, history):
        pass


@pytest.mark.parametrize(("name", "batch_size", "schedule"), [
    ("adam", 16, None), ("gd", 60, "cosine"), ("lbfgs", 60, None), ("newton", 60, None),
    *(pytest.param(*case, marks=pytest.mark.slow) for case in (("adam", 16, "cosine"), ("lbfgs", 16, None)))])
def test_after_a_kill_it_continues_from_the_last_checkpoint(name, batch_size, schedule, tmp_path):
    options = {"batch_size": batch_size, "schedule": schedule, "dropout": 0.0, "threads": 1}
    steps = EPOCHS * -(-60 // batch_size)
    for every in (2, "1s", "3s", "4s"):
        whole = train(tmp_path / f"whole{every}", name, every=every, **options)
        for stop in sorted({1, steps // 3, steps // 2, steps - 1}):
            path = tmp_path / f"{every}-{stop}"
            with pytest.raises(Kill):
                train(path, name, every=every, callbacks=[KillAt(stop)], kind=KilledCheckpoint, **options)
            assert_same(train(path, name, every=every, **options), whole)


@pytest.mark.parametrize("schedule", ["cosine", "plateau", "warmup:2+exponential:0.9"])
def test_schedules_continue(schedule, tmp_path):
    whole = train(tmp_path / "whole", "adam", schedule=schedule)
    train(tmp_path / "a", "adam", schedule=schedule, callbacks=[StopAt(9)])
    assert_same(train(tmp_path / "a", "adam", schedule=schedule), whole)


@pytest.mark.parametrize("stop", [1, 5, 8, 13])
def test_early_stopping_continues(stop, tmp_path):
    own = [lambda: EarlyStopping("loss", patience=1, min_delta=0.15)]
    whole = train(tmp_path / "whole", "adam", own=own)
    assert len(whole[2]) < EPOCHS
    train(tmp_path / "a", "adam", own=own, callbacks=[StopAt(stop)])
    assert_same(train(tmp_path / "a", "adam", own=own), whole)
    assert_same(train(tmp_path / "a", "adam", own=own), whole)  # it remembers that it has stopped


def test_a_finished_training_can_be_prolonged(tmp_path):
    for name in ("adam", "lbfgs", "newton"):
        whole = train(tmp_path / f"whole-{name}", name, batch_size=60, dropout=0)
        train(tmp_path / name, name, epochs=3, batch_size=60, dropout=0)
        assert_same(train(tmp_path / name, name, batch_size=60, dropout=0), whole)


def test_fields_that_callbacks_change_continue(tmp_path):
    class Halve:
        def __init__(self, optimizer):
            self.optimizer = optimizer

        def on_epoch_end(self, model, epoch):
            self.optimizer.lr /= 2

    def run(path, *stops):
        for stop in stops:
            model, optimizer, (x, y) = small(3), get("adam"), small_data(60)
            checkpoint = Checkpoint(path, 1)
            history = checkpoint.restore(model, optimizer)
            model.fit(x, y, optimizer, stop - len(history), 16, callbacks=[Halve(optimizer), checkpoint],
                      progress=False, history=history)
        return model, optimizer, history

    assert_same(run(tmp_path / "a", 2, 4), run(tmp_path / "b", 4))


def damage(path, at=-1):
    """Flip a bit: by default in the numbers, at 8 in the header, whose length differs between machines and runs."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(("at", "message"), [
    (-1, "it is damaged: its checksum is not that of its content"), (8, "Error while deserializing header: .*")])
def test_if_the_newest_is_damaged_the_one_before_is_used(at, message, tmp_path):
    path = tmp_path / "a"
    whole = train(tmp_path / "whole", "adam")
    train(path, "adam", callbacks=[StopAt(9)])
    damage(path, at)
    with pytest.warns(UserWarning, match=rf"a is not a checkpoint that can be loaded: {message}; .*a\.previous, the "
                                         "one before it, is used"):
        assert_same(train(path, "adam"), whole)


def test_if_both_are_damaged_an_error_names_both(tmp_path):
    path = tmp_path / "a"
    train(path, "adam", epochs=2)
    damage(path)
    damage(path.with_name("a.previous"))
    with pytest.raises(InvalidFile, match=r"a is not a checkpoint.*; .*a\.previous is not a checkpoint"):
        train(path, "adam")


def test_every_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "a"
    train(path, "gd", epochs=1)
    path.with_name("a.previous").unlink()
    data = path.read_bytes()
    for i in np.random.default_rng(0).choice(8 * len(data), 300, replace=False):
        flipped = bytearray(data)
        flipped[i // 8] ^= 1 << i % 8
        path.unlink()  # a new file: some file systems write one that is overwritten to the disk at once
        path.write_bytes(flipped)
        with pytest.raises(InvalidFile):
            Checkpoint(path).read()


def test_other_settings_are_named(tmp_path):
    path = tmp_path / "a"
    train(path, "adam", epochs=2)
    model, (x, y) = small(3, dropout=0.2), small_data(60)
    for other, optimizer, message in [
            (small(4, dropout=0.2), with_lr("adam", 0.05), "model.seed was 3 and is 4"),
            (model, with_lr("adam", 0.06), r"optimizer was 'Adam\(lr=0.05.* and is 'Adam\(lr=0.06"),
            (model, with_lr("adamw", 0.05), r"optimizer was 'Adam\(.* and is 'AdamW\(")]:
        before = other.theta.copy()
        with pytest.raises(ValueError, match=f"a is of a training with other settings: {message}"):
            Checkpoint(path).restore(other, optimizer)
        np.testing.assert_array_equal(other.theta, before)
    for changed, message in [({"batch_size": 30}, "batch_size was 16 and is 30"), ({"x": 2 * x}, "data was "),
                             ({"shuffle": False}, "shuffle was True and is False"),
                             ({"threads": 3}, r"threads was \d+ and is 3")]:
        checkpoint, optimizer = Checkpoint(path), with_lr("adam", 0.05)
        history = checkpoint.restore(model, optimizer)
        arguments = {"x": x, "y": y, "batch_size": 16, **changed}
        with pytest.raises(ValueError, match=message):
            model.fit(optimizer=optimizer, history=history, callbacks=[checkpoint], progress=False, **arguments)


def test_another_batch_size_within_an_epoch_is_an_error():
    model, (x, y) = small(3), small_data(60)
    history, optimizer = History(), get("adam")
    model.fit(x, y, optimizer, 1, 16, callbacks=[StopAt(2)], progress=False, history=history)
    assert (len(history), history.position.steps) == (0, 2)
    with pytest.raises(ValueError, match="2 of the 4 steps of epoch 1 are complete, but an epoch now has 2 steps"):
        model.fit(x, y, optimizer, 1, 30, progress=False, history=history)


def test_a_fit_that_was_stopped_within_an_epoch_continues_there():
    whole, (x, y) = small(3, dropout=0.2), small_data(60)
    model, history, optimizer = small(3, dropout=0.2), History(), get("adam")
    expected = whole.fit(x, y, get("adam"), 2, 16, progress=False)
    model.fit(x, y, optimizer, 2, 16, callbacks=[StopAt(6)], progress=False, history=history)
    model.fit(x, y, optimizer, 1, 16, progress=False, history=history)
    np.testing.assert_array_equal(model.theta, whole.theta)
    assert rows(history) == rows(expected)


def test_a_full_disk_costs_nothing_but_the_checkpoint(tmp_path, monkeypatch):
    whole = train(tmp_path / "whole", "adam")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nn.files.os.fsync", full)
    model, (x, y), optimizer = small(3, dropout=0.2), small_data(60), with_lr("adam", 0.05)
    checkpoint = Checkpoint(tmp_path / "a", "1s")
    with pytest.warns(UserWarning, match="no checkpoint was written, and training goes on: .*No space left") as caught:
        model.fit(x, y, optimizer, EPOCHS, 16, (x, y), [checkpoint], progress=False)
    assert len(caught) == 1
    np.testing.assert_array_equal(model.theta, whole[0].theta)
    assert "No space left" in checkpoint.error


def test_what_cannot_be_saved_is_an_error_at_the_start(tmp_path):
    class Plain:
        def step(self, objective):
            return objective.value()

    model, (x, y) = small(), small_data(60)
    with pytest.raises(ValueError, match=r"Plain has no methods state\(\) and restore\(\): derive it from Optimizer"):
        model.fit(x, y, Plain(), callbacks=[Checkpoint(tmp_path / "a")], progress=False)
    with pytest.raises(ValueError, match=r"Checkpoint must follow EarlyStopping, .*: put it at the end of callbacks"):
        model.fit(x, y, get("adam"), callbacks=[Checkpoint(tmp_path / "a"), EarlyStopping("loss")], progress=False)
    for every in (0, -1, "0s", "1.5s", "s", "ten", 2.5):
        with pytest.raises(ValueError, match="every must be"):
            Checkpoint(tmp_path / "a", every)
    assert not any(tmp_path.iterdir())


def test_an_error_within_a_step_is_not_saved(tmp_path):
    class Breaks(type(get("adam"))):
        def update(self, theta, grad):
            if self.t == 6:
                theta += 1
                raise Kill
            super().update(theta, grad)

    model, (x, y), optimizer = small(3), small_data(60), Breaks(lr=0.05)
    checkpoint = Checkpoint(tmp_path / "a", "5s")
    with pytest.raises(Kill):
        model.fit(x, y, optimizer, 3, 16, callbacks=[checkpoint], progress=False)
    assert checkpoint.read().description["position"]["steps"] == 1
    assert checkpoint.read().description["position"]["epoch"] == 2


class Count:
    """A callback with a state that its text shows."""

    def __init__(self):
        self.steps = 0

    def on_step_end(self, model, examples):
        self.steps += 1

    def state(self):
        return {"steps": self.steps}

    def restore(self, values):
        self.steps = int(values["steps"])

    def __repr__(self):
        return f"Count({self.steps})"


def test_a_callback_whose_text_shows_its_state_is_restored(tmp_path):
    train(tmp_path / "a", "adam", own=[Count], callbacks=[StopAt(7)])
    train(tmp_path / "a", "adam", own=[Count], callbacks=[StopAt(4)])
    train(tmp_path / "b", "adam", own=[Count])
    train(tmp_path / "a", "adam", own=[Count])
    states = [archive.read(tmp_path / name)[1]["callback0.steps"] for name in "ab"]
    assert states[0] == states[1] == EPOCHS * 4


@pytest.mark.parametrize("event", ["on_step_end", "on_epoch_end"])
def test_an_error_in_a_callback_before_one_with_a_state_loses_nothing(event, tmp_path):
    class Raises:
        left = 5 if event == "on_epoch_end" else 18

    def raise_later(self, model, argument):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt

    setattr(Raises, event, raise_later)

    class Average(Count):
        """Counts both events."""

        def on_epoch_end(self, model, epoch):
            self.steps += 100

    own = [Average, lambda: EarlyStopping("loss", patience=2)]
    whole = train(tmp_path / "whole", "adam", own=own)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "a", "adam", own=own, callbacks=[Raises()], every="3s")
    assert_same(train(tmp_path / "a", "adam", own=own), whole)
    states = [archive.read(tmp_path / name)[1]["callback0.steps"] for name in ("a", "whole")]
    assert states[0] == states[1] == EPOCHS * 104


def test_fields_within_a_schedule_are_restored(tmp_path):
    class Doubles:
        def on_epoch_end(self, model, epoch):
            optimizer[0].optimizer.weight_decay = 2 * optimizer[0].optimizer.weight_decay + 1e-3

    optimizer = []

    def fit(path, epochs):
        model, (x, y) = small(3), small_data(60)
        optimizer[:] = [optimizer_of("adam", "cosine")]
        checkpoint = Checkpoint(path)
        history = checkpoint.restore(model, optimizer[0])
        model.fit(x, y, optimizer[0], epochs - len(history), 16, callbacks=[Doubles(), checkpoint], progress=False,
                  history=history)
        return model.theta, optimizer[0].optimizer.weight_decay

    theta, decay = fit(tmp_path / "whole", 6)
    fit(tmp_path / "a", 3)
    continued, continued_decay = fit(tmp_path / "a", 6)
    assert continued_decay == decay > 0.02
    np.testing.assert_array_equal(continued, theta)


def test_the_checkpoint_of_another_training_is_not_overwritten(tmp_path):
    train(tmp_path / "a", "adam")
    before = (tmp_path / "a").read_bytes()
    model, (x, y), optimizer = small(3, dropout=0.2), small_data(60), with_lr("adam", 0.05)
    with pytest.raises(ValueError, match=r"a holds the checkpoint of another training: call restore\(model, optimizer, "
                                         r"callbacks\) to continue it, or name another file"):
        model.fit(x, y, optimizer, 2, 16, callbacks=[Checkpoint(tmp_path / "a")], progress=False)
    checkpoint = Checkpoint(tmp_path / "a")
    history = checkpoint.restore(model, optimizer)
    for _ in range(2):
        with pytest.raises(ValueError, match="was restored, but this fit does not continue it: give fit the history"):
            model.fit(x, y, optimizer, 2, 16, callbacks=[checkpoint], progress=False)
        with pytest.raises(ValueError, match="was restored into other objects: give fit the optimizer and the"):
            model.fit(x, y, with_lr("adam", 0.05), 2, 16, callbacks=[checkpoint], progress=False, history=history)
    assert (tmp_path / "a").read_bytes() == before


def test_a_checkpoint_within_the_first_epoch_must_be_continued(tmp_path):
    train(tmp_path / "a", "adam", callbacks=[StopAt(2)])
    model, (x, y), optimizer = small(3, dropout=0.2), small_data(60), with_lr("adam", 0.05)
    checkpoint = Checkpoint(tmp_path / "a")
    assert len(checkpoint.restore(model, optimizer)) == 0
    with pytest.raises(ValueError, match="was restored, but this fit does not continue it"):
        model.fit(x, y, optimizer, 2, 16, callbacks=[checkpoint], progress=False)


def test_a_file_that_was_touched_is_still_ours(tmp_path):
    model, (x, y), optimizer, checkpoint = small(3), small_data(60), get("adam"), Checkpoint(tmp_path / "a")
    history = model.fit(x, y, optimizer, 1, 16, callbacks=[checkpoint], progress=False)
    os.utime(tmp_path / "a")
    model.fit(x, y, optimizer, 2, 16, callbacks=[checkpoint], progress=False, history=history)
    assert len(Checkpoint(tmp_path / "a").read().description["epochs"]) == 3


def test_two_trainings_with_one_file_are_noticed(tmp_path):
    class Other:
        def on_epoch_end(self, model, epoch):
            if epoch["epoch"] == 2:
                os.replace(tmp_path / "b", tmp_path / "a")

    train(tmp_path / "b", "gd", epochs=3)
    other = (tmp_path / "b").read_bytes()
    model, (x, y) = small(3), small_data(60)
    checkpoint = Checkpoint(tmp_path / "a", 1)
    with pytest.warns(UserWarning, match="no checkpoint was written, and training goes on: another training writes"):
        model.fit(x, y, get("adam"), 4, 16, callbacks=[Other(), checkpoint], progress=False)
    assert (tmp_path / "a").read_bytes() == other


@pytest.mark.parametrize("path", ["folder", "pipe", "/dev/null"])
def test_what_is_no_file_is_refused_before_training(path, tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    model, (x, y) = small(3), small_data(60)
    theta = model.theta.copy()
    with pytest.raises(OSError, match=r"is a folder: name a file in it|is a pipe or a device: name a file"):
        model.fit(x, y, get("adam"), callbacks=[Checkpoint(tmp_path / path)], progress=False)
    np.testing.assert_array_equal(model.theta, theta)
    with pytest.raises(OSError, match=r"is a folder|is a pipe or a device"):
        model.save(tmp_path / path)


@pytest.mark.parametrize("change", ["other", "none"])
def test_other_validation_data_are_an_error(change, tmp_path):
    train(tmp_path / "a", "adam", epochs=2)
    model, (x, y), optimizer = small(3, dropout=0.2), small_data(60), with_lr("adam", 0.05)
    checkpoint = Checkpoint(tmp_path / "a")
    history = checkpoint.restore(model, optimizer)
    with pytest.raises(ValueError, match="on other data: validation data was "):
        model.fit(x, y, optimizer, 2, 16, (x + 1, y) if change == "other" else None, [checkpoint], progress=False,
                  history=history)


def test_the_working_folder_may_change(tmp_path, monkeypatch):
    class Moves:
        def on_epoch_end(self, model, epoch):
            (tmp_path / "elsewhere").mkdir(exist_ok=True)
            monkeypatch.chdir(tmp_path / "elsewhere")

    monkeypatch.chdir(tmp_path)
    model, (x, y) = small(), small_data()
    model.fit(x, y, get("adam"), 3, callbacks=[Moves(), CSVLog("log"), Checkpoint("a", 1)], progress=False)
    assert len(History.read(tmp_path / "log")) == 3
    assert len(Checkpoint(tmp_path / "a").read().description["epochs"]) == 3
    assert not any((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(("change", "message"), [
    (lambda d: d.update(checkpoint=2), "its format is 2, and this version reads 1: use a newer version"),
    (lambda d: d.pop("checkpoint"), "it holds something else"),
    (lambda d: d.pop("epochs"), "epochs"),
    (lambda d: d["position"].update(steps=-1), "the position's steps is -1"),
    (lambda d: d["position"].update(steps="2"), "the position's steps is '2'"),
    (lambda d: d["position"].update(other=2), "other"),
    (lambda d: d["position"].update(rng={"bit_generator": "os.system"}), "not a checkpoint"),
    (lambda d: d.update(epochs=[3]), "not a checkpoint"),
    (lambda d: d.update(notes=3), "not a checkpoint"),
])
def test_an_invalid_checkpoint_gives_an_error_of_one_line(change, message, tmp_path):
    path = tmp_path / "a"
    train(path, "adam", epochs=1)
    path.with_name("a.previous").unlink()
    description, arrays, _ = archive.read(path)
    change(description)
    archive.write(path, description, arrays)
    with pytest.raises(InvalidFile, match=message) as caught:
        Checkpoint(path).restore(small(3, dropout=0.2), with_lr("adam", 0.05))
    assert "\n" not in str(caught.value)
    assert json.dumps(str(caught.value))


