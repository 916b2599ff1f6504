"""report.html: what is in it, and the page in a real browser."""

from base64 import b64decode
import json
import os
from pathlib import Path
import re

from browser import Watched, browser
import numpy as np
import pytest

from benchmarks import report_pictures
import feedforward as ff
from feedforward.report import COLOURS, DASHES, HANDWRITTEN, SCRIPTS, page
from feedforward.report.images import OF_CELL, WORST
from feedforward.report.network import MAX_NUMBERS, description
from nn import Dense, Model, Rescale, Softmax, Standardize
from nn.registry import LAYERS

STROKES = {  # how digits are drawn, in shares of the canvas
    0: [[(.5, .15), (.35, .2), (.27, .4), (.27, .6), (.35, .8), (.5, .86), (.65, .8), (.73, .6), (.73, .4), (.65, .2),
         (.5, .15)]],
    2: [[(.3, .3), (.4, .18), (.55, .15), (.68, .25), (.66, .4), (.5, .6), (.3, .82), (.5, .82), (.74, .82)]],
    3: [report_pictures.THREE],
    5: [[(.7, .16), (.38, .16), (.35, .45), (.55, .42), (.7, .55), (.68, .75), (.5, .85), (.3, .8)]],
    8: [[(.5, .48), (.35, .35), (.4, .18), (.6, .18), (.65, .35), (.5, .48), (.33, .65), (.4, .84), (.6, .84),
         (.67, .65), (.5, .48)]],
    9: [[(.67, .35), (.55, .48), (.38, .42), (.36, .25), (.5, .15), (.66, .22), (.67, .4), (.64, .65), (.58, .86)]],
}
PREDICT = "(rows) => rows.map((row) => Array.from(network.predict(row)))"


@pytest.fixture(scope="module")
def chromium():
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run on the digits."""
    folder = tmp_path_factory.mktemp("report") / "run"
    ff.Experiment("adam", dataset="digits", epochs=40, batch_size=100).run(folder, progress=False, figures=False)
    return folder


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    """The folder of a comparison with two seeds."""
    folder = tmp_path_factory.mktemp("report") / "comparison"
    ff.Experiment(["gd", "adam", "lbfgs"], dataset="digits", epochs=12, seeds=2).run(folder, progress=False,
                                                                                    figures=False)
    return folder


def content(path):
    """Return the data of a page."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text("utf-8"),
                                re.DOTALL)[1])


def test_a_run_has_a_page_with_everything(run):
    data, config = content(run / "report.html"), json.loads((run / "config.json").read_text())
    results = config["results"]
    right = round(results["test"]["accuracy"] * 360)
    assert f"classifies {right} of 360 test examples correctly ({100 * right / 360:.2f} %)" in data["summary"]
    assert data["history"]["loss"] == pytest.approx(ff.History.read(run / "history.csv")["loss"], rel=1e-5)
    assert np.trace(data["confusion"]["counts"]) / 360 == results["test"]["accuracy"]
    assert np.sum(data["confusion"]["counts"]) == 360
    errors = 360 - np.trace(data["confusion"]["counts"])
    assert len(data["worst"]) == min(WORST, errors)
    for cell, images in data["confusion"]["cells"].items():
        i, j = map(int, cell.split(","))
        assert len(images) == min(OF_CELL, data["confusion"]["counts"][i][j])
    assert data["versions"][0] == ["python", config["versions"]["python"]]
    assert len((run / "report.html").read_bytes()) < 200_000


