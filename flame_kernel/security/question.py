"""libzmq's question whether somebody may come in, and the answer: ZAP (RFC 27).

This module is loaded inside sessions too: standard library, pyzmq and Python 3.9.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from zmq.utils import z85

# Where libzmq asks, in the context of the socket that somebody knocks at.
ZAP_ADDRESS = "inproc://zeromq.zap.01"

_VERSION = b"1.0"
_KEY_BYTES = 32


class Question(NamedTuple):
    """One that was asked.

    Attributes:
        route: What leads the answer back.
        request: What it's known by.
        address: Where whoever knocks comes from.
        domain: The ZAP domain of the socket that they knock at; empty where the question is not one that can be
            answered with yes.
        key: The public key in Z85 that they prove to have if they are let in; empty without CURVE.
    """

    route: tuple[bytes, ...]
    request: bytes
    address: str
    domain: str
    key: bytes

    @classmethod
    def read(cls, frames: Sequence[bytes]) -> Question | None:
        """Read what a ROUTER received; ``None`` where it's no question."""
        if len(frames) < 8:
            return None
        route, (version, request, domain, address, _, mechanism, *credentials) = frames[:2], frames[2:]
        credential = credentials[0] if credentials and mechanism == b"CURVE" else b""
        return cls(
            tuple(route),
            request,
            address.decode("ascii", "replace").removeprefix("::ffff:"),
            domain.decode("utf-8", "replace") if version == _VERSION else "",
            z85.encode(credential) if len(credential) == _KEY_BYTES else b"",
        )

    def may_ask(self, domain: str) -> bool:
        """Tell whether it's about a key, and a socket of a domain: nobody else is let in."""
        return bool(self.key) and self.domain == domain

    def answer(self, admitted: bool) -> list[bytes]:
        """Return what the ROUTER shall send. Who is let in is known by their key from then on, as ``User-Id``."""
        verdict = (b"200", b"OK", self.key) if admitted else (b"400", b"not admitted", b"")
        return [*self.route, _VERSION, self.request, *verdict, b""]
