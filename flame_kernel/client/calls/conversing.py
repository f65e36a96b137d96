"""A conversation with a session's worker, over whatever connection there is; one thread's at a time.

Straight to the worker only the worker is greeted; through the server, the server first, which passes on what follows.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import zmq

from flame_kernel.buffers import Buffer
from flame_kernel.client.calls.approach import Approach
from flame_kernel.client.calls.ways import Ways
from flame_kernel.errors import FlameError, FlameTimeout, KeyRefused, ProtocolError, SessionRestarted
from flame_kernel.protocol import messages, packets
from flame_kernel.protocol.conversation import Conversation, Hole, Message
from flame_kernel.protocol.packets import Kind, Packet
from flame_kernel.transport.interface import Connection, Endpoint
from flame_kernel.transport.waking import Wake

_DATA = Kind.DATA  # in Python 3.11 looking up an enum's member takes as long as a small call

# Before a greeting that came to nothing is tried again, in seconds.
_AGAIN_AFTER_S = 0.05


class WorkerConversation:
    """The client's end.

    Args:
        context: The ZeroMQ context.
        endpoint: Where the server is, and the keys.
        session: The session's name.
        client: What the client is called on all its lanes, 16 bytes.
        wake: Rung to end a wait.
        conversation: The client's conversation on the session lane, by which a session is found that was renamed.
        ways: The ways to the worker; that through the server alone unless given.

    Attributes:
        direct: Whether it goes straight to the worker now.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: Endpoint,
        session: str,
        client: bytes,
        wake: Wake,
        conversation: str = "",
        ways: Ways | None = None,
    ) -> None:
        self._approach = Approach(context, ways or Ways(endpoint), wake, self._place)
        self._attachment = conversation
        self.endpoint = endpoint
        self._session = session
        self._client = client
        self._wake = wake
        self._name = os.urandom(16)
        self._conversation = Conversation(pieces=True)
        self._connection: Connection | None = None
        self._epoch = b""
        self.direct = False

    @property
    def name(self) -> str:
        """What the worker knows it by, in hexadecimal digits."""
        return self._name.hex()

    @property
    def connected(self) -> bool:
        """Whether there's a connection, as far as is known."""
        return self._connection is not None

    @property
    def at_rest(self) -> bool:
        """Whether it waits for a message, so that nothing is torn apart by an exception that comes now."""
        return self._connection is not None and self._connection.waiting

    @property
    def unheard(self) -> int:
        """How many messages the worker has not acknowledged."""
        return self._conversation.pending

    def push(self, parts: Sequence[Buffer]) -> int:
        """Say something; :meth:`flush` sends it. Returns its number."""
        return self._conversation.push(parts)

    def say(self, parts: Sequence[Buffer]) -> int:
        """Say something, and send it if it may be sent now. Returns its number."""
        connection = self._connection
        if connection is None:
            return self._conversation.push(parts)
        number, packets = self._conversation.say(parts)
        for frames in packets:
            connection.send(frames)
        return number

    def flush(self) -> None:
        """Send what may be sent now, and acknowledge what presses."""
        if self._connection is not None and self._conversation.anything_due:
            for frames in self._conversation.outgoing():
                self._connection.send(frames)

    def next(self, deadline: float | None, *, waiting: bool, until: float | None = None) -> Message | None:
        """Wait for the worker's next message, on a new connection if need be.

        Args:
            deadline: Until when, in ``time.monotonic()`` seconds; ``None`` for as long as it takes.
            waiting: Whether something was asked that a restart of the session leaves without answer.
            until: Until when to wait for a message, if not until the deadline, which is that of a new connection.

        Returns:
            The message; ``None`` when the time is up, or somebody has woken this thread.

        Raises:
            FlameTimeout: There was no connection in time.
            SessionRestarted: The session was restarted.
            LinkLost: The conversation was abandoned.
            ConnectError: The server does not take this client back.
        """
        while True:
            if self._connection is None:
                self.connect(deadline, waiting=waiting)
                self.flush()
            packet = self._receive(until or deadline)
            if packet is None:
                if not self._is_gone():
                    return None
                self._let_go()
                continue
            try:
                event = self._conversation.take(packet)
            except ProtocolError:
                self.begin_anew()  # nothing that follows could be told apart
                raise
            if isinstance(event, Message):
                return event
            if isinstance(event, Hole):
                self.drop()
            elif packet.kind is Kind.PONG:
                return None
            else:
                self.flush()  # there may be room for more, and what presses is acknowledged

    def connect(self, deadline: float | None, *, waiting: bool) -> None:
        """Greet server and worker over a new connection; the arguments are those of :meth:`next`."""
        while self._connection is None:
            self._connection = self._approach.connection()
            try:
                greeted = self._greet(deadline, waiting)
            except BaseException:
                self.drop()  # nobody has greeted over it, so it's of no use to the next call
                raise
            if greeted:
                self._approach.took(self._connection)
                self.direct = self._approach.is_direct(self._connection)
                break
            self._pause()
        self._wake.ring_again()

    def improve(self) -> None:
        """Go over to the way straight to the worker if that is up by now, or begin to try; nothing is waited for.

        To be called when nothing is under way: what is would have to be sent again.
        """
        if self._connection is not None and self._approach.improved(self._connection):
            self.drop()  # what follows connects, over the better one

    def ping(self) -> None:
        """Ask the worker how far it has heard; its answer ends a wait."""
        if self._connection is not None:
            self._connection.send(self._conversation.greeting(Kind.PING, []))

    def close(self) -> None:
        """End the conversation."""
        if self._connection is not None:
            self._connection.send(self._conversation.greeting(Kind.BYE, []))
            self._connection.close(linger_ms=500)
            self._connection = None
        self._approach.close()

    def drop(self) -> None:
        """Let go of the connection; the conversation goes on over the next."""
        self.direct = False
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _let_go(self) -> None:
        """Let go of a connection that came to nothing."""
        if self._connection is not None and self._connection.gone:
            self._approach.lost(self._connection)
        self.drop()

    def begin_anew(self) -> None:
        """Forget the conversation: the worker that knew of it is gone."""
        self.drop()
        self._name = os.urandom(16)
        self._epoch = b""
        self._conversation = Conversation(pieces=True)

    def _receive(self, deadline: float | None) -> Packet | None:
        """Return the next packet, ``None`` when the connection is gone, the time is up, or somebody rang."""
        assert self._connection is not None
        frames = self._connection.receive(deadline)
        if frames is None:
            return None
        packet = packets.decode(frames)
        kind = packet.kind
        if kind is _DATA:
            return packet
        if kind is Kind.RESET:
            self._connection.gone = True
            return None
        if kind is Kind.REFUSED:
            refusal = _refusal(packet)
            if self._approach.is_direct(self._connection) and isinstance(refusal, KeyRefused):
                self._connection.gone = True  # the server says what that means: the role may be another, no more
                return None
            self.begin_anew()
            raise refusal
        return packet

    def _place(self, frames: Sequence[Buffer], length: int) -> memoryview | None:
        return self._conversation.place(frames, length)  # of the conversation that there is now

    def _is_gone(self) -> bool:
        return self._connection is None or self._connection.gone

    def _greet(self, deadline: float | None, waiting: bool) -> bool:
        """Greet server and worker over a new connection; false when it has to be done again."""
        assert self._connection is not None
        connection = self._connection
        connection.wait_until_up(deadline)
        # Both in one go: the server passes on what comes behind its own.
        direct = self._approach.is_direct(connection)
        if not direct:
            connection.send(self._greeting_for_server())
        connection.send(self._conversation.greeting(Kind.HELLO, [self._name, self._client]))
        if not direct and self._welcome(deadline) is None:
            return False
        try:
            worker = self._welcome(deadline)
        except SessionRestarted:
            if waiting:
                raise
            return False
        if worker is None:
            return False
        epoch = bytes(worker.parts[0]) if worker.parts else b""
        if self._epoch not in (b"", epoch):
            # Another process: it knows nothing of what was said to the one before.
            self.begin_anew()
            if waiting:
                raise SessionRestarted(f"the session on {self.endpoint.name} was restarted while the call ran")
            return False
        self._epoch = epoch
        self._conversation.resume(worker.ack)
        return True

    def _greeting_for_server(self) -> Sequence[Buffer]:
        hello = messages.Hello(
            versions=(packets.VERSION,),
            lane=messages.LANE_CALLS,
            attachment=self._attachment,
            session=self._session,
        )
        return packets.encode(Kind.HELLO, [messages.encode(hello)])

    def _welcome(self, deadline: float | None) -> Packet | None:
        """Return the WELCOME that answers a greeting, ``None`` when the connection is gone."""
        while True:
            packet = self._receive(deadline)
            if packet is None:
                if deadline is not None and time.monotonic() >= deadline:
                    self.drop()
                    raise FlameTimeout(f"{self.endpoint.name} can't be reached in time")
                if self._is_gone():
                    return None
                self._wake.put_off()
            elif packet.kind is Kind.WELCOME:
                return packet

    def _pause(self) -> None:
        """Wait a moment before the next attempt, on the connection that came to nothing."""
        if self._connection is not None:
            self._wake.pause(_AGAIN_AFTER_S, self.endpoint.name)
            self._let_go()


def _refusal(packet: Packet) -> FlameError:
    try:
        return messages.decode(bytes(packet.parts[0]) if packet.parts else b"", messages.Refusal).error()
    except ProtocolError as error:
        return error
