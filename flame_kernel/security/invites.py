"""Invites: one string that pairs a client with a server, once.

``flame://HOST:PORT/#TOKEN``, where TOKEN is base64url without padding of

| bytes | meaning |
|---|---|
| 32 | the server's public key: the client knows the server before it connects |
| 16 | a random secret, from which both sides derive a CURVE key pair that is good for this invite alone |
| 4 | blake2b of the 48 bytes before: a damaged copy is noticed before connecting |

The address is not covered by the check, so that somebody behind a tunnel can put in the name that works from there.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import secrets
from dataclasses import dataclass, field

from zmq.utils import z85

from flame_kernel.errors import InviteError, KeyFileError
from flame_kernel.security.key_text import from_base64, raw_key, to_base64
from flame_kernel.security.keys import KeyPair

_SCHEME = "flame://"
_KEY_BYTES, _SECRET_BYTES, _CHECK_BYTES = 32, 16, 4
_ADDRESS = re.compile(r"(?P<host>\[[^\[\]]+\]|[^\[\]:]+):(?P<port>[0-9]{1,5})")
_HOST_NAME = re.compile(r"[^\s\[\]/:#?@%\\\"'`<>]+")

# What mail programs, chats and shells put around a string that is copied.
_AROUND = " \t\r\n\"'`<>\u2018\u2019\u201c\u201d"


@dataclass(frozen=True)
class Invite:
    """A server's address and key, and the secret that opens it once.

    Attributes:
        host: A name or address; an IPv6 address without brackets.
        port: The TCP port.
        server_key: The server's public key in Z85.
        secret: 16 random bytes. ``str()`` of an invite contains them, ``repr()`` doesn't.

    Raises:
        InviteError: One of them can't be in an invite.

    Example:
        >>> invite = Invite.mint("gpu1", 9999, KeyPair.generate().public)
        >>> Invite.parse(str(invite)) == invite, invite.address
        (True, 'gpu1:9999')
    """

    host: str
    port: int
    server_key: bytes
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not _host_is_valid(self.host):
            raise InviteError(f"an invite can't name the host {self.host!r}")
        if not 0 < self.port < 65536:
            raise InviteError(f"an invite can't name the port {self.port}: use 1 to 65535")
        if len(self.secret) != _SECRET_BYTES:
            raise InviteError(f"an invite's secret has {_SECRET_BYTES} bytes, not {len(self.secret)}")
        try:
            raw_key(self.server_key)
        except KeyFileError as problem:
            raise InviteError(f"an invite can't be made: {problem}") from problem

    @classmethod
    def mint(cls, host: str, port: int, server_key: bytes) -> Invite:
        """Make a new invite; the server's :class:`InviteBook` must issue it before it opens anything.

        Args:
            host: The name or address by which the client will reach the server.
            port: The TCP port.
            server_key: The server's public key in Z85.

        Returns:
            The invite.

        Raises:
            InviteError: Host, port or key can't be in an invite.

        Example:
            ``Invite.mint("gpu1", 9999, keys.public)``
        """
        return cls(_unbracketed(host), port, server_key, secrets.token_bytes(_SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> Invite:
        """Read an invite as somebody pasted it, with white space or quotes around it.

        Args:
            text: The string.

        Returns:
            The invite.

        Raises:
            InviteError: That isn't an invite, or it is damaged. The line doesn't quote it, for it holds a secret.

        Example:
            ``Invite.parse("flame://gpu1:9999/#…").address``
        """
        bare = text.strip(_AROUND)
        if not bare.lower().startswith(_SCHEME):
            raise InviteError("that isn't an invite: one looks like flame://HOST:PORT/#TOKEN, as `flame invite` prints")
        place, hash_mark, token = bare[len(_SCHEME) :].partition("#")
        address = _ADDRESS.fullmatch(place.removesuffix("/"))
        if not hash_mark or address is None:
            raise _damaged()
        try:
            raw = from_base64(token)
        except ValueError as problem:
            raise _damaged() from problem
        body, check = raw[:-_CHECK_BYTES], raw[-_CHECK_BYTES:]
        if len(body) != _KEY_BYTES + _SECRET_BYTES or check != _check(body):
            raise _damaged()
        return cls(
            _unbracketed(address["host"]), int(address["port"]), z85.encode(body[:_KEY_BYTES]), body[_KEY_BYTES:]
        )

    @property
    def address(self) -> str:
        """``host:port``, with brackets around an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def keypair(self) -> KeyPair:
        """Derive the key pair that the holder connects with.

        Returns:
            The pair; the server admits its public half, and no other, for this invite.

        Example:
            ``secure_client(socket, invite.keypair(), invite.server_key)``
        """
        secret = hashlib.blake2b(self.secret, digest_size=_KEY_BYTES, person=b"flame-invite").digest()
        return KeyPair.from_secret(z85.encode(secret))

    def __str__(self) -> str:
        body = raw_key(self.server_key) + self.secret
        return f"{_SCHEME}{self.address}/#{to_base64(body + _check(body))}"


def _check(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_CHECK_BYTES).digest()


def _unbracketed(host: str) -> str:
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def _host_is_valid(host: str) -> bool:
    if ":" not in host:
        return host.isprintable() and _HOST_NAME.fullmatch(host) is not None
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return host.isprintable() and not any(character in "/#]" or character.isspace() for character in host)


def _damaged() -> InviteError:
    return InviteError("the invite is damaged: copy it whole, from flame:// to its last character")
