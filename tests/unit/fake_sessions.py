"""Sessions without a kernel process, for what is about the door to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from flame_kernel.errors import FlameError, LimitExceeded, SessionDied, SessionError, UnknownSession
from flame_kernel.protocol import messages
from flame_kernel.protocol.jupyter import Channel, Envelope, to_link
from flame_kernel.protocol.session import SessionState
from flame_kernel.security.authorized_key import Role
from flame_kernel.server.attachment import Attachment
from flame_kernel.server.boot import KernelFacts
from flame_kernel.server.session import SessionKey
from flame_kernel.server.unseen import Unseen
from flame_kernel.transport.entrance import stream_address

NOW = 1_700_000_000.0


@dataclass
class FakeSession:
    """A session without a kernel: it answers each Jupyter message with the same parts."""

    key: SessionKey
    private: bool
    worker_address: str
    state: SessionState = SessionState.READY
    facts: KernelFacts = field(default_factory=lambda: KernelFacts("python", calls=True))
    started: float = NOW
    attachments: dict[str, Attachment] = field(default_factory=dict)
    shares: dict[str, Role] = field(default_factory=dict)
    on_process_change: set[Callable[[FlameError | None], None]] = field(default_factory=set)
    interrupts: int = 0
    closed: int = 0
    cause: str = ""

    def __post_init__(self) -> None:
        self.unseen = Unseen(self.attachments, 1_000_000)

    @property
    def lonely(self) -> bool:
        return not any(attachment.connected for attachment in self.attachments.values())

    def rename(self, name: str) -> None:
        self.key = SessionKey(self.key.owner, name)

    @property
    def process(self) -> Any:
        at = self.worker_address
        return SimpleNamespace(kernel="python3", pid=7, worker_address=at, stream_address=stream_address(at))

    def attach(self, name: str, client: str) -> Attachment:
        return self.attachments.setdefault(name, Attachment(name, client, 1_000_000))

    def detach(self, name: str) -> None:
        self.attachments.pop(name, None)

    def from_client(self, attachment: Attachment, channel: Channel, envelope: Envelope) -> None:
        if self.state is SessionState.DEAD:
            raise SessionDied("session 'work' died: it was killed")
        attachment.deliver(to_link(channel, envelope))

    async def interrupt(self) -> None:
        self.interrupts += 1

    async def restart(self) -> None:
        raise SessionError("not now")

    def keep_shares(self) -> None:
        pass

    async def close(self) -> None:
        self.closed += 1


class FakeRegistry:
    """Sessions that start at once, or when they may."""

    def __init__(self, worker_address: str) -> None:
        self.sessions: dict[SessionKey, FakeSession] = {}
        self.may_start = asyncio.Event()
        self.may_start.set()
        self.worker_address = worker_address

    async def obtain(self, owner: str, hello: messages.Hello) -> tuple[FakeSession, bool]:
        name = hello.session
        await self.may_start.wait()
        if name == "one too many":
            raise LimitExceeded("the limit is reached")
        key = SessionKey(owner, name or f"private-{len(self.sessions)}")
        created = key not in self.sessions
        session = self.sessions.setdefault(key, FakeSession(key, not name, self.worker_address))
        return session, created

    def find(self, owner: str, name: str) -> FakeSession | None:
        return self.sessions.get(SessionKey(owner, name))

    def unknown(self, owner: str, name: str) -> UnknownSession:
        return UnknownSession(f"there is no session {name!r}")

    def of(self, owner: str) -> list[FakeSession]:
        return [session for key, session in self.sessions.items() if key.owner == owner]

    def all(self) -> list[FakeSession]:
        return list(self.sessions.values())
