"""Kernels for tests, started as Jupyter starts them, in a FLAME_HOME of their own; nothing outlives `Home.close`."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from jupyter_client.kernelspec import KernelSpecManager

from tests.conformance.frontend import Frontend
from tests.jupyter_ports import connection_file

# Generous on purpose: it bounds a hang, and nothing is measured with it.
PATIENCE_S = 30.0


class Home:
    """A FLAME_HOME under the temporary folder, with a short name: the paths of Unix sockets are limited."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="fc-"))
        (self.path / "config").mkdir(mode=0o700)
        # A kernel that nobody asked for takes a core from those that are compared.
        (self.path / "config" / "server.toml").write_text("[limits]\nwarm = 0\n")
        removed = ("FLAME_HOST", "FLAME_SESSION", "FLAME_KERNEL", "FLAME_ENABLED")
        self.environ = {name: value for name, value in os.environ.items() if name not in removed} | {
            "FLAME_HOME": str(self.path),
            "IPYTHONDIR": str(self.path / "ipython"),
            "JUPYTER_RUNTIME_DIR": str(self.path / "runtime"),
        }

    def processes(self) -> list[psutil.Process]:
        """Every process that was started in this home, however indirectly."""
        return [process for process in psutil.process_iter() if _home_of(process) == str(self.path)]

    def server(self) -> psutil.Process:
        """The embedded server's process."""
        return next(process for process in self.processes() if "serve" in command_of(process))

    def close(self) -> list[str]:
        """End the server and remove the folder; bridges and sessions that do not end by themselves are told."""
        left = _wait([process for process in self.processes() if "serve" not in command_of(process)])
        told = [" ".join(command_of(process)) for process in left]
        for process in self.processes():  # the server, which would linger for some seconds more
            process.terminate()
        for process in _wait(self.processes()):
            process.kill()
        shutil.rmtree(self.path, ignore_errors=True)
        return told


def _wait(processes: list[psutil.Process]) -> list[psutil.Process]:
    return psutil.wait_procs(processes, timeout=PATIENCE_S)[1]


def command_of(process: psutil.Process) -> list[str]:
    """Return what started a process, nothing if it has ended meanwhile."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _home_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("FLAME_HOME")
    except psutil.Error:
        return None


class Kernel:
    """One kernel process, as a kernelspec says, and a frontend of it.

    Args:
        home: Where.
        name: The kernelspec.
        again: An earlier kernel whose connection file is used again, as Jupyter does at a restart.
        arguments: More arguments.
        environ: More of the environment.
    """

    def __init__(
        self, home: Home, name: str = "flame", again: "Kernel | None" = None, *arguments: str, **environ: str
    ) -> None:
        if again is None:
            (home.path / "runtime").mkdir(exist_ok=True)
            path = tempfile.mktemp(prefix="kernel-", suffix=".json", dir=home.path / "runtime")
            self.file, self.info = connection_file(path)
        else:
            self.file, self.info = again.file, again.info
        self.argv = [*command(name, self.file), *arguments]
        self.log = home.path / f"{Path(self.file).stem}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv,
                env=home.environ | {"JPY_PARENT_PID": str(os.getpid()), **environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._frontends: list[Frontend] = []
        try:
            self.frontend = self.connect()
        except BaseException:
            self._abandon()
            raise

    def connect(self) -> Frontend:
        """Make another frontend."""
        frontend = Frontend(self.info)
        self._frontends.append(frontend)
        frontend.welcome()
        return frontend

    def _abandon(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_S)
        for frontend in self._frontends:
            frontend.close()

    def shut_down(self, restart: bool = False) -> dict[str, Any]:
        """Ask the kernel to shut down, as Jupyter does, and wait until its process has ended."""
        request = self.frontend.send("shutdown_request", {"restart": restart}, "control")
        reply = self.frontend.wait_for(request, "shutdown_reply")
        self.process.wait(PATIENCE_S)
        return reply.content

    def kill(self, number: int = signal.SIGKILL) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        """End the kernel, politely if that works."""
        try:
            if self.process.poll() is None:
                self.frontend.send("shutdown_request", {"restart": False}, "control")
                self.process.wait(PATIENCE_S)
        finally:
            self._abandon()


def command(name: str, connection_file: str) -> list[str]:
    """What starts a kernel."""
    argv = KernelSpecManager().get_kernel_spec(name).argv
    return [sys.executable, *(part.format(connection_file=connection_file) for part in argv[1:])]


@contextmanager
def running(home: Home, *arguments: str, again: Kernel | None = None, **environ: str) -> Iterator[Kernel]:
    kernel = Kernel(home, "flame", again, *arguments, **environ)
    try:
        yield kernel
    finally:
        kernel.close()


def value_of(frontend: Frontend, expression: str) -> str:
    """The repr of an expression in the session."""
    reply = frontend.execute("", silent=True, user_expressions={"it": expression}).reply
    assert reply["user_expressions"]["it"]["status"] == "ok", reply
    return reply["user_expressions"]["it"]["data"]["text/plain"]


def pid_of(frontend: Frontend) -> int:
    return int(value_of(frontend, "__import__('os').getpid()"))
