"""How many and how much: what the limits on clients, connections and messages are held against."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flame_kernel.buffers import Buffer, size_of
from flame_kernel.errors import LimitExceeded
from flame_kernel.protocol.packets import OVERHEAD_BYTES
from flame_kernel.server.config import Limits
from flame_kernel.server.peers import Caller, Peer
from flame_kernel.server.session import Session


class Counts:
    """Makes sure that limits are kept; who is over one is told which.

    Args:
        limits: The limits.
        host: What to call this host.
    """

    def __init__(self, limits: Limits, host: str) -> None:
        self._limits = limits
        self._host = host

    def require_size(self, frames: Sequence[Buffer]) -> None:
        """Make sure that a packet is not too large.

        Raises:
            LimitExceeded: It is.
        """
        total = size_of(frames)
        if total > self._limits.message_bytes + OVERHEAD_BYTES:
            raise LimitExceeded(
                f"a message of {total} bytes came to {self._host}, and its limit is {self._limits.message_bytes} "
                "(limits.message_bytes)"
            )

    def require_room(self, caller: Caller, peers: Iterable[Peer]) -> None:
        """Make sure that a key may open one more connection.

        Raises:
            LimitExceeded: It has as many as it may.
        """
        most = self._limits.connections_per_key
        if caller.public and sum(peer.caller.owner == caller.owner for peer in peers) >= most:
            raise LimitExceeded(
                f"this client's key has {most} connections to {self._host} already, which is its limit "
                "(limits.connections_per_key); close some of them first"
            )

    def require_seat(self, session: Session) -> None:
        """Make sure that a session may have one more client.

        Raises:
            LimitExceeded: It has as many as it may.
        """
        if len(session.attachments) >= self._limits.clients:
            raise LimitExceeded(
                f"session {session.key.name!r} on {self._host} has {self._limits.clients} clients already, which is "
                "its limit (limits.clients); let one of them leave first"
            )
