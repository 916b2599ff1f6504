"""fit: results that are equal bit for bit, divergence, interrupts, callbacks."""

import contextlib
import csv
import math
from re import escape
import sys
import tracemalloc

import numpy as np
import pytest
from test_model import small, small_data
from test_optimizer import with_lr

import nn
from nn import (
    CrossEntropy,
    CSVLog,
    Dense,
    Diverged,
    Dropout,
    EarlyStopping,
    History,
    MeanSquaredError,
    Model,
    Progress,
    ReLU,
    Softmax,
    Tanh,
)
from nn.batches import ORDER, Batches, generator
from nn.diagnosis import standstill
from nn.undo import Undo
from nn.workers import Workers
from optimizers import OPTIMIZERS, FirstOrder, compiled, get

KEYS = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "lr", "seconds", "passes"]


def run(seed=0, name="adam", **options):
    model = small(seed, dropout=0.2)
    x, y = small_data()
    history = model.fit(x, y, with_lr(name, 0.05), epochs=5, batch_size=16, progress=False, **options)
    return model, history


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_one_seed_gives_one_result_bit_for_bit(name):
    (a, history_a), (b, history_b) = run(1, name), run(1, name)
    np.testing.assert_array_equal(a.theta, b.theta)
    assert history_a.column("loss") == history_b.column("loss")
    assert (run(2, name)[0].theta != a.theta).any()


def test_callbacks_do_not_change_the_result():
    x, y = small_data(seed=5)

    class Evaluating:
        def on_epoch_end(self, model, epoch):
            model.predict(x)
            model.objective(x, y).value_and_gradient()

    np.testing.assert_array_equal(run(validation_data=(x, y), callbacks=[Evaluating()])[0].theta, run()[0].theta)


def test_the_history_of_a_fit():
    x, y = small_data()
    model = small()
    before = model.evaluate(x, y)
    history = model.fit(x, y, get("gd", lr=0.1), epochs=3, validation_data=(x, y), progress=False)
    assert [list(epoch) for epoch in history.epochs] == [KEYS] * 3
    first, last = history.epochs[0], history.epochs[-1]
    assert first["loss"] == pytest.approx(before["loss"])  # all examples in one batch, before its step
    assert first["accuracy"] == before["accuracy"]
    assert {"loss": last["val_loss"], "accuracy": last["val_accuracy"]} == model.evaluate(x, y)
    assert [last["epoch"], last["lr"], last["passes"]] == [3, 0.1, 3.0]
    assert 0 < first["seconds"] < last["seconds"]
    assert history.column("epoch") == [1, 2, 3]


@pytest.mark.parametrize(("n", "size"), [(40, 16), (40, 40), (40, 1), (41, 8)])
def test_each_epoch_has_each_example_once_in_its_own_order(n, size):
    x, target = np.arange(n, dtype=float)[:, None], -np.arange(n, dtype=float)[:, None]
    batches = Batches(x, target, size, seed=3, weight=x[:, 0])

    def order(e):
        examples = []
        for rows in batches.rows(e):
            x_batch, target_batch, weight_batch = batches.arrays(rows)
            batches.gather(rows, x_batch, target_batch, weight_batch)
            np.testing.assert_array_equal(x_batch[:, 0], weight_batch)
            np.testing.assert_array_equal(x_batch, -target_batch)
            examples += x_batch[:, 0].tolist()
        return examples

    assert sorted(order(1)) == list(range(n))
    assert len(batches) == math.ceil(n / size)
    if size < n:
        assert order(1) == list(generator(ORDER, 3, 1).permutation(n))
        assert order(1) == order(1) != order(2)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_fit_in_two_parts_equals_one_fit(name, tmp_path):
    expected, history = run(name=name)
    (model, (x, y)), optimizer = (small(0, dropout=0.2), small_data()), with_lr(name, 0.05)
    options = {"batch_size": 16, "progress": False, "callbacks": [CSVLog(tmp_path / "log.csv")]}
    part = model.fit(x, y, optimizer, epochs=2, **options)
    model.fit(x, y, optimizer, epochs=3, history=part, **options)
    np.testing.assert_array_equal(model.theta, expected.theta)
    assert part.column("loss") == history.column("loss")
    assert part.column("epoch") == [1, 2, 3, 4, 5]
    assert part.column("passes") == history.column("passes")
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 6


