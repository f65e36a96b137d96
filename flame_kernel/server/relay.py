"""A calls lane through the server's one port: packets pass between a client and its session's worker, unread."""

from __future__ import annotations

import os

import zmq

from flame_kernel.buffers import Buffer
from flame_kernel.server.attachment import SendFrames
from flame_kernel.transport.eventsocket import EventSocket
from flame_kernel.transport.sockets import set_common_options


class Relay:
    """Connects one calls lane with its worker; a socket each, so that a slow one slows itself only.

    Args:
        context: The ZeroMQ context.
        worker_address: Where the worker waits, ``ipc://path``.
        to_client: Sends frames to the client; false when it's gone. What it can't take is lost on the way, which the
            two ends of the conversation notice and mend.
        role: What the client may do in the session. The worker reads it off the socket's name, which the server alone
            gives: so each request is held against it, and the server need not read them.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        worker_address: str,
        to_client: SendFrames,
        role: str = "",
    ) -> None:
        socket = context.socket(zmq.DEALER)
        set_common_options(socket)
        socket.setsockopt(zmq.ROUTING_ID, f"{role}:".encode("ascii") + os.urandom(8))
        socket.connect(worker_address)
        self._to_client = to_client
        self._socket = EventSocket(socket, self._from_worker)

    def to_worker(self, frames: list[Buffer]) -> None:
        """Pass a client's packet on."""
        try:
            self._socket.send(frames)
        except zmq.Again:
            # The worker does not read; the conversation's window keeps an honest client from ever getting here.
            return

    def close(self) -> None:
        """Close the way."""
        self._socket.close()

    def _from_worker(self, frames: list[Buffer]) -> None:
        self._to_client(frames)
