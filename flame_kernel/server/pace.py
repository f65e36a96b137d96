"""What a kernel says in quick succession goes to its clients together: a packet costs both ends a wake-up each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

# How long an output may wait for others, in seconds: less than a frame on any screen. Measured: updates that are made
# half a millisecond apart cost both ends about 0.7 of what they cost when each leaves at once.
GATHER_S = 0.005


class Pace:
    """Says when what has been kept for the clients is to be sent.

    The first output after a pause leaves at once, those that follow it closely leave together. What begins or ends a
    cell never waits, and takes along what does.

    Args:
        send: Sends all that has been kept so far.
        loop: Has the time.
    """

    def __init__(self, send: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        self._send = send
        self._loop = loop
        self._not_before = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def said(self, patient: bool) -> None:
        """Take note that something is there to be sent.

        Args:
            patient: Whether it may wait.
        """
        if patient:
            now = self._loop.time()
            if now < self._not_before:
                if self._timer is None:
                    self._timer = self._loop.call_at(self._not_before, self._due)
                return
            self._not_before = now + GATHER_S
        self.rest()
        self._send()

    def rest(self) -> None:
        """Wait for nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _due(self) -> None:
        self._timer = None
        self._not_before = self._loop.time() + GATHER_S
        self._send()
