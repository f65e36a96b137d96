"""What a session showed while nobody was attached, and what it goes on to show to whoever follows it."""

from __future__ import annotations

import base64
import queue
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from flame_kernel.client.cells.cells import Cell, take_output
from flame_kernel.client.cells.display import Display
from flame_kernel.errors import FlameError
from flame_kernel.protocol.jupyter import Channel, Envelope, is_mark, read_json
from flame_kernel.protocol.messages import Done


@dataclass(frozen=True)
class SessionCell:
    """A cell that was run in a session, by this client or another one.

    Attributes:
        code: The cell; empty when it began before what was missed.
        execution_count: The session's count of executed cells; ``None`` likewise.
        outputs: Its outputs, as nbformat 4 writes them.
        running: Whether it still ran.
    """

    code: str
    execution_count: int | None
    outputs: list[dict[str, Any]]
    running: bool


@dataclass(frozen=True)
class Missed:
    """What a session showed: its final state, not its history.

    Attributes:
        cells: The cells, in order.
        widgets: The state of widgets, as nbformat keeps it in a notebook's metadata, by the ids of their models.
        question: What ``input()`` asks, when the session waits for an answer; ``Flame.answer`` gives it.
        dropped_outputs: How many earlier outputs had to make room.
        dropped_lines: How many earlier lines of text had to make room.
    """

    cells: tuple[SessionCell, ...] = ()
    widgets: dict[str, dict[str, Any]] = field(default_factory=dict)
    question: str | None = None
    dropped_outputs: int = 0
    dropped_lines: int = 0

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """All outputs, in order."""
        return [output for cell in self.cells for output in cell.outputs]

    def __bool__(self) -> bool:
        return bool(self.outputs or self.question is not None or self.dropped_outputs or self.dropped_lines)


class Overheard:
    """What the session says that is no answer to this client, until somebody looks at it.

    Attributes:
        watched: Whether somebody looks already; who has answered a question will, and until then it ends with the cell.
    """

    def __init__(self) -> None:
        self.watched = False
        self._over = False
        self._queue: queue.SimpleQueue[tuple[Channel, Envelope] | FlameError] = queue.SimpleQueue()

    def put(self, channel: Channel, envelope: Envelope) -> None:
        """Take what the session says."""
        if self.watched or not self._over:
            self._queue.put((channel, envelope))
            self._over = channel is Channel.IOPUB and _ends_cell(envelope)

    def fail(self, error: FlameError) -> None:
        """Note that the session or the link has ended."""
        self._queue.put(error)

    @property
    def waiting(self) -> bool:
        """Whether something has been said that nobody has looked at."""
        return not self._queue.empty()

    def next(self) -> tuple[Channel, Envelope]:
        """Wait for the next message.

        Raises:
            FlameError: The session or the link has ended.
        """
        said = self._queue.get()
        if isinstance(said, FlameError):
            raise said.with_traceback(None)
        return said

    def said(self) -> Iterator[tuple[Channel, Envelope]]:
        """Return what has been said so far."""
        while self.waiting:
            yield self.next()


def _ends_cell(envelope: Envelope) -> bool:
    if not is_mark(envelope):
        return False
    parent = envelope.parent()
    idle = envelope.content().get("execution_state") == "idle"
    return idle and parent is not None and parent.msg_type == "execute_request"


