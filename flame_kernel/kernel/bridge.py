"""The bridge: what frontends send goes to the session, what the session says goes to the frontends, byte for byte.

Only five message types are looked at: interrupt and shutdown requests are for the server, which owns the process;
executions are looked at while there's no session. Control is never held up by shell: both pass through as they come.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import zmq

from flame_kernel.buffers import Buffer
from flame_kernel.client.connecting import Connector
from flame_kernel.client.session import Fate, SessionClient
from flame_kernel.client.target import Target
from flame_kernel.errors import FlameError, ProtocolError, SessionDied, SessionError
from flame_kernel.kernel.answers import Answers
from flame_kernel.kernel.outstanding import Outstanding
from flame_kernel.protocol import messages
from flame_kernel.protocol.jupyter import Channel, Envelope
from flame_kernel.protocol.session import SessionState
from flame_kernel.transport.channels import ConnectionInfo, NotebookChannels

log = logging.getLogger(__name__)

# Jupyter kills a kernel that takes longer than 5 s over its shutdown; a restart that isn't done by then goes on at the
# server.
_SHUTDOWN_S = 4.0

# An interrupt is acknowledged at once, or the link is down and it waits with everything else.
_INTERRUPT_S = 3.0

# A cut that is over before this is nobody's business.
_CUT_S = 3.0

# Frontends give up on a kernel that does not tell what it is within 60 s. After this long we tell in its place.
_PATIENCE_S = 10.0


class Exit(enum.IntEnum):
    """How the bridge's process ends."""

    DONE = 0
    SESSION_DIED = 1  # Jupyter's restarter starts another bridge, which restarts the session


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


