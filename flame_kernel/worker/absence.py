"""Clients that hold objects and can't be reached: some come back after a cut, others never will."""

from __future__ import annotations

import threading
import time
from typing import Callable

from flame_kernel.worker.objects import Objects

# How long objects are held for a client that can't be reached, in seconds: a laptop may be closed over lunch.
LEASE_S = 3600.0

# How often to look whether clients are there, while something is held for them and nothing else goes on, in seconds.
_LOOK_EVERY_S = 15.0


class Absence:
    """Releases what is held for clients that left or stay away.

    Args:
        objects: What is held.
        reachable: Tells whether a client can be reached now.
        lease_s: How long a client may be away, in seconds.
        clock: The time, in seconds.
    """

    def __init__(
        self,
        objects: Objects,
        reachable: Callable[[bytes], bool],
        lease_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._objects = objects
        self._reachable = reachable
        self._lease_s = lease_s
        self._clock = clock
        self._since: dict[bytes, float] = {}

    @property
    def wait_s(self) -> float | None:
        """How long to wait for messages before a look, in seconds; ``None`` when there's nothing to look after."""
        return min(_LOOK_EVERY_S, self._lease_s / 2) if self._objects.anything else None

    def look(self) -> None:
        """Look who's there, and release what belongs to those who have been away for too long."""
        now = self._clock()
        away = {client for client in self._objects.clients if not self._reachable(client)}
        self._since = {client: self._since.get(client, now) for client in away}
        for client, since in self._since.items():
            if now - since >= self._lease_s:
                self.left(client)

    def left(self, client: bytes) -> None:
        """Release what is held for a client that has left."""
        if client in self._objects.clients:
            # On a thread of its own: the objects' finalizers may take their time.
            threading.Thread(
                target=self._objects.release_all, args=(client,), name="flame-release", daemon=True
            ).start()
