"""How a file comes to stand at its destination: whole or not at all, and never outside the folder it belongs to.

What is on its way stands beside its destination under a name that tells what it is made from (``names.partial``). Only
when it's complete does it take the destination's name, by one rename. What was left by a copy that ended early is
found by its name and continued.

This module is loaded inside sessions too: standard library and Python 3.9.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from flame_kernel.buffers import Buffer
from flame_kernel.errors import TransferError, UnsafePath
from flame_kernel.files import chunks
from flame_kernel.files.names import inside, is_partial_of, leads_out, partial, resolve

_CREATE = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)

# A partial file that nobody continued for so long goes when the next copy to the same destination begins, in seconds.
_STALE_S = 7 * 24 * 3600.0


def begin(root: str, name: str, tag: str, size: int, private: bool) -> dict[str, Any]:
    """Make ready for a file.

    Args:
        root: The folder that nothing may leave.
        name: The file's name in it.
        tag: Tells what it is copied from.
        size: How large it will be, in bytes.
        private: Whether only this user may read it while it's on its way; its mode comes later.

    Returns:
        ``here``: how many bytes of it are here from an earlier attempt, and ``old``: size and time of change of the
        file at its destination, or ``None``.

    Raises:
        OSError: There's a folder of that name, no permission, or no space.
    """
    path = resolve(root, name)
    info = _look(path)
    way = partial(path, tag)
    with _naming(path):
        _sweep(path, way)
        descriptor = os.open(way, _CREATE, 0o600 if private else 0o666)
        try:
            here = os.fstat(descriptor).st_size
            if here > size:
                os.ftruncate(descriptor, size)
                here = size
        finally:
            os.close(descriptor)
        free = shutil.disk_usage(os.path.dirname(path)).free
        if free < size - here:
            if not here:
                os.unlink(way)
            raise OSError(errno.ENOSPC, f"no space: {size - here:,} bytes are to come, and {free:,} are free", path)
    old = None if info is None or not stat.S_ISREG(info.st_mode) else [info.st_size, info.st_mtime_ns]
    return {"here": here, "old": old}


def write(root: str, name: str, tag: str, offset: int, digest: str, data: Buffer) -> None:
    """Write a piece of a file that is on its way."""
    path = resolve(root, name)
    with _naming(path):
        chunks.write(partial(path, tag), offset, data, digest)


def sums(root: str, name: str, tag: str, first: int, count: int) -> list[str]:
    """Return checksums of what is here of a file: of what is on its way, or without a tag of the file itself."""
    path = resolve(root, name)
    return chunks.sums(partial(path, tag) if tag else path, first, count)


def finish(root: str, name: str, tag: str, size: int, mode: int | None, changed_ns: int | None) -> None:
    """Let a complete file take its place.

    Args:
        root: The folder that nothing may leave.
        name: The file's name in it.
        tag: Tells what it was copied from.
        size: How large it must be.
        mode: Its permissions; ``None`` for those of the file it replaces, else what new files get.
        changed_ns: Its time of change, in ns; ``None`` for now.

    Raises:
        TransferError: It isn't complete.
    """
    path = resolve(root, name)
    way = partial(path, tag)
    with _naming(path):
        if os.lstat(way).st_size != size:
            raise TransferError(f"{path} did not arrive whole; copy it again")
        _place(way, path, mode, changed_ns)


def save(root: str, name: str, mode: int | None, changed_ns: int | None, digest: str, data: Buffer) -> None:
    """Put a small file in its place, whole or not at all; see :func:`finish`."""
    path = resolve(root, name)
    _look(path)
    way = partial(path, secrets.token_hex(8))
    with _naming(path):
        os.close(os.open(way, _CREATE | os.O_EXCL, 0o666 if mode is None else 0o600))
        try:
            chunks.write(way, 0, data, digest)
            _place(way, path, mode, changed_ns)
        except BaseException:
            with suppress(OSError):
                os.unlink(way)
            raise


def discard(root: str, name: str, tag: str) -> None:
    """Let go of what is here of a file that was on its way."""
    with suppress(FileNotFoundError):
        os.unlink(partial(resolve(root, name), tag))


def folders(root: str, names: Sequence[str]) -> list[str]:
    """Make folders that aren't there.

    Args:
        root: The folder that nothing may leave.
        names: Their names in it, each after the one it is in; empty for the root, which is made with all above it.

    Returns:
        The names of those that were made.
    """
    made = []
    for name in names:
        path = resolve(root, name)
        try:
            if name:
                os.mkdir(path)
            else:
                os.makedirs(path)
        except FileExistsError:
            if name:
                resolve(root, f"{name}/_")  # refuses a link
            if not os.path.isdir(path):
                raise NotADirectoryError(errno.ENOTDIR, "a folder is to be here, and there is a file", path) from None
        else:
            made.append(name)
    return made


def links(root: str, pairs: Sequence[Sequence[str]]) -> None:
    """Make symbolic links.

    Args:
        root: The folder that nothing may leave.
        pairs: Name and target of each.

    Raises:
        UnsafePath: One leads out of the folder.
    """
    for name, target in pairs:
        path = resolve(root, name)
        if leads_out(inside(name), target):
            raise UnsafePath(f"{path} would be a link to {target}, outside of what is copied; it is not made")
        way = partial(path, secrets.token_hex(8))
        os.symlink(target, way)
        try:
            os.replace(way, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(way)
            raise


def settle(root: str, entries: Sequence[Sequence[Any]]) -> None:
    """Give folders their permissions and times, now that nothing is written into them any more.

    Args:
        root: The folder that nothing may leave.
        entries: Name, permissions and time of change in ns of each, the inner ones first.
    """
    for name, mode, changed_ns in entries:
        # Looked at as one that something is in, so that a link is refused.
        path = os.path.dirname(resolve(root, f"{name}/_")) if name else root
        os.chmod(path, mode & 0o777)
        os.utime(path, ns=(changed_ns, changed_ns))


def _look(path: str) -> os.stat_result | None:
    """Return what stands at a destination, having made sure that a file can take its place."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "no such folder (end the destination with / to have it made)", folder)
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(info.st_mode):
        raise IsADirectoryError(errno.EISDIR, "there is a folder of that name", path)
    return info


@contextmanager
def _naming(path: str) -> Iterator[None]:
    """Have errors name the destination: that of the partial file would tell the user nothing."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), path) from error


def _place(way: str, path: str, mode: int | None, changed_ns: int | None) -> None:
    if mode is None:
        with suppress(FileNotFoundError):
            os.chmod(way, stat.S_IMODE(os.stat(path).st_mode) & 0o777)
    else:
        os.chmod(way, mode & 0o777)
    if changed_ns is not None:
        os.utime(way, ns=(changed_ns, changed_ns))
    os.replace(way, path)


def _sweep(path: str, way: str) -> None:
    """Remove partial files of the same destination that nobody has continued for long."""
    folder, name = os.path.split(path)
    with suppress(FileNotFoundError), os.scandir(folder) as found:
        for other in found:
            if is_partial_of(other.name, name) and other.path != way:
                with suppress(FileNotFoundError):
                    if time.time() - other.stat(follow_symlinks=False).st_mtime > _STALE_S:
                        os.unlink(other.path)
