"""Connections that fell silent, private sessions left alone, and messages kept for clients that never come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType

from flame_kernel.server.config import Limits
from flame_kernel.server.gate import Gate
from flame_kernel.server.registry import Registry
from flame_kernel.server.session import SessionKey

# How often silence is looked for, in seconds; nothing else in an idle server wakes up.
_EVERY_S = 5.0


class Leases:
    """Looks after silence while it is entered.

    Args:
        registry: The sessions.
        gates: Where connections are.
        limits: How long is too long.
        clock: The event loop's time, in seconds.
    """

    def __init__(self, registry: Registry, gates: Sequence[Gate], limits: Limits, clock: Callable[[], float]) -> None:
        self._registry = registry
        self._gates = gates
        self._limits = limits
        self._clock = clock
        self._lonely_since: dict[SessionKey, float] = {}
        self._away_since: dict[tuple[SessionKey, str], float] = {}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._watch())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self) -> None:
        every = min(_EVERY_S, self._limits.silence_s / 2, self._limits.lease_s / 2)
        while True:
            await asyncio.sleep(every)
            for gate in self._gates:
                gate.expire(self._limits.silence_s)
            await self._end_lonely()
            self._drop_away()

    async def _end_lonely(self) -> None:
        now = self._clock()
        lonely = {session.key: session for session in self._registry.lonely()}
        self._lonely_since = {key: self._lonely_since.get(key, now) for key in lonely}
        for key, since in list(self._lonely_since.items()):
            if now - since >= self._limits.lease_s:
                await lonely[key].close()

    def _drop_away(self) -> None:
        now = self._clock()
        away = {
            (session.key, name): session
            for session in self._registry.all()
            for name, attachment in session.attachments.items()
            if not attachment.connected
        }
        self._away_since = {key: self._away_since.get(key, now) for key in away}
        for key, since in self._away_since.items():
            if now - since >= self._limits.away_s:
                away[key].detach(key[1])
