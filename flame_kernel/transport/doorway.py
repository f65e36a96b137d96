"""The doorway of a listening socket in an event loop: the crowd that its monitor tells of."""

from __future__ import annotations

import zmq

from flame_kernel.transport.crowd import CROWD_EVENTS, Crowd, OnTurnedAway
from flame_kernel.transport.eventsocket import EventSocket


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
        self._crowd = Crowd(waiting, inside, on_turned_away, (" (limits.handshakes)", " (limits.connections)"))
        self._listening = listening
        address = f"inproc://doorway-{id(listening)}"
        listening.monitor(address, CROWD_EVENTS)
        watch = context.socket(zmq.PAIR)
        watch.setsockopt(zmq.RCVHWM, 0)  # else libzmq's own thread would wait for us, and with it all connections
        watch.connect(address)
        self._watch = watch
        self._events = EventSocket(watch, self._crowd.take)

    def through(self, descriptor: int) -> None:
        """Note that somebody proved a key and said something.

        Args:
            descriptor: Their connection's file descriptor.
        """
        self._catch_up()
        self._crowd.through(descriptor)

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
            self._crowd.take(list(frames))
