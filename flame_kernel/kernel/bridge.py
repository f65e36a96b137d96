"""The bridge: what frontends send goes to the session, what the session says goes to the frontends, byte for byte.

Few messages are looked at. Interrupt and shutdown requests are for the server, which owns the process. A cell that is
only ``%flame_connect`` is for us. The banner of a kernel_info_reply tells where it comes from. Control is never held up
by shell: both pass through as they come.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Awaitable, Collection, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import zmq

from flame_kernel.buffers import Buffer
from flame_kernel.client.links.connecting import Connector
from flame_kernel.client.links.session import Fate, SessionClient, resumed
from flame_kernel.errors import FlameError, ProtocolError, SessionDied, SessionError
from flame_kernel.kernel import moves
from flame_kernel.kernel.answers import Answers
from flame_kernel.kernel.door import Door, Goal
from flame_kernel.kernel.mover import Mover
from flame_kernel.kernel.notice import LinkNotice
from flame_kernel.protocol import messages
from flame_kernel.protocol.jupyter import Channel, Envelope, Header, write_json
from flame_kernel.transport.channels import ConnectionInfo, NotebookChannels

if TYPE_CHECKING:
    from flame_kernel.kernel.attach import Attach

log = logging.getLogger(__name__)

# Jupyter kills a kernel that takes longer than 5 s over its shutdown; what isn't done by then goes on at the server.
_SHUTDOWN_S = 4.0

# A restart's new process is the next bridge's to wait for: both start at the same time. This is for the old one's end,
# and to hear of a new one that fails at once.
_RESTART_S = 0.5

# While the link is down an interrupt waits for it, but the frontend does not wait for its reply.
_INTERRUPT_S = 2.0

# Looked for in what is not decoded unless it's there: a magic of ours in a cell, a reply's type in its header.
_MAGIC = b"%flame_"
_INFO = b"kernel_info_reply"

# How long a session may take to start that a cell wants to attach to.
_START_S = 60.0


class Exit(enum.IntEnum):
    """How the bridge's process ends."""

    DONE = 0
    SESSION_DIED = 1  # Jupyter's restarter starts another bridge, which restarts the session


class Settings(msgspec.Struct, frozen=True):
    """What a bridge is told.

    Attributes:
        goal: Which session to begin with.
        environ: The environment; FLAME_HOST counts when a notebook is moved.
        own: The name of the session that is this notebook's own; empty when the user named it.
        detach: Whether "shut down" leaves the session running.
        moves: Where the notebook was moved to is kept here.
    """

    goal: Goal
    environ: Mapping[str, str]
    own: str
    detach: bool
    moves: moves.Moves


