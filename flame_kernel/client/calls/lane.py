"""A calls lane: one call after the other, on the caller's own thread.

A thread between caller and socket would cost two wake-ups a call. Callers on several threads take a lane each
(``Lanes``); many calls at a time from one thread take the ``pipeline``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import zmq

from flame_kernel.buffers import Buffer
from flame_kernel.client.calls.conversing import WorkerConversation
from flame_kernel.client.calls.ways import Ways
from flame_kernel.client.links.limits import require_size
from flame_kernel.errors import FlameError, FlameTimeout, LinkLost
from flame_kernel.protocol.calls import (
    LAST,
    CallAnswer,
    Operation,
    Outcome,
    call_number,
    decode_answer,
    encode_request,
)
from flame_kernel.serialize import dump
from flame_kernel.transport.interface import Endpoint
from flame_kernel.transport.waking import Wake

OnStream = Callable[[Outcome, str], None]

# How long closing waits for calls on other threads to end, in seconds.
_END_CALLS_S = 3.0


class Lane:
    """One conversation with a session's worker.

    Args:
        context: The ZeroMQ context.
        endpoint: Where the server is, and the keys.
        session: The session's name.
        plain: Whether only plain data may cross.
        client: What the client is called on all its lanes, 16 bytes.
        wake: Ends, from another thread, the call that is under way; it raises :class:`LinkLost`.
        conversation: The client's conversation on the session lane, by which a session is found that was renamed.
        most_bytes: The largest message that the server takes, in bytes; 0 when it did not say.
        ways: The ways to the worker; that through the server alone unless given.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: Endpoint,
        session: str,
        plain: bool,
        client: bytes,
        wake: Wake,
        conversation: str = "",
        most_bytes: int = 0,
        ways: Ways | None = None,
    ) -> None:
        self.talk = WorkerConversation(context, endpoint, session, client, wake, conversation, ways)
        self.number = 0  # of the call that is under way
        self._endpoint = endpoint
        self._session = session
        self._plain = plain
        self._most_bytes = most_bytes

    def call(self, operation: Operation, operands: Any, timeout: float | None, on_stream: OnStream) -> CallAnswer:
        """Make a call and wait for its answer. Ctrl-C interrupts it over there, a second one gives up waiting.

        Args:
            operation: What to ask for.
            operands: With what.
            timeout: How long to wait, in seconds; ``None`` for as long as it takes.
            on_stream: Called with what the call prints, before this returns.

        Returns:
            The RESULT, REFERENCE or ERROR answer.

        Raises:
            FlameTimeout: It took too long; it goes on over there, and its answer is dropped when it comes.
            SessionRestarted: The session was restarted while the call ran.
            ConnectError: The server does not take this client back.
            SerializationError: An operand can't cross.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        form, parts = dump(operands, self._plain)
        request = encode_request(operation, form, parts, self._plain, rich=True)
        require_size(request, self._most_bytes, self._endpoint.name)
        talk = self.talk
        self.number = 0
        if not talk.direct:
            talk.improve()
        if not talk.connected:
            talk.connect(deadline, waiting=False)
        number = self.number = call_number(talk.say(request))
        interrupted = False
        while True:
            try:
                message = talk.next(deadline, waiting=True)
            except KeyboardInterrupt:
                if not (interrupted or talk.at_rest):
                    raise
                interrupted = self._stop(number, interrupted)
                continue
            if message is None:
                raise FlameTimeout(f"no answer from {self._endpoint.name} within {timeout:g} s; the call goes on there")
            answer = decode_answer(message.parts)
            last = answer.call == number and answer.outcome in LAST
            talk.flush()  # acknowledges what presses: else the window fills, and the answer never comes
            if last:
                return answer
            if answer.call == number:  # else of an earlier call that was given up
                try:
                    on_stream(answer.outcome, bytes(answer.parts[0]).decode("utf-8", "replace"))
                except KeyboardInterrupt:  # who sees what a call prints may well press it now
                    interrupted = self._stop(number, interrupted)

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
        if not self.talk.unheard:
            self.talk.improve()
        if not self.talk.connected:
            self.talk.connect(deadline, waiting=False)
        return call_number(self.talk.say(request))

    def answer(self, deadline: float | None, timeout: float | None) -> CallAnswer:
        """Wait for the next answer, to whichever request of this lane it may be.

        Args:
            deadline: Until when, in ``time.monotonic()`` seconds; ``None`` for as long as it takes.
            timeout: The same as a span, for the message of the error.

        Raises:
            FlameTimeout: The time is up.
            SessionRestarted: The session was restarted meanwhile.
        """
        message = self.talk.next(deadline, waiting=True)
        if message is None:
            raise FlameTimeout(f"no answer from {self._endpoint.name} within {timeout:g} s; the call goes on there")
        answer = decode_answer(message.parts)
        self.talk.flush()  # acknowledges what presses: else the window fills, and the answer never comes
        return answer

    def _stop(self, number: int, again: bool) -> bool:
        """Interrupt the call over there; what interrupts this a second time gives up waiting."""
        if not again:
            try:
                self._interrupt(number)
            except KeyboardInterrupt:  # the second, while the first is being said
                again = True
        if again:
            raise KeyboardInterrupt(self._gave_up()) from None
        return True

    def _interrupt(self, number: int) -> None:
        form, parts = dump((self.talk.name, number), self._plain)
        self.talk.say(encode_request(Operation.INTERRUPT, form, parts, self._plain, oneway=True))

    def _gave_up(self) -> str:
        return (
            f"gave up waiting: the call goes on in session {self._session!r} on {self._endpoint.name}; this connection "
            f"stays usable, and connect({self._endpoint.name!r}, session={self._session!r}) reattaches from elsewhere"
        )


class Lanes:
    """The lanes of one client: as many as it has threads that call at the same time.

    Args:
        make: Makes a lane, given what will end its calls.
        interrupt: Interrupts the call of a number in a conversation of a name, for a lane that can't do it any more.
    """

    def __init__(
        self, make: Callable[[Wake], Lane], interrupt: Callable[[str, int], None] = lambda name, number: None
    ) -> None:
        self._make = make
        self._interrupt = interrupt
        self._wake = Wake()
        self._lock = threading.Lock()
        self._calm = threading.Condition(self._lock)
        self._idle: list[Lane] = []
        self._busy: set[Lane] = set()
        self._closed = False

    def call(
        self,
        operation: Operation,
        operands: Any,
        timeout: float | None,
        on_stream: OnStream,
        settle: Callable[[Lane, CallAnswer], Any] = lambda lane, answer: answer,
    ) -> Any:
        """Make a call on a lane that's free; see :meth:`Lane.call`.

        Args:
            operation: What to ask for.
            operands: With what.
            timeout: How long to wait, in seconds; ``None`` for as long as it takes.
            on_stream: Called with what the call prints, before this returns.
            settle: What to make of the answer while the lane is still this call's.

        Returns:
            What ``settle`` made of the answer.
        """
        lane = self._take()
        try:
            settled = settle(lane, lane.call(operation, operands, timeout, on_stream))
        except FlameError:
            self._give_back(lane)
            raise
        except KeyboardInterrupt:
            if lane.talk.at_rest:
                self._give_back(lane)
            else:  # torn apart half-way: its state is not to be trusted
                self._discard(lane)
                if lane.number:
                    self._interrupt(lane.talk.name, lane.number)
            raise
        except BaseException:
            self._discard(lane)
            raise
        self._give_back(lane)
        return settled

    @contextmanager
    def borrowed(self) -> Iterator[Lane]:
        """Give a lane that's free for as long as it takes."""
        lane = self._take()
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
            lane.talk.close()

    def close(self) -> None:
        """End all lanes; calls that are under way on other threads raise :class:`LinkLost`."""
        with self._lock:
            first, self._closed = not self._closed, True
            self._wake.end()
            # A socket is closed by the thread that uses it.
            calm = self._calm.wait_for(lambda: not self._busy, _END_CALLS_S)
        self.renew()
        if first and calm:
            self._wake.close()

    def _take(self) -> Lane:
        with self._lock:
            if self._closed:
                raise LinkLost("this connection was closed; connect again")
            lane = self._idle.pop() if self._idle else self._make(self._wake)
            self._busy.add(lane)
            return lane

    def _give_back(self, lane: Lane) -> None:
        with self._lock:
            if not self._closed:
                self._busy.discard(lane)
                self._idle.append(lane)
                return
        self._discard(lane)

    def _discard(self, lane: Lane) -> None:
        try:
            lane.talk.close()
        finally:
            with self._lock:
                self._busy.discard(lane)
                self._calm.notify_all()
