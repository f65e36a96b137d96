"""What the running cell shows while the link is away: one line that changes in place."""

from __future__ import annotations

import asyncio
import uuid

from flame_kernel.buffers import Buffer
from flame_kernel.kernel.answers import Answers

# A cut that is mended sooner is none that anybody has to know of, in seconds.
_SHOW_AFTER_S = 1.0

_EVERY_S = 1.0


class LinkNotice:
    """Shows how the link fares.

    Args:
        answers: Makes and sends the messages.
    """

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._since = 0.0
        self._where = ""
        self._cell: Buffer | None = None
        self._display_id = ""

    def lost(self, where: str, cell: Buffer | None) -> None:
        """Note that the link is away.

        Args:
            where: What to call the server.
            cell: The header of the running cell, ``None`` when none is running: then there is nobody to tell.
        """
        if self._timer is not None:
            return
        self._since = self._loop.time()
        self._where = where
        self._cell = cell
        self._display_id = ""
        self._timer = self._loop.call_later(_SHOW_AFTER_S, self._show)

    def back(self) -> None:
        """Note that the link is there again, and no more: what may be missing is said by who knows of it."""
        if self._display_id:
            self._say(f"link to {self._where} is back after {self._away} s")
        self.forget()

    def forget(self) -> None:
        """Stop showing anything."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._display_id = ""

    @property
    def _away(self) -> int:
        return round(self._loop.time() - self._since)

    def _show(self) -> None:
        self._say(f"link to {self._where} lost for {self._away} s; the session goes on …")
        self._timer = self._loop.call_later(_EVERY_S, self._show)

    def _say(self, text: str) -> None:
        if self._cell is None:
            return
        update = bool(self._display_id)
        self._display_id = self._display_id or uuid.uuid4().hex
        data = {"text/plain": f"[flame] {text}"}
        self._answers.display(data, self._display_id, update, self._cell)
