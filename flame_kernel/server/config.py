"""What a server is told: parsed once at the edge, frozen, and passed down."""

from __future__ import annotations

import functools
import ipaddress
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flame_kernel.errors import ConfigurationError, FlameDisabled
from flame_kernel.security.folders import Folders

DEFAULT_PORT = 9999

_YES = frozenset({"true", "1", "yes", "on"})
_NO = frozenset({"false", "0", "no", "off", ""})


@dataclass(frozen=True)
class Limits:
    """What a server gives at most.

    Attributes:
        sessions: Sessions at a time, and as many dead ones beside them; beyond it the oldest of those go.
        clients: Clients of one session at a time, those that are away included.
        connections: TCP connections at a time, whoever they are.
        connections_per_key: Connections of one key at a time. A client has one for its session, and one for each call
            that it has under way at the same time.
        handshakes: Connections at a time that have not proved a key yet; beyond it the oldest is shut out.
        transfers: Copies of files in one session at a time.
        message_bytes: The largest message from a client, in bytes.
        journal_bytes: What is kept for one client that is away, in bytes, most of it on disk; beyond it the oldest
            messages go, and it's told so.
        missed_bytes: What is kept of a session's outputs while no client is attached, in bytes; beyond it the oldest
            go, and the next client is told how many.
        session_bytes: What a session's processes may use of the memory together, in bytes; one that uses more is ended.
            0 for no limit.
        warm: Kernels that are kept up before anybody asks for them, so that a session begins at once; 0 for none.
        start_s: How long a kernel may take to come up, in seconds.
        silence_s: After how long without a sign of life a connection counts as gone, in seconds.
        lease_s: How long a private session waits for its client to come back, in seconds.
        named_lease_s: How long a named session without clients goes on, in seconds; infinity for ever.
        away_s: How long messages are kept for a client of a named session that does not come back, and a session
            that died without anybody coming for it, in seconds.
    """

    sessions: int = 64
    clients: int = 64
    connections: int = 2048
    connections_per_key: int = 512
    handshakes: int = 128
    transfers: int = 32
    message_bytes: int = 2 * 1024**3
    journal_bytes: int = 1024 * 1024 * 1024
    missed_bytes: int = 32 * 1024 * 1024
    session_bytes: int = 0
    warm: int = 1
    start_s: float = 60.0
    silence_s: float = 20.0
    lease_s: float = 60.0
    named_lease_s: float = math.inf
    away_s: float = 7 * 24 * 3600.0


@dataclass(frozen=True)
class Direct:
    """Whether clients may call sessions directly, past the server.

    Attributes:
        enabled: Whether they may at all; on the same machine they then use the sessions' unix sockets.
        ports: The TCP ports where sessions may wait for them: ``auto`` (any that is free, but only on the loopback
            interface), ``any``, ``none``, or a range such as ``50000-50100``.
    """

    enabled: bool = True
    ports: str = "auto"

    def ports_at(self, host: str) -> tuple[int, int] | None:
        """Return the first and the last port to choose from at an address of this machine.

        Args:
            host: The address.

        Returns:
            The ports, zeros for any that is free; ``None`` when none is to be opened there.

        Raises:
            ConfigurationError: What ``ports`` says can't be understood.

        Example:
            >>> Direct(ports="50000-50100").ports_at("192.168.1.7"), Direct().ports_at("192.168.1.7")
            ((50000, 50100), None)
        """
        if self.ports in ("auto", "any", "none"):
            opens = self.ports == "any" or (self.ports == "auto" and _is_loopback(host))
            return (0, 0) if self.enabled and opens and host else None
        low, dash, high = self.ports.partition("-")
        if not (low.isdecimal() and (high.isdecimal() or not dash)):
            raise ConfigurationError(f"direct.ports is auto, any, none or a range such as 50000-50100: {self.ports!r}")
        first, last = int(low), int(high or low)
        if not 0 < first <= last < 65536:
            raise ConfigurationError(f"direct.ports must be between 1 and 65535, the lower one first: {self.ports!r}")
        return (first, last) if self.enabled and host else None


