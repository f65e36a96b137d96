"""Parts to ZeroMQ frames and back.

A message of many small parts is cheapest as one ZeroMQ frame, and a large buffer is cheapest in frames of its own that
are not copied into a larger one. So parts are packed: the first frame carries a table of lengths and all small parts,
each large part follows in frames of its own.

========  ==========================================================================================
bytes     meaning
========  ==========================================================================================
2         number of parts, N (big-endian)
8 x N     the length of each part in bytes; the highest bit is set when it travels in frames of its own
…         the small parts, one after the other
========  ==========================================================================================

A very large part travels in several frames: while one is decrypted at the other end, the next is encrypted at this one.

This module is loaded inside sessions too: standard library and Python 3.9.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence

from flame_kernel.buffers import OWN_FRAME, Buffer
from flame_kernel.errors import ProtocolError

MAX_PARTS = 4096

# Measured with CURVE: 64 MiB take 230 ms as one frame, 105 ms in frames of 4 MiB, 70 ms in frames of 1 MiB or 256 KiB.
CHUNK = 1024 * 1024

_COUNT = struct.Struct("!H")
_TWO = struct.Struct("!HQQ")  # a table of two parts
APART = 1 << 63  # marks the length of a part that travels in frames of its own


def pack(parts: Sequence[Buffer], prefix: bytes = b"") -> list[Buffer]:
    """Pack parts into as few frames as is cheap.

    Args:
        parts: Any byte buffers; those of ``OWN_FRAME`` bytes or more are passed on as they are, not copied.
        prefix: Bytes that open the first frame.

    Returns:
        The frames; the first holds prefix, table and small parts.

    Raises:
        ProtocolError: There are more than ``MAX_PARTS`` parts.

    Example:
        >>> unpack(pack([b"header", b"body"])) == [b"header", b"body"]
        True
    """
    count = len(parts)
    if count == 2:  # nearly all messages of calls
        one, two = parts
        if len(one) + len(two) < OWN_FRAME:
            return [b"".join((prefix, _TWO.pack(2, len(one), len(two)), one, two))]
    if count > MAX_PARTS:
        raise ProtocolError(f"a message of {count} parts can't be sent; the limit is {MAX_PARTS} parts")
    lengths = list(map(len, parts))
    total = sum(lengths)
    if total < OWN_FRAME or (max(lengths) < OWN_FRAME and total <= CHUNK):  # nearly all messages
        return [b"".join((prefix, _table(count).pack(count, *lengths), *parts))]
    inline: list[Buffer] = []
    room = CHUNK  # many small parts don't make a first frame without end
    frames: list[Buffer] = [b""]
    for position, part in enumerate(parts):
        length = lengths[position]
        if length >= OWN_FRAME or length > room:
            lengths[position] |= APART
            frames.extend(_chunks(part, length))
        else:
            inline.append(part)
            room -= length
    frames[0] = b"".join((prefix, _table(count).pack(count, *lengths), *inline))
    return frames


def unpack(frames: Sequence[Buffer], offset: int = 0) -> list[Buffer]:
    """Take packed frames apart; what came in several frames is joined, what came in a view is not copied.

    Args:
        frames: What arrived.
        offset: Where the table starts in the first frame, after the prefix.

    Returns:
        The parts, in order: bytes of bytes, views of views.

    Raises:
        ProtocolError: The frames contradict their table.

    Example:
        >>> unpack(pack([b"a", b"", b"c"]))
        [b'a', b'', b'c']
    """
    if not frames:
        raise ProtocolError("a message without frames arrived")
    first = frames[0]
    try:
        (count,) = _COUNT.unpack_from(first, offset)
        if count > MAX_PARTS:
            raise ProtocolError(f"a message of {count} parts arrived; the limit is {MAX_PARTS} parts")
        table = _table(count)
        _, *entries = table.unpack_from(first, offset)
    except struct.error as error:
        raise ProtocolError("a message arrived whose table of parts is cut short") from error
    position = offset + table.size
    parts: list[Buffer] = []
    apart = 1
    for entry in entries:
        if entry < APART:
            end = position + entry
            parts.append(first[position:end])
            position = end
        else:
            part, apart = _join(frames, apart, entry ^ APART)
            parts.append(part)
    if position > len(first):
        raise ProtocolError("a message arrived that is cut short")
    if apart != len(frames) or position != len(first):
        raise ProtocolError("a message arrived with more bytes than announced")
    return parts


@functools.lru_cache(maxsize=64)  # nearly all messages are of a few sizes
def _table(count: int) -> struct.Struct:
    return struct.Struct(f"!H{count}Q")


def _chunks(part: Buffer, length: int) -> Sequence[Buffer]:
    if length <= CHUNK:
        return (part,)
    view = memoryview(part)
    return [view[start : start + CHUNK] for start in range(0, length, CHUNK)]


def _join(frames: Sequence[Buffer], position: int, length: int) -> tuple[Buffer, int]:
    """Return the part of a length whose frames begin at a position, and the position after them."""
    found: list[memoryview] = []
    missing = length
    while missing > 0:
        if position >= len(frames):
            raise ProtocolError("a message arrived with a frame missing")
        frame = frames[position]
        view = frame if isinstance(frame, memoryview) else memoryview(frame)  # known again by who lent its memory
        if not 0 < view.nbytes <= missing:
            raise ProtocolError("a message arrived with a frame that is not as long as announced")
        found.append(view)
        missing -= view.nbytes
        position += 1
    return (found[0] if len(found) == 1 else b"".join(found)), position
