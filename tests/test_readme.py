"""The Python code and the commands in the README work."""

import re

from pages import ROOT, blocks, check_command, commands, missing, run
import pytest

README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize(("code", "printed"), blocks(README))
def test_the_python_runs(code, printed, tmp_path, monkeypatch):
    if library := missing(code):
        pytest.skip(f"{library} is not installed")
    monkeypatch.chdir(tmp_path)
    assert run(code, printed, "README.md", {})


@pytest.mark.parametrize("line", commands(README))
def test_the_commands_are_valid(line):
    check_command(line)


def test_the_quick_start_is_two_commands():
    block = re.search(r"## Quick start\n\n```sh\n(.*?)```", README, re.DOTALL)
    assert [line.split("#")[0].strip() for line in block[1].splitlines()] == ["make train", "make test"]
