"""The imports: which package may import which, no circles, and no slow library at import."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
import subprocess
import sys

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("nn", "optimizers", "datasets")
SOURCES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
           for name in (*PACKAGES, "feedforward") for path in sorted((ROOT / name).rglob("*.py"))}


def imported(path):
    """Return the full names that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write the full name of the module"
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in SOURCES else node.module for name in full}
    return names


def graph(sources):
    """Return, for each module, our modules that it imports."""
    return {module: imported(path) & set(sources) - {module} for module, path in sources.items()}


@pytest.mark.parametrize("module", SOURCES)
def test_only_feedforward_imports_several_packages(module):
    package = module.split(".")[0]
    imported_packages = {name.split(".")[0] for name in imported(SOURCES[module])} - {package}
    if package == "feedforward":
        assert not imported_packages & {"train", "tests", "benchmarks"}
    else:
        assert not imported_packages & {*PACKAGES, "feedforward", "train", "tests", "benchmarks"}


def test_there_is_no_import_circle():
    list(TopologicalSorter(graph(SOURCES)).static_order())  # raises CycleError


def test_the_check_finds_imports_and_circles(tmp_path):
    (tmp_path / "a.py").write_text("import os\ndef f():\n    from optimizers.base import Array\n    import b\n")
    (tmp_path / "b.py").write_text("import a\n")
    assert imported(tmp_path / "a.py") == {"os", "optimizers.base", "b"}
    with pytest.raises(CycleError):
        list(TopologicalSorter(graph({name: tmp_path / f"{name}.py" for name in "ab"})).static_order())


# modules and functions that can run what a file says, and the modules of ours that use one on something else
RUNS_CODE = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "runpy",
             "importlib", "eval", "exec", "compile", "__import__", "import_module", "allow_pickle", "load_module"}
ALLOWED = {
    "optimizers.compiled": {"exec", "importlib"},  # compiles a rule's own source; asks whether numba is installed
    "nn.versions": {"importlib"},  # the versions of installed packages
    "feedforward": {"import_module", "importlib"},  # imports our own packages when they are used
    "feedforward.testing.optimizer_checks": {"pickle"},  # pickles a rule in memory, to check that it can be
}


def runs_code(path):
    """Return the names in a file that can run what another file says."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {part for alias in node.names for part in alias.name.split(".")}
        elif isinstance(node, ast.ImportFrom):
            names |= {*node.module.split("."), *(alias.name for alias in node.names)}
        elif isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id == "re"):
            names.add(node.attr)
        elif isinstance(node, ast.keyword):
            names.add(node.arg)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in RUNS_CODE:
            names.add(node.value)  # such as getattr(builtins, "eval")
    return names & RUNS_CODE


@pytest.mark.parametrize("module", [*SOURCES, "train"])
def test_no_file_can_run_code(module):
    path = SOURCES.get(module, ROOT / "train.py")
    assert runs_code(path) == ALLOWED.get(module, set())


@pytest.mark.parametrize("line", [
    "import pickle", "from pickle import load", "import joblib as j", "eval('1')", "exec(text)", "f = __import__",
    "np.load(path, allow_pickle=True)", "importlib.import_module(name)", "getattr(builtins, 'eval')(text)",
    "from importlib import import_module as f"])
def test_the_check_finds_what_can_run_code(line, tmp_path):
    (tmp_path / "a.py").write_text(f"import re\nre.compile('a')\n{line}\n")
    assert runs_code(tmp_path / "a.py")


SLOW = ["matplotlib", "scipy", "tqdm", "safetensors", "pooch", "requests", "platformdirs", "threadpoolctl", "numba",
        "tensorboardX", "IPython", "sklearn", "optuna", "onnx", "onnxruntime"]


@pytest.mark.parametrize("code", [f"import {name}" for name in PACKAGES] + [
    "import feedforward as ff; ff.Model, ff.Adam, ff.load, ff.Experiment, ff.TensorBoard"])
def test_importing_a_package_imports_no_slow_library(code):
    code = f"import sys; {code}; print(*(name for name in {SLOW} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_feedforward_imports_nothing_before_it_is_used():
    code = "import sys, feedforward; print(*(name for name in ('numpy', 'nn', 'optimizers') if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_missing_scikit_learn_is_named():
    code = "import sys; sys.modules['sklearn'] = None; import feedforward.sklearn"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].startswith("ImportError: feedforward.sklearn needs scikit-learn, 1.6 or later")
    assert "pip install 'feedforward[sklearn]'" in done.stderr


def test_no_source_probes_an_objective_or_silences_the_type_checker():
    for module, path in SOURCES.items():
        text = path.read_text()
        assert "type: ignore" not in text, module
        assert "hasattr(objective" not in text, module
