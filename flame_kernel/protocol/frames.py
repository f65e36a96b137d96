"""Parts to ZeroMQ frames and back.

A message of many small parts is cheapest as one ZeroMQ frame, and a large buffer is cheapest as a frame of its own
that is never copied. So parts are packed: the first frame carries a table of lengths and all small parts, each large
part follows as a frame of its own.

========  ==========================================================================================
bytes     meaning
========  ==========================================================================================
2         number of parts, N (big-endian)
8 x N     the length of each part in bytes; the highest bit is set when it travels as a frame of its own
…         the small parts, one after the other
========  ==========================================================================================

This module is loaded inside sessions too: standard library and Python 3.9.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from flame_kernel.buffers import OWN_FRAME, Buffer, size
from flame_kernel.errors import ProtocolError

MAX_PARTS = 4096

_COUNT = struct.Struct("!H")
_APART = 1 << 63


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
    if len(parts) > MAX_PARTS:
        raise ProtocolError(f"a message of {len(parts)} parts can't be sent; the limit is {MAX_PARTS} parts")
    table = []
    inline: list[Buffer] = []
    frames: list[Buffer] = [b""]
    for part in parts:
        length = size(part)
        if length >= OWN_FRAME:
            table.append(length | _APART)
            frames.append(part)
        else:
            table.append(length)
            inline.append(part)
    frames[0] = b"".join((prefix, _COUNT.pack(len(table)), struct.pack(f"!{len(table)}Q", *table), *inline))
    return frames


def unpack(frames: Sequence[Buffer], offset: int = 0) -> list[memoryview]:
    """Take packed frames apart without copying.

    Args:
        frames: What arrived.
        offset: Where the table starts in the first frame, after the prefix.

    Returns:
        Views of the parts, in order.

    Raises:
        ProtocolError: The frames contradict their table.

    Example:
        >>> [bytes(part) for part in unpack(pack([b"a", b"", b"c"]))]
        [b'a', b'', b'c']
    """
    if not frames:
        raise ProtocolError("a message without frames arrived")
    first = memoryview(frames[0]).cast("B")
    try:
        (count,) = _COUNT.unpack_from(first, offset)
        if count > MAX_PARTS:
            raise ProtocolError(f"a message of {count} parts arrived; the limit is {MAX_PARTS} parts")
        table = struct.unpack_from(f"!{count}Q", first, offset + _COUNT.size)
    except struct.error as error:
        raise ProtocolError("a message arrived whose table of parts is cut short") from error
    position = offset + _COUNT.size + 8 * count
    parts = []
    apart = 1
    for entry in table:
        length = entry & ~_APART
        if entry & _APART:
            if apart >= len(frames):
                raise ProtocolError("a message arrived with a frame missing")
            part = memoryview(frames[apart]).cast("B")
            apart += 1
            if part.nbytes != length:
                raise ProtocolError("a message arrived with a frame that is not as long as announced")
        else:
            part = first[position : position + length]
            position += length
            if part.nbytes != length:
                raise ProtocolError("a message arrived that is cut short")
        parts.append(part)
    if apart != len(frames) or position != first.nbytes:
        raise ProtocolError("a message arrived with more bytes than announced")
    return parts
