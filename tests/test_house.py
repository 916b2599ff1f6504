"""The walls of the house: who may import whom, and what importing costs."""

import ast
from pathlib import Path
import subprocess
import sys

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("nn", "optimizers", "datasets")


def imported(path):
    """The top-level names that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").split(".")[0])
    return names


SOURCES = [path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py"))]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_packages_import_nothing_of_each_other(path):
    own = path.relative_to(ROOT).parts[0]
    assert not imported(path) & ({*PACKAGES, "train", "tests"} - {own})


def test_the_check_of_imports_sees_them(tmp_path):
    (tmp_path / "a.py").write_text("import os\ndef f():\n    from optimizers.base import Array\n    import nn.model\n")
    assert imported(tmp_path / "a.py") == {"os", "optimizers", "nn"}


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_brings_nothing_heavy(package):
    heavy = ["matplotlib", "scipy", "tqdm", "safetensors", "pooch", "requests", "platformdirs", "threadpoolctl"]
    code = f"import sys, {package}; print(*(name for name in {heavy} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
