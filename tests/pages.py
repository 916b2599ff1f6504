"""The code, the commands and the links of pages in Markdown."""

from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
import re
import shlex

import numpy as np

from feedforward import command
from feedforward.options import parser, parser_of_predict, parser_of_repeat

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")
PROGRAM = re.compile(r"(?:mpiexec -n \d+ )?(?:\.venv/bin/)?(?:python train\.py|(?:python -m )?feedforward)(?= |$)")
# what a block needs if this text is in it: another library, which may be absent, and our extra that installs it
OPTIONAL = {"import torch": ["torch"], "import onnxruntime": ["onnx", "onnxruntime"], "import onnx ": ["onnx"],
            "import keras": ["keras", "jax"], "import optuna": ["optuna"], "from mpi4py": ["mpi4py"],
            "from sklearn": ["sklearn"], "feedforward.sklearn": ["sklearn"]}


def blocks(text):
    """Return each block of Python, and what a block of text directly below it says that it prints, or None."""
    return [(code, printed or None) for code, printed in BLOCK.findall(text)]


def libraries(code):
    """Return the other libraries that a block needs."""
    return [library for text, names in OPTIONAL.items() if text in code for library in names]


def missing(code):
    """Return the first library that a block needs and that is not installed, or None."""
    return next((library for library in libraries(code) if find_spec(library) is None), None)


def run(code, printed, name, namespace):
    """Run a block in a namespace, and return its output, which must be `printed`, with numbers within 10 %."""
    output = StringIO()
    with redirect_stdout(output):
        exec(compile(code, name, "exec"), namespace)
    if printed is not None:
        assert_same(output.getvalue(), printed)
    return output.getvalue()


def assert_same(output, printed):
    """Raise AssertionError if two texts differ in more than white space and small differences of numbers."""
    def words(text):
        return NUMBER.sub("#", text).split()

    def numbers(text):
        return [float(number) for number in NUMBER.findall(text)]

    assert words(output) == words(printed), f"printed:\n{output}"
    np.testing.assert_allclose(numbers(output), numbers(printed), rtol=0.1, err_msg=f"printed:\n{output}")


def commands(text):
    """Return the arguments of each of our commands in the blocks of sh."""
    lines = "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)).replace("\\\n", " ")
    return [line[match.end():].strip() for line in lines.splitlines() if (match := PROGRAM.match(line))]


def check_command(line):
    """Plan what a command would do. If its files are not here, only read its options."""
    argv = shlex.split(line, comments=True)
    if argv in (["--help"], []):
        return
    known = {"predict": parser_of_predict, "repeat": parser_of_repeat}
    if argv[0] in known:
        known[argv[0]]("feedforward").parse_args(argv[1:])
    elif {"--resume", "--config", "--target"} & set(argv):
        parser("train.py").parse_args(argv)
    else:
        options = [] if argv == ["--list"] else ["--dataset", "digits", "--dry-run"]
        assert command.main([*argv, *options]) == 0


def without_blocks(text):
    """Return a page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(text):
    """Return the anchors of the headings of a page, as Sphinx and web sites make them."""
    headings = re.findall(r"^#{1,4} (.*)$", without_blocks(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def links(text):
    """Return the targets of the links and the images of a page that are files."""
    prose = re.sub(r"`[^`\n]*`", "", without_blocks(text))
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", prose) if "://" not in target]
