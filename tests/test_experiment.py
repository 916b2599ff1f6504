"""Experiment: runs and comparisons from Python, their configuration, folders, errors, and classes of a user."""

from dataclasses import replace
import inspect
import io
import json
import os
import re
import sys

import numpy as np
import pytest
from test_command import QUICK, main

import feedforward as ff
from feedforward.run import Stop
from feedforward.stages import StageText, parse_stages


def quick(optimizer="adam", **values):
    return ff.Experiment(optimizer, **{"dataset": "digits", "epochs": 3, **values})


def run(*arguments, **values):
    return quick(*arguments, **values).run(progress=False)


def test_three_lines_train_and_report():
    results = run()
    assert str(results).startswith("digits, 64-50-10\n")
    assert results.model.evaluate(*digits_test_data()) == results[0].test
    assert results.history["epoch"] == [1, 2, 3]
    assert results.folder is None


def digits_test_data():
    data = ff.load("digits")
    return data.x_test, data.y_test


def test_the_command_line_runs_the_same_experiment(tmp_path):
    options = ["--optimizer", "rmsprop", "--seed", 4, "--hidden", 20, 10, "--dropout", 0.1, "--schedule", "cosine"]
    assert main(*QUICK, *options, "--out", tmp_path / "run") == 0
    results = run("rmsprop", seed=4, hidden=(20, 10), dropout=0.1, schedule="cosine")
    np.testing.assert_array_equal(ff.Model.load(tmp_path / "run/model.safetensors").theta, results.model.theta)


def test_every_option_of_the_command_line_is_a_field():
    from feedforward.options import OTHER, parser

    options = {action.dest for action in parser("")._actions} - {"help", "version", *OTHER}
    assert options == set(inspect.signature(ff.Experiment).parameters)


def test_nothing_is_written_without_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(["gd", "adam"])
    assert os.listdir(tmp_path) == []


def test_a_comparison_is_a_sequence_of_runs(tmp_path):
    results = quick(["gd", "adam:1+gd"], seeds=2).run(tmp_path / "all", progress=False)
    assert [(run.name, run.seed) for run in results] == [("gd", 0), ("gd", 1), ("adam:1+gd", 0), ("adam:1+gd", 1)]
    assert results["adam:1+gd"] is results[2]
    assert len(results) == 4
    assert {name: len(histories) for name, histories in results.histories().items()} == {"gd": 2, "adam:1+gd": 2}
    assert set(results.figures()) == {"comparison", "comparison-seconds", "comparison-passes"}
    assert sorted(os.listdir(tmp_path / "all")) == sorted([
        ".lock", "config.json", "adam1-gd-seed0", "adam1-gd-seed1", "gd-seed0", "gd-seed1",
        "comparison.png", "comparison-seconds.png", "comparison-passes.png", "report.html"])
    with pytest.raises(ValueError, match=r"there are 4 runs: choose one, such as results\[0\] or results\['gd'\]"):
        _ = results.model
    with pytest.raises(KeyError, match="no run is named 'adam': choose from gd, adam:1"):
        _ = results["adam"]


def test_parallel_runs_equal_sequential_runs():
    parallel, sequential = (run(["gd", "adam"], seeds=2, jobs=jobs, threads=1) for jobs in (4, 1))
    for a, b in zip(parallel, sequential):
        np.testing.assert_array_equal(a.model.theta, b.model.theta)


def test_lines_of_parallel_runs_are_written_at_once_and_name_their_run(tmp_path, monkeypatch):
    class Pieces(io.StringIO):
        def __init__(self):
            super().__init__()
            self.pieces = []

        def write(self, text):
            self.pieces.append(text)
            return super().write(text)

    monkeypatch.setattr("sys.stderr", Pieces())
    quick(["gd", "adam"], seeds=2, jobs=2).run(tmp_path / "run", figures=False)
    ff.Experiment.resume(tmp_path / "run", epochs=4, figures=False)
    pieces = [piece for piece in sys.stderr.pieces if piece]
    ours = [rf"digits, {name}, seed {seed} {n}/{n}  loss \S+  accuracy \S+%  test \S+%  [\d,]+ images/s\n"
            for n in (3, 4) for name in ("gd", "adam") for seed in (0, 1)]
    ours += [rf"{name}, seed {seed}: continues in epoch 4 of 4\n" for name in ("gd", "adam") for seed in (0, 1)]
    assert len(pieces) == len(ours)
    assert all(any(re.fullmatch(line, piece) for piece in pieces) for line in ours)


