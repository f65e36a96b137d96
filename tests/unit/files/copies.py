"""What the tests of copies share: an end that is watched, a meter, a tree to copy."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flame_kernel.client.files.copying import CopyResult, Meter, copy
from flame_kernel.files.ends import LocalEnd, Reply
from flame_kernel.protocol.calls import Operation

# What answers are made of.
KEYS = ["base", "name", "kind", "slash", "several", "entries", "path", "folder", "stamp", "here", "old"]


class Spy(LocalEnd):
    """An end that tells what it was asked, and may do something else instead."""

    def __init__(self, instead: Callable[[Operation, tuple[Any, ...]], Reply | None] | None = None) -> None:
        self.asked: list[Operation] = []
        self._instead = instead

    def ask(self, operation: Operation, *operands: Any, data: Any = None) -> Reply:
        self.asked.append(operation)
        if self._instead is not None and (told := self._instead(operation, operands)) is not None:
            return told
        return super().ask(operation, *operands, data=data)


class Count(Meter):
    def __init__(self) -> None:
        self.expected = self.arrived = 0

    def expect(self, count: int) -> None:
        self.expected = count

    def advance(self, count: int) -> None:
        self.arrived += count


def go(
    named: Path | str | list[str], target: Path | str, links: str = "keep", *, source: Any = None, sink: Any = None
) -> CopyResult:
    count = Count()
    patterns = named if isinstance(named, list) else [str(named)]
    done = copy(source or LocalEnd(), sink or LocalEnd(), patterns, str(target), links, count)
    assert count.arrived == count.expected == done.bytes
    return done


def tree_of(folder: Path) -> dict[str, Any]:
    """Return all that is in a folder, with content, permissions and times."""
    found = {}
    for path in sorted(folder.rglob("*")):
        info = path.lstat()
        kept = (stat.S_IMODE(info.st_mode), info.st_mtime_ns)
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = os.readlink(path)
        else:
            found[name] = (*kept, path.read_bytes() if path.is_file() else None)
    return found
