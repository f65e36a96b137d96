"""What a user names to say where to: an address, an invite, a socket's path, a host for ssh, or nothing at all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from flame_kernel.errors import ConfigurationError
from flame_kernel.security.invites import Invite

DEFAULT_PORT = 9999

# No part may begin with a dash, which ssh would take for an option. Nothing else that a shell gives a meaning may get
# into a command line either: ssh's configuration may hand user and host on to one (ProxyCommand).
_SSH = re.compile(
    r"ssh://(?:(?P<user>\w[\w.+-]*)@)?"
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|(?P<host>\w[\w.-]*))"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<python>/[\w./~@%+=:,-]*)?"
)


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


class Ssh(msgspec.Struct, frozen=True):
    """A host that ssh reaches.

    Attributes:
        host: Its name, or an alias of ssh's configuration.
        user: Who to be there; empty for what ssh's configuration says.
        port: Where its sshd listens; 0 for what ssh's configuration says.
        python: The Python over there that has remote-flame, or its environment's folder; empty to have it looked for.
    """

    host: str
    user: str = ""
    port: int = 0
    python: str = ""

    @property
    def bare(self) -> Ssh:
        """The same host, whatever Python is used there."""
        return Ssh(self.host, self.user, self.port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        python = f"/{self.python}" if self.python.startswith("~/") else self.python
        return f"ssh://{user}{host}{port}{python}"


class Embedded(msgspec.Struct, frozen=True):
    """The server that the client starts on this machine by itself."""

    def __str__(self) -> str:
        return "this machine"


Target = Address | Invite | UnixSocket | Ssh | Embedded


def parse(text: str | None, environ: Mapping[str, str]) -> Target:
    """Understand what a user named.

    Args:
        text: ``host``, ``host:port``, an invite (``flame://host:port/#…``), a host for ssh
            (``ssh://[user@]host[:port][/path/of/a/python]``), a path to a unix socket, ``embedded``, or nothing: then
            the environment's FLAME_HOST counts, and without it the embedded server.
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
    if text.startswith("ssh:"):
        return _ssh(text)
    if text.startswith("unix:"):
        return UnixSocket(Path(text.removeprefix("unix:")).expanduser())
    if "/" in text and "://" not in text:
        return UnixSocket(Path(text).expanduser())
    return _address(text)


def _ssh(text: str) -> Ssh:
    found = _SSH.fullmatch(text)
    port = int(found["port"] or 0) if found else 0
    if found is None or port > 65535 or (found["port"] and not port):
        raise ConfigurationError(
            f"{text!r} names no host for ssh; say ssh://host, ssh://user@host or ssh://user@host:port, and behind "
            "that the path of a Python over there if remote-flame isn't found by itself"
        )
    python = (found["python"] or "").rstrip("/")
    python = python.removeprefix("/") if python.startswith("/~/") else python
    return Ssh(found["ipv6"] or found["host"], found["user"] or "", port, python)


def _address(text: str) -> Address:
    host, separator, port = text.rpartition(":")
    if text.endswith("]") or not separator:  # no port, perhaps an IPv6 address in brackets
        host, port = text, str(DEFAULT_PORT)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536 or any(c.isspace() or c in "/#@" for c in host):
        raise ConfigurationError(
            f"{text!r} names no server; say host, host:port, ssh://host, an invite (flame://host:port/#…) or a unix "
            "socket's path"
        )
    return Address(host, int(port))
