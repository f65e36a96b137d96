"""What VS Code does with a kernelspec, which differs from Jupyter: its Jupyter extension runs kernels by itself.

It rewrites the arguments of Python kernels, gives each process a connection file of its own, also at a restart, starts
the next process before it ends the one before, and kills process trees.
"""

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from jupyter_client.kernelspec import KernelSpecManager

from tests.conformance.frontend import Frontend
from tests.conformance.kernels import PATIENCE_S, Home, pid_of, value_of
from tests.jupyter_ports import connection_file


class EditorsKernel:
    """A kernel process as the extension starts it."""

    def __init__(self, home: Home, folder: str = "runtime", *more: str) -> None:
        (home.path / folder).mkdir(exist_ok=True)
        path = tempfile.mktemp(prefix="kernel-v2-", suffix=".json", dir=home.path / folder)
        path, self.info = connection_file(path)
        argv = KernelSpecManager().get_kernel_spec("flame").argv
        place = argv.index("{connection_file}")
        del argv[place - 1 : place + 1]
        argv.append(f'--f="{path}"' if " " in path else f"--f={path}")
        self.process = subprocess.Popen([sys.executable, *argv[1:], *more], env=home.environ, cwd=home.path)
        self.frontend = Frontend(self.info)
        try:
            self.frontend.welcome()
        except BaseException:
            self.process.kill()
            self.process.wait(PATIENCE_S)
            self.frontend.close()
            raise

    def interrupt(self) -> dict[str, Any]:
        """What the stop button does, as the kernelspec's interrupt_mode says."""
        return self.frontend.ask("interrupt_request", channel="control").reply

    def end(self) -> None:
        """Ask it to shut down, wait for a second, and kill it and what it started."""
        self.frontend.send("shutdown_request", {"restart": False}, "control")
        try:
            self.process.wait(1)
        except subprocess.TimeoutExpired:
            self.kill(signal.SIGTERM)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End the process and what it started."""
        tree = [*psutil.Process(self.process.pid).children(recursive=True), self.process]
        for process in tree:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        self.process.wait(PATIENCE_S)


@contextmanager
def opened(home: Home, folder: str = "runtime", *more: str) -> Iterator[EditorsKernel]:
    kernel = EditorsKernel(home, folder, *more)
    try:
        yield kernel
    finally:
        if kernel.process.poll() is None:
            kernel.end()
        kernel.process.kill()
        kernel.process.wait(PATIENCE_S)
        kernel.frontend.close()


def test_the_kernelspec_says_what_the_extension_asks_for() -> None:
    spec = json.loads((Path(KernelSpecManager().get_kernel_spec("flame").resource_dir) / "kernel.json").read_text())
    assert spec["interrupt_mode"] == "message"
    assert spec["language"] == "python"
    assert spec["argv"][-2:] == ["-f", "{connection_file}"]


@pytest.mark.parametrize("folder", ["runtime", "a b"], ids=["plain", "spaces"])
def test_its_arguments_are_understood(home: Home, folder: str) -> None:
    with opened(home, folder, "--debug") as kernel:
        assert kernel.frontend.execute("6 * 7").value == "42"


def test_interrupt(home: Home) -> None:
    with opened(home) as kernel:
        cell = kernel.frontend.start("print('on')\nwhile True: pass")
        kernel.frontend.wait_text(cell, "on")
        assert kernel.interrupt() == {"status": "ok"}
        assert kernel.frontend.finish(cell).reply["ename"] == "KeyboardInterrupt"


def test_restart_is_another_process_that_is_there_before_the_first_one_ends(home: Home) -> None:
    with opened(home) as first:
        first.frontend.execute("x = 1")
        session = pid_of(first.frontend)
        with opened(home) as second:
            assert value_of(second.frontend, "'x' in globals()") == "False"
            first.end()
            assert first.process.returncode == 0  # it takes less than a second
            assert not psutil.pid_exists(session)
            assert second.frontend.execute("'goes on'").value == "'goes on'"


def test_a_tree_that_is_killed_leaves_the_session_which_a_cell_finds_again(home: Home) -> None:
    with opened(home) as first:
        first.frontend.execute("x = 'kept'")
        session = pid_of(first.frontend)
        banner = first.frontend.ask("kernel_info_request").reply["banner"]
        name = banner.split("session '")[1].split("'")[0]
        first.kill()
    with opened(home) as second:
        second.frontend.ask("kernel_info_request")
        assert second.frontend.execute(f"%flame_connect embedded -s {name}").reply["status"] == "ok"
        assert value_of(second.frontend, "x") == "'kept'"
        assert pid_of(second.frontend) == session
