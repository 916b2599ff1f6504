"""Experiments that were interrupted and continued end with the same bits; the command line resumes and reports."""

import json
import os
from pathlib import Path
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import feedforward as ff
from feedforward import command
from feedforward.folder import locked_folder
from feedforward.run import CHECKPOINT, Stop
from nn import Checkpoint, History, InvalidFile, Model

ROOT = Path(__file__).parent.parent
QUIET = {"progress": False, "figures": False}


class RequestAt:
    """Requests a stop after so many steps, as Ctrl-C does."""

    def __init__(self, stop, steps):
        self.stop, self.left = stop, steps

    def on_step_end(self, model, examples):
        self.left -= 1
        self.stop.requested = self.stop.requested or self.left <= 0


def interrupt(experiment, folder, steps, callbacks=lambda run: []):
    stop = Stop()
    results = experiment.run(folder, stop=stop, callbacks=lambda run: [*callbacks(run), RequestAt(stop, steps)],
                             **QUIET)
    assert results.interrupted
    return results


def assert_same(folder, other):
    """Compare all runs in two folders: weights, optimizer, history."""
    runs = sorted(path.parent.relative_to(folder) for path in folder.rglob("model.safetensors"))
    assert runs == sorted(path.parent.relative_to(other) for path in other.rglob("model.safetensors"))
    for run in runs:
        a, b = folder / run, other / run
        np.testing.assert_array_equal(Model.load(a / "model.safetensors").theta,
                                      Model.load(b / "model.safetensors").theta)
        assert rows(a) == rows(b)
        (left, right) = (Checkpoint(path / CHECKPOINT).read() for path in (a, b))
        assert left.arrays.keys() == right.arrays.keys()
        for name, array in left.arrays.items():
            np.testing.assert_array_equal(array, right.arrays[name])
        results = [json.loads((path / "config.json").read_text())["results"] for path in (a, b)]
        assert results[0] == results[1]


def rows(folder):
    return [{name: value for name, value in epoch.items() if name != "seconds"}
            for epoch in History.read(folder / "history.csv")]


