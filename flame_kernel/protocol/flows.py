"""The two halves of a forwarded TCP connection, between the end that has its socket and the one far away.

Each direction flows by credit and ends by itself. Credit is for bytes: a sender may have sent as many as it was
granted, :data:`WINDOW` of them to begin with; the receiver grants more as they leave its own memory. So a slow reader
slows its own stream only, and neither end ever holds more than a window of it.

This module is loaded inside sessions too: standard library and Python 3.9.
"""

from __future__ import annotations

import enum

from flame_kernel.errors import ProtocolError

# What may be under way in one direction of one stream, in bytes. SSH's implementations take 2 MiB.
WINDOW = 1024 * 1024


class FlowState(enum.Enum):
    """Which directions are open."""

    OPEN = "open"
    FAR_ONLY = "far only"  # our own side has said all
    NEAR_ONLY = "near only"  # the far side has said all
    ENDED = "ended"


class FlowEvent(enum.Enum):
    """What happens to a direction."""

    NEAR_END = "near end"  # our own side says no more
    FAR_END = "far end"  # the far side says no more


FLOW = {
    (FlowState.OPEN, FlowEvent.NEAR_END): FlowState.FAR_ONLY,
    (FlowState.OPEN, FlowEvent.FAR_END): FlowState.NEAR_ONLY,
    (FlowState.FAR_ONLY, FlowEvent.FAR_END): FlowState.ENDED,
    (FlowState.NEAR_ONLY, FlowEvent.NEAR_END): FlowState.ENDED,
}


class Allowance:
    """How much one may send.

    Example:
        >>> allowance = Allowance(3)
        >>> allowance.spend(2)
        >>> allowance.left
        1
    """

    def __init__(self, left: int = WINDOW) -> None:
        self.left = left

    def spend(self, count: int) -> None:
        """Take note of what is sent; never more than is left."""
        self.left -= count

    def grant(self, count: int) -> None:
        """Take note of what the far end grants.

        Raises:
            ProtocolError: That would be more than a window.
        """
        if count <= 0 or self.left + count > WINDOW:
            raise ProtocolError("more credit came for a stream than its window has room for")
        self.left += count


class Receipts:
    """How much has come, and how much more may come."""

    def __init__(self) -> None:
        self._ungranted = 0  # of what has come

    def took(self, count: int) -> None:
        """Take note of what has come.

        Raises:
            ProtocolError: That's more than was granted.
        """
        if self._ungranted + count > WINDOW:
            raise ProtocolError("more came on a stream than its window has room for")
        self._ungranted += count

    def due(self, held: int) -> int:
        """Return what is to be granted now: what has come and left, if it's worth a message.

        Args:
            held: How much of what has come is still held.
        """
        count = self._ungranted - held
        if count < WINDOW // 2:
            return 0
        self._ungranted = held
        return count
