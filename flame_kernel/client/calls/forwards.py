"""The forwarded ports of one connection: their sockets on a loop of their own, and one lane to the session for all.

Bulk data on them delays neither calls, which have other lanes, nor what the link does on its loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import queue
import threading
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from flame_kernel.client.calls.failures import from_answer
from flame_kernel.client.calls.forward import Forward, Wanted
from flame_kernel.client.calls.pipeline import Pipeline
from flame_kernel.client.calls.tunnel import Tunnel, noted
from flame_kernel.client.links.background import BackgroundLoop
from flame_kernel.errors import FlameError, FlameTimeout, ForwardError, LimitExceeded, LinkLost, SessionRestarted
from flame_kernel.ports.dialling import connect, reason
from flame_kernel.ports.stream import Stream
from flame_kernel.protocol.calls import CallAnswer, Operation, Outcome
from flame_kernel.serialize import Parts

# Connections at a time through all forwarded ports of one connection; each may hold two windows of memory.
MAX_TUNNELS = 256


class Forwards:
    """Forwards ports.

    Args:
        make_pipeline: Makes a lane for calls that nobody waits for, or raises an error if there can be no calls.
        where: Tells what to call the session's place in messages.
        show: Shows the user a line.
    """

    def __init__(
        self, make_pipeline: Callable[[], Pipeline], where: Callable[[], str], show: Callable[[str], None]
    ) -> None:
        self._make_pipeline = make_pipeline
        self._where = where
        self._show = show
        self._lock = threading.Lock()
        self._lane: PortLane | None = None
        self._over: FlameError | None = None

    def open(self, wanted: Wanted, timeout: float | None) -> Forward:
        """Forward a port.

        Args:
            wanted: What is forwarded.
            timeout: How long it may take, in seconds; ``None`` for as long as it takes.

        Raises:
            ForwardError: The port to listen at can't be had.
            NotPermitted: This client only observes.
            FlameTimeout: It took too long.
        """
        lane = self._require_lane()
        return lane.listen_there(wanted, timeout) if wanted.reverse else lane.listen_here(wanted, timeout)

    def all(self) -> tuple[Forward, ...]:
        """Return those that are open."""
        with self._lock:
            return () if self._lane is None else self._lane.all()

    def finish(self, error: FlameError) -> None:
        """End all of them, without waiting."""
        with self._lock:
            self._over = self._over or error
            lane = self._lane
        if lane is not None:
            lane.finish(error)

    def close(self) -> None:
        """End all of them, and the lane."""
        with self._lock:
            self._over = self._over or LinkLost("this connection was closed; connect again")
            lane, self._lane = self._lane, None
        if lane is not None:
            lane.close(self._over)

    def _require_lane(self) -> PortLane:
        with self._lock:
            if self._over is not None:
                raise self._over
            if self._lane is None:
                self._lane = PortLane(self._make_pipeline(), self._where, self._show)
            return self._lane


class PortLane:
    """The lane, the loop of the sockets, and what goes on there.

    Args:
        pipeline: The lane.
        where: Tells what to call the session's place in messages.
        show: Shows the user a line.
    """

    def __init__(self, pipeline: Pipeline, where: Callable[[], str], show: Callable[[str], None]) -> None:
        self._pipeline = pipeline
        self._where = where
        self._show = show
        self._loop = BackgroundLoop("flame-ports")
        self._numbers = itertools.count(1)
        self._open: dict[Forward, None] = {}  # in order
        # What follows belongs to the loop's thread.
        self._servers: dict[Forward, asyncio.Server] = {}
        self._listeners: dict[Forward, Listener] = {}
        self._tunnels: dict[Tunnel, Forward] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._told: set[Forward] = set()  # whose user has been told that it doesn't work

    def all(self) -> tuple[Forward, ...]:
        """Return the forwarded ports that are open, the oldest first."""
        return tuple(forward for forward in list(self._open) if not forward.closed)

    def listen_here(self, wanted: Wanted, timeout: float | None) -> Forward:
        """Let a service over there be reached here."""
        forward = Forward(wanted, self._where(), self.close_one)
        try:
            self._loop.run(self._listen(forward), timeout)
        except FutureTimeout:
            raise FlameTimeout(f"listening at {wanted.bind}:{wanted.at} took longer than {timeout:g} s") from None
        self._open[forward] = None
        return forward

    def listen_there(self, wanted: Wanted, timeout: float | None) -> Forward:
        """Let a service of this side be reached over there."""
        forward = Forward(wanted, self._where(), self.close_one)
        listener = Listener(self, forward, next(self._numbers))
        self._loop.call(lambda: self._listeners.__setitem__(forward, listener))
        try:
            listener.begin()
            listener.wait(timeout)
        except BaseException:
            self.end(forward)
            raise
        self._open[forward] = None
        return forward

    def close_one(self, forward: Forward) -> None:
        """End a forwarded port and the connections through it, and return when nothing listens at it any more."""
        if forward.closed:
            return
        forward.end()
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile, and everything with it
            self._loop.run(self._end_and_wait(forward))

    def end(self, forward: Forward, error: FlameError | None = None) -> None:
        """End a forwarded port and the connections through it, from any thread."""
        forward.end(error)
        self.call(lambda: self._end(forward))

    def finish(self, error: FlameError) -> None:
        """End all of them, without waiting."""
        self.call(lambda: self._end_all(error))

    def close(self, error: FlameError) -> None:
        """End all of them, and the lane."""
        if self._loop.alive:
            with contextlib.suppress(RuntimeError):
                self._loop.run(self._shut(error))
        self._pipeline.close()
        self._loop.close()

    def ask(self, operation: Operation, operands: Parts, waiter: Any) -> None:
        """Ask for something that is answered."""
        self._pipeline.submit(operation, operands, waiter)

    def say(self, operation: Operation, operands: Parts) -> None:
        """Say something that isn't answered."""
        with contextlib.suppress(LinkLost):  # nobody is there who could hear it
            self._pipeline.submit(operation, operands, None, oneway=True)

    def call(self, function: Callable[[], object]) -> None:
        """Have a function called in the loop."""
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            self._loop.call(function)

    def forget(self, tunnel: Tunnel) -> None:
        """A tunnel has ended."""
        forward = self._tunnels.pop(tunnel, None)
        if forward is not None and tunnel.answered:
            self._told.discard(forward)

    def complain(self, tunnel: Tunnel, error: FlameError) -> None:
        """Tell the user why a tunnel could not be made; the same again is told when it has worked meanwhile."""
        forward = self._tunnels.get(tunnel)
        if forward is not None:
            self._complain(forward, str(error))

    def arrived(self, listener: Listener, number: int) -> None:
        """Somebody has connected over there."""
        forward = listener.forward
        tunnel = self._tunnel(forward)
        if tunnel is None:
            return
        tunnel.open(Operation.ACCEPT, listener.number, number)
        task = asyncio.get_running_loop().create_task(self._connect(forward, tunnel))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, forward: Forward, tunnel: Tunnel) -> None:
        try:
            await connect(tunnel.stream, forward.wanted.host, forward.wanted.port)
        except ForwardError as error:
            if not tunnel.stream.over:
                self._complain(forward, str(error))
            tunnel.stream.abort(error)

    async def _listen(self, forward: Forward) -> None:
        server = await self._bind(forward)
        forward.port = server.sockets[0].getsockname()[1]
        self._servers[forward] = server
        await server.start_serving()

    async def _bind(self, forward: Forward) -> asyncio.Server:
        wanted = forward.wanted
        loop = asyncio.get_running_loop()
        try:
            return await loop.create_server(lambda: self._come(forward), wanted.bind, wanted.at, start_serving=False)
        except (OSError, OverflowError, ValueError) as error:
            taken = isinstance(error, OSError) and error.errno in (errno.EADDRINUSE, errno.EACCES)
            if wanted.exactly or not taken:
                raise ForwardError(f"can't listen at {wanted.bind}:{wanted.at} here: {reason(error)}") from error
        return await loop.create_server(lambda: self._come(forward), wanted.bind, 0, start_serving=False)

    def _come(self, forward: Forward) -> Stream:
        """Return the stream for who has connected here."""
        tunnel = self._tunnel(forward)
        if tunnel is None:
            stream = Stream()
            stream.abort()
            return stream
        tunnel.open(Operation.CONNECT, forward.wanted.host, forward.wanted.port)
        return tunnel.stream

    def _tunnel(self, forward: Forward) -> Tunnel | None:
        if forward.closed:
            return None
        if len(self._tunnels) >= MAX_TUNNELS:
            self._complain(forward, str(LimitExceeded(f"{MAX_TUNNELS} connections are open already, its limit")))
            return None
        tunnel = Tunnel(self, next(self._numbers))
        self._tunnels[tunnel] = forward
        return tunnel

    def _complain(self, forward: Forward, what: str) -> None:
        if forward not in self._told:
            self._told.add(forward)
            self._show(f"[flame] a connection to the forwarded port {forward.port} was closed ({forward}): {what}\n")

    def _end(self, forward: Forward) -> None:
        self._open.pop(forward, None)
        server = self._servers.pop(forward, None)
        if server is not None:
            server.close()
        listener = self._listeners.pop(forward, None)
        if listener is not None:
            self.say(Operation.ABANDON, Parts([listener.number]))
        for tunnel in [tunnel for tunnel, through in self._tunnels.items() if through is forward]:
            tunnel.stream.abort()
        self._told.discard(forward)

    async def _end_and_wait(self, forward: Forward) -> None:
        self._end(forward)

    def _end_all(self, error: FlameError) -> None:
        for forward in {*self._servers, *self._listeners}:
            self._end(forward)  # first: who waits for its end finds that nothing listens any more
            forward.end(error)

    async def _shut(self, error: FlameError) -> None:
        self._end_all(error)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.sleep(0)  # sockets close in the loop's next round
        await asyncio.sleep(0)


