"""Conversations with clients that are attached to no session: they list, end, restart and rename sessions by name."""

from __future__ import annotations

from collections.abc import Callable

from flame_kernel.errors import LinkLost
from flame_kernel.protocol.messages import Hello
from flame_kernel.server.attachment import Attachment

# How long an answer is kept for a client that was cut off, in seconds. What it asks for takes no longer.
_KEPT_S = 300.0

# How much is kept for a client that is away, in bytes.
_KEPT_BYTES = 1024 * 1024


class Lobby:
    """Keeps these conversations, so that over a cut no request runs twice and no answer is lost.

    Args:
        host: What to call this host.
        clock: The event loop's time, in seconds.
    """

    def __init__(self, host: str, clock: Callable[[], float]) -> None:
        self._host = host
        self._clock = clock
        self._here: dict[tuple[str, str], Attachment] = {}
        self._last_seen: dict[tuple[str, str], float] = {}

    def enter(self, owner: str, hello: Hello, client: str) -> Attachment:
        """Return the conversation that a client begins or goes on with.

        Args:
            owner: Whose key it is.
            hello: What the client said.
            client: What to call it.

        Raises:
            LinkLost: It wants to go on with one that is not known.
        """
        self._sweep()
        key = (owner, hello.attachment)
        attachment = self._here.get(key)
        if attachment is None and hello.resumed:
            raise LinkLost(
                f"{self._host} no longer knows this connection: the server was restarted; see with flame ls whether "
                "what was asked was done"
            )
        if attachment is None:
            attachment = self._here[key] = Attachment(hello.attachment, client, _KEPT_BYTES)
        self._last_seen[key] = self._clock()
        return attachment

    def leave(self, owner: str, attachment: Attachment) -> None:
        """Forget a conversation whose client does not come back."""
        self._here.pop((owner, attachment.name), None)
        self._last_seen.pop((owner, attachment.name), None)

    def _sweep(self) -> None:
        now = self._clock()
        for key, attachment in list(self._here.items()):
            if attachment.connected:
                self._last_seen[key] = now
            elif now - self._last_seen[key] > _KEPT_S:
                self.leave(key[0], attachment)
