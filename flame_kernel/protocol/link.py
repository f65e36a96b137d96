"""The life of a connection, as tables.

A *link* is the client's end: it is dialled again and again until it is closed or refused, and the numbered
conversation it carries (``delivery``) survives each cut. A *peer* is the server's end: one connection, which dies with
its TCP stream.

Each table maps (state, event) to the next state. What isn't in the table isn't allowed.

This module is loaded inside sessions too: standard library and Python 3.9.
"""

from __future__ import annotations

import enum
from typing import Generic, TypeVar

from flame_kernel.errors import ProtocolError


class LinkState(enum.Enum):
    """Where the client's end stands."""

    DOWN = "down"  # no connection; the next attempt is due
    DIALLING = "dialling"  # an attempt is under way, encryption included
    GREETING = "greeting"  # HELLO was said
    OPEN = "open"  # WELCOME was heard: messages flow
    ENDED = "ended"  # closed here, or refused there: never dialled again


class LinkEvent(enum.Enum):
    """What happens to the client's end."""

    DIAL = "dial"  # an attempt begins
    UP = "up"  # the transport is connected and both sides have proved who they are
    WELCOME = "welcome"  # the server took us in
    REFUSED = "refused"  # the server, or its key, says no
    RESET = "reset"  # the server does not know this connection, or a hole was seen: greet again
    LOST = "lost"  # the transport ended, or nothing was heard for too long
    CLOSE = "close"  # the user closes it


LINK = {
    (LinkState.DOWN, LinkEvent.DIAL): LinkState.DIALLING,
    (LinkState.DOWN, LinkEvent.CLOSE): LinkState.ENDED,
    (LinkState.DIALLING, LinkEvent.UP): LinkState.GREETING,
    (LinkState.DIALLING, LinkEvent.LOST): LinkState.DOWN,
    (LinkState.DIALLING, LinkEvent.REFUSED): LinkState.ENDED,
    (LinkState.DIALLING, LinkEvent.CLOSE): LinkState.ENDED,
    (LinkState.GREETING, LinkEvent.WELCOME): LinkState.OPEN,
    (LinkState.GREETING, LinkEvent.REFUSED): LinkState.ENDED,
    (LinkState.GREETING, LinkEvent.RESET): LinkState.GREETING,
    (LinkState.GREETING, LinkEvent.LOST): LinkState.DOWN,
    (LinkState.GREETING, LinkEvent.CLOSE): LinkState.ENDED,
    (LinkState.OPEN, LinkEvent.RESET): LinkState.GREETING,
    (LinkState.OPEN, LinkEvent.REFUSED): LinkState.ENDED,
    (LinkState.OPEN, LinkEvent.LOST): LinkState.DOWN,
    (LinkState.OPEN, LinkEvent.CLOSE): LinkState.ENDED,
}


class PeerState(enum.Enum):
    """Where the server's end of one connection stands."""

    NEW = "new"  # connected, nothing said
    STARTING = "starting"  # HELLO was heard, its session is being started
    ATTACHED = "attached"  # messages flow
    RELAYED = "relayed"  # a calls lane: its packets pass through to the session's worker
    GONE = "gone"  # refused, or said BYE, or not heard for too long


class PeerEvent(enum.Enum):
    """What happens to the server's end."""

    HELLO = "hello"
    ATTACH = "attach"
    RELAY = "relay"
    REFUSE = "refuse"
    BYE = "bye"
    SILENT = "silent"


PEER = {
    (PeerState.NEW, PeerEvent.HELLO): PeerState.STARTING,
    (PeerState.NEW, PeerEvent.REFUSE): PeerState.GONE,
    (PeerState.NEW, PeerEvent.SILENT): PeerState.GONE,
    (PeerState.STARTING, PeerEvent.ATTACH): PeerState.ATTACHED,
    (PeerState.STARTING, PeerEvent.RELAY): PeerState.RELAYED,
    (PeerState.STARTING, PeerEvent.REFUSE): PeerState.GONE,
    (PeerState.STARTING, PeerEvent.BYE): PeerState.GONE,
    (PeerState.STARTING, PeerEvent.SILENT): PeerState.GONE,
    (PeerState.ATTACHED, PeerEvent.HELLO): PeerState.STARTING,
    (PeerState.ATTACHED, PeerEvent.REFUSE): PeerState.GONE,
    (PeerState.ATTACHED, PeerEvent.BYE): PeerState.GONE,
    (PeerState.ATTACHED, PeerEvent.SILENT): PeerState.GONE,
    (PeerState.RELAYED, PeerEvent.REFUSE): PeerState.GONE,
    (PeerState.RELAYED, PeerEvent.BYE): PeerState.GONE,
    (PeerState.RELAYED, PeerEvent.SILENT): PeerState.GONE,
}

S = TypeVar("S", bound=enum.Enum)
E = TypeVar("E", bound=enum.Enum)


class Machine(Generic[S, E]):
    """A state that changes only as its table allows.

    Args:
        table: (state, event) to the next state.
        state: Where it begins.

    Example:
        >>> machine = Machine(LINK, LinkState.DOWN)
        >>> machine.fire(LinkEvent.DIAL)
        <LinkState.DIALLING: 'dialling'>
    """

    def __init__(self, table: dict[tuple[S, E], S], state: S) -> None:
        self._table = table
        self.state = state

    def allows(self, event: E) -> bool:
        """Return whether the event may happen now."""
        return (self.state, event) in self._table

    def fire(self, event: E) -> S:
        """Let the event happen.

        Args:
            event: What happened.

        Returns:
            The new state.

        Raises:
            ProtocolError: It may not happen in this state.
        """
        try:
            self.state = self._table[self.state, event]
        except KeyError:
            raise ProtocolError(f"'{event.value}' is not allowed while {self.state.value}") from None
        return self.state
