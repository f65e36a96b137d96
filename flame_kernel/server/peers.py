"""One connection each: where it stands, who is behind it, and what it serves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from flame_kernel.protocol.link import PEER, Machine, PeerEvent, PeerState
from flame_kernel.security.authorized_key import Role
from flame_kernel.server.attachment import Attachment, SendFrames
from flame_kernel.server.permits import NOBODY, Grant
from flame_kernel.server.relay import Relay
from flame_kernel.server.session import OnProcessChange, Session


@dataclass(frozen=True)
class Caller:
    """Who is behind a connection.

    Attributes:
        owner: Whose sessions it may use: the fingerprint of its key; empty for the unix socket's user.
        name: What to call it in logs.
        public: Its public key in Z85; empty on the unix socket.
        role: What its key may do; ``None`` for who holds an invite, which is good for enrolling only.
        address: The host it calls from; empty on the unix socket.
    """

    owner: str
    name: str
    public: bytes = b""
    role: Role | None = Role.ADMIN
    address: str = ""


@dataclass
class Peer:
    """One connection.

    Attributes:
        caller: Who is behind it.
        send: Sends frames over it; false when it's gone.
        last_heard: When something came over it, in the event loop's seconds.
        hang_up: Ends its connection at once.
        local: The address of this machine that it came to; empty on a unix socket.
        machine: Where it stands.
        session: The session it serves, once it has one.
        attachment: The conversation it serves, on the session lane.
        relay: The way to the session's worker, on the calls lane.
        grant: What its caller may do in that session.
        on_process_change: Told when the session's process is replaced or gone, on the calls lane.
    """

    caller: Caller
    send: SendFrames
    last_heard: float
    hang_up: Callable[[], None] = lambda: None
    local: str = ""
    machine: Machine[PeerState, PeerEvent] = field(default_factory=lambda: Machine(PEER, PeerState.NEW))
    session: Session | None = None
    attachment: Attachment | None = None
    relay: Relay | None = None
    grant: Grant = NOBODY
    on_process_change: OnProcessChange | None = None

    def leave(self) -> None:
        """Let go of what it served."""
        if self.session is not None and self.on_process_change is not None:
            self.session.on_process_change.discard(self.on_process_change)
        if self.relay is not None:
            self.relay.close()
            self.relay = None
        if self.attachment is not None:
            self.attachment.disconnect(self.send)
            self.attachment = None
