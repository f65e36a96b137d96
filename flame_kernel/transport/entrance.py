"""Where a worker's calls come in: one thread waits here for all of them, and any thread may answer.

There are two doors. Clients on the same machine come over streams of their own; the server, and clients from elsewhere,
over ZeroMQ. Who has come by which is nothing to those who deal with the messages.

This module is loaded inside sessions too: standard library, pyzmq and Python 3.9. A session's host has POSIX.
"""

from __future__ import annotations

import errno
import itertools
import os
import select
import socket as sockets
import weakref
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Callable, NamedTuple

import zmq

from flame_kernel.buffers import Buffer
from flame_kernel.errors import ProtocolError
from flame_kernel.transport.shared import SharedSocket
from flame_kernel.transport.sockets import set_common_options
from flame_kernel.transport.stream import SCHEME, Stream, listen

_READABLE = select.POLLIN


def control_address(address: str) -> str:
    """Return where a worker waits for what its server tells it, given where it waits for calls."""
    return f"{address}c"


def stream_address(address: str) -> str:
    """Return where a worker waits for streams, given where it waits for calls over ZeroMQ."""
    return f"{SCHEME}{address.partition('://')[2]}s"


class _Guest(NamedTuple):
    """A client that has come over a stream.

    Attributes:
        stream: The stream.
        name: What it's called.
    """

    stream: Stream
    name: bytes


class Entrance:
    """Waits at both doors.

    Args:
        router: What ZeroMQ's connections come to; a ROUTER, which belongs to this object from now on.
        address: Where to listen for streams, ``unix://path`` in a folder that only its user can enter.

    Attributes:
        place: Asked, with the peer's name, where a large frame of a stream shall be put, as ``streamed`` asks for it.
        router: The same, shared.
        frame: A frame of the latest message as libzmq has it, which tells where it came from; ``None`` if it came over
            a stream.
        closed: Whether it's closed.
    """

    def __init__(self, router: zmq.Socket[bytes], address: str) -> None:
        self.place: Callable[[bytes, Sequence[Buffer], int], memoryview | None] = lambda peer, frames, length: None
        self.closed = False
        self.frame: zmq.Frame | None = None
        self.router = SharedSocket(router, self._wake)
        self._wake_in, self._wake_out = sockets.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._listening = listen(address)
        self._spare = os.open(os.devnull, os.O_RDONLY)  # given up for a moment when there is no other
        self._numbers = itertools.count()
        self._guests: dict[int, _Guest] = {}  # by descriptor
        self._names: dict[bytes, _Guest] = {}
        self._arrived: deque[_Guest] = deque()  # who has something to read, each in turn
        self._look = True  # whether the ROUTER has to be asked
        # (An object of ``selectors`` takes twice as long.)
        self._poll = select.poll()
        self._router_fd = self.router.fileno()
        for waited_for in (self._router_fd, self._wake_in, self._listening):
            self._poll.register(waited_for, _READABLE)
        # What a call has forked must not keep connections open that end with this process.
        this = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _let_go(this()))

    def receive(self, timeout: float | None = None) -> list[Buffer] | None:
        """Wait for a message; one thread at a time.

        Args:
            timeout: How long, in seconds; ``None`` for as long as it takes.

        Returns:
            Its frames, the first of which is the peer's name; ``None`` after the timeout or once it's closed.
        """
        while not self.closed:
            while self._arrived:
                frames = self._of(self._arrived.popleft())
                if frames is not None:
                    return frames
            if self._look:
                from_router = self.router.take()
                if from_router is not None:
                    self.frame = self.router.frame
                    return from_router
                self._look = False
            ready = self._poll.poll(None if timeout is None else timeout * 1000)
            if not ready:
                return None
            for fd, _ in ready:
                if fd == self._router_fd:
                    self._look = True
                elif fd in self._guests:
                    self._arrived.append(self._guests[fd])
                else:
                    self._other(fd)
        return None

    def send(self, frames: Sequence[Buffer]) -> bool:
        """Send a message from any thread.

        Args:
            frames: The peer's name, and the message.

        Returns:
            False when the peer isn't there any more, or takes nothing.
        """
        guest = self._names.get(frames[0])  # type: ignore[arg-type]  # a name is bytes
        if guest is None:
            return self.router.send(frames)
        try:
            guest.stream.send(frames[1:])
        except OSError:
            return False  # who waits hears of the end, and sees to it
        return True

    def hang_up(self, peer: bytes) -> None:
        """End a stream; for the thread that waits.

        Args:
            peer: Its name; that of anybody else changes nothing.
        """
        guest = self._names.get(peer)
        if guest is not None:
            self._leave(guest)

    def close(self) -> None:
        """Close all of it; a thread that waits returns."""
        if self.closed:
            return
        self.closed = True
        self.router.close()
        self._listening.close()
        os.close(self._spare)
        for guest in list(self._guests.values()):
            guest.stream.close()
        self._wake()

    def _of(self, guest: _Guest) -> list[Buffer] | None:
        """Return the next message of a guest, if it's there."""
        stream = guest.stream
        try:
            frames = stream.receive()
        except (OSError, ProtocolError):
            self._leave(guest)
            return None
        if frames is None:
            return None
        if stream.whole:
            self._arrived.append(guest)  # behind the others: everybody has their turn
        self.frame = None
        return [guest.name, *frames]

    def _other(self, fd: int) -> None:
        if fd == self._wake_in.fileno():
            with suppress(BlockingIOError):
                self._wake_in.recv(4096)
            self._look = True
        elif fd == self._listening.fileno():
            self._enter()

    def _enter(self) -> None:
        try:
            socket, _ = self._listening.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._send_away()
            return  # else whoever came has gone again
        # ZeroMQ's names of this kind have five bytes: a zero byte, and a number.
        name = b"\0stream%d" % next(self._numbers)
        guest = _Guest(Stream(socket, lambda frames, length: self.place(name, frames, length)), name)
        self._guests[socket.fileno()] = self._names[guest.name] = guest
        self._poll.register(socket, _READABLE)

    def _send_away(self) -> None:
        """Let one in who is to go at once, since no descriptor is left: else they would wait for an answer."""
        os.close(self._spare)
        with suppress(OSError):
            self._listening.accept()[0].close()
        self._spare = os.open(os.devnull, os.O_RDONLY)

    def _leave(self, guest: _Guest) -> None:
        fd = guest.stream.fileno()
        self._names.pop(guest.name, None)
        if self._guests.pop(fd, None) is not None:
            self._poll.unregister(fd)
            guest.stream.close()

    def _wake(self) -> None:
        # Full of signals that nobody has looked at yet: one more would tell nothing new, and waiting for room would be
        # for ever when it's the waiting thread itself that sends.
        with suppress(BlockingIOError):
            self._wake_out.send(b"\0")


def _let_go(entrance: Entrance | None) -> None:
    if entrance is not None:
        entrance._listening.close()
        for guest in entrance._guests.values():
            guest.stream.let_go()


def open_entrance(address: str) -> Entrance:
    """Open both doors of a worker.

    Args:
        address: Where it waits for calls over ZeroMQ, ``ipc://path`` in a folder that only its user can enter.

    Returns:
        The entrance. Its ZeroMQ context belongs to it, so that what the session does with ZeroMQ does not touch it.
    """
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    set_common_options(socket)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.bind(address)
    return Entrance(socket, stream_address(address))
