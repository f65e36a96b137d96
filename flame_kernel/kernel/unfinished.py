"""The cells before a move: it waits until they have ended, and does not happen when one of them failed."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Iterable

from flame_kernel.protocol.jupyter import Channel, Envelope


class _Awaited(enum.Enum):
    """What the end of a cell consists of; they come on different channels, in any order."""

    REPLY = "reply"
    IDLE = "idle"


class Unfinished:
    """Waits for cells to end."""

    def __init__(self) -> None:
        self._awaited: set[tuple[str, _Awaited]] = set()
        self._ended = asyncio.Event()
        self._went_well = True

    async def wait(self, cells: Iterable[str]) -> bool:
        """Wait until cells have ended.

        Args:
            cells: Their ids.

        Returns:
            Whether what is queued behind them shall run.
        """
        self._awaited = {(cell, what) for cell in cells for what in _Awaited}
        self._went_well = True
        self._ended.clear()
        if self._awaited:
            await self._ended.wait()
        return self._went_well

    def heard(self, channel: Channel, envelope: Envelope, request: Envelope | None) -> None:
        """Take note of what the session says.

        Args:
            channel: On which channel.
            envelope: What.
            request: The request that it's the reply to, if any.
        """
        if not self._awaited:
            return
        kind = envelope.header().msg_type
        if channel is Channel.SHELL and kind == "execute_reply":
            self._note(envelope, _Awaited.REPLY)
            if request is not None and aborts_the_queue(request, envelope):
                self._went_well = False
        elif channel is Channel.IOPUB and kind == "status" and envelope.content().get("execution_state") == "idle":
            self._note(envelope, _Awaited.IDLE)

    def give_up(self) -> None:
        """The session will never tell; what is queued behind the cells does not run."""
        if self._awaited:
            self._awaited.clear()
            self._went_well = False
        self._ended.set()

    def _note(self, envelope: Envelope, what: _Awaited) -> None:
        parent = envelope.parent()
        if parent is not None:
            self._awaited.discard((parent.msg_id, what))
            if not self._awaited:
                self._ended.set()


def aborts_the_queue(request: Envelope, reply: Envelope) -> bool:
    """Tell whether the cells that wait behind a cell don't run after this reply to it, as in any kernel."""
    status = reply.content().get("status")
    return status == "aborted" or (status == "error" and stops_on_error(request))


def stops_on_error(request: Envelope) -> bool:
    """Tell whether a cell asks that those behind it don't run when it fails."""
    return request.content().get("stop_on_error", True) is not False
