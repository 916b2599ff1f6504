"""The command line under mpiexec: one run on all ranks, several runs shared among them, and what rank 0 alone does."""

import os
from pathlib import Path
import signal
import subprocess
import sys

from launcher import launch
import numpy as np
import pytest

from benchmarks.reliability.ranks import MARK, processes, rank_process
from nn import History, Model

ROOT = Path(__file__).parent.parent


def train(folder, *options, ranks=2, status=0):
    """Run train.py in a folder, under mpiexec unless `ranks` is None; return the finished process."""
    command = [*([] if ranks is None else launch(ranks)), sys.executable, str(ROOT / "train.py"), *map(str, options)]
    done = subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True,
                          text=True, timeout=120)
    assert done.returncode == status, done.stderr
    return done


def theta(folder):
    return Model.load(folder / "model.safetensors").theta


def without_seconds(folder):
    return [{**epoch, "seconds": None} for epoch in History.read(folder / "history.csv")]


@pytest.mark.parametrize(("optimizer", "epochs", "error"), [
    ("adam", 6, 1e-4), pytest.param("lbfgs", 6, 1e-4, marks=pytest.mark.slow), ("lm", 2, 1e-2)])
def test_a_run_on_two_ranks_is_that_on_one(optimizer, epochs, error, tmp_path):
    options = ("--dataset", "digits", "--optimizer", optimizer, "--epochs", epochs, "--dropout", "0.2", "--hidden", 10,
               "--threads", 1, "--no-plots")
    alone, together = train(tmp_path, *options, "--out", "alone", ranks=None), train(tmp_path, *options, "--out", "two")
    assert len(together.stdout.splitlines()) == len(alone.stdout.splitlines())
    assert len(together.stderr.splitlines()) == len(alone.stderr.splitlines())
    assert {*os.listdir(tmp_path / "two")} == {*os.listdir(tmp_path / "alone")}
    np.testing.assert_allclose(theta(tmp_path / "two"), theta(tmp_path / "alone"), atol=error)
    assert [e["passes"] for e in without_seconds(tmp_path / "two")] == pytest.approx(
        [e["passes"] for e in without_seconds(tmp_path / "alone")])


def test_a_resumed_run_has_the_bytes_of_one_that_was_not_interrupted(tmp_path):
    options = ("--dataset", "digits", "--dropout", "0.2", "--schedule", "warmup:2", "--threads", 1, "--no-plots", "-q")
    train(tmp_path, *options, "--epochs", 6, "--out", "whole")
    train(tmp_path, *options, "--epochs", 3, "--out", "parts")
    train(tmp_path, "--resume", "parts", "--epochs", 6, "--no-plots", "-q")
    assert theta(tmp_path / "parts").tobytes() == theta(tmp_path / "whole").tobytes()
    assert without_seconds(tmp_path / "parts") == without_seconds(tmp_path / "whole")
    train(tmp_path, *options, "--epochs", 3, "--out", "other")
    for ranks in (3, None):
        done = train(tmp_path, "--resume", "other", "--epochs", 6 if ranks else 7, "--no-plots", ranks=ranks)
        assert "results may differ by rounding" in done.stderr
        assert f"ranks was {2 if ranks else 3} and is {ranks or 1}" in done.stderr
        if ranks:
            np.testing.assert_allclose(theta(tmp_path / "other"), theta(tmp_path / "whole"), atol=1e-5)


def write_arrays(folder, count):
    """Write a folder of files .npy, of which the training part has so many parts."""
    rng = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    for part in [f"train-{k:03}" for k in range(count)] + ["test"]:
        x = rng.normal(size=(60, 4))
        np.save(folder / f"x_{part}.npy", x)
        np.save(folder / f"y_{part}.npy", (x[:, 0] > 0).astype(int))


def test_a_run_on_other_data_is_not_continued(tmp_path):
    write_arrays(tmp_path / "data", 3)
    train(tmp_path, "--dataset", "data", "--epochs", 2, "--out", "run", "-q")
    before = (tmp_path / "run/model.safetensors").read_bytes()
    for file in "xy":
        (tmp_path / f"data/{file}_train-002.npy").unlink()
    done = train(tmp_path, "--resume", "run", "--epochs", 4, status=1)
    assert "is of a training on other data: batch_size was 18 and is 12; examples was 180 and is 120" in done.stderr
    assert "continue with the data of that training" in done.stderr
    assert (tmp_path / "run/model.safetensors").read_bytes() == before


