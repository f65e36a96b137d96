"""Files as a script sends and fetches them: whole contents, and files and folders on disk."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress

from flame_kernel.buffers import Buffer
from flame_kernel.client.calls.remote_end import RemoteEnd
from flame_kernel.client.connection import Connection
from flame_kernel.client.files import told
from flame_kernel.client.files.copying import SUMS_AT_A_TIME, CopyResult, copy
from flame_kernel.client.files.progress import meter
from flame_kernel.errors import FlameError, TransferError
from flame_kernel.files import tree
from flame_kernel.files.chunks import CHUNK, digest
from flame_kernel.files.ends import LocalEnd, Reply
from flame_kernel.protocol.calls import Operation

Path = str | os.PathLike[str]


def put(
    connection: Connection,
    local: Path | Sequence[Path],
    remote: str,
    links: str,
    progress: bool | None,
    timeout: float | None,
) -> CopyResult:
    """Copy to the session's host; see :meth:`flame_kernel.client.flame.Flame.put`."""
    patterns = _patterns(local)
    with meter(_label(patterns), progress) as shown, connection.copying(timeout) as there:
        return copy(LocalEnd(), there, patterns, os.fspath(remote), links, shown)


def get(
    connection: Connection,
    remote: Path | Sequence[Path],
    local: Path,
    links: str,
    progress: bool | None,
    timeout: float | None,
) -> CopyResult:
    """Copy from the session's host; see :meth:`flame_kernel.client.flame.Flame.get`."""
    patterns = _patterns(remote)
    with meter(_label(patterns), progress) as shown, connection.copying(timeout) as there:
        return copy(there, LocalEnd(), patterns, os.fspath(local), links, shown)


def send(connection: Connection, name: str, data: Buffer, timeout: float | None) -> None:
    """Write a file over there; see :meth:`flame_kernel.client.flame.Flame.sendfile`."""
    content = memoryview(data).cast("B") if len(data) else memoryview(b"")
    with connection.copying(timeout) as there:
        target = told.target(there.ask(Operation.WHERE, name).value, there.where)
        folder, last = target.folder, target.name
        if target.kind == tree.FOLDER or name.endswith("/"):
            raise IsADirectoryError(errno.EISDIR, f"it is a folder on {there.where}", name)
        if content.nbytes <= CHUNK:
            there.ask(Operation.SAVE, folder, last, None, None, digest(content), data=content)
            return
        place = (folder, last, secrets.token_hex(8))
        try:
            there.ask(Operation.BEGIN, *place, content.nbytes, False)
            for offset in range(0, content.nbytes, CHUNK):
                piece = content[offset : offset + CHUNK]
                there.post(Operation.WRITE, *place, offset, digest(piece), data=piece, weight=piece.nbytes)
            there.drain()
            there.ask(Operation.FINISH, *place, content.nbytes, None, None)
        except (FlameError, OSError):
            with suppress(FlameError, OSError):  # what went wrong first is what counts
                there.ask(Operation.DISCARD, *place)
            raise


def fetch(connection: Connection, name: str, timeout: float | None) -> bytes:
    """Return a file's content; see :meth:`flame_kernel.client.flame.Flame.getfile`."""
    with connection.copying(timeout) as there:
        found = told.target(there.ask(Operation.WHERE, name).value, there.where)
        if not found.kind:
            raise FileNotFoundError(errno.ENOENT, f"there is no such file on {there.where}", name)
        if found.kind == tree.FOLDER:
            raise IsADirectoryError(errno.EISDIR, f"it is a folder on {there.where}; get() copies folders", name)
        if found.stamp is None:
            raise TransferError(f"{name} on {there.where} is neither a file nor a folder")
        place = (found.folder, found.name)
        size = found.stamp[0]
        if not size:
            return _until_its_end(there, place)
        pieces: dict[int, Reply] = {}
        for offset in range(0, size, CHUNK):
            length = min(CHUNK, size - offset)
            there.post(
                Operation.READ, *place, offset, length, found.stamp, weight=length, then=_keep(pieces, offset, length)
            )
        there.drain()
        read = [pieces[offset] for offset in sorted(pieces)]
        _require_unchanged(there, name, found, [piece.value for piece in read if len(piece.data) == CHUNK])
    return b"".join(piece.data for piece in read)


def _require_unchanged(there: RemoteEnd, name: str, before: told.Target, sums: Sequence[str]) -> None:
    """Make sure that what was fetched of a file that grew meanwhile is still what it begins with."""
    if told.target(there.ask(Operation.WHERE, name).value, there.where).stamp == before.stamp:
        return
    now: list[str] = []
    for first in range(0, len(sums), SUMS_AT_A_TIME):
        count = min(SUMS_AT_A_TIME, len(sums) - first)
        asked = there.ask(Operation.SUMS, before.folder, before.name, None, first, count)
        now += told.strings(asked.value, there.where)
    if now != list(sums):
        raise TransferError(f"{name} on {there.where} changed while it was fetched; fetch it again")


def _keep(pieces: dict[int, Reply], offset: int, length: int) -> Callable[[Reply], None]:
    def keep(read: Reply) -> None:
        _checked(read)
        pieces[offset] = read
        if len(read.data) != length:
            raise TransferError("a piece of a file came with another length than it should; fetch it again")

    return keep


def _until_its_end(there: RemoteEnd, place: tuple[str, str]) -> bytes:
    """Return what is in a file that does not know its size, such as those in /proc."""
    pieces: list[Buffer] = []
    offset = 0
    while True:
        piece = _checked(there.ask(Operation.READ, *place, offset, CHUNK, None))
        pieces.append(piece)
        offset += len(piece)
        if len(piece) < CHUNK:
            return b"".join(pieces)


def _checked(read: Reply) -> Buffer:
    if digest(read.data) != read.value:
        raise TransferError("a piece of a file arrived damaged (checksum); copy it again")
    return read.data


def _patterns(named: Path | Sequence[Path]) -> list[str]:
    if isinstance(named, str | os.PathLike):
        return [os.fspath(named)]
    return [os.fspath(path) for path in named]


def _label(patterns: Sequence[str]) -> str:
    return os.path.basename(patterns[0].rstrip("/\\")) if len(patterns) == 1 else f"{len(patterns)} names"
