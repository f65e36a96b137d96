"""A unix socket by which commands on the same host tell a running server something.

It is in the runtime folder, which only the server's user can enter. A line of text comes in, a line goes back:

| line | the server | answer |
|---|---|---|
| ``keys`` | looks at ``authorized_keys`` again | how many connections ended by it |
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from flame_kernel.security.folders import private

KEYS = "keys"

_PATIENCE_S = 2.0
_LINE_BYTES = 256


class Control:
    """The server's end.

    Args:
        folder: Where the socket goes.
        look_at_keys: Looks at the keys again, and returns how many connections ended by it.
    """

    def __init__(self, folder: Path, look_at_keys: Callable[[], int]) -> None:
        self._path = folder / f"control-{os.getpid()}"
        self._look_at_keys = look_at_keys
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Begin to listen."""
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
            answer = str(self._look_at_keys()) if line == KEYS else "what?"
            writer.write(f"{answer}\n".encode())
            await writer.drain()
        writer.close()


def look_at_keys(folder: Path) -> list[int]:
    """Let every server of this user look at its keys again, and wait until it has.

    Args:
        folder: The runtime folder.

    Returns:
        How many connections ended, for each server that runs.
    """
    answers = []
    for path in sorted(folder.glob("control-*")):
        with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX) as control:
            control.settimeout(_PATIENCE_S)
            try:
                control.connect(str(path))
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)  # of a server that was killed
                continue
            control.sendall(f"{KEYS}\n".encode("ascii"))
            with control.makefile() as answer:
                answers.append(int(answer.readline()))
    return answers
