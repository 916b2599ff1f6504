"""The Python code and the commands in the README work."""

from pathlib import Path
import re

import pytest

from feedforward import command
from feedforward.options import parser

ROOT = Path(__file__).parent.parent
OPTIONAL = {"import torch": ["torch"], "import onnxruntime": ["onnx", "onnxruntime"]}  # what a block needs
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_the_python_runs(code, tmp_path, monkeypatch, capsys):
    if "sklearn" in code:
        pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install 'feedforward[sklearn]'")
    monkeypatch.chdir(tmp_path)
    for text, libraries in OPTIONAL.items():
        for library in libraries if text in code else ():
            pytest.importorskip(library)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out


COMMANDS = re.findall(r"^(?:\.venv/bin/)?python train.py(.*?)(?: #.*)?$", README, re.MULTILINE)


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_are_valid(line, tmp_path, capsys):
    argv = line.split()
    if argv in (["--help"], []):
        return
    if "--resume" in argv:  # there is no such run
        parser("train.py").parse_args(argv)
        return
    options = [] if argv == ["--list"] else ["--dataset", "digits", "--dry-run"]
    assert command.main([*argv, *options]) == 0
    assert capsys.readouterr().out


def test_the_quick_start_is_two_commands():
    block = re.search(r"## Quick start\n\n```sh\n(.*?)```", README, re.DOTALL)
    assert [line.split("#")[0].strip() for line in block[1].splitlines()] == ["make train", "make test"]
