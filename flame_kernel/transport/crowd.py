"""Who stands at a TCP socket without having proved a key, and who is inside; how many of either there may be.

libzmq accepts every TCP connection and gives it some seconds to prove who it is. Here those are counted: when too many
stand in the doorway, the one that stands there longest is shut out, for whoever means it is through within moments.

This module is loaded inside sessions too: standard library, pyzmq and Python 3.9.
"""

from __future__ import annotations

import struct
from typing import Callable

import zmq

from flame_kernel.buffers import Buffer
from flame_kernel.transport.tcp import PeerAddress, hang_up, is_unix, peer_of

# What libzmq has to tell of the socket.
CROWD_EVENTS = (
    zmq.EVENT_ACCEPTED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)

_FAILURES = {
    int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL): "it does not speak CURVE, or not with this server's key",
    int(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL): "it did not prove a key in time",
}

# zmq_socket_monitor(3): event and value. (pyzmq's own parser comes with all of zmq.asyncio, which is slow to load.)
_MONITOR_EVENT = struct.Struct("=HI")

OnTurnedAway = Callable[[str, str], None]


class Crowd:
    """Counts the connections of a socket; those over unix sockets don't count.

    Args:
        waiting: How many may stand in the doorway at a time.
        inside: How many connections there may be at a time, told together.
        on_turned_away: Called with an address and a reason for each that got no further.
        settings: What sets the two numbers, to be said with the reason.
    """

    def __init__(
        self, waiting: int, inside: int, on_turned_away: OnTurnedAway, settings: tuple[str, str] = ("", "")
    ) -> None:
        self._settings = settings
        self._most_waiting = waiting
        self._most = inside
        self._on_turned_away = on_turned_away
        self._waiting: dict[int, PeerAddress | None] = {}
        self._inside: dict[int, PeerAddress | None] = {}
        self._failure: int | None = None

    def through(self, descriptor: int) -> None:
        """Note that somebody proved a key and said something.

        Args:
            descriptor: Their connection's file descriptor.
        """
        if descriptor in self._waiting:
            self._inside[descriptor] = self._waiting.pop(descriptor)

    def take(self, frames: list[Buffer]) -> None:
        """Take what the socket's monitor tells."""
        kind, descriptor = _MONITOR_EVENT.unpack(bytes(frames[0]))
        if kind == zmq.EVENT_ACCEPTED:
            self._arrive(descriptor)
        elif kind == zmq.EVENT_DISCONNECTED:
            self._inside.pop(descriptor, None)
            failure, self._failure = self._failure, None
            if descriptor not in self._waiting:
                return
            peer = self._waiting.pop(descriptor)
            # One whose key is not admitted is told apart by the ZAP handler, which knows the key.
            if failure != zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                self._on_turned_away(host_of(peer), _FAILURES.get(failure or 0, "it hung up or sent garbage"))
        else:
            self._failure = kind  # libzmq tells of the end of that connection next

    def _arrive(self, descriptor: int) -> None:
        if is_unix(descriptor):
            return
        peer = peer_of(descriptor)
        if len(self._waiting) + len(self._inside) >= self._most:
            hang_up(descriptor, peer)
            self._on_turned_away(host_of(peer), f"there are {self._most} connections{self._settings[1]}")
            return
        self._waiting[descriptor] = peer
        if len(self._waiting) > self._most_waiting:
            oldest = next(iter(self._waiting))
            crowded = self._waiting.pop(oldest)
            hang_up(oldest, crowded)
            self._on_turned_away(
                host_of(crowded), f"{self._most_waiting} newer ones had not proved a key either{self._settings[0]}"
            )


def host_of(peer: PeerAddress | None) -> str:
    """Return a connection's other end without its port, empty when it's gone."""
    return "" if peer is None else peer[0].removeprefix("::ffff:")
