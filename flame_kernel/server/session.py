"""A session: a kernel that outlives every connection and the server too, and the clients that are attached to it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from flame_kernel.errors import FlameError, KernelStartFailed, SessionDied, SessionError
from flame_kernel.protocol import messages
from flame_kernel.protocol.frames import pack
from flame_kernel.protocol.jupyter import Channel, Envelope, is_mark, to_link
from flame_kernel.protocol.link import Machine
from flame_kernel.protocol.session import SESSION, SessionEvent, SessionState
from flame_kernel.security.authorized_key import Role
from flame_kernel.server import memory, returning
from flame_kernel.server.attachment import Attachment
from flame_kernel.server.boot import KernelFacts
from flame_kernel.server.journal import Journal, names
from flame_kernel.server.kernel import Kernel
from flame_kernel.server.ledger import SessionFolder, SessionRecord
from flame_kernel.server.pace import Pace
from flame_kernel.server.process import KernelProcess, Left
from flame_kernel.server.unseen import Unseen

log = logging.getLogger(__name__)

# So many characters of a conversation's name name the client.
_CLIENT = 16

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
        kernel: Its kernel, not started yet.
        folder: Where it's written down.
        started: When, in seconds since the epoch.
        journal_bytes: How much is kept for each client that is away, in bytes.
        on_ended: Called once, when it's over.
        missed_bytes: How much is kept of what it says while nobody is attached, in bytes.
        lease: How long it goes on without clients at most, in seconds; 0 for as long as the server lets it.
    """

    def __init__(
        self,
        key: SessionKey,
        private: bool,
        kernel: Kernel,
        folder: SessionFolder,
        started: float,
        journal_bytes: int,
        on_ended: Callable[[Session], None],
        missed_bytes: int,
        lease: float = 0.0,
    ) -> None:
        self.key = key
        self.private = private
        self.started = started
        self.lease = lease
        self.attachments: dict[str, Attachment] = {}
        self.unseen = Unseen(self.attachments, missed_bytes)
        self.shares: dict[str, Role] = {}  # what other keys may do here, by fingerprint
        self.on_process_change: set[OnProcessChange] = set()
        self._pace = Pace(self._flush, asyncio.get_running_loop())
        self._kernel = kernel
        self._folder = folder
        self._journal_bytes = journal_bytes
        self._on_ended = on_ended
        self._machine = Machine(SESSION, SessionState.STARTING)
        self._held: list[tuple[Channel, Envelope]] = []
        self._gone = asyncio.Event()
        self._ending: asyncio.Task[None] | None = None
        self.cause = ""  # how it died
        self._verdict = ""  # why the server killed it
        self._catching_up: asyncio.Task[None] | None = None
        kernel.tell(self)

    @property
    def state(self) -> SessionState:
        """Where it stands."""
        return self._machine.state

    @property
    def lonely(self) -> bool:
        """Whether no client is connected to it."""
        return not any(attachment.connected for attachment in self.attachments.values())

    @property
    def process(self) -> KernelProcess:
        """Its kernel process."""
        return self._kernel.process

    @property
    def facts(self) -> KernelFacts:
        """What is known of its kernel."""
        return self._kernel.facts

    def begin(self) -> None:
        """Begin with a kernel that is up."""
        self._machine.fire(SessionEvent.UP)
        self._write_down()

    async def resume(self, record: SessionRecord, left: Left) -> None:
        """Go on where an earlier server ended.

        Args:
            record: What that server has written down of the session.
            left: What it has left of the kernel's process.
        """
        for name in names(self._folder.path):
            journal = Journal(self._folder.path, name)
            self._add(Attachment.restore(name, self._journal_bytes, journal))
        self.unseen.restore(self._folder.take_unseen())
        self.shares = {who: Role.named(role) for who, role in record.shares.items()}
        facts = KernelFacts(record.language, record.calls, record.versions)
        self._machine.fire(SessionEvent.UP)
        await self._kernel.adopt(facts, left)
        if record.cause:
            self._machine.fire(SessionEvent.DIE)
            self.cause = record.cause
        else:
            self._catching_up = asyncio.create_task(returning.catch_up(self._kernel, self.attachments))

    def attach(self, name: str, client: str) -> Attachment:
        """Begin a conversation with a client; one that it began before, and can't come back to, ends.

        Args:
            name: The name the client chose for it.
            client: What to call the client.
        """
        for other in [other for other in self.attachments if other[:_CLIENT] == name[:_CLIENT]]:
            self.detach(other)
        journal = Journal.begin(self._folder.path, name, client)
        return self._add(Attachment(name, client, self._journal_bytes, journal))

    def _add(self, attachment: Attachment) -> Attachment:
        attachment.on_away = self.unseen.went_away
        self.attachments[attachment.name] = attachment
        return attachment

    def detach(self, name: str) -> None:
        """Note that a client does not come back: nothing is kept for it any more."""
        attachment = self.attachments.pop(name, None)
        if attachment is not None:
            attachment.end()

    async def interrupt(self) -> None:
        """Interrupt the main thread; a second time within some seconds also what it has started elsewhere.

        Raises:
            SessionDied: There is no process to interrupt.
        """
        self._require_life()
        await self._kernel.interrupt()

    async def restart(self) -> None:
        """Start a new process in place of the old one; what clients send meanwhile is held.

        Raises:
            SessionError: It's being restarted already, or has ended.
            KernelStartFailed: The new one does not come up.
        """
        if not self._machine.allows(SessionEvent.RESTART):
            raise SessionError(f"session {self.key.name!r} can't be restarted while it is {self.state.value}")
        self._machine.fire(SessionEvent.RESTART)
        self._held.clear()  # a restart aborts what waits for the old process, as a local kernel's does
        lost = self._forget_requests()
        self.cause = self._verdict = ""
        try:
            await self._kernel.restart()
        except KernelStartFailed as error:
            if self._machine.allows(SessionEvent.DIE):
                self._die(str(error), error)
            raise
        self._machine.fire(SessionEvent.UP)
        self._write_down()
        held, self._held = self._held, []
        for channel, envelope in held:
            self._kernel.send(channel, envelope)
        self._tell_process_change(None)
        for name, attachment in self.attachments.items():
            attachment.tell(messages.Restarted(self.process.pid, lost.get(name, ())))

    async def close(self) -> None:
        """End the session and its process."""
        if not self._machine.allows(SessionEvent.CLOSE):
            return
        self._machine.fire(SessionEvent.CLOSE)
        self._pace.rest()
        for attachment in self.attachments.values():
            attachment.end()
            attachment.tell(messages.Ended())
        self._tell_process_change(SessionError(f"session {self.key.name!r} was closed"))
        # By a task of its own: whoever asked for it may go, and the server may be told to stop.
        self._ending = asyncio.create_task(self._end())
        await asyncio.shield(self._ending)

    async def _end(self) -> None:
        try:
            await self._kernel.close()
        finally:
            self._on_ended(self)
            self._gone.set()

    async def gone(self) -> None:
        """Wait until nothing is left of a session that has ended; its name is free then."""
        await self._gone.wait()

    def leave(self) -> None:
        """Let go of the session, which goes on; the next server will find it."""
        if self._machine.allows(SessionEvent.CLOSE):  # else its folder is gone
            try:
                self._folder.write_unseen(self.unseen.record())
            except OSError as error:
                log.warning("what nobody has seen of session %s can't be kept: %s", self.key.name, error)
        if self._catching_up is not None:
            self._catching_up.cancel()
        self._pace.rest()
        self._kernel.leave()

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
        self.keep()
        for attachment in self.attachments.values():
            attachment.tell(messages.Renamed(name))

    def keep(self) -> None:
        """Have it stay when its clients are gone, also if it was private."""
        self.private = False
        self._write_down()

    def send_away(self) -> None:
        """Go on without clients: those that are attached leave, and nothing is kept for them."""
        self.keep()
        for attachment in list(self.attachments.values()):
            attachment.tell(messages.Detached())
            self.detach(attachment.name)
        self._tell_process_change(SessionError(f"another client detached this one from session {self.key.name!r}"))

    def from_client(self, attachment: Attachment, channel: Channel, envelope: Envelope) -> None:
        """Pass a client's Jupyter message on to the kernel.

        Args:
            attachment: Whose it is; replies come back to it.
            channel: Where it goes.
            envelope: The message.

        Raises:
            SessionDied: There is no process to pass it to.
        """
        self._require_life()
        if channel is Channel.STDIN:
            self.unseen.answered()
        addressed = Envelope((attachment.name.encode("ascii"), *envelope.identities), envelope.parts)
        if self.state is SessionState.READY:
            self._kernel.send(channel, addressed)
        else:
            self._held.append((channel, addressed))

    def on_kernel(self, channel: Channel, envelope: Envelope) -> None:
        """Pass on what the kernel says."""
        if channel is Channel.IOPUB:
            if not envelope.identities and envelope.header().msg_type == "iopub_welcome":
                return  # it tells that the server is heard; a bridge welcomes its own subscribers
            frames = pack(to_link(channel, envelope))
            seen = False
            for attachment in self.attachments.values():
                seen = seen or attachment.connected
                attachment.keep_packed(frames)
            self._pace.said(patient=not is_mark(envelope))
            self.unseen.heard(envelope, seen)
        elif envelope.identities:
            name, *rest = envelope.identities
            asker = name.decode("ascii", "replace")
            target = self.attachments.get(asker)
            if channel is Channel.STDIN:
                self.unseen.asked(asker, Envelope((), envelope.parts))
            if target is not None:
                target.reply(channel, Envelope(tuple(rest), envelope.parts))

    def _flush(self) -> None:
        for attachment in self.attachments.values():
            attachment.flush()

    def on_death(self, cause: str) -> None:
        """Tell everyone that the kernel process has ended by itself, and how."""
        cause = self._verdict or cause
        self._die(cause, SessionDied(f"session {self.key.name!r} died: {cause}"))

    def _require_life(self) -> None:
        if self.state is SessionState.DEAD:
            raise SessionDied(f"session {self.key.name!r} died: {self.cause}; restart it to go on")

    def _die(self, cause: str, error: FlameError) -> None:
        self._machine.fire(SessionEvent.DIE)
        self.cause = cause
        self._held.clear()
        self._forget_requests()
        log.warning("%s", error)
        self._tell_process_change(error)
        for attachment in self.attachments.values():
            attachment.tell(messages.Died(str(error)))
        self._write_down()

    def _forget_requests(self) -> dict[str, tuple[str, ...]]:
        self.unseen.renewed()
        if self._catching_up is not None:
            self._catching_up.cancel()
        return {name: attachment.forget_requests() for name, attachment in self.attachments.items()}

    def _tell_process_change(self, why: FlameError | None) -> None:
        listeners, self.on_process_change = self.on_process_change, set()
        for listener in listeners:
            listener(why)

    def keep_shares(self) -> None:
        """Write down with whom it is shared, for the next server."""
        self._write_down()

    def _write_down(self) -> None:
        self._folder.write(
            SessionRecord(
                owner=self.key.owner,
                name=self.key.name,
                private=self.private,
                kernel=self.process.kernel,
                started=self.started,
                folder=str(self.process.cwd),
                language=self.facts.language,
                calls=self.facts.calls,
                cause=self.cause,
                shares={who: role.value for who, role in self.shares.items()},
                lease=self.lease,
                versions=self.facts.versions,
            )
        )
