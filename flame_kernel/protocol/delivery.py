"""Why nothing is lost over a cut: numbers, acknowledgements and resending, for one direction of one conversation.

The rules, which both ends obey:

1. Messages are numbered 1, 2, 3, … for each direction. The numbers outlive connections.
2. The sender keeps each message until it is acknowledged. An acknowledgement of n covers all up to n.
3. On a new connection both ends say how far they have received; each sends again what follows.
4. The receiver takes message n only after n - 1. An older one is a duplicate and is dropped, so nothing happens twice.
   A newer one means that something was lost on the way: the receiver asks for a new start (rule 3).
5. No more than a window is under way unacknowledged, so a slow reader slows its own stream only.
6. What the sender keeps is bounded. When the oldest must go, the receiver is told which are gone (a GAP). Never
   silently.
7. A sender with a shelf writes each message down before it is sent, and keeps in memory only so many: the rest is read
   again when it is due. So the conversation outlives the sender's process too.

This module is loaded inside sessions too: standard library and Python 3.9.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from flame_kernel.buffers import Buffer, size_of
from flame_kernel.errors import ProtocolError

# Measured: more credit than this makes nothing faster, and less makes bulk data slower.
WINDOW_MESSAGES = 256
WINDOW_BYTES = 16 * 1024 * 1024

# An acknowledgement of its own costs both sides a wake-up. Most ride along with what is said anyway, or come a little
# later; after this much they don't wait.
ACK_MESSAGES = 32
ACK_BYTES = 4 * 1024 * 1024


class Numbered(NamedTuple):
    """A message to be sent (again).

    Attributes:
        number: Its number in its direction, from 1.
        parts: Its parts.
    """

    number: int
    parts: Sequence[Buffer]


class Gap(NamedTuple):
    """The messages up to a number are gone for good.

    Attributes:
        number: The last one that is gone.
    """

    number: int


class Shelf(Protocol):
    """Where a sending end writes its messages down."""

    def put(self, number: int, parts: Sequence[Buffer]) -> bool:
        """Write a message down, or return false when there is no room."""

    def get(self, number: int) -> Sequence[Buffer]:
        """Read a message again that was put there."""

    def forget(self, number: int) -> None:
        """Let go of the messages up to a number."""


class Outbox:
    """The sending end: keeps messages until they are acknowledged.

    Args:
        limit_bytes: How much is kept, in bytes; ``None`` for no limit. Beyond it the oldest messages make room.
        shelf: Where messages are written down, if anywhere.
        memory_bytes: With a shelf, how much of it stays in memory too, in bytes.
        window_messages: How many messages may be under way unacknowledged.
        window_bytes: How many bytes may be under way unacknowledged; one message may always be.

    Attributes:
        last: The number of the newest message, 0 before the first.
        kept_bytes: How much is kept.
        waiting: Whether there may be something to send, within the window or beyond it.

    Example:
        >>> outbox = Outbox()
        >>> outbox.push([b"hello"])
        1
        >>> [message.number for message in outbox.due()]
        [1]
        >>> outbox.acknowledge(1)
        >>> len(outbox)
        0
    """

    def __init__(
        self,
        limit_bytes: int | None = None,
        shelf: Shelf | None = None,
        memory_bytes: int = WINDOW_BYTES,
        window_messages: int = WINDOW_MESSAGES,
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        self._limit_bytes = limit_bytes
        self._shelf = shelf
        self._memory_bytes = memory_bytes
        self._window_messages = window_messages
        self._window_bytes = window_bytes
        # A message, or nothing where it is on the shelf only, and its bytes.
        self._kept: deque[tuple[Sequence[Buffer] | None, int]] = deque()
        self._in_memory = 0
        self._first = 1  # the number of the oldest message kept
        self.last = 0
        self._next = 1  # the number of the next message to go out on this connection
        # Number and bytes of what was sent on this connection and is not acknowledged. A message that had to make room
        # is under way all the same: it must not give credit to the next.
        self._under_way: deque[tuple[int, int]] = deque()
        self._under_way_bytes = 0
        self._told = 0  # the highest number that the peer knows of: sent, or reported as gone
        self.kept_bytes = 0
        self.waiting = False

    def __len__(self) -> int:
        """How many messages are kept."""
        return len(self._kept)

    def newest(self, limit_bytes: int) -> list[Sequence[Buffer]]:
        """Return the newest of the messages that are kept, in order.

        Args:
            limit_bytes: How many at most, by their bytes.
        """
        found: list[Sequence[Buffer]] = []
        for number in range(self.last, self._first - 1, -1):
            parts, weight = self._kept[number - self._first]
            limit_bytes -= weight
            if limit_bytes < 0:
                break
            if parts is None:
                assert self._shelf is not None
                parts = self._shelf.get(number)
            found.append(parts)
        return found[::-1]

    def push(self, parts: Sequence[Buffer], weight: int | None = None) -> int:
        """Take a message.

        Args:
            parts: The message; it must not be changed afterwards.
            weight: Its size in bytes, if that is known already.

        Returns:
            Its number.
        """
        if weight is None:
            weight = size_of(parts)
        self.waiting = True
        self.last += 1
        shelved = self._shelf is not None and self._shelf.put(self.last, parts)
        if shelved and self._in_memory + weight > self._memory_bytes:
            self._kept.append((None, weight))
        else:
            self._kept.append((parts, weight))
            self._in_memory += weight
        self.kept_bytes += weight
        if self._limit_bytes is not None and self.kept_bytes > self._limit_bytes:
            self._make_room(self._limit_bytes)
        return self.last

    def pass_through(self, parts: Sequence[Buffer], weight: int) -> int:
        """Take a message and count it as sent, if it may be sent now and nothing else has to be sent before.

        Most of what is said goes at once, and this is half the work of :meth:`push` and :meth:`newest_due`.

        Args:
            parts: The message; it must not be changed afterwards.
            weight: Its size in bytes.

        Returns:
            Its number; 0 if it was not taken.
        """
        under_way = self._under_way
        if (
            self.waiting
            or self._shelf is not None
            or self._limit_bytes is not None
            or (under_way and not self._has_credit())
        ):
            return 0
        self.last = self._told = number = self._next
        self._next = number + 1
        self._kept.append((parts, weight))
        under_way.append((number, weight))
        self._under_way_bytes += weight
        self._in_memory += weight
        self.kept_bytes += weight
        return number

    def restore(self, first: int, weights: Sequence[int]) -> None:
        """Go on where an earlier process ended, with what it left on the shelf.

        Args:
            first: The number of the oldest message there, or of the next one when there is none.
            weights: The size of each, in bytes.
        """
        self._first = self._next = first
        self.last = first + len(weights) - 1
        self._kept.extend((None, weight) for weight in weights)
        self.kept_bytes = sum(weights)
        self.waiting = True
        self._told = self.last  # any of them may have been sent

    def newest_due(self) -> Sequence[Buffer] | None:
        """Take the newest message, if nothing else is to be sent now and it may be; it counts as sent.

        Most of what is said goes at once, and this is a quarter of the work that :meth:`due` is.
        """
        number = self._next
        if number != self.last or number < self._first or self._told < self._first - 1 or not self._has_credit():
            return None
        parts, weight = self._kept[-1]
        if parts is None:
            return None
        self._under_way.append((number, weight))
        self._under_way_bytes += weight
        self._next = number + 1
        if self._told < number:
            self._told = number
        self.waiting = False
        return parts

    def due(self) -> list[Numbered | Gap]:
        """Take what is to be sent now, within the window, in order.

        Returns:
            Messages, and a gap before them where some are gone. They count as sent on this connection.
        """
        out: list[Numbered | Gap] = []
        if self._told < self._first - 1 and self._has_credit():  # else a slow reader would be sent one for each push
            self._told = self._first - 1
            out.append(Gap(self._told))
        first, under_way, kept = self._first, self._under_way, self._kept
        number = start = self._next if self._next > first else first
        while number <= self.last and self._has_credit():
            parts, weight = kept[number - first]
            if parts is None:
                assert self._shelf is not None
                parts = self._shelf.get(number)
            out.append(Numbered(number, parts))
            under_way.append((number, weight))
            self._under_way_bytes += weight
            number += 1
        self._next = number
        if number > start:
            self._told = max(self._told, number - 1)
        self.waiting = number <= self.last or self._told < self._first - 1
        return out

    def acknowledge(self, number: int) -> None:
        """Let go of what has arrived.

        Args:
            number: The highest number that the peer has received without a hole.

        Raises:
            ProtocolError: That message was never sent.
        """
        if number > self._told:
            raise ProtocolError(f"message {number} was acknowledged, but {self._told} is the last that was sent")
        under_way = self._under_way
        if number == self.last and self._shelf is None:  # all there is, as mostly, and half the work
            self._kept.clear()
            under_way.clear()
            self._under_way_bytes = self._in_memory = self.kept_bytes = 0
            self._first = number + 1
            return
        while under_way and under_way[0][0] <= number:
            self._under_way_bytes -= under_way.popleft()[1]
        if self._first <= number and self._kept:
            self._let_go(number)

    def resume(self, received: int) -> None:
        """Begin anew on a new connection.

        Args:
            received: The highest number that the peer has received without a hole, as it says.

        Raises:
            ProtocolError: That message was never sent.
        """
        self.acknowledge(received)
        self._told = received
        self._next = self._first
        self.waiting = True
        self._under_way.clear()
        self._under_way_bytes = 0

    def _has_credit(self) -> bool:
        under_way = len(self._under_way)
        return not under_way or (under_way < self._window_messages and self._under_way_bytes < self._window_bytes)

    def _make_room(self, limit_bytes: int) -> None:
        number, excess = self._first - 1, self.kept_bytes - limit_bytes
        for _, weight in self._kept:
            if excess <= 0 or number == self.last - 1:
                break
            excess -= weight
            number += 1
        if number >= self._first:
            self._let_go(number)

    def _let_go(self, number: int) -> None:
        """Keep no message up to a number any more."""
        first, kept = self._first, self._kept
        while first <= number and kept:
            parts, weight = kept.popleft()
            self.kept_bytes -= weight
            if parts is not None:
                self._in_memory -= weight
            first += 1
        self._first = first
        if self._shelf is not None:
            self._shelf.forget(first - 1)


class Inbox:
    """The receiving end: lets each message through once, in order.

    Args:
        received: The number to go on from, for an end that comes back.

    Attributes:
        received: The highest number received without a hole.
        ack_pressing: Whether so much has arrived unacknowledged that the sender may soon run out of window.

    Example:
        >>> inbox = Inbox()
        >>> inbox.accept(1), inbox.accept(1), inbox.accept(3)
        (1, 0, None)
        >>> inbox.accept(1, 4)
        3
    """

    def __init__(self, received: int = 0) -> None:
        self.received = received
        self._acknowledged = received
        self._bytes = 0  # that have arrived since the last acknowledgement
        self.ack_pressing = False

    def accept(self, first: int, count: int = 1, weight: int = 0) -> int | None:
        """Judge messages with numbers in a row, and count those that are new.

        Args:
            first: The number of the first.
            count: How many they are.
            weight: The size of all of them, in bytes.

        Returns:
            How many of them are to be acted on, the last ones: the others are duplicates. ``None`` when something
            before them was lost on the way: then it's time to ask for a new start.
        """
        received = self.received
        if first > received + 1:
            return None
        last = first + count - 1
        if last <= received:
            return 0
        self.received = last
        self._bytes += weight
        if self._bytes >= ACK_BYTES or last - self._acknowledged >= ACK_MESSAGES:
            self.ack_pressing = True
        return last - received

    def skip(self, number: int) -> int:
        """Take note of a gap.

        Args:
            number: The last message that is gone.

        Returns:
            How many messages will never arrive; 0 when all of them had arrived before they went.
        """
        return self.accept(self.received + 1, number - self.received) or 0

    @property
    def ack_due(self) -> bool:
        """Whether something has arrived that hasn't been acknowledged yet."""
        return self.received > self._acknowledged

    def acknowledgement(self) -> int:
        """Return the number to acknowledge; it counts as said."""
        self._acknowledged = self.received
        self._bytes = 0
        self.ack_pressing = False
        return self.received
