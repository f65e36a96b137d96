"""Whether other users can reach a file or folder, and how to say so in one line with the command that mends it."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from flame_kernel.errors import KeyFileError


@contextlib.contextmanager
def explained(path: Path, verb: str) -> Iterator[None]:
    """Turn what the operating system refuses into one line that names the file.

    Args:
        path: The file in question.
        verb: What is being done to it: "read", "write", …

    Raises:
        KeyFileError: In place of any OSError.

    Example:
        ``with explained(path, "read"): path.read_bytes()``
    """
    try:
        yield
    except OSError as problem:
        raise KeyFileError(f"can't {verb} {path}: {problem.strerror or problem}") from problem


def require_owner(path: Path, status: os.stat_result, mode: str = "600") -> None:
    """Refuse what another user owns; POSIX only, elsewhere the user's profile folder protects its files.

    Args:
        path: The file or folder, for the message.
        status: What the system says about it.
        mode: The mode that the message tells the user to set.

    Raises:
        KeyFileError: Another user owns it.

    Example:
        ``require_owner(path, path.lstat())``
    """
    if sys.platform != "win32" and status.st_uid != os.geteuid():
        quoted = shlex.quote(str(path))
        raise KeyFileError(
            f"{path} belongs to another user (uid {status.st_uid}): remove it, or take it over with "
            f"`sudo chown {os.geteuid()} {quoted} && chmod {mode} {quoted}`"
        )


def require_private(path: Path, status: os.stat_result, mode: str = "600") -> None:
    """Refuse what other users could have read or planted; POSIX only, as :func:`require_owner`.

    Args:
        path: The file or folder, for the message.
        status: What the system says about it.
        mode: The mode that the message tells the user to set.

    Raises:
        KeyFileError: Another user owns it, or group or others have any access to it.

    Example:
        ``require_private(path, path.stat())``
    """
    require_owner(path, status, mode)
    if os.name == "posix" and status.st_mode & 0o077:
        raise KeyFileError(f"{path} is open to other users: close it with `chmod {mode} {shlex.quote(str(path))}`")
