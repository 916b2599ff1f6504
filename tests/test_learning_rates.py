"""Experiments whose lr is found by a range test, and comparisons of several learning rates."""

import json
import os

import numpy as np
import pytest
from test_command import FILES, QUICK, main
from test_resume import QUIET, assert_same, contents, interrupt

import feedforward as ff
from feedforward import folder
from feedforward.stages import check_lr, rate_text
from nn import Model

DIGITS = ff.load("digits")


def experiment(optimizer="adam", **values):
    return ff.Experiment(optimizer, **{"dataset": "digits", "hidden": (20,), "epochs": 4, "lr": "auto", **values})


def config_of(path):
    return json.loads((path / "config.json").read_text())


def found(path):
    """Return the lr of each stage in the configuration of a run."""
    return [stage["fields"].get("lr") for stage in config_of(path)["stages"]]


def no_test(*_, **__):
    pytest.fail("there was a new range test")


@pytest.fixture
def tests_are_forbidden(monkeypatch):
    def forbid():
        monkeypatch.setattr("feedforward.stages.lr_find", no_test)

    return forbid


@pytest.mark.parametrize(("values", "schedule"), [
    ({}, None), ({"dropout": 0.2}, "cosine"), pytest.param({"batch_size": 1437}, None, marks=pytest.mark.slow)])
def test_auto_trains_with_the_lr_of_a_range_test(values, schedule, tmp_path, capfd):
    results = experiment(**values, schedule=schedule).run(tmp_path / "a", figures=False)
    model = ff.Experiment("adam", dataset="digits", hidden=(20,), epochs=1, **values).run(progress=False).model
    untrained = Model([type(layer)(**layer.description()) for layer in model.layers], model.loss)
    lr = ff.lr_find(untrained, DIGITS.x_train, DIGITS.y_train, ff.get("adam"), values.get("batch_size", 144)).lr
    assert found(tmp_path / "a") == [lr]
    assert config_of(tmp_path / "a")["experiment"]["lr"] == "auto"
    same = experiment(**values, schedule=schedule, lr=lr).run(progress=False)
    np.testing.assert_array_equal(results.model.theta, same.model.theta)
    line = f"adam, seed 0: the range test has found lr {lr:.3g}"
    assert line in capfd.readouterr().err
    assert str(results).endswith(line)
    assert line not in str(same)


def test_the_command_line_says_the_lr_and_draws_the_test(tmp_path, capsys):
    plain = [option for option in QUICK if option != "--no-plots"]
    assert main(*plain, "--lr", "auto", "--out", tmp_path / "a") == 0
    assert f"adam, seed 0: the range test has found lr {found(tmp_path / 'a')[0]:.3g}" in capsys.readouterr().out
    assert sorted(os.listdir(tmp_path / "a")) == sorted([*FILES, "lr-find.png"])
    assert main(*QUICK, "--lr", "auto", "--out", tmp_path / "b") == 0
    assert not list((tmp_path / "b").glob("*.png"))
    assert main(*QUICK, "--lr", "auto", "--dry-run") == 0
    assert ", with the lr of a range test\n" in capsys.readouterr().out


def test_each_first_order_stage_has_a_test_at_its_start(tmp_path):
    results = experiment("adam:2+gd:1+lbfgs").run(tmp_path / "a", progress=False)
    ff.Experiment("adam", dataset="digits", hidden=(20,), epochs=2, lr=found(tmp_path / "a")[0]).run(
        tmp_path / "b", **QUIET)
    model = Model.load(tmp_path / "b/model.safetensors")
    lr = ff.lr_find(model, DIGITS.x_train, DIGITS.y_train, ff.get("gd"), 144).lr
    assert found(tmp_path / "a")[1:] == [lr, None]
    assert [path.name for path in sorted((tmp_path / "a").glob("lr-find*"))] == ["lr-find-2.png", "lr-find.png"]
    assert f"adam:2+gd:1+lbfgs, seed 0: the range test has found lr {lr:.3g} for gd" in str(results)


