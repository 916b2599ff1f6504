"""What the README says to type works as it stands."""

from pathlib import Path
import re

import pytest

import train

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_the_python_runs(code, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out


COMMANDS = re.findall(r"^(?:\.venv/bin/)?python train.py(.*?)(?: #.*)?$", README, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_are_understood(command, tmp_path, capsys):
    argv = command.split()
    if argv in (["--help"], []):
        return
    options = [] if argv == ["--list"] else ["--dataset", "digits", "--dry-run"]
    assert train.main([*argv, *options]) == 0
    assert capsys.readouterr().out


def test_the_quick_start_is_two_commands():
    block = re.search(r"## Quick start\n\n```sh\n(.*?)```", README, re.DOTALL)
    assert [line.split("#")[0].strip() for line in block[1].splitlines()] == ["make train", "make test"]
