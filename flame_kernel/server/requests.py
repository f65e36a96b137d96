"""What clients ask about sessions, and what the server answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from flame_kernel.buffers import Buffer
from flame_kernel.errors import FlameError, ProtocolError, SessionDied, UnknownSession
from flame_kernel.protocol import messages
from flame_kernel.protocol.jupyter import Channel, from_link
from flame_kernel.security.authorized_key import Role
from flame_kernel.server import kernelspecs, observers, permits
from flame_kernel.server.access import Access
from flame_kernel.server.attachment import Attachment
from flame_kernel.server.audit import Audit
from flame_kernel.server.listing import Lister
from flame_kernel.server.peers import Caller
from flame_kernel.server.permits import Grant
from flame_kernel.server.session import Session, SessionKey

log = logging.getLogger(__name__)

# A request that could not even be read has no id to answer to.
UNREADABLE = 0

Work = Coroutine[Any, Any, None]


@dataclass(frozen=True)
class Asker:
    """Who asks.

    Attributes:
        attachment: Its conversation, which the answer goes to.
        session: The session it is attached to, ``None`` for none.
    """

    attachment: Attachment
    session: Session | None


@dataclass(frozen=True)
class Asked:
    """A request that its asker may make.

    Attributes:
        asker: Who asks.
        grant: What they may do in the session that it is about.
        request: What they ask.
        about: The session that it is about, ``None`` when it's about none.
    """

    asker: Asker
    grant: Grant
    request: Any
    about: Session | None

    @property
    def session(self) -> Session:
        """The session that it is about.

        Raises:
            UnknownSession: It's about none.
        """
        if self.about is None:
            raise UnknownSession("say which session; flame ls lists them")
        return self.about


Handler = Callable[[Asked], Awaitable[messages.Done]]


class Requests:
    """Carries out requests about sessions, and passes Jupyter messages on.

    Args:
        access: Which sessions there are for whom.
        lister: Describes them.
        audit: Where what was done is written down.
        rename: Gives a session another name.
        restart: Starts a new process in place of a session's.
        recheck: Called when somebody may no longer be where they are.
    """

    def __init__(
        self,
        access: Access,
        lister: Lister,
        audit: Audit,
        rename: Callable[[Session, str], object],
        restart: Callable[[Session], Awaitable[object]],
        recheck: Callable[[], object],
    ) -> None:
        self._access = access
        self._lister = lister
        self._audit = audit
        self._rename_session = rename
        self._restart_session = restart
        self._recheck = recheck
        self._table: dict[type, Handler] = {
            messages.Interrupt: self._interrupt,
            messages.Restart: self._restart,
            messages.Close: self._close,
            messages.Rename: self._rename,
            messages.Detach: self._detach,
            messages.AskMissed: self._hand_over,
            messages.Share: self._share,
            messages.Unshare: self._unshare,
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
        attachment, session = asker.attachment, asker.session
        try:
            if len(parts) == 2 and bytes(parts[0]) == messages.TOPIC:
                return self._carry_out(asker, messages.decode_request(bytes(parts[1])))
            if session is None:
                raise ProtocolError("a Jupyter message arrived where there is no session")
            channel, envelope = from_link(parts)
            if channel is Channel.IOPUB:
                raise ProtocolError("a client sent a message on iopub, where only kernels speak")
            header = envelope.header()
            self._audit.said(attachment.grant, session.key, header.msg_type)
            if attachment.grant.role >= Role.EXECUTE:
                session.from_client(attachment, channel, envelope)
            else:
                allowed = observers.filtered(attachment, channel, envelope, header)
                if allowed is not None:
                    session.from_client(attachment, channel, allowed)
        except SessionDied as error:
            attachment.tell(messages.Died(str(error)))  # a Jupyter message has no number that an answer could name
        except FlameError as error:
            attachment.tell(messages.Failed(UNREADABLE, messages.Refusal.of(error)))
        return None

    async def _carry_out(self, asker: Asker, request: messages.Request) -> None:
        about, grant = asker.session, asker.attachment.grant
        key = about.key if about is not None else SessionKey(grant.who, "")
        try:
            named = getattr(request, "session", "")
            if named:
                about, grant = self._access.locate(_caller(grant), named, as_admin=True)
                key = about.key
            permits.require(grant, request)
            answer: messages.Answer = await self._table[type(request)](Asked(asker, grant, request, about))
            self._audit.asked(grant, key, request)
        except FlameError as error:
            answer = messages.Failed(request.id, messages.Refusal.of(error))
            self._audit.denied(grant, key, request, error)
        except Exception as error:
            log.exception("request %r of %s failed", request, asker.attachment.client)
            answer = messages.Failed(request.id, messages.Refusal("error", f"the server failed: {error}"))
        asker.attachment.tell(answer)

    async def _interrupt(self, asked: Asked) -> messages.Done:
        await asked.session.interrupt()
        return messages.Done(asked.request.id)

    async def _restart(self, asked: Asked) -> messages.Done:
        await self._restart_session(asked.session)
        return messages.Done(asked.request.id)

    async def _close(self, asked: Asked) -> messages.Done:
        await asked.session.close()
        return messages.Done(asked.request.id)

    async def _rename(self, asked: Asked) -> messages.Done:
        self._rename_session(asked.session, asked.request.name)
        return messages.Done(asked.request.id)

    async def _detach(self, asked: Asked) -> messages.Done:
        if asked.session is asked.asker.session:
            asked.session.keep()  # it's kept, and the client leaves by itself
        else:
            asked.session.send_away()
        return messages.Done(asked.request.id)

    async def _hand_over(self, asked: Asked) -> messages.Done:
        return asked.session.unseen.hand_over(asked.asker.attachment, asked.request)

    async def _share(self, asked: Asked) -> messages.Done:
        self._access.share(asked.session, asked.request.who, asked.request.role)
        asked.session.keep_shares()
        self._recheck()  # it may be less than before
        return messages.Done(asked.request.id, shared=self._access.shared_with(asked.session))

    async def _unshare(self, asked: Asked) -> messages.Done:
        self._access.unshare(asked.session, asked.request.who)
        asked.session.keep_shares()
        self._recheck()
        return messages.Done(asked.request.id, shared=self._access.shared_with(asked.session))

    async def _list_sessions(self, asked: Asked) -> messages.Done:
        request, caller = asked.request, _caller(asked.grant)
        seen = self._access.visible(caller, request.everyone)
        described = self._lister.describe([session for session, _ in seen])
        infos: Sequence[messages.SessionInfo] = [
            msgspec.structs.replace(info, **self._access.labels(caller, session, grant))
            for info, (session, grant) in zip(described, seen, strict=True)
        ]
        return messages.Done(request.id, sessions=await self._lister.measure(infos) if request.memory else tuple(infos))

    async def _list_kernels(self, asked: Asked) -> messages.Done:
        return messages.Done(asked.request.id, kernels=await asyncio.to_thread(kernelspecs.listed))


def _caller(grant: Grant) -> Caller:
    return Caller(grant.who, grant.name, role=grant.key)
