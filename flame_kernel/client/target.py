"""What a user names to say where to: an address, an invite, a socket's path, or nothing at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from flame_kernel.errors import ConfigurationError
from flame_kernel.security.invites import Invite

DEFAULT_PORT = 9999


class Address(msgspec.Struct, frozen=True):
    """A server this client was paired with.

    Attributes:
        host: Its host.
        port: Its port.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class UnixSocket(msgspec.Struct, frozen=True):
    """A server on this machine.

    Attributes:
        path: Its socket.
    """

    path: Path

    def __str__(self) -> str:
        return str(self.path)


class Embedded(msgspec.Struct, frozen=True):
    """The server that the client starts on this machine by itself."""

    def __str__(self) -> str:
        return "this machine"


Target = Address | Invite | UnixSocket | Embedded


def parse(text: str | None, environ: Mapping[str, str]) -> Target:
    """Understand what a user named.

    Args:
        text: ``host``, ``host:port``, an invite (``flame://host:port/#…``), a path to a unix socket, ``embedded``, or
            nothing: then the environment's FLAME_HOST counts, and without it the embedded server.
        environ: The environment.

    Returns:
        Where to.

    Raises:
        InviteError: It's an invite that is damaged.
        ConfigurationError: It's none of these.

    Example:
        >>> parse("gpu1", {}), parse(None, {})
        (Address(host='gpu1', port=9999), Embedded())
    """
    text = (text or environ.get("FLAME_HOST") or "").strip().strip("\"'")
    if text in ("", "embedded"):
        return Embedded()
    if text.startswith("flame:"):
        return Invite.parse(text)
    if text.startswith("unix:"):
        return UnixSocket(Path(text.removeprefix("unix:")).expanduser())
    if "/" in text and "://" not in text:
        return UnixSocket(Path(text).expanduser())
    return _address(text)


def _address(text: str) -> Address:
    host, separator, port = text.rpartition(":")
    if text.endswith("]") or not separator:  # no port, perhaps an IPv6 address in brackets
        host, port = text, str(DEFAULT_PORT)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536 or any(c.isspace() or c in "/#@" for c in host):
        raise ConfigurationError(
            f"{text!r} names no server; say host, host:port, an invite (flame://host:port/#…) or a unix socket's path"
        )
    return Address(host, int(port))