def test_the_images_are_those_of_the_test_data(run):
    from io import BytesIO

    from PIL import Image

    data, digits = content(run / "report.html"), ff.load("digits")
    images = data["images"]
    pixels = np.asarray(Image.open(BytesIO(b64decode(images["sheet"].partition(",")[2]))))
    outputs = Model.load(run / "model.safetensors").predict(digits.x_test)
    of_true = outputs[np.arange(360), digits.y_test]
    worst = np.argsort(np.where(outputs.argmax(axis=1) == digits.y_test, 2, of_true), kind="stable")
    for (index, true, predicted, output, output_of_true), expected in zip(data["worst"], worst):
        row, column = divmod(index, images["columns"])
        tile = pixels[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        np.testing.assert_array_equal(tile.ravel(), np.rint(255 * digits.x_test[expected]))
        assert (true, predicted) == (digits.y_test[expected], outputs[expected].argmax())
        assert output == pytest.approx(outputs[expected].max(), abs=1e-4)
        assert output_of_true == pytest.approx(of_true[expected], abs=1e-4)


def test_an_experiment_as_python(tmp_path):
    experiment = ff.Experiment(["gd", "adam"], dataset="digits", lr=[0.1, 0.01], fields={"weight_decay": 0.1}, epochs=2)
    experiment.run(tmp_path / "run", progress=False, figures=False)
    code = content(tmp_path / "run/report.html")["command"]
    assert code.startswith("feedforward.Experiment(optimizer=['gd', 'adam'], ")
    assert eval(code.removesuffix(".run()"), {"feedforward": ff}).description() == experiment.description()


def test_texts_cannot_become_tags():
    text = page({"title": "</script><img src=x onerror=alert(1)>", "summary": "<!--"})
    assert text.count("</script>") == 2
    assert "<img" not in text


def test_a_page_needs_no_other_file(run):
    text = (run / "report.html").read_text("utf-8")
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text) == []
    assert "default-src 'none'" in text


def test_every_layer_is_computed_or_named():
    for kind in LAYERS.values():
        layer = Dense(3, 3) if kind is Dense else kind(3) if kind in (Standardize, Rescale) else kind()
        found = description(Model([layer, Dense(3, 2)], ff.MeanSquaredError()))
        assert isinstance(found, dict) or repr(layer) in found
    large = description(Model([Dense(MAX_NUMBERS, 1)], ff.MeanSquaredError()))
    assert "too many for a page" in large
    model = Model([Dense(3, 3)], ff.MeanSquaredError())
    model.theta[0] = 1e5
    assert "too large for 16 bits" in description(model)


def rounded(model):
    """Set the weights of a model to what 16 bits can hold."""
    model.theta[:] = model.theta.astype(np.float16)
    return model


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[] if name == "GELU" else pytest.mark.slow) for name, kind in LAYERS.items()
    if issubclass(kind, ff.Elementwise)])
def test_the_page_computes_what_python_does(name, chromium, tmp_path):
    layer, rng = LAYERS[name](), np.random.default_rng(0)
    x = rng.normal(size=(20, 6)) * [1, 2, 3, 4, 5, 100]
    layers = [Standardize.of(x), Dense(6, 30), layer, ff.Dropout(0.5), Dense(30, 4), Softmax()]
    model = rounded(Model(layers, ff.CrossEntropy(), seed=1, dtype="float64"))
    for array in (model.layers[0].mean, model.layers[0].scale):
        array[:] = array.astype(np.float16)
    model.layers[0].scale[:] = 2.0 ** np.round(np.log2(model.layers[0].scale))  # its inverse has 16 bits, too
    model.layers[0].mean[:] = 0
    network = description(model)
    path = tmp_path / "page.html"
    text = page({"title": "test", "summary": "", "settings": [], "messages": [], "history": {"epoch": []},
                 "classes": [], "network": network, "command": "", "repeat": "", "versions": []})
    path.write_text(text, "utf-8")
    watched = Watched(chromium, path)
    np.testing.assert_allclose(watched.page.evaluate(PREDICT, x.tolist()), model.predict(x), atol=1e-6)
    assert watched.problems == []


def check_answers(chromium, folder, x):
    """Compare the classes that a page gives to images with those of Python."""
    watched = Watched(chromium, folder / "report.html")
    outputs = np.array(watched.page.evaluate(PREDICT, x.astype(float).tolist()))
    expected = Model.load(folder / "model.safetensors").predict(x)
    np.testing.assert_array_equal(outputs.argmax(axis=1), expected.argmax(axis=1))
    np.testing.assert_allclose(outputs, expected, atol=0.02)
    assert watched.problems == []


