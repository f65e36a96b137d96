"""All sessions of a server, by whose they are and what they're called."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import zmq

from flame_kernel.errors import LimitExceeded
from flame_kernel.protocol.messages import Hello, SessionInfo
from flame_kernel.protocol.session import SessionState
from flame_kernel.security.folders import private as private_folder
from flame_kernel.server.config import ServerConfig
from flame_kernel.server.process import KernelProcess
from flame_kernel.server.session import Session, SessionKey


class Registry:
    """Starts sessions, finds them again, and ends them.

    Args:
        config: The server's configuration.
        context: The ZeroMQ context for the sessions' channels.
        environ: The environment that kernels start from.
        on_idle: Called when the last session has ended.
    """

    def __init__(
        self,
        config: ServerConfig,
        context: zmq.Context[zmq.Socket[bytes]],
        environ: Mapping[str, str],
        on_idle: Callable[[], None],
    ) -> None:
        self._config = config
        self._context = context
        self._environ = environ
        self._on_idle = on_idle
        self._sessions: dict[SessionKey, Session] = {}
        self._starting: dict[SessionKey, asyncio.Task[Session]] = {}

    async def obtain(self, owner: str, hello: Hello) -> tuple[Session, bool]:
        """Find a session, or start it.

        Args:
            owner: Whose.
            hello: What the client said: the session's name, empty for a private one, and the kernelspec if it has to be
                started, empty for the default.

        Returns:
            The session, ready or dead, and whether it was started for this call.

        Raises:
            UnknownKernel: The host has no such kernelspec.
            KernelStartFailed: The kernel did not come up.
            LimitExceeded: There are as many sessions as the server allows.
        """
        # A client that greets again, because the answer was lost on the way, must find the private session it began.
        key = SessionKey(owner, hello.session or f"private-{hello.attachment[:12]}")
        session = self._sessions.get(key)
        if session is not None:
            return session, False
        task = self._starting.get(key)
        if task is not None:
            return await asyncio.shield(task), False
        if len(self._sessions) + len(self._starting) >= self._config.limits.sessions:
            raise LimitExceeded(
                f"this server runs {self._config.limits.sessions} sessions already, which is its limit "
                "(limits.sessions); end one of them first"
            )
        task = asyncio.create_task(self._start(key, hello))
        self._starting[key] = task
        task.add_done_callback(lambda _: self._starting.pop(key))
        return await asyncio.shield(task), True

    def find(self, owner: str, name: str) -> Session | None:
        """Return a running session, ``None`` when there's none of that name."""
        return self._sessions.get(SessionKey(owner, name))

    def listing(self, owner: str) -> tuple[SessionInfo, ...]:
        """Return what a listing shows of a key's sessions."""
        return tuple(
            SessionInfo(
                name=key.name,
                kernel=session.process.kernel,
                state=session.state.value,
                pid=session.process.pid if session.state is not SessionState.DEAD else 0,
                started=session.started,
                clients=sum(attachment.connected for attachment in session.attachments.values()),
            )
            for key, session in self._sessions.items()
            if key.owner == owner
        )

    @property
    def idle(self) -> bool:
        """Whether there is no session, nor one on its way."""
        return not self._sessions and not self._starting

    def all(self) -> list[Session]:
        """Return all sessions."""
        return list(self._sessions.values())

    def lonely(self) -> list[Session]:
        """Return the private sessions that no client is connected to."""
        return [
            session
            for session in self._sessions.values()
            if session.private and not any(attachment.connected for attachment in session.attachments.values())
        ]

    async def close(self) -> None:
        """End all sessions."""
        for task in self._starting.values():
            task.cancel()
        await asyncio.gather(*self._starting.values(), return_exceptions=True)
        await asyncio.gather(*(session.close() for session in list(self._sessions.values())))

    async def _start(self, key: SessionKey, hello: Hello) -> Session:
        folder = private_folder(self._config.folders.runtime)
        # Only a client on this machine, by the unix socket, works in the same folders.
        there = Path(hello.folder) if hello.folder and not key.owner else None
        cwd = there if there is not None and there.is_dir() else Path.home()
        process = KernelProcess(hello.kernel or self._config.kernel, folder, self._environ, cwd)
        session = Session(key, not hello.session, process, time.time(), self._config.limits.start_s, self._forget)
        await session.start(self._context)
        self._sessions[key] = session
        return session

    def _forget(self, session: Session) -> None:
        if self._sessions.pop(session.key, None) is not None and not self._sessions:
            self._on_idle()