class Exploding:
    """Gradient descent that returns `value` as the loss of its k-th step."""

    def __init__(self, k, value):
        self.k, self.value, self.thetas = k, value, []

    def step(self, objective):
        self.k -= 1
        self.thetas.append(objective.theta.copy())
        loss, grad = objective.value_and_gradient()
        objective.theta -= 0.1 * grad
        return self.value if self.k == 0 else loss


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("k", "epoch", "step"), [(1, 1, 1), (2, 1, 2), (5, 2, 2)])
def test_a_loss_that_is_not_finite_stops_in_that_step_and_keeps_the_last_finite_weights(value, k, epoch, step):
    model, (x, y) = small(), small_data()
    optimizer = Exploding(k, value)
    with pytest.raises(Diverged, match=rf"the loss became {value} in epoch {epoch}, step {step}") as caught:
        model.fit(x, y, optimizer, epochs=3, batch_size=16, progress=False)
    assert (caught.value.epoch, caught.value.step) == (epoch, step)
    assert len(caught.value.history.epochs) == epoch - 1
    assert len(optimizer.thetas) == k
    np.testing.assert_array_equal(model.theta, optimizer.thetas[max(k - 2, 0)])  # the last with a finite loss


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_after_a_real_divergence_the_weights_are_finite_and_numpy_warns_of_nothing(name):
    model, (x, y) = small(), small_data()
    with contextlib.suppress(Diverged):
        model.fit(1e4 * x, y, with_lr(name, 1e30), epochs=5, batch_size=16, progress=False)
    assert np.isfinite(model.theta).all()


def test_a_training_that_makes_the_model_worse_says_so():
    x, y = small_data()
    for lr, epochs in ((1e9, 3), (1e5, 1), (1e2, 8)):
        with pytest.warns(UserWarning, match=r"the loss rose from .* to .*: training made") as w:
            history = small().fit(x, y, get("adam", lr=lr), epochs, 10)
        assert history.message == str(w[0].message)
        assert w[0].filename == __file__
    assert len(small().fit(x, y, get("adam"), 3, 10, progress=False).message) == 0
    fine = small()
    fine.fit(x, y, get("adam", lr=0.05), 300, 10, progress=False)
    history = fine.fit(x, y, get("adam", lr=0.05), 3, 10, progress=False)  # its losses are small, and differ by batch
    assert history.message == ""


@pytest.mark.parametrize("seed", range(20))
def test_a_training_on_noise_that_has_not_failed_is_not_reported(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(200, 4))
    for y in (np.sin(x[:, 0]) + 0.3 * rng.normal(size=200), rng.normal(size=200)):
        model = Model([Dense(4, 16), Tanh(), Dense(16, 1)], MeanSquaredError(), seed=seed)
        assert model.fit(x, y, get("adam"), 1, 1, progress=False).message == ""


@pytest.mark.parametrize("name", ["gd", "adam", "lbfgs"])
def test_a_training_that_has_reached_its_minimum_is_not_reported(name):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 3))
    y = x @ [1.0, 2.0, 3.0] + 0.1 * rng.normal(size=500)
    model = Model([Dense(3, 1)], MeanSquaredError(), dtype="float64")
    history = model.fit(x, y, with_lr(name, 0.1), 300, progress=False)
    assert "the loss has been" not in history.message


@pytest.mark.parametrize("name", ["lbfgs", "bfgs", "cg", "newton", "lm"])
def test_a_second_order_method_names_the_gradient_that_is_not_finite(name):
    class NoSlope(Tanh):
        def df(self, x, y, out):
            out.fill(np.nan)
            return out

    model, (x, _) = Model([Dense(6, 4), NoSlope(), Dense(4, 1)], MeanSquaredError()), small_data()
    history = model.fit(x, x[:, :1], get(name), 3, progress=False)
    assert "(the gradient of W of layer 0 (Dense(n_in=6, n_out=4, init='he')) holds 24 NaN or" in history.message
    assert "\n" not in history.message


@pytest.mark.parametrize("name", ["adam", "rmsprop", "adagrad", "adadelta", "nadam", "amsgrad"])
def test_a_state_that_overflows_is_named(name):
    model, (x, _) = Model([Dense(6, 4), Dense(4, 1)], MeanSquaredError()), small_data()
    with pytest.warns(UserWarning, match=r"the loss has been .* for 5 epochs: \w+ of the optimizer holds .* too large"):
        model.fit(1e12 * x, 1e18 * x[:, :1], get(name), 6, progress=False)


