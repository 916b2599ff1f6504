"""Completion in a shell: the script is run by a real bash."""

import shutil
import subprocess

import pytest

from feedforward import command
from feedforward.options import SHELLS
from optimizers import OPTIMIZERS

shtab = pytest.importorskip("shtab", reason="needs shtab: pip install 'feedforward[completion]'")

ASK = """
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_shtab_feedforward feedforward
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def script(capsys):
    assert command.main(["completion", "bash"]) == 0
    return capsys.readouterr().out


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(("words", "expected"), [
    (["--check"], ["--checkpoint-every"]),
    (["--optimizer", ""], [*OPTIMIZERS, "all"]),
    (["--optimizer", "gd", "adam"], ["adam", "adamw", "adamax"]),
    (["--epochs", "3", "--activation", "t"], ["tanh"]),
    (["--dataset", "dig"], ["digits"]),
    (["rep"], ["repeat"]),
    (["predict", "--o"], ["--out"]),
    (["completion", "z"], ["zsh"]),
])
def test_bash_completes(words, expected, script, tmp_path):
    done = subprocess.run(["bash", "-c", script + ASK, "bash", "feedforward", *words], capture_output=True, text=True,
                          cwd=tmp_path)
    assert done.stdout.split() == expected, done.stderr


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_folders_and_files_are_completed(script, tmp_path):
    (tmp_path / "run-1").mkdir()
    (tmp_path / "run-2.csv").touch()
    found = {words: set(subprocess.run(["bash", "-c", script + ASK, "bash", "feedforward", *words.split()], text=True,
                                       capture_output=True, cwd=tmp_path).stdout.split())
             for words in ("--resume run", "repeat run", "predict run-1 run")}
    assert found == {"--resume run": {"run-1"}, "repeat run": {"run-1"}, "predict run-1 run": {"run-1", "run-2.csv"}}


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_has_a_script(shell, capsys):
    assert command.main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in OPTIMIZERS)


def test_an_unknown_shell_is_an_error(capsys):
    assert command.main(["completion", "fish"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("feedforward: argument SHELL: invalid choice: 'fish' (choose from ")
    assert message.count("\n") == 1
