"""The server's end over ZeroMQ: a ROUTER that knows who is who."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import zmq

from flame_kernel.buffers import OWN_FRAME, Buffer
from flame_kernel.transport.doorway import Doorway
from flame_kernel.transport.eventsocket import EventSocket
from flame_kernel.transport.interface import ListenerEvents, Origin
from flame_kernel.transport.sockets import MAX_LINK_FRAME_BYTES, no_way, receive_frame, set_common_options
from flame_kernel.transport.tcp import hang_up, local_host_of, peer_of

# A peer's queue on its connection, in messages. Above the delivery window, so that it's never the bottleneck.
QUEUE_MESSAGES = 2_000

# Connections that wait to be accepted: a flood of them must not keep those who are welcome from getting through.
_BACKLOG = 1024


def server_socket(context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
    """Make the ROUTER of a server; it isn't bound yet, and has no keys yet."""
    socket = context.socket(zmq.ROUTER)
    set_common_options(socket)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_LINK_FRAME_BYTES)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.setsockopt(zmq.SNDHWM, QUEUE_MESSAGES)
    socket.setsockopt(zmq.BACKLOG, _BACKLOG)
    return socket


class ZmqListener:
    """Serves the peers of one bound socket.

    Args:
        socket: A bound ROUTER; it belongs to this object from now on.
        events: Who is told of messages.
        doorway: Who is told that a connection proved its key.
    """

    def __init__(self, socket: zmq.Socket[bytes], events: ListenerEvents, doorway: Doorway | None = None) -> None:
        self._events = events
        self._doorway = doorway
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
        if self._doorway is not None:
            self._doorway.close()
        self._socket.close(linger_ms=500)

    def _receive(self, socket: zmq.Socket[bytes], flags: int) -> list[Buffer]:
        # The second frame is the first that the peer sent; a ROUTER puts the peer's name before it.
        name = receive_frame(socket, flags, False)
        frames: list[Buffer] = [name.bytes]
        frame, self._frame = name, None
        while frame.more:
            frame = receive_frame(socket, 0, False)
            self._frame = self._frame or frame
            frames.append(frame.bytes if len(frame) < OWN_FRAME else frame.buffer)
        return frames

    def _on_frames(self, frames: list[Buffer]) -> None:
        peer = bytes(frames[0])
        # ZeroMQ's own names begin with a zero byte, and a peer can't choose such a name: so no connection can pose as
        # another.
        if not peer.startswith(b"\0") or self._frame is None:
            return
        frame = self._frame
        self._events.on_frames(peer, lambda: self._origin(frame), frames[1:])

    def _origin(self, frame: zmq.Frame) -> Origin:
        try:
            user = cast(str, frame["User-Id"]).encode("ascii")
        except zmq.ZMQError:  # the unix socket for this user has no mechanism that could set it
            return Origin(b"", "", lambda: None)
        descriptor = int(frame.get(zmq.SRCFD))
        if self._doorway is not None:
            self._doorway.through(descriptor)
        end = peer_of(descriptor)
        address = cast(str, frame["Peer-Address"]).removeprefix("::ffff:")
        if address.startswith("localhost:"):  # of a unix socket: user, group and process, which say nothing of where
            address = ""
        return Origin(user, address, lambda: hang_up(descriptor, end), local_host_of(descriptor))
