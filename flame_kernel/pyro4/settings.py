"""What a bridge is told, and what its user has to know about the protocol it speaks."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import asdict, dataclass, field

from flame_kernel.errors import ConfigurationError

SESSION = "pyro4"


@dataclass(frozen=True)
class Settings:
    """What a bridge is told.

    Attributes:
        server: The unix socket of its server.
        host: The address to listen at.
        port: The TCP port; 0 picks a free one.
        key: What clients give as their HMAC key; empty if none is asked for.
        session: The name of the session that all clients share.
        verbose: Whether to tell what happens.
    """

    server: str
    host: str
    port: int
    key: str = field(default="", repr=False)
    session: str = SESSION
    verbose: bool = False

    def encode(self) -> bytes:
        """Return it as a line of JSON."""
        return json.dumps(asdict(self)).encode("utf-8") + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> Settings:
        """Read it.

        Raises:
            ConfigurationError: It isn't one.

        Example:
            >>> settings = Settings("/run/flame/pyro4.sock", "127.0.0.1", 9998)
            >>> Settings.decode(settings.encode()) == settings
            True
        """
        try:
            return cls(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise ConfigurationError("the bridge for Pyro4 was started without its settings") from error


def is_loopback(host: str) -> bool:
    """Tell whether an address leads to this machine only.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("0.0.0.0"), is_loopback("localhost"), is_loopback("gpu1")
        (True, False, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def warnings(host: str, with_key: bool) -> list[str]:
    """Return what whoever switches the bridge on has to know, a line each.

    Args:
        host: The address that it listens at.
        with_key: Whether clients need the HMAC key.
    """
    lines = ["Pyro4's protocol isn't encrypted and knows no roles: whoever is let in runs anything as this user"]
    if with_key:
        lines.append("its HMAC key keeps strangers out, but messages that somebody recorded can be played back")
    else:
        lines.append("NO KEY is asked for: every program and every user that reaches the port is let in")
    if not is_loopback(host):
        lines.append(f"it listens at {host}, beyond this machine: whoever sees the network can read what is said")
    return lines
