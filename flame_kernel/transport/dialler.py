"""The client's end over ZeroMQ: a DEALER that tells when it is up, when it is down, and why."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import zmq

from flame_kernel.buffers import Buffer
from flame_kernel.security.curve import secure_client
from flame_kernel.security.keys import KeyPair
from flame_kernel.transport.eventsocket import EventSocket
from flame_kernel.transport.interface import Cause, DiallerEvents, Endpoint
from flame_kernel.transport.sockets import set_common_options

# The time between attempts doubles from the first to the second, in milliseconds.
RECONNECT_FROM_MS = 50
RECONNECT_TO_MS = 2_000
CONNECT_TIMEOUT_MS = 5_000

EVENTS = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_CONNECT_RETRIED
    | zmq.EVENT_DISCONNECTED
)

# zmq_socket_monitor(3): event and value. (pyzmq's own parser comes with all of zmq.asyncio, which is slow to load.)
_MONITOR_EVENT = struct.Struct("=HI")

CAUSES: dict[int, Cause] = {
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: Cause.KEY_REFUSED,
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: Cause.HANDSHAKE,
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: Cause.HANDSHAKE,
    zmq.EVENT_CONNECT_RETRIED: Cause.NO_ANSWER,
    zmq.EVENT_DISCONNECTED: Cause.LOST,
}


def event_of(frames: Sequence[Buffer]) -> int:
    """Return what a monitor tells of a socket.

    Args:
        frames: What came from the monitor.
    """
    event: int = _MONITOR_EVENT.unpack(frames[0])[0]
    return event


def client_socket(context: zmq.Context[zmq.Socket[bytes]], endpoint: Endpoint) -> zmq.Socket[bytes]:
    """Make the DEALER of a link; it isn't connected yet.

    Args:
        context: The ZeroMQ context.
        endpoint: Where it will be connected to, and the keys.

    Returns:
        The socket.
    """
    socket = context.socket(zmq.DEALER)
    set_common_options(socket)
    # What can't leave now must not leave later on another connection: the link decides what is sent again.
    socket.setsockopt(zmq.IMMEDIATE, 1)
    socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_FROM_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_TO_MS)
    socket.setsockopt(zmq.CONNECT_TIMEOUT, CONNECT_TIMEOUT_MS)
    if endpoint.server_key:
        secure_client(socket, KeyPair(endpoint.public, endpoint.secret), endpoint.server_key)
    return socket


class ZmqDialler:
    """Dials an endpoint and goes on dialling.

    Args:
        context: The ZeroMQ context.
        endpoint: Where to, and the keys.
        events: Who is told.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: Endpoint, events: DiallerEvents) -> None:
        self._context = context
        self._endpoint = endpoint
        self._events = events
        self._socket: EventSocket | None = None
        self._monitored: zmq.Socket[bytes] | None = None
        self._monitor: EventSocket | None = None

    def dial(self) -> None:
        """Begin, or begin again with a connection that's certainly new."""
        self.close()
        socket = client_socket(self._context, self._endpoint)
        self._monitored = socket
        self._monitor = EventSocket(socket.get_monitor_socket(EVENTS), self._on_monitor)
        self._socket = EventSocket(socket, self._events.on_frames)
        socket.connect(self._endpoint.address)

    def send(self, frames: Sequence[Buffer]) -> None:
        """Send a message; what can't be sent is dropped, and ``on_down`` follows."""
        if self._socket is None:
            return
        try:
            self._socket.send(frames)
        except zmq.Again:
            # No connection takes it. The monitor tells when there's one again, and the link sends what was not
            # acknowledged.
            return

    def close(self, linger_ms: int = 0) -> None:
        """End it; no callback follows."""
        if self._monitor is not None and self._monitored is not None:
            # In this order: libzmq's own thread would wait for ever to tell an event that nobody receives any more.
            self._monitored.disable_monitor()
            self._monitor.close()
            self._monitor = self._monitored = None
        if self._socket is not None:
            self._socket.close(linger_ms)
            self._socket = None

    def _on_monitor(self, frames: list[Buffer]) -> None:
        event = event_of(frames)
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._events.on_up()
        elif event in CAUSES:
            self._events.on_down(CAUSES[event])
