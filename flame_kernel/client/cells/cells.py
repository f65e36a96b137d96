"""Cells: code that runs on a session's main thread as a notebook's cells do, with everything they show."""

from __future__ import annotations

import queue
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from flame_kernel.client.cells import comms
from flame_kernel.client.cells.display import Display
from flame_kernel.errors import FlameError
from flame_kernel.protocol.jupyter import Channel, Envelope, compose
from flame_kernel.protocol.replies import ReplyMatcher

# Cells that have ended and are still listened to; beyond this many the oldest goes.
_LISTENED_TO = 256

# How long what was printed before a question may take to arrive after it, in seconds.
_BEFORE_A_QUESTION_S = 0.1


@dataclass(frozen=True)
class CellResult:
    """What a cell gave.

    Attributes:
        outputs: Its outputs, as nbformat 4 writes them: streams, display data, the result, the error.
        value: The value of its last expression, where it can cross by value and is not too large.
        note: Why ``value`` is missing although there was one; empty otherwise.
        error: The exception it raised, if any: its own type where that loads here.
        execution_count: The session's count of executed cells.
    """

    outputs: list[dict[str, Any]]
    value: Any = None
    note: str = ""
    error: BaseException | None = None
    execution_count: int | None = None

    @property
    def result(self) -> dict[str, Any] | None:
        """The rich display of the last expression's value: MIME types to data; ``None`` when there was none."""
        for output in self.outputs:
            if output["output_type"] == "execute_result":
                data: dict[str, Any] = output["data"]
                return data
        return None


class CellLeft(KeyboardInterrupt):
    """Ctrl-C came twice: nobody waits for the cell any more, which goes on if it takes no notice of the first."""


@dataclass
class Cell:
    """A cell that runs: what has come of it so far.

    Attributes:
        request: The message that started it.
        arrived: What the kernel said about it and nobody has looked at yet; an error ends it.
        outputs: Its outputs so far.
        displays: Those that can be updated, by their display ids, which have no place in the outputs themselves.
        reply: The kernel's reply, when it's there.
        begun: Whether the kernel has come to it.
        on_begun: Called when it has.
        idle: Whether the kernel is done with it.
    """

    request: Envelope
    arrived: queue.SimpleQueue[tuple[Channel, Envelope] | FlameError] = field(default_factory=queue.SimpleQueue)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    displays: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    reply: dict[str, Any] | None = None
    begun: bool = False
    on_begun: Callable[[], None] = lambda: None
    idle: bool = False
    clear_pending: bool = False

    @property
    def done(self) -> bool:
        """Whether reply and idle status are both there."""
        return self.reply is not None and self.idle


def request_for(code: str, silent: bool, store_history: bool, keep: bool = True, stdin: bool = True) -> Envelope:
    """Return the message that runs a cell.

    Args:
        code: The cell.
        silent: Whether it's hidden from history and displays.
        store_history: Whether it counts and is kept in the session's history.
        keep: Whether the session keeps its value and exception until they are fetched.
        stdin: Whether it may ask the user.
    """
    content = {
        "code": code,
        "silent": silent,
        "store_history": store_history,
        "user_expressions": {},
        "allow_stdin": stdin,
        "stop_on_error": False,
    }
    return compose("execute_request", content, session="flame-client", metadata={"flame": True} if keep else {})


class NobodyToAsk(Exception):
    """A cell asks for input where there is no way to ask the user."""


class Cells:
    """The cells of one client that run now."""

    def __init__(self) -> None:
        self._running: ReplyMatcher[Cell] = ReplyMatcher()
        # Who hears what cells that have ended still say: threads that they started may print.
        self._ended: OrderedDict[str, Callable[[Channel, Envelope], None]] = OrderedDict()

    def begin(self, cell: Cell) -> str:
        """Take note of a cell that is about to be sent; returns its id."""
        msg_id = cell.request.header().msg_id
        self._running.expect(msg_id, cell)
        return msg_id

    def end(self, msg_id: str) -> None:
        """Forget a cell."""
        self._running.take(msg_id)

    def listen(self, msg_id: str, hear: Callable[[Channel, Envelope], None]) -> None:
        """Have what a cell still says after its end go somewhere."""
        self._ended[msg_id] = hear
        while len(self._ended) > _LISTENED_TO:
            self._ended.popitem(last=False)

    def ignore(self, hear: Callable[[Channel, Envelope], None]) -> None:
        """Take back what ``listen`` was told."""
        for msg_id in [msg_id for msg_id, one in self._ended.items() if one == hear]:
            self._ended.pop(msg_id, None)

    def on_jupyter(self, channel: Channel, envelope: Envelope) -> bool:
        """Take what the kernel says, if it's about a cell of ours; tells whether it is."""
        parent = envelope.parent()
        if parent is None:
            return False
        cell = self._running.find(parent.msg_id)
        if cell is not None:
            cell.arrived.put((channel, envelope))
        elif parent.msg_id in self._ended:
            self._ended[parent.msg_id](channel, envelope)
        else:
            return False
        return True

    def fail(self, error: FlameError) -> None:
        """End all cells: nothing more will come."""
        self._running.drop_all(lambda cell: cell.arrived.put(error))

    def fail_some(self, msg_ids: Sequence[str], error: FlameError) -> None:
        """End those cells that a process took with it; what was sent since is another's."""
        for msg_id in msg_ids:
            cell = self._running.take(msg_id)
            if cell is not None:
                cell.arrived.put(error)