@pytest.mark.slow
def test_a_run_is_repeated_on_as_many_ranks(tmp_path):
    train(tmp_path, "--dataset", "digits", "--epochs", 3, "--out", "run", "--threads", 1, "--no-plots", "-q")
    command = [*launch(2), sys.executable, "-m", "feedforward", "repeat", "run", "--out", "again", "--no-plots"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert "the weights and histories are those of run, byte for byte" in done.stdout


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc to find the process of a rank")
@pytest.mark.parametrize(("number", "rank"), [
    (signal.SIGTERM, 1), pytest.param(signal.SIGINT, 1, marks=pytest.mark.slow),
    pytest.param(signal.SIGTERM, 0, marks=pytest.mark.slow)])
def test_a_signal_to_one_rank_is_in_the_exit_status(number, rank, tmp_path):
    mark = str(tmp_path)
    command = [*launch(2), sys.executable, str(ROOT / "train.py"), "--dataset", "digits", "--epochs", "100000",
               "--threads", "1", "--no-plots", "--out", "run"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               env={**os.environ, "PYTHONPATH": str(ROOT), MARK: mark})
    try:
        for line in process.stderr:  # until it trains
            if " loss " in line:
                break
        os.kill(rank_process(mark, rank), number)
        output, _ = process.communicate(timeout=60)
    finally:
        for other, *_ in processes(mark):
            os.kill(other, signal.SIGKILL)
        process.wait()
    assert process.returncode == 128 + number
    assert "interrupted: continue with" in output


@pytest.mark.slow
def test_a_comparison_gives_each_run_to_one_rank(tmp_path):
    options = ("--dataset", "digits", "--epochs", 3, "--optimizer", "all", "--seeds", 2, "--hidden", 4, "--threads", 1,
               "--no-plots")
    done = train(tmp_path, *options, "--out", "ranks", ranks=3)
    alone = train(tmp_path, *options, "--out", "alone", "--jobs", 1, ranks=None)
    names = [path.name for path in (tmp_path / "alone").iterdir() if path.is_dir()]
    assert len(names) == 32
    for name in names:
        assert theta(tmp_path / "ranks" / name).tobytes() == theta(tmp_path / "alone" / name).tobytes()
        assert without_seconds(tmp_path / "ranks" / name) == without_seconds(tmp_path / "alone" / name)
    progress = [line for line in done.stderr.splitlines() if " of 32 runs: " in line]
    assert [line.split()[0] for line in progress] == [str(k + 1) for k in range(32)]
    assert progress[0].split(": ")[1].split(",")[0] in ("newton", "cg", "bfgs", "lbfgs", "lm")  # the longest first
    assert [line.split()[0] for line in done.stdout.splitlines()] == [line.split()[0] for line in
                                                                      alone.stdout.splitlines()]
    train(tmp_path, "--resume", "ranks", "--epochs", 4, "--no-plots", "-q")
    assert len(without_seconds(tmp_path / "ranks" / names[0])) == 4


@pytest.mark.parametrize(("options", "status", "message"), [
    (["--bla"], 2, "train.py: unrecognized arguments: --bla; --help lists the options"),
    (["--resume", "nothing"], 2, "train.py: nothing is not a run folder: it holds no config.json"),
    pytest.param(["--dataset", "digits", "--epochs", "0"], 2, "train.py: epochs must be", marks=pytest.mark.slow),
    (["--dataset", "digits", "--optimizer", "gd", "--lr", "1e30", "--epochs", "9", "--out", "run"], 1,
     "train.py: gd, seed 0: "),
])
def test_an_error_of_all_ranks_is_told_once(options, status, message, tmp_path):
    done = train(tmp_path, *options, "-q", status=status)
    assert done.stderr.count("train.py: ") == 1
    assert message in done.stderr


@pytest.mark.slow
def test_commands_that_train_nothing_run_on_rank_0(tmp_path):
    options = ("--dataset", "digits", "--epochs", 3, "--out", "run", "--dry-run")
    assert train(tmp_path, *options).stdout == train(tmp_path, *options, ranks=None).stdout
    assert train(tmp_path, "--list").stdout == train(tmp_path, "--list", ranks=None).stdout


@pytest.mark.slow
def test_a_learning_rate_is_found_once(tmp_path):
    done = train(tmp_path, "--dataset", "digits", "--lr", "auto", "--epochs", 2, "--out", "run", "--no-plots")
    assert done.stdout.count("the range test has found lr") == 1
    assert (tmp_path / "run/model.safetensors").exists()