def test_the_answers_to_1000_digits_are_those_of_python(run, chromium):
    digits = ff.load("digits")
    check_answers(chromium, run, np.concatenate([digits.x_test, digits.x_train[:640]]))


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("MNIST_DIR"), reason="MNIST_DIR names no folder with the real MNIST")
def test_the_page_of_mnist(chromium, tmp_path):
    ff.Experiment("adam", dataset="mnist", epochs=5, batch_size=500, lr=0.003).run(tmp_path / "run", progress=False,
                                                                                  figures=False)
    assert (tmp_path / "run/report.html").stat().st_size < 3_000_000
    check_answers(chromium, tmp_path / "run", ff.load("mnist").x_test[:1000])
    watched = Watched(chromium, tmp_path / "run/report.html")
    for digit, strokes in STROKES.items():
        assert draw(watched, strokes) == digit
    assert watched.problems == []
    assert watched.violations() == []


def draw(watched, strokes):
    """Draw a digit with the mouse, and return the answer."""
    watched.page.get_by_role("button", name="Clear").click()
    for stroke in strokes:
        report_pictures.draw(watched.page, stroke)
    return answer(watched)


def answer(watched):
    found = re.search(r"says (\d)", watched.page.locator("#answer").inner_text())
    return found and int(found[1])


@pytest.mark.parametrize("digits", [[3], pytest.param([0, 2, 5, 8, 9], marks=pytest.mark.slow)])
def test_digits_are_drawn_with_the_mouse(digits, run, chromium):
    watched = Watched(chromium, run / "report.html")
    for digit in digits:
        assert draw(watched, STROKES[digit]) == digit
    shares = watched.page.locator("#draw tbody td:nth-child(2)").all_inner_texts()
    assert sum(float(re.search(r"[\d.]+", text)[0]) for text in shares) == pytest.approx(100, abs=1)
    watched.page.get_by_role("button", name="Clear").click()
    assert watched.page.locator("#answer").inner_text() == "Draw a digit."
    assert watched.problems == []


@pytest.mark.slow
def test_digits_are_drawn_by_touch(run, chromium):
    watched = Watched(chromium, run / "report.html", phone=True)
    watched.page.locator("#canvas").scroll_into_view_if_needed()
    session = watched.context.new_cdp_session(watched.page)

    def touch(kind, *place):
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in place]})

    for digit in (0, 3):
        watched.page.get_by_role("button", name="Clear").tap()
        first, *others = report_pictures.points(watched.page, STROKES[digit][0])
        touch("touchStart", first)
        for point in others:
            touch("touchMove", point)
        touch("touchEnd")
        assert answer(watched) == digit
    assert watched.problems == []


@pytest.mark.slow
def test_a_digit_is_drawn_with_the_keyboard(run, chromium):
    watched = Watched(chromium, run / "report.html")
    watched.page.locator("#canvas").focus()
    keys = [*["ArrowLeft"] * 7, " ", *["ArrowRight"] * 13, *["ArrowLeft", "ArrowDown", "ArrowDown"] * 8, " "]
    pen, status = watched.page.locator(".pen"), watched.page.locator("#draw [role=status]")
    assert not pen.is_visible()
    for key in keys:
        watched.page.keyboard.press(key)
        assert pen.is_visible()
    assert answer(watched) == 7
    assert status.inner_text().startswith("The pen is up. The network says 7")
    watched.page.keyboard.press("Delete")
    assert watched.page.locator("#answer").inner_text() == "Draw a digit."
    assert watched.problems == []