@pytest.mark.parametrize("optimizer", ["adam:2+gd", pytest.param("adam", marks=pytest.mark.slow)])
def test_auto_continues_with_the_same_bits_and_without_a_new_test(optimizer, tmp_path, tests_are_forbidden):
    def new():
        return experiment(optimizer, schedule="cosine", dropout=0.1)

    for at in (1, 15, 25, 39):
        interrupt(new(), tmp_path / f"{at}", at)
    new().run(tmp_path / "whole", **QUIET)
    if optimizer == "adam":
        tests_are_forbidden()
    for at in (1, 15, 25, 39):
        ff.Experiment.resume(tmp_path / f"{at}", **QUIET)
        assert_same(tmp_path / f"{at}", tmp_path / "whole")
        assert found(tmp_path / f"{at}") == found(tmp_path / "whole")
    tests_are_forbidden()
    results = ff.Experiment.resume(tmp_path / "1", epochs=5, notify=lambda message: None, **QUIET)
    assert [stage.found_lr for stage in results[0].stages] == found(tmp_path / "whole")


def test_without_a_checkpoint_the_saved_lr_is_used(tmp_path, tests_are_forbidden):
    interrupt(experiment(), tmp_path / "a", 15)
    experiment().run(tmp_path / "whole", **QUIET)
    for path in (tmp_path / "a").glob("checkpoint*"):
        path.unlink()
    tests_are_forbidden()
    ff.Experiment.resume(tmp_path / "a", **QUIET)
    assert_same(tmp_path / "a", tmp_path / "whole")


@pytest.mark.parametrize("lr", ['"fast"', "-1", "null", "true", "1e999"])
def test_a_saved_lr_that_is_damaged_is_an_error(lr, tmp_path):
    results = experiment().run(tmp_path / "a", **QUIET)
    text = (tmp_path / "a/config.json").read_text()
    (tmp_path / "a/config.json").write_text(text.replace(f'"lr": {found(tmp_path / "a")[0]!r}', f'"lr": {lr}'))
    before = contents(tmp_path / "a")
    results = ff.Experiment.resume(tmp_path / "a", **QUIET)
    assert "is not the configuration of a run" in results[0].error
    assert "\n" not in results[0].error
    assert contents(tmp_path / "a") == before


@pytest.mark.slow
def test_a_run_whose_test_suggests_nothing_fails_and_the_others_train(tmp_path):
    results = experiment(["gd", "lbfgs"], init="zeros").run(tmp_path / "a", progress=False)
    assert "the range test suggests no learning rate" in results["gd"].error
    assert results["lbfgs"].error == ""
    assert found(tmp_path / "a/gd") == ["auto"]
    assert (tmp_path / "a/gd/lr-find.png").exists()


NAMES = ["gd lr=0.1", "gd lr=0.01", "adam:2+gd lr=0.1", "adam:2+gd lr=0.01", "lbfgs"]
FOLDERS = ["gd-lr0.1", "gd-lr0.01", "adam2-gd-lr0.1", "adam2-gd-lr0.01", "lbfgs"]


def comparison(**values):
    return experiment(["gd", "adam:2+gd", "lbfgs"], **{"lr": [0.1, 0.01], **values})


def test_several_rates_are_a_comparison(tmp_path):
    results = comparison().run(tmp_path / "a", **QUIET)
    assert [run.name for run in results] == NAMES
    assert [run.stages[0].optimizer.lr for run in results[:4]] == [0.1, 0.01, 0.1, 0.01]
    assert results["gd lr=0.01"] is results[1]
    assert [line.split("  ")[0] for line in results.table().splitlines()[2:]] == NAMES
    assert sorted(path.name for path in (tmp_path / "a").iterdir() if path.is_dir()) == sorted(FOLDERS)
    assert [run["optimizer"] for run in config_of(tmp_path / "a")["runs"]] == NAMES
    lines = results.figures()["comparison"].axes[0].lines
    assert [line.get_label() for line in lines] == NAMES
    single = experiment("adam:2+gd", lr=0.01, threads=1).run(progress=False)
    np.testing.assert_array_equal(comparison(threads=1).run(progress=False)[3].model.theta, single.model.theta)


