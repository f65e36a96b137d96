"""File descriptors: how many connections the system lets a server have."""

from __future__ import annotations

import logging
import resource

log = logging.getLogger(__name__)

# Beside connections a server needs some for each session, its journals and its own sockets.
_BESIDE = 16
_AT_LEAST = 256


def make_room(connections: int, sessions: int) -> int:
    """Ask the system for as many descriptors as connections and sessions may need.

    Args:
        connections: How many connections there may be.
        sessions: How many sessions there may be.

    Returns:
        How many connections the system has room for: no more than was asked for. When descriptors run out, libzmq can
        neither accept connections nor turn them away.
    """
    wanted = connections + _BESIDE * sessions + _AT_LEAST
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    room = min(connections, soft // 2)
    log.warning(
        "the system allows this server %d open files (ulimit -Hn), so it takes %d connections instead of %d",
        soft,
        room,
        connections,
    )
    return room
