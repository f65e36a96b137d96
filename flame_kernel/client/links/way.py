"""What a client sees to by itself so that a server can be reached: that it runs, that something leads there."""

from __future__ import annotations

from typing import Protocol


class Way(Protocol):
    """The way to a server, for as long as one client needs it; used inside an event loop."""

    async def mend(self) -> None:
        """Have the server reachable again, after the link to it was lost.

        Raises:
            FlameError: There's no way any more, and trying again would not help.
        """

    def leave(self) -> None:
        """Give up the way; what was sent may still take a moment to leave."""
