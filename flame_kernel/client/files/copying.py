"""Copying files and trees from one end to the other, whichever of them is the remote one.

Either end may be hostile: what they say is checked before it's used (``told.py``), and names by the end that writes.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from flame_kernel.client.files import told
from flame_kernel.errors import TransferError
from flame_kernel.files import tree
from flame_kernel.files.chunks import CHUNK
from flame_kernel.files.ends import End, Reply
from flame_kernel.files.names import tag
from flame_kernel.protocol.calls import Operation

# Pieces whose checksums are compared at a time.
SUMS_AT_A_TIME = 32

# File systems keep times more or less exactly; what differs by less than this may be the same, in ns.
_SAME_TIME_NS = 2_000_000_000


@dataclass(frozen=True)
class CopyResult:
    """What was copied.

    Attributes:
        files: How many files.
        bytes: How many bytes they have together.
        found: How many of these bytes were there already: of a copy that ended early, or of files that are the same.
        skipped: What was left out: links, on demand, and what is neither file nor folder.
    """

    files: int = 0
    bytes: int = 0
    found: int = 0
    skipped: tuple[str, ...] = ()


class Meter:
    """Is told how a copy goes on; this one does not care."""

    def expect(self, count: int) -> None:
        """So many bytes are to be copied."""

    def advance(self, count: int) -> None:
        """So many bytes more have arrived, or were there already."""


@dataclass(frozen=True)
class _File:
    """A file to be copied: where from, where to, and what it's like."""

    base: str
    name: str
    root: str
    target: str
    size: int
    changed_ns: int
    mode: int

    @property
    def stamp(self) -> list[int]:
        return [self.size, self.changed_ns]


@dataclass
class _Plan:
    """What one source comes to, by what has to be done."""

    root: str
    folders: list[str] = field(default_factory=list)
    files: list[_File] = field(default_factory=list)
    links: list[list[str]] = field(default_factory=list)
    kept: dict[str, list[int]] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)


def copy(source: End, sink: End, patterns: Sequence[str], destination: str, links: str, meter: Meter) -> CopyResult:
    """Copy files and folders.

    Args:
        source: Where from.
        sink: Where to.
        patterns: What, as the user named it.
        destination: Where to; see :meth:`flame_kernel.client.flame.Flame.put`.
        links: What to do with symbolic links: ``keep``, ``follow`` or ``skip``.
        meter: Is told how it goes on.

    Returns:
        What was copied.

    Raises:
        OSError: A file system refuses; of the class that fits.
        TransferError: A file changed meanwhile, or would be written outside of the destination.
        ProtocolError: The source's end answers nonsense.
    """
    if links not in (tree.KEEP, tree.FOLLOW, tree.SKIP):
        raise ValueError(f"links must be 'keep', 'follow' or 'skip', not {links!r}")
    sources = [
        one
        for pattern in patterns
        for one in told.sources(source.ask(Operation.FIND, pattern, links).value, source.where)
    ]
    target = told.target(sink.ask(Operation.WHERE, destination).value, sink.where)
    plans = [_plan(one, target, many=one.several or len(sources) > 1) for one in sources]
    files = [file for plan in plans for file in plan.files]
    total = sum(file.size for file in files)
    meter.expect(total)
    there = sum(_carry_out(source, sink, plan, meter) for plan in plans)
    return CopyResult(len(files), total, there, tuple(name for plan in plans for name in plan.skipped))


def _plan(source: told.Source, target: told.Target, many: bool) -> _Plan:
    into = many or (target.slash and not source.slash)
    if source.is_file:
        into = many or target.slash or target.kind == tree.FOLDER
        plan = _Plan(target.path if into else target.folder, [""] if into else [])
        _add(plan, source, source.entries[0], source.name if into else target.name)
        return plan
    plan = _Plan(target.path, [""])
    prefix = source.name if into else ""
    for entry in source.entries:
        _add(plan, source, entry, "/".join(part for part in (prefix, entry.name) if part))
    return plan


def _add(plan: _Plan, source: told.Source, entry: told.Entry, name: str) -> None:
    if entry.kind == tree.FOLDER:
        if name:
            plan.folders.append(name)
        plan.kept[name] = [entry.mode, entry.changed_ns]
    elif entry.kind == tree.FILE:
        stamp = (entry.size, entry.changed_ns)
        plan.files.append(_File(source.base, entry.name, plan.root, name, *stamp, entry.mode))
    elif entry.kind == tree.LINK:
        plan.links.append([name, entry.points_to])
    else:
        plan.skipped.append(f"{source.base}/{entry.name}")


