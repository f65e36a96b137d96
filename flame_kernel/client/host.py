"""``Host``: a server and its sessions, without being attached to any of them."""

from __future__ import annotations

import os
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, TypeVar

import zmq

from flame_kernel.client.connection import Connection
from flame_kernel.client.flame import Flame
from flame_kernel.client.links.background import BackgroundLoop
from flame_kernel.client.links.connecting import Connector
from flame_kernel.client.links.session import Fate, SessionClient, Wanted
from flame_kernel.client.links.target import parse
from flame_kernel.client.listing import Sessions
from flame_kernel.errors import FlameError, FlameTimeout, LinkLost
from flame_kernel.protocol import messages
from flame_kernel.protocol.jupyter import Channel, Envelope
from flame_kernel.protocol.messages import KernelInfo
from flame_kernel.transport.interface import Endpoint

T = TypeVar("T")


class Host:
    """A server and its sessions. No session is started for it.

    Args:
        target: ``host``, ``host:port``, an invite, the path of a unix socket, or nothing, as for ``connect``.
        timeout: How long connecting may take, and each request after it, in seconds.

    Raises:
        ConnectError: The server can't be reached, or does not let this client in; the message says what to do.
        FlameTimeout: It took too long.

    Example:
        >>> with Host() as host:
        ...     names = [session.name for session in host.sessions()]
    """

    def __init__(self, target: str | None = None, *, timeout: float = 60.0) -> None:
        self._timeout = timeout
        self._target = parse(target, os.environ)
        self._over: FlameError | None = None
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._loop = BackgroundLoop("flame-host")
        try:
            connector = Connector(self._context, os.environ, timeout)
            wanted = Wanted(lane=messages.LANE_SERVER)
            opened: tuple[Endpoint, SessionClient] = self._loop.run(connector.open(self._target, self, wanted))
        except BaseException:
            self._loop.close()
            self._context.destroy(0)
            raise
        self._endpoint, self._client = opened

    @property
    def name(self) -> str:
        """The host's name, as it calls itself."""
        return self._client.welcome.host if self._client.welcome is not None else self._endpoint.name

    def sessions(self, *, memory: bool = False) -> Sessions:
        """List the sessions that belong to this client's key.

        Args:
            memory: Whether to find out how much memory they use.
        """
        return Sessions(self._ask(self._client.sessions(memory)))

    def kernels(self) -> tuple[KernelInfo, ...]:
        """List what a session can run on the host: kernelspecs, and environments of conda, venv and pyenv."""
        return self._ask(self._client.kernels())

    def interrupt(self, session: str) -> None:
        """Interrupt the cell that runs in a session.

        Raises:
            UnknownSession: There is none of that name. Likewise below.
        """
        self._ask(self._client.interrupt(session))

    def restart(self, session: str) -> None:
        """Start a new process in place of a session's."""
        self._ask(self._client.restart(session))

    def end(self, session: str) -> None:
        """End a session and its process, for everyone who is attached."""
        self._ask(self._client.end(session))

    def rename(self, session: str, name: str) -> None:
        """Give a session another name; a private one is kept from then on."""
        self._ask(self._client.rename(name, session))

    def detach(self, session: str) -> None:
        """Send away all clients of a session, which goes on; a private one is kept."""
        self._ask(self._client.detach(session))

    def attach(self, session: str, *, plain: bool = False) -> Flame:
        """Connect to a session that is there already.

        Args:
            session: Its name.
            plain: Whether only plain data may cross.

        Raises:
            UnknownSession: There is none of that name.
        """
        try:
            return Flame(Connection(self._target, session, "", plain, self._timeout, os.environ, existing=True))
        except FlameError as error:
            raise error.with_traceback(None) from None

    def close(self) -> None:
        """End the connection."""
        if self._loop.alive:
            self._loop.run(self._shut())
            self._loop.close()
            self._context.destroy(1_000)

    def on_jupyter(self, channel: Channel, envelope: Envelope) -> None:
        """A kernel says something; not on this lane."""

    def on_fate(self, fate: Fate) -> None:
        """Something befell a session; not on this lane."""

    def on_missing(self, count: int) -> None:
        """Answers are gone; each request waits for its own, and no longer than it may."""

    def on_link(self, up: bool) -> None:
        """The link was lost, or is there again; requests wait for it."""

    def on_ended(self, error: FlameError) -> None:
        """The link is over."""
        self._over = error

    async def _shut(self) -> None:
        self._client.close(leave=True)

    def _ask(self, work: Coroutine[Any, Any, T]) -> T:
        if self._over is not None or not self._loop.alive:
            work.close()
            raise self._over or LinkLost(f"this connection to {self._endpoint.name} was closed")
        future = self._loop.start(work)
        try:
            return future.result(self._timeout)
        except FlameError as error:
            raise error.with_traceback(None) from None
        except TimeoutError:
            future.cancel()
            raise FlameTimeout(f"no answer from {self._endpoint.name} within {self._timeout:g} s") from None
        except BaseException:
            future.cancel()
            raise

    def __enter__(self) -> Host:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Host {self._endpoint.name}>"
