"""CURVE key pairs and the files that hold them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import zmq
from zmq.utils import z85

from flame_kernel.errors import KeyFileError
from flame_kernel.security import text_files
from flame_kernel.security.folders import private
from flame_kernel.security.key_text import (
    KEY_TYPE,
    fingerprint,
    key_bytes,
    public_from_text,
    public_to_text,
    raw_key,
    to_base64,
)

__all__ = ["KEY_TYPE", "KeyPair", "fingerprint", "load_or_create", "public_from_text", "public_to_text"]


@dataclass(frozen=True)
class KeyPair:
    """A CURVE key pair in Z85, 40 bytes each; the secret never shows in a repr.

    Attributes:
        public: What others know this machine by.
        secret: What proves it.

    Example:
        >>> pair = KeyPair.generate()
        >>> KeyPair.from_secret(pair.secret) == pair
        True
    """

    public: bytes
    secret: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> KeyPair:
        """Make a new random pair.

        Returns:
            The pair.

        Example:
            >>> len(KeyPair.generate().public)
            40
        """
        return cls(*zmq.curve_keypair())

    @classmethod
    def from_secret(cls, secret: bytes) -> KeyPair:
        """Derive the pair that belongs to a secret key.

        Args:
            secret: The secret key in Z85.

        Returns:
            The pair.

        Raises:
            KeyFileError: That isn't a key in Z85.

        Example:
            ``KeyPair.from_secret(z85.encode(bytes(32)))``
        """
        raw_key(secret)
        return cls(zmq.curve_public(secret), secret)


def load_or_create(path: Path, comment: str) -> KeyPair:
    """Read a key file, or create it the first time; processes that race to create it end with the same key.

    Args:
        path: The file.
        comment: What to write in its first line when it is created, for people.

    Returns:
        The key pair.

    Raises:
        KeyFileError: Other users can reach the file, it is damaged, or it can't be read or created.

    Example:
        ``load_or_create(folders.config / "server_key", "server key of gpu1")``
    """
    snapshot = text_files.read(path)
    if snapshot is not None:
        return _parse(path, snapshot.text)
    private(path.parent)
    with text_files.locked(path):
        snapshot = text_files.read(path)
        if snapshot is not None:
            return _parse(path, snapshot.text)
        pair = KeyPair.generate()
        text_files.write(path, _render(pair, comment))
        return pair


def _render(pair: KeyPair, comment: str) -> str:
    return (
        f"# {text_files.one_line(comment)}\n"
        f"public {KEY_TYPE} {public_to_text(pair.public)}\n"
        f"secret {to_base64(raw_key(pair.secret))}\n"
    )


def _parse(path: Path, text: str) -> KeyPair:
    lines = [line.split() for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#")]
    try:
        match lines:
            case [["public", kind, public], ["secret", secret]] if kind == KEY_TYPE:
                pair = KeyPair.from_secret(z85.encode(key_bytes(secret)))
                if pair.public == public_from_text(public):
                    return pair
    except KeyFileError as problem:
        raise _damaged(path) from problem
    raise _damaged(path)


def _damaged(path: Path) -> KeyFileError:
    return KeyFileError(
        f"the key file {path} is damaged: restore it from a backup, or delete it, start again and pair again"
    )