def test_a_number_of_the_state_that_is_infinite_at_first_is_not_blamed():
    (x, y), model, optimizer = small_data(), small(), get("newton")
    assert optimizer.state()["floor"] == np.inf
    assert standstill(model.network, optimizer, [0.1] * 5, model.check_data(x, y)[1]) == ""


def test_a_validation_loss_that_is_not_finite_is_said():
    model, (x, _) = Model([Dense(6, 1)], MeanSquaredError()), small_data()
    with pytest.warns(UserWarning, match="the loss of the validation data is inf, that of the training data"):
        model.fit(x, x[:, :1], get("adam"), 2, validation_data=(1e30 * x, x[:, :1]), progress=False)


@pytest.mark.parametrize("name", ["gd", "adam"])
def test_the_layer_whose_output_overflows_is_named(name):
    model, (x, y) = small(dtype="float32"), small_data()
    model.layers[0].b[:] = 20
    model.layers[3].W[:] = 1e38
    with pytest.raises(Diverged, match=r"the loss became (nan|inf) in epoch 1, step 1, with lr .*the output of layer "
                                       r"3 \(Dense\(.*?\)\) holds [\d,]+ NaN or infinite numbers of 48"):
        model.fit(x, y, get(name), batch_size=16, progress=False)


def test_a_loss_that_overflows_while_no_layer_does_names_the_largest_output():
    model = Model([Dense(1, 1)], MeanSquaredError(), dtype="float32")
    model.layers[0].W[:] = 1e30
    with pytest.raises(Diverged, match=r"the loss became inf in epoch 1, step 1, .*\(outputs are up to 1e\+30\)"):
        model.fit([[1.0]], [[1.0]], get("gd"), progress=False)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_weights_that_are_not_finite_stop_training_in_that_step(number):
    class Infinite:
        lr, left = 0.5, number

        def step(self, objective):
            self.left -= 1
            if self.left == 0:
                model.layers[3].b[1] = np.inf
            return 1.0

    model, (x, y) = small(), small_data(60)
    before = model.theta.copy()
    with pytest.raises(Diverged, match=rf"weights became NaN or infinite in epoch 1, step {number}, with lr 0.5 \(b of "
                                       r"layer 3 \(Dense\(.*?\)\) holds 1 NaN or infinite numbers of 3\)"):
        model.fit(x, y, Infinite(), batch_size=16, progress=False)
    np.testing.assert_array_equal(model.theta, before)


@pytest.mark.parametrize("name", [name for name, kind in OPTIMIZERS.items() if issubclass(kind, FirstOrder)])
def test_a_gradient_that_is_not_finite_is_reported_in_its_step(name):
    class Overflows(MeanSquaredError):
        def gradient(self, z, target, scale, out):
            super().gradient(z, target, scale, out)
            out[0] = np.nan
            return out

    model, (x, _) = Model([Dense(6, 4), Tanh(), Dense(4, 1)], Overflows()), small_data()
    before = model.theta.copy()
    with pytest.raises(Diverged, match=r"weights became NaN or infinite in epoch 1, step 1, .*the gradient of W of "
                                       r"layer 0 \(Dense\(.*?\)\) holds"):
        model.fit(x, x[:, :1], get(name), batch_size=16, progress=False)
    np.testing.assert_array_equal(model.theta, before)


def test_an_interrupt_within_a_step_restores_the_weights_before_it():
    class Interrupted(Exploding):
        def step(self, objective):
            loss = super().step(objective)
            if self.k == 0:
                objective.theta[:3] = 99
                raise KeyboardInterrupt
            return loss

    model, (x, y) = small(), small_data()
    optimizer = Interrupted(4, 0.0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, optimizer, epochs=3, batch_size=16, progress=False)
    np.testing.assert_array_equal(model.theta, optimizer.thetas[-1])


def test_an_interrupt_between_steps_keeps_the_last_step():
    thetas = []

    class Interrupt:
        def on_epoch_end(self, model, epoch):
            thetas.append(model.theta.copy())
            if epoch["epoch"] == 3:
                raise KeyboardInterrupt

    model, (x, y) = small(), small_data()
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, get("adam"), epochs=5, callbacks=[Interrupt()], progress=False)
    np.testing.assert_array_equal(model.theta, thetas[-1])


def test_a_step_that_returns_nothing_is_an_error():
    class Silent:
        def step(self, objective):
            pass

    with pytest.raises(ValueError, match=r"Silent\.step returned None: it must return the loss"):
        small().fit(*small_data(), Silent(), progress=False)


