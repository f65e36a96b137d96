"""Sending and receiving multi-frame messages on a ZeroMQ socket, and the options that all our sockets share.

This module is loaded inside sessions too: standard library, pyzmq and Python 3.9.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import zmq
from zmq.backend import Socket as Core

from flame_kernel.buffers import OWN_FRAME, Buffer

# An endless frame must not fill the memory of the other side. Bulk data goes in chunks far below this.
MAX_FRAME_BYTES = 2 * 1024**3

# On a link our own senders keep frames near 1 MiB (``frames``). A stranger's frame is held in memory before it's known
# whose it is, so that nobody gets room for more.
MAX_LINK_FRAME_BYTES = 2 * 1024**2

# A dead peer is noticed by ZeroMQ's own heartbeats (ZMTP 3.1 PING/PONG), in milliseconds.
HEARTBEAT_EVERY_MS = 5_000
HEARTBEAT_TIMEOUT_MS = 15_000
HANDSHAKE_TIMEOUT_MS = 10_000

# Plain numbers: pyzmq's flags are enums, and putting two of them together takes as long as sending a frame.
_MORE = int(zmq.SNDMORE)
_READABLE = int(zmq.POLLIN)
DONT_WAIT = int(zmq.NOBLOCK)

# A Jupyter message has seven frames. What pyzmq puts around its core for other kinds of sockets costs each of them as
# much as the core does. (The stub of the core doesn't know that whether to copy can be computed.)
send_frame: Callable[[zmq.Socket[bytes], Buffer, int, bool], object] = Core.send  # type: ignore[assignment]
receive_frame = Core.recv


def send(socket: zmq.Socket[bytes], frames: Sequence[Buffer], flags: int = 0) -> None:
    """Send a message; large frames are not copied.

    Args:
        socket: The socket.
        frames: The message.
        flags: ``zmq.NOBLOCK`` or 0.

    Raises:
        zmq.Again: The peer's queue is full and ``NOBLOCK`` was given.
    """
    more = flags | _MORE
    for frame in frames[:-1]:
        send_frame(socket, frame, more, len(frame) < OWN_FRAME)
    frame = frames[-1]
    send_frame(socket, frame, flags, len(frame) < OWN_FRAME)


def receive(socket: zmq.Socket[bytes], flags: int = 0) -> list[Buffer]:
    """Receive a message; small frames are copied, large ones are views of what arrived.

    Args:
        socket: The socket.
        flags: ``zmq.NOBLOCK`` or 0.

    Returns:
        The frames.

    Raises:
        zmq.Again: Nothing is there and ``NOBLOCK`` was given.
    """
    return contents(socket, receive_frame(socket, flags, False))


def contents(socket: zmq.Socket[bytes], frame: zmq.Frame) -> list[Buffer]:
    """Return what is in a frame that was received, and in those that follow it in its message.

    Args:
        socket: The socket.
        frame: The frame.
    """
    frames: list[Buffer] = [frame.bytes if len(frame) < OWN_FRAME else frame.buffer]
    while frame.more:
        frame = receive_frame(socket, 0, False)
        frames.append(frame.bytes if len(frame) < OWN_FRAME else frame.buffer)
    return frames


def no_way(error: zmq.ZMQError) -> bool:
    """Tell whether sending failed because the peer isn't there any more, or takes nothing."""
    return error.errno in (zmq.EAGAIN, zmq.EHOSTUNREACH)


def descriptor(socket: zmq.Socket[bytes]) -> int:
    """Return the file descriptor that signals when there is something to look after."""
    return int(socket.getsockopt(zmq.FD))


def has_more(socket: zmq.Socket[bytes]) -> bool:
    """Tell whether a message waits; asking takes note of what the file descriptor has signalled."""
    return bool(zmq.zmq_poll([(socket, _READABLE)], 0))


def set_common_options(socket: zmq.Socket[bytes]) -> None:
    """Set what every socket of a Flame link needs."""
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME_BYTES)
    socket.setsockopt(zmq.IPV6, 1)
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_EVERY_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TTL, HEARTBEAT_TIMEOUT_MS)
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_TIMEOUT_MS)
