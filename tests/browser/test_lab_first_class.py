"""What else a notebook in JupyterLab lives on: widgets, tooltips, subshells, the debugger, a link that is cut.

One notebook, whose tests run in this order.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

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

# Notes each state that the kernel's indicator shows.
WATCH = """\
indicator => {
    const seen = [];
    const note = () => seen.push(indicator.dataset.status);
    new MutationObserver(note).observe(indicator, {attributeFilter: ["data-status"]});
    note();
    return seen;
}"""


@pytest.fixture(scope="module")
def notebook(page: Page, lab: JupyterLab) -> Notebook:
    return Notebook.create(page, lab, KERNEL)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    gate = tmp_path / "gate"
    yield gate
    gate.touch()


def running_until(gate: Path) -> str:
    """Return a cell that runs until a file is there."""
    return (
        "import pathlib, time\n"
        "print('running')\n"
        f"while not pathlib.Path({str(gate)!r}).exists():\n"
        "    time.sleep(0.05)\n"
        "print('ended')"
    )


def test_slider_moved_by_keys_calls_back(notebook: Notebook) -> None:
    cell = notebook.run(SLIDER, timeout=30)
    handle = notebook.output(cell).locator(".noUi-handle")
    told = []
    for key, moved in (("ArrowRight", "3 to 4"), ("ArrowRight", "4 to 5"), ("ArrowLeft", "5 to 4")):
        handle.press(key)
        told.append(f"moved from {moved}")
        # One after the other: while the kernel is busy, ipywidgets sends only the latest of several changes.
        expect(notebook.output(cell).locator(".jp-RenderedText")).to_have_text([" ".join(told)])
    expect(notebook.output(cell).locator(".widget-readout")).to_have_text("4")
    there = notebook.run("slider.value")
    expect(notebook.outputs(there)).to_have_text(["4"])
    notebook.screenshot("first-class-slider")


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
    notebook.run(
        'def kelvin(celsius: float) -> float:\n    """Convert from degrees Celsius."""\n    return celsius + 273'
    )
    notebook.type("kelvin")
    notebook.page.keyboard.press("Shift+Tab")
    tooltip = notebook.page.locator(".jp-Tooltip")
    expect(tooltip).to_contain_text("Convert from degrees Celsius.")
    expect(tooltip).to_contain_text("kelvin(celsius: float) -> float")
    notebook.screenshot("first-class-tooltip")
    notebook.page.keyboard.press("Escape")


def test_subshell_completes_and_runs_while_a_cell_runs(notebook: Notebook, gate: Path) -> None:
    # The page of a notebook asks for completions on the main shell, with each kernel; a subshell console does not.
    page = notebook.page
    names = notebook.run("pressure_inside, pressure_outside = 1013, 998\n'named'")
    notebook.outputs(names).first.click(button="right")
    page.locator(".lm-Menu-itemLabel", has_text="New Subshell Console for Notebook").click()
    console = page.locator(".jp-ConsolePanel")
    expect(console).to_contain_text("Remote Flame: session")  # the banner says where it runs
    busy = notebook.start(running_until(gate))
    expect(notebook.outputs(busy)).to_have_text(["running"])

    prompt = console.locator(".jp-CodeConsole-input .cm-content")
    prompt.click()
    page.keyboard.insert_text("pressure_")
    page.keyboard.press("Tab")
    matches = page.locator(".jp-Completer:not(.lm-mod-hidden) .jp-Completer-match")
    expect(matches).to_have_text(["pressure_inside", "pressure_outside"])
    expect(notebook.prompt(busy)).to_have_text("[*]:")
    notebook.screenshot("first-class-subshell-completion")
    page.keyboard.press("Enter")
    expect(prompt).to_have_text("pressure_inside")
    page.keyboard.press("Shift+Enter")
    expect(console.locator(".jp-OutputArea-output", has_text=re.compile(r"^\s*1013\s*$"))).to_have_count(1)
    expect(notebook.prompt(busy)).to_have_text("[*]:")
    notebook.screenshot("first-class-subshell")
    gate.touch()
    notebook.wait_done(busy)
    page.locator(".lm-TabBar-tab.lm-mod-current.jp-mod-current .lm-TabBar-tabCloseIcon").click()
    expect(console).to_have_count(0)


def test_debugger_stops_at_a_breakpoint_steps_and_goes_on(notebook: Notebook) -> None:
    page = notebook.page
    bug = notebook.panel.locator(".jp-DebuggerBugButton")
    bug.click()
    sidebar = page.locator(".jp-DebuggerSidebar")
    expect(sidebar).to_be_visible()
    cell = notebook.type(DEBUGGED)
    editor = notebook.cells.nth(cell).locator(".cm-editor")
    lines = editor.locator(".cm-gutter.cm-breakpoint-gutter .cm-gutterElement:visible")
    expect(lines).to_have_count(len(DEBUGGED.splitlines()))
    lines.nth(3).click()
    expect(editor.locator(".cm-breakpoint-icon")).to_have_count(1)
    expect(sidebar.locator(".jp-DebuggerBreakpoint")).to_have_count(1)  # which it has once the kernel has it
    editor.locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")

    stopped_at = editor.locator(".jp-DebuggerEditor-highlight")
    frames = sidebar.locator(".jp-DebuggerCallstackFrame-name")
    variables = sidebar.locator(".jp-DebuggerVariables-body").first
    paused = page.locator(".jp-DebuggerPausedOverlay")
    go_on = paused.get_by_title("Continue")
    expect(stopped_at).to_have_text("        amount += price")
    expect(frames.first).to_have_text("total")
    expect(variables).to_contain_text(re.compile(r"amount:?\s*0"))
    expect(variables).to_contain_text(re.compile(r"price:?\s*7"))
    notebook.screenshot("first-class-debugger")

    paused.get_by_title("Next").click()
    expect(stopped_at).to_have_text("    for price in prices:")
    expect(variables).to_contain_text(re.compile(r"amount:?\s*7"))
    notebook.screenshot("first-class-debugger-stepped")
    for price in (11, 13):
        go_on.click()
        expect(variables).to_contain_text(re.compile(rf"price:?\s*{price}"))
    go_on.click()
    notebook.wait_done(cell)
    expect(notebook.outputs(cell)).to_have_text(["31"])
    expect(stopped_at).to_have_count(0)
    bug.click()
    expect(lines).to_have_count(0)
    page.keyboard.press("Escape")


def test_session_that_is_killed_says_so_and_is_started_again(notebook: Notebook) -> None:
    notebook.run("forgotten = 1")
    cell = notebook.start("import os\nos.kill(os.getpid(), 9)")
    dialog = notebook.page.locator(".jp-Dialog")
    expect(dialog).to_contain_text("It will restart automatically")
    notebook.screenshot("first-class-killed-dialog")
    dialog.locator("button.jp-mod-accept").click()
    expect(notebook.output(cell)).to_contain_text("SIGKILL")
    notebook.wait_idle(30)
    after = notebook.run("'forgotten' in globals()")
    expect(notebook.outputs(after)).to_have_text(["False"])
    notebook.screenshot("first-class-killed")


@pytest.fixture
def server() -> Iterator[FlameServer]:
    with short_folder() as folder, FlameServer(folder) as server:
        yield server


@pytest.fixture
def relay(server: FlameServer) -> Iterator[Relay]:
    with Relay(server.port) as relay:
        yield relay


def test_link_cut_in_the_middle_of_a_cell_loses_nothing(notebook: Notebook, server: FlameServer, relay: Relay) -> None:
    move = notebook.run(f"%flame_connect {server.fresh_invite(relay.port)}")
    expect(notebook.output(move)).to_contain_text("this notebook now runs on")
    notebook.run("import time")
    seen = notebook.kernel_status.evaluate_handle(WATCH)

    cell = notebook.start("for n in range(60):\n    print('line', n)\n    time.sleep(0.1)")
    expect(notebook.output(cell)).to_contain_text("line 15")
    relay.refuse()
    notice = notebook.outputs(cell).filter(has_text="link to")
    expect(notice).to_have_text(re.compile(r"^\[flame\] link to \S+ lost for [23] s; the session goes on …\s*$"))
    waiting = notebook.start("n + 1")
    notebook.screenshot("first-class-cut")
    relay.heal()
    expect(notice).to_contain_text("back after")
    notebook.wait_done(waiting)
    expect(notice).to_have_count(1)
    texts = notebook.output(cell).locator("[data-mime-type='application/vnd.jupyter.stdout']").all_inner_texts()
    assert "\n".join(texts).split() == " ".join(f"line {n}" for n in range(60)).split()
    expect(notebook.outputs(waiting)).to_have_text(["60"])
    assert set(seen.json_value()) <= {"idle", "busy"}
    notice.scroll_into_view_if_needed()
    notebook.screenshot("first-class-cut-healed")

    notebook.menu("Kernel", "Shut Down Kernel")
    expect(notebook.panel.locator(".jp-KernelName")).to_contain_text("No Kernel")
    until(lambda: not server.kernels())