EXPERIMENTS = {
    "adam": {"optimizer": "adam", "epochs": 4},
    "dropout and schedule": {"optimizer": "rmsprop", "epochs": 4, "dropout": 0.3, "schedule": "warmup:1+cosine"},
    "plateau": {"optimizer": "gd", "epochs": 5, "schedule": "plateau:0.5:1"},
    "stages": {"optimizer": "adam:2+lbfgs", "epochs": 5},
    "second order": {"optimizer": "newton", "epochs": 3, "fields": {"sample": 0.2}},
    "three stages": {"optimizer": "adam:1+gd:2+cg", "epochs": 4, "batch_size": 600},
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_continues_with_the_same_bits(name, tmp_path):
    def new():
        return ff.Experiment(dataset="digits", hidden=(6,), **EXPERIMENTS[name])

    whole = new().run(tmp_path / "whole", **QUIET)
    stages = whole[0].stages
    steps = sum(stage.epochs * -(-1437 // stage.batch_size) for stage in stages)
    for at in sorted({1, steps // 3, steps - 1}):
        folder = tmp_path / f"{at}"
        interrupt(new(), folder, at)
        results = ff.Experiment.resume(folder, **QUIET)
        assert not results.interrupted
        assert results[0].messages == whole[0].messages
        assert_same(folder, tmp_path / "whole")


def recording(run):
    """Return callbacks that add numbers to the epochs of a run."""
    return [ff.GradientNorms(), ff.Metrics({"errors": lambda y_true, y_predicted: (y_true != y_predicted).sum()})]


@pytest.mark.parametrize("optimizer", ["adam", "adam:2+lbfgs"])
def test_what_callbacks_record_continues(optimizer, tmp_path):
    def new():
        return ff.Experiment(optimizer, dataset="digits", hidden=(6,), epochs=4, batch_size=200)

    new().run(tmp_path / "whole", callbacks=recording, **QUIET)
    for at in (3, 16):
        interrupt(new(), tmp_path / f"{at}", at, recording)
        ff.Experiment.resume(tmp_path / f"{at}", callbacks=recording, **QUIET)
        assert_same(tmp_path / f"{at}", tmp_path / "whole")
    columns = History.read(tmp_path / "whole/history.csv").columns
    assert columns[-3:] == ["gradient_norm", "update_ratio", "val_errors"]
    assert "callbacks was ['GradientNorms'] and is []" in ff.Experiment.resume(tmp_path / "3", **QUIET)[0].error


def test_a_comparison_continues(tmp_path):
    def new():
        return ff.Experiment(["gd", "adam", "adam:2+lbfgs"], dataset="digits", hidden=(6,), epochs=4, seeds=2, jobs=2)

    new().run(tmp_path / "whole", **QUIET)
    interrupt(new(), tmp_path / "a", 15)
    ff.Experiment.resume(tmp_path / "a", **QUIET)
    assert_same(tmp_path / "a", tmp_path / "whole")
    before = {path: path.read_bytes() for path in (tmp_path / "a").rglob("history.csv")}
    ff.Experiment.resume(tmp_path / "a", **QUIET)  # everything is complete
    assert before == {path: path.read_bytes() for path in (tmp_path / "a").rglob("history.csv")}


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs", "adam:2+newton"])
def test_a_finished_run_is_prolonged(optimizer, tmp_path):
    for epochs in (3, 5):
        ff.Experiment(optimizer, dataset="digits", hidden=(6,), epochs=epochs).run(tmp_path / f"{epochs}", **QUIET)
    results = ff.Experiment.resume(tmp_path / "3", epochs=5, **QUIET)
    assert len(results.history) == 5
    assert_same(tmp_path / "3", tmp_path / "5")


def test_a_schedule_keeps_its_length_and_says_so(tmp_path):
    said = []
    ff.Experiment(dataset="digits", epochs=2, schedule="cosine").run(tmp_path / "a", **QUIET)
    ff.Experiment.resume(tmp_path / "a", epochs=3, notify=said.append, **QUIET)
    assert said == ["the schedule cosine keeps its length of 2 epochs; in the epochs from 3 to 3 its factor is 0"]
    ff.Experiment.resume(tmp_path / "a", epochs=4, notify=said.append, **QUIET)
    assert said[1:] == ["the schedule cosine keeps its length of 2 epochs; in the epochs from 3 to 4 its factor is 0"]


def test_other_settings_are_named(tmp_path):
    ff.Experiment(dataset="digits", epochs=2).run(tmp_path / "a", **QUIET)
    with pytest.raises(ValueError, match=r"a is of an experiment with other settings: lr was None and is 0.1; seed was "
                                         "0 and is 3; only epochs may be larger"):
        ff.Experiment.resume(tmp_path / "a", lr=0.1, seed=3)
    with pytest.raises(ValueError, match="epochs was 2 and is 1"):
        ff.Experiment.resume(tmp_path / "a", epochs=1)
    with pytest.raises(ValueError, match=r"is not a run folder: it holds no config.json"):
        ff.Experiment.resume(tmp_path)


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def resume_with_blas(threads, *arguments):
    return subprocess.run([sys.executable, "train.py", "--resume", *map(str, arguments)], cwd=ROOT, text=True,
                          capture_output=True, env={**os.environ, "OPENBLAS_NUM_THREADS": str(threads)})


@pytest.mark.slow
def test_it_continues_with_the_number_of_threads_that_it_had(tmp_path):
    threads = 1

    def new(folder, *arguments):
        command = [sys.executable, "train.py", "--dataset", "digits", "--epochs", "4", "--out", folder, *arguments]
        assert subprocess.run(command, cwd=ROOT, capture_output=True,
                              env={**os.environ, "OPENBLAS_NUM_THREADS": str(threads)}).returncode == 0

    new(tmp_path / "whole")
    interrupt(ff.Experiment(dataset="digits", epochs=4, threads=threads), tmp_path / "b", 15)
    config = json.loads((tmp_path / "b/config.json").read_text())
    config["experiment"]["threads"] = None  # as if it had been the number of that machine
    (tmp_path / "b/config.json").write_text(json.dumps(config))
    before = contents(tmp_path / "b")
    done = resume_with_blas(2, tmp_path / "b", "--threads", 5)
    assert (done.returncode, f"threads was {threads} and is 5; set threads to {threads}" in done.stderr) == (1, True)
    assert contents(tmp_path / "b") == before
    done = resume_with_blas(3, tmp_path / "b")
    assert done.returncode == 0, done.stderr
    assert "digits, adam" in done.stderr
    assert "adam, seed 0: continues in epoch 2 of 4, step 7 of 10" in done.stderr
    assert_same(tmp_path / "b", tmp_path / "whole")
    done = resume_with_blas(2, tmp_path / "b")
    assert "adam, seed 0: complete; a larger number of epochs than 4 would prolong it" in done.stderr
    assert_same(tmp_path / "b", tmp_path / "whole")


def test_a_comparison_of_which_no_run_can_be_continued_is_not_changed(tmp_path):
    ff.Experiment(["gd", "adam"], dataset="digits", epochs=2, threads=1).run(tmp_path / "a", **QUIET)
    before = contents(tmp_path / "a")
    results = ff.Experiment.resume(tmp_path / "a", epochs=3, threads=5, **QUIET)
    assert all("threads was 1 and is 5" in run.error for run in results)
    assert contents(tmp_path / "a") == before
    assert len(ff.Experiment.resume(tmp_path / "a", epochs=3, **QUIET)["gd"].history) == 3
    config = json.loads((tmp_path / "a/config.json").read_text())
    assert (config["experiment"]["epochs"], config["experiment"]["threads"]) == (3, 1)


def test_an_interrupt_of_several_runs_waits_for_all(tmp_path):
    """A run that went on would write into the folder, and with another number of BLAS's threads."""
    class Interrupts:
        left = 30

        def on_step_end(self, model, examples):
            self.left -= 1
            if self.left == 0:
                for _ in range(3):  # the second and the third come while the first waits for this run
                    os.kill(os.getpid(), signal.SIGINT)
                    time.sleep(0.1)

    def new():
        return ff.Experiment(["gd", "adam", "bfgs"], dataset="digits", hidden=(6,), epochs=12, jobs=2)

    new().run(tmp_path / "whole", **QUIET)
    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        new().run(tmp_path / "a", **QUIET, callbacks=lambda run: [Interrupts()] if run.name == "adam" else [])
    assert threading.active_count() == threads
    ff.Experiment.resume(tmp_path / "a", **QUIET)
    assert_same(tmp_path / "a", tmp_path / "whole")


def test_a_comparison_keeps_what_is_known_of_runs_that_cannot_be_continued(tmp_path):
    ff.Experiment(["gd", "adam"], dataset="digits", epochs=2, jobs=1).run(tmp_path / "a", **QUIET)
    config = json.loads((tmp_path / "a/config.json").read_text())["runs"]
    for path in (tmp_path / "a/gd").glob(f"{CHECKPOINT}*"):
        path.write_bytes(b"damaged")
    before = contents(tmp_path / "a/gd")
    results = ff.Experiment.resume(tmp_path / "a", epochs=3, **QUIET)
    assert "is not a checkpoint that can be loaded" in results["gd"].error
    assert len(results["adam"].history) == 3
    assert contents(tmp_path / "a/gd") == before
    assert json.loads((tmp_path / "a/config.json").read_text())["runs"][0] == config[0]


def test_a_run_that_failed_before_its_first_checkpoint_fails_again(tmp_path):
    results = ff.Experiment(["gd", "adam"], dataset="digits", epochs=2, lr=1e30, jobs=1).run(tmp_path / "a", **QUIET)
    again = ff.Experiment.resume(tmp_path / "a", **QUIET)
    assert [run.error for run in again] == [run.error for run in results]
    assert any(run.error for run in results)
    assert [run.test for run in again] == [run.test for run in results]


def test_another_machine_is_noticed(tmp_path):
    ff.Experiment(dataset="digits", epochs=2).run(tmp_path / "a", **QUIET)
    config = json.loads((tmp_path / "a/config.json").read_text())
    config["cores"], config["versions"]["numpy"], said = 1000, "2.0.0", []
    (tmp_path / "a/config.json").write_text(json.dumps(config))
    ff.Experiment.resume(tmp_path / "a", notify=said.append, **QUIET)
    assert len(said) == 1
    assert said[0].startswith("results may differ by rounding from those of a run that was not interrupted: cores was "
                              "1000 and is ")
    assert "numpy was 2.0.0 and is " in said[0]


@pytest.mark.parametrize(("text", "message"), [
    ("", "Expecting value"), ("[]", "no entry 'experiment'"), ('{"experiment": 3}', "no entry 'experiment'"),
    ('{"experiment": {"optimizer": "adam", "optimizer": "gd"}}', "the key 'optimizer' occurs twice"),
    ('{"experiment": {"lr": NaN}}', "NaN is not a number in JSON"), ("[" * 100_000, "configuration"),
    ('{"experiment": {"optimiser": "adam"}}', "Experiment has no field 'optimiser': did you mean 'optimizer'"),
    ('{"experiment": {"hidden": [1e99]}}', "hidden"), (" " * 20_000_000, "it has more than 10,000,000 bytes"),
    ('{"experiment": {"hidden": [' + "1," * 300_000 + "1]}}", "hidden has 300,001 layers: give at most 1,000"),
    ('{"experiment": {"seeds": 1000000000}}', "1,000,000,000 runs are too many: choose at most 10,000"),
    ('{"experiment": {"data_dir": [3]}}', "data_dir must be a path"),
    ('{"experiment": {"optimizer": ["os.system"]}}', "unknown"),
])
def test_an_invalid_configuration_gives_an_error_of_one_line(text, message, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InvalidFile, match=message) as caught:
        ff.Experiment.resume(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_notice_does_not_obey_the_file(tmp_path):
    ff.Experiment(dataset="digits", epochs=1).run(tmp_path / "a", **QUIET)
    config, said = json.loads((tmp_path / "a/config.json").read_text()), []
    config["versions"]["numpy"] = "1\n\x1b[2J" + "x" * 10_000
    (tmp_path / "a/config.json").write_text(json.dumps(config))
    ff.Experiment.resume(tmp_path / "a", notify=said.append, **QUIET)
    assert said[0].isprintable()
    assert len(said[0]) < 300


@pytest.mark.parametrize("name", ["a b", "it's", "-x"])
def test_the_command_that_is_printed_can_be_pasted(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert command.main(["--dataset", "digits", "--epochs", "2", "--no-plots", f"--out={name}"]) == 0
    assert command.main(["--dataset", "digits", f"--out={name}"]) == 2
    errors = capsys.readouterr().err
    assert command.main([*shlex.split(errors[errors.index("--resume") :]), "--epochs", "3", "--no-plots"]) == 0
    assert len(History.read(tmp_path / name / "history.csv")) == 3


def test_two_runs_cannot_use_one_folder(tmp_path):
    ff.Experiment(dataset="digits", epochs=2).run(tmp_path / "a", **QUIET)
    with locked_folder(tmp_path / "a"), pytest.raises(ValueError, match="a is in use by another process: wait for its"):
        ff.Experiment.resume(tmp_path / "a", **QUIET)
    ff.Experiment.resume(tmp_path / "a", **QUIET)


def start(*arguments, **options):
    dataset = [] if "--resume" in arguments else ["--dataset", "digits"]
    command = [sys.executable, "train.py", *dataset, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def complete(*arguments):
    process = start(*arguments)
    _, errors = process.communicate()
    assert process.returncode == 0, errors


def wait_for(path, process):
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the folder of a run that was not interrupted."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    complete("--epochs", "200", "--hidden", "20", "--no-plots", "--out", f"{folder}")
    return folder


@pytest.mark.parametrize(("name", "status"), [
    ("SIGTERM", 143), *(pytest.param(*case, marks=pytest.mark.slow) for case in (("SIGINT", 130), ("SIGHUP", 129)))])
def test_a_signal_saves_everything_and_the_command_to_continue_works(name, status, whole, tmp_path):
    process = start("--epochs", "200", "--hidden", "20", "--out", f"{tmp_path}/a", "--checkpoint-every", "1")
    wait_for(tmp_path / "a" / CHECKPOINT, process)
    process.send_signal(getattr(signal, name))
    output, errors = process.communicate()
    assert process.returncode == status, errors
    assert "Traceback" not in errors
    assert (tmp_path / "a" / "curves.png").exists()
    advice = output.splitlines()[-1].split()
    assert advice[1:3] == ["train.py", "--resume"]
    assert subprocess.run(output.splitlines()[-1], shell=True, cwd=ROOT, capture_output=True).returncode == 0
    assert_same(tmp_path / "a", whole)


@pytest.mark.slow
def test_a_second_signal_ends_it_at_once(tmp_path):
    process = start("--optimizer", "newton", "--epochs", "1000", "--hidden", "100", "--out", f"{tmp_path}/a")
    wait_for(tmp_path / "a" / "history.csv", process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode in (-signal.SIGINT, 130)
    assert "Traceback" not in errors


def wait_for_script(process):
    """Wait until the script runs: Python itself, while it starts, handles SIGINT by a traceback."""
    status, handled = Path(f"/proc/{process.pid}/status"), False
    for _ in range(10_000 if status.exists() else 0):
        line = re.search(r"SigCgt:\s*(\w+)", status.read_text())
        caught = bool(int(line[1], 16) >> (signal.SIGINT - 1) & 1)
        if handled and not caught:
            return
        handled = handled or caught
        time.sleep(0.001)
    time.sleep(0.5)  # another system does not tell


@pytest.mark.parametrize("delay", [0.05, *(pytest.param(delay, marks=pytest.mark.slow)
                                          for delay in (0.0, 0.02, 0.1, 0.2, 0.4))])
def test_ctrl_c_while_python_imports_gives_no_traceback(delay, tmp_path):
    process = start("--epochs", "3000", "--out", f"{tmp_path}/a")
    wait_for_script(process)
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGINT, 130)
    assert "Traceback" not in errors


def test_after_a_kill_it_resumes(whole, tmp_path):
    process = start("--epochs", "200", "--hidden", "20", "--out", f"{tmp_path}/a", "--checkpoint-every", "7s")
    wait_for(tmp_path / "a" / CHECKPOINT, process)
    time.sleep(0.1)
    process.kill()
    process.communicate()
    complete("--resume", f"{tmp_path}/a")
    assert_same(tmp_path / "a", whole)


def shell(command, tmp_path):
    return subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, "PYTHON": sys.executable, "OUT": f"{tmp_path}/a"}, timeout=120)


@pytest.mark.parametrize(("redirection", "status"), [
    ("2>&1 | head -1", 3), *(pytest.param(*case, marks=pytest.mark.slow) for case in (
        ("2>/dev/full", 3), ("2>&-", 0), ("| true", 3), ("> /dev/full", 3), (">&-", 3)))])
def test_output_that_cannot_be_written_costs_nothing(redirection, status, tmp_path):
    result = shell(f'"$PYTHON" train.py --dataset digits --epochs 30 --out "$OUT" {redirection}', tmp_path)
    assert result.returncode == status, result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    assert len(History.read(tmp_path / "a" / "history.csv")) == 30
    assert Model.load(tmp_path / "a" / "model.safetensors")
    assert (tmp_path / "a" / "confusion.png").exists()


def test_a_list_that_is_cut_gives_no_traceback(tmp_path):
    result = shell('"$PYTHON" train.py --list | head -1', tmp_path)
    assert "Traceback" not in result.stderr
    assert result.stdout.startswith("optimizers")


def test_a_log_that_cannot_be_written_costs_nothing(tmp_path, monkeypatch):
    class Remove:
        def on_epoch_end(self, model, epoch):
            if epoch["epoch"] == 2:
                log = tmp_path / "a" / "history.csv"
                log.unlink()
                log.mkdir()

    with pytest.warns(UserWarning, match="no log was written, and training goes on: .*history.csv"):
        results = ff.Experiment(dataset="digits", epochs=4).run(tmp_path / "a", callbacks=[Remove()], **QUIET)
    assert len(results.history) == 4
    assert any("history.csv" in problem for problem in results.problems)
    assert Model.load(tmp_path / "a" / "model.safetensors")


def test_a_file_that_cannot_be_written_is_reported_and_the_rest_is_written(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    class Fill:
        def on_epoch_end(self, model, epoch):
            monkeypatch.setattr("nn.files.os.fsync", full)

    with pytest.warns(UserWarning, match="was written, and training goes on") as caught:
        results = ff.Experiment(dataset="digits", epochs=2).run(tmp_path / "a", callbacks=[Fill()], progress=False)
    assert {str(warning.message).split(",")[0] for warning in caught} == {
        "no log was written", "no checkpoint was written"}
    assert results[0].test["accuracy"] > 0.2
    assert any("model.safetensors" in problem and "No space left" in problem for problem in results.problems)
    assert not list((tmp_path / "a").glob(".*.tmp"))


def test_temporary_files_of_others_are_kept(tmp_path):
    theirs = tmp_path / "a" / ".notes.tmp"
    theirs.parent.mkdir()
    theirs.write_text("mine")
    with pytest.raises(ValueError, match="a is not empty"):
        ff.Experiment(dataset="digits", epochs=1).run(tmp_path / "a", **QUIET)
    ff.Experiment(dataset="digits", epochs=1).run(tmp_path / "b", **QUIET)
    theirs.rename(tmp_path / "b" / ".notes.tmp")
    ff.Experiment.resume(tmp_path / "b", **QUIET)
    assert (tmp_path / "b" / ".notes.tmp").read_text() == "mine"


def test_another_dataset_is_named(tmp_path):
    config = json.loads(json.dumps(EXPERIMENTS["adam"]))
    ff.Experiment(dataset="digits", **config).run(tmp_path / "a", **QUIET)
    with pytest.raises(ValueError, match="dataset was 'digits' and is 'mnist'"):
        ff.Experiment.resume(tmp_path / "a", dataset="mnist", **QUIET)


def test_a_folder_that_was_removed_is_made_again_for_the_model(tmp_path):
    class Remove:
        def on_epoch_end(self, model, epoch):
            if epoch["epoch"] == 1:
                shutil.rmtree(tmp_path / "a")

    with pytest.warns(UserWarning, match="training goes on"):
        ff.Experiment(dataset="digits", epochs=2).run(tmp_path / "a", callbacks=[Remove()], **QUIET)
    assert Model.load(tmp_path / "a/model.safetensors")


def test_an_interrupt_in_python_says_how_to_continue(tmp_path):
    class Interrupts:
        def on_step_end(self, model, examples):
            if examples:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        ff.Experiment(dataset="digits", epochs=2).run(tmp_path / "a", callbacks=[Interrupts()], **QUIET)
    assert caught.value.__notes__ == [f"to continue: feedforward.Experiment.resume({str(tmp_path / 'a')!r})"]
    assert len(ff.Experiment.resume(tmp_path / "a", **QUIET).history) == 2
