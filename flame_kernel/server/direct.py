"""Which clients may call their session's worker directly, past the server, and where it is for them."""

from __future__ import annotations

from collections.abc import Mapping

import zmq

from flame_kernel.errors import KeyFileError
from flame_kernel.protocol import messages
from flame_kernel.protocol.session import SessionState
from flame_kernel.security.authorized_key import Role
from flame_kernel.security.key_text import fingerprint
from flame_kernel.server.access import Access
from flame_kernel.server.attachment import Attachment
from flame_kernel.server.audit import Audit
from flame_kernel.server.config import Direct
from flame_kernel.server.peers import Caller, Peer
from flame_kernel.server.permits import LANES, Grant
from flame_kernel.server.session import Session
from flame_kernel.server.worker_door import Client, WorkerDoor


class DirectLanes:
    """Tells clients where the worker of their session is, and the worker whom to let in.

    Args:
        config: Whether they may call it directly, and at which ports.
        context: The ZeroMQ context.
        access: What callers may do in sessions.
        audit: Where it's written down.
    """

    def __init__(self, config: Direct, context: zmq.Context[zmq.Socket[bytes]], access: Access, audit: Audit) -> None:
        self._config = config
        self._context = context
        self._access = access
        self._audit = audit
        self._doors: dict[Session, WorkerDoor] = {}

    def stream(self, caller: Caller, grant: Grant, session: Session) -> str:
        """Return where the worker waits for streams, empty for who has no business there.

        The worker takes whoever connects to that socket for this user, who alone can enter its folder. So does the
        server with its own unix socket, and what a caller who came by that may do is no more and no less.

        Args:
            caller: Who asks.
            grant: What they may do in the session.
            session: The session.
        """
        local = self._config.enabled and not caller.public
        return session.process.stream_address if local and _may_call(grant, session) else ""

    def promised(self, peer: Peer, session: Session) -> bool:
        """Tell whether a client that wants to call its session directly will be told at which port.

        Args:
            peer: Its connection.
            session: The session.
        """
        caller = peer.caller
        return bool(caller.public) and _may_call(peer.grant, session) and self._config.ports_at(peer.local) is not None

    def enter(self, peer: Peer, session: Session, attachment: Attachment) -> None:
        """Let a client that attached to a session, and wants to, call it directly; it is told where.

        Args:
            peer: Its connection.
            session: The session.
            attachment: Its conversation.
        """
        caller, grant = peer.caller, peer.grant
        if not _may_call(grant, session):
            return
        if self.stream(caller, grant, session):
            self._audit.direct(grant, session.key, "")
        ports = self._config.ports_at(peer.local)
        if not caller.public or ports is None:
            return
        self._audit.direct(grant, session.key, caller.address)
        door = self._doors.get(session)
        if door is None:
            door = self._doors[session] = WorkerDoor(self._context, session, ports, self._refused)
        door.admit(Client(caller, grant, attachment, peer.local))

    def look(self) -> None:
        """Look who has left, and which sessions have ended."""
        for session, door in list(self._doors.items()):
            if session.state is SessionState.ENDED:
                door.close()
                del self._doors[session]
            else:
                door.keep(lambda client: True)

    def recheck(self, roles: Mapping[str, Role]) -> None:
        """Let go of whoever may no longer do what they could.

        Args:
            roles: The keys that are admitted now, by fingerprint, with their roles.
        """
        for session, door in self._doors.items():

            def may_stay(client: Client, session: Session = session) -> bool:
                now = self._access.grant(client.caller, session)
                same = roles.get(client.caller.owner) is client.caller.role
                return same and now is not None and now.role >= client.grant.role

            door.keep(may_stay)

    def close(self) -> None:
        """Let go of all of it."""
        for door in self._doors.values():
            door.close()
        self._doors.clear()

    def _refused(self, why: str, address: str, key: str) -> None:
        try:
            short = fingerprint(key.encode("ascii")) if key else ""
        except KeyFileError:  # what is no key has no fingerprint
            short = ""
        self._audit.refused(why, address, short)


def _may_call(grant: Grant, session: Session) -> bool:
    return session.facts.calls and grant.role >= LANES[messages.LANE_CALLS]
