"""Who else may use a session."""

from __future__ import annotations

from collections.abc import Callable

from flame_kernel.client.links.background import BackgroundLoop
from flame_kernel.client.links.session import SessionClient


class Sharing:
    """Shares sessions of a server with other keys.

    Args:
        loop: The loop that the client lives on.
        client: The client.
        require_open: Raises when the connection is over.
    """

    def __init__(self, loop: BackgroundLoop, client: SessionClient, require_open: Callable[[], None]) -> None:
        self._loop = loop
        self._client = client
        self._require_open = require_open

    def share(self, who: str, role: str, session: str) -> tuple[str, ...]:
        """Let another key use a session.

        Args:
            who: The key's fingerprint or comment, or ``*`` for every key.
            role: What it may do there at most.
            session: Which; empty for the one that the client is attached to.

        Returns:
            Whom it is shared with then.
        """
        self._require_open()
        return self._loop.run(self._client.share(who, role, session))

    def unshare(self, who: str, session: str) -> tuple[str, ...]:
        """Let another key use a session no more.

        Args:
            who: As it was shared; empty for everybody.
            session: Which; empty for the one that the client is attached to.

        Returns:
            Whom it is shared with still.
        """
        self._require_open()
        return self._loop.run(self._client.unshare(who, session))

    def end(self, session: str) -> None:
        """End another session."""
        self._require_open()
        self._loop.run(self._client.end_other(session))