def test_the_curves_answer_to_the_mouse_and_the_keyboard(run, chromium):
    watched, history = Watched(chromium, run / "report.html"), ff.History.read(run / "history.csv")
    page = watched.page
    slider, values = page.get_by_role("slider", name="Position"), page.locator("#curves tbody tr")
    axis = page.get_by_role("combobox", name="Horizontal axis")

    def shown():
        return [cell for row in values.all() for cell in row.locator("td").all_inner_texts()]

    def expected(i):
        return [f"{float(f'{history[i][name]:.4g}'):g}" if "loss" in name else f"{100 * history[i][name]:.2f} %"
                for name in ("loss", "accuracy", "val_loss", "val_accuracy")]

    assert shown() == expected(39)
    slider.focus()
    page.keyboard.press("Home")
    assert shown() == 4 * ["–"]
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "epoch 2 of 40"
    assert shown() == expected(1)
    box = page.locator("#curves svg").first.bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 50)
    at = int(re.search(r"\d+", slider.get_attribute("aria-valuetext"))[0])
    assert 15 < at < 25
    assert shown() == expected(at - 1)
    page.mouse.move(0, 0)
    for change in (lambda: axis.select_option("seconds"), lambda: page.get_by_label("logarithmic").check(),
                   lambda: axis.select_option("passes"), lambda: axis.select_option("epoch")):
        change()
        assert shown() == expected(at - 1), "the position is the same moment"
    assert slider.get_attribute("aria-valuetext") == f"epoch {at} of 40"
    page.keyboard.press("Tab")
    assert watched.problems == []


def test_a_cell_of_the_confusion_matrix_shows_its_images(run, chromium):
    watched, data = Watched(chromium, run / "report.html"), content(run / "report.html")
    cell = watched.page.get_by_role("button", name=re.compile("^3 classified as 3: "))
    cell.focus()
    watched.page.keyboard.press("Enter")
    assert cell.get_attribute("aria-pressed") == "true"
    assert watched.page.locator("#confusion .images li").count() == len(data["confusion"]["cells"]["3,3"])
    assert watched.page.locator("#confusion .tile").first.bounding_box()["height"] > 50
    assert "of class 3 are classified correctly" in watched.page.locator("#confusion [role=status]").inner_text()
    watched.page.keyboard.press("Enter")
    assert watched.page.locator("#confusion .images li").count() == 0
    assert watched.problems == []


@pytest.mark.slow
def test_the_race(comparison, chromium):
    watched = Watched(chromium, comparison / "report.html")
    page, data = watched.page, content(comparison / "report.html")
    ranks, slider = page.locator("#race tbody th"), page.get_by_role("slider", name="Position")
    shown, axis = page.get_by_role("combobox", name="Show"), page.get_by_role("combobox", name="Horizontal axis")
    for metric, best in (("val_loss", min), ("accuracy", max)):
        shown.select_option(metric)
        last = {run["name"]: run["history"][metric][-1] for run in data["runs"]}
        names = [text.strip() for text in ranks.all_inner_texts()]
        assert names == sorted(last, key=last.get, reverse=best is max)
    for name in ("epoch", "seconds", "passes"):
        axis.select_option(name)
        page.get_by_role("button", name="Play").click()
        page.wait_for_timeout(1500)
        assert 0 < int(slider.input_value()) < int(slider.get_attribute("max"))
        page.get_by_role("button", name="Pause").click()
        value = slider.input_value()
        page.wait_for_timeout(150)
        assert slider.input_value() == value
        slider.press("End")
    page.get_by_role("button", name="Play").click()
    page.wait_for_timeout(1500)
    slider.press("Home")  # pauses
    assert page.get_by_role("button", name="Play").is_visible()
    assert slider.input_value() == "0"
    slider.press("End")
    drawn = page.locator("#race path").count()
    page.get_by_role("checkbox", name="gd").uncheck()
    assert page.locator("#race path").count() == drawn - 2  # the line, and its faint part
    assert page.get_by_role("checkbox", name="gd").is_checked() is False
    for name in ("adam", "lbfgs"):
        page.get_by_role("checkbox", name=name).uncheck()
    assert "all are hidden" in page.locator("#race svg").first.text_content()
    links = page.locator("#results a").all()
    assert len(links) == 6
    for link in links:
        assert (comparison / link.get_attribute("href")).exists()
    assert watched.problems == []


