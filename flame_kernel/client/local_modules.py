"""Modules of this machine that were sent to a session: by name, by file or as objects, and again when they change."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from flame_kernel.client import module_source
from flame_kernel.client.connection import Connection
from flame_kernel.errors import TransferError

_Sources = list[tuple[str, str, bool]]


@dataclass(frozen=True)
class _Sent:
    """A module as it was sent.

    Attributes:
        read: Reads it from disk as it is now.
        sources: Name, source and whether it's a package, of each module that was sent.
    """

    read: Callable[[], _Sources]
    sources: _Sources


class LocalModules:
    """Sends modules of this machine, and knows which of them have changed since.

    Args:
        connection: The session they go to.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sent: dict[str, _Sent] = {}
        self._lock = threading.Lock()

    def send(
        self, module: str | os.PathLike[str] | ModuleType, source: str | None, follow: bool, timeout: float | None
    ) -> str:
        """Send a module and return its name; see :meth:`flame_kernel.client.flame.Flame.sendmodule`."""
        if source is not None:
            name = module if isinstance(module, str) else getattr(module, "__name__", str(module))
            module_source.send_all(self._connection, [(name, source, False)], False, timeout)
            with self._lock:
                self._sent.pop(name, None)
            return name
        read = _reader(module)
        sources = read()
        name = sources[0][0]
        module_source.send_all(self._connection, sources, True, timeout)
        with self._lock:
            self._sent.pop(name, None)
            if follow:
                self._sent[name] = _Sent(read, sources)
        return name

    def resend(self, timeout: float | None) -> list[str]:
        """Send again what has changed on disk; see :meth:`flame_kernel.client.flame.Flame.resend`."""
        with self._lock:
            sent = list(self._sent.items())
        again = []
        for name, before in sent:
            sources = before.read()
            if sources != before.sources:
                module_source.send_all(self._connection, sources, True, timeout)
                with self._lock:
                    self._sent[name] = _Sent(before.read, sources)
                again.append(name)
        return again


def _reader(module: str | os.PathLike[str] | ModuleType) -> Callable[[], _Sources]:
    """Return what reads a module of this machine, now and later."""
    if isinstance(module, ModuleType):
        return lambda: module_source.local_sources(module)
    text = os.fspath(module)
    if isinstance(module, str) and not (text.endswith(".py") or os.sep in text or "/" in text):
        return lambda: module_source.local_sources(text)
    path = Path(text).expanduser().absolute()
    return lambda: _from_path(path)


def _from_path(path: Path) -> _Sources:
    """Return the source of a module that a file or a package's folder holds."""
    name = path.name.removesuffix(".py")
    if not name.isidentifier():
        raise TransferError(f"{path} can't be imported as a module: {name!r} is no name in Python")
    if path.is_dir():
        return module_source.package_sources(name, path)
    if not path.exists():
        raise ModuleNotFoundError(f"there is no file {path}", name=name)
    return [(name, module_source.read(path), False)]
