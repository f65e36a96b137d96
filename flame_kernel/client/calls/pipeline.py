"""Many calls at a time over one lane, which a thread of its own looks after.

For what does not wait for each answer: futures, iterators that fetch ahead, calls that nobody waits for. The thread
also keeps the lane connected, so that the worker knows the client is there while it has handles.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Any, Protocol

from flame_kernel.buffers import Buffer
from flame_kernel.client.calls.conversing import WorkerConversation
from flame_kernel.client.links.limits import require_size
from flame_kernel.errors import FlameError, LinkLost, ProtocolError
from flame_kernel.protocol.bundles import bundled
from flame_kernel.protocol.calls import (
    LAST,
    CallAnswer,
    Operation,
    call_number,
    decode_answers,
    encode_request,
    message_of,
)
from flame_kernel.serialize import dump
from flame_kernel.transport.waking import Wake

# Calls that are under way; the others wait here, where cancelling one costs nothing.
MAX_UNDER_WAY = 512

# Calls that are submitted within this, in seconds, go together. Waking the thread for each would cost as much as each.
_TOGETHER_S = 0.001

# A thread that submits many calls in a row lets them go when so many wait: the session can begin with them meanwhile.
_YIELD_EACH = 64

# How long closing waits for what was said last to arrive, in seconds.
_PARTING_S = 3.0

_CLOSED = "this connection was closed; connect again"


class Waiter(Protocol):
    """Is told what becomes of a call; every method is called on the pipeline's thread."""

    def on_sent(self) -> bool:
        """The call is about to be sent; false when nobody wants it any more."""

    def on_answer(self, answer: CallAnswer) -> bool:
        """Something came: what it printed, or its end.

        Returns:
            Whether it came whole. False for a value that can't be loaded here: then the worker is asked to hold it,
            and the reference to it comes as the answer.
        """

    def on_failed(self, error: FlameError) -> None:
        """No answer will come."""


class Order:
    """A call that waits to be sent, or for its answer.

    Args:
        request: The request's parts.
        waiter: Who is told of what comes; ``None`` when nobody is.
        oneway: Whether no answer comes.
    """

    __slots__ = ("number", "oneway", "request", "waiter")

    def __init__(self, request: Sequence[Buffer], waiter: Waiter | None, oneway: bool) -> None:
        self.request = request
        self.waiter = waiter
        self.oneway = oneway
        self.number = 0

    def forget(self) -> None:
        """Let go of everything; nothing more will come of it.

        A future and its order refer to each other. Left to the garbage collector, views of memory in the request would
        be taken to pieces before what they are views of, which crashes Python 3.11.
        """
        self.request, self.waiter = (), None