def _carry_out(source: End, sink: End, plan: _Plan, meter: Meter) -> int:
    made: set[str] = set()
    if plan.folders:
        made.update(told.strings(sink.ask(Operation.FOLDERS, plan.root, plan.folders).value, sink.where))
    for file in plan.files:
        if file.size <= CHUNK:
            _copy_small(source, sink, file, meter)
    source.drain()
    sink.drain()
    there = sum(_copy_large(source, sink, file, meter) for file in plan.files if file.size > CHUNK)
    if plan.links:
        sink.ask(Operation.LINKS, plan.root, plan.links)
    # The inner ones first: what is done inside a folder changes its time. The destination itself keeps what it has if
    # it was there: a home folder must not get the permissions of what is copied into it.
    kept = (name for name in reversed(plan.folders) if name in plan.kept and (name or name in made))
    settled = [[name, *plan.kept[name]] for name in kept]
    if settled:
        sink.ask(Operation.SETTLE, plan.root, settled)
    return there


def _copy_small(source: End, sink: End, file: _File, meter: Meter) -> None:
    def save(read: Reply) -> None:
        content = _require(read, file, file.size)
        operands = (file.root, file.target, file.mode, file.changed_ns, read.value)
        sink.post(Operation.SAVE, *operands, data=content, weight=file.size, then=lambda _: meter.advance(file.size))

    source.post(Operation.READ, file.base, file.name, 0, file.size, file.stamp, weight=file.size, then=save)


def _copy_large(source: End, sink: End, file: _File, meter: Meter) -> int:
    """Copy a file of more than one piece; returns how much of it was there already."""
    sign = tag(source.where or socket.gethostname(), file.base, file.name, file.stamp, file.root, file.target)
    place = (file.root, file.target, sign)
    before = told.before(sink.ask(Operation.BEGIN, *place, file.size, True).value, sink.where)
    old = before.old
    if old is not None and old[0] == file.size and abs(old[1] - file.changed_ns) < _SAME_TIME_NS:
        wholly = range(_pieces(file.size))
        if len(_same(source, sink, file, "", wholly)) == len(wholly):
            sink.ask(Operation.DISCARD, *place)
            meter.advance(file.size)
            return file.size
    there = 0
    for batch in _batches(file.size):
        whole = [piece for piece in batch if _end(piece, file.size) <= before.here]
        same = _same(source, sink, file, sign, range(whole[0], whole[-1] + 1)) if whole else frozenset()
        for piece in batch:
            length = _end(piece, file.size) - piece * CHUNK
            if piece in same:
                there += length
                meter.advance(length)
            else:
                _copy_piece(source, sink, file, place, piece * CHUNK, length, partial(meter.advance, length))
    source.drain()
    sink.drain()
    _require_unchanged(source, sink, file, sign)
    sink.ask(Operation.FINISH, *place, file.size, file.mode, file.changed_ns)
    return there


def _require_unchanged(source: End, sink: End, file: _File, sign: str) -> None:
    """Make sure that what was copied of a file that grew meanwhile is still what it begins with."""
    now = told.target(source.ask(Operation.WHERE, f"{file.base}/{file.name}").value, source.where)
    if now.stamp is None or list(now.stamp) != file.stamp:
        whole = range(file.size // CHUNK)
        if len(_same(source, sink, file, sign, whole)) < len(whole):
            raise TransferError(f"{file.base}/{file.name} changed while it was copied; copy it again")


def _copy_piece(
    source: End,
    sink: End,
    file: _File,
    place: tuple[str, str, str],
    offset: int,
    length: int,
    written: Callable[[], None],
) -> None:
    def write(read: Reply) -> None:
        content = _require(read, file, length)
        sink.post(Operation.WRITE, *place, offset, read.value, data=content, weight=length, then=lambda _: written())

    source.post(Operation.READ, file.base, file.name, offset, length, file.stamp, weight=length, then=write)


def _require(read: Reply, file: _File, length: int) -> Any:
    if len(read.data) != length:
        raise TransferError(f"a piece of {file.name} came with another length than it should; copy it again")
    return read.data


def _same(source: End, sink: End, file: _File, sign: str, pieces: range) -> frozenset[int]:
    """Return which pieces are the same at both ends."""
    same: set[int] = set()
    for first in range(pieces.start, pieces.stop, SUMS_AT_A_TIME):
        count = min(SUMS_AT_A_TIME, pieces.stop - first)
        ours: list[Reply] = []
        source.post(Operation.SUMS, file.base, file.name, None, first, count, then=ours.append)
        theirs = told.strings(sink.ask(Operation.SUMS, file.root, file.target, sign, first, count).value, sink.where)
        source.drain()
        pairs = zip(told.strings(ours[0].value, source.where), theirs, strict=False)
        same.update(first + index for index, (one, other) in enumerate(pairs) if one == other)
    return frozenset(same)


def _pieces(size: int) -> int:
    return -(-size // CHUNK)


def _end(piece: int, size: int) -> int:
    return min((piece + 1) * CHUNK, size)


def _batches(size: int) -> Iterator[range]:
    count = _pieces(size)
    for first in range(0, count, SUMS_AT_A_TIME):
        yield range(first, min(first + SUMS_AT_A_TIME, count))
