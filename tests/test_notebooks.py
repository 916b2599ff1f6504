"""Every notebook runs in a new kernel, writes nothing to stderr, and is committed with the outputs of one run."""

import os
from pathlib import Path
import re
import subprocess
import sys

from execute_notebooks import FOLDER, NOTEBOOKS, SIZE_LIMIT, errors, execute
import nbformat
import pytest

notebooks = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
ADVICE = ": restart the kernel in feedforward's folder notebooks/, and run this cell first"


def code(notebook):
    """Return the code cells."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def images(notebook):
    """Return the number of images that each code cell shows."""
    return [sum(kind in output.get("data", {}) for output in cell.outputs for kind in ("image/png", "image/gif"))
            for cell in code(notebook)]


def test_all_notebooks_are_found():
    assert {"first_network", "optimizers_side_by_side", "paths", "second_order", "your_own_optimizer"} <= {
        p.stem for p in NOTEBOOKS}


@pytest.mark.parametrize("path", [
    pytest.param(path, id=path.stem, marks=[] if path.stem == "first_network" else pytest.mark.slow)
    for path in NOTEBOOKS])
def test_it_runs_and_shows_as_many_images_as_in_the_commit(path):
    result = execute(path)
    assert errors(result) == []
    assert images(result) == images(nbformat.read(path, as_version=4))


@notebooks
def test_it_is_committed_with_the_outputs_of_one_run(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    assert sum(images(notebook)) > 0
    assert errors(notebook) == []
    assert set(notebook.metadata) == {"kernelspec"}
    assert not any(cell.metadata for cell in notebook.cells)
    assert path.stat().st_size < SIZE_LIMIT


@notebooks
def test_it_contains_no_path_of_a_particular_machine(path):
    notebook = nbformat.read(path, as_version=4)
    sources = "\n".join(cell.source for cell in notebook.cells)
    assert re.findall(r"""["'(\s](?:~|[A-Za-z]:\\|/\w+)[/\\]\S*""", sources) == []
    outputs = "\n".join(str({**output.get("data", {}), "image/png": "", "image/gif": "", "text": output.get("text")})
                        for cell in code(notebook) for output in cell.outputs)
    assert not any(str(folder) in sources + outputs for folder in (FOLDER.parent, Path.home()))


def test_all_start_with_the_same_cell_that_finds_the_package():
    assert len({code(nbformat.read(path, as_version=4))[0].source for path in NOTEBOOKS}) == 1


@pytest.fixture
def run_first_cell(tmp_path):
    """Run the first cell in a folder, with another project's package `datasets` first on the path.

    Returns the completed process, which prints the number of training images.
    """
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").write_text("")
    source = code(nbformat.read(NOTEBOOKS[0], as_version=4))[0].source

    def run(folder, before="", options=(), path=()):
        program = f"{before}\n{source}\nprint(len(ff.load('digits').x_train))"
        return subprocess.run([sys.executable, *options, "-c", program], cwd=folder, capture_output=True, text=True,
                              env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (tmp_path, *path)))})

    return run


@pytest.mark.parametrize("folder", [FOLDER, FOLDER.parent], ids=["notebooks", "root"])
def test_the_first_cell_finds_our_datasets_if_another_project_has_a_package_of_this_name(run_first_cell, folder):
    done = run_first_cell(folder)
    assert (done.stdout, done.stderr) == ("1437\n", "")


def test_the_first_cell_says_what_to_do_if_another_datasets_was_imported(run_first_cell, tmp_path):
    done = run_first_cell(FOLDER, before=f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import datasets")
    assert f"the package 'datasets' of feedforward is hidden by another project's: {tmp_path}" in done.stderr
    assert ADVICE in done.stderr


@pytest.mark.parametrize(("path", "reason"), [
    ((FOLDER.parent,), "the package 'datasets' of feedforward is hidden by another project's"),
    ((), "No module named 'feedforward'")], ids=["installed", "not installed"])
def test_the_first_cell_says_what_to_do_in_another_folder(run_first_cell, tmp_path, path, reason):
    done = run_first_cell(tmp_path, options=["-S"], path=path)  # -S: without the packages that are installed
    assert done.stdout == ""
    assert reason in done.stderr
    assert ADVICE in done.stderr


@pytest.mark.parametrize(("source", "message"), [
    ("import warnings; warnings.warn('a warning')", "a warning"),
    pytest.param("1 / 0", "ZeroDivisionError", marks=pytest.mark.slow)])
def test_a_cell_that_fails_or_warns_is_found(tmp_path, source, message):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    nbformat.write(notebook, tmp_path / "bad.ipynb")
    try:
        messages = errors(execute(tmp_path / "bad.ipynb"))
    except Exception as error:
        messages = [str(error)]
    assert message in "".join(messages)