def follow(
    cell: Cell,
    display: Display,
    answer: Callable[[Envelope, str], None],
    take: Callable[[], Any],
    show_result: bool,
    take_comm: Callable[[str, Envelope], None] = lambda kind, envelope: None,
) -> None:
    """Follow a cell to its end, showing what comes.

    Args:
        cell: The cell.
        display: What shows its outputs.
        answer: Called with an input request and the user's text.
        take: Returns what arrived next.
        show_result: Whether the last expression's value is shown as well.
        take_comm: Called with the messages of comms.

    Raises:
        FlameError: The link or the session ended.
        NobodyToAsk: The cell waits for an answer that nobody can give.
    """

    def show(envelope: Envelope) -> None:
        kind = envelope.header().msg_type
        if kind in comms.KINDS:
            take_comm(kind, envelope)
        else:
            take_output(cell, display, kind, envelope.content(), show_result)

    while not cell.done:
        arrived = take()
        if isinstance(arrived, FlameError):
            raise arrived
        channel, envelope = arrived
        if channel is Channel.SHELL:
            cell.reply = envelope.content()
        elif channel is Channel.STDIN:
            content = envelope.content()
            for printed in _printed_before(cell):
                show(printed)
            try:
                text = display.ask(content.get("prompt", ""), bool(content.get("password")))
            except Exception as error:  # whatever a frontend without a prompt raises
                raise NobodyToAsk(str(error)) from error
            answer(envelope, text)
        elif channel is Channel.IOPUB:
            show(envelope)


def _printed_before(cell: Cell) -> Iterator[Envelope]:
    """Return what the kernel showed before it asked: that comes on another channel, and may arrive a little later."""
    end = time.monotonic() + _BEFORE_A_QUESTION_S
    with suppress(queue.Empty):
        while (left := end - time.monotonic()) > 0:
            arrived = cell.arrived.get(timeout=left)
            if isinstance(arrived, FlameError) or arrived[0] is not Channel.IOPUB:
                cell.arrived.put(arrived)
                return
            yield arrived[1]


def take_output(cell: Cell, display: Display, kind: str, content: dict[str, Any], show_result: bool) -> None:
    """Take an output of a cell, and show it.

    Args:
        cell: The cell.
        display: What shows it.
        kind: The type of the message.
        content: Its content.
        show_result: Whether the last expression's value is shown as well.
    """
    if kind == "status":
        cell.idle = content.get("execution_state") == "idle"
        return
    # Not by its being busy: a moment longer ipykernel ignores interrupts, and one that is sent too early is lost.
    if not cell.begun:
        cell.begun = True
        cell.on_begun()
    if kind == "clear_output":
        cell.clear_pending = bool(content.get("wait"))
        if not cell.clear_pending:
            cell.outputs.clear()
        display.clear(cell.clear_pending)
        return
    if kind not in ("stream", "display_data", "update_display_data", "execute_result", "error"):
        return
    if cell.clear_pending and kind != "update_display_data":
        cell.outputs.clear()
        cell.clear_pending = False
    if kind == "stream":
        _append_stream(cell.outputs, content)
        display.stream(content["name"], content["text"])
    elif kind == "update_display_data":
        _update(cell.displays, content)
        display.data(content, update=True)
    elif kind == "error":
        cell.outputs.append({"output_type": "error", **content})
    else:
        output = {"output_type": kind, "data": content["data"], "metadata": content.get("metadata", {})}
        if kind == "execute_result":
            output["execution_count"] = content.get("execution_count")
        if "display_id" in content.get("transient", {}):
            cell.displays.setdefault(content["transient"]["display_id"], []).append(output)
        cell.outputs.append(output)
        if kind == "display_data" or show_result:
            display.data(content, update=False)


def _append_stream(outputs: list[dict[str, Any]], content: dict[str, Any]) -> None:
    last = outputs[-1] if outputs else None
    if last is not None and last["output_type"] == "stream" and last["name"] == content["name"]:
        last["text"] += content["text"]
    else:
        outputs.append({"output_type": "stream", "name": content["name"], "text": content["text"]})


def _update(displays: dict[str, list[dict[str, Any]]], content: dict[str, Any]) -> None:
    for output in displays.get(content.get("transient", {}).get("display_id", ""), ()):
        output["data"], output["metadata"] = content["data"], content.get("metadata", {})
