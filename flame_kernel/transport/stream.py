"""One end of a stream: messages over a connected unix socket, without ZeroMQ and its threads.

Nothing here waits. Who owns it waits on the descriptor, and says when it can be read or written.

This module is loaded inside sessions too: standard library and Python 3.9.
"""

from __future__ import annotations

import os
import socket as sockets
from collections import deque
from collections.abc import Sequence

from flame_kernel.buffers import OWN_FRAME, Buffer
from flame_kernel.protocol.streamed import Incoming, Place, opened, table

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
        unsent: Whether something waits to be sent until the socket can be written to.
        whole: The messages that have come already, which the descriptor says nothing of.
    """

    def __init__(self, socket: sockets.socket, place: Place = lambda frames, length: None) -> None:
        socket.setblocking(False)
        socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, _BUFFER)
        self._socket = socket
        self._incoming = Incoming(place)
        self.whole = self._incoming.whole
        self._waiting: deque[memoryview] = deque()
        self.unsent = False

    def fileno(self) -> int:
        """Return the descriptor; -1 once it's closed."""
        return self._socket.fileno()

    def send(self, frames: Sequence[Buffer]) -> None:
        """Send a message, or as much of it as the other end takes now: :meth:`flush` sends the rest.

        Args:
            frames: The message; it must not be changed before it's sent.

        Raises:
            OSError: The connection is gone.
        """
        if len(frames) == 1 and len(frames[0]) < OWN_FRAME and not self.unsent:  # nearly all messages
            data = opened(frames[0])
            try:
                sent = self._socket.send(data, _QUIETLY)
            except BlockingIOError:
                sent = 0
            if sent < len(data):
                self._waiting.append(memoryview(data)[sent:])
                self.unsent = True
            return
        self._waiting.append(memoryview(table(frames)))
        self._waiting.extend(memoryview(frame) for frame in frames if len(frame))
        self.flush()

    def flush(self) -> bool:
        """Send what waits, as much of it as the other end takes now; true when that was all.

        Raises:
            OSError: The connection is gone.
        """
        waiting = self._waiting
        self.unsent = True  # also if what follows raises
        while waiting:
            try:
                some = [waiting[place] for place in range(min(len(waiting), _MOST_BUFFERS))]
                sent = self._socket.sendmsg(some, (), _QUIETLY)
            except BlockingIOError:
                return False
            while sent:
                first = waiting.popleft()
                if first.nbytes > sent:
                    waiting.appendleft(first[sent:])
                    break
                sent -= first.nbytes
        self.unsent = False
        return True

    def receive(self) -> list[Buffer] | None:
        """Return the next message, ``None`` while it hasn't all come.

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

    def close(self) -> None:
        """Close it; what was sent is still delivered."""
        self._socket.close()


def connect(address: str, place: Place = lambda frames, length: None) -> Stream:
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
