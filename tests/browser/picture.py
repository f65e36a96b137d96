"""Makes docs/images/lab.png, the README's picture: ``python -m tests.browser.picture``.

Everything in it is real: JupyterLab, the Remote Flame kernel, and what the session gives.
"""

import io
import shutil
import tempfile
from pathlib import Path

from nbformat import write
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from tests.browser.conftest import FLAGS
from tests.browser.lab import JupyterLab, Notebook

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "lab.png"
NAME = "transit.ipynb"
CELLS = [
    """\
import os, socket
print(f"running on {socket.gethostname()}, {os.cpu_count()} cores, process {os.getpid()}")""",
    """\
import numpy as np, pandas as pd
hours = np.linspace(-3, 3, 181)
dip = 0.0125 / (1 + np.exp((np.abs(hours) - 1.2) / 0.07))
flux = np.random.default_rng(51).normal(1 - dip, 0.0009)
readings = pd.DataFrame({"hours": hours, "flux": flux})
where = np.where(np.abs(hours) < 1.2, "in transit", "outside")
readings.groupby(where)["flux"].agg(["count", "mean", "min", "max"]).round(4)""",
    """\
axes = readings.plot("hours", "flux", style=".", color="#6f7f99", figsize=(8.6, 2.6), legend=False)
axes.plot(hours, readings["flux"].rolling(9, center=True).median(), color="#f4602e", linewidth=2)
axes.set(title="A planet in front of its star", xlabel="hours from mid-transit", ylabel="relative flux");""",
]


def main() -> None:
    """Run the cells in a page as wide as the picture, and keep what it shows."""
    kernelspec = {"name": "flame", "display_name": "Remote Flame", "language": "python"}
    empty = new_notebook(cells=[new_code_cell()], metadata={"kernelspec": kernelspec})
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with (
        tempfile.TemporaryDirectory(prefix="lab-", ignore_cleanup_errors=True) as home,
        sync_playwright() as playwright,
    ):
        lab = JupyterLab(Path(home))
        chromium = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        try:
            page = chromium.new_page(viewport={"width": 1200, "height": 824})
            page.set_default_timeout(15_000)
            write(empty, lab.root / NAME)
            page.goto(lab.url.replace("/lab?", f"/lab/tree/{NAME}?reset&"))
            notebook = Notebook(page)
            # The indicator says "idle" before there is a kernel, too; the status bar knows better.
            expect(page.get_by_text("Remote Flame | Idle")).to_be_visible(timeout=60_000)
            for number, code in enumerate(CELLS):
                cell = notebook.run(code, timeout=60)
                if number == 0:
                    expect(notebook.output(cell)).to_contain_text("running on")
            expect(notebook.output(len(CELLS) - 1).locator("img")).to_have_count(1)
            page.keyboard.press("Control+b")  # the file browser is of no interest here
            expect(page.locator("#jp-left-stack")).to_be_hidden()
            notebook.cells.first.scroll_into_view_if_needed()
            shot = page.screenshot()
            notebook.menu("Kernel", "Shut Down Kernel")
            expect(notebook.panel.locator(".jp-KernelName")).to_contain_text("No Kernel")
        finally:
            chromium.close()
            lab.close()
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    # 128 colours are plenty for a page of text and one plot, and make a third of the size.
    Image.open(io.BytesIO(shot)).convert("RGB").quantize(128).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