@pytest.mark.parametrize(("batch_size", "epochs"), [(None, 3), (20, 5)])
def test_an_optimizer_that_cannot_continue_says_why_and_ends_a_fit_with_one_batch(batch_size, epochs):
    class Stuck(Exploding):
        message = ""

        def step(self, objective):
            loss = super().step(objective)
            self.message = "no lower value" if self.k < 0 else ""
            return loss

    model, (x, y) = small(), small_data()
    history = model.fit(x, y, Stuck(2, 0.5), epochs=5, batch_size=batch_size, progress=False)
    assert len(history.epochs) == epochs
    assert history.message == ("no lower value; training ended with epoch 3" if batch_size is None else
                               "8 steps could not change the weights, the last: no lower value")


def test_stop_training_ends_the_fit_between_steps():
    class Stop:
        steps = 0

        def on_step_end(self, model, examples):
            self.steps += 1
            model.stop_training = self.steps == 4

    stop = Stop()
    _, history = run(callbacks=[stop])
    assert stop.steps == 4
    assert len(history.epochs) == 1  # the second was not completed


def test_callbacks_get_every_event():
    events = []

    class RecordsEvents:
        def on_fit_begin(self, model, plan):
            events.append({name: value for name, value in plan.items() if name != "training"})

        def on_step_end(self, model, examples):
            events.append(examples)

        def on_epoch_end(self, model, epoch):
            events.append(epoch["epoch"])

        def on_fit_end(self, model, history):
            events.append(len(history.epochs))

    model, (x, y) = small(), small_data()
    model.fit(x, y, get("gd"), epochs=2, batch_size=16, callbacks=[RecordsEvents()], progress=False)
    assert events == [{"first": 1, "last": 2, "steps": 3, "examples": 40}, 16, 16, 8, 1, 16, 16, 8, 2, 2]


def test_early_stopping_restores_the_best_weights():
    weights = []

    class SetsValLoss:
        """Sets val_loss so that the second epoch is the best."""

        def on_epoch_end(self, model, epoch):
            epoch["val_loss"] = [3.0, 1.0, 2.0, 2.5, 1.5, 0.1][len(weights)]
            weights.append(model.theta.copy())

    model, (x, y) = small(), small_data()
    history = model.fit(x, y, get("gd", lr=0.1), epochs=6, callbacks=[SetsValLoss(), EarlyStopping(patience=3)],
                        progress=False)
    assert len(history.epochs) == 5
    np.testing.assert_array_equal(model.theta, weights[1])


def test_early_stopping_maximizes_an_accuracy_and_names_an_unknown_metric():
    model, (x, y) = small(), small_data()
    stopping = EarlyStopping("accuracy", patience=100)
    history = model.fit(x, y, get("adam", lr=0.05), epochs=20, callbacks=[stopping], progress=False)
    assert -stopping.best == max(history.column("accuracy"))
    with pytest.raises(ValueError, match="no 'val_loss' to monitor: give validation_data, or monitor one of epoch"):
        model.fit(x, y, get("adam"), callbacks=[EarlyStopping()], progress=False)