@pytest.mark.slow
def test_the_page_of_a_run_leads_to_that_of_its_comparison(comparison, chromium):
    watched = Watched(chromium, comparison / "adam-seed1/report.html")
    watched.page.get_by_role("link", name="The comparison").click()
    assert "3 optimizers" in watched.page.title()
    assert content(comparison / "adam-seed1/report.html")["repeat"] == "feedforward repeat .."


def test_no_two_lines_look_the_same():
    assert len({(COLOURS[k % len(COLOURS)], DASHES[k % len(DASHES)]) for k in range(len(ff.OPTIMIZERS))}) == 16


@pytest.mark.parametrize(("kind", "phone"), [
    ("run", False), *(pytest.param(*case, marks=pytest.mark.slow)
                      for case in (("run", True), ("comparison", False), ("comparison", True)))])
def test_the_page_is_accessible(kind, phone, request, chromium):
    path = request.getfixturevalue(kind) / "report.html"
    watched = Watched(chromium, path, phone)
    if kind == "run":
        watched.page.get_by_role("button", name=re.compile("^3 classified as 3: ")).click()
    assert watched.violations() == []
    for width in (watched.page.viewport_size["width"], 320):
        watched.page.set_viewport_size({"width": width, "height": 800})
        watched.page.wait_for_timeout(100)
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= width
    assert watched.problems == []


@pytest.mark.slow
@pytest.mark.parametrize("case", ["regression", "failed", "a table", "one class", "own images", "large"])
def test_pages_of_other_runs(case, chromium, tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 16)), rng.integers(0, 3, 60)
    names, options = ("red", "green", "blue"), {}
    if case == "regression":
        data = ff.Dataset("numbers", x[:40], x[:40, :1], x[40:], x[40:, :1])
    elif case == "own images":
        data = ff.Dataset("stripes", abs(x[:40]) % 1, y[:40], abs(x[40:]) % 1, y[40:], (4, 4), names)
    else:
        data = ff.Dataset("rows", x[:40], y[:40], x[40:], y[40:] * (case != "one class"), None, names)
    if case == "failed":
        options = {"lr": 1e30}
    if case == "large":
        options = {"hidden": [50_000]}
    results = ff.Experiment("gd", dataset=data, epochs=3, **options).run(tmp_path / "run", progress=False,
                                                                        figures=False)
    assert bool(results[0].error) == (case == "failed")
    watched = Watched(chromium, tmp_path / "run/report.html")
    assert watched.violations() == []
    text = watched.page.locator("main").inner_text()
    assert ("failed" in text) == (case == "failed")
    assert ("too many for a page" in text) == (case == "large")
    assert watched.page.locator("#weights").count() == (case == "own images")
    assert watched.problems == []


def test_problems_of_a_page_are_noticed(chromium, tmp_path):
    path = tmp_path / "page.html"
    path.write_text("<html><script>console.error('one'); fetch('http://127.0.0.1:9/');</script>"
                    "<script>undefined.x</script><img src='other.png'></html>")
    watched = Watched(chromium, path)
    watched.page.wait_for_timeout(200)
    assert any("one" in problem for problem in watched.problems)
    assert any("undefined" in problem for problem in watched.problems)
    assert any("127.0.0.1" in problem for problem in watched.problems)
    assert any("other.png" in problem for problem in watched.problems)
    assert {rule for rule, _ in watched.violations()} >= {"image-alt", "html-has-lang"}


def test_the_scripts_are_all_part_of_the_page():
    folder = Path(ff.__file__).parent / "report" / "page"
    assert {path.stem for path in folder.glob("*.js")} == set(SCRIPTS)
    assert set(HANDWRITTEN) <= set(re.findall(r"^  (\w+): \{ size", (folder / "drawing.js").read_text(), re.MULTILINE))
