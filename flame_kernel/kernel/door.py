"""The way from a notebook to its session: requests wait until it's open; when there's no way they get our answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from contextlib import suppress

import msgspec

from flame_kernel.buffers import Buffer
from flame_kernel.client.links.connecting import Connector
from flame_kernel.client.links.session import SessionClient, SessionEvents, Wanted
from flame_kernel.client.links.target import Target
from flame_kernel.errors import FlameError, SessionError
from flame_kernel.kernel.answers import Answers
from flame_kernel.kernel.tap import Tap
from flame_kernel.kernel.unfinished import Unfinished
from flame_kernel.protocol.jupyter import Channel, Envelope, Header
from flame_kernel.protocol.outstanding import Outstanding
from flame_kernel.protocol.session import SessionState
from flame_kernel.security.invites import Invite

log = logging.getLogger(__name__)

# How long it may take to end a session that the notebook leaves without having used it, in seconds.
_TIDY_S = 2.0

# Frontends give up on a kernel that does not tell what it is within 60 s. After this long we tell in its place; when
# the server is there, and only the session takes its time, it's worth to wait for what the session says of itself.
_PATIENCE_S = 10.0
_MORE_PATIENCE_S = 30.0


class Goal(msgspec.Struct, frozen=True):
    """Which session the notebook wants.

    Attributes:
        target: On which server.
        session: Its name.
        kernel: The kernelspec if it has to be started; empty for the server's default.
    """

    target: Target
    session: str
    kernel: str


class Left(msgspec.Struct, frozen=True):
    """A session that goes on without the notebook.

    Attributes:
        goal: Which.
        where: What to call its server.
    """

    goal: Goal
    where: str


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
        self._tap: Tap | None = None
        self._used = False
        self._coming_up = False
        self._opening: asyncio.Task[None] | None = None
        self._cancelled: set[asyncio.Task[None]] = set()
        self._why_not: FlameError | None = None
        self._late: FlameError | None = None
        self._waiting: list[tuple[Channel, Envelope]] = []
        self._outstanding = Outstanding()
        self._learnt_session_id = False
        self._unfinished = Unfinished()

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

    async def finished(self) -> bool:
        """Wait until the session is through with the cells that it was given so far.

        Returns:
            Whether what is queued behind them shall run.
        """
        return await self._unfinished.wait(
            self._outstanding.cells() | {cell.header().msg_id for cell in self._queued()}
        )

    async def move(self, goal: Goal) -> Left | None:
        """Lead to another session from now on.

        The one before goes on, unless it was started for this notebook and never used.

        Args:
            goal: The other session.

        Returns:
            The session that goes on, if there was one.

        Raises:
            FlameError: It can't be had; all stays as it was.
        """
        client, tap = await self._enter(goal)
        before, left, used = self._client, Left(self._goal, self.where), self._used
        self._shut_opening()
        if self._tap is not None:
            self._tap.close()
        self._goal = goal
        # What was asked besides cells is asked again: no frontend shall wait for a reply that never comes.
        self._waiting[:0] = self._outstanding.take_all()
        self._let_in(client, tap)
        if before is None:
            return None
        try:
            fresh = before.welcome is not None and before.welcome.created and not used
            return None if fresh and await _ended(before, left.goal.session) else left
        finally:
            before.close(leave=True)

    def close(self) -> None:
        """Leave the session; it is named, so it stays, but nothing has to be kept for us."""
        self._shut_opening()
        if self._client is not None:
            self._client.close(leave=True)
            self._client = None

    async def empty(self) -> None:
        """Wait until what was being opened when the door was closed has let go of its sockets."""
        if self._cancelled:
            await asyncio.wait(self._cancelled)

    async def bury(self, own: str) -> None:
        """End the session, which has died, if it's nobody else's and the next one would begin as it did.

        Args:
            own: The name of the notebook's own session.
        """
        client = self._client
        if client is None or client.welcome is None:
            return
        if client.welcome.created or self._goal.session == own:
            await _ended(client, client.welcome.session, keep_wanted=True)

    def give_up(self) -> None:
        """End the session that is being started: nobody waits for it any more."""
        self._connector.leave()

    def _shut_opening(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            self._cancelled.add(self._opening)
            self._opening.add_done_callback(self._cancelled.discard)
            self._opening = None

    def ask(self, channel: Channel, envelope: Envelope, header: Header) -> None:
        """Pass on what a frontend sends, now or when the door is open."""
        if self._why_not is not None and header.msg_type == "execute_request":
            self.open()  # perhaps the server is there by now
        self._pass_on(channel, envelope, header)

    def _pass_on(self, channel: Channel, envelope: Envelope, header: Header) -> None:
        if self._client is not None:
            self._used = self._used or header.msg_type == "execute_request"
            self._outstanding.asked(channel, envelope, header)
            self._client.send(channel, envelope)
            return
        if self._why_not is not None:
            self._answers.without_session(channel, envelope, self._why_not)
        elif self._late is not None and header.msg_type == "kernel_info_request":
            self._answers.without_session(channel, envelope, self._late)
        else:
            self._waiting.append((channel, envelope))

    def heard(self, channel: Channel, envelope: Envelope) -> None:
        """Note what the session says."""
        if not self._learnt_session_id:
            self._answers.session = envelope.header().session or self._answers.session
            self._learnt_session_id = True
        if channel is Channel.IOPUB:
            self._answers.begun.heard(envelope)
        request = None if channel in (Channel.IOPUB, Channel.STDIN) else self._outstanding.replied(envelope)
        self._unfinished.heard(channel, envelope, request)

    def abandon(self, error: FlameError, last_cell: Buffer, lost: Collection[str] | None = None) -> None:
        """Answer what the session will never answer.

        Args:
            error: What befell it; the running cell shows it, once.
            last_cell: The header of the last cell, which shows it when none is running.
            lost: The ids of the requests that it took with it; all of them unless told.
        """
        self._learnt_session_id = False  # whatever comes next is another process
        requests = self._outstanding.take_all() if lost is None else self._outstanding.take(lost)
        self._answers.session_lost(requests, error, last_cell)
        self._answers.begun.forget()
        self._unfinished.give_up()

    def came_up(self) -> bool:
        """Tell whether the process that just came up is the one that the notebook waits for, not one in its place."""
        expected, self._coming_up = self._coming_up, False
        return expected or self._client is None

    def interrupt(self) -> None:
        """Answer the cells that wait for a session which is not there yet."""
        cells = self._queued()
        if not cells:
            return
        self._waiting = [(channel, envelope) for channel, envelope in self._waiting if envelope not in cells]
        error = SessionError(f"interrupted while session {self._goal.session!r} was not there yet")
        self._answers.session_lost([(Channel.SHELL, cell) for cell in cells], error, cells[0].parts[0])
        self._unfinished.give_up()

    def shut(self, error: FlameError) -> None:
        """Note that the link is over; the next cell tries again.

        Args:
            error: Why.
        """
        self._client = None
        self._why_not = error

    async def _open(self) -> None:
        try:
            client, tap = await self._enter(self._goal)
        except FlameError as error:
            self._why_not = error
            self._late = self._opening = None
            self._pass_on_waiting()
            self._unfinished.give_up()
        else:
            self._let_in(client, tap)

    async def _enter(self, goal: Goal) -> tuple[SessionClient, Tap]:
        tap = Tap(self._events)
        try:
            _, client = await self._connector.open(goal.target, tap, Wanted(goal.session, goal.kernel))
            if client.welcome is not None and client.welcome.state == SessionState.DEAD.value:
                try:
                    await client.restart()
                except FlameError:
                    client.close(leave=True)
                    raise
        except FlameError:
            raise
        except Exception as error:  # whatever it is, cells that wait must hear of it
            log.exception("session %r could not be opened", goal.session)
            raise SessionError(f"session {goal.session!r} could not be opened: {error!r}") from error
        return client, tap

    def _let_in(self, client: SessionClient, tap: Tap) -> None:
        self._client, self._tap = client, tap
        self._why_not = self._late = self._opening = None
        self._learnt_session_id = self._used = False
        self._answers.begun.forget()
        self._coming_up = client.welcome is not None and client.welcome.state == SessionState.RESTARTING.value
        self._pass_on_waiting()

    def _queued(self) -> list[Envelope]:
        return [envelope for _, envelope in self._waiting if envelope.header().msg_type == "execute_request"]

    def _introduce(self, opening: asyncio.Task[None], more_patience: bool = True) -> None:
        if self._opening is not opening:
            return
        if more_patience and self._connector.reached:
            asyncio.get_running_loop().call_later(_MORE_PATIENCE_S, self._introduce, opening, False)
        else:
            self._late = SessionError(f"session {self._goal.session!r} is not there yet; cells wait for it")
            self._pass_on_waiting()

    def _pass_on_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for channel, envelope in waiting:
            self._pass_on(channel, envelope, envelope.header())


async def _ended(client: SessionClient, session: str, *, keep_wanted: bool = False) -> bool:
    """End a session if this client is the only one; tell whether it was.

    Args:
        client: The client.
        session: The session's name.
        keep_wanted: Whether it stays when others may come for something of it.
    """
    with suppress(FlameError, TimeoutError):
        async with asyncio.timeout(_TIDY_S):
            found = [info for info in await client.sessions() if info.name == session and info.clients <= 1]
            if any(not (keep_wanted and (info.unseen or info.shared)) for info in found):
                await client.end()
                return True
    return False
