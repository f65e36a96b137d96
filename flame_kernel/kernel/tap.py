"""What one session says, for as long as the notebook listens to it; after a move it is heard no more."""

from __future__ import annotations

from flame_kernel.client.links.session import Fate, SessionEvents
from flame_kernel.errors import FlameError
from flame_kernel.protocol.jupyter import Channel, Envelope


class Tap:
    """Passes a session's events on until it's closed.

    Args:
        events: Who is told of them.
    """

    def __init__(self, events: SessionEvents) -> None:
        self._events: SessionEvents | None = events

    def close(self) -> None:
        """Pass nothing on from now on."""
        self._events = None

    def on_jupyter(self, channel: Channel, envelope: Envelope) -> None:
        """The kernel says something."""
        if self._events is not None:
            self._events.on_jupyter(channel, envelope)

    def on_fate(self, fate: Fate) -> None:
        """Something befell the session."""
        if self._events is not None:
            self._events.on_fate(fate)

    def on_missing(self, count: int) -> None:
        """Messages are gone."""
        if self._events is not None:
            self._events.on_missing(count)

    def on_link(self, up: bool) -> None:
        """The link was lost, or is there again."""
        if self._events is not None:
            self._events.on_link(up)

    def on_ended(self, error: FlameError) -> None:
        """The link is over."""
        if self._events is not None:
            self._events.on_ended(error)
