"""Trainings where little is allowed: few file descriptors, little memory, no home, no place to write, another clock."""

from contextlib import contextmanager
import os
from pathlib import Path
import resource
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

import feedforward as ff
from feedforward.run import CHECKPOINT
from nn import Checkpoint, CrossEntropy, Dense, Model, ReLU, Softmax
from optimizers import get

ROOT = Path(__file__).parent.parent
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="limits are tested on Linux")


def train(*arguments, limits=(), **options):
    """Run train.py on the digits under limits of the system."""
    def limit():
        for kind, value in limits:
            resource.setrlimit(kind, (value, value))

    command = [sys.executable, "train.py", *([] if "--resume" in arguments else ["--dataset", "digits"]), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, preexec_fn=limit, timeout=120, **options)


@LINUX
@pytest.mark.slow
@pytest.mark.parametrize("optimizers", [["adam"], ["adam", "gd", "lbfgs"]], ids=len)
def test_20_file_descriptors_are_enough(optimizers, tmp_path):
    done = train("--optimizer", *optimizers, "--jobs", "2", "--epochs", "5", "--out", f"{tmp_path}/a",
                 limits=[(resource.RLIMIT_NOFILE, 20)])
    assert (done.returncode, done.stderr.count("rror")) == (0, 0), done.stderr
    assert len(list((tmp_path / "a").rglob(CHECKPOINT))) == len(optimizers)


@pytest.mark.slow
@LINUX
def test_one_and_a_half_gigabytes_of_memory(tmp_path):
    """Enough for the default network; a matrix that does not fit is an error of one line, and what is there stays."""
    limits = [(resource.RLIMIT_AS, 1_500_000_000)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2"}
    done = train("--epochs", "5", "--out", f"{tmp_path}/a", limits=limits, env=environment)
    assert done.returncode == 0, done.stderr
    done = train("--optimizer", "bfgs", "--hidden", "300", "-o", "max_gigabytes=9", "--epochs", "2", "--out",
                 f"{tmp_path}/b", limits=limits, env=environment)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("train.py: not enough memory: Unable to allocate 1.89 GiB")
    assert done.stderr.count("\n") == 1
    assert "use a smaller network" in done.stderr


@pytest.mark.slow
@LINUX
def test_writing_needs_no_memory_for_a_copy_and_reading_says_if_there_is_not_enough(tmp_path):
    code = """if True:
        import resource, sys
        import numpy as np
        from nn import archive
        import safetensors.numpy
        def limit(megabytes):
            size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (size + (megabytes << 20), resource.RLIM_INFINITY))
        path, array = sys.argv[1], np.ones(25 << 20, "float32")  # 100 MB
        limit(20)
        archive.write(path, {"a": 1}, {"x": array})
        del array
        limit(150)
        try:
            archive.read(path)
        except MemoryError as error:
            print(error)
        limit(400)
        print(int(archive.read(path)[1]["x"].sum()))
        """
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("Unable to allocate")
    assert second == f"{25 << 20}"


def test_memory_that_ends_while_a_run_trains_costs_no_other_run(tmp_path):
    class Full:
        def on_epoch_end(self, model, epoch):
            raise MemoryError("Unable to allocate 7 GiB")

    results = ff.Experiment(["gd", "adam"], dataset="digits", epochs=2).run(
        tmp_path / "a", progress=False, figures=False, callbacks=lambda run: [Full()] if run.name == "gd" else [])
    assert results["gd"].error.startswith("not enough memory: Unable to allocate 7 GiB; use a smaller network")
    assert len(results["adam"].history) == 2
    assert Model.load(tmp_path / "a" / "adam" / "model.safetensors")


@pytest.mark.skipif(os.name != "posix", reason="needs env")
def test_no_environment_at_all(tmp_path):
    done = train("--epochs", "3", "--out", f"{tmp_path}/a", env={})
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "a" / "curves.png").exists()


@contextmanager
def read_only_file_system(folder):
    """Mount a file system on which nothing can be written, or skip the test."""
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("this user cannot mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@LINUX
@pytest.mark.parametrize("name", [".", "new/run"])
def test_a_read_only_folder_is_an_error_before_training(name, tmp_path):
    with read_only_file_system(tmp_path):
        done = train("--epochs", "3000", "--out", f"{tmp_path}/{name}")
    assert done.returncode == 2
    assert "Read-only file system; no run can be written there: name another folder" in done.stderr
    assert str(tmp_path) in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_folder_that_is_removed_while_it_trains_costs_no_result(tmp_path):
    class Remove:
        def on_epoch_end(self, model, epoch):
            if epoch["epoch"] == 2:
                shutil.rmtree(tmp_path / "a")

    with pytest.warns(UserWarning, match="no (log|checkpoint) was written, and training goes on"):
        results = ff.Experiment(dataset="digits", epochs=4).run(
            tmp_path / "a", progress=False, figures=False, callbacks=[Remove()])
    assert len(results.history) == 4
    assert results[0].test["accuracy"] > 0.5
    assert any(problem.endswith(f"there is no folder {tmp_path / 'a'}: make it first") for problem in results.problems)


def test_a_clock_that_goes_back_changes_nothing(tmp_path, monkeypatch):
    """Nothing but names of folders and dates in files is taken from the clock that a user can set."""
    def fit(folder, **options):
        folder.mkdir()
        model = Model([Dense(6, 5), ReLU(), Dense(5, 3), Softmax()], CrossEntropy(), seed=0)
        rng = np.random.default_rng(0)
        model.fit(rng.normal(size=(40, 6)), rng.integers(0, 3, 40), get("adam"), 5, 10, progress=False,
                  callbacks=[Checkpoint(folder / "c", "3s")])
        return model.theta.tobytes()

    expected = fit(tmp_path / "a")
    now = iter(range(10**9, 0, -10**6))
    monkeypatch.setattr(time, "time", lambda: float(next(now)))
    assert fit(tmp_path / "b") == expected
    assert Checkpoint(tmp_path / "b/c").read().description["epochs"][-1]["epoch"] == 5
    leftover = tmp_path / "b" / ".c.x.feedforward.tmp"
    leftover.write_bytes(b"")
    os.utime(leftover, (4e9, 4e9))  # of a time that has not come
    ff.Experiment(dataset="digits", epochs=1).run(tmp_path / "run", progress=False, figures=False)
    assert Model.load(tmp_path / "run/model.safetensors")
