"""The magics in JupyterLab: the first notebook of theirs as a reader runs it, and what helps while one writes.

One notebook, whose tests run in this order.
"""

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.lab import JupyterLab, Notebook

SOURCE = Path(__file__).parents[2] / "notebooks" / "magics_quickstart.ipynb"

# The classes of a cell's words, which is how CodeMirror colours them, by the words.
COLOURS = """\
editor => Object.fromEntries([...editor.querySelectorAll(".cm-line span")].map(
    span => [span.textContent, getComputedStyle(span).color]))"""

CODE = "def bright(stars, limit=0.5):\n    # those above it\n    return [name for name in stars if len('a') > limit]"


@pytest.fixture(scope="module")
def notebook(page: Page, lab: JupyterLab) -> Notebook:
    """The notebook, open and not yet run."""
    shutil.copy(SOURCE, lab.root)
    page.goto(lab.url.replace("/lab?", f"/lab/tree/{SOURCE.name}?reset&"))
    notebook = Notebook(page)
    # The indicator says "idle" before there is a kernel, too; the status bar knows better.
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible(timeout=60_000)
    page.keyboard.press("Control+b")  # the file browser is of no interest here
    return notebook


def cell_of(notebook: Notebook, beginning: str) -> Locator:
    """Return the cell whose code has a line that begins so."""
    return notebook.panel.locator(".jp-CodeCell").filter(has_text=beginning)


def test_the_first_notebook_runs(notebook: Notebook) -> None:
    # From cell to cell, as a reader does: a cell that fails, as one is meant to, would stop "Run All".
    notebook.cells.first.click()
    for number in range(notebook.cells.count()):
        notebook.page.keyboard.press("Shift+Enter")
        notebook.wait_idle(60)
        cell = notebook.cells.nth(number)
        if "jp-CodeCell" in (cell.get_attribute("class") or ""):
            expect(cell.locator(".jp-InputPrompt")).to_have_text(re.compile(r"\[\d+\]:"), timeout=60_000)
    card = cell_of(notebook, "%flame_connect").first
    expect(card.locator(".jp-OutputArea-output")).to_contain_text("link")
    card.scroll_into_view_if_needed()
    notebook.screenshot("magics-connect")
    lines = cell_of(notebook, "for exposure in range").locator(".jp-OutputArea-output")
    expect(lines).to_contain_text("exposure 4 of 4 read out")
    picture = cell_of(notebook, "matplotlib").locator("img")
    expect(picture).to_have_count(1)
    picture.scroll_into_view_if_needed()
    notebook.screenshot("magics-picture")
    error = cell_of(notebook, "def convert").locator(".jp-OutputArea-output")
    expect(error).to_contain_text("return float(reading)")
    expect(error).not_to_contain_text("flame_magics")
    expect(error).not_to_contain_text("flame_kernel")
    error.scroll_into_view_if_needed()
    notebook.screenshot("magics-error")
    expect(cell_of(notebook, "%flame_disconnect").last).to_contain_text("has ended")
    notebook.screenshot("magics-end")


def shown(locator: Locator, press: Callable[[], object]) -> None:
    """Press a key until something shows: the session's first answer may take longer than the 0.3 s that it may."""
    end = time.monotonic() + 30
    while True:
        press()
        try:
            return expect(locator.first).to_be_visible(timeout=2_000)
        except AssertionError:
            if time.monotonic() > end:
                raise


def test_tab_and_shift_tab_ask_the_session(notebook: Notebook) -> None:
    page = notebook.page
    notebook.run("%flame_connect", 60)
    notebook.run("%%flame\ndef faraway_mean(numbers: list):\n    'Mean of remote numbers.'\nfaraway_limit = 1", 60)
    matches = page.locator(".jp-Completer:not(.lm-mod-hidden) .jp-Completer-match")
    # The first answer of a session may come too late, and no name of this side begins so.
    shown(matches, lambda: notebook.complete("%%flame\nfaraway_"))
    expect(matches).to_have_text(["faraway_limit", "faraway_mean"])
    notebook.screenshot("magics-completion")
    page.keyboard.press("Escape")
    notebook.type("%%flame\nfaraway_mean")
    tooltip = page.locator(".jp-Tooltip")
    shown(tooltip, lambda: page.keyboard.press("Shift+Tab"))
    expect(tooltip).to_contain_text("Mean of remote numbers.")
    notebook.screenshot("magics-tooltip")
    page.keyboard.press("Escape")


def test_the_body_is_highlighted_as_local_code_is(notebook: Notebook) -> None:
    editor = notebook.cells.last.locator(".cm-content")
    notebook.type(CODE)
    local = editor.evaluate(COLOURS)
    notebook.type(f"%%flame -t gpu1\n{CODE}")
    remote = editor.evaluate(COLOURS)
    words = ("def", "bright", "# those above it", "return", "for", "'a'", "0.5")
    assert {word: remote.get(word) for word in words} == {word: local.get(word) for word in words}
    assert len({remote[word] for word in words}) >= 4  # and not all in one colour
    notebook.screenshot("magics-highlighting")
