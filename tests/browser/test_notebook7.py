"""A user's way through Notebook 7 under Remote Flame: one notebook, whose tests run in this order."""

import json

import pytest
from playwright.sync_api import Page, expect

from tests.browser.lab import JupyterLab, Notebook

KERNEL = "flame"


@pytest.fixture(scope="module")
def notebook(page: Page, lab: JupyterLab) -> Notebook:
    """An empty notebook in the page of Notebook 7, which the same server serves."""
    cell = {"cell_type": "code", "id": "first", "execution_count": None, "metadata": {}, "outputs": [], "source": ""}
    kernelspec = {"name": KERNEL, "display_name": "Remote Flame", "language": "python"}
    contents = {"cells": [cell], "metadata": {"kernelspec": kernelspec}, "nbformat": 4, "nbformat_minor": 5}
    (lab.root / "seven.ipynb").write_text(json.dumps(contents))
    page.goto(lab.url.replace("/lab?", "/notebooks/seven.ipynb?"))
    notebook = Notebook(page)
    expect(page.locator(".jp-NotebookKernelLogo, .jp-KernelName").first).to_be_visible(timeout=30_000)
    notebook.wait_idle(30)
    return notebook


def test_cells_run_and_keep_what_they_define(notebook: Notebook) -> None:
    notebook.run("x = 6")
    cell = notebook.run("x * 7")
    expect(notebook.outputs(cell)).to_have_text(["42"])
    notebook.screenshot("notebook7-cells")


def test_plot_is_a_picture(notebook: Notebook) -> None:
    cell = notebook.run("import matplotlib.pyplot as plt\nplt.plot([1, 4, 2, 8]);", timeout=60)
    picture = notebook.output(cell).locator("img")
    expect(picture).to_have_count(1)
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
    notebook.screenshot("notebook7-plot")


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


def test_restart_forgets_what_was_defined(notebook: Notebook) -> None:
    notebook.run("forgotten = 1")
    notebook.restart()
    cell = notebook.run("'forgotten' in globals()")
    expect(notebook.outputs(cell)).to_have_text(["False"])
    expect(notebook.prompt(cell)).to_have_text("[1]:")
    notebook.screenshot("notebook7-restart")
