"""From a process that was just started to a session that is ready: its channels are live and the worker is loaded."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from flame_kernel.errors import KernelStartFailed
from flame_kernel.protocol.jupyter import Channel, Envelope, compose
from flame_kernel.server import bootstrap
from flame_kernel.transport.channels import KernelChannels

# A kernel that subscribes us too late does not tell on iopub what it did for a request; then it's asked again.
_ASK_AGAIN_S = 0.5

_US = "flame-server"


@dataclass(frozen=True)
class KernelFacts:
    """What is known of a kernel once it's up.

    Attributes:
        language: Its language, such as ``python``.
        calls: Whether the worker is loaded, so that it answers calls.
    """

    language: str
    calls: bool


class Boot:
    """Brings one kernel process up. Until it's done, everything the kernel says goes here.

    Args:
        channels: The kernel's channels.
        worker_address: Where its worker shall wait for calls.
    """

    def __init__(self, channels: KernelChannels, worker_address: str) -> None:
        self._channels = channels
        self._worker_address = worker_address
        self._arrived: asyncio.Queue[tuple[Channel, Envelope]] = asyncio.Queue()

    def on_message(self, channel: Channel, envelope: Envelope) -> None:
        """Take what the kernel says."""
        self._arrived.put_nowait((channel, envelope))

    async def run(self) -> KernelFacts:
        """Wait until the kernel answers on all channels, then load the worker if it's Python.

        Returns:
            What is known of it.

        Raises:
            KernelStartFailed: The worker could not be loaded.
        """
        language = await self._greet()
        if language != "python":
            return KernelFacts(language, calls=False)
        code = bootstrap.code(self._worker_address)
        content = {"code": code, "silent": True, "store_history": False, "user_expressions": {}, "allow_stdin": False}
        reply = (await self._ask("execute_request", content)).content()
        if reply.get("status") != "ok":
            raise KernelStartFailed(
                f"the Flame worker could not be loaded: {reply.get('ename')}: {reply.get('evalue')}"
            )
        return KernelFacts(language, calls=True)

    async def _greet(self) -> str:
        while True:
            try:
                reply = await asyncio.wait_for(self._ask("kernel_info_request", {}), _ASK_AGAIN_S)
            except TimeoutError:
                continue
            return str(reply.content().get("language_info", {}).get("name", ""))

    async def _ask(self, msg_type: str, content: dict[str, object]) -> Envelope:
        """Return the reply, once both it and the kernel's idle status have come."""
        request = compose(msg_type, content, session=_US)
        asked = request.header().msg_id
        self._channels.send(Channel.SHELL, request)
        reply: Envelope | None = None
        idle = False
        while reply is None or not idle:
            channel, envelope = await self._arrived.get()
            parent = envelope.parent()
            if parent is None or parent.msg_id != asked:
                continue
            if channel is Channel.SHELL:
                reply = envelope
            elif channel is Channel.IOPUB and envelope.header().msg_type == "status":
                idle = envelope.content().get("execution_state") == "idle"
        return reply
