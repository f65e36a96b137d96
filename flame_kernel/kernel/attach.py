"""A cell that is only ``%flame_attach`` shows what the session showed while nobody was attached.

Cells that still run show the rest below it, and what they ask is asked there, until they have ended: their own place is
in a notebook that isn't there any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from flame_kernel.buffers import Buffer
from flame_kernel.client.cells.missed import gone, heading
from flame_kernel.client.links.session import SessionClient
from flame_kernel.errors import SessionError
from flame_kernel.kernel.answers import Answers
from flame_kernel.protocol.jupyter import Channel, Envelope, compose

_MAGIC = "%flame_attach"

# What can be shown below another cell than the one that said it.
_SHOWN = frozenset(
    {"stream", "display_data", "execute_result", "error", "clear_output", "comm_open", "comm_msg", "comm_close"}
)


def is_attach(code: str) -> bool:
    """Tell whether a cell is the magic and nothing else."""
    return code.strip() == _MAGIC


def offer(count: int) -> str:
    """Return the line that tells that something was missed."""
    what = "an output" if count == 1 else f"{count} outputs"
    return f"[flame] nobody has seen {what} of this session: a cell with only {_MAGIC} shows what was missed\n"


class Attach:
    """Shows one session's missed output below one cell.

    Args:
        answers: Makes the messages of ours.
        send: Sends a message to the notebook.
        request: The cell.
    """

    def __init__(self, answers: Answers, send: Callable[[Channel, Envelope], None], request: Envelope) -> None:
        self._answers = answers
        self._send = send
        self._request = request
        self._held: list[tuple[Channel, Envelope]] | None = []
        self._running: set[str] = set()
        self._displays: set[str] = set()
        self._ended = asyncio.Event()

    async def run(self, session: SessionClient | None) -> None:
        """Show what was missed, and wait until the cells that run have ended.

        Args:
            session: The session; ``None`` while there is none.

        Raises:
            SessionError: There is no session.
        """
        if session is None:
            raise SessionError("there is no session to attach to yet")
        missed, done = await session.missed()
        self._running = set(done.running)
        if done.dropped_outputs or done.dropped_lines:
            self._say(f"[flame] {gone(done.dropped_outputs, done.dropped_lines)}\n", "stderr")
        for envelope in missed:
            self._show(envelope)
        held, self._held = self._held or [], None
        for channel, envelope in held:
            self.heard(channel, envelope)
        if self._running:
            await self._ended.wait()

    def stop(self) -> None:
        """Wait no longer: the session is gone, or another one."""
        self._ended.set()

    def heard(self, channel: Channel, envelope: Envelope) -> None:
        """Take what the session says; what belongs to the cells that run is shown below this one too."""
        if channel not in (Channel.IOPUB, Channel.STDIN):
            return
        if self._held is not None:
            self._held.append((channel, envelope))
            return
        parent = envelope.parent()
        if parent is None or parent.msg_id not in self._running:
            return
        if channel is Channel.STDIN:
            self._send(channel, self._below(Envelope(self._request.identities, envelope.parts)))
        elif envelope.header().msg_type != "status":
            self._show(envelope)
        elif envelope.content().get("execution_state") == "idle":
            self._running.discard(parent.msg_id)
            if not self._running:
                self._ended.set()

    def _show(self, envelope: Envelope) -> None:
        kind = envelope.header().msg_type
        if kind == "execute_input":
            self._say(heading(envelope.content()), "stdout")
        elif kind == "update_display_data":
            self._show_update(envelope)
        elif kind in _SHOWN:
            if kind in ("display_data", "execute_result"):
                self._displays.add(_display_id(envelope))
            self._send(Channel.IOPUB, self._below(envelope))

    def _show_update(self, envelope: Envelope) -> None:
        display_id = _display_id(envelope)
        if display_id in self._displays:
            self._send(Channel.IOPUB, self._below(envelope))
            return
        # The display was shown in the notebook that isn't there any more.
        self._displays.add(display_id)
        first = compose(
            "display_data",
            envelope.content(),
            session=self._answers.session,
            parent=self._request.parts[0],
            identities=(b"display_data",),
        )
        self._send(Channel.IOPUB, first)

    def _below(self, envelope: Envelope) -> Envelope:
        header, _, *rest = envelope.parts
        parts: tuple[Buffer, ...] = (header, self._request.parts[0], *rest)
        return Envelope(envelope.identities, parts)

    def _say(self, text: str, name: str) -> None:
        self._answers.stream(text, self._request.parts[0], name)


def _display_id(envelope: Envelope) -> str:
    return str((envelope.content().get("transient") or {}).get("display_id", ""))
