"""A headless Chromium for the tests of pages, which may ask nothing of a network and log no error."""

from contextlib import contextmanager
from pathlib import Path
import shutil

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
             "--disable-sync", "--no-first-run", "--disable-quic"]
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1200, "height": 900}


@contextmanager
def browser():
    """Within the context, there is a browser; the test is skipped if there is none on this machine."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium: install the package chromium of your distribution")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'feedforward[test]'")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


class Watched:
    """A page and what has gone wrong in it: errors, messages on its console, requests that leave it.

    Parameters
    ----------
    browser : playwright.sync_api.Browser
        The browser.
    path : Path
        The file of the page.
    phone : bool
        Whether the screen is that of a phone, with touch.
    """

    def __init__(self, browser, path, phone=False):
        self.problems = []
        # the page forbids all requests and further scripts; the checks of accessibility are such a script
        self.context = browser.new_context(viewport=PHONE if phone else DESKTOP, has_touch=phone, bypass_csp=True)
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.problems.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", self._request)
        self.page.goto(path.as_uri())
        self.own = path.as_uri()

    def _request(self, request):
        if not request.url.startswith("data:") and not request.is_navigation_request():
            self.problems.append(f"a request of {request.url}")

    def violations(self):
        """Return the rules of accessibility that the page violates."""
        import axe_playwright_python

        script = next(Path(axe_playwright_python.__file__).parent.rglob("axe.min.js")).read_text()
        self.page.evaluate(script)
        return [(rule["id"], [node["html"] for node in rule["nodes"]])
                for rule in self.page.evaluate("axe.run()")["violations"]]