def test_the_csv_log_equals_the_history(tmp_path):
    _, history = run(callbacks=[CSVLog(tmp_path / "log.csv")])
    with open(tmp_path / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [list(row) for row in rows] == [KEYS] * 5
    assert [float(row["loss"]) for row in rows] == history.column("loss")
    assert rows[0]["val_loss"] == ""
    assert History.read(tmp_path / "log.csv").epochs == history.epochs


def test_progress_without_a_terminal_prints_a_few_lines(capsys):
    model, (x, y) = small(), small_data()
    model.fit(x, y, get("gd"), epochs=100, validation_data=(x, y), callbacks=[Progress("digits")], progress=False)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert len(lines) == 11
    assert lines[0].startswith("digits 1/100  loss ")
    assert "accuracy" in lines[0]
    assert "  validation " in lines[0]
    assert lines[-1].endswith("examples/s")


def test_progress_on_a_terminal_is_one_bar(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    model, (x, y) = small(), small_data()
    model.fit(x, y, get("gd"), epochs=3, batch_size=16, progress=True)
    err = capsys.readouterr().err
    assert "3/3  loss" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(("options", "message"), [
    ({"epochs": 0}, "epochs must be a whole number of at least 1, not 0"),
    ({"epochs": 1.5}, "epochs must be a whole number"),
    ({"batch_size": 0}, "batch_size must be a whole number of at least 1, not 0"),
    ({"batch_size": 41}, "batch_size 41 is larger than the data, 40 examples: give at most 40"),
    ({"optimizer": "adam"}, r"optimizer must have a method step\(objective\), but 'adam' has none: "
                            r"write optimizer=optimizers.get\('adam', lr=0.01\)"),
    ({"optimizer": type(get("adam"))}, r"optimizer is the class Adam: write optimizer=Adam\(\)"),
    ({"history": []}, r"history must be the History of an earlier fit, not \[\]"),
    ({"callbacks": Progress()}, "callbacks must be a list, not <"),
    ({"callbacks": [EarlyStopping]}, r"callback EarlyStopping is a class: write EarlyStopping\(\)"),
    ({"threads": 0}, "threads must be a whole number of at least 1, not 0"),
    ({"validation_data": (1, 2, 3, 4)}, r"validation_data must be a pair \(x, y\)"),
    ({"callbacks": [print]}, "callback .* has none of the methods on_fit_begin"),
])
def test_wrong_arguments_are_named(options, message):
    x, y = small_data()
    with pytest.raises(ValueError, match=message):
        small().fit(x, y, **{"optimizer": get("adam"), "progress": False, **options})


def test_an_optimizer_of_another_model_is_refused():
    adam, (x, y) = get("adam"), small_data()
    small().fit(x, y, adam, progress=False)
    other = Model([Dense(6, 3), Softmax()], CrossEntropy())
    with pytest.raises(ValueError, match="this Adam has taken steps on a vector of 53 float32, not of 21 float32"):
        other.fit(x, y, adam, progress=False)


def test_an_optimizer_of_another_model_of_the_same_size_is_refused_until_it_is_restored():
    adam, twin, (x, y) = get("adam", lr=0.05), get("adam", lr=0.05), small_data()
    first, second, third = small(1), small(2), small(2)
    first.fit(x, y, adam, epochs=3, progress=False)
    message = (r"this Adam has taken 3 steps on another vector: make a new one, or write "
               r"optimizer\.restore\(optimizer\.state\(\), model\.theta\)")
    with pytest.raises(ValueError, match=message):
        second.fit(x, y, adam, progress=False)
    twin.restore({name: np.copy(value) if isinstance(value, np.ndarray) else value
                  for name, value in adam.state().items()}, third.theta)
    adam.restore(adam.state(), second.theta)
    for model, optimizer in ((second, adam), (third, twin)):
        model.fit(x, y, optimizer, epochs=2, progress=False)
    assert adam.t == twin.t == 5
    np.testing.assert_array_equal(second.theta, third.theta)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: EarlyStopping(patience="3"), "EarlyStopping: patience must be a whole number of at least 0, not '3'"),
    (lambda: EarlyStopping(patience=-1), "EarlyStopping: patience must be a whole number of at least 0, not -1"),
    (lambda: EarlyStopping(min_delta="a"), "EarlyStopping: min_delta must be a number, at least 0, not 'a'"),
    (lambda: Progress(lines=0), "Progress: lines must be a whole number of at least 1, not 0"),
])
def test_wrong_arguments_of_callbacks_are_named(make, message):
    with pytest.raises(ValueError, match=f"^{escape(message)}$"):
        make()


@pytest.mark.parametrize("form", [
    "plain", "in phases", *(pytest.param(form, marks=pytest.mark.slow) for form in (
        "parallel", "compiled", "in phases, NumPy alone"))])
