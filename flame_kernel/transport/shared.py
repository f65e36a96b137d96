"""A ZeroMQ socket that many threads share: one waits for messages, all may send, and none hands its message to another.

A thread that only passes messages on costs two wake-ups a call. Here a thread sends for itself, under a lock; the one
that waits does so on the socket's file descriptor, outside the lock. ZeroMQ allows a socket to change threads behind a
full memory barrier, which the lock is.

This module is loaded inside sessions too: standard library, pyzmq and Python 3.9.
"""

from __future__ import annotations

import select
import socket as sockets
import threading
from collections.abc import Sequence
from contextlib import suppress

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
    set_common_options,
)


class SharedSocket:
    """Shares one socket between threads.

    Args:
        socket: A ROUTER; it belongs to this object from now on.

    Attributes:
        frame: A frame of the latest message as libzmq has it, which tells where it came from.
    """

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self.frame: zmq.Frame | None = None
        self._socket = socket
        self._lock = threading.Lock()
        self._wake_in, self._wake_out = sockets.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        # The host of a session has POSIX. (An object of ``selectors`` takes twice as long.)
        self._poll = select.poll()
        self._poll.register(descriptor(socket), select.POLLIN)
        self._poll.register(self._wake_in, select.POLLIN)
        self._closed = False
        self._waiting = False  # whether a thread waits on the file descriptor, or is about to

    def receive(self, timeout: float | None = None) -> list[Buffer] | None:
        """Wait for a message; one thread at a time.

        Args:
            timeout: How long, in seconds; ``None`` for as long as it takes.

        Returns:
            Its frames, or ``None`` after the timeout or once the socket is closed.
        """
        while True:
            with self._lock:
                self._waiting = False
                if self._closed:
                    return None
                if has_more(self._socket):
                    return self._receive()
                self._waiting = True
            ready = self._poll.poll(None if timeout is None else timeout * 1000)
            if not ready:
                return None
            if len(ready) > 1 or ready[0][0] == self._wake_in.fileno():
                with suppress(BlockingIOError):
                    self._wake_in.recv(4096)

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
            # Sending may have consumed the signal that the waiting thread would have seen. If none waits, who does so
            # next looks first.
            missed = self._waiting and has_more(self._socket)
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

    @property
    def closed(self) -> bool:
        """Whether it's closed."""
        return self._closed

    def close(self) -> None:
        """Close the socket; a thread that waits returns."""
        with self._lock:
            self._closed = True
            self._socket.close()
        self._wake()

    def _receive(self) -> list[Buffer]:
        # A ROUTER puts the peer's name before what the peer sent, of which there is a frame at least.
        socket = self._socket
        name: bytes = receive_frame(socket, DONT_WAIT, True)
        first = receive_frame(socket, 0, False)
        frames = [name, *contents(socket, first)]
        self.frame = first
        return frames

    def _wake(self) -> None:
        # Full of signals that nobody has looked at yet: one more would tell nothing new, and waiting for room would be
        # for ever when it's the waiting thread itself that sends.
        with suppress(BlockingIOError):
            self._wake_out.send(b"\0")


def control_address(address: str) -> str:
    """Return where a worker waits for what its server tells it, given where it waits for calls."""
    return f"{address}c"


def bind_rendezvous(address: str) -> SharedSocket:
    """Bind the socket at which a worker waits for calls.

    Args:
        address: ``ipc://path`` in a folder that only its user can enter.

    Returns:
        The bound ROUTER. Its context belongs to it, so that what the session does with ZeroMQ does not touch it.
    """
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    set_common_options(socket)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.bind(address)
    return SharedSocket(socket)
