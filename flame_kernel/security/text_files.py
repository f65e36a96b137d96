"""Small text files that only their owner may read: checked when read, replaced whole when written.

The rules of this module: reading creates nothing; a file is never seen half-written; a file that other users can
reach is refused rather than trusted; every failure is one line that names the file.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from flame_kernel.security.permissions import explained, require_private

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

Stamp: TypeAlias = tuple[int, int, int]

_COMMENT_LIMIT = 200


@dataclass(frozen=True)
class Snapshot:
    """What a file held, and the stamp that tells whether it still does.

    Attributes:
        text: The contents; bytes that aren't UTF-8 survive a rewrite as surrogates.
        stamp: Modification time in nanoseconds, size and inode.
    """

    text: str
    stamp: Stamp


def stamp(path: Path) -> Stamp | None:
    """Tell which state a file is in, without reading it.

    Args:
        path: The file.

    Returns:
        Its stamp, or None when there is no such file.

    Raises:
        KeyFileError: Other users can reach the file, or it can't be examined.

    Example:
        >>> stamp(Path("/nonexistent/authorized_keys")) is None
        True
    """
    with explained(path, "read"):
        try:
            status = path.stat()
        except FileNotFoundError:
            return None
    require_private(path, status)
    return _stamp_of(status)


def read(path: Path) -> Snapshot | None:
    """Read a file that only its owner may reach.

    Args:
        path: The file.

    Returns:
        Its contents, or None when there is no such file.

    Raises:
        KeyFileError: Other users can reach the file, or it can't be read.

    Example:
        >>> read(Path("/nonexistent/authorized_keys")) is None
        True
    """
    with explained(path, "read"):
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return None
        with file:
            # The open file is examined, not the path: what was checked is what is read, whoever renames meanwhile.
            status = os.fstat(file.fileno())
            require_private(path, status)
            raw = file.read()
    return Snapshot(raw.decode("utf-8-sig", "surrogateescape"), _stamp_of(status))


def write(path: Path, text: str) -> None:
    """Replace a file as a whole, readable by its owner alone from the first moment.

    Args:
        path: The file; where it is a symbolic link, the file it leads to. Its folder exists.
        text: The new contents.

    Raises:
        KeyFileError: The file can't be written.

    Example:
        ``write(folder / "known_hosts", "gpu1:9999 flame-curve25519 …")``
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    with explained(path, "write"):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        descriptor = os.open(temporary, flags, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode("utf-8", "surrogateescape"))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep every other thread and process that changes the same file waiting; readers don't wait.

    Args:
        path: The file about to be changed; its folder exists. The lock is a hidden file beside it, which stays.

    Raises:
        KeyFileError: The lock can't be taken, as on a file system without locks.

    Example:
        ``with locked(path): write(path, changed(read(path)))``
    """
    beside = path.with_name(f".{path.name}.lock")
    with explained(path, "lock"):
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        with explained(path, "lock"):
            if sys.platform == "win32":
                msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
            else:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        # Closing gives the lock back on every platform.
        os.close(descriptor)


def one_line(text: str) -> str:
    r"""Make any text fit to stand in a line of a file and on a terminal.

    Args:
        text: For instance the name that a client gives itself.

    Returns:
        The printable characters on one line, at most 200 of them.

    Example:
        >>> one_line("ann@laptop\nadmin \x1b[2J")
        'ann@laptop admin [2J'
    """
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_COMMENT_LIMIT].rstrip()


def _stamp_of(status: os.stat_result) -> Stamp:
    return status.st_mtime_ns, status.st_size, status.st_ino
