"""What there is to copy: patterns to sources, folders to what is in them.

This module is loaded inside sessions too: standard library and Python 3.9.
"""

from __future__ import annotations

import errno
import glob
import os
import stat
from collections.abc import Iterator
from typing import Any

from flame_kernel.errors import TransferError
from flame_kernel.files.names import inside, leads_out

FILE, FOLDER, LINK, OTHER = "file", "folder", "link", "other"

# What to do with symbolic links: copy the link, copy what it points to, leave it out.
KEEP, FOLLOW, SKIP = "keep", "follow", "skip"

# [relative name, kind, size, time of change in ns, mode, where a link points]
Entry = list[Any]


def find(pattern: str, links: str) -> list[dict[str, Any]]:
    """Find what a user named.

    Args:
        pattern: A path; ``~`` and wildcards are expanded, unless something has just that name.
        links: What to do with links in folders; what the user named is followed.

    Returns:
        For each match: ``base`` (a folder), ``name``, ``kind``, ``slash`` (whether it was written with a slash at the
        end), ``several`` (whether wildcards found it), and ``entries``: relative to ``base``, which for a folder is
        that folder itself.

    Raises:
        FileNotFoundError: Nothing has that name.
        TransferError: It's neither file nor folder, or a link in it leads out of it.
    """
    expanded = os.path.expanduser(pattern)
    paths = [expanded]
    several = glob.has_magic(expanded) and not os.path.lexists(expanded)
    if several:
        paths = sorted(glob.glob(expanded, recursive=True))
        if not paths:
            raise FileNotFoundError(errno.ENOENT, "nothing matches", pattern)
    slash = pattern.endswith(("/", os.sep))
    return [{**_source(path, slash, links), "several": several} for path in paths]


def where(destination: str) -> dict[str, Any]:
    """Return what a path is: ``path``, ``kind`` (empty when nothing is there), ``slash``, ``folder``, ``name``.

    ``stamp`` is the size and the time of change of a file that has them.

    Args:
        destination: A path; ``~`` is expanded.
    """
    path = os.path.abspath(os.path.expanduser(destination))
    kind = FOLDER if os.path.isdir(path) else FILE if os.path.lexists(path) else ""
    folder, name = os.path.split(path)
    slash = destination.endswith(("/", os.sep)) or destination in ("", ".", "..", "~")
    stamp = None
    if os.path.isfile(path):
        info = os.stat(path)
        stamp = [info.st_size, info.st_mtime_ns]
    return {"path": path, "kind": kind, "slash": slash, "folder": folder, "name": name, "stamp": stamp}


def join(base: str, relative: str) -> str:
    """Return the path of an entry."""
    return os.path.join(base, *inside(relative))


def _source(path: str, slash: bool, links: str) -> dict[str, Any]:
    path = os.path.abspath(path)
    folder, name = os.path.split(path)
    info = os.stat(path)
    kind = _kind(info)
    if kind == OTHER:
        raise TransferError(f"{path} is neither a file nor a folder, and can't be copied")
    if kind == FILE and slash:
        raise NotADirectoryError(errno.ENOTDIR, "it is a file, not a folder", path)
    if kind == FILE:
        return {"base": folder, "name": name, "kind": kind, "slash": False, "entries": [_entry(name, info)]}
    entries = [_entry("", info), *_walk(path, links)]
    return {"base": path, "name": name, "kind": kind, "slash": slash, "entries": entries}


def _walk(top: str, links: str) -> Iterator[Entry]:
    # A folder to look into, its name, and the folders above it, by which a circle of links is known.
    due: list[tuple[str, str, frozenset[tuple[int, int]]]] = [(top, "", frozenset())]
    while due:
        path, prefix, above = due.pop()
        info = os.stat(path)
        here = (info.st_dev, info.st_ino)
        if links == FOLLOW and here in above:
            raise OSError(errno.ELOOP, "links lead in a circle", path)
        with os.scandir(path) as found:
            children = sorted(found, key=lambda child: child.name)
        for child in children:
            name = f"{prefix}{child.name}"
            if child.is_symlink() and links != FOLLOW:
                yield _link(child.path, name, links)
                continue
            entry = _entry(name, os.stat(child.path))
            yield entry
            if entry[1] == FOLDER:
                due.append((child.path, f"{name}/", above | {here}))


def _link(path: str, name: str, links: str) -> Entry:
    if links == SKIP:
        return [name, OTHER, 0, 0, 0, ""]
    target = os.readlink(path)
    if leads_out(name.split("/"), target):
        raise TransferError(
            f"{path} is a link to {target}, which is outside of what is copied; choose links='follow' to copy what "
            "links point to, or links='skip' to leave them out"
        )
    return [name, LINK, 0, 0, 0, target]


def _entry(name: str, info: os.stat_result) -> Entry:
    return [name, _kind(info), info.st_size, info.st_mtime_ns, stat.S_IMODE(info.st_mode) & 0o777, ""]


def _kind(info: os.stat_result) -> str:
    if stat.S_ISREG(info.st_mode):
        return FILE
    return FOLDER if stat.S_ISDIR(info.st_mode) else OTHER
