"""A kernel that is up: its process, its channels, and the worker in it. Sessions come and go on top of it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Protocol

import zmq

from flame_kernel.errors import KernelStartFailed, ProtocolError
from flame_kernel.protocol.jupyter import Channel, Envelope
from flame_kernel.server import boot
from flame_kernel.server.boot import KernelFacts
from flame_kernel.server.ledger import SessionFolder
from flame_kernel.server.process import KernelProcess, Left
from flame_kernel.server.questions import Questions
from flame_kernel.transport.channels import ConnectionInfo, KernelChannels

log = logging.getLogger(__name__)

# A second interrupt within this time, in seconds, means that the first was not enough.
_AGAIN_S = 5.0


class KernelEvents(Protocol):
    """What a kernel tells, once it's up."""

    def on_kernel(self, channel: Channel, envelope: Envelope) -> None:
        """It says something."""

    def on_death(self, cause: str) -> None:
        """Its process ended by itself; how, in words."""


class Kernel:
    """One kernel process after another, each of which is brought up until it answers.

    Args:
        process: The process, not started yet, or one that an earlier server has left.
        context: The ZeroMQ context for its channels.
        start_s: How long it may take to come up, in seconds.
        folder: Where it's written down. If this server ends and there's no session's record in it by then, the process
            ends too.
        transfers: How many may copy files in it at a time.
    """

    def __init__(
        self,
        process: KernelProcess,
        context: zmq.Context[zmq.Socket[bytes]],
        start_s: float,
        folder: SessionFolder,
        transfers: int,
    ) -> None:
        self.process = process
        self._folder = folder
        self.facts = KernelFacts(process.language, calls=False)
        self._context = context
        self._start_s = start_s
        self._transfers = transfers
        self._events: KernelEvents | None = None
        self._up = False
        self._channels: KernelChannels | None = None
        self._reached_at: ConnectionInfo | None = None
        self.questions = Questions(self.send)
        self._watch: asyncio.Task[None] | None = None
        self._interrupted = -_AGAIN_S

    def tell(self, events: KernelEvents) -> None:
        """Tell somebody what it says from now on, and how it ends."""
        self._events = events

    async def start(self) -> None:
        """Start the process and wait until it answers.

        Raises:
            KernelStartFailed: It ended, or gave no sign of life in time; :meth:`close` ends what is left of it.
        """
        self._connect(await self.process.start())
        self._folder.create()
        await self._come_up()

    async def restart(self) -> None:
        """Start a new process in place of the old one.

        Raises:
            KernelStartFailed: It does not come up.
        """
        self._up = False
        self._stop_watching()
        self.questions.forget()
        info = await self.process.restart()
        if info != self._reached_at:  # a provisioner may place it anew
            self._close_channels()
            self._connect(info)
        await self._come_up()

    async def adopt(self, facts: KernelFacts, left: Left) -> None:
        """Go on with a process that an earlier server has left; that it ended meanwhile is told as a death.

        Args:
            facts: What that server knew of the kernel.
            left: What it has left of the process.

        Raises:
            KernelStartFailed: There is no way to reach it any more.
        """
        self.facts = facts
        self._connect(await self.process.adopt(left))
        self._up = True
        self._watch = asyncio.create_task(self._watch_process())

    async def move(self, folder: Path) -> None:
        """Work in another folder from now on.

        Args:
            folder: The folder.
        """
        if folder == self.process.cwd:
            return  # it was started there, and nobody has told it anything since
        self.process.cwd = folder
        await boot.move(self.questions, folder)

    async def interrupt(self) -> None:
        """Interrupt the main thread; a second time within some seconds also what it has started elsewhere."""
        await self.process.interrupt()
        now = asyncio.get_running_loop().time()
        if now - self._interrupted < _AGAIN_S:
            self.process.interrupt_children()
        self._interrupted = now

    def send(self, channel: Channel, envelope: Envelope) -> None:
        """Send it a message; its identities come back with the replies."""
        assert self._channels is not None
        self._channels.send(channel, envelope)

    async def close(self) -> None:
        """End the process and its channels."""
        self.leave()
        self._folder.remove()
        await self.process.close()

    def leave(self) -> None:
        """Let go of the process, which stays."""
        self._stop_watching()
        self._up = False
        self._close_channels()

    def _close_channels(self) -> None:
        if self._channels is not None:
            self._channels.close()

    def _connect(self, info: ConnectionInfo) -> None:
        self._reached_at = info
        self._channels = KernelChannels(self._context, info, self._on_message, self._on_damage)

    async def _come_up(self) -> None:
        self._folder.write_process(await self.process.left())
        booting = asyncio.create_task(
            boot.run(
                self.questions,
                self.process.worker_address,
                self._folder.record,
                self.process.files,
                self._transfers,
                elsewhere=self.process.elsewhere,
            )
        )
        dying = asyncio.create_task(self.process.ended())
        try:
            done, _ = await asyncio.wait({booting, dying}, timeout=self._start_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            booting.cancel()
            dying.cancel()
        if booting in done:
            self.facts = booting.result()
        elif dying in done:
            why = await self.process.why_not() or dying.result()
            raise KernelStartFailed(f"kernel {self.process.kernel!r} did not come up: {why}")
        else:
            raise KernelStartFailed(f"kernel {self.process.kernel!r} gave no sign of life for {self._start_s:g} s")
        self._up = True
        self._watch = asyncio.create_task(self._watch_process())

    async def _watch_process(self) -> None:
        cause = await self.process.ended()
        self._up = False
        if self._events is not None:
            self._events.on_death(cause)

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _on_message(self, channel: Channel, envelope: Envelope) -> None:
        if not self.questions.take(channel, envelope) and self._up and self._events is not None:
            self._events.on_kernel(channel, envelope)

    def _on_damage(self, channel: Channel, error: ProtocolError) -> None:
        log.warning("kernel %s, channel %s: %s", self.process.kernel, channel.decode(), error)
