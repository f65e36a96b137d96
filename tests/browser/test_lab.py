"""A user's way through JupyterLab under one kernel: one notebook, whose tests run in this order."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.lab import JupyterLab, Notebook

KERNEL = "Remote Flame"  # the display name, as the launcher's card shows it


@pytest.fixture(scope="module")
def notebook(page: Page, lab: JupyterLab) -> Notebook:
    return Notebook.create(page, lab, KERNEL)


def test_launcher_opens_a_notebook_with_a_running_kernel(notebook: Notebook) -> None:
    cell = notebook.run("6 * 7")
    expect(notebook.outputs(cell)).to_have_text(["42"])
    expect(notebook.prompt(cell)).to_have_text("[1]:")


def test_print_shows_while_the_cell_runs(notebook: Notebook, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    cell = notebook.start(
        "import pathlib, time\n"
        "print('first')\n"
        f"while not pathlib.Path({str(gate)!r}).exists():\n"
        "    time.sleep(0.05)\n"
        "print('second')"
    )
    expect(notebook.outputs(cell)).to_have_text(["first"])
    expect(notebook.prompt(cell)).to_have_text("[*]:")
    gate.touch()
    notebook.wait_done(cell)
    expect(notebook.outputs(cell)).to_have_text(["first second"])


def test_plot_is_a_picture(notebook: Notebook) -> None:
    cell = notebook.run("import matplotlib.pyplot as plt\nplt.plot([1, 4, 2, 8]);", timeout=60)
    picture = notebook.output(cell).locator("img")
    expect(picture).to_have_count(1)
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
    notebook.screenshot("lab-plot")


def test_traceback_shows_the_line_that_failed(notebook: Notebook) -> None:
    cell = notebook.run("def ratio(a, b):\n    return a / b\n\nratio(1, 0)")
    output = notebook.output(cell)
    expect(output).to_contain_text("ZeroDivisionError: division by zero")
    expect(output).to_contain_text("return a / b")
    notebook.screenshot("lab-traceback")


def test_tab_completes_names_of_the_kernel(notebook: Notebook) -> None:
    notebook.run("temperature_inside, temperature_outside = 21, 4")
    matches = notebook.complete("temperature_")
    expect(matches).to_have_text(["temperature_inside", "temperature_outside"], timeout=30_000)
    notebook.screenshot("lab-completion")
    notebook.page.keyboard.press("Escape")


def test_input_is_answered_in_the_page(notebook: Notebook) -> None:
    cell = notebook.start("name = input('Who is it? ')\nprint('Hello', name)")
    notebook.answer("Ada")
    notebook.wait_done(cell)
    expect(notebook.output(cell)).to_contain_text("Hello Ada")


def test_interrupt_ends_a_busy_loop(notebook: Notebook) -> None:
    cell = notebook.start("print('spinning')\nwhile True:\n    pass")
    expect(notebook.output(cell)).to_contain_text("spinning")
    notebook.interrupt()
    notebook.wait_done(cell)
    expect(notebook.output(cell)).to_contain_text("KeyboardInterrupt")
    notebook.screenshot("lab-interrupt")
    after = notebook.run("print('still', 'here')")
    expect(notebook.outputs(after)).to_have_text(["still here"])


def test_restart_forgets_what_was_defined(notebook: Notebook) -> None:
    notebook.run("forgotten = 1")
    notebook.restart()
    cell = notebook.run("'forgotten' in globals()")
    expect(notebook.outputs(cell)).to_have_text(["False"])
    expect(notebook.prompt(cell)).to_have_text("[1]:")


def test_shut_down_leaves_no_kernel(notebook: Notebook) -> None:
    notebook.menu("Kernel", "Shut Down Kernel")
    expect(notebook.panel.locator(".jp-KernelName")).to_contain_text("No Kernel")
    expect(notebook.panel).not_to_contain_text("[flame]")  # it's what the user asked for, and no news
    notebook.screenshot("lab-shut-down")
