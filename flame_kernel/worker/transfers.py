"""Who copies files in this session: only so many at a time.

A copy is many small requests, and nothing tells its end. So whoever asked for something about files a moment ago counts
as copying, until it leaves or its place is wanted and it hasn't asked for so long that it may well be done.
"""

from __future__ import annotations

import threading
import time
from typing import Callable

from flame_kernel.errors import LimitExceeded
from flame_kernel.protocol.calls import Operation
from flame_kernel.worker.permits import FILES

# Copies at a time unless the server says otherwise.
MOST = 32

# How long after its latest request a copy counts as under way, in seconds.
QUIET_S = 10.0


class Transfers:
    """The conversations that copy files.

    Args:
        most: How many may copy at a time.
        clock: The time, in seconds.
    """

    def __init__(self, most: int = MOST, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._latest: dict[bytes, float] = {}

    def require(self, name: bytes, operation: Operation) -> None:
        """Make sure that a conversation may make a call, which counts as part of a copy if it's about files.

        Args:
            name: The conversation's name.
            operation: What it asks for.

        Raises:
            LimitExceeded: As many as may copy files already.
        """
        if operation not in FILES:
            return
        with self._lock:
            now = self._clock()
            if name not in self._latest and len(self._latest) >= self._most:
                self._latest = {other: when for other, when in self._latest.items() if now - when < QUIET_S}
                if len(self._latest) >= self._most:
                    raise LimitExceeded(
                        f"{self._most} copies of files are under way in this session already, which is its limit "
                        "(limits.transfers); try again when one of them has ended"
                    )
            self._latest[name] = now

    def left(self, name: bytes) -> None:
        """Count a conversation no more: it has ended."""
        with self._lock:
            self._latest.pop(name, None)
