"""Remote Flame: a server on loopback TCP, encrypted as always, or on a unix socket; calls, cells and sessions."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import flame_kernel
from benchmarks.backlog import Backlog, measure
from benchmarks.calm import until_calm
from benchmarks.jupyter import JupyterKernel
from benchmarks.peer import Client, Kernel, NotOffered, Peer, Sessions
from benchmarks.serving import Server
from flame_kernel import Flame

_SESSION = "bench"

# Futures, batches and lazy iteration came together.
_SUBMITS = hasattr(Flame, "submit")


class FlamePeer(Peer):
    """Remote Flame.

    Args:
        unix: Whether its server listens at a unix socket instead of TCP.
    """

    distributions = ("remote-flame",)
    imports = "flame_kernel"

    def __init__(self, unix: bool) -> None:
        self._unix = unix

    def start(self, folder: Path) -> None:
        """Start the server and pair with it."""
        self._folder = folder
        os.environ["FLAME_HOME"] = str(folder / "h")
        settings = folder / "h" / "config"
        for place in (settings.parent, settings):
            place.mkdir(mode=0o700)
        # The crowds are in one session, beside the client that measures everything else.
        (settings / "server.toml").write_text("[limits]\nclients = 128\n")
        self._target = str(folder / "s")
        where = ["-u", self._target] if self._unix else ["-p", "0"]
        command = [sys.executable, "-m", "flame_kernel", "serve", "--enable", *where]
        self._server = Server(command, ready="server is running.")
        if not self._unix:
            (line,) = [line for line in self._server.lines if line.startswith("invite")]
            invite = line.split(": ", 1)[1]
            flame_kernel.connect(invite).close()
            self._target = invite.removeprefix("flame://").partition("/")[0]
        os.environ["FLAME_HOST"] = self._target  # for the kernel
        flame_kernel.connect(self._target, session=_SESSION).close()

    def stop(self) -> None:
        """End the session and the server."""
        with flame_kernel.connect(self._target, session=_SESSION) as flame:
            flame.session.close()
        self._server.stop()

    def connect(self) -> Client:
        """Connect to the session that is there."""
        return FlameClient(flame_kernel.connect(self._target, session=_SESSION))

    def settle(self, at_most_s: float) -> None:
        """Wait until there is a warm kernel again."""
        until_calm(self._server.pid, at_most_s)

    def connect_new(self) -> Client:
        """Connect to a private session."""
        return FlameClient(flame_kernel.connect(self._target))

    def start_kernel(self) -> Kernel:
        """Start the Remote Flame kernel, which starts a session."""
        return JupyterKernel("flame")

    def sessions(self, count: int) -> Sessions:
        """Have named sessions that nobody is connected to."""
        kernels = []
        for number in range(count):
            name = _SESSION if number == 0 else f"{_SESSION}-{number}"
            with flame_kernel.connect(self._target, session=name) as flame:
                kernels.append(flame.evaluate("__import__('os').getpid()"))
        return Sessions(self._server.pid, kernels)

    def backlog(self, size: int) -> Backlog:
        """Have a client stand still, and a session without clients."""
        return measure(self._target, self._server.pid, self._folder / f"backlog-{size}", size)

    def help_command(self) -> Sequence[str]:
        """Return ``flame --help``."""
        return [sys.executable, "-m", "flame_kernel", "--help"]


class FlameClient(Client):
    """A client of Remote Flame.

    Args:
        flame: The session. (Anything, because not every version has all that is used of it.)
    """

    def __init__(self, flame: Any) -> None:
        self._flame = flame

    @cached_property
    def _sqrt(self) -> Any:
        return self._flame.module("math").sqrt

    @cached_property
    def _bytes(self) -> Any:
        return self._flame.builtin("bytes")

    def call(self) -> Any:
        """Call a function."""
        return self._sqrt(500)

    def evaluate(self, expression: str) -> Any:
        """Evaluate an expression."""
        return self._flame.evaluate(expression)

    def echo(self, data: bytes) -> Any:
        """Send bytes there and back."""
        return self._bytes(data)

    def pipeline(self, count: int) -> None:
        """Submit calls."""
        _need_submit()
        for future in [self._flame.submit(self._sqrt, 500) for _ in range(count)]:
            future.result()

    def batch(self, count: int) -> None:
        """Call in one batch."""
        _need_submit()
        with self._flame.batch() as batch:
            sqrt = batch.module("math").sqrt
            results = [sqrt(500) for _ in range(count)]
        for result in results:
            result.result()

    def iterate(self, count: int) -> int:
        """Iterate a generator."""
        _need_submit()
        return sum(1 for _ in self._flame.evaluate(f"(n for n in range({count}))"))

    def put(self, value: Any) -> None:
        """Set a variable."""
        self._flame["kept"] = value

    def get(self) -> Any:
        """Read it."""
        return self._flame["kept"]

    def close(self) -> None:
        """Close the connection."""
        self._flame.close()


def over_tcp() -> Peer:
    """Return Remote Flame over TCP."""
    return FlamePeer(unix=False)


def over_unix_socket() -> Peer:
    """Return Remote Flame over a unix socket."""
    return FlamePeer(unix=True)


def _need_submit() -> None:
    if not _SUBMITS:
        raise NotOffered
