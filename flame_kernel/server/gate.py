"""Where connections arrive: who are you, what do you want, and from then on each packet to where it belongs."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import zmq

from flame_kernel.buffers import Buffer
from flame_kernel.errors import (
    CallsUnavailable,
    FlameError,
    KeyRefused,
    ProtocolError,
    SessionDied,
    SessionError,
    UnknownSession,
    VersionMismatch,
)
from flame_kernel.protocol import messages, packets
from flame_kernel.protocol.link import PeerEvent, PeerState
from flame_kernel.protocol.packets import Kind, Packet
from flame_kernel.protocol.session import SessionState
from flame_kernel.security.authorized_key import Role
from flame_kernel.security.key_text import fingerprint
from flame_kernel.server.access import Access
from flame_kernel.server.attachment import Attachment
from flame_kernel.server.audit import Audit
from flame_kernel.server.config import Limits
from flame_kernel.server.counts import Counts
from flame_kernel.server.direct import DirectLanes
from flame_kernel.server.doorkeeper import Doorkeeper
from flame_kernel.server.lobby import Lobby
from flame_kernel.server.peers import Peer
from flame_kernel.server.permits import LANES, require_role
from flame_kernel.server.relay import Relay
from flame_kernel.server.requests import Asker, Requests
from flame_kernel.server.session import Session
from flame_kernel.transport.interface import Listener, Origin

log = logging.getLogger(__name__)

# Of how many refused connections it is known that they were: a client says several things in one go, and what comes
# behind a greeting that was refused is not to be taken for another.
_REFUSED_KNOWN = 1_000

# How long who is shut out has to hear why, in seconds, before the connection ends.
_LAST_WORDS_S = 0.2


class Gate:
    """Serves the connections of one listener.

    Args:
        doorkeeper: Knows who is behind a connection.
        access: Which sessions there are for whom.
        requests: Carries out what clients ask about sessions.
        audit: Where who came is written down.
        context: The ZeroMQ context, for relays.
        host: What to call this host.
        limits: What a server gives at most.
        clock: The event loop's time, in seconds.
        direct: Who may call sessions directly.
    """

    def __init__(
        self,
        doorkeeper: Doorkeeper,
        access: Access,
        requests: Requests,
        audit: Audit,
        context: zmq.Context[zmq.Socket[bytes]],
        host: str,
        limits: Limits,
        clock: Callable[[], float],
        direct: DirectLanes,
    ) -> None:
        self._direct = direct
        self._doorkeeper = doorkeeper
        self._access = access
        self._requests = requests
        self._audit = audit
        self._context = context
        self._host = host
        self._limits = limits
        self._counts = Counts(limits, host)
        self._clock = clock
        self._lobby = Lobby(host, clock)
        self._peers: dict[bytes, Peer] = {}
        self._refused: dict[bytes, None] = {}  # the latest, in order
        self._tasks: set[asyncio.Task[None]] = set()
        self.listener: Listener | None = None

    def on_frames(self, name: bytes, origin: Callable[[], Origin], frames: list[Buffer]) -> None:
        """Take a packet; whatever is wrong with it concerns this connection only."""
        peer = self._peers.get(name)
        if peer is None and name in self._refused:
            return  # said before it had heard that it was refused
        try:
            if peer is None:
                peer = self._arrive(name, origin())
            peer.last_heard = self._clock()
            self._counts.require_size(frames)
            if peer.relay is not None:
                peer.relay.to_worker(frames)
                return
            self._take(name, peer, packets.decode(frames))
        except FlameError as error:
            if peer is not None:
                self._audit.refused(str(error), peer.caller.address, peer.caller.owner)
            self._refuse(name, peer, error)
        except Exception as error:
            if peer is None:
                raise
            self._fail(name, peer, error)

    def expire(self, silence_s: float) -> None:
        """Let go of connections that were not heard of for too long.

        Args:
            silence_s: How long, in seconds.
        """
        now = self._clock()
        for name, peer in list(self._peers.items()):
            if now - peer.last_heard <= silence_s or peer.machine.state is PeerState.STARTING:
                continue
            if peer.relay is not None and peer.send(packets.encode(Kind.ACK)):
                # A lane is silent while its call runs. The transport knows whether the connection is there.
                peer.last_heard = now
                continue
            peer.machine.fire(PeerEvent.SILENT)
            self._forget(name, peer)

    def recheck(self, roles: Mapping[str, Role]) -> Counter[str]:
        """Let go of the connections of whoever may no longer be where they are.

        Args:
            roles: The keys that are admitted now, by fingerprint, with their roles.

        Returns:
            How many connections of each key ended.
        """
        self._direct.recheck(roles)
        ended: Counter[str] = Counter()
        for name, peer in list(self._peers.items()):
            caller = peer.caller
            if not caller.public or caller.role is None:  # the unix socket's user, and who is about to be enrolled
                continue
            if caller.owner not in roles:
                ended[caller.owner] += 1
                session, attachment = peer.session, peer.attachment
                self._refuse(name, peer, KeyRefused(f"this client's key was removed on {self._host}"))
                asyncio.get_running_loop().call_later(_LAST_WORDS_S, peer.hang_up)
                if session is not None and attachment is not None:  # nobody comes back for what would be kept
                    self._spawn(self._say_goodbye(session, attachment))
            elif roles[caller.owner] is not caller.role or self._lost(peer):
                ended[caller.owner] += 1
                self._forget(name, peer)
                peer.send(packets.encode(Kind.RESET))  # it greets again, and gets what it may have now
        return ended

    def close(self) -> None:
        """Let go of every connection; clients dial again until a server is back."""
        for name, peer in list(self._peers.items()):
            self._forget(name, peer)
        for task in self._tasks:
            task.cancel()

    def _arrive(self, name: bytes, origin: Origin) -> Peer:
        try:
            caller = self._doorkeeper.recognise(origin.user, origin.address)
            self._counts.require_room(caller, self._peers.values())
        except FlameError as error:
            self._audit.refused(str(error), origin.address, fingerprint(origin.user) if origin.user else "")
            raise
        self._audit.connected(caller, origin.address)
        assert self.listener is not None  # it's what called
        send = functools.partial(self.listener.send, name)
        peer = Peer(caller, send, self._clock(), origin.hang_up, origin.local)
        self._peers[name] = peer
        return peer

    def _lost(self, peer: Peer) -> bool:
        """Tell whether what somebody may do in their session is less than when they came."""
        if peer.session is None:
            return False
        now = self._access.grant(peer.caller, peer.session)
        return now is None or now.role < peer.grant.role

    def _take(self, name: bytes, peer: Peer, packet: Packet) -> None:
        if packet.kind is Kind.HELLO and peer.machine.state is PeerState.STARTING:
            return  # each RESET makes a client greet, and several may have been under way; one answer will do
        if packet.kind is Kind.HELLO:
            peer.machine.fire(PeerEvent.HELLO)
            peer.leave()
            self._greet(
                name, peer, messages.decode(packet.parts[0] if packet.parts else b"", messages.Hello), packet.ack
            )
        elif packet.kind is Kind.BYE:
            peer.machine.fire(PeerEvent.BYE)
            session, attachment = peer.session, peer.attachment
            if attachment is not None:
                attachment.take(packet)  # it says how far the client has received
            self._forget(name, peer)
            if session is not None and attachment is not None:
                self._spawn(self._say_goodbye(session, attachment))
            elif attachment is not None:
                self._lobby.leave(peer.caller.owner, attachment)
        elif peer.attachment is not None:
            parts = peer.attachment.take(packet)
            if parts is not None:
                self._spawn_request(peer, peer.attachment, parts)
        elif peer.machine.state is PeerState.STARTING:
            if packet.kind is Kind.PING:
                peer.send(packets.encode(Kind.PONG))
        else:
            peer.send(packets.encode(Kind.RESET))

    def _spawn_request(self, peer: Peer, attachment: Attachment, parts: Sequence[Buffer]) -> None:
        work = self._requests.take(Asker(attachment, peer.session), parts)
        if work is not None:
            self._spawn(work)

    def _greet(self, name: bytes, peer: Peer, hello: messages.Hello, received: int) -> None:
        if packets.VERSION not in hello.versions:
            raise VersionMismatch(
                f"{self._host} speaks protocol version {packets.VERSION}, this client speaks "
                f"{', '.join(map(str, hello.versions)) or 'none'}; install the same version of remote-flame on both"
            )
        if hello.lane == messages.LANE_ENROL:
            key = self._doorkeeper.enrol(peer.caller, hello)
            self._audit.enrolled(fingerprint(key), hello.client, peer.caller.address)
            peer.send(packets.encode(Kind.WELCOME, [messages.encode(messages.Welcome(packets.VERSION, self._host))]))
            peer.machine.fire(PeerEvent.BYE)
            self._forget(name, peer)
            return
        self._doorkeeper.require_role(peer.caller, hello.lane)
        if hello.lane == messages.LANE_SESSION:
            self._spawn(self._attach_soon(name, peer, hello, received))
        elif hello.lane == messages.LANE_SERVER:
            self._admit(peer, hello, received)
        elif hello.lane == messages.LANE_CALLS:
            # At once: a client says right behind it what is for the worker.
            self._relay(name, peer, hello)
        else:
            raise ProtocolError(f"{self._host} knows no lane {hello.lane!r}")

    async def _attach_soon(self, name: bytes, peer: Peer, hello: messages.Hello, received: int) -> None:
        try:
            await self._attach(peer, hello, received)
        except FlameError as error:
            self._audit.refused(str(error), peer.caller.address, peer.caller.owner)
            self._refuse(name, peer, error)
        except Exception as error:  # noqa: BLE001  # it concerns this connection only, and is logged
            self._fail(name, peer, error)

    async def _attach(self, peer: Peer, hello: messages.Hello, received: int) -> None:
        _require_name(hello)
        session, grant, created = await self._access.enter(peer.caller, hello)
        if peer.machine.state is not PeerState.STARTING:  # it left while the session was being started
            # Nobody else has seen it, and the one it was started for does not come back.
            if (session.private or created) and not session.attachments:
                await session.close()
            return
        if session.state is SessionState.ENDED:
            raise UnknownSession(f"session {hello.session!r} on {self._host} was ended meanwhile; connect again")
        attachment = session.attachments.get(hello.attachment)
        if attachment is None:
            self._counts.require_seat(session)
            attachment = session.attach(hello.attachment, hello.client or peer.caller.name)
            self._audit.attached(grant, session.key, peer.caller.address, created)
        peer.machine.fire(PeerEvent.ATTACH)
        peer.session, peer.attachment, peer.grant = session, attachment, grant
        attachment.grant = grant
        session.unseen.came_back(attachment)
        attachment.connect(peer.send, received, self._welcome(peer, session, created, hello.direct), hello.rows)
        if hello.direct:
            self._direct.enter(peer, session, attachment)

    def _admit(self, peer: Peer, hello: messages.Hello, received: int) -> None:
        """Let a client in that asks about sessions without being attached to one."""
        _require_name(hello)
        attachment = self._lobby.enter(peer.caller.owner, hello, hello.client or peer.caller.name)
        peer.machine.fire(PeerEvent.ATTACH)
        peer.session, peer.attachment = None, attachment
        attachment.grant = peer.grant = self._access.everywhere(peer.caller)
        welcome = messages.Welcome(packets.VERSION, self._host, silence_s=self._limits.silence_s)
        attachment.connect(peer.send, received, welcome, hello.rows)

    def _relay(self, name: bytes, peer: Peer, hello: messages.Hello) -> None:
        session, grant = self._access.lane(peer.caller, hello)
        require_role(grant.role, LANES[messages.LANE_CALLS], f"calls in session {hello.session!r}")
        if session.state is SessionState.DEAD:
            raise SessionDied(
                f"session {session.key.name!r} on {self._host} died: {session.cause}; restart it to go on"
            )
        if session.state is SessionState.ENDED:  # its process has not, and would never answer
            raise SessionError(f"session {session.key.name!r} was closed")
        if not session.facts.calls:
            if session.facts.language == "python":
                raise CallsUnavailable(
                    f"session {session.key.name!r} was placed where this server's files are not, so it runs cells, but "
                    "answers no calls"
                )
            raise CallsUnavailable(
                f"session {session.key.name!r} runs {session.facts.language or 'another language'}, which has no "
                "modules and expressions to call; run cells in it instead"
            )

        def on_process_change(why: FlameError | None) -> None:
            if self._peers.get(name) is peer and peer.relay is not None:
                peer.relay.close()
                peer.relay = None
                if why is None:
                    del self._peers[name]
                    peer.send(packets.encode(Kind.RESET))
                else:
                    self._refuse(name, peer, why)

        peer.machine.fire(PeerEvent.RELAY)
        peer.session, peer.grant = session, grant
        self._audit.called(grant, session.key)
        peer.send(packets.encode(Kind.WELCOME, [messages.encode(self._welcome(peer, session, created=False))]))
        peer.relay = Relay(self._context, session.process.worker_address, peer.send, grant.role.value)
        peer.on_process_change = on_process_change
        session.on_process_change.add(on_process_change)

    def _welcome(self, peer: Peer, session: Session, created: bool, direct: bool = False) -> messages.Welcome:
        return messages.Welcome(
            version=packets.VERSION,
            host=self._host,
            session=self._access.name_for(peer.caller, session),
            kernel=session.process.kernel,
            language=session.facts.language,
            created=created,
            calls=session.facts.calls and peer.grant.role >= LANES[messages.LANE_CALLS],
            pid=session.process.pid,
            state=session.state.value,
            unseen=session.unseen.count,
            role=peer.grant.role.value,
            owner=self._access.owner_for(peer.caller, session),
            message_bytes=self._limits.message_bytes,
            worker=self._direct.stream(peer.caller, peer.grant, session),
            versions=session.facts.versions,
            direct=direct and self._direct.promised(peer, session),
            silence_s=self._limits.silence_s,
        )

    async def _say_goodbye(self, session: Session, attachment: Attachment) -> None:
        session.detach(attachment.name)
        self._direct.look()
        if session.private and not session.attachments:
            await session.close()

    def _send(self, name: bytes, frames: Sequence[Buffer]) -> bool:
        return self.listener is not None and self.listener.send(name, frames)

    def _refuse(self, name: bytes, peer: Peer | None, error: FlameError) -> None:
        log.info("refused %s: %s", peer.caller.name if peer is not None else "a connection", error)
        self._send(name, packets.encode(Kind.REFUSED, [messages.encode(messages.Refusal.of(error))]))
        if peer is not None:
            if peer.machine.allows(PeerEvent.REFUSE):
                peer.machine.fire(PeerEvent.REFUSE)
            self._forget(name, peer)
        self._refused[name] = None
        if len(self._refused) > _REFUSED_KNOWN:
            del self._refused[next(iter(self._refused))]

    def _fail(self, name: bytes, peer: Peer, error: Exception) -> None:
        log.error("what %s said could not be dealt with", peer.caller.name, exc_info=error)
        self._refuse(name, peer, FlameError(f"the server on {self._host} failed: {error}"))

    def _forget(self, name: bytes, peer: Peer) -> None:
        peer.leave()
        self._peers.pop(name, None)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _require_name(hello: messages.Hello) -> None:
    if not (hello.attachment.isascii() and hello.attachment.isalnum()):
        raise ProtocolError("a greeting arrived without a name for its conversation")
