"""What else a notebook in JupyterLab lives on: widgets, tooltips, subshells, the debugger, a link that is cut.

One notebook, whose tests run in this order.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.lab import JupyterLab, Notebook
from tests.integration.relay import Relay
from tests.integration.servers import FlameServer, short_folder, until

KERNEL = "Remote Flame"

SLIDER = """\
from IPython.display import display
from ipywidgets import IntSlider, Output

slider, told = IntSlider(value=3, max=10, description="size"), Output()

def on_move(change):
    with told:
        print("moved from", change.old, "to", change.new)

slider.observe(on_move, "value")
display(slider, told)"""

DEBUGGED = """\
def total(prices):
    amount = 0
    for price in prices:
        amount += price
    return amount

total([7, 11, 13])"""


@pytest.fixture(scope="module")
def notebook(page: Page, lab: JupyterLab) -> Notebook:
    return Notebook.create(page, lab, KERNEL)


def running_until(gate: Path) -> str:
    """Return a cell that runs until a file is there."""
    return (
        "import pathlib, time\n"
        "print('running')\n"
        f"while not pathlib.Path({str(gate)!r}).exists():\n"
        "    time.sleep(0.05)\n"
        "print('ended')"
    )


def handle(notebook: Notebook, cell: int) -> Locator:
    return notebook.output(cell).locator(".noUi-handle")


def test_slider_moved_by_keys_calls_back(notebook: Notebook) -> None:
    cell = notebook.run(SLIDER, timeout=30)
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        handle(notebook, cell).press(key)
    callbacks = "moved from 3 to 4 moved from 4 to 5 moved from 5 to 4"
    expect(notebook.output(cell).locator(".jp-RenderedText")).to_have_text([callbacks])
    expect(notebook.output(cell).locator(".widget-readout")).to_have_text("4")
    there = notebook.run("slider.value")
    expect(notebook.outputs(there)).to_have_text(["4"])
    notebook.screenshot("first-class-slider")


def test_slider_calls_back_while_a_cell_runs(notebook: Notebook, tmp_path: Path) -> None:
    slider = notebook.run(SLIDER)
    busy = notebook.start(running_until(tmp_path / "gate"))
    expect(notebook.outputs(busy)).to_have_text(["running"])
    handle(notebook, slider).press("ArrowRight")
    expect(notebook.output(slider).locator(".jp-RenderedText")).to_have_text(["moved from 3 to 4"])
    expect(notebook.prompt(busy)).to_have_text("[*]:")
    notebook.screenshot("first-class-slider-while-busy")
    (tmp_path / "gate").touch()
    notebook.wait_done(busy)
    expect(notebook.outputs(busy)).to_have_text(["running ended"])


def test_tqdm_shows_a_bar_that_fills(notebook: Notebook) -> None:
    cell = notebook.run(
        "import time\nfrom tqdm.notebook import tqdm\nfor _ in tqdm(range(40), desc='work'):\n    time.sleep(0.01)"
    )
    bar = notebook.output(cell)
    expect(bar).to_contain_text("100%")
    expect(bar).to_contain_text("40/40")
    expect(bar.locator(".progress-bar")).to_have_attribute("style", re.compile(r"width: 100%"))
    notebook.screenshot("first-class-tqdm")


def test_shift_tab_shows_the_docstring(notebook: Notebook) -> None:
    notebook.run('def kelvin(celsius: float) -> float:\n    """Convert from degrees Celsius."""\n    return celsius + 273')
    notebook.type("kelvin")
    notebook.page.keyboard.press("Shift+Tab")
    tooltip = notebook.page.locator(".jp-Tooltip")
    expect(tooltip).to_contain_text("Convert from degrees Celsius.")
    expect(tooltip).to_contain_text("kelvin(celsius: float) -> float")
    notebook.screenshot("first-class-tooltip")
    notebook.page.keyboard.press("Escape")


def test_subshell_completes_and_runs_while_a_cell_runs(notebook: Notebook, tmp_path: Path) -> None:
    page = notebook.page
    notebook.run("pressure_inside, pressure_outside = 1013, 998")
    busy = notebook.start(running_until(tmp_path / "gate"))
    expect(notebook.outputs(busy)).to_have_text(["running"])
    notebook.outputs(busy).first.click(button="right")
    page.locator(".lm-Menu-itemLabel", has_text="New Subshell Console for Notebook").click()
    console = page.locator(".jp-ConsolePanel")
    prompt = console.locator(".jp-CodeConsole-input .cm-content")
    prompt.click()
    page.keyboard.insert_text("pressure_")
    page.keyboard.press("Tab")
    matches = page.locator(".jp-Completer:not(.lm-mod-hidden) .jp-Completer-match")
    expect(matches).to_have_text(["pressure_inside", "pressure_outside"])
    notebook.screenshot("first-class-subshell-completion")
    page.keyboard.press("Escape")
    prompt.click()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.insert_text("pressure_inside - pressure_outside")
    page.keyboard.press("Shift+Enter")
    expect(console.locator(".jp-OutputArea-output", has_text=re.compile(r"^\s*15\s*$"))).to_have_count(1)
    expect(notebook.prompt(busy)).to_have_text("[*]:")
    notebook.screenshot("first-class-subshell")
    (tmp_path / "gate").touch()
    notebook.wait_done(busy)
    page.locator(".lm-DockPanel-tabBar .lm-TabBar-tab", has_text="Console").locator(".lm-TabBar-tabCloseIcon").click()
    expect(console).to_have_count(0)


def test_debugger_stops_at_a_breakpoint_and_goes_on(notebook: Notebook) -> None:
    page = notebook.page
    bug = notebook.panel.locator(".jp-DebuggerBugButton")
    bug.click()
    sidebar = page.locator(".jp-DebuggerSidebar")
    expect(sidebar).to_be_visible()
    cell = notebook.type(DEBUGGED)
    editor = notebook.cells.nth(cell).locator(".cm-editor")
    gutter = editor.locator(".cm-gutter.cm-breakpoint-gutter")
    expect(gutter).to_have_count(1)
    gutter.locator(".cm-gutterElement:visible").nth(3).click()
    expect(editor.locator(".cm-breakpoint-icon")).to_have_count(1)
    page.keyboard.press("Shift+Enter")
    stopped_at = editor.locator(".jp-DebuggerEditor-highlight")
    expect(stopped_at).to_have_text("        amount += price")
    frames = sidebar.locator(".jp-DebuggerCallstackFrame-name")
    expect(frames.first).to_have_text("total")
    variables = sidebar.locator(".jp-DebuggerVariables-body")
    expect(variables).to_contain_text(re.compile(r"price:?\s*7"))
    expect(variables).to_contain_text(re.compile(r"amount:?\s*0"))
    notebook.screenshot("first-class-debugger")

    step_over = sidebar.locator('[data-command="debugger:next"]')
    step_over.click()
    expect(stopped_at).to_have_text("    for price in prices:")
    expect(variables).to_contain_text(re.compile(r"amount:?\s*7"))
    notebook.screenshot("first-class-debugger-stepped")
