"""Flame servers as tests use them: real processes, each with a home of its own, none of which outlives its test."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil

from flame_kernel import Host
from flame_kernel.cli.serving import invite_to_this_machine
from flame_kernel.security.folders import private
from flame_kernel.server.config import load

RUNNING = "server is running."

# Generous on purpose: it bounds a hang, and nothing is measured with it.
PATIENCE_S = 30.0


def clean_environ(home: Path, **more: str) -> dict[str, str]:
    """Return an environment with a FLAME_HOME and no other word about Flame or Jupyter."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLAME_", "JPY_"))}
    return {**kept, "FLAME_HOME": str(home), "PYTHONUNBUFFERED": "1", **more}


def until(condition: Callable[[], object], timeout: float = PATIENCE_S) -> None:
    """Wait until something is true that nothing tells of, such as a file that a process makes."""
    end = time.monotonic() + timeout
    between = threading.Event()
    while not condition():
        assert time.monotonic() < end, f"it did not come true within {timeout:g} s"
        between.wait(0.01)


def pair(invite: str) -> None:
    """Have this process's key admitted, without a session: what becomes of one is for the tests that ask."""
    Host(invite).close()


def processes_of(home: Path) -> list[psutil.Process]:
    """Return the living processes whose FLAME_HOME is a folder: a server, and the kernels that it started."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            alive = process.status() != psutil.STATUS_ZOMBIE
            if alive and process.environ().get("FLAME_HOME") == str(home):
                found.append(process)
    return found


def end_sessions(home: Path) -> None:
    """Kill the kernels of the sessions that a server has left for the next one."""
    for record in home.glob("state/sessions/*/*/session.json"):
        pid = json.loads((record.parent / "kernel.json").read_bytes())["pid"]
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid) if pid else None
            if process is not None and process.environ().get("FLAME_HOME") == str(home):
                for member in (*process.children(recursive=True), process):
                    member.kill()
        shutil.rmtree(record.parent)


def end_all(home: Path, grace_s: float = PATIENCE_S) -> list[str]:
    """Wait until no process of a home is left, and kill those that stay.

    Returns:
        The command lines of those that had to be killed.
    """
    _, stayed = psutil.wait_procs(processes_of(home), timeout=grace_s)
    told = []
    for process in stayed:
        with contextlib.suppress(psutil.Error):
            told.append(" ".join(process.cmdline()))
            process.kill()
    psutil.wait_procs(stayed, timeout=grace_s)
    return told


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """Give a folder whose path is short enough for the unix sockets in it, which pytest's own is not.

    What still runs with it for a home ends with it: a session whose client said goodbye in the moment in which its
    server was stopped is left for the next server.
    """
    folder = Path(tempfile.mkdtemp(prefix="fl-"))
    try:
        yield folder
    finally:
        left = processes_of(folder)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=PATIENCE_S)
        shutil.rmtree(folder, ignore_errors=True)


class Program:
    """A process whose output is read line by line while it runs.

    Args:
        command: What to run.
        environ: Its environment.
        gated: Whether it waits for a line on stdin, which `go` sends.
    """

    def __init__(self, command: list[str], environ: Mapping[str, str], *, gated: bool = False) -> None:
        self.process = subprocess.Popen(
            command,
            env=dict(environ),
            stdin=subprocess.PIPE if gated else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.out: list[str] = []
        self.err: list[str] = []
        self._arrived: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._readers = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in ((self.process.stdout, self.out), (self.process.stderr, self.err))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream, lines: list[str]) -> None:
        with stream:
            for line in stream:
                lines.append(line.rstrip("\n"))
                if lines is self.out:
                    self._arrived.put(lines[-1])
        if lines is self.out:
            self._arrived.put(None)

    def wait_for(self, line: str, timeout: float = PATIENCE_S) -> None:
        """Wait for a line on stdout."""
        while True:
            try:
                arrived = self._arrived.get(timeout=timeout)
            except queue.Empty:
                arrived = None
            if arrived is None:
                told = "\n".join([*self.out, *self.err])
                raise AssertionError(f"no line {line!r} came; what came:\n{told}")
            if arrived == line:
                return

    def go(self) -> None:
        """Let a gated process go on."""
        assert self.process.stdin is not None
        with self.process.stdin as gate:
            gate.write("go\n")

    def signal(self, number: int) -> None:
        """Send a signal to the process alone."""
        self.process.send_signal(number)

    def wait(self, timeout: float = PATIENCE_S) -> int:
        """Wait for its end and return its exit status."""
        status = self.process.wait(timeout)
        for reader in self._readers:
            reader.join(timeout)
        return status

    def kill(self) -> None:
        """End the process and its group at once, if they are there."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.wait()


