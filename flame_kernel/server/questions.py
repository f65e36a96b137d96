"""What the server itself asks a kernel: the answers are its own, and no client sees a trace of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from flame_kernel.errors import ProtocolError
from flame_kernel.protocol.jupyter import Channel, Envelope, Header, compose

_US = "flame-server"


class Questions:
    """Asks on the shell channel and keeps what comes of it to itself.

    Args:
        send: Sends the kernel a message.
    """

    def __init__(self, send: Callable[[Channel, Envelope], None]) -> None:
        self._send = send
        self._open: dict[str, _Question] = {}

    async def ask(self, msg_type: str, content: dict[str, object], *, settled: bool = True) -> Envelope:
        """Ask something and return the reply.

        Args:
            msg_type: What kind of request it is.
            content: Its content, plain data.
            settled: Whether to wait for the kernel's idle status as well, which comes on another channel.

        Returns:
            The reply.
        """
        request = compose(msg_type, content, session=_US)
        question = _Question(settled)
        self._open[request.header().msg_id] = question
        self._send(Channel.SHELL, request)
        return await question.answered

    def take(self, channel: Channel, envelope: Envelope) -> bool:
        """Take what the kernel says, if it's about a question of ours.

        Returns:
            Whether it was.
        """
        if not self._open:
            return False
        parent = _parent(envelope)
        question = self._open.get(parent.msg_id) if parent is not None else None
        if parent is None or question is None:
            return False
        question.take(channel, envelope)
        if question.over:
            del self._open[parent.msg_id]
        return True

    def forget(self) -> None:
        """Give up on what is open: the process that was asked is gone."""
        for question in self._open.values():
            question.answered.cancel()
        self._open.clear()


class _Question:
    def __init__(self, settled: bool) -> None:
        self.answered: asyncio.Future[Envelope] = asyncio.get_running_loop().create_future()
        self._settled = settled
        self._reply: Envelope | None = None
        self._idle = False

    @property
    def over(self) -> bool:
        """Whether nothing more will be heard of it."""
        return self._reply is not None and self._idle

    def take(self, channel: Channel, envelope: Envelope) -> None:
        if channel is Channel.SHELL:
            self._reply = envelope
        elif channel is Channel.IOPUB and envelope.header().msg_type == "status":
            self._idle = envelope.content().get("execution_state") == "idle"
        # Whoever asked may have given up: then it's only kept from the clients.
        if self._reply is not None and (self._idle or not self._settled) and not self.answered.done():
            self.answered.set_result(self._reply)


def _parent(envelope: Envelope) -> Header | None:
    try:
        return envelope.parent()
    except ProtocolError:
        return None
