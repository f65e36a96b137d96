"""Connections that fell silent, sessions left alone or grown too large, messages for clients that never come back."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from types import TracebackType

from flame_kernel.protocol.session import SessionState
from flame_kernel.server import memory
from flame_kernel.server.config import Limits
from flame_kernel.server.gate import Gate
from flame_kernel.server.registry import Registry
from flame_kernel.server.session import Session

log = logging.getLogger(__name__)

# How often silence is looked for, in seconds; nothing else in an idle server wakes up.
_EVERY_S = 5.0


class Leases:
    """Looks after silence while it is entered.

    Args:
        registry: The sessions.
        gates: Where connections are.
        limits: How long is too long.
        clock: The event loop's time, in seconds.
        on_tick: What else is to be looked after, each time.
    """

    def __init__(
        self,
        registry: Registry,
        gates: Sequence[Gate],
        limits: Limits,
        clock: Callable[[], float],
        on_tick: Callable[[], None] = lambda: None,
    ) -> None:
        self._registry = registry
        self._gates = gates
        self._limits = limits
        self._clock = clock
        self._on_tick = on_tick
        # Whether it's dead is part of the key: the wait for a client begins anew with a death.
        self._lonely_since: dict[tuple[Session, bool], float] = {}
        self._away_since: dict[tuple[Session, str], float] = {}
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
            await self._end_surplus()
            await self._end_too_large()
            self._drop_away()
            self._on_tick()

    def ends_in(self, session: Session) -> float | None:
        """Return after how many seconds a session is ended unless a client comes back, ``None`` for never."""
        since = self._lonely_since.get(_waiting(session), self._clock())
        lease = self._lease(session)
        if lease == math.inf or not session.lonely:
            return None
        return max(0.0, since + lease - self._clock())

    def _lease(self, session: Session) -> float:
        most = self._limits.lease_s if session.private else self._limits.named_lease_s
        if session.state is SessionState.DEAD:  # nothing goes on there: it's what is kept for those who were away
            most = min(most, self._limits.away_s)
        return min(most, session.lease) if session.lease > 0 else most

    async def _end_lonely(self) -> None:
        now = self._clock()
        lonely = [session for session in self._registry.all() if session.lonely]
        self._lonely_since = {_waiting(session): self._lonely_since.get(_waiting(session), now) for session in lonely}
        for (session, _), since in list(self._lonely_since.items()):
            if now - since >= self._lease(session):
                log.info("session %s was without a client for too long", session.key.name)
                await session.close()

    async def _end_surplus(self) -> None:
        dead = [session for session in self._registry.dead() if session.lonely]
        dead.sort(key=lambda session: (self._lonely_since.get(_waiting(session), math.inf), session.started))
        for session in dead[: max(0, len(self._registry.dead()) - self._limits.sessions)]:
            log.info("session %s died and made room for others that did", session.key.name)
            await session.close()

    async def _end_too_large(self) -> None:
        limit = self._limits.session_bytes
        sessions = [session for session in self._registry.all() if session.state is SessionState.READY]
        if not limit or not sessions:
            return
        pids = [session.process.pid for session in sessions]
        used = await asyncio.to_thread(lambda: list(map(memory.of_tree, pids)))
        for session, pid, size in zip(sessions, pids, used, strict=True):
            if size is not None and size > limit and session.process.pid == pid:
                session.kill(
                    f"it was ended because its processes used {size / 2**20:,.0f} MiB of memory, more than this "
                    f"server's limit of {limit / 2**20:,.0f} MiB (limits.session_bytes)"
                )

    def _drop_away(self) -> None:
        now = self._clock()
        away = {
            (session, name): attachment
            for session in self._registry.all()
            for name, attachment in session.attachments.items()
            if not attachment.connected
        }
        self._away_since = {key: self._away_since.get(key, now) for key in away}
        for (session, name), since in self._away_since.items():
            if now - since >= self._limits.away_s:
                session.detach(name)


def _waiting(session: Session) -> tuple[Session, bool]:
    return session, session.state is SessionState.DEAD