class FlameServer:
    """A `flame-server`. On exit it's ended, and a kernel that outlives it fails the test.

    Args:
        folder: A short folder; the server's home is in it, and a client's.
        options: Options of `flame-server` in place of a free port.
        limits: What differs from the limits of its configuration.
        environ: More of the server's environment.
    """

    def __init__(self, folder: Path, *options: str, limits: Mapping[str, float] | None = None, **environ: str) -> None:
        self.home = folder / "s"
        self.client_home = folder / "c"
        self.options = options or ("-p", "0")
        # Most tests have no use for kernels that nobody asked for.
        self._limits = {"warm": 0, **(limits or {})}
        self._environ = environ
        self.program: Program | None = None
        self.port = 0
        self.invite = ""

    def __enter__(self) -> FlameServer:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self, *options: str) -> None:
        """Start it and wait until it listens."""
        settings = self.home / "config" / "server.toml"
        if not settings.exists():
            private(private(self.home) / "config")
            lines = "\n".join(f"{name} = {value}" for name, value in self._limits.items())
            # Those with a relay mean its port alone.
            settings.write_text(f'[limits]\n{lines}\n[direct]\nports = "none"\n')
        command = [sys.executable, "-m", "flame_kernel", "serve", "--enable", *(options or self.options)]
        self.program = Program(command, clean_environ(self.home, **self._environ))
        try:
            self.program.wait_for(RUNNING)
        except AssertionError:
            self.program.kill()
            raise
        told = "\n".join(self.program.out)
        if found := re.search(r"listening on .*:(\d+), encrypted", told):
            self.port = int(found[1])
        if found := re.search(r"flame://\S+", told):
            self.invite = found[0]

    def stop(self) -> None:
        """End it as a service manager does, then its sessions, and make sure that nothing else is left of it."""
        assert self.program is not None
        self.program.signal(signal.SIGTERM)
        try:
            status = self.program.wait()
        finally:
            end_sessions(self.home)
            orphans = end_all(self.home)
            self.program.kill()
        assert not orphans, f"processes outlived their server: {orphans}"
        assert status == 0, "\n".join(self.program.err)

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    def kill(self) -> None:
        """End it with no chance to do anything about it; its sessions stay."""
        assert self.program is not None
        self.program.signal(signal.SIGKILL)
        self.program.wait()

    def terminate(self) -> int:
        """End it as a service manager does and return its exit status; its sessions stay."""
        assert self.program is not None
        self.program.signal(signal.SIGTERM)
        return self.program.wait()

    def client_environ(self, home: Path | None = None, **more: str) -> dict[str, str]:
        """Return the environment of a client's process; the home is that of the test's own client unless told."""
        return clean_environ(home or self.client_home, **more)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the `flame` command on the server's host."""
        return flame_command(clean_environ(self.home), *arguments)

    def fresh_invite(self, port: int = 0) -> str:
        """Return what `flame invite` prints on the server's host, for its own port or a relay's.

        It's made by what that command calls: the command itself takes half a second of processor time each time.
        """
        config = load(clean_environ(self.home))
        return invite_to_this_machine(config, None, port or self.port, 3600.0, "admin").text

    def kernels(self) -> list[psutil.Process]:
        """Return the kernels that run on it."""
        return [process for process in processes_of(self.home) if "ipykernel" in " ".join(_command(process))]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it ended meanwhile
        return []


def flame_command(environ: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the `flame` command."""
    command = [sys.executable, "-m", "flame_kernel", *arguments]
    return subprocess.run(
        command, env=dict(environ), capture_output=True, text=True, timeout=PATIENCE_S, check=False, input=""
    )


def run_script(
    code: str, environ: Mapping[str, str], *arguments: str, timeout: float = PATIENCE_S
) -> subprocess.CompletedProcess[str]:
    """Run a piece of Python as a user runs a script."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(
        command, env=dict(environ), capture_output=True, text=True, timeout=timeout, check=False, input=""
    )
