"""The command line: its runs, its folders, its errors, Ctrl-C, and its behaviour without MNIST."""

import csv
import json
import os
from pathlib import Path
import pty
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from datasets import DATASETS
from datasets.mnist import SOURCES
from feedforward import command
from feedforward.experiment import Experiment
from feedforward.network import LOSSES as OPTIONS
from nn import LOSSES, Model
from optimizers import OPTIMIZERS, SCHEDULES

ROOT = Path(__file__).parent.parent
FILES = [".lock", "checkpoint.safetensors", "config.json", "confusion.png", "curves.png", "history.csv",
         "model.safetensors", "report.html"]
QUICK = ["--dataset", "digits", "--epochs", "3", "--no-plots"]


def main(*argv):
    return command.main([str(argument) for argument in argv], program="python train.py")


def process(*argv, **options):
    """Run train.py in a new process that has no network and no data."""
    environment = {**os.environ, "HOME": str(options.pop("home", "/nonexistent")), "http_proxy": "http://127.0.0.1:9",
                   "https_proxy": "http://127.0.0.1:9"}
    for name in ("MNIST_DIR", "XDG_CACHE_HOME", "no_proxy", "NO_PROXY"):
        environment.pop(name, None)
    return subprocess.run([sys.executable, str(ROOT / "train.py"), *map(str, argv)], env=environment, text=True,
                          capture_output=True, timeout=60, **options)


def test_a_run_folder_contains_every_file(tmp_path, capsys):
    out = tmp_path / "run"
    assert main("--dataset", "digits", "--epochs", 10, "--out", out, "-o", "beta1=0.8") == 0
    assert sorted(os.listdir(out)) == FILES
    table = capsys.readouterr().out
    assert table.startswith("digits, 64-50-10\n")
    assert table.splitlines()[2].split()[:2] == ["adam", "10"]
    assert f"run folder: {out}" in table

    config = json.loads((out / "config.json").read_text())
    assert config["dataset"] == "digits"
    (stage,) = config["stages"]
    assert stage == {"optimizer": "adam", "epochs": 10, "batch_size": 144, "fields": {
        "lr": 0.01, "weight_decay": 0, "clip_norm": None, "clip_value": None, "beta1": 0.8, "beta2": 0.999,
        "eps": 1e-8}}
    assert config["versions"]["numpy"] == np.__version__
    assert config["blas"][0]["num_threads"] >= 1
    assert config["results"]["epochs"] == 10
    assert not config["results"]["interrupted"]

    with open(out / "history.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 10
    from datasets import load

    data = load("digits")
    assert Model.load(out / "model.safetensors").evaluate(data.x_test, data.y_test) == config["results"]["test"]
    assert config["results"]["test"]["accuracy"] > 0.8


def test_the_command_in_the_config_repeats_the_run(tmp_path):
    for name in ("a", "b"):
        assert main(*QUICK, "--seed", 3, "--dropout", 0.1, "--hidden", 20, 15, "--out", tmp_path / name) == 0
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()
    described = json.loads((tmp_path / "a/config.json").read_text())
    assert described["command"].startswith("python train.py --dataset digits")
    assert described["experiment"]["seed"] == 3
    assert [layer["layer"] for layer in described["model"]["layers"]] == [
        "Dense", "ReLU", "Dropout", "Dense", "ReLU", "Dropout", "Dense", "Softmax"]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_trains(name, tmp_path):
    assert main("--optimizer", name, *QUICK, "--out", tmp_path / "run") == 0


@pytest.mark.parametrize("options", [
    ["--activation", "gelu", "--init", "glorot"], ["--loss", "binary-cross-entropy"], ["--dtype", "float64"],
    ["--optimizer", "cg", "-o", "beta=dai-yuan"], ["--optimizer", "lbfgs", "-o", "memory=5"],
    ["--loss", "mean-squared-error"], ["--hidden"], ["--activation", "softmax"], ["--batch-size", "1437"]])
def test_every_option_trains(options, tmp_path):
    assert main(*QUICK, *options, "--out", tmp_path / "run") == 0


def test_a_comparison_trains_like_the_single_runs(tmp_path, capsys):
    names = ["gd", "rmsprop", "adam"]
    quick = ["--dataset", "digits", "--epochs", 3]
    assert main(*quick, "--optimizer", *names, "--seeds", 2, "--jobs", 2, "--out", tmp_path / "all") == 0
    assert sorted(os.listdir(tmp_path / "all")) == sorted([
        ".lock", "config.json", "report.html", "comparison.png", "comparison-seconds.png", "comparison-passes.png",
        *(f"{name}-seed{seed}" for name in names for seed in (0, 1))])
    table = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in table[2:5]] == names
    assert "±" in table[2]
    for name in names:
        assert main(*quick, "--no-plots", "--optimizer", name, "--seed", 1, "--out", tmp_path / name) == 0
        paths = (tmp_path / folder / "model.safetensors" for folder in (name, f"all/{name}-seed1"))
        single, compared = map(Model.load, paths)
        np.testing.assert_allclose(single.theta, compared.theta, atol=2e-3)  # one thread of BLAS rounds unlike two
    starts = {json.loads((tmp_path / f"all/{name}-seed0/config.json").read_text())["seed"] for name in names}
    assert starts == {0}
    runs = json.loads((tmp_path / "all/config.json").read_text())["runs"]
    assert [(run["optimizer"], run["seed"]) for run in runs] == [(name, seed) for name in names for seed in (0, 1)]


