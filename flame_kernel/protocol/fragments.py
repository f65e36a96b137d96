"""A large message of a calls lane in several: fragmentation and reassembly.

ZeroMQ hands a message over when all its frames have come. So a large value in one message would have to fit into the
memory of everybody on its way, twice into that of the receiver, and nobody could begin with it before its end. In
several numbered messages no more of it than a window is anywhere under way, each piece is put into its place while the
next is decrypted, and after a cut it goes on where it was.

========  =====================================================================================================
message   parts
========  =====================================================================================================
opening   a zero byte and, 8 bytes each, the lengths of the whole message's parts; the highest bit is set where
          a part's memory is not to be written to
pieces    a zero byte; then what follows of the parts' bytes, in order, divided at will but where a part ends
========  =====================================================================================================

Nothing else comes in between, and the whole message has the number of its last piece. No request and no answer begins
with a zero byte.

This module is loaded inside sessions too: standard library and Python 3.9.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from flame_kernel.buffers import OWN_FRAME, Arrival, Buffer, size_of
from flame_kernel.errors import ProtocolError
from flame_kernel.protocol.frames import APART, CHUNK, MAX_PARTS

# Up to this size, in bytes, a message is not worth the opening: a piece of a file with what is said of it.
WHOLE = CHUNK + OWN_FRAME

# Parts in a piece: far below what a message may have.
_MOST = 1024

_MARK = b"\0"
_READ_ONLY = 1 << 63

# What a piece that is all one chunk opens with, as ``frames`` packs it: the mark, and the chunk in a frame of its own.
_PIECE = struct.Struct("!HQQc")


def split(parts: Sequence[Buffer]) -> Sequence[Sequence[Buffer]]:
    """Return the messages in which a message is to travel.

    Args:
        parts: The message; nothing of it is copied.

    Example:
        >>> split([b"small"])
        [[b'small']]
        >>> [len(parts) for parts in split([b"head", bytes(3 * CHUNK)])]
        [1, 3, 2, 2, 2]
    """
    if size_of(parts) <= WHOLE or len(parts) > MAX_PARTS:
        return [parts]
    lengths = list(map(len, parts))
    table = [length | (_READ_ONLY if memoryview(part).readonly else 0) for part, length in zip(parts, lengths)]
    out: list[list[Buffer]] = [[_MARK + struct.pack(f"!{len(table)}Q", *table)]]
    piece: list[Buffer] = [_MARK]
    room = CHUNK
    for part in parts:
        rest = memoryview(part)
        while rest.nbytes:
            piece.append(rest[:room])
            rest, room = rest[room:], room - piece[-1].nbytes  # type: ignore[union-attr]
            if not room or len(piece) == _MOST:
                out.append(piece)
                piece, room = [_MARK], CHUNK
    if len(piece) > 1:
        out.append(piece)
    return out


class Assembler:
    """Puts the messages of one direction of a conversation together again.

    Example:
        >>> assembler = Assembler()
        >>> message = [b"head", bytes(3 * CHUNK)]
        >>> [assembler.take(parts) == message for parts in split(message)]
        [False, False, False, False, True]
    """

    def __init__(self) -> None:
        self._under_way: _Assembly | None = None

    def room(self, first: Buffer, length: int) -> memoryview | None:
        """Return where the chunk of the next piece belongs, for who can put it there without holding it.

        Args:
            first: The piece as packed, without its chunk.
            length: The size of the chunk, in bytes.

        Returns:
            The memory, which is nobody else's until :meth:`take` gets it; ``None`` where it isn't known.
        """
        if self._under_way is None or first != _PIECE.pack(2, 1, length | APART, _MARK):
            return None
        return self._under_way.room(length)

    def take(self, parts: Sequence[Buffer]) -> Sequence[Buffer] | None:
        """Take the next message.

        Args:
            parts: Its parts.

        Returns:
            The parts of a message that's whole now, or ``None``.

        Raises:
            ProtocolError: It's a piece of nothing, or something else where a piece should be.
        """
        marked = bool(parts) and parts[0][:1] == _MARK
        assembly = self._under_way
        if assembly is None:
            if not marked:
                return parts
            assembly = self._under_way = _Assembly(parts)
        elif marked and len(parts[0]) == 1:
            assembly.take(parts[1:])
        else:
            raise ProtocolError("a message came in the middle of another one's pieces")
        if assembly.missing:
            return None
        self._under_way = None
        return assembly.parts()


class _Assembly:
    """A message that is being put together.

    Args:
        opening: The parts of its opening.
    """

    def __init__(self, opening: Sequence[Buffer]) -> None:
        table = memoryview(opening[0])[1:]
        if len(opening) != 1 or table.nbytes % 8 or table.nbytes > 8 * MAX_PARTS:
            raise ProtocolError("the opening of a message in pieces came damaged")
        entries = struct.unpack(f"!{table.nbytes // 8}Q", table)
        self._lengths = [entry & ~_READ_ONLY for entry in entries]
        self._read_only = [bool(entry & _READ_ONLY) for entry in entries]
        self.missing = sum(self._lengths)
        self._parts: list[Buffer] = []
        self._arriving: Arrival | None = None
        self._lent: memoryview | None = None  # where the next chunk is being put

    def room(self, length: int) -> memoryview | None:
        self._pass_over_empty()
        number = len(self._parts)
        if self._arriving is None and (number == len(self._lengths) or self._lengths[number] <= length):
            return None  # a part that comes whole is handed over as it came
        arriving = self._arriving or self._begin(number)
        self._lent = arriving.room[:length] if length <= arriving.missing else None
        return self._lent

    def take(self, chunks: Sequence[Buffer]) -> None:
        if not chunks:
            raise ProtocolError("a piece came with nothing in it")
        for chunk in chunks:
            self._pass_over_empty()
            left = self._lengths[len(self._parts)] if len(self._parts) < len(self._lengths) else 0
            if self._arriving is not None:
                left = self._arriving.missing
            if not 0 < len(chunk) <= left:
                raise ProtocolError("a piece came that is not as long as announced")
            self.missing -= len(chunk)
            self._put(chunk)

    def parts(self) -> Sequence[Buffer]:
        self._pass_over_empty()
        return self._parts

    def _put(self, chunk: Buffer) -> None:
        number = len(self._parts)
        arriving = self._arriving
        if arriving is None:
            if len(chunk) == self._lengths[number]:
                self._parts.append(chunk)
                return
            arriving = self._begin(number)
        lent = self._lent
        if lent is not None and chunk is lent:
            arriving.filled(len(lent))
            lent.release()  # else bytes would be copied at the end, since somebody could still write to them
        else:
            arriving.put(chunk)
        self._lent = None
        if not arriving.missing:
            self._parts.append(arriving.end(self._read_only[number]))
            self._arriving = None

    def _begin(self, number: int) -> Arrival:
        try:
            arriving = self._arriving = Arrival(self._lengths[number])
        except (MemoryError, OverflowError):
            raise ProtocolError(
                f"a value of {self._lengths[number]:,} bytes came, for which there is no memory"
            ) from None
        return arriving

    def _pass_over_empty(self) -> None:
        while len(self._parts) < len(self._lengths) and not self._lengths[len(self._parts)]:
            self._parts.append(b"")
