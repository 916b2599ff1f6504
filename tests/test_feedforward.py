"""The package feedforward: every public name by one import, the content of a wheel, and the stub for editors."""

import ast
import importlib
import os
from pathlib import Path
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

import feedforward as ff
from feedforward import command

ROOT = Path(__file__).parent.parent
PACKAGES = ("nn", "optimizers", "datasets")
NAMES = {name: package for package in PACKAGES for name in importlib.import_module(package).__all__}


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_can_be_used(name):
    assert getattr(ff, name) is getattr(importlib.import_module(NAMES[name]), name)
    assert name in dir(ff)


def test_no_two_packages_have_the_same_public_name():
    assert len(NAMES) == sum(len(importlib.import_module(package).__all__) for package in PACKAGES)


def test_names_of_feedforward_itself():
    for name in ("Experiment", "Results", "TensorBoard", "register", "plots", "testing", "__version__"):
        assert name in dir(ff)
        assert getattr(ff, name)
    assert callable(ff.register)  # not a module of that name
    with pytest.raises(AttributeError, match="module 'feedforward' has no attribute 'Modle'"):
        _ = ff.Modle


def test_a_star_import_gives_the_public_names_and_no_others():
    names = {}
    exec("from feedforward import *", names)
    assert set(names) - {"__builtins__"} == {*NAMES, "Experiment", "Results", "Run", "RangeTest", "Search",
                                              "TensorBoard", "lr_find", "predict_table", "register", "repeat",
                                              "search", "plots", "testing"}
    assert {name for name in dir(ff) if not name.startswith("__")} == set(names) - {"__builtins__"}


def test_no_module_has_a_public_name_that_it_would_hide():
    modules = {path.stem for path in (ROOT / "feedforward").iterdir()} - {"testing"}
    assert not modules & set(ff._public())


def test_register_is_not_hidden_by_a_module():
    code = "import feedforward as ff; ff.Model; import feedforward.command; print(ff.register.__name__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["register"]


def test_the_stub_names_the_modules_that_the_package_reads():
    tree = ast.parse((ROOT / "feedforward/__init__.pyi").read_text())
    starred = {node.module for node in tree.body if isinstance(node, ast.ImportFrom) and node.names[0].name == "*"}
    assert starred == set(ff._MODULES)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Return the wheel of this source, built from a copy."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info", "runs", "__pycache__"))
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir",
                    str(folder), str(source)], check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_a_wheel_has_no_module_train_and_all_packages(wheel):
    files = zipfile.ZipFile(wheel).namelist()
    assert {file.split("/")[0] for file in files if "dist-info" not in file} == {*PACKAGES, "feedforward"}
    data = {"feedforward/__init__.pyi", "feedforward/py.typed", "datasets/data/digits-images-idx3-ubyte.gz"}
    assert data <= set(files)


@pytest.mark.slow
def test_the_distributions_can_be_uploaded(tmp_path):
    source, out = tmp_path / "source", tmp_path / "dist"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info", "runs", "__pycache__",
                                                                "_build"))

    def check(*command):
        done = subprocess.run([sys.executable, "-m", *map(str, command)], cwd=source, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    check("build", "--no-isolation", "--outdir", out, source)
    wheel, archive = sorted(out.iterdir())
    check("twine", "check", "--strict", wheel, archive)
    check("check_wheel_contents", wheel)
    version = re.search(r"(?m)^version = (.*)$", (ROOT / "setup.cfg").read_text())[1]
    assert (wheel.name, archive.name) == (f"feedforward-{version}-py3-none-any.whl", f"feedforward-{version}.tar.gz")
    with tarfile.open(archive) as files:
        names = {name.partition("/")[2] for name in files.getnames()}
    assert {"train.py", "Makefile", "tests/launcher.py", "tests/references/rules.py", "SCALING.md",
            "feedforward/report/page/run.js"} <= names


def test_the_classifiers_are_the_versions_that_are_tested():
    text = (ROOT / "setup.cfg").read_text()
    minors = [int(minor) for minor in re.findall(r"Python :: 3\.(\d+)", text)]
    assert min(minors) == int(re.search(r"python_requires = >=3\.(\d+)", text)[1])


def test_another_train_py_does_not_break_the_command(wheel, tmp_path):
    site, other = tmp_path / "site", tmp_path / "other"
    zipfile.ZipFile(wheel).extractall(site)
    other.mkdir()
    (other / "train.py").write_text("raise SystemExit('another train.py')")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(other), str(site)])}
    done = subprocess.run([sys.executable, "-m", "feedforward", "--list"], cwd=tmp_path, env=environment, text=True,
                          capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "optimizers, with their fields and defaults" in done.stdout


def test_an_error_names_the_command_that_was_used(tmp_path):
    for start, name in ((["train.py"], "train.py"), (["-m", "feedforward"], "feedforward")):
        done = subprocess.run([sys.executable, *start, "--epochs", "0"], cwd=ROOT, capture_output=True, text=True)
        assert done.stderr.startswith(f"{name}: epochs must be")
    assert command.main(["--epochs", "0"]) == 2
