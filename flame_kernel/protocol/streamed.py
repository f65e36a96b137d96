"""Messages over a stream of bytes, which has none: what ZeroMQ's own framing does on its connections.

Between a client and a worker on one machine no part of ZeroMQ is needed, and each call without its threads takes half
the time. A message opens with a table of its frames, which follow one after the other.

========  ==========================================
bytes     meaning
========  ==========================================
4         number of frames, N (big-endian), at least 1
8 x N     the length of each frame in bytes
…         the frames
========  ==========================================

This module is loaded inside sessions too: standard library and Python 3.9.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Sequence
from typing import Callable, Optional

from flame_kernel.buffers import OWN_FRAME, Arrival, Buffer
from flame_kernel.errors import ProtocolError
from flame_kernel.protocol.frames import MAX_PARTS

# What ``frames`` makes of the largest packet: its first frame, and each part apart in frames of 1 MiB.
MAX_FRAMES = 2 * MAX_PARTS

# Beyond this, in bytes, a frame is refused before any memory is given to it.
MAX_FRAME_BYTES = 2 * 1024**3

Place = Callable[[Sequence[Buffer], int], Optional[memoryview]]

_COUNT = struct.Struct("!I")
_ONE = struct.Struct("!IQ")  # the table of nearly all messages


def nowhere(frames: Sequence[Buffer], length: int) -> memoryview | None:
    """Know no place for any frame."""
    return None


def table(frames: Sequence[Buffer]) -> bytes:
    """Return what opens a message.

    Args:
        frames: The message.

    Example:
        >>> table([b"four"]).hex()
        '000000010000000000000004'
    """
    return struct.pack(f"!I{len(frames)}Q", len(frames), *map(len, frames))


def opened(frame: Buffer) -> bytes:
    """Return a message of one small frame, as nearly all are, with its table before it."""
    return b"".join((_ONE.pack(1, len(frame)), frame))


class Incoming:
    """Takes messages out of a stream.

    Args:
        place: Asked, with the frames of its message that have come and its length, where a large frame shall be put.

    Attributes:
        whole: The messages that have come, in order, to be taken by the owner. Small frames are bytes, large ones views
            that may be written to.
        missing: How much has not come of a large frame that has begun, in bytes: it belongs into the :attr:`room`.

    Example:
        >>> incoming = Incoming()
        >>> incoming.feed(table([b"a", b"bc"]) + b"ab")
        >>> incoming.whole
        deque([])
        >>> incoming.feed(b"c")
        >>> incoming.whole
        deque([[b'a', b'bc']])
    """

    def __init__(self, place: Place = nowhere) -> None:
        self._place = place
        self.whole: deque[list[Buffer]] = deque()
        self._rest = b""  # what can't be told apart yet
        self._lengths: deque[int] = deque()  # of the frames that are to come in the message that comes now
        self._frames: list[Buffer] = []
        self._large = memoryview(b"")  # the frame that comes now, where it is a large one
        self.missing = 0

    @property
    def room(self) -> memoryview:
        """Where the bytes that come next belong while some are :attr:`missing`; else :meth:`feed` takes them."""
        return self._large[len(self._large) - self.missing :]

    def filled(self, count: int) -> None:
        """Take note that so many bytes were put into the :attr:`room`."""
        self.missing -= count
        if not self.missing:
            self._took(self._large)

    def feed(self, data: bytes) -> None:
        """Take what comes next.

        Args:
            data: Any number of bytes.

        Raises:
            ProtocolError: It can't be a message, and nothing that follows can be told apart.
        """
        if self._rest:
            data = self._rest + data
        elif not self._lengths and len(data) >= _ONE.size:
            count, length = _ONE.unpack_from(data)
            if count == 1 and length == len(data) - _ONE.size < OWN_FRAME:  # as mostly: one message, and all of it
                self.whole.append([data[_ONE.size :]])
                return
        self._rest = data[self._told_apart(data) :]

    def _told_apart(self, data: bytes) -> int:
        """Take what can be told apart, and return how much of it that was."""
        position, size = 0, len(data)
        while True:
            if not self._lengths:
                after = self._open(data, position)
                if not after:
                    return position
                position = after
            length = self._lengths[0]
            if length < OWN_FRAME:
                if position + length > size:
                    return position
                self._took(data[position : position + length])
                position += length
                continue
            large = self._place(self._frames, length)
            if large is None:
                large = Arrival(length).room
            self._large, self.missing = large, length
            begun = data[position : position + length]
            large[: len(begun)] = begun
            position += len(begun)
            self.filled(len(begun))
            if self.missing:
                return position

    def _open(self, data: bytes, position: int) -> int:
        """Read a message's table; return the position after it, 0 when it has not all come."""
        if position + _COUNT.size > len(data):
            return 0
        count: int = _COUNT.unpack_from(data, position)[0]
        if not 0 < count <= MAX_FRAMES:
            raise ProtocolError(f"a message of {count} frames came over a stream")
        end = position + _COUNT.size + 8 * count
        if end > len(data):
            return 0
        self._lengths.extend(struct.unpack_from(f"!{count}Q", data, position + _COUNT.size))
        if max(self._lengths) > MAX_FRAME_BYTES:
            raise ProtocolError(f"a frame of {max(self._lengths):,} bytes came over a stream")
        return end

    def _took(self, frame: Buffer) -> None:
        self._frames.append(frame)
        self._lengths.popleft()
        while self._lengths and not self._lengths[0]:  # an empty frame has come when the one before it has
            self._frames.append(b"")
            self._lengths.popleft()
        if not self._lengths:
            self.whole.append(self._frames)
            self._frames = []
