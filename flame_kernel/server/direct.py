"""Which clients may call their session's worker directly, past the server, and where it is for them."""

from __future__ import annotations

from flame_kernel.protocol import messages
from flame_kernel.server.config import Direct
from flame_kernel.server.peers import Caller
from flame_kernel.server.permits import LANES, Grant
from flame_kernel.server.session import Session


class DirectLanes:
    """Tells clients where the worker of their session is.

    Args:
        config: Whether they may call it directly.
    """

    def __init__(self, config: Direct) -> None:
        self._config = config

    def unix_socket(self, caller: Caller, grant: Grant, session: Session) -> str:
        """Return the worker's unix socket, empty for who has no business there.

        The worker takes whoever connects to that socket for this user, who alone can enter its folder. So does the
        server with its own unix socket, and what a caller who came by that may do is no more and no less.

        Args:
            caller: Who asks.
            grant: What they may do in the session.
            session: The session.
        """
        local = not caller.public
        may_call = session.facts.calls and grant.role >= LANES[messages.LANE_CALLS]
        return session.process.worker_address if self._config.enabled and local and may_call else ""
