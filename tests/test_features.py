"""The table of features: every library tries every feature, and ours has all that are not outside its scope."""

import ast
import sys
import types

import numpy as np
import pytest

from benchmarks.features.__main__ import PACKAGES, Cell, check_installed, markdown, try_apart, try_here
from benchmarks.features.table import FEATURES, GROUPS, LIBRARIES, Wrong, check_damage, check_safe, nothing_named
from benchmarks.report import ROOT

OUTSIDE = set(GROUPS["Outside our scope"])


@pytest.mark.parametrize("module", LIBRARIES.values())
def test_each_library_has_a_function_for_each_feature(module):
    source = (ROOT / "benchmarks" / "features" / f"{module}.py").read_text()
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    imported = {name.asname for node in ast.parse(source).body if isinstance(node, ast.ImportFrom)
                for name in node.names if name.asname}
    assert set(FEATURES) <= {function.name for function in functions} | imported
    for function in functions:
        assert ast.get_source_segment(source, function).count("# own") <= 12


def try_function(monkeypatch, source, tmp_path):
    path = tmp_path / "in_example.py"
    path.write_text(source)
    module = types.ModuleType("benchmarks.features.in_example")
    module.__file__ = str(path)
    exec(compile(source, str(path), "exec"), vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(LIBRARIES, "example", "in_example")
    return try_here("example", "feature")


@pytest.mark.parametrize(("body", "cell"), [
    ("pass", Cell("yes")),
    ("return 'a remark'", Cell("yes", "a remark")),
    ("x = 1  # own\n    y = 2  # own", Cell("code (2)")),
    ("raise ValueError('first\\nsecond')", Cell("no", "`ValueError: first`")),
    ("x = 1  # own\n    raise Wrong('the weights differ')", Cell("no", "the weights differ")),
])
def test_what_a_cell_says(body, cell, monkeypatch, tmp_path):
    source = f"from benchmarks.features.table import Wrong\ndef feature():\n    {body}\n"
    assert try_function(monkeypatch, source, tmp_path) == cell


def test_a_process_that_crashes_costs_one_cell():
    cells = try_apart("feedforward", ["no_such_feature", "sparse"], lambda: None)
    assert cells["feedforward", "no_such_feature"].note.startswith("the process crashed")
    assert cells["feedforward", "sparse"].note == "`ValueError: x is sparse: write x.toarray()`"


def test_equal_notes_have_one_number():
    cells = {(library, feature): Cell("yes") for library in LIBRARIES for feature in FEATURES}
    cells["Keras", "sparse"] = cells["skorch", "sparse"] = Cell("no", "why")
    cells["PyTorch", "sparse"] = Cell("no", "another reason")
    row, *_, first, second = [line for line in markdown(cells).splitlines() if "[1]" in line or line[:1].isdigit()]
    assert row.count("no [1]") == 2
    assert row.count("no [2]") == 1
    assert (first, second) == ("1. why", "2. another reason")


def test_the_checks_of_files_can_fail(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("model.npy", np.arange(1000.0))
    with pytest.raises(Wrong, match="predicts something else"):
        check_damage("model.npy", lambda: np.load("model.npy"))
    with pytest.raises(Wrong, match="executes code"):
        check_safe(lambda path: np.load(path, allow_pickle=True), "pickle.npy")


def test_a_function_that_a_library_has_by_now_is_an_error():
    with pytest.raises(TypeError, match="has sqrt: try it"):
        nothing_named("sqrt", np)


def test_a_library_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(PACKAGES, "no_such_module", "no-such-package")
    with pytest.raises(SystemExit, match="no-such-package: write pip install 'feedforward"):
        check_installed()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("feature", FEATURES)
def test_our_column(feature, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cell = try_here("feedforward", feature)
    if "ModuleNotFoundError" in cell.note or "`ImportError" in cell.note:
        pytest.skip(cell.note)
    assert cell.text == ("no" if feature in OUTSIDE else "yes"), cell.note