def test_the_figures_of_an_experiment_call_the_test_data_so():
    several, one = quick(["gd", "adam"]).run(progress=False).figures(), quick().run(progress=False).figures()
    for figure in (several["comparison"], several["comparison-passes"], several["comparison-seconds"]):
        assert figure.get_suptitle() == "digits, 64-50-10"
        assert [ax.get_title().split(":")[0] for ax in figure.axes] == [
            "training accuracy", "test accuracy", "training loss", "test loss"]
    assert one["curves"].legends[0].texts[1].get_text() == "test: after each epoch"


def test_data_of_a_user(tmp_path):
    digits = ff.load("digits")
    own = replace(digits, name="own", x_train=digits.x_train[:200], y_train=digits.y_train[:200])
    results = quick(dataset=own).run(tmp_path / "run", progress=False)
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["dataset"] == config["experiment"]["dataset"] == "own"
    assert config["examples"] == [200, 360]
    assert config["stages"][0]["batch_size"] == 20
    assert "own, 64-50-10" in str(results)
    assert "own: 3 epochs, into runs" in quick(dataset=own).plan()


def test_a_run_that_fails_says_why_and_the_others_continue():
    results = run(["gd", "adam"], fields={"gd.lr": 1e30})
    assert "the loss became" in results["gd"].error
    assert results["adam"].error == ""
    assert np.isfinite(results["gd"].model.theta).all()


def test_an_interrupt_in_python_keeps_the_model(tmp_path):
    class Interrupt:
        def on_epoch_end(self, model, epoch):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quick().run(tmp_path / "run", callbacks=[Interrupt()], progress=False)
    assert np.isfinite(ff.Model.load(tmp_path / "run/model.safetensors").theta).all()


@pytest.mark.slow
def test_a_stop_ends_all_runs_and_is_reported(tmp_path):
    stop = Stop()

    class Request:
        def on_epoch_end(self, model, epoch):
            stop.requested = True

    results = quick(["gd", "adam"], jobs=1).run(tmp_path / "run", callbacks=[Request()], stop=stop, progress=False)
    assert results.interrupted
    assert [len(run.history) for run in results] == [1, 0]
    assert "-" in str(results).splitlines()[3]  # adam has no scores
    assert len(list((tmp_path / "run").glob("*.png"))) == 3


def test_without_mnist_python_warns_and_uses_the_digits(tmp_path, monkeypatch):
    monkeypatch.setattr("feedforward.data.datasets.load", refuse_mnist(ff.load))
    with pytest.warns(UserWarning, match="MNIST IS NOT AVAILABLE, so this trains on the bundled UCI digits"):
        results = ff.Experiment(epochs=1).run(progress=False)
    assert results.title() == "digits, 64-50-10"


def refuse_mnist(load):
    def refuse(name, data_dir=None):
        if name == "mnist":
            raise ff.DataError("no connection")
        return load(name, data_dir)

    return refuse


@pytest.mark.parametrize(("text", "stages"), [
    ("adam", [("adam", 9)]), ("adam:2+gd", [("adam", 2), ("gd", 7)]),
    ("gd:1+adam:3+lbfgs", [("gd", 1), ("adam", 3), ("lbfgs", 5)])])
