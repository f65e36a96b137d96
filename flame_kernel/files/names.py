"""Names of what is copied: what may be written under a folder, and what leads out of it.

A name that came from the other end is made of components between ``/``. It's looked at here before anything is done
with it, so that a hostile end can't have us write beside the folder that the user named.

This module is loaded inside sessions too: standard library and Python 3.9.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence

from flame_kernel.errors import UnsafePath

_WINDOWS = os.name == "nt"

# What Windows takes for something else than a name: drives, streams, devices, wildcards.
_WINDOWS_CHARACTERS = frozenset('<>:"|?*\\')
_WINDOWS_DEVICES = frozenset(
    ["CON", "PRN", "AUX", "NUL", *(f"COM{digit}" for digit in range(10)), *(f"LPT{digit}" for digit in range(10))]
)

# What is on its way stands beside its destination under a name that begins with a dot and ends like this.
PARTIAL = ".flame-part"

# File systems allow 255 bytes; this leaves room for what is put around a name.
_STEM_BYTES = 200


def inside(relative: str, windows: bool = _WINDOWS) -> tuple[str, ...]:
    """Take a relative name apart, and refuse one that could lead out of the folder it's relative to.

    Args:
        relative: Components between ``/``; empty for the folder itself.
        windows: Whether Windows' rules hold as well.

    Returns:
        The components.

    Raises:
        UnsafePath: A component is empty, ``.`` or ``..``, or means something else than a name.

    Example:
        >>> inside("results/run 1.csv")
        ('results', 'run 1.csv')
        >>> inside("../.bashrc")
        Traceback (most recent call last):
            ...
        flame_kernel.errors.UnsafePath: '../.bashrc' would lead out of its folder; nothing is written there
    """
    if not isinstance(relative, str):
        raise UnsafePath("a file came without a name; nothing is written")
    if not relative:
        return ()
    parts = tuple(relative.split("/"))
    for part in parts:
        if part in ("", ".", "..") or "\0" in part or os.sep in part or (windows and _odd_on_windows(part)):
            raise UnsafePath(f"{relative!r} would lead out of its folder; nothing is written there")
    return parts


def leads_out(link: Sequence[str], target: str) -> bool:
    """Tell whether a symbolic link points to somewhere outside the tree that it stands in.

    Args:
        link: The components of the link's own name in the tree.
        target: Where it points.

    Example:
        >>> leads_out(("a", "latest"), "../b/run1"), leads_out(("latest",), "../secret")
        (False, True)
    """
    if not target or os.path.isabs(target) or target[0] in "/\\" or (_WINDOWS and os.path.splitdrive(target)[0]):
        return True
    depth = len(link) - 1
    for part in target.replace(os.sep, "/").split("/"):
        if part == "..":
            depth -= 1
        elif part not in ("", "."):
            depth += 1
        if depth < 0:
            return True
    return False


def resolve(root: str, relative: str) -> str:
    """Return where a name under a folder is, having made sure that no link stands in between.

    Args:
        root: The folder; the user named it, so it may be a link itself.
        relative: The name, as :func:`inside` takes it.

    Returns:
        The path.

    Raises:
        UnsafePath: The name leads out of the folder, by itself or through a link.
    """
    parts = inside(relative)
    path = root
    for part in parts[:-1]:
        path = os.path.join(path, part)
        try:
            is_link = stat.S_ISLNK(os.lstat(path).st_mode)
        except OSError:
            break  # whatever is wrong with it shows when it is used
        if is_link:
            raise UnsafePath(f"{path} is a link, and nothing is written through a link that stands in the destination")
    return os.path.join(root, *parts)


def partial(path: str, tag: str) -> str:
    """Return where a file stands while it's on its way.

    Args:
        path: Where it will stand.
        tag: What tells one source from another, in hexadecimal digits: what is continued must be of the same source.

    Raises:
        UnsafePath: The tag is none.
    """
    if not tag.isalnum() or not tag.isascii() or len(tag) > 64:
        raise UnsafePath("a copy came with a tag that is none; nothing is written")
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{_stem(name)}.{tag}{PARTIAL}")


def is_partial_of(candidate: str, name: str) -> bool:
    """Tell whether a file name is that of a partial file of another one."""
    return candidate.startswith(f".{_stem(name)}.") and candidate.endswith(PARTIAL)


def tag(*identity: object) -> str:
    """Return a tag for what a file is copied from."""
    return hashlib.sha256(repr(identity).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _stem(name: str) -> str:
    while len(os.fsencode(name)) > _STEM_BYTES:
        name = name[:-1]
    return name


def _odd_on_windows(part: str) -> bool:
    return (
        not _WINDOWS_CHARACTERS.isdisjoint(part)
        or any(ord(character) < 32 for character in part)
        or part[-1] in ". "
        or part.partition(".")[0].rstrip().upper() in _WINDOWS_DEVICES
    )
