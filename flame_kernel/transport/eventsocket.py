"""A ZeroMQ socket on an asyncio loop, by callbacks: a future and a task for each message would double a hop's cost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import zmq

from flame_kernel.buffers import Buffer
from flame_kernel.transport.sockets import DONT_WAIT, descriptor, has_more, receive, send

# How many messages one socket may deliver before the others have their turn.
_TURN = 64


class EventSocket:
    """Calls back for each message that arrives.

    ZeroMQ's file descriptor signals edges, not levels: after each send and each receive the socket itself has to be
    asked whether more is there. That is what this class is for.

    Args:
        socket: The socket; it belongs to this object from now on.
        on_frames: Called in the loop with each message's frames.
        receive_frames: How a message is received, for callers that need its metadata.

    Attributes:
        closed: Whether the socket is closed.
    """

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        on_frames: Callable[[list[Buffer]], None],
        receive_frames: Callable[[zmq.Socket[bytes], int], list[Buffer]] = receive,
    ) -> None:
        self._socket = socket
        self._on_frames = on_frames
        self._receive = receive_frames
        self._loop = asyncio.get_running_loop()
        self._fd = descriptor(socket)
        self._scheduled = False
        self.closed = False
        self._loop.add_reader(self._fd, self._readable)
        self._schedule()

    def send(self, frames: Sequence[Buffer]) -> None:
        """Send a message, or raise ``zmq.Again`` when the peer's queue is full."""
        send(self._socket, frames, DONT_WAIT)
        if not self._scheduled and has_more(self._socket):
            self._schedule()

    def close(self, linger_ms: int = 0) -> None:
        """Close the socket.

        Args:
            linger_ms: How long what was sent may still take to leave, in milliseconds.
        """
        if not self.closed:
            self.closed = True
            self._loop.remove_reader(self._fd)
            self._socket.close(linger_ms)

    def _schedule(self) -> None:
        self._scheduled = True
        self._loop.call_soon(self._readable)

    def _readable(self) -> None:
        if self._socket.closed:  # since this was scheduled, or with its context
            return
        self._scheduled = True  # what is sent meanwhile need not ask whether more is there: this loop finds out
        try:
            for _ in range(_TURN):
                try:
                    frames = self._receive(self._socket, DONT_WAIT)
                except zmq.Again:
                    return
                self._on_frames(frames)
                # Asked, not tried: a refusal to receive costs more than a message.
                if self.closed or not has_more(self._socket):
                    return
        finally:
            self._scheduled = False
        if not self.closed:
            self._schedule()
