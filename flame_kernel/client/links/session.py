"""A client's view of its session over a link: Jupyter messages requests and answers, what befalls it."""

from __future__ import annotations

import asyncio
import getpass
import itertools
import os
import secrets
import socket
import threading
from collections.abc import Sequence
from typing import Protocol

import msgspec
import zmq

from flame_kernel.buffers import Buffer
from flame_kernel.client.links.limits import require_size
from flame_kernel.client.links.link import Link
from flame_kernel.client.links.way import Way
from flame_kernel.errors import ConnectError, FlameError, FlameTimeout, LinkLost, ProtocolError
from flame_kernel.protocol import messages, packets
from flame_kernel.protocol.jupyter import Channel, Envelope, from_link, to_link
from flame_kernel.protocol.link import LinkState
from flame_kernel.protocol.replies import ReplyMatcher
from flame_kernel.transport.dialler import ZmqDialler
from flame_kernel.transport.interface import Cause, Endpoint

Fate = messages.Died | messages.Restarted | messages.Ended | messages.Resumed | messages.Detached


class SessionEvents(Protocol):
    """What befalls a session, as its client hears of it; all calls are made in the event loop."""

    def on_jupyter(self, channel: Channel, envelope: Envelope) -> None:
        """The kernel says something."""

    def on_fate(self, fate: Fate) -> None:
        """The kernel process died, was replaced or ended, the server was started again, or this client was detached."""

    def on_missing(self, count: int) -> None:
        """So many messages could not be kept while the link was down."""

    def on_link(self, up: bool) -> None:
        """The link was lost, or is there again."""

    def on_ended(self, error: FlameError) -> None:
        """The link is over for good."""


class Wanted(msgspec.Struct, frozen=True):
    """What a client wants of a server.

    Attributes:
        session: The session's name; empty for a private one.
        kernel: The kernelspec if it has to be started; empty for the server's default.
        existing: Whether it has to be there already.
        lane: The lane: the session's, or the server's, which needs no session.
        observe: Whether only to look on.
        direct: Whether to hear where the session's worker can be called directly.
        lease: How long it goes on without clients if it has to be started, in seconds; 0 for as long as the server
            lets it.
    """

    session: str = ""
    kernel: str = ""
    existing: bool = False
    lane: str = messages.LANE_SESSION
    observe: bool = False
    direct: bool = False
    lease: float = 0.0


