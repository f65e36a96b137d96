"""The transport without a network: dialler and listener in one event loop, with faults on demand.

The twin of ``dialler`` and ``listener``, for tests. It keeps to the rules of ``interface``: packets arrive whole and in
order, no callback is made from within a call, and none follows ``close``.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Sequence

from flame_kernel.buffers import Buffer
from flame_kernel.transport.interface import Cause, DiallerEvents, ListenerEvents, Origin


class Way:
    """One direction of the network.

    Attributes:
        lose: How many of the next packets are lost.
        copies: How many times each packet arrives from now on.
    """

    def __init__(self) -> None:
        self.lose = 0
        self.copies = 1
        self._held = False
        self._under_way: deque[Callable[[], None]] = deque()

    def hold(self) -> None:
        """Let nothing arrive until :meth:`release`."""
        self._held = True

    def release(self) -> None:
        """Let arrive what was held, in order."""
        self._held = False
        for _ in self._under_way:
            asyncio.get_running_loop().call_soon(self._arrive)

    def _carry(self, deliver: Callable[[], None]) -> None:
        if self.lose > 0:
            self.lose -= 1
            return
        for _ in range(self.copies):
            self._under_way.append(deliver)
            asyncio.get_running_loop().call_soon(self._arrive)

    def _arrive(self) -> None:
        if self._under_way and not self._held:
            self._under_way.popleft()()


class Network:
    """One listener's address and everybody who dials it.

    Attributes:
        to_server: The way of what diallers send.
        to_client: The way of what the listener sends.
    """

    def __init__(self) -> None:
        self.to_server = Way()
        self.to_client = Way()
        self._listener: MemoryListener | None = None
        self._connections: dict[bytes, MemoryDialler] = {}
        self._waiting: list[MemoryDialler] = []
        self._numbers = itertools.count(1)
        self._refused: Cause | None = None
        self._swallows = False

    def listen(self, events: ListenerEvents) -> MemoryListener:
        """Make the server's end; the next one takes its place, as a restarted server does."""
        self._listener = MemoryListener(self, events)
        return self._listener

    def dialler(self, events: DiallerEvents, user: bytes = b"") -> MemoryDialler:
        """Make a client's end, which the listener is told has the public key ``user``."""
        return MemoryDialler(self, events, user)

    def cut(self) -> None:
        """End every connection and lose what is under way; diallers hear of it, and dial again."""
        self.to_server._under_way.clear()
        self.to_client._under_way.clear()
        for dialler in list(self._connections.values()):
            self._unplug(dialler)
            dialler._fall(Cause.LOST)
            self._plug(dialler)

    def refuse(self, cause: Cause) -> None:
        """Let attempts fail from now on: each dialler is told once, and then waits for :meth:`admit`."""
        self._refused = cause

    def admit(self) -> None:
        """Let attempts succeed again, also those that wait."""
        self._refused = None
        self._plug_waiting()

    def black_hole(self) -> None:
        """Swallow packets and attempts, both ways; nobody is told."""
        self._swallows = True
        self.to_server._under_way.clear()
        self.to_client._under_way.clear()

    def heal(self) -> None:
        """End the black hole: what is sent from now on arrives, and attempts that wait succeed."""
        self._swallows = False
        self._plug_waiting()

    def _plug(self, dialler: MemoryDialler) -> None:
        if self._swallows or self._refused is not None:
            self._waiting.append(dialler)
            if self._refused is not None:
                dialler._fall(self._refused)
            return
        peer = b"\0" + next(self._numbers).to_bytes(4, "big")
        self._connections[peer] = dialler
        dialler._rise(peer)

    def _plug_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for dialler in waiting:
            self._plug(dialler)

    def _unplug(self, dialler: MemoryDialler) -> None:
        self._waiting = [other for other in self._waiting if other is not dialler]
        self._connections = {peer: other for peer, other in self._connections.items() if other is not dialler}

    def _up(self, peer: bytes, user: bytes, frames: Sequence[Buffer]) -> None:
        received = _received(frames)
        origin = Origin(user, "memory", lambda: self._hang_up(peer))

        def deliver() -> None:
            if self._listener is not None and self._listener._events is not None:
                self._listener._events.on_frames(peer, lambda: origin, received)

        if not self._swallows:
            self.to_server._carry(deliver)

    def _hang_up(self, peer: bytes) -> None:
        dialler = self._connections.get(peer)
        if dialler is not None:
            self._unplug(dialler)
            dialler._fall(Cause.LOST)
            self._plug(dialler)

    def _down(self, peer: bytes, frames: Sequence[Buffer]) -> bool:
        dialler = self._connections.get(peer)
        if dialler is not None and not self._swallows:
            received = _received(frames)
            self.to_client._carry(lambda: dialler._arrive(peer, received))
        return dialler is not None


class MemoryDialler:
    """A client's end, made by :meth:`Network.dialler`; see ``interface.Dialler``."""

    def __init__(self, network: Network, events: DiallerEvents, user: bytes) -> None:
        self._network = network
        self._events = events
        self._user = user
        self._peer: bytes | None = None
        self._times = 0  # how often it was dialled or closed; news from before is dropped

    def dial(self) -> None:
        """Begin, or begin again with a connection that's certainly new."""
        self.close()
        self._network._plug(self)

    def send(self, frames: Sequence[Buffer]) -> None:
        """Send a message; what can't be sent is dropped."""
        if self._peer is not None:
            self._network._up(self._peer, self._user, frames)

    def close(self, linger_ms: int = 0) -> None:
        """End it; no callback follows. What was sent has left already."""
        self._times += 1
        self._peer = None
        self._network._unplug(self)

    def _rise(self, peer: bytes) -> None:
        def tell() -> None:
            if peer in self._network._connections:  # it may have been cut meanwhile
                self._peer = peer
                self._events.on_up()

        self._soon(tell)

    def _fall(self, cause: Cause) -> None:
        self._peer = None
        self._soon(lambda: self._events.on_down(cause))

    def _soon(self, tell: Callable[[], None]) -> None:
        times = self._times
        asyncio.get_running_loop().call_soon(lambda: tell() if times == self._times else None)

    def _arrive(self, peer: bytes, frames: list[Buffer]) -> None:
        if peer == self._peer:
            self._events.on_frames(frames)


class MemoryListener:
    """The server's end, made by :meth:`Network.listen`; see ``interface.Listener``."""

    def __init__(self, network: Network, events: ListenerEvents) -> None:
        self._network = network
        self._events: ListenerEvents | None = events

    def send(self, peer: bytes, frames: Sequence[Buffer]) -> bool:
        """Send a message to a connection; false when it isn't there any more."""
        return self._events is not None and self._network._down(peer, frames)

    def close(self) -> None:
        """End it; no callback follows."""
        self._events = None


def _received(frames: Sequence[Buffer]) -> list[Buffer]:
    # As from a network: memory of their own, and views but for the first.
    return [bytes(frames[0]), *(memoryview(bytes(frame)) for frame in frames[1:])]