@pytest.mark.parametrize("name", [name for name, kind in OPTIMIZERS.items() if issubclass(kind, FirstOrder)])
def test_a_warm_first_order_step_allocates_nothing(name, form, monkeypatch):
    """Batch, forward, backward, update and counting allocate no array of the size of theta, a batch or its column.

    NumPy allocates a buffer of fixed length within some calls, which is not counted.
    """
    threads = 1 if form in ("plain", "compiled") else 2
    n_in, n, batch = 80, 11_000 * threads, 5500 * threads
    numpy_buffer = (np.getbufsize() * 4 + 8192) * threads
    rng = np.random.default_rng(0)
    dropout = Dropout(0.2 if threads == 1 else 0.0)
    model = Model([Dense(n_in, 240), ReLU(), dropout, Dense(240, 10), Softmax()], CrossEntropy())
    if form in ("compiled", "in phases"):
        pytest.importorskip("numba", reason="numba is not installed (extra fast)")
    if form == "in phases, NumPy alone":
        monkeypatch.setattr(compiled, "available", lambda: False)
    if form not in ("plain", "parallel"):
        monkeypatch.setattr(compiled, "MIN_SIZE", 0)
    if form.startswith("in phases"):
        monkeypatch.setattr(nn.workers, "divides_parameters", lambda network, batch_size: True)
    assert min(model.theta.nbytes, 8 * batch) > numpy_buffer
    x, y = rng.random((n, n_in), dtype="float32"), rng.integers(0, 10, n)
    x, target = model.check_data(x, y)
    batches, optimizer, masks = Batches(x, target, batch, 0), get(name), np.random.default_rng(1)
    workers, undo = Workers(model.network, batches, threads), Undo(model.theta)
    assert len(workers.networks) == threads
    peaks = []

    def epoch():
        with workers:
            for rows in batches.rows(1):
                before = tracemalloc.get_traced_memory()[0]
                tracemalloc.reset_peak()
                objective = workers.objective(rows, masks)
                in_parts = optimizer.changes_in_parts(model.theta)
                assert in_parts == (form not in ("plain", "parallel"))
                undo.begin_step(in_parts)
                objective.undo = undo if in_parts else None
                optimizer.step(objective)
                undo.end_step()
                objective.correct()
                peaks.append(tracemalloc.get_traced_memory()[1] - before)

    tracemalloc.start()
    try:
        epoch()
        first_peaks = peaks.copy()
        peaks.clear()
        epoch()
    finally:
        tracemalloc.stop()
    assert max(first_peaks) > batch // threads * n_in * 4  # the check measures the allocations of the first step
    assert max(peaks) < numpy_buffer


def test_a_log_of_a_continued_fit_has_a_header(tmp_path):
    model, (x, y), optimizer = small(), small_data(), get("adam")
    history = model.fit(x, y, optimizer, 2, progress=False)
    model.fit(x, y, optimizer, 2, progress=False, history=history, callbacks=[CSVLog(tmp_path / "late.csv")])
    assert History.read(tmp_path / "late.csv").epochs == history.epochs


def test_on_fit_end_is_called_even_if_on_fit_begin_failed():
    class Failing:
        def on_fit_begin(self, model, plan):
            raise RuntimeError("disk full")

    class Ended:
        ended = False

        def on_fit_end(self, model, history):
            self.ended = True

    ended, (x, y) = Ended(), small_data()
    with pytest.raises(RuntimeError, match="disk full"):
        small().fit(x, y, get("adam"), progress=False, callbacks=[ended, Failing()])
    assert ended.ended


@pytest.mark.filterwarnings("ignore:.*the loss of the validation data is inf")
def test_an_overflow_in_the_validation_gives_no_warning_of_numpy():
    x, y = small_data()
    model = Model([Dense(6, 5), ReLU(), Dense(5, 3)], MeanSquaredError())
    with pytest.raises(Diverged):
        model.fit(x, y, get("gd", lr=1e12), 20, 40, validation_data=(x * 1e20, y), progress=False)


def test_patience_counts_from_the_first_epoch_of_a_continued_fit():
    model, stopping = small(), EarlyStopping(patience=3)
    model.stop_training = False
    stopping.on_fit_begin(model, {"first": 11, "last": 20, "steps": 1, "examples": 40})
    for epoch in (11, 12):
        stopping.on_epoch_end(model, {"epoch": epoch, "val_loss": math.inf})
        assert not model.stop_training
    stopping.on_epoch_end(model, {"epoch": 13, "val_loss": math.inf})
    assert model.stop_training


def test_a_warm_step_makes_at_most_100_python_calls():
    """A step on the article's network with batches of 128, from one callback to the next."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(1280, 784)).astype("float32"), rng.integers(0, 10, 1280)
    counts = []

    class Counter:
        calls = steps = 0

        def on_step_end(self, model, examples):
            sys.setprofile(None)
            self.steps += 1
            counts.append(self.calls)
            self.calls = 0
            sys.setprofile(self.count if 2 < self.steps < 9 else None)

        def count(self, frame, event, argument):
            self.calls += event == "call"

    model = Model([Dense(784, 50), ReLU(), Dense(50, 10), Softmax()], CrossEntropy())
    model.fit(x, y, get("adam"), 1, 128, callbacks=[Counter()], progress=False, threads=1)
    assert 10 < min(counts[3:9]) <= max(counts[3:9]) <= 100
