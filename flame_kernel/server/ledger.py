"""The sessions of one server on disk: what the next server needs to go on with them.

A folder for each kernel holds how to find its process again, and once a session needs it, the session's record and the
journals of its clients. Servers of one user have a ledger each,
which is locked as long as its server lives: the next one that is told to listen at the same place takes it over.
"""

from __future__ import annotations

import fcntl
import itertools
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from flame_kernel.security.folders import private
from flame_kernel.server.config import ServerConfig
from flame_kernel.server.process import Left
from flame_kernel.server.unseen import UnseenRecord

log = logging.getLogger(__name__)

_RECORD = "session.json"
_PROCESS = "kernel.json"
_UNSEEN = "unseen.json"


S = TypeVar("S", bound=msgspec.Struct)


class SessionRecord(msgspec.Struct, frozen=True):
    """A session, as the next server needs to know it.

    Attributes:
        owner: The fingerprint of the key it belongs to; empty for the unix socket's user.
        name: Its name among that key's sessions.
        private: Whether it ends with its client.
        kernel: Its kernelspec.
        started: When, in seconds since the epoch.
        folder: Where its kernel began to work.
        language: Its kernel's language.
        calls: Whether the worker is loaded.
        cause: How the process ended, empty while it lives.
        shares: The fingerprints of the keys that it is shared with, and their roles.
        lease: How long it goes on without clients at most, in seconds; 0 for as long as the server lets it.
        versions: Those of Python and of packages whose values cross.
    """

    owner: str
    name: str
    private: bool
    kernel: str
    started: float
    folder: str
    language: str
    calls: bool
    cause: str = ""
    shares: dict[str, str] = {}
    lease: float = 0.0
    versions: dict[str, str] = {}


class SessionFolder:
    """The folder of one session, or of a kernel that none needs yet.

    Args:
        path: Where it is; its name is the kernel's id.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def record(self) -> Path:
        """Where the record is."""
        return self.path / _RECORD

    def create(self) -> None:
        """Make it."""
        private(self.path)

    def write(self, record: SessionRecord) -> None:
        """Write the record, all of it or nothing."""
        self._write(_RECORD, record)

    def write_process(self, left: Left) -> None:
        """Write how to find the kernel's process again."""
        self._write(_PROCESS, left)

    def read(self) -> SessionRecord | None:
        """Read the record; ``None`` when there is none that can be read."""
        return self._read(_RECORD, SessionRecord)

    def read_process(self) -> Left | None:
        """Read how to find the kernel's process again; ``None`` when there is nothing that can be read."""
        return self._read(_PROCESS, Left)

    def write_unseen(self, record: UnseenRecord) -> None:
        """Write down what nobody has seen of the session."""
        self._write(_UNSEEN, record)

    def take_unseen(self) -> UnseenRecord | None:
        """Read what nobody had seen when the last server ended, once; ``None`` when that server was killed."""
        record = self._read(_UNSEEN, UnseenRecord)
        (self.path / _UNSEEN).unlink(missing_ok=True)
        return record

    def _write(self, name: str, content: msgspec.Struct) -> None:
        fresh = self.path / f"{name}.new"
        fresh.write_bytes(msgspec.json.encode(content))
        os.replace(fresh, self.path / name)

    def _read(self, name: str, kind: type[S]) -> S | None:
        try:
            return msgspec.json.decode((self.path / name).read_bytes(), type=kind)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            log.warning("%s can't be read: %s", self.path / name, error)
            return None

    def remove(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)


class Ledger:
    """The session folders of one server.

    Args:
        config: The server's configuration.
    """

    def __init__(self, config: ServerConfig) -> None:
        root = private(private(config.folders.state) / "sessions")
        for count in itertools.count():
            self.path = private(root / (_name(config) + (f"-{count}" if count else "")))
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._lock)  # another living server's, which listens at another free port
            else:
                return

    def folder(self, kernel_id: str) -> SessionFolder:
        """Return the folder of a session, which may not be there yet."""
        return SessionFolder(self.path / kernel_id)

    def left(self) -> Iterator[SessionFolder]:
        """Return the folders that an earlier server has left."""
        return (SessionFolder(path) for path in sorted(self.path.iterdir()) if path.is_dir())

    def close(self) -> None:
        """Let the next server have it."""
        os.close(self._lock)


def _name(config: ServerConfig) -> str:
    if config.until_idle:
        return "embedded"
    if config.port is not None:
        return f"port-{config.port}"
    assert config.socket is not None
    return f"socket-{config.socket.name}"
