"""The doorway of a listening socket: who stands in it without having proved a key, and how many.

libzmq accepts every TCP connection and gives it some seconds to prove who it is. Here those are counted: when too many
stand in the doorway, the one that stands there longest is shut out, for whoever means it is through within moments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import zmq
from zmq.utils.monitor import parse_monitor_message

from flame_kernel.transport.eventsocket import EventSocket
from flame_kernel.transport.tcp import PeerAddress, hang_up, peer_of

_FAILURES = {
    int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL): "it does not speak CURVE, or not with this server's key",
    int(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL): "it did not prove a key in time",
}
_EVENTS = (
    zmq.EVENT_ACCEPTED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)

OnTurnedAway = Callable[[str, str], None]


class Doorway:
    """Watches who comes to a TCP socket.

    Args:
        context: The ZeroMQ context.
        listening: The socket, before it is bound.
        waiting: How many may stand in the doorway at a time.
        inside: How many connections there may be at a time, told together.
        on_turned_away: Called with an address and a reason for each that got no further.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        listening: zmq.Socket[bytes],
        waiting: int,
        inside: int,
        on_turned_away: OnTurnedAway,
    ) -> None:
        self._most_waiting = waiting
        self._most = inside
        self._on_turned_away = on_turned_away
        self._waiting: dict[int, PeerAddress | None] = {}
        self._inside: dict[int, PeerAddress | None] = {}
        self._failure: int | None = None
        self._listening = listening
        address = f"inproc://doorway-{id(listening)}"
        listening.monitor(address, _EVENTS)
        watch = context.socket(zmq.PAIR)
        watch.setsockopt(zmq.RCVHWM, 0)  # else libzmq's own thread would wait for us, and with it all connections
        watch.connect(address)
        self._watch = watch
        self._events = EventSocket(watch, self._on_event)

    def through(self, descriptor: int) -> None:
        """Note that somebody proved a key and said something.

        Args:
            descriptor: Their connection's file descriptor.
        """
        self._catch_up()
        if descriptor in self._waiting:
            self._inside[descriptor] = self._waiting.pop(descriptor)

    def close(self) -> None:
        """Watch no more; before the socket is closed."""
        self._listening.disable_monitor()
        self._events.close()

    def _catch_up(self) -> None:
        while True:
            try:
                frames = self._watch.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._on_event(frames)

    def _on_event(self, frames: list[Any]) -> None:
        event = parse_monitor_message([bytes(frame) for frame in frames])
        kind, descriptor = int(event["event"]), int(event["value"])
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
                self._on_turned_away(_host(peer), _FAILURES.get(failure or 0, "it hung up or sent garbage"))
        else:
            self._failure = kind  # libzmq tells of the end of that connection next

    def _arrive(self, descriptor: int) -> None:
        peer = peer_of(descriptor)
        if len(self._waiting) + len(self._inside) >= self._most:
            hang_up(descriptor, peer)
            self._on_turned_away(_host(peer), f"there are {self._most} connections (limits.connections)")
            return
        self._waiting[descriptor] = peer
        if len(self._waiting) > self._most_waiting:
            oldest = next(iter(self._waiting))
            crowded = self._waiting.pop(oldest)
            hang_up(oldest, crowded)
            self._on_turned_away(
                _host(crowded), f"{self._most_waiting} newer ones had not proved a key either (limits.handshakes)"
            )


def _host(peer: PeerAddress | None) -> str:
    return "" if peer is None else peer[0].removeprefix("::ffff:")
