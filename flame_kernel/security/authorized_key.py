"""One line of ``authorized_keys``: a key, what it may do, and what people know it by."""

from __future__ import annotations

import enum
import functools
from dataclasses import dataclass

from flame_kernel.errors import ConfigurationError, KeyFileError
from flame_kernel.security import text_files
from flame_kernel.security.key_text import KEY_TYPE, fingerprint, public_from_text, public_to_text


@functools.total_ordering
class Role(enum.Enum):
    """What a key may do; each role may do all that the ones before it may.

    Example:
        >>> Role.EXECUTE < Role.ADMIN
        True
    """

    OBSERVE = "observe"
    EXECUTE = "execute"
    FILES = "files"
    ADMIN = "admin"

    def __init__(self, _name: str) -> None:
        self._rank = len(type(self).__members__)  # how many were before it

    def __lt__(self, other: Role) -> bool:
        return self._rank < other._rank

    @classmethod
    def named(cls, name: str) -> Role:
        """Find a role by the name that users write.

        Args:
            name: ``observe``, ``execute``, ``files`` or ``admin``.

        Returns:
            The role.

        Raises:
            ConfigurationError: There is no such role.

        Example:
            >>> Role.named("files")
            <Role.FILES: 'files'>
        """
        for role in cls:
            if role.value == name:
                return role
        raise ConfigurationError(
            f"there is no role {text_files.one_line(name)!r}: use one of {', '.join(role.value for role in cls)}"
        )


@dataclass(frozen=True)
class AuthorizedKey:
    """One line of the file.

    Attributes:
        public: The key in Z85.
        role: What it may do.
        comment: What people know it by, on one printable line; may be empty.

    Example:
        >>> str(AuthorizedKey(b"0" * 40, Role.FILES, "ann@laptop"))[:26]
        'files flame-curve25519 AAA'
    """

    public: bytes
    role: Role
    comment: str

    @property
    def fingerprint(self) -> str:
        """The key's short form."""
        return fingerprint(self.public)

    def __str__(self) -> str:
        return f"{self.role.value} {KEY_TYPE} {public_to_text(self.public)} {self.comment}".rstrip()


def parse_line(line: str) -> AuthorizedKey | None:
    """Read one line of the file.

    Args:
        line: The line, with or without its end.

    Returns:
        The entry, or None for a blank line or a comment.

    Raises:
        ConfigurationError: The line is neither.

    Example:
        >>> parse_line("# my laptop") is None
        True
    """
    words = line.split()
    if not words or words[0].startswith("#"):
        return None
    role = Role.ADMIN if words[0] == KEY_TYPE else Role.named(words.pop(0))
    if words[:1] != [KEY_TYPE] or len(words) < 2:
        raise KeyFileError(f"a line is `ROLE {KEY_TYPE} BASE64 COMMENT`")
    return AuthorizedKey(public_from_text(words[1]), role, text_files.one_line(" ".join(words[2:])))