def test_several_rates_on_the_command_line(tmp_path, capsys):
    assert main(*QUICK, "--lr", 0.1, 0.01, "auto", "--out", tmp_path / "a") == 0
    assert [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()[2:5]] == [
        "adam lr=0.1", "adam lr=0.01", "adam lr=auto"]
    assert main("--resume", tmp_path / "a", "--lr", 0.1, 0.01, "auto", "--no-plots") == 0
    assert main("--resume", tmp_path / "a", "--lr", 0.1, 0.02, "--no-plots") == 2
    assert "lr was (0.1, 0.01, 'auto') and is (0.1, 0.02)" in capsys.readouterr().err


@pytest.mark.slow
def test_a_comparison_of_rates_continues_with_the_same_bits(tmp_path):
    values = {"lr": [0.1, "auto"], "seeds": 2, "jobs": 2}
    comparison(**values).run(tmp_path / "whole", **QUIET)
    interrupt(comparison(**values), tmp_path / "a", 17)
    ff.Experiment.resume(tmp_path / "a", **QUIET)
    assert_same(tmp_path / "a", tmp_path / "whole")
    ff.Experiment.resume(tmp_path / "a", lr=(0.1, "auto"), **QUIET)
    with pytest.raises(ValueError, match=r"lr was \(0.1, 'auto'\) and is 0.1; only epochs"):
        ff.Experiment.resume(tmp_path / "a", lr=0.1, **QUIET)


@pytest.mark.parametrize(("lr", "checked"), [
    (1, 1.0), ([0.1], 0.1), (np.array([0.1, 0.2]), (0.1, 0.2)), ((0.1, "auto"), (0.1, "auto")), (["auto"], "auto"),
    (None, None), (np.float32(0.5), 0.5)])
def test_forms_of_lr(lr, checked):
    values = check_lr(lr)
    assert values == checked
    assert not any(isinstance(value, np.generic) for value in (values if isinstance(values, tuple) else [values]))
    assert experiment(lr=lr).lr == checked


@pytest.mark.parametrize(("values", "message"), [
    ({"lr": "cosine"}, "lr must be a number above 0, 'auto', or several of these, not 'cosine'"),
    ({"lr": []}, "lr has 0 values: give from 1 to 1,000"), ({"lr": [0.1] * 1001}, "lr has 1,001 values"),
    ({"lr": 0}, "lr must be above 0, not 0"), ({"lr": [0.1, -1]}, "lr must be above 0, not -1"),
    ({"lr": {}}, "lr has 0 values"), ({"lr": True}, "lr must be a number, above 0, not True"),
    ({"lr": [0.1, 0.2, 0.1]}, "lr 0.1 is given twice"), ({"lr": ["auto", "auto"]}, "lr auto is given twice"),
    ({"lr": [[0.1]]}, r"lr must be a number, above 0, not \[0.1\]"),
    ({"lr": "auto", "fields": {"lr": 0.1}}, "lr auto and the field lr=0.1 are both given for adam"),
    ({"optimizer": "lbfgs", "lr": "auto"}, "lbfgs has no field 'lr'"),
    ({"optimizer": "lbfgs", "lr": [0.1, 0.2]}, "lbfgs has no field 'lr'"),
    ({"optimizer": ["adam", "adam"], "lr": [0.1, 0.2]}, "optimizer adam adam: one is named twice; learning rates are "
     r"compared by --lr 0.1 0.01, or lr=\[0.1, 0.01\]"),
    ({"optimizer": "all", "lr": list(range(1, 1000)), "seeds": 9}, "runs are too many")])
def test_what_is_no_lr_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        experiment(**values)


def test_no_two_rates_have_one_name():
    rates = [0.1, 0.1 + 1e-12, 1.0, 1e-7, 1 / 3, 123456789.0, 123456780.0, 5e-324, 3e-4, "auto"]
    names = [rate_text(rate) for rate in rates]
    assert names == ["0.1", "0.10000000000100001", "1", "1e-07", "0.3333333333333333", "123456789.0", "123456780.0",
                     "4.94066e-324", "0.0003", "auto"]
    assert len({folder.folder_name(f"adam lr={name}") for name in names}) == len(rates)


def test_all_optimizers_with_several_rates():
    runs = ff.Experiment("all", dataset="digits", lr=[0.1, 0.2]).plan("here").splitlines()[1:]
    assert sum("Adam(lr=0.2" in line for line in runs) == 1
    assert sum("LBFGS(" in line for line in runs) == 1
