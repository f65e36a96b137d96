"""A unix socket by which commands on the same host tell a running server something.

It is in the runtime folder, which only the server's user can enter. A line of text comes in, a line goes back:

| line | the server | answer |
|---|---|---|
| ``keys`` | looks at ``authorized_keys`` again | how many connections ended by it |
| ``where`` | does nothing | its TCP address, port and public key with spaces between; nothing if it has none |
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from flame_kernel.security.folders import private

KEYS = "keys"
WHERE = "where"

_PATIENCE_S = 2.0
_LINE_BYTES = 256


@dataclass(frozen=True)
class Running:
    """A server that listens on TCP.

    Attributes:
        host: The address, as it was asked for.
        port: The port.
        key: Its public key in Z85.
    """

    host: str
    port: int
    key: bytes


class Control:
    """The server's end.

    Args:
        folder: Where the socket goes.
        look_at_keys: Looks at the keys again, and returns how many connections ended by it.
    """

    def __init__(self, folder: Path, look_at_keys: Callable[[], int]) -> None:
        self._path = folder / f"control-{os.getpid()}"
        self._look_at_keys = look_at_keys
        self._where = ""
        self._server: asyncio.Server | None = None

    async def start(self, running: Running | None) -> None:
        """Begin to listen.

        Args:
            running: Where the server listens on TCP, if it does.
        """
        if running is not None:
            self._where = f"{running.host} {running.port} {running.key.decode('ascii')}"
        private(self._path.parent)
        self._path.unlink(missing_ok=True)  # of a process that had our number once
        self._server = await asyncio.start_unix_server(self._serve, self._path, limit=_LINE_BYTES)
        os.chmod(self._path, 0o600)

    async def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ValueError, TimeoutError):  # whoever asks has gone, or says what no command says
            line = (await asyncio.wait_for(reader.readline(), _PATIENCE_S)).decode("ascii", "replace").strip()
            writer.write(f"{self._answer(line)}\n".encode())
            await writer.drain()
        writer.close()

    def _answer(self, line: str) -> str:
        if line == KEYS:
            return str(self._look_at_keys())
        return self._where if line == WHERE else "what?"


def look_at_keys(folder: Path) -> list[int]:
    """Let every server of this user look at its keys again, and wait until it has.

    Args:
        folder: The runtime folder.

    Returns:
        How many connections ended, for each server that runs.
    """
    return [int(answer) for answer in _ask_all(folder, KEYS) if answer.isdecimal()]


def running(folder: Path) -> list[Running]:
    """Ask every server of this user where it listens on TCP.

    Args:
        folder: The runtime folder.

    Returns:
        Those that do; a server of an older version does not know the question, and is not among them.
    """
    told = [answer.split() for answer in _ask_all(folder, WHERE)]
    return [Running(words[0], int(words[1]), words[2].encode("ascii")) for words in told if len(words) == 3]


def _ask_all(folder: Path, line: str) -> list[str]:
    answers = []
    for path in sorted(folder.glob("control-*")):
        with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX) as control:
            control.settimeout(_PATIENCE_S)
            try:
                control.connect(str(path))
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)  # of a server that was killed
                continue
            control.sendall(f"{line}\n".encode("ascii"))
            with control.makefile() as answer:
                answers.append(answer.readline().strip())
    return answers