def test_all_means_every_optimizer(tmp_path, capsys):
    assert main(*QUICK, "--optimizer", "all", "--dry-run", "--out", tmp_path / "run") == 0
    assert capsys.readouterr().out.count("seed 0, 3 epochs in batches of") == len(OPTIMIZERS)


def test_a_run_that_diverges_does_not_stop_the_others(tmp_path, capsys):
    assert main(*QUICK, "--optimizer", "gd", "adam", "-o", "gd.lr=1e30", "--out", tmp_path / "run") == 1
    out, err = capsys.readouterr()
    assert "train.py: gd, seed 0: the loss became" in err
    assert [line.split()[:2] for line in out.splitlines()[2:4]] == [["gd", "0"], ["adam", "3"]]


def test_all_leaves_out_an_optimizer_that_needs_too_much_memory(tmp_path, capsys):
    assert main(*QUICK, "--optimizer", "all", "--hidden", "500", "--dry-run", "--out", tmp_path / "run") == 0
    out, err = capsys.readouterr()
    assert "left out: bfgs, seed 0: BFGS: its matrix for 37,510 parameters would take 5.6 GB" in err
    assert out.count("seed 0, 3 epochs") == len(OPTIMIZERS) - 1


def test_true_and_false_may_be_in_lower_case(tmp_path):
    for value in ("true", "false"):
        options = ["--optimizer", "rmsprop", "-o", f"centered={value}", "--out", tmp_path / value]
        assert main(*QUICK, *options) == 0
        config = json.loads((tmp_path / value / "config.json").read_text())
        assert config["stages"][0]["fields"]["centered"] is (value == "true")


def test_the_chosen_form_is_reported(tmp_path, capsys):
    assert main(*QUICK, "--optimizer", "newton", "--out", tmp_path / "run") == 0
    assert "newton used its form 'cg'" in capsys.readouterr().out
    assert json.loads((tmp_path / "run/config.json").read_text())["results"]["forms"] == {"newton": "cg"}


def test_files_of_another_program_are_not_overwritten(tmp_path, capsys):
    (tmp_path / "history.csv").write_text("mine")
    assert main(*QUICK, "--out", tmp_path) == 2
    assert (tmp_path / "history.csv").read_text() == "mine"


def test_a_schedule_is_over_epochs(tmp_path):
    assert main(*QUICK, "--optimizer", "gd", "--lr", 0.2, "--schedule", "exponential:0.5", "--out", tmp_path / "a") == 0
    with open(tmp_path / "a/history.csv", newline="") as file:
        rates = [float(row["lr"]) for row in csv.DictReader(file)]
    assert rates == pytest.approx([0.2 * 0.5 ** (epoch + 0.9) for epoch in range(3)])  # of the last of ten steps


