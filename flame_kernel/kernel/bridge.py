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
from flame_kernel.errors import FlameError, ProtocolError
from flame_kernel.kernel.answers import Answers
from flame_kernel.protocol import messages
from flame_kernel.protocol.jupyter import Channel, Envelope
from flame_kernel.protocol.session import SessionState
from flame_kernel.transport.channels import ConnectionInfo, NotebookChannels

log = logging.getLogger(__name__)

# Jupyter kills a kernel that takes longer than 5 s over its shutdown; a restart that isn't done by then goes on at the
# server.
_SHUTDOWN_S = 4.0


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
                # Not "leave": a notebook that goes away detaches; its session is ended by a shutdown request only.
                self._client.close(leave=False)
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

    async def _open_session(self) -> None:
        try:
            _, client = await self._connector.open(self._goal.target, self, self._goal.session, self._goal.kernel)
            if client.welcome is not None and client.welcome.state == SessionState.DEAD.value:
                await client.restart()
        except FlameError as error:
            self._no_session = error
        else:
            self._client = client
        finally:
            self._opening = None
        waiting, self._waiting = self._waiting, []
        for channel, envelope in waiting:
            self._pass_on(channel, envelope)

    def _on_notebook(self, channel: Channel, envelope: Envelope) -> None:
        header = envelope.header()
        if channel is Channel.CONTROL and header.msg_type == "shutdown_request":
            self._spawn(self._shut_down(envelope))
        elif channel is Channel.CONTROL and header.msg_type == "interrupt_request":
            self._spawn(self._interrupt(envelope))
        else:
            if header.msg_type == "execute_request":
                self._last_cell = envelope.parts[0]
                if self._no_session is not None:
                    self._open()  # perhaps the server is there by now
            self._pass_on(channel, envelope)

    def _pass_on(self, channel: Channel, envelope: Envelope) -> None:
        if self._client is not None:
            self._client.send(channel, envelope)
        elif self._no_session is not None:
            self._answers.without_session(channel, envelope, self._no_session)
        else:
            self._waiting.append((channel, envelope))

    async def _interrupt(self, request: Envelope) -> None:
        content: dict[str, Any] = {"status": "ok"}
        try:
            if self._client is not None:
                await self._client.interrupt()
        except FlameError as error:
            content = {"status": "error", "ename": type(error).__name__, "evalue": str(error), "traceback": []}
        self._answers.reply(Channel.CONTROL, request, "interrupt_reply", content)

    async def _shut_down(self, request: Envelope) -> None:
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
        self._answers.reply(Channel.CONTROL, request, "shutdown_reply", {"status": "ok", "restart": restart})
        self._finish(Exit.DONE)

    def on_jupyter(self, channel: Channel, envelope: Envelope) -> None:
        """The session says something: pass it on."""
        if not self._learnt_session_id:
            self._answers.session = envelope.header().session or self._answers.session
            self._learnt_session_id = True
        self._notebook.send(channel, envelope)

    def on_fate(self, fate: Fate) -> None:
        """Something befell the session."""
        if isinstance(fate, messages.Restarted):
            self._learnt_session_id = False
            return
        died = isinstance(fate, messages.Died)
        text = fate.cause if isinstance(fate, messages.Died) else "the session was closed by another client"
        self._answers.stream(f"[flame] {text}\n", self._last_cell)
        self._finish(Exit.SESSION_DIED if died else Exit.DONE)

    def on_missing(self, count: int) -> None:
        """Messages are gone; never silently."""
        self._answers.stream(f"[flame] {count} messages are missing: the link was down for too long\n", self._last_cell)

    def on_link(self, up: bool) -> None:
        """The link was lost, or is there again: cells wait, and nothing is lost."""
        log.info("the link is %s", "there again" if up else "lost")

    def on_ended(self, error: FlameError) -> None:
        """The link is over: what comes from now on is answered here, until a cell finds the server again."""
        self._client = None
        self._learnt_session_id = False
        self._no_session = error
        self._answers.stream(f"[flame] {error}\n", self._last_cell)
        self._answers.status("idle", self._last_cell)

    def _on_subscribe(self, topic: bytes) -> None:
        self._answers.welcome(topic)

    def _on_damage(self, channel: Channel, error: ProtocolError) -> None:
        log.warning("%s: %s", channel.value.decode(), error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
