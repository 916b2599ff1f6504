"""Experiment: runs and comparisons from Python, their configuration, folders, errors, and classes of one's own."""

from dataclasses import replace
import inspect
import json
import os

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
    assert results.model.evaluate(*digits_to_test()) == results[0].test
    assert results.history["epoch"] == [1, 2, 3]
    assert results.folder is None


def digits_to_test():
    data = ff.load("digits")
    return data.x_test, data.y_test


def test_the_command_line_runs_the_same_experiment(tmp_path):
    options = ["--optimizer", "rmsprop", "--seed", 4, "--hidden", 20, 10, "--dropout", 0.1, "--schedule", "cosine"]
    assert main(*QUICK, *options, "--out", tmp_path / "run") == 0
    results = run("rmsprop", seed=4, hidden=(20, 10), dropout=0.1, schedule="cosine")
    np.testing.assert_array_equal(ff.Model.load(tmp_path / "run/model.safetensors").theta, results.model.theta)


def test_every_option_of_the_command_line_is_a_field():
    from feedforward.command import parser

    options = {action.dest for action in parser("")._actions} - {"help", "out", "no_plots", "dry_run", "list"}
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
    assert {name: len(several) for name, several in results.histories().items()} == {"gd": 2, "adam:1+gd": 2}
    assert set(results.figures()) == {"comparison", "comparison-seconds", "comparison-passes"}
    assert sorted(os.listdir(tmp_path / "all")) == sorted([
        "config.json", "adam1-gd-seed0", "adam1-gd-seed1", "gd-seed0", "gd-seed1",
        "comparison.png", "comparison-seconds.png", "comparison-passes.png"])
    with pytest.raises(ValueError, match=r"there are 4 runs: choose one, such as results\[0\] or results\['gd'\]"):
        _ = results.model
    with pytest.raises(KeyError, match="no run is named 'adam': choose from gd, adam:1"):
        _ = results["adam"]


def test_runs_at_once_are_the_runs_one_after_another():
    together, alone = (run(["gd", "adam"], seeds=2, jobs=jobs, threads=1) for jobs in (4, 1))
    for one, other in zip(together, alone):
        np.testing.assert_array_equal(one.model.theta, other.model.theta)


def test_data_of_ones_own(tmp_path):
    digits = ff.load("digits")
    own = replace(digits, name="own", x_train=digits.x_train[:200], y_train=digits.y_train[:200])
    results = quick(dataset=own).run(tmp_path / "run", progress=False)
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["dataset"] == config["experiment"]["dataset"] == "own"
    assert config["examples"] == [200, 360]
    assert config["stages"][0]["batch_size"] == 20
    assert "own, 64-50-10" in str(results)
    assert "own: 3 epochs, into runs" in quick(dataset=own).plan()


def test_a_run_that_fails_says_why_and_the_others_go_on():
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


def test_a_stop_ends_all_runs_and_is_reported(tmp_path):
    stop = Stop()

    class Request:
        def on_epoch_end(self, model, epoch):
            stop.requested = True

    results = quick(["gd", "adam"], jobs=1).run(tmp_path / "run", callbacks=[Request()], stop=stop, progress=False)
    assert results.interrupted
    assert [len(run.history) for run in results] == [1, 0]
    assert "-" in str(results).splitlines()[3]  # adam has no scores
    assert not list((tmp_path / "run").glob("*.png"))


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
def test_stages_share_the_epochs(text, stages):
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
        with pytest.raises(ValueError, match=r"unknown|Dense|has no field"):
            run(**values)


def test_classes_of_ones_own_are_named_in_experiments_and_listed(tmp_path, capsys):
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
        tmp_path / "run", progress=False)
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
def test_what_cannot_be_registered_is_refused(kind, name, message):
    with pytest.raises(ValueError, match=message):
        ff.register(kind, name)