class Listener:
    """A port over there, as the call that ends when nothing listens at it any more.

    Args:
        lane: The lane.
        forward: What it is for.
        number: What it is called there.
    """

    def __init__(self, lane: PortLane, forward: Forward, number: int) -> None:
        self.forward = forward
        self.number = number
        self._lane = lane
        self._begun: queue.SimpleQueue[FlameError | None] = queue.SimpleQueue()

    def begin(self) -> None:
        """Ask the session to listen."""
        wanted, port = self.forward.wanted, self.forward.port
        exactly = wanted.exactly or port != wanted.at  # once it was reached at a port, it's expected there
        self._lane.ask(Operation.LISTEN, Parts([self.number, wanted.bind, port, exactly]), self)

    def wait(self, timeout: float | None) -> None:
        """Wait until it listens."""
        try:
            error = self._begun.get(timeout=timeout)
        except queue.Empty:
            raise FlameTimeout(f"no answer from {self.forward.where} within {timeout:g} s") from None
        if error is not None:
            raise error

    def on_sent(self) -> bool:
        """It's about to be begun over there."""
        return not self.forward.closed

    def on_answer(self, answer: CallAnswer) -> bool:
        """The session says something; called on the pipeline's thread."""
        if answer.outcome is Outcome.NOTE:
            try:
                port, arrived = noted(answer, "port"), noted(answer, "arrived")
            except FlameError as error:
                self._fail(error)
                return True
            if port:
                self.forward.port = port
                self._begun.put(None)
            if arrived:
                self._lane.call(lambda: self._lane.arrived(self, arrived))
        elif answer.outcome is Outcome.ERROR:
            told = from_answer(answer, self.forward.where, plain=True)
            self._fail(told if isinstance(told, FlameError) else ForwardError(str(told)))
        return True

    def on_failed(self, error: FlameError) -> None:
        """The session or the way to it is gone; a session that was restarted is asked again."""
        if isinstance(error, SessionRestarted) and self.forward.port and not self.forward.closed:
            with contextlib.suppress(LinkLost):
                self.begin()
                return
        self._fail(error)

    def _fail(self, error: FlameError) -> None:
        self._begun.put(error)
        self._lane.end(self.forward, error)
