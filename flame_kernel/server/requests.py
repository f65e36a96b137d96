"""What clients ask about their session, and what the server answers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from flame_kernel.buffers import Buffer
from flame_kernel.errors import FlameError, ProtocolError, SessionDied
from flame_kernel.protocol import messages
from flame_kernel.server.attachment import Attachment
from flame_kernel.server.listing import Lister
from flame_kernel.server.process import kernelspecs
from flame_kernel.server.registry import Registry
from flame_kernel.server.session import Session

log = logging.getLogger(__name__)

# A request that could not even be read has no id to answer to.
UNREADABLE = 0

Work = Coroutine[Any, Any, None]


@dataclass(frozen=True)
class Asker:
    """Who asks.

    Attributes:
        owner: Whose sessions it may ask about.
        attachment: Its conversation, which the answer goes to.
        session: The session it is attached to, ``None`` for none.
    """

    owner: str
    attachment: Attachment
    session: Session | None


Handler = Callable[[Asker, Any], Awaitable[messages.Done]]


class Requests:
    """Carries out requests about sessions, and passes Jupyter messages on.

    Args:
        registry: The sessions.
        lister: Describes them.
    """

    def __init__(self, registry: Registry, lister: Lister) -> None:
        self._registry = registry
        self._lister = lister
        self._table: dict[type, Handler] = {
            messages.Interrupt: self._interrupt,
            messages.Restart: self._restart,
            messages.Close: self._close,
            messages.Rename: self._rename,
            messages.Detach: self._detach,
            messages.AskMissed: self._hand_over,
            messages.ListSessions: self._list_sessions,
            messages.ListKernels: self._list_kernels,
        }

    def take(self, asker: Asker, parts: Sequence[Buffer]) -> Work | None:
        """Take a client's numbered message.

        Args:
            asker: Who says it.
            parts: The message.

        Returns:
            What is still to be done, if anything.
        """
        try:
            if len(parts) == 2 and bytes(parts[0]) == messages.TOPIC:
                return self._carry_out(asker, messages.decode_request(bytes(parts[1])))
            if asker.session is None:
                raise ProtocolError("a Jupyter message arrived where there is no session")
            asker.session.from_client(asker.attachment, parts)
        except SessionDied as error:
            # A Jupyter message has no number that an answer could name.
            asker.attachment.tell(messages.Died(str(error)))
        except FlameError as error:
            asker.attachment.tell(messages.Failed(UNREADABLE, messages.Refusal.of(error)))
        return None

    async def _carry_out(self, asker: Asker, request: messages.Request) -> None:
        try:
            answer: messages.Answer = await self._table[type(request)](asker, request)
        except FlameError as error:
            answer = messages.Failed(request.id, messages.Refusal.of(error))
        except Exception as error:
            log.exception("request %r of %s failed", request, asker.attachment.client)
            answer = messages.Failed(request.id, messages.Refusal("error", f"the server failed: {error}"))
        asker.attachment.tell(answer)

    def _which(self, asker: Asker, name: str) -> Session:
        """Return the session that a request is about."""
        if not name and asker.session is not None:
            return asker.session
        session = self._registry.find(asker.owner, name)
        if session is None:
            raise self._registry.unknown(asker.owner, name)
        return session

    async def _interrupt(self, asker: Asker, request: messages.Interrupt) -> messages.Done:
        await self._which(asker, request.session).interrupt()
        return messages.Done(request.id)

    async def _restart(self, asker: Asker, request: messages.Restart) -> messages.Done:
        await self._which(asker, request.session).restart()
        return messages.Done(request.id)

    async def _close(self, asker: Asker, request: messages.Close) -> messages.Done:
        await self._which(asker, request.session).close()
        return messages.Done(request.id)

    async def _rename(self, asker: Asker, request: messages.Rename) -> messages.Done:
        self._registry.rename(self._which(asker, request.session), request.name)
        return messages.Done(request.id)

    async def _detach(self, asker: Asker, request: messages.Detach) -> messages.Done:
        session = self._which(asker, request.session)
        if session is asker.session:
            session.keep()  # it's kept, and the client leaves by itself
        else:
            session.send_away()
        return messages.Done(request.id)

    async def _hand_over(self, asker: Asker, request: messages.AskMissed) -> messages.Done:
        return self._which(asker, "").unseen.hand_over(asker.attachment, request)

    async def _list_sessions(self, asker: Asker, request: messages.ListSessions) -> messages.Done:
        infos = self._lister.describe(self._registry.of(asker.owner))
        return messages.Done(request.id, sessions=await self._lister.measure(infos) if request.memory else infos)

    async def _list_kernels(self, asker: Asker, request: messages.ListKernels) -> messages.Done:
        found = kernelspecs().items()
        return messages.Done(request.id, kernels=tuple(messages.KernelInfo(name, *about) for name, about in found))
