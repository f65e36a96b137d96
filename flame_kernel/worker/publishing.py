"""How a session publishes what its cells show: nothing is dropped, and nobody waits where there's nothing to wait for.

ipykernel publishes on a thread of its own, over a ZeroMQ socket that drops what its reader does not take in time: more
than 1,000 messages are never under way. A cell that shows much while the server has other things to do would lose the
rest of it, and even that it has ended.

It flushes stdout and stderr before a cell's reply, and both again before it says that it's idle. Each time it hands the
thread something to do and waits for it, whether there is anything or not: four waits of up to half a millisecond each,
which is a third of what a cell takes that does nothing.

This module is loaded inside sessions: standard library, pyzmq and Python 3.9.
"""

from __future__ import annotations

from typing import Any

import zmq

# What an ipykernel's stream says of text that has not left yet: here, and in a fork.
_WAITS = ("_flush_pending", "_subprocess_flush_pending")


def drop_nothing(publisher: Any) -> None:
    """Let a kernel keep what its readers have not taken yet, however much that is.

    A reader that comes later is one of the limited kind again, so this is for the beginning of each cell.

    Args:
        publisher: ipykernel's thread that publishes.
    """

    def lift() -> None:
        if not publisher.socket.closed:
            publisher.socket.setsockopt(zmq.SNDHWM, 0)  # also for readers that are there (libzmq 4.2 and newer)

    publisher.schedule(lift)  # the socket is that thread's


def spare(stream: Any) -> None:
    """Let a stream's ``flush`` return at once while nothing waits to leave.

    Args:
        stream: ``sys.stdout`` or ``sys.stderr``; one that does not say whether something waits is left as it is.
    """
    if not all(hasattr(stream, name) for name in _WAITS):
        return
    flush = stream.flush

    def spared() -> None:
        if any(getattr(stream, name) for name in _WAITS):
            flush()

    stream.flush = spared