def test_the_epochs_are_divided_among_the_stages(text, stages):
    assert parse_stages(text, 9) == tuple(StageText(*stage) for stage in stages)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: ff.Experiment(epoch=3), r"Experiment has no field .epoch.: did you mean .epochs.\?"),
    (lambda: quick(epochs=0), "Experiment: epochs must be a whole number of at least 1, not 0"),
    (lambda: quick(dropout=1), "Experiment: dropout must be at least 0 and below 1, not 1"),
    (lambda: run(ff.Adam()), r"optimizer must be a name such as 'adam', or several, not Adam\(lr=.*: fields are given"),
    (lambda: run([]), r"optimizer must be a name such as 'adam', or several, not \[\]"),
    (lambda: run("adm"), r"unknown optimizer .adm.: did you mean .adam.\?"),
    (lambda: run(fields={"momentum": 0.9}), "adam has no field 'momentum': its fields are lr"),
    (lambda: run(activation="rlu"), r"unknown activation .rlu.: did you mean .relu.\?"),
    (lambda: run(schedule="linear"), "unknown schedule 'linear': "),
    (lambda: run(batch_size=5000), "batch_size 5000 is larger than the data, 1437 examples"),
])
def test_errors_say_what_to_write(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_errors_come_before_data_are_loaded(monkeypatch):
    monkeypatch.setattr("feedforward.experiment.load_data", lambda *_: pytest.fail("data were loaded"))
    for values in ({"schedule": "linear"}, {"hidden": [0]}, {"loss": "hinge"}, {"fields": {"beta3": 1}}):
        with pytest.raises(ValueError, match=r"unknown|hidden must|has no field"):
            run(**values)


def test_classes_of_a_user_can_be_named_in_experiments_and_are_listed(tmp_path, capsys):
    @ff.register
    class Cubic(ff.Elementwise):
        scale: float = 0.1

        def f(self, x, out):
            return np.multiply(self.scale, x**3, out=out)

        def df(self, x, y, out):
            return np.multiply(3 * self.scale, x**2, out=out)

        def d2f(self, x, y, out):
            return np.multiply(6 * self.scale, x, out=out)

    @ff.register
    class Quartic(ff.Loss):
        power: float = 4.0

        def value(self, z, target, scale):
            return scale * float(np.sum((z - target) ** self.power))

        def gradient(self, z, target, scale, out):
            return np.multiply(scale * self.power, (z - target) ** (self.power - 1), out=out)

        def hessian_product(self, z, target, v, scale, out):
            factor = scale * self.power * (self.power - 1)
            return np.multiply(factor * (z - target) ** (self.power - 2), v, out=out)

    @ff.register
    class Signs(ff.FirstOrder):
        def update(self, theta, grad):
            theta -= self.lr * np.sign(grad)

    @ff.register
    class Halving(ff.Schedule):
        def __call__(self, time):
            return 0.5**time

    ff.register(type("SignsAgain", (Signs,), {}), "signs-again")
    results = quick(["signs", "signs-again"], lr=0.001, activation="cubic", loss="Quartic", schedule="halving").run(
        tmp_path / "run", progress=False, figures=False)
    assert results["signs"].history["loss"][-1] < results["signs"].history["loss"][0]
    np.testing.assert_array_equal(results[0].model.theta, results[1].model.theta)
    loaded = ff.Model.load(tmp_path / "run/signs/model.safetensors")
    np.testing.assert_array_equal(loaded.theta, results[0].model.theta)
    assert type(loaded.loss) is Quartic
    assert loaded.layers[1].scale == 0.1
    assert main("--list") == 0
    out = capsys.readouterr().out
    assert "\n  signs " in out
    assert "\n  halving " in out


@pytest.mark.parametrize(("kind", "name", "message"), [
    (ff.Dense(3, 4), None, "register takes a class derived from Layer, Loss, Optimizer or Schedule, not Dense"),
    (dict, None, "register takes a class derived from Layer, Loss, Optimizer or Schedule, not <class 'dict'>"),
    (ff.Dense, "dense2", "a layer or loss is saved by the name of its class, Dense: leave out 'dense2'"),
    (type("Dense", (ff.ReLU,), {}), None, r"the name 'Dense' belongs to nn\.layers\.Dense"),
    (type("Own", (ff.Adam,), {}), "adam", "the name 'adam' belongs to Adam: register Own by another name"),
])
def test_other_objects_and_taken_names_are_refused(kind, name, message):
    with pytest.raises(ValueError, match=message):
        ff.register(kind, name)


def test_each_of_several_runs_has_callbacks_of_its_own(tmp_path):
    stopping = ff.EarlyStopping("val_loss", patience=50)
    values = {"epochs": 8, "seeds": 4, "batch_size": 200, "threads": 1}
    results = quick(jobs=4, **values).run(callbacks=[stopping], progress=False)
    for one in results:
        assert one.test["loss"] == pytest.approx(min(one.history["val_loss"]), rel=1e-6)
    logs = quick(["gd", "adam"], jobs=2).run(
        callbacks=lambda run: [ff.CSVLog(tmp_path / f"{run.name}.csv")], progress=False)
    for one in logs:
        assert ff.History.read(tmp_path / f"{one.name}.csv").epochs == one.history.epochs


def test_the_callbacks_of_a_single_run_are_the_objects_themselves():
    class Count:
        epochs = 0

        def on_epoch_end(self, model, epoch):
            self.epochs += 1

    count = Count()
    quick().run(callbacks=[count], progress=False)
    assert count.epochs == 3


def test_what_is_no_callback_is_refused_before_training():
    with pytest.raises(ValueError, match="callback 1 has none of the methods on_fit_begin"):
        quick().run(callbacks=[1], progress=False)


def test_the_printed_results_say_why_a_run_failed():
    results = run(["gd", "adam"], fields={"gd.lr": 1e30})
    assert "gd, seed 0, failed: the loss became" in str(results)
    assert "adam, seed 0" not in str(results)
    assert repr(results) == str(results)


def test_a_registered_regression_loss_has_no_confusion_matrix(tmp_path):
    @ff.register
    class Absolute(ff.MeanSquaredError):
        pass

    results = quick(loss="Absolute").run(tmp_path / "run", progress=False)
    assert set(results.figures()) == {"curves"}
    assert (tmp_path / "run/curves.png").exists()


@pytest.mark.parametrize("values", [
    {"hidden": np.array([5])}, {"hidden": (np.int64(5),)}, {"hidden": range(5, 7)}, {"data_dir": None},
    {"fields": {"beta1": np.float32(0.8)}}])
def test_numpy_values_are_written_to_the_configuration(values, tmp_path):
    results = quick(**values).run(tmp_path / "run", progress=False, figures=False)
    config = json.loads((tmp_path / "run/config.json").read_text())["experiment"]
    np.testing.assert_array_equal(ff.Experiment(**config).run(progress=False).model.theta, results.model.theta)


@pytest.mark.parametrize(("values", "message"), [
    ({"optimizer": "adm"}, "unknown optimizer 'adm'"), ({"activation": "rlu"}, "unknown activation"),
    ({"schedule": "linear"}, "unknown schedule"), ({"schedule": 3}, "Experiment: schedule must be a text, not 3"),
    ({"dtype": np.float32}, "Experiment: dtype must be a text, not <class"), ({"hidden": 50}, "hidden must hold whole"),
    ({"hidden": "50"}, "hidden must hold whole numbers of at least 1, such as .* not '50'"),
    ({"fields": "beta1=3"}, "fields must be a dict such as {'beta1': 0.8}, not 'beta1=3'"),
    ({"fields": None}, "fields must be a dict"), ({"loss": "hinge"}, "unknown loss 'hinge'"),
])
def test_the_constructor_checks_everything(values, message):
    with pytest.raises(ValueError, match=message):
        quick(**values)


@pytest.mark.parametrize(("name", "message"), [
    ("learning_rate", "write lr; its fields are"), ("beta1", r"write fields=\{'beta1': ...\}; its fields are")])
def test_fields_of_optimizers_say_where_they_are_written(name, message):
    with pytest.raises(TypeError, match=f"Experiment has no field '{name}': {message}"):
        quick(**{name: 0.1})


def test_a_folder_that_was_named_is_never_replaced_by_the_digits(tmp_path, monkeypatch):
    monkeypatch.setattr("feedforward.data.datasets.load", refuse_mnist(ff.load))
    with pytest.raises(ff.DataError, match="no connection"):
        ff.Experiment(data_dir=tmp_path, epochs=1).run(progress=False)
    with pytest.raises(ValueError, match="dataset must be a name, a file or a Dataset, not a tuple: train your own"):
        ff.Experiment(dataset=(1, 2), epochs=1).run(progress=False)


def test_stages_may_be_separate_words():
    assert [one.name for one in run(["adam:1", "gd", "adam"])] == ["adam:1+gd", "adam"]


def test_a_stop_before_the_first_step_is_an_interrupt(tmp_path):
    stop = Stop()
    stop.requested = True
    for optimizer, folder in (("adam", "one"), (["gd", "adam"], "two")):
        results = quick(optimizer).run(tmp_path / folder, stop=stop, progress=False)
        assert results.interrupted
        assert [len(one.history) for one in results] == [0] * len(results)
    assert sorted(os.listdir(tmp_path / "one")) == [
        ".lock", "checkpoint.safetensors", "config.json", "history.csv", "model.safetensors", "report.html"]


def test_weights_that_cannot_be_saved_cost_no_other_run(tmp_path):
    class Ruins:
        def on_epoch_end(self, model, epoch):
            model.theta[0] = np.inf

    results = ff.Experiment(["gd", "adam"], dataset="digits", epochs=1, jobs=1).run(
        tmp_path / "a", progress=False, figures=False, callbacks=lambda run: [Ruins()] if run.name == "gd" else [])
    assert any("weights hold NaN or infinity" in problem for problem in results.problems)
    assert (tmp_path / "a/adam/model.safetensors").exists()
