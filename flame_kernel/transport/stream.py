"""One end of a stream: messages over a connected unix socket, without ZeroMQ and its threads.

Nobody is kept waiting here. Small messages are sent by who says them. What is more than the other end takes at once is
sent by a thread that is there for as long as that takes: who has said it has the next piece to read, or to make,
meanwhile, and often the system takes no more than 200 KiB.

This module is loaded inside sessions too: standard library and Python 3.9.
"""

from __future__ import annotations

import os
import select
import socket as sockets
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from flame_kernel.buffers import OWN_FRAME, Buffer
from flame_kernel.protocol.streamed import Incoming, Place, nowhere, opened, table

# The scheme of a stream's address, beside ZeroMQ's own.
SCHEME = "unix://"

# Far more than one small message, so that a look at the socket takes all that wait.
_AT_ONCE = 64 * 1024

# What the system is asked to take at a time, in bytes; it may give less. With the 200 KiB that Linux gives unasked both
# ends wake each other five times for each piece of a large value.
_BUFFER = 1024 * 1024

# That the other end is gone is an error of ours alone, also where the user's code has given SIGPIPE its default back.
_QUIETLY = getattr(sockets, "MSG_NOSIGNAL", 0)

# Buffers that one call of the system takes (POSIX: at least 16, everywhere 1024).
_MOST_BUFFERS = 512


class Stream:
    """One end.

    Args:
        socket: A connected socket; it belongs to this object from now on.
        place: Tells where a large frame shall be put that comes, as :class:`Incoming` asks for it.

    Attributes:
        whole: The messages that have come already, which the descriptor says nothing of.
    """

    def __init__(self, socket: sockets.socket, place: Place = nowhere) -> None:
        socket.setblocking(False)
        socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, _BUFFER)
        self._socket = socket
        self._incoming = Incoming(place)
        self.whole = self._incoming.whole
        self._lock = threading.Lock()
        self._waiting: deque[memoryview] = deque()  # what the other end has not taken yet
        self._sender: threading.Thread | None = None  # sends that
        self._gone = False  # nothing more can be said

    def fileno(self) -> int:
        """Return the descriptor; -1 once it's closed."""
        return self._socket.fileno()

    def send(self, frames: Sequence[Buffer]) -> None:
        """Send a message from any thread; what the other end does not take at once is sent by a thread beside.

        Args:
            frames: The message; it must not be changed before it's sent.

        Raises:
            OSError: The connection is gone.
        """
        with self._lock:
            if self._gone:
                raise ConnectionResetError("the connection is closed")
            if self._sender is not None:
                self._waiting.extend(_views(frames))
                return
            if len(frames) == 1 and len(frames[0]) < OWN_FRAME:  # nearly all messages
                data = opened(frames[0])
                try:
                    sent = self._socket.send(data, _QUIETLY)
                except BlockingIOError:
                    sent = 0
                if sent == len(data):
                    return
                self._waiting.append(memoryview(data)[sent:])
            else:
                self._waiting.extend(_views(frames))
                if self._sent_all():
                    return
            self._sender = threading.Thread(target=self._send_rest, name="flame-stream", daemon=True)
            self._sender.start()

    def receive(self) -> list[Buffer] | None:
        """Return the next message, ``None`` while it hasn't all come; one thread at a time.

        Raises:
            OSError: The connection is gone.
            ProtocolError: What came is no message.
        """
        incoming, whole = self._incoming, self.whole
        if whole:
            return whole.popleft()
        try:
            if not incoming.missing:
                data = self._socket.recv(_AT_ONCE)
                count = len(data)
                if count:
                    incoming.feed(data)
            else:
                count = self._socket.recv_into(incoming.room)
                if count:
                    incoming.filled(count)
        except BlockingIOError:
            return None
        if not count:
            raise ConnectionResetError("the other end has closed the connection")
        return whole.popleft() if whole else None

    def close(self, linger_s: float = 0.0) -> None:
        """Close it; what the other end has in its queue it can still read.

        Args:
            linger_s: How long what waits to be sent may take, in seconds.
        """
        with self._lock:
            self._gone = True
            sender = self._sender
        if sender is not None:
            sender.join(linger_s)
            with suppress(OSError):
                self._socket.shutdown(sockets.SHUT_RDWR)  # ends its wait
            sender.join()
        self._socket.close()

    def let_go(self) -> None:
        """Close a fork's copy, in the child: the connection is its parent's, and goes on."""
        self._socket.close()

    def _send_rest(self) -> None:
        writable = select.poll()
        writable.register(self._socket, select.POLLOUT)
        while True:
            writable.poll()
            with self._lock:
                try:
                    if not self._sent_all():
                        continue
                except OSError:  # who receives hears of it as well
                    self._gone = True
                    self._waiting.clear()
                self._sender = None
                return

    def _sent_all(self) -> bool:
        """Send what waits, as much of it as the other end takes now; true when that was all."""
        waiting = self._waiting
        while waiting:
            some = [waiting[place] for place in range(min(len(waiting), _MOST_BUFFERS))]
            try:
                sent = self._socket.sendmsg(some, (), _QUIETLY)
            except BlockingIOError:
                return False
            while sent:
                first = waiting.popleft()
                if first.nbytes > sent:
                    waiting.appendleft(first[sent:])
                    break
                sent -= first.nbytes
        return True


def _views(frames: Sequence[Buffer]) -> list[memoryview]:
    return [memoryview(table(frames)), *[memoryview(frame) for frame in frames if len(frame)]]


def connect(address: str, place: Place = nowhere) -> Stream:
    """Connect to a unix socket.

    Args:
        address: ``unix://path``.
        place: As :class:`Stream` takes it.

    Raises:
        OSError: Nobody listens there, or not now.
    """
    socket = sockets.socket(sockets.AF_UNIX)
    try:
        socket.setblocking(False)  # it's connected at once, or not at all
        socket.connect(address[len(SCHEME) :])
    except BaseException:
        socket.close()
        raise
    return Stream(socket, place)


def listen(address: str) -> sockets.socket:
    """Listen at a unix socket, in the place of whoever did before.

    Args:
        address: ``unix://path`` in a folder that only its user can enter.

    Raises:
        OSError: It can't be had.
    """
    path = address[len(SCHEME) :]
    if os.path.exists(path):
        os.unlink(path)
    socket = sockets.socket(sockets.AF_UNIX)
    try:
        socket.setblocking(False)
        socket.bind(path)
        socket.listen(128)
    except BaseException:
        socket.close()
        raise
    return socket
