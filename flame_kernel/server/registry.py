"""All sessions of a server, by whose they are and what they're called."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import zmq

from flame_kernel.errors import FlameError, LimitExceeded, SessionError, UnknownSession
from flame_kernel.protocol.messages import Hello
from flame_kernel.protocol.session import SessionState
from flame_kernel.security.folders import private as private_folder
from flame_kernel.server.config import ServerConfig
from flame_kernel.server.environments import absolute
from flame_kernel.server.kernel import Kernel
from flame_kernel.server.ledger import Ledger, SessionFolder, SessionRecord
from flame_kernel.server.pool import WarmPool
from flame_kernel.server.process import KernelProcess, Left, end
from flame_kernel.server.session import Session, SessionKey

log = logging.getLogger(__name__)

_LONGEST_NAME = 100


class Registry:
    """Starts sessions, finds them again, and ends them.

    Args:
        config: The server's configuration.
        ledger: Where sessions are written down.
        context: The ZeroMQ context for the sessions' channels.
        environ: The environment that kernels start from.
        on_idle: Called when the last session has ended.
    """

    def __init__(
        self,
        config: ServerConfig,
        ledger: Ledger,
        context: zmq.Context[zmq.Socket[bytes]],
        environ: Mapping[str, str],
        on_idle: Callable[[], None],
    ) -> None:
        self._config = config
        self._ledger = ledger
        self._context = context
        self._environ = environ
        self._on_idle = on_idle
        self._sessions: dict[SessionKey, Session] = {}
        self._starting: dict[SessionKey, asyncio.Task[Session]] = {}
        self._pool = WarmPool(
            lambda kernelspec: self._kernel(kernelspec, Path.home()), config.kernel, config.limits.warm
        )

    async def adopt(self) -> None:
        """Go on with the sessions that an earlier server has left, and begin to keep kernels warm."""
        for folder in self._ledger.left():
            record, left = folder.read(), folder.read_process()
            if record is not None and left is not None:
                await self._adopt(folder, record, left)
            elif record is not None:
                log.warning("session %s can't be taken over: nothing tells where its process is", record.name)
            else:
                if left is not None:
                    end(left)  # it was being started, or kept warm
                folder.remove()
        self._pool.refill()

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
            UnknownSession: There is none of that name, and the client does not want to start one.
            KernelStartFailed: The kernel did not come up.
            LimitExceeded: There are as many sessions as the server allows.
            SessionError: It would have to be started, and that's no name for one.
        """
        # A client that greets again, because the answer was lost on the way, must find the private session it began.
        key = SessionKey(owner, hello.session or f"private-{hello.attachment[:12]}")
        session = self._sessions.get(key)
        while session is not None and session.state is SessionState.ENDED:
            await session.gone()
            session = self._sessions.get(key)
        if session is not None:
            return session, False
        task = self._starting.get(key)
        if task is not None:
            return await asyncio.shield(task), False
        if hello.existing:
            raise self.unknown(owner, hello.session)
        if hello.session:
            _require_name(hello.session)
        self._require_room()
        task = asyncio.create_task(self._start(key, hello))
        self._starting[key] = task
        task.add_done_callback(lambda _: self._starting.pop(key))
        return await asyncio.shield(task), True

    async def restart(self, session: Session) -> None:
        """Start a new process in place of a session's.

        Raises:
            LimitExceeded: It died, and there are as many others as the server allows.
            SessionError: It's being restarted already, or has ended.
            KernelStartFailed: The new one does not come up.
        """
        if session.state is SessionState.DEAD:
            self._require_room()
        await session.restart()

    def find(self, owner: str, name: str) -> Session | None:
        """Return a running session, ``None`` when there's none of that name."""
        return self._sessions.get(SessionKey(owner, name))

    def unknown(self, owner: str, name: str) -> UnknownSession:
        """Return the error that says that there is no such session."""
        known = ", ".join(repr(session.key.name) for session in self.of(owner)) or "none"
        return UnknownSession(
            f"there is no session {name!r} that belongs to this key or is shared with it; there are: {known}"
        )

    def rename(self, session: Session, name: str) -> None:
        """Give a session another name.

        Raises:
            SessionError: There is one of that name already, or it's no name.
        """
        key = SessionKey(session.key.owner, name)
        _require_name(name)
        if (key in self._sessions and self._sessions[key] is not session) or key in self._starting:
            raise SessionError(f"there is a session {name!r} already; end it, or take another name")
        del self._sessions[session.key]
        self._sessions[key] = session
        session.rename(name)

    def of(self, owner: str) -> list[Session]:
        """Return the sessions that belong to a key, but for those that are about to be gone."""
        return [
            session
            for key, session in self._sessions.items()
            if key.owner == owner and session.state is not SessionState.ENDED
        ]

    @property
    def idle(self) -> bool:
        """Whether there is no session, nor one on its way."""
        return not self._sessions and not self._starting

    def all(self) -> list[Session]:
        """Return all sessions."""
        return list(self._sessions.values())

    def dead(self) -> list[Session]:
        """Return the sessions whose process has ended by itself."""
        return [session for session in self._sessions.values() if session.state is SessionState.DEAD]

    async def close(self) -> None:
        """Let go of all sessions, which stay for the next server; what is still being started ends."""
        for task in self._starting.values():
            task.cancel()
        await asyncio.gather(*self._starting.values(), self._pool.close(), return_exceptions=True)
        ending = [session for session in self._sessions.values() if session.state is SessionState.ENDED]
        await asyncio.gather(*(session.gone() for session in ending))
        for session in self._sessions.values():
            session.leave()

    def _require_room(self) -> None:
        # A dead session runs nothing; how many of them are kept is bounded by itself (see lease.py).
        if len(self._sessions) - len(self.dead()) + len(self._starting) >= self._config.limits.sessions:
            raise LimitExceeded(
                f"this server runs {self._config.limits.sessions} sessions already, which is its limit "
                "(limits.sessions); end one of them first"
            )

    async def _start(self, key: SessionKey, hello: Hello) -> Session:
        # Only a client on this machine, by the unix socket, works in the same folders.
        there = Path(hello.folder) if hello.folder and not key.owner else None
        folder = there if there is not None and there.is_dir() else Path.home()
        kernelspec = absolute(hello.kernel or self._config.kernel, folder)
        warm = await self._pool.take(kernelspec)
        kernel = warm or self._kernel(kernelspec, folder)
        session = self._session(key, not hello.session, kernel, time.time(), hello.lease)
        try:
            await (kernel.start() if warm is None else kernel.move(folder))
            session.begin()
        except BaseException:
            await session.close()
            raise
        self._sessions[key] = session
        return session

    async def _adopt(self, folder: SessionFolder, record: SessionRecord, left: Left) -> None:
        key = SessionKey(record.owner, record.name)
        try:
            kernel = self._kernel(record.kernel, Path(record.folder), folder.path.name)
            session = self._session(key, record.private, kernel, record.started, record.lease)
            await session.resume(record, left)
        except (FlameError, OSError) as error:
            log.warning("session %s, which an earlier server has left, can't be taken over: %s", key.name, error)
        else:
            self._sessions[key] = session

    def _kernel(self, kernelspec: str, folder: Path, kernel_id: str | None = None) -> Kernel:
        runtime = private_folder(self._config.folders.runtime)
        process = KernelProcess(kernelspec, runtime, self._environ, folder, kernel_id)
        limits, place = self._config.limits, self._ledger.folder(process.kernel_id)
        return Kernel(process, self._context, limits.start_s, place, limits.transfers)

    def _session(self, key: SessionKey, private: bool, kernel: Kernel, started: float, lease: float) -> Session:
        folder = self._ledger.folder(kernel.process.kernel_id)
        limits = self._config.limits
        return Session(
            key, private, kernel, folder, started, limits.journal_bytes, self._forget, limits.missed_bytes, lease
        )

    def _forget(self, session: Session) -> None:
        if self._sessions.pop(session.key, None) is not None and not self._sessions:
            self._on_idle()


def _require_name(name: str) -> None:
    if not (name.strip() and name.isprintable() and len(name) <= _LONGEST_NAME):
        raise SessionError(
            f"{_shortened(name)} is no name for a session; take up to {_LONGEST_NAME} characters that can be printed"
        )
    if "/" in name:
        raise SessionError(
            f"{name!r} is no name for a session: with a slash it would be another key's (owner/name), and none that "
            "this key may use is called so; take a name without a slash"
        )


def _shortened(name: str) -> str:
    return repr(name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…")