class Bridge:
    """Connects one notebook with one session.

    Args:
        context: The ZeroMQ context.
        info: The notebook's connection file.
        connector: Opens sessions.
        settings: What it is told.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        info: ConnectionInfo,
        connector: Connector,
        settings: Settings,
    ) -> None:
        self._settings = settings
        self._notebook = NotebookChannels(context, info, self._on_notebook, self._on_damage, self._on_subscribe)
        self._answers = Answers(self._notebook.send)
        self._door = Door(connector, self, self._answers, settings.goal)
        self._notice = LinkNotice(self._answers)
        self._last_cell: Buffer = b"{}"
        self._attach: Attach | None = None
        self._offered_to = ""
        self._shutting_down = False
        self._died: SessionDied | None = None
        self._mover = Mover(
            self._door, self._answers, settings.moves, settings.goal, settings.environ, self._on_notebook
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()

    async def run(self) -> Exit:
        """Serve until the notebook or the session ends.

        Returns:
            How the process shall end.
        """
        # Not at once: who has subscribed by now is welcomed first.
        asyncio.get_running_loop().call_soon(self._answers.status, "starting")
        self._door.open()
        try:
            return await self._exit
        finally:
            self._notice.forget()
            for task in self._tasks:
                task.cancel()
            self._door.close()
            self._notebook.close()
            # What was being opened has sockets until it hears of its end, and their context waits for them.
            if self._tasks:
                await asyncio.wait(self._tasks)
            await self._door.empty()

    def detach(self) -> None:
        """End the bridge; the session goes on, unless its end is under way."""
        # Half-way through the time that it gives a kernel to shut down Jupyter sends a signal as well.
        if not self._shutting_down and self._died is None:
            self._finish(Exit.DONE)

    def _finish(self, how: Exit) -> None:
        if not self._exit.done():
            self._exit.set_result(how)

    def _on_notebook(self, channel: Channel, envelope: Envelope) -> None:
        header = envelope.header()
        # Both came on shell once, and some frontends still send them there.
        if header.msg_type == "shutdown_request":
            self._spawn(self._shut_down(channel, envelope))
        elif header.msg_type == "interrupt_request":
            self._spawn(self._interrupt(channel, envelope))
        elif self._mover.moving and channel is Channel.SHELL:
            self._mover.hold(envelope)
        elif header.msg_type == "execute_request" and channel is Channel.SHELL:
            self._last_cell = envelope.parts[0]
            self._execute(envelope, header)
        else:
            self._door.ask(channel, envelope, header)

    def _execute(self, envelope: Envelope, header: Header) -> None:
        # Most cells are not looked into: what is no magic of ours need not be decoded.
        if _MAGIC in bytes(envelope.parts[3]):
            code = envelope.content().get("code", "")
            if self._attaches(envelope, code):
                return
            self._offer(envelope)
            if self._moves(envelope, code):
                return
        else:
            self._offer(envelope)
        self._door.ask(Channel.SHELL, envelope, header)

    def _attaches(self, envelope: Envelope, code: str) -> bool:
        from flame_kernel.kernel.attach import is_attach  # what it needs is no part of a quick start

        if not is_attach(code):
            return False
        self._spawn(self._show_missed(envelope))
        return True

    def _moves(self, envelope: Envelope, code: str) -> bool:
        try:
            move = moves.read(code)
        except FlameError as error:
            self._answers.fail(envelope, error)
            return True
        if move is None:
            return False
        if self._attach is not None:
            self._attach.stop()
        self._mover.begin()
        self._spawn(self._mover.move(envelope, move))
        return True

    def _offer(self, cell: Envelope) -> None:
        """Tell below the first cell that something was missed, once for each time that the session is entered."""
        session = self._door.session
        if session is None or session.welcome is None or session.conversation == self._offered_to:
            return
        if session.welcome.unseen:
            if cell.content().get("silent"):
                return
            from flame_kernel.kernel.attach import offer

            self._answers.stream(offer(session.welcome.unseen), cell.parts[0])
        self._offered_to = session.conversation

    async def _show_missed(self, request: Envelope) -> None:
        from flame_kernel.kernel.attach import Attach

        self._attach = attached = Attach(self._answers, self._notebook.send, request)
        try:
            with self._answers.executing(request):
                await self._door.settled(_START_S)
                await attached.run(self._door.session)
        finally:
            if self._attach is attached:
                self._attach = None

    async def _interrupt(self, channel: Channel, request: Envelope) -> None:
        content: dict[str, Any] = {"status": "ok"}
        session = self._door.session
        try:
            if session is None:
                self._door.interrupt()
            else:
                await asyncio.wait_for(session.interrupt(), _INTERRUPT_S)
        except (FlameError, TimeoutError) as error:
            why = str(error) or "the server does not answer; the interrupt reaches it when it does"
            content = {"status": "error", "ename": type(error).__name__, "evalue": why, "traceback": []}
        self._answers.reply(channel, request, "interrupt_reply", content)

    async def _shut_down(self, channel: Channel, request: Envelope) -> None:
        self._shutting_down = True
        restart = bool(request.content().get("restart"))
        deadline = asyncio.get_running_loop().time() + _SHUTDOWN_S
        await self._door.settled(_SHUTDOWN_S)
        session = self._door.session
        try:
            if session is not None and restart and self._died is None:
                await _by(deadline, _restart(session))
            elif session is None and not restart and not self._settings.detach:
                self._door.give_up()
            elif session is not None and not restart and not self._settings.detach:
                self._settings.moves.forget()
                await _by(deadline, session.end())
        except FlameError as error:
            self._answers.stream(f"[flame] {error}\n", self._last_cell)
        except TimeoutError:
            log.warning("the server takes its time over the shutdown; it goes on there")
        self._answers.shut_down(channel, request, restart)
        self._finish(Exit.DONE)

    def on_jupyter(self, channel: Channel, envelope: Envelope) -> None:
        """The session says something: pass it on."""
        self._door.heard(channel, envelope)
        if channel is not Channel.IOPUB and _INFO in bytes(envelope.parts[0]):
            envelope = self._with_banner(envelope)
        if self._attach is not None:
            self._attach.heard(channel, envelope)
        if channel is Channel.IOPUB or envelope.identities:  # else it's a question whose asker is gone
            self._notebook.send(channel, envelope)

    def on_fate(self, fate: Fate) -> None:
        """Something befell the session."""
        if self._shutting_down:  # it's what this notebook asked for
            return
        if self._died is not None:  # nor is there more to tell; what was asked since gets its answer
            if self._door.busy:
                self._abandon(self._died)
            return
        name = self._door.goal.session
        if isinstance(fate, messages.Resumed):
            self._answers.stream(f"[flame] {resumed(self._door.where, fate)}\n", self._last_cell)
        elif isinstance(fate, messages.Restarted):
            if self._door.came_up():  # it's the process that the bridge before this one, or the door, asked for
                return
            self._abandon(
                SessionError(f"session {name!r} was restarted by another client; its variables are gone"), fate.lost
            )
        elif isinstance(fate, messages.Died):
            self._died = SessionDied(fate.cause)
            self._abandon(self._died)
            self._spawn(self._bury())
        elif isinstance(fate, messages.Detached):
            gone = SessionError(
                f"another client detached this notebook from session {name!r}; a cell attaches it again"
            )
            self._door.close()
            self.on_ended(gone)
        else:
            self._abandon(SessionError(f"session {name!r} was closed by another client"))
            self._finish(Exit.DONE)

    async def _bury(self) -> None:
        # This process ends with its session, since that's how Jupyter learns of it; so it won't hear that the notebook
        # is shut down. The dead session ends now: if Jupyter starts another bridge, that one starts another session.
        if not self._settings.detach:
            await self._door.bury(self._settings.own)
        self._finish(Exit.SESSION_DIED)

    def on_missing(self, count: int) -> None:
        """Messages are gone; never silently."""
        self._answers.stream(f"[flame] {count} messages are missing: the link was down for too long\n", self._last_cell)

    def on_link(self, up: bool) -> None:
        """The link was lost, or is there again; cells wait meanwhile."""
        if up:
            self._notice.back()
        else:
            self._notice.lost(self._door.where, self._last_cell if self._door.busy else None)

    def on_ended(self, error: FlameError) -> None:
        """The link is over: what comes from now on is answered here, until a cell finds the server again."""
        self._notice.forget()
        self._door.shut(error)
        self._abandon(error)

    def _abandon(self, error: FlameError, lost: Collection[str] | None = None) -> None:
        if self._attach is not None:
            self._attach.stop()
        self._door.abandon(error, self._last_cell, lost)

    def _with_banner(self, reply: Envelope) -> Envelope:
        if reply.header().msg_type != "kernel_info_reply":
            return reply
        content = reply.content()
        session = self._door.session
        if not isinstance(content, dict) or session is None or session.welcome is None:
            return reply
        welcome = session.welcome
        where = f"Remote Flame: session {welcome.session!r} on {welcome.host} ({session.server})"
        content["banner"] = f"{where}\n{content.get('banner', '')}"
        return Envelope(reply.identities, (*reply.parts[:3], write_json(content), *reply.parts[4:]))

    def _on_subscribe(self, topic: bytes) -> None:
        self._answers.welcome(topic)

    def _on_damage(self, channel: Channel, error: ProtocolError) -> None:
        log.warning("%s: %s", channel.decode(), error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _by(deadline: float, work: Awaitable[None]) -> None:
    async with asyncio.timeout_at(deadline):
        await work


async def _restart(session: SessionClient) -> None:
    restarting = asyncio.create_task(session.restart())
    try:
        await session.sessions()  # answered in turn: by now the server is at it
        await asyncio.wait({restarting}, timeout=_RESTART_S)
        if restarting.done():
            restarting.result()
    finally:
        restarting.cancel()
