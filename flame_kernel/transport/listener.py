"""The server's end over ZeroMQ: a ROUTER that knows who is who."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import zmq

from flame_kernel.buffers import Buffer
from flame_kernel.transport.eventsocket import EventSocket
from flame_kernel.transport.interface import ListenerEvents
from flame_kernel.transport.sockets import no_way, set_common_options

# A peer's queue on its connection, in messages. Above the delivery window, so that it's never the bottleneck.
QUEUE_MESSAGES = 2_000


def server_socket(context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
    """Make the ROUTER of a server; it isn't bound yet, and has no keys yet."""
    socket = context.socket(zmq.ROUTER)
    set_common_options(socket)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.setsockopt(zmq.SNDHWM, QUEUE_MESSAGES)
    return socket


class ZmqListener:
    """Serves the peers of one bound socket.

    Args:
        socket: A bound ROUTER; it belongs to this object from now on.
        events: Who is told of messages.
    """

    def __init__(self, socket: zmq.Socket[bytes], events: ListenerEvents) -> None:
        self._events = events
        self._frame: zmq.Frame | None = None
        self._socket = EventSocket(socket, self._on_frames, self._receive)

    def send(self, peer: bytes, frames: Sequence[Buffer]) -> bool:
        """Send a message to a connection; false when it isn't there any more, or takes nothing."""
        try:
            self._socket.send([peer, *frames])
        except zmq.ZMQError as error:
            if no_way(error):
                return False
            raise
        return True

    def close(self) -> None:
        """End it; no callback follows."""
        self._socket.close(linger_ms=500)

    def _receive(self, socket: zmq.Socket[bytes], flags: int) -> list[Buffer]:
        # The second frame is the first that the peer sent; a ROUTER puts the peer's name before it.
        frame = socket.recv(flags, copy=False)
        frames: list[Buffer] = [frame.bytes]
        self._frame = None
        while frame.more:
            frame = socket.recv(copy=False)
            self._frame = self._frame or frame
            frames.append(frame.buffer)
        return frames

    def _on_frames(self, frames: list[Buffer]) -> None:
        peer = bytes(frames[0])
        # ZeroMQ's own names begin with a zero byte, and a peer can't choose such a name: so no connection can pose as
        # another.
        if not peer.startswith(b"\0") or self._frame is None:
            return
        self._events.on_frames(peer, _reader(self._frame), frames[1:])


def _reader(frame: zmq.Frame) -> Callable[[], bytes]:
    def user() -> bytes:
        try:
            return cast(str, frame["User-Id"]).encode("ascii")
        except zmq.ZMQError:  # a unix socket has no mechanism that could set it
            return b""

    return user
