"""A client's connection for a caller that waits: no event loop and no thread between caller and socket."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import zmq
from zmq.utils.monitor import recv_monitor_message

from flame_kernel.buffers import Buffer
from flame_kernel.errors import FlameTimeout, KeyRefused, LinkLost
from flame_kernel.transport.dialler import CAUSES, EVENTS, client_socket
from flame_kernel.transport.interface import Cause, Endpoint
from flame_kernel.transport.sockets import receive, send

# While nothing arrives, how often to look whether the connection is still there, in milliseconds.
_LOOK_EVERY_MS = 500


class Connection:
    """One connection; when it's gone it stays gone.

    Args:
        context: The ZeroMQ context.
        endpoint: Where to, and the keys.
        abandoned: Set, from any thread, to end what waits.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: Endpoint, abandoned: threading.Event) -> None:
        self._endpoint = endpoint
        self._abandoned = abandoned
        self._socket = client_socket(context, endpoint)
        self._monitor = self._socket.get_monitor_socket(EVENTS)
        self._up = False
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
        while not self._up:
            if self._monitor.poll(_left_ms(deadline, _LOOK_EVERY_MS)):
                self._on_event(recv_monitor_message(self._monitor)["event"])
            elif deadline is not None and time.monotonic() >= deadline:
                raise FlameTimeout(f"{self._endpoint.name} can't be reached in time")
            self._require_use()

    def send(self, frames: Sequence[Buffer]) -> None:
        """Send a message; what can't be sent is dropped, which ``receive`` tells of."""
        try:
            send(self._socket, frames, zmq.NOBLOCK)
        except zmq.Again:
            return

    def receive(self, deadline: float | None) -> list[Buffer] | None:
        """Wait for a message.

        Args:
            deadline: Until when, in ``time.monotonic()`` seconds; ``None`` for as long as it takes.

        Returns:
            Its frames; ``None`` when the connection is gone or the time is up.

        Raises:
            LinkLost: It was abandoned.
        """
        while True:
            self._require_use()  # also while messages keep coming
            if self._socket.poll(_left_ms(deadline, _LOOK_EVERY_MS)):
                return receive(self._socket)
            while self._monitor.poll(0):
                if recv_monitor_message(self._monitor)["event"] in CAUSES:
                    return None
            if deadline is not None and time.monotonic() >= deadline:
                return None

    def close(self, linger_ms: int = 0) -> None:
        """Close it.

        Args:
            linger_ms: How long what was sent may still take to leave, in milliseconds.
        """
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(linger_ms)

    def _require_use(self) -> None:
        if self._abandoned.is_set():
            raise LinkLost(f"this connection to {self._endpoint.name} was closed; connect again")

    def _on_event(self, event: int) -> None:
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._up = True
        elif CAUSES.get(event) is Cause.KEY_REFUSED:
            raise KeyRefused(
                f"{self._endpoint.name} does not admit this client's key; pair with a fresh invite (flame invite)"
            )


def _left_ms(deadline: float | None, at_most: int | None) -> int | None:
    if deadline is None:
        return at_most
    left = max(0, int((deadline - time.monotonic()) * 1000) + 1)
    return left if at_most is None else min(left, at_most)
