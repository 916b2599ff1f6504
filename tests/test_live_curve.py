"""In the kernel of a notebook: the curves that are drawn again, and the progress bar with and without ipywidgets."""

import base64
import hashlib
from types import SimpleNamespace

from execute_notebooks import errors, execute
import nbformat
import pytest
from test_model import small, small_data

from nn import History, LiveCurve
from nn import notebook as module
from optimizers import get

FIRST = """
import hashlib
import io
import sys
import numpy as np
import feedforward as ff
rng = np.random.default_rng(0)
x, y = rng.normal(size=(60, 6)), rng.integers(0, 3, 60)

class StopAt:
    def __init__(self, last):
        self.last = last
    def on_epoch_end(self, model, epoch):
        model.stop_training = epoch["epoch"] == self.last

class Fails:
    def on_epoch_end(self, model, epoch):
        raise RuntimeError

def train(epochs=20, history=None, **options):
    model = ff.Model([ff.Dense(6, 5), ff.ReLU(), ff.Dense(5, 3), ff.Softmax()], ff.CrossEntropy())
    return model.fit(x, y, ff.get("adam"), epochs, validation_data=(x, y), history=history, **options)
"""
PNG_OF_CURVES = """
out = io.BytesIO()
ff.plots.curves(history, {arguments}).savefig(out, format="png", dpi=144)
print(hashlib.sha256(out.getvalue()).hexdigest())
"""


def run(tmp_path, *cells):
    """Return the notebook of these cells after its execution; it must write nothing to stderr."""
    notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, (FIRST, *cells))))
    nbformat.write(notebook, tmp_path / "notebook.ipynb")
    return execute(tmp_path / "notebook.ipynb")


def outputs(cell):
    return [output for output in cell.outputs if output.output_type == "display_data"]


@pytest.mark.slow
def test_the_curves_and_the_bar_in_a_notebook(tmp_path):
    pytest.importorskip("ipywidgets", reason="ipywidgets is not installed (extra notebooks)")
    notebook = run(
        tmp_path,
        "history = train(callbacks=[ff.LiveCurve()], progress=False)",
        PNG_OF_CURVES.format(arguments="''"),
        "train(5, history, callbacks=[ff.LiveCurve(['loss', 'lr'], 'again'), StopAt(22)], progress=False)",
        PNG_OF_CURVES.format(arguments="'again', names=['loss', 'lr']"),
        "_ = train(30)",
        "_ = train(30, callbacks=[StopAt(3)])",
        "try:\n    train(30, callbacks=[Fails()])\nexcept RuntimeError:\n    print('failed')")
    assert errors(notebook) == []
    cells = notebook.cells[1:]
    for cell, following in ((cells[0], cells[1]), (cells[2], cells[3])):  # one picture, and it shows all epochs
        (picture,) = outputs(cell)
        png = base64.b64decode(picture.data["image/png"])
        assert hashlib.sha256(png).hexdigest() == following.outputs[0].text.strip()
    assert cells[-1].outputs[-1].text == "failed\n"

    widgets = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    bars = [widget["state"] for widget in widgets.values() if widget["model_name"] == "FloatProgressModel"]
    texts = [widget["state"]["value"] for widget in widgets.values() if widget["model_name"] == "HTMLModel"]
    assert [len(outputs(cell)) for cell in cells[4:]] == [1, 1, 1]
    assert [(bar["value"], bar["bar_style"]) for bar in bars[:2]] == [(1800, "success"), (180, "success")]
    assert bars[2]["bar_style"] == "danger"
    assert any(text.startswith("30/30\u2007\u2007loss\u2007") for text in texts)


@pytest.mark.slow
def test_without_ipywidgets_there_are_lines_and_no_warning(tmp_path):
    notebook = run(tmp_path, "sys.modules['ipywidgets'] = None\n_ = train(30)")
    (text,) = errors(notebook)
    assert text.startswith("1/30  loss ")
    assert "30/30  loss " in text
    assert "arn" not in text
    assert outputs(notebook.cells[1]) == []


class Drawn(LiveCurve):
    """Counts the drawings at a time that the test sets, each of which takes 0.03 s."""

    def __init__(self, monkeypatch):
        super().__init__()
        self.now, self.drawings = 100.0, []
        monkeypatch.setattr(module, "in_notebook", lambda: True)
        monkeypatch.setattr(module, "monotonic", lambda: self.now)
        monkeypatch.setattr(module, "curves", self.curves)
        monkeypatch.setattr("IPython.display.display", lambda image, display_id: self)
        self.history = History()
        self.on_fit_begin(None, {"training": SimpleNamespace(history=self.history)})

    def curves(self, history, title, validation, names):
        self.drawings.append(len(history))
        self.now += self.cost
        return SimpleNamespace(savefig=lambda out, **_: out.write(b"a picture"))

    def update(self, image):
        assert image.data == b"a picture"

    def epochs(self, n, seconds):
        for _ in range(n):
            self.now += seconds
            self.history.epochs.append({})
            self.on_epoch_end(None, {})


@pytest.mark.parametrize(("cost", "drawings"), [(0.03, [1, 7, 13, 19, 20]), (0.1, [1, 11, 20]), (10, [1, 20])])
def test_it_draws_at_most_twice_a_second_in_a_tenth_of_the_time_and_at_the_end(cost, drawings, monkeypatch):
    monkeypatch.setattr("IPython.display.Image", lambda data, **_: SimpleNamespace(data=data))
    live = Drawn(monkeypatch)
    live.cost = cost
    live.epochs(20, 0.0999)
    live.on_fit_end(None, live.history)
    live.on_fit_end(None, live.history)
    assert live.drawings == drawings


def test_outside_of_a_notebook_it_is_an_error_before_the_first_step():
    model, (x, y) = small(), small_data()
    before = model.theta.copy()
    with pytest.raises(ValueError, match="LiveCurve needs a notebook to draw in: leave it out here, and draw plots"):
        model.fit(x, y, get("adam"), callbacks=[LiveCurve()], progress=False)
    assert (model.theta == before).all()
