"""A session: a kernel process that outlives every connection, and the clients that are attached to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import zmq

from flame_kernel.buffers import Buffer
from flame_kernel.errors import FlameError, KernelStartFailed, ProtocolError, SessionDied, SessionError
from flame_kernel.protocol import messages
from flame_kernel.protocol.jupyter import Channel, Envelope, from_link, to_link
from flame_kernel.protocol.link import Machine
from flame_kernel.protocol.session import SESSION, SessionEvent, SessionState
from flame_kernel.server import memory
from flame_kernel.server.attachment import Attachment
from flame_kernel.server.boot import Boot, KernelFacts
from flame_kernel.server.process import KernelProcess
from flame_kernel.server.unseen import Unseen
from flame_kernel.transport.channels import ConnectionInfo, KernelChannels

log = logging.getLogger(__name__)


# A second interrupt within this time, in seconds, means that the first was not enough.
_AGAIN_S = 5.0

# Told when the kernel process is replaced (None) or gone (why), once.
OnProcessChange = Callable[[FlameError | None], None]


@dataclass(frozen=True)
class SessionKey:
    """What a session is known by.

    Attributes:
        owner: The fingerprint of the key it belongs to; empty for the unix socket's user.
        name: Its name among that key's sessions.
    """

    owner: str
    name: str


class Session:
    """One session.

    Args:
        key: What it's known by.
        private: Whether it ends with its client.
        process: Its kernel process, not started yet.
        started: When, in seconds since the epoch.
        start_s: How long its kernel may take to come up, in seconds.
        on_ended: Called once, when it's over.
        missed_bytes: How much is kept of what it says while nobody is attached, in bytes.
    """

    def __init__(
        self,
        key: SessionKey,
        private: bool,
        process: KernelProcess,
        started: float,
        start_s: float,
        on_ended: Callable[[Session], None],
        missed_bytes: int,
    ) -> None:
        self.key = key
        self.private = private
        self.process = process
        self.started = started
        self.facts = KernelFacts(process.language, calls=False)
        self.attachments: dict[str, Attachment] = {}
        self.unseen = Unseen(self.attachments, missed_bytes)
        self.on_process_change: set[OnProcessChange] = set()
        self._start_s = start_s
        self._on_ended = on_ended
        self._machine = Machine(SESSION, SessionState.STARTING)
        self._channels: KernelChannels | None = None
        self._boot: Boot | None = None
        self._held: list[tuple[Channel, Envelope]] = []
        self._watch: asyncio.Task[None] | None = None
        self.cause = ""  # how it died
        self._verdict = ""  # why the server killed it
        self._interrupted = -_AGAIN_S

    @property
    def state(self) -> SessionState:
        """Where it stands."""
        return self._machine.state

    @property
    def lonely(self) -> bool:
        """Whether no client is connected to it."""
        return not any(attachment.connected for attachment in self.attachments.values())

    async def start(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        """Start the kernel process and wait until it's ready.

        Args:
            context: The ZeroMQ context for its channels.

        Raises:
            KernelStartFailed: It ended, or gave no sign of life in time.
        """
        info: ConnectionInfo = await self.process.start()
        self._channels = KernelChannels(context, info, self._on_kernel, self._on_damage)
        try:
            await self._come_up()
        except KernelStartFailed:
            await self.close()
            raise

    async def interrupt(self) -> None:
        """Interrupt the main thread; a second time within some seconds also what it has started elsewhere.

        Raises:
            SessionDied: There is no process to interrupt.
        """
        self._require_life()
        await self.process.interrupt()
        now = asyncio.get_running_loop().time()
        if now - self._interrupted < _AGAIN_S:
            self.process.interrupt_children()
        self._interrupted = now

    async def restart(self) -> None:
        """Start a new process in place of the old one; what clients send meanwhile is held.

        Raises:
            SessionError: It's being restarted already, or has ended.
            KernelStartFailed: The new one does not come up.
        """
        if not self._machine.allows(SessionEvent.RESTART):
            raise SessionError(f"session {self.key.name!r} can't be restarted while it is {self.state.value}")
        self._machine.fire(SessionEvent.RESTART)
        self._stop_watching()
        self._held.clear()  # a restart aborts what waits for the old process, as a local kernel's does
        try:
            await self.process.restart()
            await self._come_up()
        except KernelStartFailed as error:
            if self._machine.allows(SessionEvent.DIE):
                self._die(str(error), error)
            raise
        self._tell_process_change(None)
        for attachment in self.attachments.values():
            attachment.tell(messages.Restarted(self.process.pid))

    async def close(self) -> None:
        """End the session and its process."""
        if not self._machine.allows(SessionEvent.CLOSE):
            return
        self._machine.fire(SessionEvent.CLOSE)
        self._stop_watching()
        for attachment in self.attachments.values():
            attachment.tell(messages.Ended())
        self._tell_process_change(SessionError(f"session {self.key.name!r} was closed"))
        if self._channels is not None:
            self._channels.close()
        await self.process.close()
        self._on_ended(self)

    def kill(self, verdict: str) -> None:
        """Kill the process and all that it has started.

        Args:
            verdict: Why, in words that follow "it died: ".
        """
        self._verdict = verdict
        memory.end_tree(self.process.pid)

    def rename(self, name: str) -> None:
        """Give it another name, by which it stays; whoever is attached is told."""
        self.key = SessionKey(self.key.owner, name)
        self.private = False
        for attachment in self.attachments.values():
            attachment.tell(messages.Renamed(name))

    def send_away(self) -> None:
        """Go on without clients: those that are attached leave, and nothing is kept for them."""
        self.private = False
        for attachment in list(self.attachments.values()):
            attachment.tell(messages.Detached())
            self.let_go(attachment)
        self._tell_process_change(SessionError(f"another client detached this one from session {self.key.name!r}"))

    def let_go(self, attachment: Attachment) -> None:
        """Forget a client that does not come back."""
        self.attachments.pop(attachment.name, None)

    def from_client(self, attachment: Attachment, parts: Sequence[Buffer]) -> None:
        """Pass a client's Jupyter message on to the kernel.

        Args:
            attachment: Whose it is; replies come back to it.
            parts: The message.

        Raises:
            ProtocolError: It isn't a Jupyter message.
            SessionDied: There is no process to pass it to.
        """
        channel, envelope = from_link(parts)
        if channel is Channel.IOPUB:
            raise ProtocolError("a client sent a message on iopub, where only kernels speak")
        self._require_life()
        if channel is Channel.STDIN:
            self.unseen.answered()
        addressed = Envelope((attachment.name.encode("ascii"), *envelope.identities), envelope.parts)
        if self.state is SessionState.READY and self._channels is not None:
            self._channels.send(channel, addressed)
        else:
            self._held.append((channel, addressed))

    def _require_life(self) -> None:
        if self.state is SessionState.DEAD:
            raise SessionDied(f"session {self.key.name!r} died: {self.cause}; restart it to go on")

    async def _come_up(self) -> None:
        assert self._channels is not None
        self._boot = Boot(self._channels, self.process.worker_address)
        booting = asyncio.create_task(self._boot.run())
        dying = asyncio.create_task(self.process.ended())
        done, _ = await asyncio.wait({booting, dying}, timeout=self._start_s, return_when=asyncio.FIRST_COMPLETED)
        for task in (booting, dying):
            if task not in done:
                task.cancel()
        if booting in done:
            self.facts = booting.result()
        elif dying in done:
            raise KernelStartFailed(f"kernel {self.process.kernel!r} did not come up: {dying.result()}")
        else:
            raise KernelStartFailed(f"kernel {self.process.kernel!r} gave no sign of life for {self._start_s:g} s")
        self._boot = None
        self._machine.fire(SessionEvent.UP)
        self.cause = self._verdict = ""
        self.unseen.renewed()
        self._watch = asyncio.create_task(self._watch_process())
        held, self._held = self._held, []
        for channel, envelope in held:
            self._channels.send(channel, envelope)

    async def _watch_process(self) -> None:
        cause = await self.process.ended()
        cause = self._verdict or cause
        self._die(cause, SessionDied(f"session {self.key.name!r} died: {cause}"))

    def _die(self, cause: str, error: FlameError) -> None:
        self._machine.fire(SessionEvent.DIE)
        self.cause = cause
        self.unseen.renewed()
        self._held.clear()
        log.warning("%s", error)
        self._tell_process_change(error)
        for attachment in self.attachments.values():
            attachment.tell(messages.Died(str(error)))

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _tell_process_change(self, why: FlameError | None) -> None:
        listeners, self.on_process_change = self.on_process_change, set()
        for listener in listeners:
            listener(why)

    def _on_kernel(self, channel: Channel, envelope: Envelope) -> None:
        if self._boot is not None:
            self._boot.on_message(channel, envelope)
        elif channel is Channel.IOPUB:
            if not envelope.identities and envelope.header().msg_type == "iopub_welcome":
                return  # it tells that the server is heard; a bridge welcomes its own subscribers
            parts = to_link(channel, envelope)
            seen = False
            for attachment in self.attachments.values():
                seen = seen or attachment.connected
                attachment.deliver(parts)
            self.unseen.heard(envelope, seen)
        elif envelope.identities:
            name, *rest = envelope.identities
            asker = name.decode("ascii", "replace")
            target = self.attachments.get(asker)
            if channel is Channel.STDIN:
                self.unseen.asked(asker, Envelope((), envelope.parts))
            if target is not None:
                target.deliver(to_link(channel, Envelope(tuple(rest), envelope.parts)))

    def _on_damage(self, channel: Channel, error: ProtocolError) -> None:
        log.warning("session %s, %s: %s", self.key.name, channel.value.decode(), error)
