"""A client's connection for a caller that waits: no event loop and no thread between caller and socket."""

from __future__ import annotations

import os
import selectors
import socket as sockets
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import zmq

from flame_kernel.buffers import Buffer
from flame_kernel.errors import FlameTimeout, KeyRefused, LinkLost
from flame_kernel.transport.dialler import CAUSES, EVENTS, client_socket, event_of
from flame_kernel.transport.interface import Cause, Endpoint
from flame_kernel.transport.sockets import DONT_WAIT, descriptor, has_more, receive, send

# Where Ctrl-C does not end a wait, how often to look for it, in milliseconds; elsewhere nothing has to be looked for.
_LOOK_EVERY_MS = -1 if os.name == "posix" else 500

_READABLE = int(zmq.POLLIN)


class Wake:
    """Wakes threads that wait for their connections."""

    def __init__(self) -> None:
        self._near, self._far = sockets.socketpair()
        self._near.setblocking(False)
        self._far.setblocking(False)
        self._rung = False
        self._put_off = False
        self.ended = False

    def fileno(self) -> int:
        """Return what becomes readable."""
        return self._near.fileno()

    def ring(self) -> None:
        """Wake a thread, which has to :meth:`hush` it and then look what there is to do."""
        if not self._rung:
            self._rung = True
            with suppress(OSError):  # it's full of rings that nobody has heard yet, or closed
                self._far.send(b"\0")

    def put_off(self) -> None:
        """Hear the ring now and have it rung again by :meth:`ring_again`, since nothing can be done about it yet."""
        self.hush()
        self._put_off = True

    def ring_again(self) -> None:
        """Ring again if a ring was put off."""
        if self._put_off:
            self._put_off = False
            self.ring()

    def hush(self) -> None:
        """Take note of the ring; what was to be done before it can be seen from now on."""
        with suppress(BlockingIOError):
            self._near.recv(4096)
        self._rung = False

    def wait(self) -> None:
        """Wait until it's rung."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._near, selectors.EVENT_READ)
            selector.select()

    def end(self) -> None:
        """Wake every thread for good: what waits raises :class:`LinkLost`."""
        self.ended = True
        self.ring()

    def close(self) -> None:
        """Close it, when no thread waits any more."""
        self._near.close()
        self._far.close()


class Connection:
    """One connection; when it's gone it stays gone.

    Args:
        context: The ZeroMQ context.
        endpoint: Where to, and the keys.
        wake: Rung, from any thread, to end a wait.

    Attributes:
        endpoint: Where it leads.
        gone: Whether it's known to be gone.
        waiting: Whether it waits for a message, and an exception that comes now does no harm.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: Endpoint, wake: Wake) -> None:
        self.endpoint = endpoint
        self._wake = wake
        self._socket = client_socket(context, endpoint)
        self._monitor = self._socket.get_monitor_socket(EVENTS)
        self._up = False
        self._heard = False
        self.gone = False
        self.waiting = False
        # The monitor's descriptor in place of the monitor: asking libzmq for two sockets' events costs twice as much.
        self._watched: list[tuple[Any, int]] = [
            (self._socket, _READABLE),
            (descriptor(self._monitor), _READABLE),
            (wake.fileno(), _READABLE),
        ]
        self._socket.connect(endpoint.address)

    def wait_until_up(self, deadline: float | None) -> None:
        """Wait until it's connected, encrypted and authenticated; attempts go on until then.

        Args:
            deadline: Until when, in ``time.monotonic()`` seconds; ``None`` for as long as it takes.

        Raises:
            FlameTimeout: The time is up.
            KeyRefused: The server does not admit this client's key.
            LinkLost: It was abandoned.
        """
        poller = zmq.Poller()
        poller.register(self._monitor, zmq.POLLIN)
        poller.register(self._wake, zmq.POLLIN)
        while not self._up:
            ready = dict(poller.poll(_left_ms(deadline)))
            if self._monitor in ready:
                self._on_event(event_of(self._monitor.recv_multipart()))
            elif deadline is not None and time.monotonic() >= deadline:
                raise FlameTimeout(f"{self.endpoint.name} can't be reached in time")
            self.require_use()
            if ready and self._monitor not in ready:
                self._wake.put_off()

    def comes_up(self, within_s: float) -> bool | None:
        """Tell whether it's connected, for who has another way to take.

        Args:
            within_s: How long to wait for it, in seconds; 0 not to wait.

        Returns:
            Whether it's up; ``None`` while there's no telling. What came to nothing is ``gone``.

        Raises:
            LinkLost: It was abandoned.
        """
        until = time.monotonic() + within_s
        poller = zmq.Poller()
        poller.register(self._monitor, zmq.POLLIN)
        poller.register(self._wake, zmq.POLLIN)
        while not self._up and not self.gone:
            ready = dict(poller.poll(max(0, int((until - time.monotonic()) * 1000))))
            if self._monitor in ready:
                event = event_of(self._monitor.recv_multipart())
                self._up = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
                self.gone = event in CAUSES
                continue
            if not within_s:
                return None
            self.require_use()
            if ready:
                self._wake.put_off()
            elif time.monotonic() >= until:
                return None
        return self._up and not self.gone

    def send(self, frames: Sequence[Buffer]) -> None:
        """Send a message; what can't be sent is dropped, which ``receive`` tells of."""
        try:
            send(self._socket, frames, DONT_WAIT)
        except zmq.Again:
            return

    def receive(self, deadline: float | None) -> list[Buffer] | None:
        """Wait for a message.

        Args:
            deadline: Until when, in ``time.monotonic()`` seconds; ``None`` for as long as it takes.

        Returns:
            Its frames; ``None`` when the connection is gone, the time is up, or somebody has woken this thread.

        Raises:
            LinkLost: It was abandoned.
        """
        socket, watched = self._socket, self._watched
        if not self._heard:
            self._heard = True
            self._look_at_monitor()  # its descriptor tells of what comes from now on
        while not self.gone:
            self.require_use()  # also while messages keep coming
            self.waiting = True
            ready = zmq.zmq_poll(watched, _left_ms(deadline))
            self.waiting = False
            for who, _ in ready:
                if who is socket:
                    return receive(socket)
                if who == watched[1][0]:
                    self._look_at_monitor()
                else:
                    self.require_use()
                    return None
            if not ready and deadline is not None and time.monotonic() >= deadline:
                return None
        return None

    def pause(self, seconds: float) -> None:
        """Let a moment pass, unless it's abandoned.

        Args:
            seconds: How long.

        Raises:
            LinkLost: It was abandoned.
        """
        poller = zmq.Poller()
        poller.register(self._wake, zmq.POLLIN)
        poller.poll(int(seconds * 1000))
        self.require_use()

    def close(self, linger_ms: int = 0) -> None:
        """Close it.

        Args:
            linger_ms: How long what was sent may still take to leave, in milliseconds.
        """
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(linger_ms)

    def require_use(self) -> None:
        """Raise an error if nobody wants it any more.

        Raises:
            LinkLost: It was abandoned.
        """
        if self._wake.ended:
            raise LinkLost(f"this connection to {self.endpoint.name} was closed; connect again")

    def _look_at_monitor(self) -> None:
        while has_more(self._monitor):
            lost = event_of(self._monitor.recv_multipart()) in CAUSES
            self.gone = self.gone or lost

    def _on_event(self, event: int) -> None:
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._up = True
        elif CAUSES.get(event) is Cause.KEY_REFUSED:
            raise KeyRefused(
                f"{self.endpoint.name} does not admit this client's key; pair with a fresh invite (flame invite)"
            )


def _left_ms(deadline: float | None) -> int:
    if deadline is None:
        return _LOOK_EVERY_MS
    left = max(0, int((deadline - time.monotonic()) * 1000) + 1)
    return left if _LOOK_EVERY_MS < 0 else min(left, _LOOK_EVERY_MS)
