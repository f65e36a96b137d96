"""The one packet that everything travels in, on every lane.

The first frame opens with a fixed head; the table of ``frames`` follows it.

=====  =====  ===================================================================================
bytes  name   meaning
=====  =====  ===================================================================================
1      magic  ``0xF1``: a Flame packet of wire format 1
1      kind   one of :class:`Kind`
8      number DATA: the message's number in its direction, from 1. ROW: that of the first message in it.
              GAP: the last number that is gone
8      ack    the highest number that the sender of this packet has received without a hole
=====  =====  ===================================================================================

This module is loaded inside sessions too: standard library and Python 3.9.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from typing import NamedTuple

from flame_kernel.buffers import Buffer
from flame_kernel.errors import ProtocolError
from flame_kernel.protocol.frames import pack, unpack

# What a packet takes at most beside its parts: its head, and the table of their lengths.
OVERHEAD_BYTES = 64 * 1024

VERSION = 1
MAGIC = 0xF0 | VERSION

# What goes together in a row at most: messages, and their bytes.
MAX_ROW = 1024
ROW_BYTES = 64 * 1024

_HEAD = struct.Struct("!BBQQ")
_START = struct.Struct("!BBQ")  # its beginning
HEAD_BYTES = _HEAD.size

# The head, and behind it the table of two parts as ``frames`` writes it: that is how nearly all packets of calls open.
_OF_TWO = struct.Struct("!BBQQHQQ")


class Kind(enum.IntEnum):
    """What a packet is for."""

    HELLO = 1  # client: the first packet on a connection; one part, JSON (messages.Hello)
    WELCOME = 2  # server: the answer; ack says what it has received, so the client knows what to send again
    REFUSED = 3  # either: this connection is of no use; one part, JSON (messages.Refusal)
    DATA = 4  # either: a numbered message
    ACK = 5  # either: nothing but the acknowledgement
    GAP = 6  # either: the messages up to this number can't be sent any more
    PING = 7  # client: are you there?
    PONG = 8  # server: I am
    RESET = 9  # server: I don't know this connection; say HELLO
    BYE = 10  # client: I leave and shall not come back; what was kept for me can go
    # server: messages with numbers in a row, each a part as ``frames`` packs it; sent to clients alone whose HELLO says
    # that they read them. On calls lanes several calls share a message instead (``bundles``).
    ROW = 11


_made = tuple.__new__  # how a named tuple makes itself, at half of what its own way there takes

_KINDS = {kind.value: kind for kind in Kind}  # looked up once a packet; Kind(…) takes four times as long


class Packet(NamedTuple):
    """A packet, taken apart.

    Attributes:
        kind: What it is for.
        number: See the table above; 0 where it has no meaning.
        ack: The highest number its sender has received without a hole.
        parts: The message's parts, in order.
    """

    kind: Kind
    number: int = 0
    ack: int = 0
    parts: Sequence[Buffer] = ()


def encode(kind: Kind, parts: Sequence[Buffer] = (), *, number: int = 0, ack: int = 0) -> list[Buffer]:
    """Build the frames of a packet.

    Args:
        kind: What it is for.
        parts: The message; large buffers are not copied.
        number: The message's number, for DATA and GAP.
        ack: The highest number received without a hole.

    Returns:
        The ZeroMQ frames.

    Example:
        >>> decode(encode(Kind.ACK, ack=7))
        Packet(kind=<Kind.ACK: 5>, number=0, ack=7, parts=[])
    """
    return pack(parts, _HEAD.pack(MAGIC, kind, number, ack))


def encode_packed(kind: Kind, frames: Sequence[Buffer], number: int, ack: int) -> list[Buffer]:
    """Build the frames of a packet from a message that is packed already.

    Args:
        kind: What it is for.
        frames: The message, as :func:`~flame_kernel.protocol.frames.pack` has packed it.
        number: The message's number.
        ack: The highest number received without a hole.

    Returns:
        The ZeroMQ frames.
    """
    first = b"".join((_HEAD.pack(MAGIC, kind, number, ack), frames[0]))
    return [first] if len(frames) == 1 else [first, *frames[1:]]


def encode_rows(messages: Sequence[tuple[int, Sequence[Buffer]]], ack: int) -> list[list[Buffer]]:
    """Build packets of messages that are packed already, with as many in each as fit.

    Args:
        messages: Number and frames of each, in a row.
        ack: The highest number received without a hole.

    Returns:
        The ZeroMQ frames of each packet.

    Example:
        >>> [packet] = encode_rows([(1, pack([b"a"])), (2, pack([b"b"]))], 0)
        >>> [(one.kind.name, one.number, bytes(one.parts[0])) for one in each(decode(packet))]
        [('DATA', 1, b'a'), ('DATA', 2, b'b')]
    """
    out: list[list[Buffer]] = []
    row: list[Buffer] = []
    first = weight = 0
    for number, frames in messages:
        if len(frames) > 1 or len(frames[0]) >= ROW_BYTES:
            _end_row(out, row, first, ack)
            row = []
            out.append(encode_packed(Kind.DATA, frames, number, ack))
            continue
        if weight + len(frames[0]) > ROW_BYTES or len(row) == MAX_ROW:
            _end_row(out, row, first, ack)
            row = []
        if not row:
            first, weight = number, 0
        row.append(frames[0])
        weight += len(frames[0])
    _end_row(out, row, first, ack)
    return out


def _end_row(out: list[list[Buffer]], row: list[Buffer], first: int, ack: int) -> None:
    if len(row) == 1:
        out.append(encode_packed(Kind.DATA, row, first, ack))
    elif row:
        out.append(encode(Kind.ROW, row, number=first, ack=ack))


def each(packet: Packet) -> Sequence[Packet]:
    """Return a row's messages as packets of their own; any other packet as it is.

    Raises:
        ProtocolError: A message in it is cut short.
    """
    if packet.kind is not Kind.ROW:
        return (packet,)
    number, ack = packet.number, packet.ack
    return [Packet(Kind.DATA, number + place, ack, unpack((part,))) for place, part in enumerate(packet.parts)]


def carries(first: Buffer, number: int) -> bool:
    """Tell from its first frame whether a packet carries the message of a number.

    Args:
        first: The frame.
        number: The number.

    Example:
        >>> carries(encode(Kind.DATA, [b"a"], number=7)[0], 7)
        True
    """
    return first[: _START.size] == _START.pack(MAGIC, Kind.DATA, number)


def decode(frames: Sequence[Buffer]) -> Packet:
    """Take a packet apart.

    Args:
        frames: What arrived.

    Returns:
        The packet; its parts are taken out of the frames as they are (:func:`~flame_kernel.protocol.frames.unpack`).

    Raises:
        ProtocolError: It isn't a Flame packet of this wire format.
    """
    if not frames:
        raise ProtocolError("a message without frames arrived")
    first = frames[0]
    if len(frames) == 1 and len(first) >= _OF_TWO.size:
        magic, code, number, ack, count, one, two = _OF_TWO.unpack_from(first)
        kind = _KINDS.get(code)
        if magic == MAGIC and kind is not None and count == 2 and _OF_TWO.size + one + two == len(first):
            after = _OF_TWO.size + one
            return _made(Packet, (kind, number, ack, [first[_OF_TWO.size : after], first[after:]]))
    try:
        magic, code, number, ack = _HEAD.unpack_from(first)
    except struct.error as error:
        raise ProtocolError("a packet arrived that is shorter than its head") from error
    if magic != MAGIC:
        raise ProtocolError(f"a packet arrived that isn't of Flame's wire format {VERSION}")
    kind = _KINDS.get(code)
    if kind is None:
        raise ProtocolError(f"a packet of unknown kind {code} arrived")
    return Packet(kind, number, ack, unpack(frames, _HEAD.size))
