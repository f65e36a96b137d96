"""Fixtures for tests in a browser: one JupyterLab for the run, one browser for each module."""

import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.lab import SCREENSHOTS, JupyterLab
from tests.homes import processes_of

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def lab() -> Iterator[JupyterLab]:
    # Not under tmp_path: names of Unix sockets are limited to some hundred characters.
    with tempfile.TemporaryDirectory(prefix="lab-", ignore_cleanup_errors=True) as home:
        server = JupyterLab(Path(home))
        try:
            yield server
        finally:
            server.close()
            for pid in processes_of(Path(home) / "flame"):  # the embedded server, and what a failed test left
                os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Not for the whole run: while Playwright's synchronous API is open, no other test can run an event loop.
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("tests in a browser need chromium; on Debian: apt-get install chromium")
    expect.set_options(timeout=15_000)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        try:
            yield chromium
        finally:
            chromium.close()


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """One page for a module, whose tests go on where the last one ended, as a user does."""
    page = browser.new_page(viewport={"width": 1500, "height": 800})
    page.set_default_timeout(15_000)
    yield page
    page.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Keep a picture of what a failing test saw."""
    report = yield
    page = getattr(item, "funcargs", {}).get("page")
    if report.failed and page is not None and not page.is_closed():
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / ("FAILED-" + re.sub(r"\W+", "-", item.name) + ".png"))
    return report
