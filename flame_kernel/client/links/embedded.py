"""The server that a client starts on this machine when it's told of no other: one for each user, on a unix socket."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from flame_kernel.errors import FlameTimeout, ServerUnreachable
from flame_kernel.security.folders import Folders, private
from flame_kernel.transport.interface import Endpoint

NAME = "this machine"

# How often to start it: the one that kept the first away may have been about to end with its last session.
_ATTEMPTS = 2


def endpoint(folders: Folders) -> Endpoint:
    """Return where the embedded server is."""
    return Endpoint(f"ipc://{socket_path(folders)}", NAME)


def socket_path(folders: Folders) -> Path:
    """Return the embedded server's socket."""
    return folders.runtime / "embedded.sock"


def keyed_socket_path(folders: Folders) -> Path:
    """Return the embedded server's other socket, whose clients prove who they are: those who come through ssh."""
    return folders.runtime / "embedded-keyed.sock"


def log_path(folders: Folders) -> Path:
    """Return where the embedded server writes what goes wrong."""
    return folders.state / "embedded.log"


class EmbeddedWay:
    """The way to the embedded server, which is nobody's but its clients'; its sessions outlive it, as any server's do.

    Args:
        folders: Where its files are.
        timeout: How long its start may take, in seconds.
    """

    def __init__(self, folders: Folders, timeout: float) -> None:
        self._folders = folders
        self._timeout = timeout

    async def mend(self) -> None:
        """Start the server if it isn't there."""
        if not listens(self._folders):
            await start(self._folders, self._timeout)

    def leave(self) -> None:
        """Do nothing: it ends by itself."""


async def start(folders: Folders, timeout: float) -> None:
    """Start the embedded server and wait until it listens; it ends when its last session has ended.

    The command puts itself in the background once it listens, so there is no process of ours to look after.

    Args:
        folders: Where its files are.
        timeout: How long it may take, in seconds.

    Raises:
        ServerUnreachable: It did not start; the message says why.
        FlameTimeout: It took too long.
    """
    private(folders.state)
    log = log_path(folders)
    command = [sys.executable, "-m", "flame_kernel", "serve", "--embedded"]

    until = time.monotonic() + timeout

    def launch() -> int:
        with open(log, "ab", opener=_private_opener) as errors:
            return subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                cwd=os.path.expanduser("~"),
                timeout=max(0.0, until - time.monotonic()),
                check=False,
            ).returncode

    for _ in range(_ATTEMPTS):
        try:
            status = await asyncio.to_thread(launch)
        except subprocess.TimeoutExpired:
            raise FlameTimeout(f"the embedded server did not start within {timeout:g} s; see {log}") from None
        # Two clients may have started one each: the one that came too late leaves, and both use the first.
        if status == 0 or await asyncio.to_thread(listens, folders):
            return
    raise ServerUnreachable(f"the embedded server could not be started (exit code {status}); see {log}")


def listens(folders: Folders) -> bool:
    """Tell whether the embedded server is there."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(socket_path(folders)))
        except OSError:
            return False
    return True


def _private_opener(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
