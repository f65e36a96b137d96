"""JupyterLab for tests: a server of our own, and a notebook as the user sees it.

`JupyterLab` is the server process; `Notebook` is a page object. Neither waits for time to pass: each step waits
for what the page, or the server, has to show before the next one makes sense.
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Locator, Page, expect

from tests.integration.servers import until

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"

# What would make one run differ from the next, or call out to a website.
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},  # cells off the screen stay in the page
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
    "codemirror-extension/plugin": {"defaultConfig": {"autoClosingBrackets": False}},  # what is typed is what is there
    "completer-extension/manager": {"providerTimeout": 30_000},  # the first one may take seconds
}

# The ports of its kernels are nobody else's.
PORTS = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.jupyter_ports import be_given_to_kernels
be_given_to_kernels()
"""


class JupyterLab:
    """A JupyterLab in a process group of its own, with all its folders under `home`."""

    def __init__(self, home: Path, *, start_timeout: float = 60) -> None:
        self.root = home / "notebooks"
        self.root.mkdir(parents=True)
        for name, values in SETTINGS.items():
            path = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))
        folders = {
            "FLAME_HOME": home / "flame",
            "IPYTHONDIR": home / "ipython",
            "JUPYTER_CONFIG_DIR": home / "config",
            "JUPYTER_DATA_DIR": home / "data",
            "JUPYTER_RUNTIME_DIR": home / "runtime",
            "JUPYTERLAB_SETTINGS_DIR": home / "settings",
            "JUPYTERLAB_WORKSPACES_DIR": home / "workspaces",
        }
        folders["JUPYTER_CONFIG_DIR"].mkdir()
        (folders["JUPYTER_CONFIG_DIR"] / "jupyter_server_config.py").write_text(PORTS)
        self.log: list[str] = []
        self._url: str | None = None
        self._told = threading.Event()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
                *("--ServerApp.ip=127.0.0.1", "--ServerApp.port=0", f"--ServerApp.root_dir={self.root}"),
            ],
            env=os.environ | {name: str(path) for name, path in folders.items()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, name="jupyterlab-log", daemon=True)
        self._reader.start()
        if not self._told.wait(start_timeout) or self._url is None:
            self.close()
            raise RuntimeError("JupyterLab did not start:\n" + "".join(self.log))
        self.url = self._url
        # It tells its address before it listens there.
        until(self._listens, start_timeout)

    def _listens(self) -> bool:
        address = urlsplit(self.url)
        assert self._process.poll() is None, "JupyterLab ended:\n" + "".join(self.log)
        with socket.socket() as probe:
            return probe.connect_ex((address.hostname, address.port)) == 0

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self.log.append(line)
                if found := re.search(r"http://127\.0\.0\.1:\d+/lab\?token=\w+", line):
                    self._url = found[0]
                    self._told.set()
        self._told.set()

    def close(self) -> None:
        """End it, politely first so that it shuts its kernels down, and whatever is left of its process group."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(15)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join(5)


class Notebook:
    """A notebook in a page of JupyterLab: cells are added at the end and counted from 0."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.panel = page.locator(".jp-NotebookPanel")
        self.cells = self.panel.locator(".jp-Cell")

    @classmethod
    def create(cls, page: Page, lab: JupyterLab, kernel: str) -> "Notebook":
        """Open JupyterLab in an empty workspace and pick a kernel's card in the launcher."""
        page.goto(lab.url.replace("/lab?", "/lab?reset&"))
        page.locator(f'.jp-LauncherCard[data-category="Notebook"][title="{kernel}"]').click(timeout=30_000)
        notebook = cls(page)
        expect(notebook.panel.locator(".jp-KernelName")).to_contain_text(kernel)
        notebook.wait_idle(30)
        return notebook

    @property
    def kernel_status(self) -> Locator:
        return self.panel.locator(".jp-Notebook-ExecutionIndicator")

    def wait_idle(self, timeout: float = 15) -> None:
        expect(self.kernel_status).to_have_attribute("data-status", "idle", timeout=timeout * 1000)

    def wait_busy(self, timeout: float = 15) -> None:
        expect(self.kernel_status).to_have_attribute("data-status", "busy", timeout=timeout * 1000)

    def type(self, code: str) -> int:
        """Write `code` in the last cell, in place of what is there, and tell its number."""
        index = self.cells.count() - 1
        self.cells.nth(index).locator(".cm-content").click()
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.insert_text(code)
        return index

    def start(self, code: str) -> int:
        """Run `code` in the last cell, and add an empty one, without waiting for its end."""
        index = self.type(code)
        self.page.keyboard.press("Shift+Enter")
        expect(self.cells).to_have_count(index + 2)
        return index

    def run(self, code: str, timeout: float = 15) -> int:
        """Run `code` in the last cell and wait until it has ended."""
        index = self.start(code)
        self.wait_done(index, timeout)
        return index

    def wait_done(self, index: int, timeout: float = 15) -> None:
        """Wait until a cell has a number, which it gets when it has ended, and the kernel is idle."""
        prompt = self.cells.nth(index).locator(".jp-InputPrompt")
        expect(prompt).to_have_text(re.compile(r"\[\d+\]:"), timeout=timeout * 1000)
        self.wait_idle(timeout)

    def prompt(self, index: int) -> Locator:
        return self.cells.nth(index).locator(".jp-InputPrompt")

    def output(self, index: int) -> Locator:
        """All that a cell gave, prompts included."""
        return self.cells.nth(index).locator(".jp-Cell-outputArea")

    def outputs(self, index: int) -> Locator:
        """What a cell gave, one by one."""
        return self.cells.nth(index).locator(".jp-OutputArea-output")

    def complete(self, prefix: str) -> Locator:
        """Write `prefix` in the last cell, press Tab, and give the list of completions."""
        self.type(prefix)
        self.page.keyboard.press("Tab")
        return self.page.locator(".jp-Completer:not(.lm-mod-hidden) .jp-Completer-match")

    def answer(self, text: str) -> None:
        """Answer input() in the page."""
        box = self.panel.locator("input.jp-Stdin-input")
        box.fill(text)
        box.press("Enter")

    def interrupt(self) -> None:
        """Press the stop button."""
        self.panel.locator('[data-jp-item-name="interrupt"]').click()

    def menu(self, *path: str) -> None:
        """Choose from the menu bar: `menu("Kernel", "Shut Down Kernel")`."""
        bar, *items = path
        self.page.locator(".lm-MenuBar-itemLabel", has_text=re.compile(f"^{re.escape(bar)}$")).click()
        for item in items:
            self.page.locator(".lm-Menu-itemLabel", has_text=re.compile(f"^{re.escape(item)}$")).click()

    def restart(self) -> None:
        """Restart the kernel from the menu, confirm, and wait until it is ready."""
        self.menu("Kernel", "Restart Kernel…")
        with self.page.expect_response(re.compile(r"/api/kernels/[^/]+/restart")):
            self.page.locator(".jp-Dialog button.jp-mod-accept").click()
        self.wait_idle(30)

    def screenshot(self, name: str) -> None:
        """Keep what the page shows as build/screenshots/NAME.png."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")
