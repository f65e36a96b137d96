"""A calls lane: one call after the other, on the caller's own thread, over whatever connection there is.

A thread between caller and socket would cost two wake-ups a call. Callers on several threads take a lane each
(``Lanes``).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import zmq

from flame_kernel.buffers import Buffer
from flame_kernel.client.limits import require_size
from flame_kernel.errors import FlameError, FlameTimeout, LinkLost, ProtocolError, SessionRestarted
from flame_kernel.protocol import messages, packets
from flame_kernel.protocol.calls import CallAnswer, Operation, Outcome, decode_answer, encode_request
from flame_kernel.protocol.conversation import Conversation, Hole, Message
from flame_kernel.protocol.packets import Kind, Packet
from flame_kernel.serialize import dump
from flame_kernel.transport.blocking import Connection
from flame_kernel.transport.interface import Endpoint

OnStream = Callable[[Outcome, str], None]

# Before a greeting that came to nothing is tried again, in seconds.
_AGAIN_AFTER_S = 0.05

# How long closing waits for calls on other threads to end, in seconds; they look twice a second.
_END_CALLS_S = 3.0


class Lane:
    """One conversation with a session's worker.

    Args:
        context: The ZeroMQ context.
        endpoint: Where the server is, and the keys.
        session: The session's name.
        plain: Whether only plain data may cross.
        conversation: The name of this client's conversation on the session lane, by which the server finds the session
            when it has another name by now.
        most_bytes: The largest message that the server takes, in bytes; 0 when it did not say.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: Endpoint,
        session: str,
        plain: bool,
        conversation: str = "",
        most_bytes: int = 0,
    ) -> None:
        self._context = context
        self._endpoint = endpoint
        self._session = session
        self._plain = plain
        self._attachment = conversation
        self._most_bytes = most_bytes
        self._name = os.urandom(16)
        self._conversation = Conversation()
        self._connection: Connection | None = None
        self._epoch = b""
        self._abandoned = threading.Event()

    def call(self, operation: Operation, operands: Any, timeout: float | None, on_stream: OnStream) -> CallAnswer:
        """Make a call and wait for its answer.

        Args:
            operation: What to ask for.
            operands: With what.
            timeout: How long to wait, in seconds; ``None`` for as long as it takes.
            on_stream: Called with what the call prints, before this returns.

        Returns:
            The RESULT or ERROR answer.

        Raises:
            FlameTimeout: It took too long; it goes on over there, and its answer is dropped when it comes.
            SessionRestarted: The session was restarted while the call ran.
            ConnectError: The server does not take this client back.
            SerializationError: An operand can't cross.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        form, parts = dump(operands, self._plain)
        request = encode_request(operation, form, parts, self._plain)
        number = self.post(request, deadline)
        while True:
            answer = self.answer(deadline, timeout)
            last = answer.call == number and answer.outcome in (Outcome.RESULT, Outcome.ERROR)
            if last:
                return answer
            if answer.call == number:  # else of an earlier call that was given up
                on_stream(answer.outcome, bytes(answer.parts[0]).decode("utf-8", "replace"))

    def post(self, request: Sequence[Buffer], deadline: float | None) -> int:
        """Send a request whose answer is waited for later, with :meth:`answer`.

        Args:
            request: The request, encoded.
            deadline: Until when, in ``time.monotonic()`` seconds; ``None`` for as long as it takes.

        Returns:
            The number that its answers will name.

        Raises:
            LimitExceeded: It's larger than the server takes.
        """
        require_size(request, self._most_bytes, self._endpoint.name)
        if self._connection is None:
            self._connect(deadline, waiting=False)
        number = self._conversation.push(request)
        self._flush()
        return number

    def answer(self, deadline: float | None, timeout: float | None) -> CallAnswer:
        """Wait for the next answer, to whichever request of this lane it may be.

        Args:
            deadline: Until when, in ``time.monotonic()`` seconds; ``None`` for as long as it takes.
            timeout: The same as a span, for the message of the error.

        Raises:
            FlameTimeout: The time is up.
            SessionRestarted: The session was restarted meanwhile.
        """
        answer = decode_answer(self._next(deadline, timeout).parts)
        self._flush()  # acknowledges what presses: else the window fills, and the answer never comes
        return answer

    def close(self) -> None:
        """End the conversation."""
        if self._connection is not None:
            self._connection.send(self._conversation.greeting(Kind.BYE, []))
            self._connection.close(linger_ms=500)
            self._connection = None

    def abandon(self) -> None:
        """End the call that is under way, from another thread; it raises :class:`LinkLost` on its own."""
        self._abandoned.set()

    def _next(self, deadline: float | None, timeout: float | None) -> Message:
        while True:
            if self._connection is None:
                self._connect(deadline, waiting=True)
                self._flush()
            packet = self._receive(deadline)
            if packet is None:
                if deadline is not None and time.monotonic() >= deadline:
                    raise FlameTimeout(
                        f"no answer from {self._endpoint.name} within {timeout:g} s; the call goes on there"
                    )
                self._drop()
                continue
            event = self._conversation.take(packet)
            if isinstance(event, Hole):
                self._drop()
            elif isinstance(event, Message):
                return event
            elif packet.kind is Kind.ACK:
                self._flush()

    def _receive(self, deadline: float | None) -> Packet | None:
        """Return the next packet, ``None`` when the connection is gone or the time is up."""
        assert self._connection is not None
        frames = self._connection.receive(deadline)
        if frames is None:
            return None
        packet = packets.decode(frames)
        if packet.kind is Kind.RESET:
            return None
        if packet.kind is Kind.REFUSED:
            self._drop()
            self._begin_anew()
            raise _refusal(packet)
        return packet

    def _connect(self, deadline: float | None, waiting: bool) -> None:
        while self._connection is None:
            self._connection = Connection(self._context, self._endpoint, self._abandoned)
            if not self._greet(deadline, waiting):
                self._drop()
                self._abandoned.wait(_AGAIN_AFTER_S)

    def _greet(self, deadline: float | None, waiting: bool) -> bool:
        """Greet server and worker over a new connection; false when it has to be done again."""
        hello = messages.Hello(
            versions=(packets.VERSION,),
            lane=messages.LANE_CALLS,
            attachment=self._attachment,
            session=self._session,
        )
        if self._ask(packets.encode(Kind.HELLO, [messages.encode(hello)]), deadline) is None:
            return False
        try:
            worker = self._ask(self._conversation.greeting(Kind.HELLO, [self._name]), deadline)
        except SessionRestarted:
            if waiting:
                raise
            return False
        if worker is None:
            return False
        epoch = bytes(worker.parts[0]) if worker.parts else b""
        if self._epoch not in (b"", epoch):
            # Another process: it knows nothing of what was said to the one before.
            self._begin_anew()
            if waiting:
                raise SessionRestarted(f"the session on {self._endpoint.name} was restarted while the call ran")
            return False
        self._epoch = epoch
        self._conversation.resume(worker.ack)
        return True

    def _ask(self, frames: Sequence[Buffer], deadline: float | None) -> Packet | None:
        """Return the WELCOME that answers a greeting, ``None`` when the connection is gone."""
        assert self._connection is not None
        self._connection.wait_until_up(deadline)
        self._connection.send(frames)
        while True:
            packet = self._receive(deadline)
            if packet is None:
                if deadline is not None and time.monotonic() >= deadline:
                    self._drop()
                    raise FlameTimeout(f"{self._endpoint.name} can't be reached in time")
                return None
            if packet.kind is Kind.WELCOME:
                return packet

    def _begin_anew(self) -> None:
        self._drop()
        self._name = os.urandom(16)
        self._epoch = b""
        self._conversation = Conversation()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _flush(self) -> None:
        if self._connection is not None:
            for frames in self._conversation.outgoing():
                self._connection.send(frames)


class Lanes:
    """The lanes of one client: as many as it has threads that call at the same time.

    Args:
        make: Makes a lane.
    """

    def __init__(self, make: Callable[[], Lane]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._calm = threading.Condition(self._lock)
        self._idle: list[Lane] = []
        self._busy: set[Lane] = set()
        self._closed = False

    def call(self, operation: Operation, operands: Any, timeout: float | None, on_stream: OnStream) -> CallAnswer:
        """Make a call on a lane that's free; see :meth:`Lane.call`."""
        with self.borrowed() as lane:
            return lane.call(operation, operands, timeout, on_stream)

    @contextmanager
    def borrowed(self) -> Iterator[Lane]:
        """Give a lane that's free for as long as it takes."""
        with self._lock:
            if self._closed:
                raise LinkLost("this connection was closed; connect again")
            lane = self._idle.pop() if self._idle else self._make()
            self._busy.add(lane)
        try:
            yield lane
        except (FlameError, OSError):
            self._give_back(lane)
            raise
        except BaseException:
            self._discard(lane)  # interrupted half-way: its state is not to be trusted
            raise
        self._give_back(lane)

    def renew(self) -> None:
        """Let go of the lanes that no call is on: the process behind them is gone."""
        with self._lock:
            idle, self._idle = self._idle, []
        for lane in idle:
            lane.close()

    def close(self) -> None:
        """End all lanes; calls that are under way on other threads raise :class:`LinkLost`."""
        with self._lock:
            self._closed = True
            for lane in self._busy:
                lane.abandon()
            # A socket is closed by the thread that uses it.
            self._calm.wait_for(lambda: not self._busy, _END_CALLS_S)
        self.renew()

    def _give_back(self, lane: Lane) -> None:
        with self._lock:
            if not self._closed:
                self._busy.discard(lane)
                self._idle.append(lane)
                return
        self._discard(lane)

    def _discard(self, lane: Lane) -> None:
        try:
            lane.close()
        finally:
            with self._lock:
                self._busy.discard(lane)
                self._calm.notify_all()


def _refusal(packet: Packet) -> FlameError:
    try:
        return messages.decode(bytes(packet.parts[0]) if packet.parts else b"", messages.Refusal).error()
    except ProtocolError as error:
        return error
