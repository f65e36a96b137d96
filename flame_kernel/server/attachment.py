"""A client's conversation with its session: what is kept for it while it is away, and what it has asked already."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flame_kernel.buffers import Buffer
from flame_kernel.protocol import messages
from flame_kernel.protocol.conversation import Conversation, Hole, Message
from flame_kernel.protocol.frames import pack
from flame_kernel.protocol.jupyter import Channel, Envelope, to_link
from flame_kernel.protocol.packets import Kind, Packet, encode
from flame_kernel.server.journal import Journal
from flame_kernel.server.permits import NOBODY

SendFrames = Callable[[Sequence[Buffer]], bool]


class Attachment:
    """One client's conversation with one session; it outlives the client's connections.

    Args:
        name: The name the client chose for the conversation.
        client: What to call the client in listings.
        limit_bytes: How much is kept for the client while it is away, in bytes.
        journal: Where that is written down, so that it outlives the server; ``None`` for nowhere.
    """

    def __init__(self, name: str, client: str, limit_bytes: int, journal: Journal | None = None) -> None:
        self.name = name
        self.client = client
        self.grant = NOBODY  # each greeting says anew who is there, and what they may do
        self._journal = journal
        self._conversation = Conversation(limit_bytes, journal)
        self._send: SendFrames | None = None
        self._rows = False  # whether the client reads rows
        self.on_away: Callable[[Attachment], None] | None = None  # told when it loses its connection

    @classmethod
    def restore(cls, name: str, limit_bytes: int, journal: Journal) -> Attachment:
        """Go on with a conversation where an earlier server ended.

        Args:
            name: The name the client chose for it.
            limit_bytes: How much is kept for the client while it is away, in bytes.
            journal: What that server has written down.
        """
        kept = journal.restore()
        attachment = cls(name, kept.client, limit_bytes, journal)
        attachment._conversation.restore(kept.received, kept.first, kept.weights)
        return attachment

    @property
    def connected(self) -> bool:
        """Whether a connection serves it now."""
        return self._send is not None

    def connect(self, send: SendFrames, received: int, welcome: messages.Welcome, rows: bool = False) -> None:
        """Go on over a new connection.

        Args:
            send: Sends frames over it; false when it's gone.
            received: The highest number the client has received.
            welcome: What to answer to its HELLO.
            rows: Whether the client reads messages that go together in a packet.

        Raises:
            ProtocolError: The client acknowledges what was never sent.
        """
        self._conversation.resume(received)
        self._send, self._rows = send, rows
        send(self._conversation.greeting(Kind.WELCOME, [messages.encode(welcome)]))
        self.flush()

    def disconnect(self, send: SendFrames) -> None:
        """Note that a connection is gone; messages are kept from now on, unless another one serves it already.

        Args:
            send: What sent frames over that connection.
        """
        if self._send is send:
            self._lose()

    def unacknowledged(self, limit_bytes: int) -> list[Sequence[Buffer]]:
        """Return what was sent and is not known to have arrived.

        Args:
            limit_bytes: How much at most; the newest stay.
        """
        return self._conversation.unacknowledged(limit_bytes)

    def reply(self, channel: Channel, envelope: Envelope) -> None:
        """Send the client what the kernel says to it alone."""
        if self._journal is not None and channel is not Channel.STDIN:
            self._journal.outstanding.replied(envelope)
        self.deliver(to_link(channel, envelope))

    def unanswered(self) -> list[tuple[Channel, Envelope]]:
        """Return the client's requests that have no reply yet, without their content."""
        return [] if self._journal is None else self._journal.outstanding.all()

    def waits_for(self, request: Envelope) -> bool:
        """Tell whether a request of the client's still has no reply."""
        msg_id = request.header().msg_id
        return any(open_one.header().msg_id == msg_id for _, open_one in self.unanswered())

    def forget_requests(self) -> tuple[str, ...]:
        """Note that the kernel is gone, which will not reply any more; returns the ids of the requests it was asked."""
        if self._journal is None:
            return ()
        return tuple(request.header().msg_id for _, request in self._journal.outstanding.take_all())

    def deliver(self, parts: Sequence[Buffer]) -> None:
        """Send the client a message; it's kept until the client has it."""
        self.keep_packed(pack(parts))
        self.flush()

    def keep_packed(self, frames: Sequence[Buffer]) -> None:
        """Keep a message for the client that is packed already, as what goes to several is packed once."""
        self._conversation.push_packed(frames)

    def flush(self) -> None:
        """Send what has been kept and not sent yet, as far as the client takes it."""
        if self._send is None:
            return
        for frames in self._conversation.outgoing(self._rows):
            if not self._send(frames):
                self._lose()
                return

    def tell(self, answer: messages.Answer) -> None:
        """Send the client something about the session."""
        self.deliver([messages.TOPIC, messages.encode(answer)])

    def take(self, packet: Packet) -> Sequence[Buffer] | None:
        """Take a packet of the client's.

        Args:
            packet: DATA, ACK or PING.

        Returns:
            The parts of its next request, or ``None``.

        Raises:
            ProtocolError: The client acknowledges what was never sent.
        """
        event = self._conversation.take(packet)
        if isinstance(event, Message) and self._journal is not None:
            self._journal.taken(event.number, event.parts)  # before it's acknowledged, or anything comes of it
        if isinstance(event, Hole):
            if self._send is not None:
                self._send(encode(Kind.RESET))
            self._lose()
            return None
        if packet.kind is Kind.PING and self._send is not None:
            self._send(self._conversation.greeting(Kind.PONG, []))
        self.flush()
        return event.parts if isinstance(event, Message) else None

    def end(self) -> None:
        """Note that the conversation ends with what has been said so far; the next server shall not find it."""
        if self._journal is not None:
            self._journal.remove()

    def _lose(self) -> None:
        self._send = None
        if self.on_away is not None:
            self.on_away(self)