def test_the_second_stage_continues_where_the_first_ended(tmp_path):
    assert main(*QUICK, "--optimizer", "adam:2", "gd", "--out", tmp_path / "run") == 0
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert [(stage["optimizer"], stage["epochs"]) for stage in config["stages"]] == [("adam", 2), ("gd", 1)]
    with open(tmp_path / "run/history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
    assert float(rows[2]["loss"]) < float(rows[0]["loss"]) / 2


def test_every_loss_has_an_option():
    assert {kind.__name__ for kind, _ in OPTIONS.values()} == set(LOSSES)


def test_a_run_folder_is_never_overwritten(tmp_path, capsys, monkeypatch):
    assert main(*QUICK, "--out", tmp_path / "run") == 0
    before = (tmp_path / "run/model.safetensors").read_bytes()
    assert main(*QUICK, "--seed", 9, "--out", tmp_path / "run") == 2
    assert "is not empty, and a run would overwrite its files: name another folder" in capsys.readouterr().err
    assert (tmp_path / "run/model.safetensors").read_bytes() == before
    monkeypatch.chdir(tmp_path)
    assert main(*QUICK) == main(*QUICK) == 0  # within one second
    assert len(os.listdir("runs")) == 2


def test_the_list_names_everything(capsys):
    assert main("--list") == 0
    text = capsys.readouterr().out
    for name in (*OPTIMIZERS, *SCHEDULES, *DATASETS):
        assert f"\n  {name} " in text
    assert "lr=0.001, weight_decay=0.0, clip_norm=None, clip_value=None, beta1=0.9, beta2=0.999, eps=1e-08" in text


def test_a_dry_run_writes_and_downloads_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("MNIST_DIR", "FASHION_MNIST_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a connection was opened"))
    assert main(*QUICK, "--dry-run", "--out", tmp_path / "run") == 0
    assert "Dense(n_in=64, n_out=50, init='he')" in capsys.readouterr().out
    for options in ([], ["--dataset", "fashion-mnist"], ["--data-dir", tmp_path / "data"]):
        assert main("--dry-run", *options) == 0
        out = capsys.readouterr().out
        assert "Dense(n_in=784, n_out=50, init='he')" in out
        assert "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, " in out
        assert ("the bundled digits are used instead" in out) == (not options)
    assert os.listdir(tmp_path) == []


def test_a_dry_run_prints_the_plan_of_the_run(tmp_path, capsys):
    options = [*QUICK, "--optimizer", "adam:2", "gd", "--schedule", "cosine", "--out", tmp_path / "run"]
    assert main(*options, "--dry-run") == 0
    out = capsys.readouterr().out
    assert f"digits: 3 epochs, into {tmp_path / 'run'}" in out
    assert "seed 0, 2 epochs in batches of 144: Scheduled(Adam(lr=0.01, " in out
    assert main(*options) == 0
    stages = json.loads((tmp_path / "run/config.json").read_text())["stages"]
    assert [(stage["epochs"], stage["batch_size"]) for stage in stages] == [(2, 144), (1, 144)]


def test_the_configuration_repeats_the_run_in_python(tmp_path):
    assert main(*QUICK, "--optimizer", "rmsprop", "-o", "centered=true", "--seed", 3, "--out", tmp_path / "run") == 0
    config = json.loads((tmp_path / "run/config.json").read_text())["experiment"]
    repeated = Experiment(**config).run(progress=False)
    np.testing.assert_array_equal(repeated.model.theta, Model.load(tmp_path / "run/model.safetensors").theta)


