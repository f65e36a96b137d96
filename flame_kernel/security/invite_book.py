"""The server's record of the invites it gave out: a small file each, shared by ``flame invite`` and the server.

``<hash>.open`` becomes ``<hash>.used`` by renaming, which one process alone can do. A file holds the invite's public
key, never its secret, so that reading the folder opens nothing.
"""

from __future__ import annotations

import enum
import hashlib
import math
import os
from dataclasses import dataclass
from pathlib import Path

from flame_kernel.errors import ConfigurationError, KeyFileError
from flame_kernel.security import text_files
from flame_kernel.security.authorized_key import Role
from flame_kernel.security.folders import private
from flame_kernel.security.invites import Invite
from flame_kernel.security.key_text import KEY_TYPE, public_from_text, public_to_text, raw_key
from flame_kernel.security.permissions import explained

_KEEP_S = 7 * 24 * 3600.0


class InviteState(enum.Enum):
    """What an invite is good for.

    Example:
        >>> InviteState("used") is InviteState.USED
        True
    """

    OPEN = "open"
    USED = "used"
    EXPIRED = "expired"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class _Record:
    public: bytes
    expires: float
    used: float | None
    role: Role = Role.ADMIN


class InviteBook:
    """The invites of one server, as files.

    Times are Unix timestamps and are always passed in.

    Args:
        folder: Where the files are; it is created by the first :meth:`issue`.

    Example:
        ``InviteBook(folders.state / "invites").issue(invite, 3600.0, time.time())``
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def issue(self, invite: Invite, lifetime_s: float, now: float, role: Role = Role.ADMIN) -> None:
        """Let an invite open the server once.

        Args:
            invite: The invite.
            lifetime_s: For how many seconds it stays open.
            now: The time.
            role: What the key may do that is enrolled with it.

        Raises:
            KeyFileError: It can't be recorded, or was issued before.

        Example:
            ``book.issue(invite, 3600.0, time.time())``
        """
        public = invite.keypair().public
        private(self.folder)
        with text_files.locked(self.folder / "invites"):
            if self.state(public, now) is not InviteState.UNKNOWN:
                raise KeyFileError("this invite was issued before: mint a new one")
            lines = (
                f"public {KEY_TYPE} {public_to_text(public)}",
                f"expires {now + lifetime_s!r}",
                f"role {role.value}",
            )
            text_files.write(self._path(public, "open"), "".join(f"{line}\n" for line in lines))

    def state(self, public: bytes, now: float) -> InviteState:
        """Tell what the holder of a key may do.

        Args:
            public: The public half of the invite's key pair, in Z85.
            now: The time.

        Returns:
            The invite's state; UNKNOWN when the key belongs to no invite.

        Raises:
            KeyFileError: The invite's file is damaged or can't be read.

        Example:
            ``book.state(public, time.time()) is InviteState.OPEN``
        """
        path = self._path(public, "open")
        snapshot = text_files.read(path)
        if snapshot is None:
            # Asked second: an invite that is redeemed between the two questions counts as used, not as unknown.
            used = text_files.stamp(self._path(public, "used")) is not None
            return InviteState.USED if used else InviteState.UNKNOWN
        record = _parse(snapshot.text)
        if record is None or record.public != public:
            raise KeyFileError(f"the invite file {path} is damaged: delete it and make a new invite")
        return InviteState.OPEN if now < record.expires else InviteState.EXPIRED

    def role(self, public: bytes) -> Role:
        """Tell what the key may do that is enrolled with an open invite.

        Args:
            public: The public half of the invite's key pair, in Z85.

        Returns:
            The role; the least there is for an invite that is not open.

        Raises:
            KeyFileError: The invite's file is damaged or can't be read.

        Example:
            ``authorized.add(client, book.role(invite.keypair().public), "ann@laptop")``
        """
        snapshot = text_files.read(self._path(public, "open"))
        record = None if snapshot is None else _parse(snapshot.text)
        return Role.OBSERVE if record is None else record.role

    def redeem(self, public: bytes, now: float, by: str) -> InviteState:
        """Use an invite up; of any number of callers, in any processes, one alone finds it open.

        Args:
            public: The public half of the invite's key pair, in Z85.
            now: The time.
            by: The fingerprint of the key that is enrolled with it, for the record.

        Returns:
            The state found before: OPEN means that this call used it.

        Raises:
            KeyFileError: The invite's file is damaged or can't be changed.

        Example:
            ``if book.redeem(public, time.time(), fingerprint(client)) is InviteState.OPEN: authorized.add(…)``
        """
        found = self.state(public, now)
        if found is not InviteState.OPEN:
            return found
        used = self._path(public, "used")
        with explained(used, "write"):
            try:
                os.rename(self._path(public, "open"), used)
            except FileNotFoundError:
                return self.state(public, now)
            with used.open("a", encoding="utf-8") as file:
                file.write(f"used {now!r} {text_files.one_line(by)}\n")
        return InviteState.OPEN

    def sweep(self, now: float) -> int:
        """Delete the invites that were used or expired more than seven days ago, and the damaged ones.

        Args:
            now: The time.

        Returns:
            How many files were deleted.

        Raises:
            KeyFileError: A file can't be read or deleted.

        Example:
            ``book.sweep(time.time())``
        """
        deleted = 0
        for path in [*self.folder.glob("*.open"), *self.folder.glob("*.used")]:
            snapshot = text_files.read(path)
            if snapshot is None:
                continue
            record = _parse(snapshot.text)
            if record is not None and now - _ended(record) <= _KEEP_S:
                continue
            with explained(path, "delete"):
                path.unlink(missing_ok=True)
            deleted += 1
        return deleted

    def _path(self, public: bytes, state: str) -> Path:
        return self.folder / f"{hashlib.blake2b(raw_key(public), digest_size=16).hexdigest()}.{state}"


def _ended(record: _Record) -> float:
    return record.expires if record.used is None else min(record.used, record.expires)


def _parse(text: str) -> _Record | None:
    try:
        match [line.split() for line in text.split("\n") if line.strip()]:
            case [["public", kind, key], ["expires", expires], ["role", role], *used] if kind == KEY_TYPE:
                record = _Record(public_from_text(key), float(expires), _used(used), Role.named(role))
                return None if math.isnan(record.expires) else record
            case [["public", kind, key], ["expires", expires], *used] if kind == KEY_TYPE:
                record = _Record(public_from_text(key), float(expires), _used(used))
                return None if math.isnan(record.expires) else record
    except (ConfigurationError, ValueError):
        # None is how damage is told; the caller knows the file's name and says so.
        return None
    return None


def _used(lines: list[list[str]]) -> float | None:
    match lines:
        case [["used", when, *_]]:
            return float(when)
    return None
