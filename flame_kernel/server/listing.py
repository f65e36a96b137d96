"""What a listing shows of sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from flame_kernel.protocol.messages import SessionInfo
from flame_kernel.protocol.session import SessionState
from flame_kernel.server import memory
from flame_kernel.server.session import Session


@dataclass(frozen=True)
class Lister:
    """Describes sessions.

    Attributes:
        host: What to call this host.
        ends_in: Tells after how many seconds a session is ended unless a client comes back; ``None`` for never.
    """

    host: str
    ends_in: Callable[[Session], float | None]

    def describe(self, sessions: Sequence[Session]) -> tuple[SessionInfo, ...]:
        """Return what is known of sessions without asking the system."""
        return tuple(map(self._one, sessions))

    async def measure(self, infos: Sequence[SessionInfo]) -> tuple[SessionInfo, ...]:
        """Add what memory they use, which takes the system some milliseconds."""

        def look() -> list[int | None]:
            return [memory.of_tree(info.pid) for info in infos]

        found = await asyncio.to_thread(look)
        return tuple(msgspec.structs.replace(info, memory=used) for info, used in zip(infos, found, strict=True))

    def _one(self, session: Session) -> SessionInfo:
        here = [attachment for attachment in session.attachments.values() if attachment.connected]
        return SessionInfo(
            name=session.key.name,
            kernel=session.process.kernel,
            state=session.state.value,
            pid=session.process.pid if session.state is not SessionState.DEAD else 0,
            started=session.started,
            clients=len(here),
            host=self.host,
            names=tuple(attachment.client for attachment in here),
            private=session.private,
            activity=session.unseen.activity if session.state is SessionState.READY else "",
            unseen=session.unseen.count,
            ends_in=self.ends_in(session),
            cause=session.cause,
        )
