"""The near end of what ssh forwards: a unix socket, or where ssh has none of those, a port of the loopback interface.

Whoever connects there still has to prove a key: CURVE goes all the way to the server.
"""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from flame_kernel.security.folders import private

_PREFIX = "ssh-"


@dataclass(frozen=True)
class LocalEnd:
    """Where clients connect to.

    Attributes:
        path: A unix socket, or
        port: a port of 127.0.0.1.
    """

    path: Path | None = None
    port: int = 0

    @classmethod
    def fresh(cls, folder: Path, unix: bool = os.name == "posix") -> LocalEnd:
        """Choose one that is free.

        Args:
            folder: The runtime folder.
            unix: Whether it's a unix socket.
        """
        if not unix:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                return cls(port=probe.getsockname()[1])
        private(folder)
        _sweep(folder)
        return cls(folder / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}")

    @property
    def address(self) -> str:
        """What ZeroMQ calls it."""
        return f"tcp://127.0.0.1:{self.port}" if self.path is None else f"ipc://{self.path}"

    def forward(self, remote: str) -> str:
        """Return what ``-L`` of ssh wants.

        Args:
            remote: The socket at the other end.
        """
        here = f"127.0.0.1:{self.port}" if self.path is None else str(self.path).replace("%", "%%")
        return f"{here}:{remote}"

    @property
    def listens(self) -> bool:
        """Whether somebody is behind it."""
        unix = self.path is not None
        with socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as probe:
            try:
                probe.connect(str(self.path) if unix else ("127.0.0.1", self.port))
            except OSError:
                return False
        return True

    def remove(self) -> None:
        """Remove its file, if it has one."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Remove what processes have left that were killed."""
    for path in folder.glob(f"{_PREFIX}*-*"):
        pid = path.name.removeprefix(_PREFIX).partition("-")[0]
        if not pid.isdecimal():
            continue
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            path.unlink(missing_ok=True)
        except OSError:  # another user's process has the number by now
            continue