@pytest.mark.parametrize(("options", "message"), [
    (["--optimizer", "adan"], "unknown optimizer 'adan': did you mean 'adam'? choose from gd, momentum"),
    (["-o", "bta=1"], "adam has no field 'bta': did you mean 'beta2'? its fields are lr, weight_decay, "),
    (["-o", "beta1"], "-o beta1: write FIELD=VALUE, such as -o beta1=0.8"),
    (["-o", "gd.lr=1"], "field gd.lr: write a field such as beta1, or NAME.FIELD with a name among adam"),
    (["--schedule", "cosin"], "unknown schedule 'cosin': did you mean 'cosine'? choose from constant"),
    (["--seeds", "0"], "seeds must be a whole number of at least 1, not 0"),
    (["--optimizer", "adam", "adam"], "optimizer adam adam: one is named twice; learning rates are compared by "
     "--lr 0.1 0.01, or lr=[0.1, 0.01]"),
    (["--optimizer", "lbfgs", "--schedule", "cosine"], "schedule cosine: lbfgs have no learning rate"),
    (["--lr", "0.1", "-o", "lr=0.5"], "lr 0.1 and the field lr=0.5 are both given for adam: give one of them"),
    (["--optimizer", "rmsprop", "-o", "centered=yes"], "RMSprop: centered must be one of True, False, not 'yes'"),
    (["--optimizer", "bfgs", "gd", "--hidden", "500"], "BFGS: its matrix for 37,510 parameters would take 5.6 GB"),
    (["--hidden", "10000000000"], "train.py: not enough memory: "),
    (["--jobs", "0"], "jobs must be a whole number of at least 1, not 0"),
    (["--threads", "0"], "threads must be a whole number of at least 1, not 0"),
    (["--optimizer", "adam:x", "gd"], "optimizer adam:x+gd: write NAME:EPOCHS+NAME, such as adam:20+lbfgs"),
    (["--optimizer", "adam:20"], "optimizer adam:20: name the optimizer that follows, such as adam:20+lbfgs"),
    (["--optimizer", "adam:100", "gd"],
     "optimizer adam:100+gd: the stages before the last take 100 of the 100 epochs, and leave none for it"),
    (["-o", "beta1=high"], "Adam: beta1 must be a number, at least 0 and below 1, not 'high'"),
    (["--lr", "-1"], "lr must be above 0, not -1"),
    (["--lr", "cosine"], "'cosine' is not a number or 'auto'; a rate that changes is a schedule, such as --schedule "
     "cosine"),
    (["--learning-rate", "1"], "unrecognized arguments: --learning-rate 1; --help lists the options"),
    (["--optimizer", "lbfgs", "--lr", "0.1"], "lbfgs has no field 'lr': its fields are max_gigabytes, c1, c2"),
    (["--optimizer", "bfgs", "--hidden", "1000"], "BFGS: its matrix for 75,010 parameters would take 22.5 GB"),
    (["--dataset", "mnits"], "'mnits'"),
    (["--activation", "rleu"], "unknown activation 'rleu': did you mean 'relu'? choose from relu, leakyrelu"),
    (["--init", "hee"], "unknown initializer 'hee': did you mean 'he'? choose from zeros, xavier, he, kumar"),
    (["--loss", "hinge"], "unknown loss 'hinge': choose from cross-entropy"),
    (["--dtype", "float16"], "unknown dtype 'float16': did you mean 'float64'? choose from float32, float64"),
    (["--dropout", "1"], "dropout must be at least 0 and below 1, not 1.0"),
    (["--hidden", "50", "0"], "hidden must hold whole numbers of at least 1, such as [50] or [], not [50, 0]"),
    (["--batch-size", "2000"], "batch_size 2000 is larger than the data, 1437 examples"),
    (["--epochs", "0"], "epochs must be a whole number of at least 1, not 0"),
    (["--out", "train.py"], "train.py is a file: name a folder"),
])
def test_an_error_is_one_line_and_status_2(options, message, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert main("--dataset", "digits", *options) == 2
    err = capsys.readouterr().err
    assert err.startswith("train.py: ")
    assert message in err
    assert err.count("\n") == 1


def test_a_run_that_diverges_keeps_the_model_and_says_so(tmp_path, capsys):
    assert main(*QUICK, "--lr", "1e30", "--out", tmp_path / "run") == 1
    assert "the loss became" in capsys.readouterr().err
    assert np.isfinite(Model.load(tmp_path / "run/model.safetensors").theta).all()
    assert "the loss became" in json.loads((tmp_path / "run/config.json").read_text())["results"]["failed"]


def test_without_mnist_it_trains_on_the_digits_and_says_so(tmp_path):
    done = process("--epochs", 2, home=tmp_path, cwd=tmp_path)
    assert done.returncode == 0
    assert "MNIST IS NOT AVAILABLE" in done.stderr
    assert all(mirror in done.stderr for mirror in SOURCES["mnist"].mirrors)
    assert "--data-dir or MNIST_DIR" in done.stderr
    assert "digits, adam 2/2" in done.stderr
    assert "digits, 64-50-10" in done.stdout
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("digits-adam-")
    config = json.loads((run / "config.json").read_text())
    assert config["dataset"] == config["experiment"]["dataset"] == "digits"


def test_it_is_an_error_if_mnist_was_chosen_and_is_not_available(tmp_path):
    start = time.monotonic()
    done = process("--dataset", "mnist", home=tmp_path, cwd=tmp_path)
    assert time.monotonic() - start < 15
    assert done.returncode == 2
    assert done.stderr.startswith("train.py: mnist: cannot download")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not (tmp_path / "runs").exists()


def test_a_package_datasets_of_another_project_is_named(tmp_path):
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets/__init__.py").write_text("")
    code = (f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import datasets; "
            f"sys.path.insert(0, {str(ROOT)!r}); import train")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"the package 'datasets' of feedforward is hidden by another project's: {tmp_path}" in done.stderr
    assert done.stderr.count("\n") == 1


def interrupted(tmp_path):
    """Run train.py on a new terminal, and send Ctrl-C while it trains. Return its output and its exit status."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen([sys.executable, str(ROOT / "train.py"), "--dataset", "digits", "--epochs", "1000000",
                                "--out", str(tmp_path / "run")], stdout=terminal, stderr=terminal, cwd=tmp_path,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # a shell may ignore it
    os.close(terminal)
    deadline = threading.Timer(40, process.kill)  # if it does not stop, the test fails
    deadline.start()
    output = b""
    while b"/1000000" not in output or b"loss" not in output:
        output += os.read(controller, 4096)
    process.send_signal(signal.SIGINT)
    try:
        while chunk := os.read(controller, 4096):
            output += chunk
    except OSError:  # the terminal is closed
        pass
    os.close(controller)
    deadline.cancel()
    return output.decode(), process.wait(timeout=30)


def test_ctrl_c_stops_training_and_saves_everything_so_far(tmp_path):
    output, status = interrupted(tmp_path)
    assert status == 130
    assert "Traceback" not in output
    assert f"interrupted: continue with\r\n  {sys.executable} {ROOT / 'train.py'} --resume " in output
    assert json.loads((tmp_path / "run/config.json").read_text())["results"]["interrupted"]
    assert np.isfinite(Model.load(tmp_path / "run/model.safetensors").theta).all()
    with open(tmp_path / "run/history.csv", newline="") as file:
        assert all(None not in row.values() for row in csv.DictReader(file))


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("MNIST_DIR"), reason="MNIST_DIR names no folder with the real MNIST")
@pytest.mark.parametrize(("name", "training", "test"),
                         [("adam", (0.999, 1.0), (0.965, 1.0)), ("gd", (0.87, 0.89), (0.87, 0.89))])
def test_the_articles_network_on_mnist(name, training, test, tmp_path):
    assert main("--optimizer", name, "--dataset", "mnist", "--no-plots", "--out", tmp_path / "run") == 0
    results = json.loads((tmp_path / "run/config.json").read_text())["results"]
    assert training[0] < results["training"]["accuracy"] <= training[1]
    assert test[0] < results["test"]["accuracy"] <= test[1]
