"""Every notebook runs in a fresh kernel, without a word on stderr, and is committed as it comes out of one run."""

import os
from pathlib import Path
import re
import subprocess
import sys

from execute_notebooks import FOLDER, NOTEBOOKS, SIZE_LIMIT, complaints, execute
import nbformat
import pytest

notebooks = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def pictures(notebook):
    """Of each code cell, how many pictures it shows."""
    return [sum(kind in output.get("data", {}) for output in cell.outputs for kind in ("image/png", "image/gif"))
            for cell in code(notebook)]


def test_there_are_notebooks():
    assert {"first_network", "optimizers_side_by_side", "paths", "second_order", "your_own_optimizer"} <= {
        p.stem for p in NOTEBOOKS}


@notebooks
def test_it_runs_and_shows_the_pictures_that_it_is_committed_with(path):
    ran = execute(path)
    assert complaints(ran) == []
    assert pictures(ran) == pictures(nbformat.read(path, as_version=4))


@notebooks
def test_it_is_committed_as_it_came_out_of_one_run(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    assert sum(pictures(notebook)) > 0
    assert complaints(notebook) == []
    assert set(notebook.metadata) == {"kernelspec"}
    assert not any(cell.metadata for cell in notebook.cells)
    assert path.stat().st_size < SIZE_LIMIT


@notebooks
def test_it_names_no_place_on_one_machine(path):
    notebook = nbformat.read(path, as_version=4)
    sources = "\n".join(cell.source for cell in notebook.cells)
    assert re.findall(r"""["'(\s](?:~|[A-Za-z]:\\|/\w+)[/\\]\S*""", sources) == []
    outputs = "\n".join(str({**output.get("data", {}), "image/png": "", "image/gif": "", "text": output.get("text")})
                        for cell in code(notebook) for output in cell.outputs)
    assert not any(str(place) in sources + outputs for place in (FOLDER.parent, Path.home()))


def test_all_begin_by_finding_the_packages_and_in_the_same_words():
    assert len({code(nbformat.read(path, as_version=4))[0].source for path in NOTEBOOKS}) == 1


@pytest.fixture
def first_cell(tmp_path):
    """Runs the first cell, in a folder, where another library called datasets comes first; the completed process."""
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").write_text("")
    source = code(nbformat.read(NOTEBOOKS[0], as_version=4))[0].source

    def run(folder, before=""):
        program = f"{before}\n{source}\nfrom datasets import load\nprint(len(load('digits').x_train))"
        return subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True,
                              env={**os.environ, "PYTHONPATH": str(tmp_path)})

    return run


@pytest.mark.parametrize("folder", [FOLDER, FOLDER.parent], ids=["notebooks", "root"])
def test_the_first_cell_finds_our_datasets_where_another_is_installed(first_cell, folder):
    done = first_cell(folder)
    assert (done.stdout, done.stderr) == ("1437\n", "")


def test_the_first_cell_says_what_to_do_where_another_datasets_was_imported(first_cell, tmp_path):
    done = first_cell(FOLDER, before=f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import datasets")
    assert f"{tmp_path / 'datasets' / '__init__.py'} is another library's: restart the kernel in" in done.stderr


def test_the_first_cell_says_what_to_do_elsewhere(first_cell, tmp_path):
    done = first_cell(tmp_path)
    assert "is another library's: restart the kernel in feedforward's folder notebooks/" in done.stderr


@pytest.mark.parametrize(("source", "complaint"), [
    ("1 / 0", "ZeroDivisionError"), ("import warnings; warnings.warn('mind the gap')", "mind the gap")])
def test_a_cell_that_fails_or_warns_is_seen(tmp_path, source, complaint):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    nbformat.write(notebook, tmp_path / "bad.ipynb")
    try:
        found = complaints(execute(tmp_path / "bad.ipynb"))
    except Exception as error:
        found = [str(error)]
    assert complaint in "".join(found)
