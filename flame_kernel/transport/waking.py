"""What ends the waits of a client's threads: somebody rings, or the time is up."""

from __future__ import annotations

import os
import selectors
import socket as sockets
import time
from contextlib import suppress

from flame_kernel.errors import LinkLost

# Where Ctrl-C does not end a wait, how often to look for it, in milliseconds; elsewhere nothing has to be looked for.
_LOOK_EVERY_MS = -1 if os.name == "posix" else 500


class Wake:
    """Wakes threads that wait for their connections."""

    def __init__(self) -> None:
        self._near, self._far = sockets.socketpair()
        self._near.setblocking(False)
        self._far.setblocking(False)
        self._rung = False
        self._put_off = False
        self.ended = False

    def fileno(self) -> int:
        """Return what becomes readable."""
        return self._near.fileno()

    def ring(self) -> None:
        """Wake a thread, which has to :meth:`hush` it and then look what there is to do."""
        if not self._rung:
            self._rung = True
            with suppress(OSError):  # it's full of rings that nobody has heard yet, or closed
                self._far.send(b"\0")

    def put_off(self) -> None:
        """Hear the ring now and have it rung again by :meth:`ring_again`, since nothing can be done about it yet."""
        self.hush()
        self._put_off = True

    def ring_again(self) -> None:
        """Ring again if a ring was put off."""
        if self._put_off:
            self._put_off = False
            self.ring()

    def hush(self) -> None:
        """Take note of the ring; what was to be done before it can be seen from now on."""
        with suppress(BlockingIOError):
            self._near.recv(4096)
        self._rung = False

    def wait(self) -> None:
        """Wait until it's rung."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._near, selectors.EVENT_READ)
            selector.select()

    def end(self) -> None:
        """Wake every thread for good: what waits raises :class:`LinkLost`."""
        self.ended = True
        self.ring()

    def require_use(self, name: str) -> None:
        """Raise an error if nobody wants the connections any more.

        Args:
            name: What to call where they lead.

        Raises:
            LinkLost: They were abandoned.
        """
        if self.ended:
            raise LinkLost(f"this connection to {name} was closed; connect again")

    def pause(self, seconds: float, name: str) -> None:
        """Let a moment pass, or less if it's rung.

        Args:
            seconds: How long.
            name: What to call where the connections lead.

        Raises:
            LinkLost: They were abandoned.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(self._near, selectors.EVENT_READ)
            selector.select(seconds)
        self.require_use(name)

    def close(self) -> None:
        """Close it, when no thread waits any more."""
        self._near.close()
        self._far.close()


def left_ms(deadline: float | None) -> int:
    """Return how long a thread may wait, in milliseconds; -1 for as long as it takes.

    Args:
        deadline: Until when, in ``time.monotonic()`` seconds; ``None`` for as long as it takes.
    """
    if deadline is None:
        return _LOOK_EVERY_MS
    left = max(0, int((deadline - time.monotonic()) * 1000) + 1)
    return left if _LOOK_EVERY_MS < 0 else min(left, _LOOK_EVERY_MS)
