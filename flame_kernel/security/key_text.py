"""The forms a key takes.

| form | where | example |
|---|---|---|
| Z85, 40 bytes | in memory, as libzmq wants it | ``b"rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"`` |
| text | files, invites, what users see | ``flame-curve25519 VLEyRCOb…`` (base64url of the 32 bytes, no padding) |
| fingerprint | messages, logs | ``SHA256:2jmj7l5rSw0yVb/v`` |
"""

from __future__ import annotations

import base64
import functools
import hashlib
import struct

from zmq.utils import z85

from flame_kernel.errors import KeyFileError

KEY_TYPE = "flame-curve25519"

_KEY_BYTES = 32


def raw_key(key: bytes) -> bytes:
    """Turn a Z85 key into its 32 bytes.

    Args:
        key: The key in Z85.

    Returns:
        The bytes.

    Raises:
        KeyFileError: That isn't a key in Z85. The line doesn't quote it, for it may be a secret.

    Example:
        >>> raw_key(b"0" * 40) == bytes(32)
        True
    """
    try:
        raw = z85.decode(key)
    except (ValueError, KeyError, struct.error) as problem:
        raise KeyFileError("a key is damaged: it isn't Z85") from problem
    if len(raw) != _KEY_BYTES:
        raise KeyFileError(f"a key is damaged: it has {len(raw)} bytes instead of {_KEY_BYTES}")
    return raw


def public_to_text(public: bytes) -> str:
    """Write a public key as users see it, without the leading ``flame-curve25519``.

    Args:
        public: The key in Z85.

    Returns:
        43 characters of base64url.

    Raises:
        KeyFileError: That isn't a key in Z85.

    Example:
        >>> public_to_text(b"0" * 40)
        'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'
    """
    return to_base64(raw_key(public))


@functools.lru_cache(maxsize=64)
def public_from_text(text: str) -> bytes:
    """Read a public key as users write it.

    Args:
        text: The base64 part, with or without ``flame-curve25519`` before it.

    Returns:
        The key in Z85.

    Raises:
        KeyFileError: That isn't a whole public key.

    Example:
        >>> public_from_text("flame-curve25519 " + "A" * 43)
        b'0000000000000000000000000000000000000000'
    """
    words = text.split()
    if words[:1] == [KEY_TYPE]:
        words = words[1:]
    if len(words) != 1:
        raise KeyFileError(f"that isn't a public key of the form `{KEY_TYPE} BASE64`")
    return z85.encode(key_bytes(words[0]))


def fingerprint(public: bytes) -> str:
    """Shorten a public key to what people can compare.

    Args:
        public: The key in Z85.

    Returns:
        ``SHA256:`` and the first 16 characters of the hash in base64.

    Raises:
        KeyFileError: That isn't a key in Z85.

    Example:
        >>> fingerprint(b"0" * 40)
        'SHA256:Zmh6rfhivXdsj8GL'
    """
    return "SHA256:" + base64.b64encode(hashlib.sha256(raw_key(public)).digest()).decode("ascii")[:16]


def to_base64(raw: bytes) -> str:
    """Write bytes as base64url without padding.

    Args:
        raw: The bytes.

    Returns:
        The text.

    Example:
        >>> to_base64(b"flame")
        'ZmxhbWU'
    """
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def from_base64(text: str) -> bytes:
    """Read base64url without padding, and nothing else: each value has exactly one spelling.

    Args:
        text: The text.

    Returns:
        The bytes.

    Raises:
        ValueError: The text isn't what :func:`to_base64` writes.

    Example:
        >>> from_base64("ZmxhbWU")
        b'flame'
    """
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    # The decoder lets "+", "/" and stray low bits through; two spellings of one key would defeat comparing them.
    if to_base64(raw) != text:
        raise ValueError("not canonical base64url")
    return raw


def key_bytes(text: str) -> bytes:
    """Read the 32 bytes of a key, public or secret.

    Args:
        text: Their base64url.

    Returns:
        The bytes.

    Raises:
        KeyFileError: That isn't a whole key. The line doesn't quote it, for it may be a secret.

    Example:
        >>> key_bytes("A" * 43) == bytes(32)
        True
    """
    try:
        raw = from_base64(text)
    except ValueError as problem:
        raise KeyFileError("a key is damaged: copy all of its 43 letters, digits, - and _") from problem
    if len(raw) != _KEY_BYTES:
        raise KeyFileError(f"a key is damaged: it has {len(text)} characters instead of 43")
    return raw