class SessionClient:
    """One client of one session, or of the server without a session, for use inside an event loop.

    Args:
        context: The ZeroMQ context.
        endpoint: Where the server is, and the keys.
        events: Who is told of what befalls the session.
        wanted: Which session, if any.
        client_id: What names this client, 16 hex digits, where another process may come in its place; random if empty.
        way: What has to be seen to so that the server can be reached, where that is for clients to do.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: Endpoint,
        events: SessionEvents,
        wanted: Wanted,
        client_id: str = "",
        way: Way | None = None,
    ) -> None:
        self._way = way
        self._mending: asyncio.Task[None] | None = None
        self._context = context
        self._endpoint = endpoint
        self._events = events
        self._hello = messages.Hello(
            versions=(packets.VERSION,),
            lane=wanted.lane,
            attachment=(client_id or secrets.token_hex(8)) + secrets.token_hex(8),
            session=wanted.session,
            kernel=wanted.kernel,
            client=own_name(),
            folder=os.getcwd(),
            existing=wanted.existing,
            observe=wanted.observe,
            direct=wanted.direct,
            lease=wanted.lease,
            rows=True,
        )
        self._link: Link | None = None
        self._opened: asyncio.Future[messages.Welcome] | None = None
        self._numbers = itertools.count(1)
        self._replies: ReplyMatcher[asyncio.Future[messages.Done]] = ReplyMatcher()
        self._missed: list[Envelope] = []
        self.welcome: messages.Welcome | None = None
        self.direct: messages.Direct | None = None
        self.told_direct = threading.Event()  # for callers' threads

    async def open(self, timeout: float) -> messages.Welcome:
        """Connect to the server and attach to the session, which is started if need be.

        Args:
            timeout: How long all of that may take, in seconds.

        Returns:
            What the server says of the session.

        Raises:
            ConnectError: The server can't be reached, or does not let this client in.
            SessionError: The session can't be had.
            FlameTimeout: It took too long.
        """
        self._opened = asyncio.get_running_loop().create_future()
        self._link = Link(
            lambda events: ZmqDialler(self._context, self._endpoint, events), self._hello, self, self._endpoint.name
        )
        self._link.start()
        try:
            return await asyncio.wait_for(asyncio.shield(self._opened), timeout)
        except TimeoutError:
            self._link.close(leave=False)  # a session that takes its time may be there at the next try
            reason = await self._why_not(None)
            raise reason or FlameTimeout(
                f"{self._endpoint.name} answered, but the session was not ready within {timeout:g} s"
            ) from None
        except asyncio.CancelledError:
            self._link.close(leave=False)
            raise
        except _AttemptFailed as failed:
            self._link.close(leave=False)
            reason = await self._why_not(failed.cause)
            raise reason or LinkLost(f"the connection to {self._endpoint.name} ended before it was open") from None

    async def _why_not(self, cause: Cause | None) -> ConnectError | None:
        from flame_kernel.client.links.diagnose import why_not  # only when something is wrong: a kernel's start waits

        return await asyncio.to_thread(why_not, self._endpoint, cause)

    def send(self, channel: Channel, envelope: Envelope) -> None:
        """Send the kernel a message; while the link is down it waits.

        Raises:
            LimitExceeded: It's larger than the server takes.
        """
        parts = to_link(channel, envelope)
        if self.welcome is not None:
            require_size(parts, self.welcome.message_bytes, self._endpoint.name)
        self._require_link().send(parts)

    @property
    def conversation(self) -> str:
        """The name of this client's conversation with the session."""
        return self._hello.attachment

    @property
    def reached(self) -> bool:
        """Whether the server is there; the session may still have to come up."""
        return self._link is not None and self._link.state in (LinkState.GREETING, LinkState.OPEN)

    @property
    def server(self) -> str:
        """What to call the server."""
        return self._endpoint.name

    async def interrupt(self, session: str = "") -> None:
        """Interrupt the main thread of a session, this one unless another is named; likewise below."""
        await self._request(messages.Interrupt(next(self._numbers), session))

    async def restart(self, session: str = "") -> None:
        """Start a new process in place of a session's."""
        await self._request(messages.Restart(next(self._numbers), session))

    async def end(self, session: str = "") -> None:
        """End a session and its process."""
        await self._request(messages.Close(next(self._numbers), session))

    async def rename(self, name: str, session: str = "") -> None:
        """Give a session another name."""
        await self._request(messages.Rename(next(self._numbers), name, session))

    async def detach(self, session: str = "") -> None:
        """Have this session kept when its clients leave; or have another's clients leave."""
        await self._request(messages.Detach(next(self._numbers), session))

    async def missed(self, keep: bool = False) -> tuple[list[Envelope], messages.Done]:
        """Take what nobody has seen of this session.

        Args:
            keep: Whether it stays there for the next client all the same.

        Returns:
            The messages of iopub that stand for it, and what the server says of them.
        """
        done = await self._request(messages.AskMissed(next(self._numbers), keep))
        missed, self._missed = self._missed, []
        return missed, done

    async def share(self, who: str, role: str, session: str = "") -> tuple[str, ...]:
        """Let another key use a session; returns whom it is shared with then."""
        return (await self._request(messages.Share(next(self._numbers), who, role, session))).shared

    async def unshare(self, who: str, session: str = "") -> tuple[str, ...]:
        """Let another key use a session no more; returns whom it is shared with still."""
        return (await self._request(messages.Unshare(next(self._numbers), who, session))).shared

    async def end_other(self, session: str) -> None:
        """End another session than this one."""
        await self._request(messages.Close(next(self._numbers), session))

    async def sessions(self, memory: bool = False, everyone: bool = False) -> tuple[messages.SessionInfo, ...]:
        """List the sessions of this key and those shared with it, or those of all keys."""
        return (await self._request(messages.ListSessions(next(self._numbers), memory, everyone))).sessions

    async def kernels(self) -> tuple[messages.KernelInfo, ...]:
        """List the host's kernelspecs."""
        return (await self._request(messages.ListKernels(next(self._numbers)))).kernels

    def close(self, leave: bool = True) -> None:
        """End the link.

        Args:
            leave: Whether to tell the server that this client does not come back.
        """
        if self._mending is not None:
            self._mending.cancel()
        if self._way is not None:
            self._way.leave()
        if self._link is not None:
            self._link.close(leave)
            self._fail_all(LinkLost(f"the link to {self._endpoint.name} was closed here"))

    def on_open(self, welcome: messages.Welcome) -> None:
        """The link is open."""
        self.welcome = welcome
        if self._opened is not None and not self._opened.done():
            self._opened.set_result(welcome)
        else:
            self._events.on_link(True)

    def on_message(self, parts: Sequence[Buffer]) -> None:
        """A message of the server's or the kernel's."""
        if len(parts) == 2 and bytes(parts[0]) == messages.TOPIC:
            self._on_answer(messages.decode_answer(bytes(parts[1])))
        elif bytes(parts[0]) == messages.MISSED:
            self._missed.append(from_link([Channel.IOPUB, *parts[1:]])[1])
        else:
            self._events.on_jupyter(*from_link(parts))

    def on_missing(self, count: int) -> None:
        """Messages are gone."""
        self._events.on_missing(count)

    def on_down(self, cause: Cause) -> None:
        """A connection ended, or an attempt failed."""
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(_AttemptFailed(cause))
            return
        if cause is Cause.LOST and self.welcome is not None:
            self._events.on_link(False)
        # A failed attempt as well: what leads to the server may have ended again before it was reached.
        if self._way is not None and self.welcome is not None and (self._mending is None or self._mending.done()):
            self._mending = asyncio.create_task(self._mend(self._way))

    def on_ended(self, error: FlameError) -> None:
        """The link is over."""
        if self._way is not None:
            self._way.leave()
        self._fail_all(error)
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(error)
        else:
            self._events.on_ended(error)

    async def _mend(self, way: Way) -> None:
        try:
            await way.mend()
        except FlameError as error:
            self.close(leave=False)
            self._events.on_ended(error)

    async def _request(self, request: messages.Request) -> messages.Done:
        answered: asyncio.Future[messages.Done] = asyncio.get_running_loop().create_future()
        self._replies.expect(request.id, answered)
        self._require_link().send([messages.TOPIC, messages.encode(request)])
        return await answered

    def _on_answer(self, answer: messages.Answer) -> None:
        if isinstance(answer, messages.Done | messages.Failed):
            waiting = self._replies.take(answer.id)
            if waiting is not None and not waiting.done():
                if isinstance(answer, messages.Done):
                    waiting.set_result(answer)
                else:
                    waiting.set_exception(answer.why.error())
        elif isinstance(answer, messages.Renamed):
            assert self.welcome is not None
            self.welcome = msgspec.structs.replace(self.welcome, session=answer.name)
        elif isinstance(answer, messages.Direct):
            self.direct = answer
            self.told_direct.set()
        else:
            self._events.on_fate(answer)

    def _fail_all(self, error: FlameError) -> None:
        def fail(waiting: asyncio.Future[messages.Done]) -> None:
            if not waiting.done():
                waiting.set_exception(error)

        self._replies.drop_all(fail)

    def _require_link(self) -> Link:
        if self._link is None:
            raise ProtocolError("the session is not open")
        return self._link


class _AttemptFailed(Exception):  # it never leaves this module
    def __init__(self, cause: Cause) -> None:
        super().__init__(cause)
        self.cause = cause


def resumed(where: str, fate: messages.Resumed) -> str:
    """Return in a line what it means that the server was started again.

    Args:
        where: What to call the place.
        fate: What the server said of it.
    """
    return f"the server was started again at {fate.since}; what {where} said while there was none could not be kept"


def own_name() -> str:
    """Return what to call this client in listings, such as ``ada@laptop``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = "somebody"
    return f"{user}@{socket.gethostname()}"
