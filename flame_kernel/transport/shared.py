"""A ZeroMQ socket that many threads share: one takes messages, all may send, and none hands its message to another.

A thread that only passes messages on costs two wake-ups a call. Here a thread sends for itself, under a lock; the one
that waits (``entrance``) does so on the socket's file descriptor, outside the lock. ZeroMQ allows a socket to change
threads behind a full memory barrier, which the lock is.

This module is loaded inside sessions too: standard library, pyzmq and Python 3.9.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Callable

import zmq

from flame_kernel.buffers import Buffer
from flame_kernel.security.curve import Keys, secure_server
from flame_kernel.transport.sockets import (
    DONT_WAIT,
    MAX_LINK_FRAME_BYTES,
    contents,
    descriptor,
    has_more,
    no_way,
    receive_frame,
    send,
)


class SharedSocket:
    """Shares one socket between threads.

    Args:
        socket: A ROUTER; it belongs to this object from now on.
        wake: Called, on any thread, when :meth:`take` may find something that its descriptor did not tell of.

    Attributes:
        frame: A frame of the latest message as libzmq has it, which tells where it came from.
    """

    def __init__(self, socket: zmq.Socket[bytes], wake: Callable[[], None]) -> None:
        self.frame: zmq.Frame | None = None
        self._socket = socket
        self._wake = wake
        self._lock = threading.Lock()
        self._closed = False
        self._signalled = False  # whether what comes is told by the file descriptor alone

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when :meth:`take` may find something."""
        return descriptor(self._socket)

    def take(self) -> list[Buffer] | None:
        """Return a message, the first frame of which is the peer's name; one thread at a time.

        Returns:
            Its frames; ``None`` when there is none, and then the descriptor tells of the next, or ``wake`` is called.
        """
        with self._lock:
            self._signalled = False
            if not self._closed and has_more(self._socket):
                return self._receive()
            self._signalled = True
            return None

    def send(self, frames: Sequence[Buffer]) -> bool:
        """Send a message from any thread.

        Args:
            frames: The message.

        Returns:
            False when the peer isn't there any more, or takes nothing.
        """
        with self._lock:
            if self._closed:
                return False
            try:
                send(self._socket, frames, DONT_WAIT)
            except zmq.ZMQError as error:
                if no_way(error):
                    return False
                raise
            # Sending may have consumed the signal that the waiting thread would have seen. If it's not going to wait,
            # it looks first.
            missed = self._signalled and has_more(self._socket)
        if missed:
            self._wake()
        return True

    @property
    def context(self) -> zmq.Context[zmq.Socket[bytes]]:
        """Its context."""
        return self._socket.context

    def watch(self, events: int) -> zmq.Socket[bytes]:
        """Return a socket that tells what befalls the connections of this one.

        Args:
            events: Of which kinds.
        """
        address = f"inproc://shared-{id(self._socket)}"
        with self._lock:
            self._socket.monitor(address, events)
            watch: zmq.Socket[bytes] = self._socket.context.socket(zmq.PAIR)
            watch.setsockopt(zmq.RCVHWM, 0)  # else libzmq's own thread would wait for us, and with it all connections
            watch.connect(address)
        return watch

    def watch_no_more(self) -> None:
        """End what :meth:`watch` began, before the socket that it returned is closed."""
        with self._lock:
            self._socket.disable_monitor()

    def listen(self, address: str, keys: Keys) -> str:
        """Listen at a TCP address too, encrypted; who gets in is for the context's ZAP handler to say.

        What was bound before is not touched: libzmq takes the options as they are when it binds.

        Args:
            address: ``tcp://host:port``; a port ``*`` is any that is free.
            keys: The key pair of this end.

        Returns:
            The address, with the port.

        Raises:
            zmq.ZMQError: It's taken, or can't be had.
        """
        with self._lock:
            self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_LINK_FRAME_BYTES)
            secure_server(self._socket, keys)
            self._socket.bind(address)
            bound = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
            missed = has_more(self._socket)
        if missed:
            self._wake()
        return bound

    def listen_no_more(self, address: str) -> None:
        """Let nobody in any more at an address that :meth:`listen` returned; who is in stays."""
        with self._lock:
            self._socket.unbind(address)
            missed = has_more(self._socket)
        if missed:
            self._wake()

    def close(self) -> None:
        """Close the socket."""
        with self._lock:
            self._closed = True
            self._socket.close()

    def _receive(self) -> list[Buffer]:
        # A ROUTER puts the peer's name before what the peer sent, of which there is a frame at least.
        socket = self._socket
        name: bytes = receive_frame(socket, DONT_WAIT, True)
        first = receive_frame(socket, 0, False)
        frames = [name, *contents(socket, first)]
        self.frame = first
        return frames
