"""The pages of docs/: their code runs, their links lead to something, every public name has a page; the site builds."""

import configparser
from importlib.util import find_spec
import os
from pathlib import Path
import re
import subprocess
import sys

from launcher import launch
from pages import ROOT, anchors, assert_same, blocks, check_command, commands, libraries, links, missing, run
import pytest

import feedforward as ff
import feedforward.testing

DOCS = ROOT / "docs"
GENERATED = {"_build", "notebooks", "generated"}  # by Sphinx
PAGES = {path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8")
         for path in sorted(DOCS.rglob("*.md")) if not GENERATED & set(path.relative_to(DOCS).parts)}
SLOW = {"from_keras.md:1", "from_pytorch.md:1", "from_scikit_learn.md:1", "onnx.md:1", "processes.md:1",
        "learning_rates.md", "learning_rates.md:6", "interrupting.md"}  # pages and blocks that take long
CODE = {name: blocks(text) for name, text in PAGES.items() if blocks(text)}
OTHERS = {f"{name}:{number}": block for name, code in CODE.items() for number, block in enumerate(code, 1)
          if libraries(block[0])}
PUBLIC = [*(f"feedforward.{name}" for name in ff.__all__ if name not in ("plots", "testing")),
          *(f"nn.plots.{name}" for name in ("curves", "compare", "confusion", "worst")),
          *(f"feedforward.testing.{name}" for name in feedforward.testing.__all__),
          "feedforward.sklearn.FeedforwardClassifier", "feedforward.sklearn.FeedforwardRegressor"]


def some_slow(names):
    return [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in names]


@pytest.mark.parametrize("name", some_slow(CODE))
def test_the_python_runs(name, tmp_path, monkeypatch):
    """The blocks of a page run in order in one namespace, except for those that need another library."""
    monkeypatch.chdir(tmp_path)
    namespace = {}
    output = [run(code, printed, name, namespace) for code, printed in CODE[name] if not libraries(code)]
    assert not output or "".join(output)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:keras")
@pytest.mark.parametrize("name", some_slow(OTHERS))
def test_the_python_that_needs_another_library_runs(name, tmp_path, monkeypatch):
    code, printed = OTHERS[name]
    if library := missing(code):
        pytest.skip(f"{library} is not installed")
    monkeypatch.chdir(tmp_path)
    if "mpi4py" in libraries(code):
        Path("program.py").write_text(code)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [*launch(2), sys.executable, "-m", "mpi4py", "program.py"]
        assert_same(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120,
                                   env=environment).stdout, printed)
    else:
        monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "jax"))
        assert run(code, printed, name, {})


def test_another_output_is_noticed():
    assert_same("loss 1.02\n", "loss  1.0")
    for output in ("loss 1.2", "lost 1.0", "loss 1.0 1.0"):
        with pytest.raises(AssertionError):
            assert_same(output, "loss 1.0")


@pytest.mark.parametrize("line", sorted({line for text in PAGES.values() for line in commands(text)}))
def test_the_commands_are_valid(line):
    check_command(line)


def test_code_fits_into_the_page():
    code = "\n".join(re.findall(r"^```\w+\n(.*?)^```", "\n".join(PAGES.values()), re.DOTALL | re.MULTILINE))
    assert [line for line in code.splitlines() if len(line) > 100] == []


def test_targets_of_make_and_extras_exist():
    text = "\n".join(PAGES.values())
    rules = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)) <= set(rules)
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert set(re.findall(r"(?:feedforward|\.)\[(\w+)\]", text)) <= set(setup["options.extras_require"])


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_files_and_headings(name):
    def read(page):
        text = page.read_text(encoding="utf-8")
        included = re.search(r"^```\{include\} (\S+)", text, re.MULTILINE)
        return read(page.parent / included[1]) if included else text

    for link in links(PAGES[name]):
        path, _, anchor = link.partition("#")
        target = (DOCS / name).parent / path if path else DOCS / name
        if target.parent == DOCS / "notebooks":  # a copy
            target = ROOT / "notebooks" / target.name
        assert target.is_file(), link
        assert not anchor or anchor in anchors(read(target)), link


def test_every_public_name_has_a_page():
    listed = []
    for text in PAGES.values():
        module = ""
        for line in text.splitlines():
            module = line.partition(":: ")[2] if line.startswith(".. currentmodule::") else module
            if module and re.fullmatch(r"   \w+", line):
                listed.append(f"{module}.{line.strip()}")
            elif line.startswith("```{py:data} "):
                listed.append(line.split()[1])
    entries = [*ff.INITIALIZERS.values(), *ff.SCHEDULES.values()]
    assert sorted(listed) == sorted([*PUBLIC, *(f"{entry.__module__}.{entry.__name__}" for entry in entries)])


def test_every_entry_of_a_table_is_listed():
    blocks_of_tables = re.findall(r"^```\{py:data\} feedforward\.([A-Z]+)$(.*?)^```$", PAGES["api/tables.md"],
                                  re.DOTALL | re.MULTILINE)
    listed = {name: re.findall(r"^(?:\{py:\w+\})?`([\w-]+)", text, re.MULTILINE) for name, text in blocks_of_tables}
    assert listed == {name: list(getattr(ff, name)) for name in listed}
    assert set(listed) == {name for name in ff.__all__ if isinstance(getattr(ff, name), dict)}


@pytest.mark.slow
@pytest.mark.skipif(not all(map(find_spec, ("sphinx", "furo", "myst_nb", "latex2mathml"))),
                    reason="Sphinx, furo, myst-nb or latex2mathml is not installed: pip install 'feedforward[docs]'")
def test_the_site_builds_without_a_warning(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", DOCS, tmp_path],
                          capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    inventory = {path.stem for path in (tmp_path / "api" / "generated").glob("*.html")}
    assert len(inventory) > 80
