"""A client's connection over ZeroMQ for a caller that waits: no event loop and no thread between caller and socket."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import zmq

from flame_kernel.buffers import Buffer
from flame_kernel.errors import FlameTimeout, KeyRefused
from flame_kernel.transport.dialler import CAUSES, EVENTS, client_socket, event_of
from flame_kernel.transport.interface import Cause, Endpoint
from flame_kernel.transport.sockets import DONT_WAIT, descriptor, has_more, receive, send
from flame_kernel.transport.waking import Wake, left_ms

_READABLE = int(zmq.POLLIN)


class ZmqConnection:
    """One connection; see :class:`flame_kernel.transport.interface.Connection`.

    Args:
        context: The ZeroMQ context.
        endpoint: Where to, and the keys.
        wake: Rung, from any thread, to end a wait.
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
        """Wait until it's connected, encrypted and authenticated; attempts go on until then."""
        poller = zmq.Poller()
        poller.register(self._monitor, zmq.POLLIN)
        poller.register(self._wake, zmq.POLLIN)
        while not self._up:
            ready = dict(poller.poll(left_ms(deadline)))
            if self._monitor in ready:
                self._on_event(event_of(self._monitor.recv_multipart()))
            elif deadline is not None and time.monotonic() >= deadline:
                raise FlameTimeout(f"{self.endpoint.name} can't be reached in time")
            self._wake.require_use(self.endpoint.name)
            if ready and self._monitor not in ready:
                self._wake.put_off()

    def comes_up(self, within_s: float) -> bool | None:
        """Tell whether it's connected, for who has another way to take."""
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
            self._wake.require_use(self.endpoint.name)
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
        """Wait for a message."""
        socket, watched = self._socket, self._watched
        if not self._heard:
            self._heard = True
            self._look_at_monitor()  # its descriptor tells of what comes from now on
        while not self.gone:
            self._wake.require_use(self.endpoint.name)  # also while messages keep coming
            self.waiting = True
            ready = zmq.zmq_poll(watched, left_ms(deadline))
            self.waiting = False
            for who, _ in ready:
                if who is socket:
                    return receive(socket)
                if who == watched[1][0]:
                    self._look_at_monitor()
                else:
                    self._wake.require_use(self.endpoint.name)
                    return None
            if not ready and deadline is not None and time.monotonic() >= deadline:
                return None
        return None

    def close(self, linger_ms: int = 0) -> None:
        """Close it."""
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(linger_ms)

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
