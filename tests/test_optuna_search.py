"""The search of settings by Optuna. Without Optuna, only the errors are tested."""

from dataclasses import replace
import json
import math
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import feedforward as ff
from feedforward.optuna_search import BEST, JOURNAL

SPACE = {"lr": (1e-4, 1e-1, "log"), "fields.beta1": (0.5, 0.99), "dropout": (0.0, 0.5), "batch_size": (50, 300),
         "hidden": [(10,), (20, 20)], "activation": ["relu", "tanh"]}


@pytest.fixture
def optuna():
    return pytest.importorskip("optuna", reason="Optuna is not installed: pip install 'feedforward[search]'")


def experiment(**values):
    return ff.Experiment(**{"dataset": "digits", "epochs": 3, "hidden": (10,), "threads": 1, **values})


def search(**values):
    space = values.pop("space", SPACE)
    return ff.search(values.pop("experiment", experiment()), space, **{"trials": 4, "progress": False, **values})


def trials(found):
    return [(trial.params, trial.value) for trial in found.study.trials if trial.value is not None]


def test_the_best_experiment_is_ready_to_run(optuna):
    found = search(trials=12)
    scores = [trial.value for trial in found.study.trials]
    assert len(scores) == 12
    assert found.score == min(scores) == found.study.best_value
    best = found.best
    assert (best.lr, best.dropout, best.hidden, best.activation, best.batch_size) == tuple(
        found.values[name] for name in ("lr", "dropout", "hidden", "activation", "batch_size"))
    assert best.fields == {"beta1": found.values["fields.beta1"]}
    assert (best.dataset, best.epochs) == ("digits", 3)
    assert best.run(progress=False)[0].error == ""
    assert f"score {found.score:.4g} with lr=" in repr(found)


def test_the_values_are_in_the_space(optuna):
    for params, _ in trials(search(trials=12)):
        assert 1e-4 <= params["lr"] <= 1e-1
        assert 50 <= params["batch_size"] <= 300
        assert type(params["batch_size"]) is int
        assert params["hidden"] in ("(10,)", "(20, 20)")


def test_one_seed_gives_one_result(optuna):
    first = search(trials=12)
    assert trials(search(trials=12)) == trials(first)
    assert trials(search(seed=1)) != trials(first)[:4]


def test_the_score_is_that_of_examples_held_out_from_the_training_part(optuna):
    digits = ff.load("digits")
    no_test = replace(digits, x_test=np.full_like(digits.x_test, np.nan))
    space = {"lr": [0.02]}
    found = search(experiment=experiment(dataset=no_test), space=space, trials=1, held_out=0.25)
    rows, held_out = ff.optuna_search.split(len(digits.x_train), 0.25, 0)
    (x, y), (x_held_out, y_held_out) = ((digits.x_train[part], digits.y_train[part]) for part in (rows, held_out))
    assert (len(x), len(x_held_out)) == (1078, 359)
    model = experiment(lr=0.02, dataset=replace(digits, x_train=x, y_train=y)).run(progress=False).model
    assert found.score == pytest.approx(model.evaluate(x_held_out, y_held_out)["loss"], rel=1e-6)
    accuracy = search(space=space, trials=1, held_out=0.25, metric="accuracy")
    assert accuracy.score == pytest.approx(model.evaluate(x_held_out, y_held_out)["accuracy"])
    assert accuracy.study.direction == optuna.study.StudyDirection.MAXIMIZE


def test_a_file_of_the_user_is_standardized_as_in_a_run(optuna, tmp_path):
    x = np.random.default_rng(0).normal(5000, 1000, (300, 2))
    rows = [f"{a},{b},{2 * a - b}" for a, b in x]
    (tmp_path / "a.csv").write_text("\n".join(["a,b,y", *rows]))
    values = {"target": "y", "loss": "mean-squared-error", "epochs": 30}
    found = search(experiment=experiment(dataset=tmp_path / "a.csv", **values), space={"lr": [0.02]}, trials=1,
                   folder=tmp_path / "search")
    variance = np.var(2 * x[:, 0] - x[:, 1])
    assert found.score < 0.1 * variance
    again = ff.Experiment(**json.loads((tmp_path / "search" / BEST).read_text())["experiment"])
    assert again.run(progress=False)[0].test["loss"] < 0.1 * variance
    with pytest.raises(ValueError, match="the experiment has no accuracy, because its targets are numbers"):
        search(experiment=found.best, space={"lr": [0.02]}, metric="accuracy")


def test_the_score_is_the_mean_over_seeds(optuna):
    scores = [search(experiment=experiment(seed=seed), space={"lr": [0.02]}, trials=1).score for seed in (3, 4)]
    found = search(experiment=experiment(seed=3, seeds=2, jobs=1), space={"lr": [0.02]}, trials=1)
    assert found.score == pytest.approx(sum(scores) / 2)


def test_optimizers_and_rates_can_be_choices(optuna):
    found = search(space={"optimizer": ["adam", "adam:1+gd", "lbfgs"], "epochs": [2, 3]}, trials=6)
    assert found.values["optimizer"] in ("adam", "adam:1+gd", "lbfgs")
    assert search(space={"lr": ["auto", None]}, trials=2).best.lr in ("auto", None)


def test_a_trial_that_fails_counts_as_the_worst(optuna):
    found = search(space={"lr": [1e30, 0.02]}, trials=8)
    values = {params["lr"]: value for params, value in trials(found)}
    assert values[1e30] == math.inf
    assert found.best.lr == 0.02
    assert any("the loss became" in trial.user_attrs.get("error", "") for trial in found.study.trials)
    with pytest.raises(ValueError, match="training failed in all trials, in one of them because the loss became"):
        search(space={"lr": [1e30]}, trials=2)


