"""How the link of a connection fares, and the one line that tells who waits for a cell."""

from __future__ import annotations

import contextvars
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flame_kernel.client.cells.display import Display

# A cut that is mended sooner is none that anybody has to know of, in seconds.
_SHOW_AFTER_S = 1.0

# Timers and clocks don't agree to the last digit.
_NEARLY = 0.9


class LinkWatch:
    """Knows whether the link is up, and tells those who wait.

    Args:
        later: Has a function called after so many seconds, on the link's thread.
        clock: Tells the time in seconds.
    """

    def __init__(
        self, later: Callable[[float, Callable[[], object]], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._later = later
        self._clock = clock
        self._changing = threading.Lock()
        self._notices: list[_Notice] = []
        self._lost_at: float | None = None
        self._where = ""

    @property
    def up(self) -> bool:
        """Whether the link is there."""
        return self._lost_at is None

    def describe(self) -> str:
        """Return how it fares, in words."""
        lost_at = self._lost_at
        return "up" if lost_at is None else f"lost {self._clock() - lost_at:.0f} s ago; the session goes on"

    def changed(self, up: bool, where: str) -> None:
        """The link was lost, or is there again; called on its thread, and for every attempt that fails.

        Args:
            up: Whether it's there.
            where: What to call the server.
        """
        self._where = where
        with self._changing:
            if up and self._lost_at is not None:
                away, self._lost_at = self._clock() - self._lost_at, None
                for notice in self._notices:
                    notice.back(where, away)
            elif not up and self._lost_at is None:
                self._lost_at = self._clock()
                self._later(_SHOW_AFTER_S, self._tell)

    @contextmanager
    def telling(self, display: Display) -> Iterator[None]:
        """Show on a display, while somebody waits there, that the link is lost, and that it's back."""
        notice = _Notice(display)
        with self._changing:
            self._notices.append(notice)
        self._tell()
        try:
            yield
        finally:
            with self._changing:
                self._notices.remove(notice)

    def _tell(self) -> None:
        with self._changing:
            lost_at = self._lost_at
            if lost_at is not None and self._clock() - lost_at >= _SHOW_AFTER_S * _NEARLY:
                for notice in self._notices:
                    notice.lost(self._where)


class _Notice:
    """One line that changes in place."""

    def __init__(self, display: Display) -> None:
        self._display = display
        # What ipykernel tells cells apart by; the link's own thread knows of none.
        self._context = contextvars.copy_context()
        self._display_id = ""

    def lost(self, where: str) -> None:
        if not self._display_id:
            self._display_id = uuid.uuid4().hex
            self._say(f"link to {where} lost, the session goes on …", update=False)

    def back(self, where: str, away: float) -> None:
        if self._display_id:
            self._say(f"link to {where} was lost; back after {away:.0f} s", update=True)
            self._display_id = ""

    def _say(self, text: str, update: bool) -> None:
        self._context.run(self._display.notice, f"[flame] {text}", self._display_id, update)