class Bridge:
    """Connects one notebook with one session.

    Args:
        context: The ZeroMQ context.
        info: The notebook's connection file.
        connector: Opens sessions.
        goal: Which session.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], info: ConnectionInfo, connector: Connector, goal: Goal
    ) -> None:
        self._connector = connector
        self._goal = goal
        self._notebook = NotebookChannels(context, info, self._on_notebook, self._on_damage, self._on_subscribe)
        self._answers = Answers(self._notebook.send)
        self._client: SessionClient | None = None
        self._waiting: list[tuple[Channel, Envelope]] = []
        self._outstanding = Outstanding()
        self._shutting_down = False
        self._cut: asyncio.TimerHandle | None = None
        self._told_cut = False
        self._late: FlameError | None = None
        self._opening: asyncio.Task[None] | None = None
        self._no_session: FlameError | None = None
        self._last_cell: Buffer = b"{}"
        self._learnt_session_id = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()

    async def run(self) -> Exit:
        """Serve until the notebook or the session ends.

        Returns:
            How the process shall end.
        """
        self._answers.status("starting")
        self._open()
        try:
            return await self._exit
        finally:
            for task in self._tasks:
                task.cancel()
            if self._client is not None:
                # The session is named, so it stays; but nothing has to be kept for this bridge, which never comes back.
                self._client.close(leave=True)
            self._notebook.close()

    def detach(self) -> None:
        """End the bridge; the session goes on."""
        self._finish(Exit.DONE)

    def _finish(self, how: Exit) -> None:
        if not self._exit.done():
            self._exit.set_result(how)

    def _open(self) -> None:
        if self._opening is None:
            self._no_session = None
            self._opening = self._spawn(self._open_session())
            asyncio.get_running_loop().call_later(_PATIENCE_S, self._introduce, self._opening)

    def _introduce(self, opening: asyncio.Task[None]) -> None:
        if self._opening is not opening:
            return
        self._late = SessionError(f"session {self._goal.session!r} is not there yet; cells wait for it")
        waiting, self._waiting = self._waiting, []
        for channel, envelope in waiting:
            self._pass_on(channel, envelope)

    async def _open_session(self) -> None:
        try:
            _, client = await self._connector.open(self._goal.target, self, self._goal.session, self._goal.kernel)
            await self._revive(client)
        except FlameError as error:
            self._no_session = error
        else:
            self._client = client
        finally:
            self._opening = None
            self._late = None
        waiting, self._waiting = self._waiting, []
        for channel, envelope in waiting:
            self._pass_on(channel, envelope)

    async def _revive(self, client: SessionClient) -> None:
        if client.welcome is None or client.welcome.state != SessionState.DEAD.value:
            return
        try:
            await client.restart()
        except FlameError:
            client.close(leave=True)
            raise

    def _on_notebook(self, channel: Channel, envelope: Envelope) -> None:
        header = envelope.header()
        # Both came on shell once, and some frontends still send them there.
        if header.msg_type == "shutdown_request":
            self._spawn(self._shut_down(channel, envelope))
        elif header.msg_type == "interrupt_request":
            self._spawn(self._interrupt(channel, envelope))
        else:
            if header.msg_type == "execute_request":
                self._last_cell = envelope.parts[0]
                if self._no_session is not None:
                    self._open()  # perhaps the server is there by now
            self._pass_on(channel, envelope)

    def _pass_on(self, channel: Channel, envelope: Envelope) -> None:
        if self._client is not None:
            self._outstanding.asked(channel, envelope, envelope.header())
            self._client.send(channel, envelope)
        elif self._no_session is not None:
            self._answers.without_session(channel, envelope, self._no_session)
        elif self._late is not None and envelope.header().msg_type == "kernel_info_request":
            self._answers.without_session(channel, envelope, self._late)
        else:
            self._waiting.append((channel, envelope))

    async def _interrupt(self, channel: Channel, request: Envelope) -> None:
        content: dict[str, Any] = {"status": "ok"}
        try:
            if self._client is not None:
                await asyncio.wait_for(self._client.interrupt(), _INTERRUPT_S)
        except (FlameError, TimeoutError) as error:
            why = str(error) or "the server does not answer; the interrupt reaches it when it does"
            content = {"status": "error", "ename": type(error).__name__, "evalue": why, "traceback": []}
        self._answers.reply(channel, request, "interrupt_reply", content)

    async def _shut_down(self, channel: Channel, request: Envelope) -> None:
        self._shutting_down = True
        restart = bool(request.content().get("restart"))
        try:
            if self._opening is not None:
                await asyncio.wait({self._opening}, timeout=_SHUTDOWN_S)
            if self._client is not None:
                work = self._client.restart() if restart else self._client.end()
                await asyncio.wait_for(work, _SHUTDOWN_S)
        except FlameError as error:
            self._answers.stream(f"[flame] {error}\n", self._last_cell)
        except TimeoutError:
            log.warning("the server takes its time over the shutdown; it goes on there")
        self._answers.shut_down(channel, request, restart)
        self._finish(Exit.DONE)

    def on_jupyter(self, channel: Channel, envelope: Envelope) -> None:
        """The session says something: pass it on."""
        if not self._learnt_session_id:
            self._answers.session = envelope.header().session or self._answers.session
            self._learnt_session_id = True
        if channel is Channel.SHELL or channel is Channel.CONTROL:
            self._outstanding.replied(envelope)
        self._notebook.send(channel, envelope)

    def on_fate(self, fate: Fate) -> None:
        """Something befell the session."""
        if self._shutting_down:  # it's what this notebook asked for
            return
        name = self._goal.session
        if isinstance(fate, messages.Restarted):
            self._learnt_session_id = False
            self._abandon(SessionError(f"session {name!r} was restarted by another client; its variables are gone"))
        elif isinstance(fate, messages.Died):
            self._abandon(SessionDied(fate.cause))
            self._finish(Exit.SESSION_DIED)
        else:
            self._abandon(SessionError(f"session {name!r} was closed by another client, or its server was stopped"))
            self._finish(Exit.DONE)

    def _abandon(self, error: FlameError) -> None:
        """What was asked gets no answer from the session any more: the running cell shows why, once."""
        self._answers.session_lost(self._outstanding.take_all(), error, self._last_cell)

    def on_missing(self, count: int) -> None:
        """Messages are gone; never silently."""
        self._answers.stream(f"[flame] {count} messages are missing: the link was down for too long\n", self._last_cell)

    def on_link(self, up: bool) -> None:
        """The link was lost, or is there again: cells wait, and nothing is lost."""
        log.info("the link is %s", "there again" if up else "lost")
        if not up and self._cut is None:
            self._cut = asyncio.get_running_loop().call_later(_CUT_S, self._tell_cut)
        elif up and self._cut is not None:
            self._cut.cancel()
            self._cut = None
            if self._told_cut:
                self._answers.stream("[flame] connected again\n", self._last_cell)
            self._told_cut = False

    def _tell_cut(self) -> None:
        self._told_cut = self._outstanding.any
        if self._told_cut:
            text = (
                "[flame] the connection is lost; the session goes on, and what it says meanwhile comes when it is back"
            )
            self._answers.stream(f"{text}\n", self._last_cell)

    def on_ended(self, error: FlameError) -> None:
        """The link is over: what comes from now on is answered here, until a cell finds the server again."""
        self._client = None
        self._learnt_session_id = False
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None
        self._no_session = error
        self._abandon(error)

    def _on_subscribe(self, topic: bytes) -> None:
        self._answers.welcome(topic)

    def _on_damage(self, channel: Channel, error: ProtocolError) -> None:
        log.warning("%s: %s", channel.value.decode(), error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