class SignalAt:
    """Sends this process a signal when an experiment runs for the n-th time."""

    def __init__(self, number, n):
        run, self.runs = ff.Experiment._run, 0

        def count(experiment, *arguments, **values):
            self.runs += 1
            if self.runs == n:
                os.kill(os.getpid(), number)
            return run(experiment, *arguments, **values)

        ff.Experiment._run = count


def test_an_interrupt_keeps_what_was_found(optuna, monkeypatch):
    monkeypatch.setattr(ff.Experiment, "_run", ff.Experiment._run)  # restored at the end
    whole = trials(search())
    SignalAt(signal.SIGINT, 4)
    found = search()
    assert found.interrupted
    assert trials(found) == whole[:3]
    assert found.score == min(value for _, value in whole[:3])
    SignalAt(signal.SIGINT, 1)
    with pytest.raises(KeyboardInterrupt):
        search()


def test_a_folder_continues_a_search_with_the_same_result(optuna, tmp_path):
    whole = search(trials=13)
    search(trials=5, folder=tmp_path / "a")
    search(trials=11, folder=tmp_path / "a")
    found = search(trials=13, folder=tmp_path / "a")
    assert trials(found) == trials(whole)
    best = json.loads((tmp_path / "a" / BEST).read_text())
    assert best["loss"] == whole.score
    assert ff.Experiment(**best["experiment"]).description() == whole.best.description()
    assert trials(search(trials=2, folder=tmp_path / "a")) == trials(whole)
    with pytest.raises(ValueError, match=r"a is of another search: seed was 0 and is 1; metric was 'loss' and is 'acc"):
        search(seed=1, metric="accuracy", folder=tmp_path / "a")
    with pytest.raises(ValueError, match=r"is of another search: experiment\.epochs was 3 and is 4; space\.lr was"):
        search(experiment=experiment(epochs=4), space={**SPACE, "lr": (0.1, 0.2)}, folder=tmp_path / "a")


def test_after_a_kill_it_continues_with_the_same_result(optuna, tmp_path):
    code = ("import signal\n"
            "from test_optuna_search import SignalAt, search\n"
            "SignalAt(signal.SIGKILL, 4)\n"
            f"search(trials=13, folder={str(tmp_path / 'a')!r})\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == -signal.SIGKILL
    assert trials(search(trials=13, folder=tmp_path / "a")) == trials(search(trials=13))


def test_other_files_are_not_overwritten(optuna, tmp_path):
    experiment().run(tmp_path / "a", progress=False, figures=False)
    with pytest.raises(ValueError, match="a is not empty"):
        search(folder=tmp_path / "a")
    assert not (tmp_path / "a" / JOURNAL).exists()


def test_a_score_that_does_not_exist_is_an_error(optuna):
    with pytest.raises(ValueError, match="the space of batch_size reaches to 1,400, but with held_out there are 1,150"):
        search(space={"batch_size": [1400]})


def test_it_logs_nothing_and_restores_the_verbosity(optuna, capfd):
    optuna.logging.set_verbosity(optuna.logging.INFO)
    search(trials=2)
    assert optuna.logging.get_verbosity() == optuna.logging.INFO
    assert capfd.readouterr() == ("", "")


def test_without_optuna_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"search needs Optuna: pip install 'feedforward\[search\]'"):
        search()


@pytest.mark.parametrize(("values", "message"), [
    ({"space": {}}, "the space must be a dict such as"), ({"space": [("lr", (0.1, 1))]}, "the space must be a dict"),
    ({"space": {"learning_rate": (0.1, 1)}}, "'learning_rate' cannot be searched: choose from optimizer, lr"),
    ({"space": {"dataset": ["digits", "mnist"]}}, "'dataset' cannot be searched"),
    ({"space": {"lr": (1, 0.1)}}, r"the space of lr must be a range .*, or a list of choices, not \(1, 0.1\)"),
    ({"space": {"lr": (0.1,)}}, "the space of lr must be"), ({"space": {"lr": 0.1}}, "the space of lr must be"),
    ({"space": {"lr": []}}, "the space of lr must be"), ({"space": {"lr": ("a", "b")}}, "the space of lr must be"),
    ({"space": {"lr": (0.1, 1, "linear")}}, "the space of lr must be"),
    ({"space": {"dropout": (0, 0.5, "log")}}, "the space of dropout must be above 0, because it is logarithmic"),
    ({"space": {"dropout": (0.5, 1.5)}}, "dropout must be at least 0 and below 1, not 1.5"),
    ({"space": {"fields.beta3": (0.5, 1.5)}}, "adam has no field 'beta3'"),
    ({"space": {"hidden": [(10,), 10]}}, "hidden must hold whole numbers"),
    ({"space": {"lr": [[0.1, 0.2]]}}, "search compares values itself: give an experiment with one optimizer"),
    ({"experiment": experiment(optimizer=["gd", "adam"]), "space": {"lr": [0.1]}}, "with one optimizer and one lr"),
    ({"metric": "f1"}, "unknown metric 'f1': choose from loss, accuracy"),
    ({"trials": 0}, "trials must be a whole number of at least 1"),
    ({"held_out": 1}, "held_out must be above 0 and below 1, not 1")])
def test_wrong_arguments_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        search(**values)
