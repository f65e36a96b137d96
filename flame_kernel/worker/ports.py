"""Ports that clients forward: connections from here to services, and from who connects here to clients.

What a client says about a stream is taken in order, on a loop that has a thread of its own from the first such request
on: no call waits for a socket, and no socket for a call.
"""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, Callable

from flame_kernel.buffers import Buffer
from flame_kernel.errors import FlameError, ForwardError, LimitExceeded, ProtocolError
from flame_kernel.ports.dialling import connect, reason
from flame_kernel.ports.stream import Stream
from flame_kernel.protocol.calls import Operation, Outcome, encode_answer
from flame_kernel.serialize import Format, Parts, dump, load
from flame_kernel.worker import failures, running
from flame_kernel.worker.absence import LEASE_S
from flame_kernel.worker.callers import Caller

# Streams of all clients at a time; each may hold two windows of memory.
MAX_STREAMS = 1_000

# Connections that have come in on one port and that its client has not taken yet; one more is reset.
_MAX_WAITING = 128

# How often to look whether the clients are there whose ports are forwarded, in seconds.
_LOOK_EVERY_S = 15.0


class Call:
    """What a stream, or what listens, is to its client: a call that ends when it does.

    Args:
        caller: The client.
        number: The call's number.
        ended: Called when it ends.
    """

    def __init__(self, caller: Caller, number: int, ended: Callable[[], object]) -> None:
        self.caller = caller
        self._number = number
        self._ended = ended

    def send(self, piece: bytes) -> None:
        """Pass on what a service said."""
        self.caller.answer(encode_answer(Outcome.PIECE, self._number, Format.RAW, [piece]))

    def credit(self, count: int) -> None:
        """Let the client send so many bytes more."""
        self.note(credit=count)

    def note(self, **told: int) -> None:
        """Tell the client something."""
        self.caller.answer(encode_answer(Outcome.NOTE, self._number, *dump(told, plain=True)))

    def over(self, error: Exception | None) -> None:
        """End the call."""
        self._ended()
        if error is None:
            self.caller.answer(encode_answer(Outcome.RESULT, self._number, *dump(None, plain=True)))
        else:
            if not isinstance(error, FlameError):
                error = ForwardError(reason(error))
            form, parts = failures.encode(error, plain=True)
            self.caller.answer(encode_answer(Outcome.ERROR, self._number, form, parts))


@dataclass
class Listening:
    """A port at which this end listens for a client.

    Attributes:
        call: The client's call.
        server: What listens; ``None`` as long as nothing does.
        waiting: Who has connected and was not taken yet, by number.
        arrived: How many have connected so far.
    """

    call: Call
    server: Any = None
    waiting: dict[int, Stream] = field(default_factory=dict)
    arrived: int = 0


