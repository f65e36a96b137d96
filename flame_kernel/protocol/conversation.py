"""One end of a numbered conversation: packets in, events out, frames out.

Client and server, and client and worker, each hold one end. It knows nothing of connections but that they come and go.

This module is loaded inside sessions too: standard library and Python 3.9.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Union

from flame_kernel.buffers import Buffer, size_of
from flame_kernel.protocol.delivery import Gap, Inbox, Numbered, Outbox, Shelf
from flame_kernel.protocol.fragments import WHOLE, Assembler, split
from flame_kernel.protocol.frames import pack, unpack
from flame_kernel.protocol.packets import HEAD_BYTES, Kind, Packet, carries, encode, encode_packed, encode_rows

_made = tuple.__new__  # how a named tuple makes itself, at half of what its own way there takes
_DATA = Kind.DATA  # in Python 3.11 looking up an enum's member takes as long as a small call


class Message(NamedTuple):
    """The next message of the other end.

    Attributes:
        number: Its number.
        parts: Its parts.
    """

    number: int
    parts: Sequence[Buffer]


@dataclass(frozen=True)
class Missing:
    """Messages that will never come, because the other end had no room to keep them.

    Attributes:
        count: How many.
    """

    count: int


@dataclass(frozen=True)
class Hole:
    """Something was lost on the way: both ends have to greet each other again."""


Event = Union[Message, Missing, Hole]


class Conversation:
    """One end.

    Args:
        limit_bytes: How much is kept for the other end while it is away, in bytes; ``None`` for no limit.
        shelf: Where what is said is written down, if anywhere.
        pieces: Whether large messages travel in several (``fragments``), as they do on calls lanes.

    Example:
        >>> here, there = Conversation(), Conversation()
        >>> here.push([b"hello"])
        1
        >>> from flame_kernel.protocol.packets import decode
        >>> [there.take(decode(frames)) for frames in here.outgoing()]
        [Message(number=1, parts=[b'hello'])]
        >>> here.take(decode(there.acknowledge())), here.pending
        (None, 0)
    """

    def __init__(self, limit_bytes: int | None = None, shelf: Shelf | None = None, pieces: bool = False) -> None:
        self._inbox = Inbox()
        self._outbox = Outbox(limit_bytes, shelf)
        self._assembler = Assembler() if pieces else None

    def restore(self, received: int, first: int, weights: Sequence[int]) -> None:
        """Go on where an earlier process ended.

        Args:
            received: The highest number that it had received.
            first: The number of the oldest message on the shelf, or of the next one when there is none.
            weights: The size of each message there, in bytes.
        """
        self._inbox = Inbox(received)
        self._outbox.restore(first, weights)

    @property
    def received(self) -> int:
        """The highest number received without a hole."""
        return self._inbox.received

    @property
    def pending(self) -> int:
        """How many messages the other end has not acknowledged."""
        return len(self._outbox)

    def unacknowledged(self, limit_bytes: int) -> list[Sequence[Buffer]]:
        """Return what was said and is not known to have arrived, in order.

        Args:
            limit_bytes: How much at most; the newest stay.
        """
        return [unpack(frames) for frames in self._outbox.newest(limit_bytes)]

    def push(self, parts: Sequence[Buffer]) -> int:
        """Say something; it's kept until the other end has it.

        Args:
            parts: The message; it must not be changed afterwards.

        Returns:
            Its number, in pieces that of the last of them.
        """
        if self._assembler is None:
            return self._outbox.push(pack(parts))
        weight = size_of(parts)
        if weight > WHOLE:
            *before, parts = split(parts)
            for piece in before:
                self._outbox.push(pack(piece))
            weight = size_of(parts)
        return self._outbox.push(pack(parts), weight)

    def say(self, parts: Sequence[Buffer]) -> tuple[int, list[list[Buffer]]]:
        """Say something, and take what is to be sent now: :meth:`push` and :meth:`outgoing` in one.

        Args:
            parts: The message; it must not be changed afterwards.

        Returns:
            Its number, and the packets.
        """
        if self._assembler is not None:
            weight = size_of(parts)
            if weight <= WHOLE:
                frames = pack(parts)
                number = self._outbox.pass_through(frames, weight)
                if number:
                    return number, [encode_packed(_DATA, frames, number, self._inbox.acknowledgement())]
                return self._outbox.push(frames, weight), self.outgoing()
        return self.push(parts), self.outgoing()

    def push_packed(self, frames: Sequence[Buffer]) -> int:
        """Say something that is packed already, as what is said to several is packed once.

        Args:
            frames: The message, as :func:`~flame_kernel.protocol.frames.pack` has packed it.

        Returns:
            Its number.
        """
        return self._outbox.push(frames)

    def resume(self, received: int) -> None:
        """Go on over a new connection.

        Args:
            received: The highest number the other end has received, as it says.

        Raises:
            ProtocolError: It acknowledges what was never sent.
        """
        self._outbox.resume(received)

    def take(self, packet: Packet) -> Event | None:
        """Take a packet: its acknowledgement, and its message if it's the next one.

        Args:
            packet: DATA, GAP, or any kind that acknowledges.

        Returns:
            What came of it, or ``None``: it was no message, or one more piece of one.

        Raises:
            ProtocolError: It acknowledges what was never sent, or is a piece of nothing; then nothing that follows can
                be told apart.
        """
        kind, number, ack, parts = packet
        self._outbox.acknowledge(ack)
        if kind is _DATA:
            new = self._inbox.accept(number, 1, size_of(parts))
            if new:
                whole = parts if self._assembler is None else self._assembler.take(parts)
                return None if whole is None else _made(Message, (number, whole))
            return Hole() if new is None else None
        if kind is Kind.GAP:
            count = self._inbox.skip(number)
            return Missing(count) if count else None
        return None

    def place(self, frames: Sequence[Buffer], length: int) -> memoryview | None:
        """Return where a large frame belongs that is about to come, if that is known: then it needn't be moved there.

        Nobody else may write there until the packet is whole and was taken, or its connection is given up.

        Args:
            frames: The frames of its packet that have come already.
            length: How long it is, in bytes.
        """
        if self._assembler is None or len(frames) != 1 or not carries(frames[0], self._inbox.received + 1):
            return None
        return self._assembler.room(frames[0][HEAD_BYTES:], length)

    def greeting(self, kind: Kind, parts: Sequence[Buffer]) -> list[Buffer]:
        """Return a HELLO, WELCOME, PING or PONG that says how far this end has received."""
        return encode(kind, parts, ack=self._inbox.acknowledgement())

    def outgoing(self, rows: bool = False) -> list[list[Buffer]]:
        """Take what is to be sent now: messages within the window, and an acknowledgement if it can't wait.

        Args:
            rows: Whether the other end reads messages that go together in a packet.
        """
        if not self._outbox.waiting:  # as mostly: this is asked for each packet
            return [self.acknowledge()] if self._inbox.ack_pressing else []
        newest = self._outbox.newest_due()
        if newest is not None:
            return [encode_packed(_DATA, newest, self._outbox.last, self._inbox.acknowledgement())]
        out: list[list[Buffer]] = []
        due = self._outbox.due()
        if not due:
            return [self.acknowledge()] if self._inbox.ack_pressing else out
        ack = self._inbox.acknowledgement()
        if rows and len(due) > 1:
            if isinstance(due[0], Gap):
                out.append(encode(Kind.GAP, number=due[0].number, ack=ack))
            return out + encode_rows([message for message in due if isinstance(message, Numbered)], ack)
        for message in due:
            if isinstance(message, Gap):
                out.append(encode(Kind.GAP, number=message.number, ack=ack))
            else:
                out.append(encode_packed(_DATA, message.parts, message.number, ack))
        return out

    @property
    def anything_due(self) -> bool:
        """Whether :meth:`outgoing` may have something."""
        return self._outbox.waiting or self._inbox.ack_pressing

    @property
    def ack_due(self) -> bool:
        """Whether something has arrived that hasn't been acknowledged yet."""
        return self._inbox.ack_due

    @property
    def ack_pressing(self) -> bool:
        """Whether so much has arrived unacknowledged that the other end may soon have to wait."""
        return self._inbox.ack_pressing

    def acknowledge(self) -> list[Buffer]:
        """Return an acknowledgement of all that has arrived."""
        return encode(Kind.ACK, ack=self._inbox.acknowledgement())
