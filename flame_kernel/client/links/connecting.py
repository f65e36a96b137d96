"""From what a user named to an open session: pairing, keys, the embedded server, ssh."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TypeVar

import zmq

from flame_kernel.client.links import embedded
from flame_kernel.client.links.session import SessionClient, SessionEvents, Wanted, own_name
from flame_kernel.client.links.target import Address, Embedded, Ssh, Target, UnixSocket
from flame_kernel.client.links.way import Way
from flame_kernel.errors import HostKeyChanged, HostUnknown, KeyRefused, LinkLost, ServerUnreachable
from flame_kernel.protocol import messages
from flame_kernel.security.folders import Folders, private
from flame_kernel.security.invites import Invite
from flame_kernel.security.keys import KeyPair, load_or_create
from flame_kernel.security.known_hosts import KnownHosts
from flame_kernel.transport.interface import Endpoint

_EMBEDDED_TRIES = 3  # here, and behind ssh

# A server that is flooded hangs up in the middle of handshakes, which looks as if it had another key: once is no proof.
_HANDSHAKES = 3

T = TypeVar("T")
Attempt = Callable[[Endpoint, Way | None], Awaitable[tuple[Endpoint, SessionClient]]]


class Connector:
    """Opens sessions on whatever a user names.

    Args:
        context: The ZeroMQ context.
        environ: The environment; FLAME_HOME and FLAME_SSH count.
        timeout: How long connecting may take, in seconds.
        client_id: What names this client, 16 hex digits, where another process may come in its place.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], environ: Mapping[str, str], timeout: float, client_id: str = ""
    ) -> None:
        self._client_id = client_id
        self._context = context
        self._environ = environ
        self._folders = Folders.find(environ)
        self._timeout = timeout
        self._opening: SessionClient | None = None

    async def open(self, target: Target, events: SessionEvents, wanted: Wanted) -> tuple[Endpoint, SessionClient]:
        """Open a session, or the server's own lane.

        Args:
            target: Where.
            events: Who is told of what befalls the session.
            wanted: Which session, if any.

        Returns:
            Where the server is, and the open session.

        Raises:
            ConnectError: The server can't be reached, or does not let this client in.
            SessionError: The session can't be had.
            FlameTimeout: It took too long.
        """

        async def attempt(endpoint: Endpoint, way: Way | None) -> tuple[Endpoint, SessionClient]:
            async def once() -> SessionClient:
                client = self._opening = SessionClient(self._context, endpoint, events, wanted, self._client_id, way)
                try:
                    await client.open(self._timeout)
                finally:
                    self._opening = None
                return client

            return endpoint, await _insist(once)

        start = not wanted.existing and wanted.lane == messages.LANE_SESSION
        if isinstance(target, Embedded):
            return await self._embedded(attempt, start)
        if isinstance(target, Ssh):
            return await self._through_ssh(target, attempt, start)
        if isinstance(target, UnixSocket):
            return await attempt(Endpoint(f"ipc://{target.path}", str(target.path)), None)
        if isinstance(target, Address):
            return await attempt(self._known(target), None)
        return await self._invited(target, attempt)

    @property
    def reached(self) -> bool:
        """Whether the server of the session that is being opened is there."""
        return self._opening is not None and self._opening.reached

    def leave(self) -> None:
        """Tell the server that nobody waits any more for the session that is being opened, if there's one."""
        if self._opening is not None:
            self._opening.close(leave=True)

    async def _embedded(self, attempt: Attempt, start: bool) -> tuple[Endpoint, SessionClient]:
        if not start and not embedded.listens(self._folders):
            raise ServerUnreachable(
                "there are no sessions on this machine, and no server; connect() or a Remote Flame notebook starts "
                "one, and FLAME_HOST or a host's name leads elsewhere"
            )
        way = embedded.EmbeddedWay(self._folders, self._timeout)
        for _ in range(_EMBEDDED_TRIES):
            await way.mend()
            with suppress(LinkLost, ServerUnreachable):  # it may have been about to end
                return await attempt(embedded.endpoint(self._folders), way)
        raise ServerUnreachable(
            f"the embedded server ends as soon as it starts; see {embedded.log_path(self._folders)}"
        )

    async def _through_ssh(self, target: Ssh, attempt: Attempt, start: bool) -> tuple[Endpoint, SessionClient]:
        from flame_kernel.client.links.ssh.tunnel import Tunnel  # most clients never need it

        tunnel = Tunnel(target, self._folders, self._environ, self._own_key(), own_name())
        try:
            for _ in range(_EMBEDDED_TRIES):
                endpoint = await tunnel.open(self._timeout, start)
                with suppress(LinkLost, ServerUnreachable, HostKeyChanged):  # it may have been about to end
                    return await attempt(endpoint, tunnel)
            raise await tunnel.why_not()
        except BaseException:
            tunnel.leave()
            raise

    async def _invited(self, invite: Invite, attempt: Attempt) -> tuple[Endpoint, SessionClient]:
        known = self._known_hosts()
        address = Address(invite.host, invite.port)
        if known.lookup(str(address)) == invite.server_key:
            # The invite may have been used by this very client, in a notebook that is run again.
            try:
                return await attempt(self._known(address), None)
            except KeyRefused:
                pass
        await self.pair(invite)
        return await attempt(self._known(address), None)

    async def pair(self, invite: Invite) -> None:
        """Use an invite: have this client's key admitted, and pin the server's.

        Args:
            invite: The invite.

        Raises:
            InviteError: The server does not know it, or it was used, or has expired.
            ConnectError: The server can't be reached.
            FlameTimeout: It took too long.
        """
        from flame_kernel.client.links.enrol import (
            enrol,  # once in a client's life: no kernel's start shall wait for it
        )

        address = Address(invite.host, invite.port)
        once = invite.keypair()
        door = Endpoint(_tcp(address), str(address), invite.server_key, once.public, once.secret)
        await _insist(lambda: enrol(self._context, door, self._own_key(), self._timeout))
        self._known_hosts().pin(str(address), invite.server_key, replace=True)

    def _known(self, address: Address) -> Endpoint:
        known = self._known_hosts()
        server_key = known.lookup(str(address))
        if server_key is None:
            raise HostUnknown(
                f"{address} is not known here; pair once with the invite that 'flame-server' or 'flame invite' "
                "prints there"
            )
        key = self._own_key()
        return Endpoint(_tcp(address), str(address), server_key, key.public, key.secret, known.path)

    def _known_hosts(self) -> KnownHosts:
        return KnownHosts(self._folders.config / "known_hosts")

    def _own_key(self) -> KeyPair:
        return load_or_create(private(self._folders.config) / "client.key", f"client key of {socket.gethostname()}")


async def _insist(work: Callable[[], Awaitable[T]]) -> T:
    for _ in range(_HANDSHAKES - 1):
        with suppress(HostKeyChanged):
            return await work()
    return await work()


def _tcp(address: Address) -> str:
    return f"tcp://{address}"