@dataclass(frozen=True)
class ServerConfig:
    """Everything a server is told.

    Attributes:
        folders: Where its files are.
        enabled: Whether it may start at all.
        host: The address to listen at; loopback unless told otherwise.
        port: The TCP port; 0 picks a free one; ``None`` for no TCP at all.
        socket: A unix socket to listen at beside or instead of TCP, which only its user can open.
        keyed_socket: Another one, whose clients prove their keys as over TCP; where those who come through ssh arrive.
        kernel: The kernelspec of sessions that name none.
        key_file: The server's key.
        until_idle: End when the last session has ended; how the embedded server works.
        limits: What it gives at most.
        direct: Whether clients may call sessions directly.
    """

    folders: Folders
    enabled: bool = False
    host: str = "127.0.0.1"
    port: int | None = DEFAULT_PORT
    socket: Path | None = None
    keyed_socket: Path | None = None
    kernel: str = "python3"
    key_file: Path | None = None
    until_idle: bool = False
    limits: Limits = Limits()
    direct: Direct = Direct()

    def require_enabled(self) -> None:
        """Make sure that whoever starts the server meant to.

        Raises:
            FlameDisabled: It was not enabled.
        """
        if not self.enabled:
            raise FlameDisabled(
                "the Flame server is disabled, because it gives full access to this machine; "
                "enable it with FLAME_ENABLED=true, with --enable, or with 'enabled = true' in "
                f"{config_file(self.folders)}"
            )


def config_file(folders: Folders) -> Path:
    """Return where the server's configuration file is."""
    return folders.config / "server.toml"


def load(environ: Mapping[str, str]) -> ServerConfig:
    """Read configuration file and environment.

    Args:
        environ: The environment; FLAME_HOME and FLAME_ENABLED count.

    Returns:
        The configuration; options of the command line come on top of it.

    Raises:
        ConfigurationError: Something in it is unknown or of the wrong kind.
    """
    folders = Folders.find(environ)
    config = ServerConfig(folders)
    path = config_file(folders)
    if path.exists():
        try:
            fields = tomllib.loads(path.read_text("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path} is not valid TOML: {error}") from error
        config = _with_fields(config, fields, path)
    if "FLAME_ENABLED" in environ:
        config = replace(config, enabled=_truth(environ["FLAME_ENABLED"]))
    return config


def _with_fields(config: ServerConfig, fields: dict[str, Any], path: Path) -> ServerConfig:
    kinds: dict[str, type] = {"enabled": bool, "host": str, "port": int, "kernel": str}
    limits, direct = _table(fields, "limits", path), _table(fields, "direct", path)
    for name, value in fields.items():
        if name not in kinds:
            raise ConfigurationError(
                f"{path}: {name!r} is unknown; known are {', '.join((*kinds, 'limits', 'direct'))}"
            )
        if type(value) is not kinds[name]:
            raise ConfigurationError(f"{path}: {name} must be a {kinds[name].__name__}, not {value!r}")
    if not 0 <= fields.get("port", 0) < 65536:
        raise ConfigurationError(f"{path}: port must be between 0 and 65535, not {fields['port']}")
    for name, value in limits.items():
        default = vars(config.limits).get(name)
        if default is None:
            raise ConfigurationError(f"{path}: limits.{name} is unknown; known are {', '.join(vars(config.limits))}")
        if type(value) not in (int, float) or not (value > 0 or (name == "warm" and value == 0)):
            raise ConfigurationError(f"{path}: limits.{name} must be a number above 0, not {value!r}")
        if isinstance(default, int) and not isinstance(value, int):
            raise ConfigurationError(f"{path}: limits.{name} must be a whole number, not {value!r}")
    for name, value in direct.items():
        if name not in vars(config.direct):
            raise ConfigurationError(f"{path}: direct.{name} is unknown; known are {', '.join(vars(config.direct))}")
        if type(value) is not type(vars(config.direct)[name]):
            kind = type(vars(config.direct)[name]).__name__
            raise ConfigurationError(f"{path}: direct.{name} must be a {kind}, not {value!r}")
    try:
        Direct(**direct).ports_at("")  # what can't be understood is told now
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None
    return replace(config, **fields, limits=replace(config.limits, **limits), direct=replace(config.direct, **direct))


def _table(fields: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    table = fields.pop(name, {})
    if not isinstance(table, dict):
        raise ConfigurationError(f"{path}: {name} must be a table, not {table!r}")
    return table


@functools.lru_cache(maxsize=16)
def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _truth(text: str) -> bool:
    word = text.strip().lower()
    if word in _YES:
        return True
    if word in _NO:
        return False
    raise ConfigurationError(
        f"FLAME_ENABLED={text!r} is neither yes nor no; say true (1, yes, on) or false (0, no, off)"
    )
