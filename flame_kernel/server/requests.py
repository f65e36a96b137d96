"""What clients ask about their session, and what the server answers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from flame_kernel.buffers import Buffer
from flame_kernel.errors import FlameError, SessionDied
from flame_kernel.protocol import messages
from flame_kernel.server.attachment import Attachment
from flame_kernel.server.process import kernelspecs
from flame_kernel.server.registry import Registry
from flame_kernel.server.session import Session

log = logging.getLogger(__name__)

# A request that could not even be read has no id to answer to.
UNREADABLE = 0

Work = Coroutine[Any, Any, None]
Handler = Callable[[Session, messages.Request], Awaitable[messages.Done]]


class Requests:
    """Carries out requests about sessions, and passes Jupyter messages on.

    Args:
        registry: The sessions.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._table: dict[type, Handler] = {
            messages.Interrupt: self._interrupt,
            messages.Restart: self._restart,
            messages.Close: self._close,
            messages.ListSessions: self._list_sessions,
            messages.ListKernels: self._list_kernels,
        }

    def take(self, session: Session, attachment: Attachment, parts: Sequence[Buffer]) -> Work | None:
        """Take a client's numbered message.

        Args:
            session: Its session.
            attachment: Its conversation, which the answer goes to.
            parts: The message.

        Returns:
            What is still to be done, if anything.
        """
        try:
            if len(parts) == 2 and bytes(parts[0]) == messages.TOPIC:
                return self._carry_out(session, attachment, messages.decode_request(bytes(parts[1])))
            session.from_client(attachment, parts)
        except SessionDied as error:
            attachment.tell(messages.Died(str(error)))  # a Jupyter message has no number that an answer could name
        except FlameError as error:
            attachment.tell(messages.Failed(UNREADABLE, messages.Refusal.of(error)))
        return None

    async def _carry_out(self, session: Session, attachment: Attachment, request: messages.Request) -> None:
        try:
            answer: messages.Answer = await self._table[type(request)](session, request)
        except FlameError as error:
            answer = messages.Failed(request.id, messages.Refusal.of(error))
        except Exception as error:
            log.exception("request %r of session %s failed", request, session.key.name)
            answer = messages.Failed(request.id, messages.Refusal("error", f"the server failed: {error}"))
        attachment.tell(answer)

    async def _interrupt(self, session: Session, request: messages.Request) -> messages.Done:
        await session.interrupt()
        return messages.Done(request.id)

    async def _restart(self, session: Session, request: messages.Request) -> messages.Done:
        await session.restart()
        return messages.Done(request.id)

    async def _close(self, session: Session, request: messages.Request) -> messages.Done:
        await session.close()
        return messages.Done(request.id)

    async def _list_sessions(self, session: Session, request: messages.Request) -> messages.Done:
        return messages.Done(request.id, sessions=self._registry.listing(session.key.owner))

    async def _list_kernels(self, session: Session, request: messages.Request) -> messages.Done:
        found = kernelspecs().items()
        return messages.Done(request.id, kernels=tuple(messages.KernelInfo(name, *about) for name, about in found))
