"""What a session said while nobody was attached, what it waits to be told, and whether it is busy.

While a client is attached its messages pass by unread, but for the two that say that a cell begins and ends.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import msgspec

from flame_kernel.buffers import Buffer
from flame_kernel.errors import ProtocolError
from flame_kernel.protocol import messages
from flame_kernel.protocol.jupyter import DELIMITER, INPUT, Channel, Envelope, from_link, is_mark, to_link
from flame_kernel.protocol.transcript import Transcript
from flame_kernel.server.attachment import Attachment

log = logging.getLogger(__name__)

_KEPT = frozenset({Channel.IOPUB, messages.MISSED})


class UnseenRecord(msgspec.Struct, frozen=True):
    """What the next server needs to know of it.

    Attributes:
        missed: The messages that stand for what nobody has seen, as on a link.
        running: The ids of the cells that run, and what was typed.
        question: The input request that is open.
        asker: The name of the conversation whose cell asks.
        dropped_outputs: How many outputs had to make room.
        dropped_lines: How many lines had to make room.
    """

    missed: list[list[bytes]]
    running: dict[str, list[bytes] | None]
    question: list[bytes] | None
    asker: str
    dropped_outputs: int
    dropped_lines: int


class Unseen:
    """Keeps for the next client what none has seen.

    Args:
        attachments: The session's conversations with its clients, by name.
        limit_bytes: How much of its outputs is kept, in bytes; beyond it the oldest go.
    """

    def __init__(self, attachments: Mapping[str, Attachment], limit_bytes: int) -> None:
        self._attachments = attachments
        self._limit_bytes = limit_bytes
        self._transcript = Transcript(limit_bytes)
        self._witnesses: set[str] = set()  # clients that are away, for whom all of the transcript is kept anyway
        self._running: dict[str, Envelope | None] = {}  # the ids of cells, in order, and what was typed
        self._question: Envelope | None = None
        self._asker = ""
        self._followers: set[str] = set()
        self._is_known = True  # whether what runs is known: a server that was killed tells nothing of it

    @property
    def count(self) -> int:
        """How many outputs nobody has seen."""
        return len(self._transcript)

    @property
    def activity(self) -> str:
        """What the session's main thread does."""
        if self._question is not None:
            return "waiting for input"
        if not self._is_known and not self._running:
            return ""
        return "busy" if self._running else "idle"

    def heard(self, envelope: Envelope, seen: bool) -> None:
        """Take what the session says on iopub.

        Args:
            envelope: The message.
            seen: Whether a client that is attached has got it.
        """
        mark = is_mark(envelope)
        if seen and not mark:
            return
        try:
            if mark:
                self._on_mark(envelope)
            if not seen:
                self._keep(envelope)
        except ProtocolError as error:
            _tell(error)

    def asked(self, asker: str, envelope: Envelope) -> None:
        """Take an input request.

        Args:
            asker: The name of the conversation whose cell asks.
            envelope: The request, without that name.
        """
        self._question, self._asker = envelope, asker
        if not self._is_here(asker):
            for name in self._followers:
                if self._is_here(name):
                    self._attachments[name].deliver(to_link(Channel.STDIN, envelope))

    def answered(self) -> None:
        """Note that somebody has told the session what it waits for."""
        self._question = None

    def record(self) -> UnseenRecord:
        """Return what the next server needs to know."""
        return UnseenRecord(
            [_packed(envelope) for envelope in self._transcript.messages()],
            {msg_id: None if typed is None else _packed(typed) for msg_id, typed in self._running.items()},
            None if self._question is None else _packed(self._question),
            self._asker,
            self._transcript.dropped_outputs,
            self._transcript.dropped_lines,
        )

    def restore(self, record: UnseenRecord | None) -> None:
        """Go on where an earlier server ended.

        Args:
            record: What it has written down; ``None`` when it was killed: then what a client has not got counts as
                unseen.
        """
        if record is None:
            self._is_known = False
            kept = [attachment.unacknowledged(self._limit_bytes) for attachment in self._attachments.values()]
            self._take_all(max(kept, key=len, default=[]))
            return
        self._question = None if record.question is None else _unwrapped(record.question)
        self._asker = record.asker
        self._take_all(record.missed)
        self._transcript.dropped_outputs = record.dropped_outputs
        self._transcript.dropped_lines = record.dropped_lines
        self._running = {
            msg_id: None if typed is None else _unwrapped(typed) for msg_id, typed in record.running.items()
        }

    def renewed(self) -> None:
        """Note that another process takes the session's place: it runs nothing, and waits for nothing."""
        self._question = None
        self._running.clear()
        self._is_known = True

    def went_away(self, attachment: Attachment) -> None:
        """Note that a client's connection is gone: what it has not acknowledged may be seen by nobody."""
        self._followers.discard(attachment.name)
        if any(other.connected for other in self._attachments.values()):
            return
        self._take_all(attachment.unacknowledged(self._limit_bytes))

    def came_back(self, attachment: Attachment) -> None:
        """Note that a client is there again, and gets all that was kept for it."""
        if attachment.name in self._witnesses:
            self._transcript.clear()

    def hand_over(self, attachment: Attachment, asked: messages.AskMissed) -> messages.Done:
        """Send a client what nobody has seen, and what the session waits to be told.

        Args:
            attachment: The client's conversation.
            asked: What it asks for.

        Returns:
            The answer that follows.
        """
        done = messages.Done(
            asked.id,
            running=tuple(self._running),
            dropped_outputs=self._transcript.dropped_outputs,
            dropped_lines=self._transcript.dropped_lines,
        )
        missed = self._transcript.messages()
        if not asked.keep:
            self._transcript.clear()
            self._followers.add(attachment.name)
        for envelope in missed:
            attachment.deliver([messages.MISSED, *envelope.identities, DELIMITER, *envelope.parts])
        if self._question is not None and not asked.keep and not self._is_here(self._asker):
            attachment.deliver(to_link(Channel.STDIN, self._question))
        return done

    def _take_all(self, said: Sequence[Sequence[Buffer]]) -> None:
        for parts in said:
            if parts and bytes(parts[0]) in _KEPT:
                try:
                    self._keep(_unwrapped(parts))
                except ProtocolError as error:
                    _tell(error)

    def _keep(self, envelope: Envelope) -> None:
        if not self._transcript.messages_kept:
            self._witnesses = {name for name, other in self._attachments.items() if not other.connected}
            for typed in self._running.values():
                if typed is not None:
                    self._transcript.take(typed)  # the heading of what is about to come
        self._transcript.take(envelope)

    def _is_here(self, name: str) -> bool:
        attachment = self._attachments.get(name)
        return attachment is not None and attachment.connected

    def _on_mark(self, envelope: Envelope) -> None:
        parent = envelope.parent()
        if parent is None or parent.msg_type != "execute_request":
            return
        if envelope.topic.endswith(INPUT):
            self._running[parent.msg_id] = envelope
            return
        if envelope.content().get("execution_state") == "busy":
            self._running[parent.msg_id] = None
            return
        self._running.pop(parent.msg_id, None)
        self._is_known = True
        asking = None if self._question is None else self._question.parent()
        if asking is not None and asking.msg_id == parent.msg_id:
            self._question = None


def _tell(error: ProtocolError) -> None:
    log.warning("what a session said can't be kept: %s", error)


def _packed(envelope: Envelope) -> list[bytes]:
    return [bytes(part) for part in to_link(Channel.IOPUB, envelope)]


def _unwrapped(parts: Sequence[Buffer]) -> Envelope:
    _, envelope = from_link([Channel.IOPUB, *parts[1:]])
    return envelope
