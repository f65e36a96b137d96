"""``authorized_keys``: who may use this server, and how much of it. A line each, as in ssh's file of that name.

``<role> flame-curve25519 <base64> <comment…>``, where the role may be left out and then is ``admin``. Comment lines
and blank lines stay where they are when the program changes the file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from flame_kernel.errors import ConfigurationError, KeyFileError
from flame_kernel.security import text_files
from flame_kernel.security.authorized_key import AuthorizedKey, Role, parse_line
from flame_kernel.security.folders import private
from flame_kernel.security.key_text import KEY_TYPE, public_to_text

__all__ = ["AuthorizedKey", "AuthorizedKeys", "Role"]


@dataclass(frozen=True)
class _Contents:
    stamp: text_files.Stamp | None = None
    keys: dict[bytes, AuthorizedKey] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


class AuthorizedKeys:
    """The file, re-read whenever it changed, so that an edit takes effect at the next look-up.

    Args:
        path: The file; it need not exist, and then admits nobody.

    Example:
        ``AuthorizedKeys(folders.config / "authorized_keys").lookup(public)``
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._contents = _Contents()

    def lookup(self, public: bytes) -> AuthorizedKey | None:
        """Find a key. A damaged line admits nobody and shuts nobody else out; see :meth:`problems`.

        Args:
            public: The key in Z85.

        Returns:
            Its first line, or None when it isn't listed.

        Raises:
            KeyFileError: Other users can reach the file, or it can't be read.

        Example:
            ``entry = authorized.lookup(public)``
        """
        return self._current().keys.get(public)

    def problems(self) -> tuple[str, ...]:
        """Say what is wrong with the file as it is now.

        Returns:
            A line for each damaged line, naming file and line number.

        Raises:
            KeyFileError: Other users can reach the file, or it can't be read.

        Example:
            ``for line in authorized.problems(): log.warning(line)``
        """
        return self._current().problems

    def entries(self) -> list[AuthorizedKey]:
        """List the keys.

        Returns:
            One entry for each key, in the file's order.

        Raises:
            KeyFileError: A line is damaged, other users can reach the file, or it can't be read.

        Example:
            ``for entry in authorized.entries(): print(entry.fingerprint, entry)``
        """
        contents = self._current()
        if contents.problems:
            raise KeyFileError(contents.problems[0])
        return list(contents.keys.values())

    def matching(self, what: str, *, exactly: bool = False) -> list[AuthorizedKey]:
        """Find keys by what people call them; damaged lines are passed over.

        Args:
            what: A key, a fingerprint or a comment; or, when that finds nothing, how a fingerprint or comment begins.
            exactly: Whether beginnings don't count.

        Returns:
            The entries, in the file's order.

        Raises:
            KeyFileError: Other users can reach the file, or it can't be read.

        Example:
            ``authorized.matching("ann")``
        """
        wanted = text_files.one_line(what)
        if not wanted:
            return []
        bare = wanted.removeprefix(KEY_TYPE).strip()
        keys = self._current().keys.values()
        found = [
            known
            for known in keys
            if wanted in (known.fingerprint, known.comment) or bare == public_to_text(known.public)
        ]
        if found or exactly:
            return found
        hashed = wanted.removeprefix("SHA256:") or wanted
        return [
            known
            for known in keys
            if known.comment.startswith(wanted) or known.fingerprint.removeprefix("SHA256:").startswith(hashed)
        ]

    def roles(self) -> dict[str, Role]:
        """Return all keys that are admitted now, by fingerprint, with their roles.

        Raises:
            KeyFileError: Other users can reach the file, or it can't be read.

        Example:
            ``authorized.roles()["SHA256:2jmj7l5rSw0yVb/v"]``
        """
        return {entry.fingerprint: entry.role for entry in self._current().keys.values()}

    def add(self, public: bytes, role: Role, comment: str) -> AuthorizedKey:
        """Make the file list a key with this role and comment; doing it again changes nothing.

        Args:
            public: The key in Z85; where it is listed already, its line is replaced.
            role: What it may do.
            comment: What people know it by; whatever would not fit on one printable line is dropped.

        Returns:
            The entry as it now stands.

        Raises:
            KeyFileError: The key isn't one, or the file can't be read or written.

        Example:
            ``authorized.add(public, Role.ADMIN, "ann@laptop")``
        """
        entry = AuthorizedKey(public, role, text_files.one_line(comment))
        self._rewrite(lambda known: known.public == public, str(entry))
        return entry

    def remove(self, what: str) -> list[AuthorizedKey]:
        """Revoke keys. Damaged lines stay, for they admit nobody and may be somebody's typing.

        Args:
            what: A key, a fingerprint, or a comment, each in full.

        Returns:
            What was removed; empty when nothing matched.

        Raises:
            KeyFileError: The file can't be read or written.

        Example:
            ``authorized.remove("SHA256:2jmj7l5rSw0yVb/v")``
        """
        wanted = text_files.one_line(what)
        if not wanted or text_files.stamp(self.path) is None:
            return []
        bare = wanted.removeprefix(KEY_TYPE).strip()
        return self._rewrite(
            lambda known: wanted in (known.fingerprint, known.comment) or bare == public_to_text(known.public), None
        )

    def _current(self) -> _Contents:
        if text_files.stamp(self.path) != self._contents.stamp:
            snapshot = text_files.read(self.path)
            self._contents = _Contents() if snapshot is None else _contents(self.path, snapshot)
        return self._contents

    def _rewrite(self, matches: Callable[[AuthorizedKey], bool], replacement: str | None) -> list[AuthorizedKey]:
        private(self.path.parent)
        with text_files.locked(self.path):
            snapshot = text_files.read(self.path)
            old = snapshot.text.removesuffix("\n").split("\n") if snapshot is not None and snapshot.text else []
            new: list[str] = []
            removed: list[AuthorizedKey] = []
            for line in old:
                entry = _entry_or_none(line)
                if entry is None or not matches(entry):
                    new.append(line)
                    continue
                if replacement is not None and not removed:
                    new.append(replacement)
                removed.append(entry)
            if replacement is not None and not removed:
                new.append(replacement)
            if new != old:
                text_files.write(self.path, "".join(f"{line}\n" for line in new))
            return removed


def _entry_or_none(line: str) -> AuthorizedKey | None:
    try:
        return parse_line(line)
    except ConfigurationError:
        # A damaged line is kept as it is; `problems` and `entries` are where it is reported.
        return None


def _contents(path: Path, snapshot: text_files.Snapshot) -> _Contents:
    keys: dict[bytes, AuthorizedKey] = {}
    problems: list[str] = []
    for number, line in enumerate(snapshot.text.split("\n"), 1):
        try:
            entry = parse_line(line)
        except ConfigurationError as problem:
            problems.append(f"{path}, line {number}: {problem}; mend or delete the line")
        else:
            if entry is not None:
                keys.setdefault(entry.public, entry)
    return _Contents(snapshot.stamp, keys, tuple(problems))