class Ports:
    """All forwarded ports of a worker.

    Args:
        lease_s: How long a client may be out of reach before what it forwards ends, in seconds.
    """

    def __init__(self, lease_s: float = LEASE_S) -> None:
        self._lease_s = lease_s
        self._loop: asyncio.AbstractEventLoop | None = None
        # What follows belongs to the loop's thread.
        self._streams: dict[tuple[bytes, int], Stream] = {}
        self._listening: dict[tuple[bytes, int], Listening] = {}
        self._tasks: dict[tuple[bytes, int], asyncio.Task[None]] = {}
        self._callers: dict[bytes, Caller] = {}
        self._looking = False

    def take(self, request: running.Call) -> None:
        """Take a client's request; what comes of it is said when it comes.

        Args:
            request: One of those about ports.

        Raises:
            ProtocolError: It makes no sense.
        """
        operation = request.asked.operation
        operands = load(request.asked.format, request.operands, plain=True)
        if not isinstance(operands, Parts) or not isinstance(operands.value, list):
            raise ProtocolError(f"a request about a port came without what {operation.name.lower()} needs")
        values, pieces = operands.value, list(operands.buffers)
        if [type(value) for value in values] != _OPERANDS[operation]:
            raise ProtocolError(f"a request about a port came without what {operation.name.lower()} needs")
        loop = self._require_loop()
        loop.call_soon_threadsafe(self._take, request.caller, request.number, operation, values, pieces)

    def left(self, name: bytes) -> None:
        """End what belongs to a conversation that has ended."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._end_all, name)

    def _require_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:  # only who has the turn to listen gets here
            loop = self._loop = asyncio.SelectorEventLoop()
            threading.Thread(target=loop.run_forever, name="flame-ports", daemon=True).start()
        return self._loop

    def _take(
        self, caller: Caller, number: int, operation: Operation, values: list[Any], pieces: Iterable[Buffer]
    ) -> None:
        known = (caller.name, values[0])
        if operation is Operation.SEND or operation is Operation.CREDIT:
            stream = self._streams.get(known)
            if stream is not None:  # else it has ended meanwhile
                _tell(stream, pieces if operation is Operation.SEND else values[1])
        elif operation is Operation.ABANDON:
            self._abandon(known)
        else:
            call = Call(caller, number, lambda: self._forget(known))
            try:
                self._begin(known, call, operation, values)
            except FlameError as error:
                Call(caller, number, lambda: None).over(error)

    def _begin(self, known: tuple[bytes, int], call: Call, operation: Operation, values: list[Any]) -> None:
        if known in self._streams or known in self._listening or known in self._tasks:
            raise ProtocolError("a stream was begun that is there already")
        if len(self._streams) + len(self._listening) >= MAX_STREAMS:
            raise LimitExceeded(f"{MAX_STREAMS} connections to ports of this session are open already, its limit")
        if operation is Operation.LISTEN:
            listening = self._listening[known] = Listening(call)
            self._start(known, self._listen(known, listening, *values[1:]))
        elif operation is Operation.ACCEPT:
            at = self._listening.get((known[0], values[1]))
            stream = None if at is None else at.waiting.pop(values[2], None)
            if stream is None:
                raise ForwardError("who had connected is gone")
            self._streams[known] = stream
            stream.begin(call)
        else:
            stream = self._streams[known] = Stream()
            stream.begin(call)
            self._start(known, self._connect(stream, values[1], values[2]))
        self._callers[known[0]] = call.caller
        self._look_later()

    async def _connect(self, stream: Stream, host: str, port: int) -> None:
        try:
            await connect(stream, host, port)
        except ForwardError as error:
            stream.abort(error)

    async def _listen(
        self, known: tuple[bytes, int], listening: Listening, address: str, port: int, exactly: bool
    ) -> None:
        try:
            listening.server = await self._bind(listening, address, port, exactly)
        except (OSError, OverflowError, ValueError) as error:
            if self._listening.get(known) is listening:
                listening.call.over(ForwardError(f"can't listen at {address}:{port}: {reason(error)}"))
            return
        if self._listening.get(known) is not listening:  # its client has left meanwhile
            listening.server.close()
            return
        await listening.server.start_serving()
        listening.call.note(port=listening.server.sockets[0].getsockname()[1])

    async def _bind(self, listening: Listening, address: str, port: int, exactly: bool) -> Any:
        loop = asyncio.get_running_loop()
        try:
            return await loop.create_server(lambda: _arrive(listening), address, port, start_serving=False)
        except OSError as error:
            if exactly or error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
        return await loop.create_server(lambda: _arrive(listening), address, 0, start_serving=False)

    def _abandon(self, known: tuple[bytes, int]) -> None:
        stream, listening, task = self._streams.get(known), self._listening.get(known), self._tasks.get(known)
        if task is not None and listening is None:
            task.cancel()
        if stream is not None:
            stream.abort()
        if listening is not None:
            if listening.server is not None:
                listening.server.close()
            for waiting in listening.waiting.values():
                waiting.abort()
            listening.call.over(None)

    def _forget(self, known: tuple[bytes, int]) -> None:
        self._streams.pop(known, None)
        self._listening.pop(known, None)
        if not any(name == known[0] for name, _ in (*self._streams, *self._listening, *self._tasks)):
            self._callers.pop(known[0], None)

    def _start(self, known: tuple[bytes, int], work: Coroutine[Any, Any, None]) -> None:
        assert self._loop is not None
        task = self._tasks[known] = self._loop.create_task(work)
        task.add_done_callback(lambda _: self._tasks.pop(known, None))

    def _end_all(self, name: bytes) -> None:
        for known in [known for known in (*self._streams, *self._listening, *self._tasks) if known[0] == name]:
            self._abandon(known)

    def _look_later(self) -> None:
        if not self._looking and self._loop is not None:
            self._looking = True
            self._loop.call_later(min(_LOOK_EVERY_S, self._lease_s / 2), self._look, {})

    def _look(self, since: dict[bytes, float]) -> None:
        """See who can be reached, and end what belongs to those who have been away for too long."""
        assert self._loop is not None
        now = self._loop.time()
        away = [name for name, caller in self._callers.items() if not caller.reachable()]
        since = {name: since.get(name, now) for name in away}
        for name, first in since.items():
            if now - first >= self._lease_s:
                self._end_all(name)
        self._looking = bool(self._callers)
        if self._looking:
            self._loop.call_later(min(_LOOK_EVERY_S, self._lease_s / 2), self._look, since)


def _arrive(listening: Listening) -> Stream:
    stream = Stream()
    if len(listening.waiting) >= _MAX_WAITING:
        stream.abort()
        return stream
    listening.arrived += 1
    listening.waiting[listening.arrived] = stream
    listening.call.note(arrived=listening.arrived)
    return stream


def _tell(stream: Stream, said: Iterable[Buffer] | int) -> None:
    try:
        if isinstance(said, int):
            stream.grant(said)
        else:
            for piece in said:
                stream.take(piece)
    except ProtocolError as error:
        stream.abort(error)


_OPERANDS: dict[Operation, list[type]] = {
    Operation.CONNECT: [int, str, int],
    Operation.LISTEN: [int, str, int, bool],
    Operation.ACCEPT: [int, int, int],
    Operation.SEND: [int],
    Operation.CREDIT: [int, int],
    Operation.ABANDON: [int],
}