class Follower:
    """Shows what a session says, whoever made it say that, and keeps it.

    Args:
        display: Where it's shown.
    """

    def __init__(self, display: Display) -> None:
        self._display = display
        self._cells: dict[str, Cell] = {}
        self._inputs: dict[str, dict[str, Any]] = {}
        self._displays: dict[str, list[dict[str, Any]]] = {}  # across cells: any of them may update any display
        self._running: set[str] = set()
        self._widgets: dict[str, dict[str, Any]] = {}

    @property
    def busy(self) -> bool:
        """Whether a cell is running."""
        return bool(self._running)

    def begin(self, missed: Sequence[Envelope], done: Done) -> None:
        """Take what was missed.

        Args:
            missed: The messages that stand for it.
            done: What the server said of them.
        """
        self._running.update(done.running)
        if done.dropped_outputs or done.dropped_lines:
            self._display.stream("stderr", f"[flame] {gone(done.dropped_outputs, done.dropped_lines)}\n")
        for envelope in missed:
            self.take(envelope)
        self._running = set(done.running)

    def take(self, envelope: Envelope) -> None:
        """Take a message of iopub."""
        parent = envelope.parent()
        if parent is None:
            return
        kind, content = envelope.header().msg_type, envelope.content()
        if kind == "execute_input":
            self._inputs[parent.msg_id] = content
            self._display.stream("stdout", heading(content))
        elif kind in ("comm_open", "comm_msg"):
            self._on_comm(content, envelope)
        elif kind == "status":
            if parent.msg_type == "execute_request":
                self._on_status(parent.msg_id, content)
        else:
            self._on_output(parent.msg_id, kind, content)

    def result(self, done: Done, question: str | None) -> Missed:
        """Return all that was taken."""
        cells = tuple(
            SessionCell(
                str(self._inputs.get(msg_id, {}).get("code", "")),
                self._inputs.get(msg_id, {}).get("execution_count"),
                self._cells[msg_id].outputs if msg_id in self._cells else [],
                msg_id in self._running,
            )
            for msg_id in dict.fromkeys([*self._inputs, *self._cells])
        )
        return Missed(cells, self._widgets, question, done.dropped_outputs, done.dropped_lines)

    def _on_output(self, msg_id: str, kind: str, content: dict[str, Any]) -> None:
        display_id = (content.get("transient") or {}).get("display_id")
        if kind == "update_display_data" and display_id not in self._displays:
            kind = "display_data"  # of a display that was shown before: here it's shown for the first time
        if kind not in ("stream", "display_data", "update_display_data", "execute_result", "error", "clear_output"):
            return
        cell = self._cells.get(msg_id)
        if cell is None:
            cell = self._cells[msg_id] = Cell(Envelope((), ()), displays=self._displays)
        take_output(cell, self._display, kind, content, show_result=True)
        if kind == "error":
            self._display.stream("stderr", "\n".join(content.get("traceback", ())) + "\n")

    def _on_status(self, msg_id: str, content: dict[str, Any]) -> None:
        if content.get("execution_state") == "busy":
            self._running.add(msg_id)
        elif content.get("execution_state") == "idle":
            self._running.discard(msg_id)

    def _on_comm(self, content: dict[str, Any], envelope: Envelope) -> None:
        data = content.get("data", {})
        state = data.get("state") if isinstance(data, dict) else None
        if not isinstance(state, dict):
            return
        model = self._widgets.setdefault(content["comm_id"], {"state": {}, "buffers": []})
        model["state"].update(state)
        for key in ("_model_name", "_model_module", "_model_module_version"):
            if key in state:
                model[key.removeprefix("_")] = state[key]
        paths = data.get("buffer_paths", ())
        changed = [buffer for buffer in model["buffers"] if buffer["path"][0] not in state]
        model["buffers"] = changed + [
            {"encoding": "base64", "path": path, "data": base64.b64encode(buffer).decode("ascii")}
            for path, buffer in zip(paths, envelope.parts[4:], strict=False)
        ]


def heading(content: dict[str, Any]) -> str:
    r"""Return a cell as IPython shows what was typed.

    Example:
        >>> heading({"code": "x = 1\nx", "execution_count": 3})
        'In [3]: x = 1\n   ...: x\n'
    """
    prompt = f"In [{content.get('execution_count')}]: "
    first, *more = str(content.get("code", "")).splitlines() or [""]
    return "\n".join([prompt + first, *(f"{'...: ':>{len(prompt)}}{line}" for line in more)]) + "\n"


def gone(outputs: int, lines: int) -> str:
    """Return in words what had to make room.

    Example:
        >>> gone(3, 0)
        '… 3 earlier outputs dropped (limits.missed_bytes)'
    """
    parts = [f"{count} earlier {what}" for count, what in ((outputs, "outputs"), (lines, "lines")) if count]
    return f"… {' and '.join(parts)} dropped (limits.missed_bytes)"


def question_of(request: Envelope) -> tuple[str, bool]:
    """Return what an input request asks, and whether what is typed stays hidden."""
    content = read_json(request.parts[3])
    return str(content.get("prompt", "")), bool(content.get("password"))
