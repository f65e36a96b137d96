"""What the ends of a copy say, with everything of the type it must have: the other end may be hostile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flame_kernel.errors import ProtocolError
from flame_kernel.files import tree

_WRONG = (TypeError, ValueError, KeyError, AttributeError, OverflowError)


@dataclass(frozen=True)
class Entry:
    """Something in a source, by its name relative to the source's base."""

    name: str
    kind: str
    size: int
    changed_ns: int
    mode: int
    points_to: str


@dataclass(frozen=True)
class Source:
    """What FIND found; see :func:`flame_kernel.files.tree.find`."""

    base: str
    name: str
    is_file: bool
    slash: bool
    several: bool
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Target:
    """What WHERE said; see :func:`flame_kernel.files.tree.where`."""

    path: str
    kind: str
    slash: bool
    folder: str
    name: str
    stamp: tuple[int, int] | None


@dataclass(frozen=True)
class Before:
    """What BEGIN found; see :func:`flame_kernel.files.landing.begin`."""

    here: int
    old: tuple[int, int] | None


def sources(value: Any, where: str) -> list[Source]:
    """Read what FIND answered.

    Raises:
        ProtocolError: It makes no sense.
    """
    try:
        found = [_source(told) for told in value]
    except _WRONG as error:
        raise ProtocolError(f"a list of files came from {where} that can't be read") from error
    for source in found:
        if any(entry.size < 0 for entry in source.entries) or (source.is_file and len(source.entries) != 1):
            raise ProtocolError(f"a list of files came from {where} that makes no sense")
    return found


def target(value: Any, where: str) -> Target:
    """Read what WHERE answered.

    Raises:
        ProtocolError: It makes no sense.
    """
    try:
        names = [str(value[name]) for name in ("path", "kind", "folder", "name")]
        return Target(names[0], names[1], bool(value["slash"]), names[2], names[3], _stamp(value["stamp"]))
    except _WRONG as error:
        raise ProtocolError(f"an answer about a path came from {where} that can't be read") from error


def before(value: Any, where: str) -> Before:
    """Read what BEGIN answered.

    Raises:
        ProtocolError: It makes no sense.
    """
    try:
        return Before(int(value["here"]), _stamp(value["old"]))
    except _WRONG as error:
        raise ProtocolError(f"an answer about a file came from {where} that can't be read") from error


def strings(value: Any, where: str) -> list[str]:
    """Read a list of names or checksums.

    Raises:
        ProtocolError: It makes no sense.
    """
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ProtocolError(f"an answer about files came from {where} that can't be read")
    return value


def _source(told: Any) -> Source:
    entries = tuple(
        Entry(str(name), str(kind), int(size), int(changed), int(mode), str(points_to))
        for name, kind, size, changed, mode, points_to in told["entries"]
    )
    is_file = told["kind"] == tree.FILE
    return Source(str(told["base"]), str(told["name"]), is_file, bool(told["slash"]), bool(told["several"]), entries)


def _stamp(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    size, changed_ns = value
    return int(size), int(changed_ns)