class Pipeline:
    """The lane and its thread, which starts with the first call.

    Args:
        talk: The conversation with the worker.
        wake: What its waits are ended by.
        plain: Whether only plain data may cross.
        most_bytes: The largest message that the server takes, in bytes; 0 when it did not say.
    """

    def __init__(self, talk: WorkerConversation, wake: Wake, plain: bool, most_bytes: int = 0) -> None:
        # Held while a future is completed (``futures``), when the garbage collector may come to another one.
        self.completing = threading.RLock()
        self._most_bytes = most_bytes
        self._talk = talk
        self._wake = wake
        self._plain = plain
        self._lock = threading.Lock()
        self._started = False
        self._thread: threading.Thread | None = None
        self._orders: deque[Order] = deque()
        self._interrupts: deque[Order] = deque()
        self._queued: deque[Order] = deque()  # the thread's own, as what follows
        self._under_way: OrderedDict[int, Order] = OrderedDict()
        self._posted: deque[Order] = deque()  # oneway calls that the worker may not have received yet
        self._last = 0
        self._closing = False
        self._resting = False  # whether the thread waits for as long as it takes, and has to be woken
        self._until = 0.0

    def submit(self, operation: Operation, operands: Any, waiter: Waiter | None, oneway: bool = False) -> Order:
        """Make a call without waiting for it.

        Args:
            operation: What to ask for.
            operands: With what.
            waiter: Who is told of what comes.
            oneway: Whether nothing shall be answered.

        Returns:
            What :meth:`interrupt` takes.

        Raises:
            SerializationError: An operand can't cross.
            LinkLost: The connection was closed.
        """
        form, parts = dump(operands, self._plain)
        request = encode_request(operation, form, parts, self._plain, oneway, rich=True)
        require_size(request, self._most_bytes, self._talk.endpoint.name)
        order = Order(request, waiter, oneway)
        if self._closing:
            raise LinkLost(_CLOSED)
        self._orders.append(order)
        if self._thread is None:
            self.start()
        if self._resting:
            self._wake.ring()
        elif len(self._orders) % _YIELD_EACH == 0:
            time.sleep(0)  # noqa: TID251  # lets the thread have the interpreter, which it would wait 5 ms for
        return order

    def hurry(self) -> None:
        """Send what was submitted at once: somebody waits for it."""
        if self._orders:
            self._wake.ring()

    def interrupt(self, order: Order) -> None:
        """Interrupt a call, if it is still under way."""
        self._interrupts.append(order)
        self._wake.ring()

    def start(self) -> None:
        """Connect and stay connected."""
        if self._thread is not None:
            return
        with self._lock:
            if not (self._started or self._closing):
                self._started = True
                self._thread = threading.Thread(target=self._run, name="flame-pipeline", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End it; what nobody waits for is sent first."""
        with self._lock:
            self._closing = True
            self._until = time.monotonic() + _PARTING_S
            thread = self._thread
        self._wake.ring()
        if thread is not None and thread is not threading.current_thread():
            thread.join(_PARTING_S)
            self._wake.end()
            thread.join(1.0)
        if thread is None or not thread.is_alive():
            self._wake.close()

    def _run(self) -> None:
        closed = LinkLost(_CLOSED)
        try:
            while not self._finished():
                try:
                    self._turn()
                except FlameError as error:
                    # Restarted, refused, closed, or not to be understood: what was asked gets no answer.
                    self._give_up(error)
                except Exception as error:  # noqa: BLE001  # a hostile answer must not leave callers waiting for ever
                    self._give_up(ProtocolError(f"something came from the session that can't be read: {error!r}"))
        finally:
            self._fail_all(closed)
            self._talk.close()

    def _give_up(self, error: FlameError) -> None:
        self._fail_all(error)
        self._talk.begin_anew()
        self._last = 0
        self._resting = True
        if not (self._closing or self._orders):
            self._wake.wait()  # what is asked from now on is asked anew

    def _turn(self) -> None:
        """Send what there is to send, then take what has arrived, or wait for it."""
        self._resting = False
        talk = self._talk
        if not self._under_way and not talk.unheard:
            talk.improve()
        lively = self._take_orders()
        talk.flush()
        self._forget_heard()
        if self._closing:
            talk.ping()
        until = None
        if lively and talk.connected:
            until = time.monotonic() + _TOGETHER_S  # who has submitted may go on to do so
        else:
            self._resting = True
            if self._orders:
                return
        waiting = bool(self._under_way)
        message = talk.next(self._until if self._closing else None, waiting=waiting, until=until)
        if message is None:
            self._wake.hush()
        else:
            self._take(decode_answers(message.parts))

    def _take_orders(self) -> bool:
        """Say what was submitted, as much of it as may be under way; false when nothing was."""
        lively = bool(self._orders)
        queued = self._queued
        while self._orders:
            queued.append(self._orders.popleft())
        wanted: list[Order] = []
        room = MAX_UNDER_WAY - len(self._under_way)
        while queued and len(wanted) < room:
            order = queued.popleft()
            if self._closing and not order.oneway:
                _fail(order, LinkLost(_CLOSED))
            elif order.waiter is None or order.waiter.on_sent():
                wanted.append(order)
            else:
                order.forget()
        self._send(wanted)
        while self._interrupts:
            order = self._interrupts.popleft()
            if order.number in self._under_way:
                self._last = self._talk.push(
                    self._request(Operation.INTERRUPT, (self._talk.name, order.number), oneway=True)
                )
        return lively

    def _send(self, orders: Sequence[Order]) -> None:
        ahead = iter(orders)
        for parts, count in bundled([order.request for order in orders]):
            self._last = self._talk.push(parts)
            first = call_number(self._last)
            for number, order in zip(range(first, first + count), ahead, strict=False):
                order.number = number
                order.request = ()  # the conversation keeps it until it has arrived
                if not order.oneway:
                    self._under_way[number] = order
                elif order.waiter is not None:
                    self._posted.append(order)

    def _take(self, answers: Sequence[CallAnswer]) -> None:
        under_way = self._under_way
        to_hold: list[Order] = []
        for answer in answers:
            last = answer.outcome in LAST
            order = under_way.pop(answer.call, None) if last else under_way.get(answer.call)
            if order is None or order.waiter is None:
                continue
            if not order.waiter.on_answer(answer):
                order.request = self._request(Operation.HOLD, (answer.call,))
                to_hold.append(order)
            elif last:
                order.forget()
        if to_hold:
            # Nothing acknowledges the answers before this has been said, all of it at once, so the worker still has
            # the values.
            self._send(to_hold)
            self._talk.flush()  # before more is taken, of which this would tell

    def _request(self, operation: Operation, operands: Any, oneway: bool = False) -> list[Buffer]:
        form, parts = dump(operands, self._plain)
        return encode_request(operation, form, parts, self._plain, oneway)

    def _finished(self) -> bool:
        if not self._closing:
            return False
        # Who waits for an answer is told of the end; what nobody waits for has to arrive.
        said = not self._orders and not self._talk.unheard
        return said or time.monotonic() >= self._until

    def _forget_heard(self) -> None:
        while self._posted and message_of(self._posted[0].number) <= self._last - self._talk.unheard:
            self._posted.popleft().forget()

    def _fail_all(self, error: FlameError) -> None:
        self._forget_heard()
        orders = [*self._under_way.values(), *self._posted, *self._queued, *self._orders]
        self._under_way.clear()
        self._posted.clear()
        self._queued.clear()
        self._orders.clear()
        for order in orders:
            _fail(order, error)


def _fail(order: Order, error: FlameError) -> None:
    waiter = order.waiter
    order.forget()
    if waiter is not None:
        waiter.on_failed(error)
