"""The pictures of report.html in README and documentation: the pages of two experiments, in Chromium.

    python -m benchmarks.report_pictures

It needs the package chromium of the distribution, and playwright, which is in the extra `test`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
import shutil
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.report import FIGURES, save_figure
import feedforward as ff
from feedforward.report import REPORT

THREE = [(0.3, 0.2), (0.5, 0.15), (0.67, 0.25), (0.62, 0.42), (0.45, 0.48), (0.65, 0.55), (0.7, 0.7), (0.55, 0.85),
         (0.3, 0.8)]  # in shares of the canvas


def points(page: Any, stroke: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the places in a page of a stroke whose points are shares of the canvas."""
    box = page.locator("#canvas").bounding_box()
    return [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]


def draw(page: Any, stroke: Sequence[tuple[float, float]] = THREE) -> None:
    """Draw a stroke on the page of a run, with the mouse."""
    first, *others = points(page, stroke)
    page.mouse.move(*first)
    page.mouse.down()
    for point in others:
        page.mouse.move(*point, steps=5)
    page.mouse.up()


def half(page: Any) -> None:
    """Move the race of a comparison to its middle."""
    slider = page.get_by_role("slider", name="Position")
    slider.press("Home")
    for _ in range(int(slider.get_attribute("max")) // 4):
        slider.press("ArrowRight")
    page.locator("#race").scroll_into_view_if_needed()


def main() -> None:
    """Train, and write the pictures."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(prog="python -m benchmarks.report_pictures", description=__doc__)
    parser.add_argument("--data-dir", help="the folder of the MNIST files")
    data_dir = parser.parse_args().data_dir
    with TemporaryDirectory() as text, sync_playwright() as playwright:
        run, comparison = Path(text, "run"), Path(text, "comparison")
        ff.Experiment("adam", dataset="mnist", data_dir=data_dir).run(run, command="python train.py --optimizer adam")
        results = ff.Experiment("all", dataset="digits", epochs=60).run(
            comparison, command="python train.py --dataset digits --optimizer all --epochs 60")
        save_figure(results.figures()["comparison"], "all-optimizers.png")
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        pages = ((run, draw, "report-run.png", 1180), (comparison, half, "report-comparison.png", 1250))
        for folder, act, name, height in pages:
            page = chromium.new_page(viewport={"width": 1040, "height": height})
            page.goto((folder / REPORT).as_uri())
            act(page)
            page.wait_for_timeout(300)
            page.screenshot(path=FIGURES / name)
        chromium.close()


if __name__ == "__main__":
    main()
