"""The way from a notebook to its session: requests wait until it's open; when there's no way they get our answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from flame_kernel.buffers import Buffer
from flame_kernel.client.connecting import Connector
from flame_kernel.client.session import SessionClient, SessionEvents, Wanted
from flame_kernel.client.target import Target
from flame_kernel.errors import FlameError, SessionError
from flame_kernel.kernel.answers import Answers
from flame_kernel.protocol.jupyter import Channel, Envelope
from flame_kernel.protocol.outstanding import Outstanding
from flame_kernel.protocol.session import SessionState
from flame_kernel.security.invites import Invite

# Frontends give up on a kernel that does not tell what it is within 60 s. After this long we tell in its place.
_PATIENCE_S = 10.0


@dataclass(frozen=True)
class Goal:
    """Which session the notebook wants.

    Attributes:
        target: On which server.
        session: Its name.
        kernel: The kernelspec if it has to be started; empty for the server's default.
    """

    target: Target
    session: str
    kernel: str


class Door:
    """Leads to one session after the other.

    Args:
        connector: Opens sessions.
        events: Who is told of what befalls a session.
        answers: Makes the answers of ours.
        goal: The session to begin with.
    """

    def __init__(self, connector: Connector, events: SessionEvents, answers: Answers, goal: Goal) -> None:
        self._connector = connector
        self._events = events
        self._answers = answers
        self._goal = goal
        self._client: SessionClient | None = None
        self._opening: asyncio.Task[None] | None = None
        self._why_not: FlameError | None = None
        self._late: FlameError | None = None
        self._waiting: list[tuple[Channel, Envelope]] = []
        self._outstanding = Outstanding()
        self._learnt_session_id = False
        self._unfinished: set[str] = set()
        self._finished = asyncio.Event()

    @property
    def session(self) -> SessionClient | None:
        """The session, while the door is open."""
        return self._client

    @property
    def goal(self) -> Goal:
        """Which session it leads to."""
        return self._goal

    @property
    def where(self) -> str:
        """What to call the server."""
        if self._client is not None:
            return self._client.server
        target = self._goal.target
        return target.address if isinstance(target, Invite) else str(target)  # an invite holds a secret

    @property
    def busy(self) -> bool:
        """Whether the session has been asked something that it has not replied to."""
        return self._outstanding.any

    def open(self) -> None:
        """Begin to open it, unless that is under way."""
        if self._opening is None and self._client is None:
            self._why_not = None
            self._opening = asyncio.create_task(self._open())
            asyncio.get_running_loop().call_later(_PATIENCE_S, self._introduce, self._opening)

    async def settled(self, timeout: float) -> None:
        """Wait until it's open or can't be opened.

        Args:
            timeout: How long at most, in seconds.
        """
        if self._opening is not None:
            await asyncio.wait({self._opening}, timeout=timeout)

    async def finished(self) -> None:
        """Wait until the session is through with the cells that it was given so far."""
        self._unfinished = self._outstanding.cells()
        self._finished.clear()
        if self._unfinished:
            await self._finished.wait()

    async def move(self, goal: Goal) -> None:
        """Lead to another session from now on; the one before goes on without us.

        Args:
            goal: The other session.

        Raises:
            FlameError: It can't be had; all stays as it was.
        """
        client = await self._enter(goal)
        self.close()
        self._goal = goal
        # What was asked besides cells is asked again: no frontend shall wait for a reply that never comes.
        self._waiting[:0] = self._outstanding.take_all()
        self._let_in(client)

    def close(self) -> None:
        """Leave the session; it is named, so it stays, but nothing has to be kept for us."""
        if self._opening is not None:
            self._opening.cancel()
        if self._client is not None:
            self._client.close(leave=True)
            self._client = None

    def ask(self, channel: Channel, envelope: Envelope) -> None:
        """Pass on what a frontend sends, now or when the door is open."""
        if self._why_not is not None and envelope.header().msg_type == "execute_request":
            self.open()  # perhaps the server is there by now
        self._pass_on(channel, envelope)

    def _pass_on(self, channel: Channel, envelope: Envelope) -> None:
        if self._client is not None:
            self._outstanding.asked(channel, envelope, envelope.header())
            self._client.send(channel, envelope)
            return
        if self._why_not is not None:
            self._answers.without_session(channel, envelope, self._why_not)
        elif self._late is not None and envelope.header().msg_type == "kernel_info_request":
            self._answers.without_session(channel, envelope, self._late)
        else:
            self._waiting.append((channel, envelope))

    def heard(self, channel: Channel, envelope: Envelope) -> None:
        """Note what the session says."""
        if not self._learnt_session_id:
            self._answers.session = envelope.header().session or self._answers.session
            self._learnt_session_id = True
        if channel in (Channel.SHELL, Channel.CONTROL):
            self._outstanding.replied(envelope)
        if self._unfinished and channel is Channel.IOPUB and envelope.header().msg_type == "status":
            parent = envelope.parent()
            if parent is not None and envelope.content().get("execution_state") == "idle":
                self._unfinished.discard(parent.msg_id)
                if not self._unfinished:
                    self._finished.set()

    def abandon(self, error: FlameError, last_cell: Buffer) -> None:
        """Answer what the session will never answer.

        Args:
            error: What befell it; the running cell shows it, once.
            last_cell: The header of the last cell, which shows it when none is running.
        """
        self._learnt_session_id = False  # whatever comes next is another process
        self._answers.session_lost(self._outstanding.take_all(), error, last_cell)
        self._unfinished = set()
        self._finished.set()

    def shut(self, error: FlameError) -> None:
        """Note that the link is over; the next cell tries again.

        Args:
            error: Why.
        """
        self._client = None
        self._why_not = error

    async def _open(self) -> None:
        try:
            client = await self._enter(self._goal)
        except FlameError as error:
            self._why_not = error
            self._late = self._opening = None
            self._pass_on_waiting()
        else:
            self._let_in(client)

    async def _enter(self, goal: Goal) -> SessionClient:
        _, client = await self._connector.open(goal.target, self._events, Wanted(goal.session, goal.kernel))
        if client.welcome is not None and client.welcome.state == SessionState.DEAD.value:
            try:
                await client.restart()
            except FlameError:
                client.close(leave=True)
                raise
        return client

    def _let_in(self, client: SessionClient) -> None:
        self._client = client
        self._why_not = self._late = self._opening = None
        self._learnt_session_id = False
        self._pass_on_waiting()

    def _introduce(self, opening: asyncio.Task[None]) -> None:
        if self._opening is opening:
            self._late = SessionError(f"session {self._goal.session!r} is not there yet; cells wait for it")
            self._pass_on_waiting()

    def _pass_on_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for channel, envelope in waiting:
            self._pass_on(channel, envelope)
