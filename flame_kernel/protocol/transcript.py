"""What a session said while nobody was there to hear it: its final state, not its history.

It takes the messages of iopub and gives back fewer of them, which leave whoever takes them with the same outputs: text
is rewritten as a screen rewrites it, what was cleared is gone, a display that was updated shows its last state, and a
widget has the state of its last update. The messages keep the headers of those they come from, so a cell's outputs
can still be told from another's.

What it keeps is bounded. When the oldest must go, it counts them.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import msgspec

from flame_kernel.buffers import size_of
from flame_kernel.errors import ProtocolError
from flame_kernel.protocol.jupyter import Envelope, write_json
from flame_kernel.protocol.screen import Screen
from flame_kernel.protocol.widgets import WidgetMessage, WidgetState

# What counts as an output; the first of them after a clear_output(wait=True) takes the place of those before it.
OUTPUTS = frozenset({"stream", "display_data", "execute_result", "error"})

# Where an entry without content weighs at least something, in bytes: so many empty messages are bounded as well.
_OVERHEAD = 200


class _Stream(msgspec.Struct, frozen=True):
    name: str
    text: str


class _Shown(msgspec.Struct, frozen=True):
    """What display_data, update_display_data and execute_result have in common."""

    data: dict[str, msgspec.Raw]
    metadata: dict[str, Any] = {}
    transient: dict[str, Any] | None = None
    execution_count: int | None = None

    @property
    def size(self) -> int:
        return sum(len(kind) + len(value) for kind, value in self.data.items())

    @property
    def display_id(self) -> str:
        return str((self.transient or {}).get("display_id") or "")


class _Clear(msgspec.Struct, frozen=True):
    wait: bool = False


class _State(msgspec.Struct, frozen=True):
    execution_state: str = ""


@dataclass(eq=False)
class _Entry:
    """One message to be.

    Attributes:
        kind: Its type.
        parent: The id of the message it answers.
        envelope: The message it began with.
        weight: What it counts for, in bytes.
        screen: The text of a stream.
        stream: Whether that is stdout or stderr.
        shown: What a display shows.
        widget: A comm's state.
    """

    kind: str
    parent: str
    envelope: Envelope
    weight: int = 0
    screen: Screen | None = None
    stream: str = ""
    shown: _Shown | None = None
    widget: WidgetState | None = None

    def message(self) -> Envelope:
        """Return the message as it is now."""
        header, parent, metadata, content = self.envelope.parts[:4]
        buffers = self.envelope.parts[4:]
        if self.screen is not None:
            content = write_json({"name": self.stream, "text": self.screen.text()})
        elif self.shown is not None:
            content = _write_shown(self.kind, self.shown)
        elif self.widget is not None:
            content, buffers = self.widget.content(), tuple(self.widget.buffers())
        return Envelope(self.envelope.identities, (header, parent, metadata, content, *buffers))

    def weigh(self) -> int:
        """Return what it counts for now."""
        if self.screen is not None:
            return _OVERHEAD + self.screen.size
        if self.shown is not None:
            return _OVERHEAD + self.shown.size
        if self.widget is not None:
            return _OVERHEAD + self.widget.size
        return _OVERHEAD + size_of(self.envelope.parts)


@dataclass
class _Cell:
    """What is kept of one cell.

    Attributes:
        outputs: Its outputs, and the clear_output before them, in order.
        clear_pending: A clear_output that waits for the next output.
        idle: Its entry that says it has ended.
    """

    outputs: list[_Entry] = field(default_factory=list)
    clear_pending: _Entry | None = None
    idle: _Entry | None = None


class Transcript:
    """Keeps what nobody has seen.

    Args:
        limit_bytes: How much; beyond it the oldest go.

    Attributes:
        dropped_outputs: How many entries had to go.
        dropped_lines: How many lines of text had to go from what is still there.

    Example:
        >>> transcript = Transcript(1_000_000)
        >>> len(transcript), transcript.messages()
        (0, [])
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._entries: dict[_Entry, None] = {}  # in order
        self._cells: defaultdict[str, _Cell] = defaultdict(_Cell)
        self._displays: defaultdict[str, list[_Entry]] = defaultdict(list)
        self._updates: dict[str, _Entry] = {}  # of displays that were shown before
        self._widgets: dict[str, _Entry] = {}
        self.dropped_outputs = 0
        self.dropped_lines = 0
        self._table = {
            "stream": self._on_stream,
            "display_data": self._on_display,
            "execute_result": self._on_display,
            "update_display_data": self._on_update,
            "clear_output": self._on_clear,
            "error": self._on_other_output,
            "execute_input": self._on_input,
            "comm_open": self._on_comm_open,
            "comm_msg": self._on_comm_msg,
            "comm_close": self._on_comm_close,
            "status": self._on_status,
        }

    def __len__(self) -> int:
        """How many outputs there are."""
        return sum(entry.kind in OUTPUTS or entry.kind == "update_display_data" for entry in self._entries)

    @property
    def messages_kept(self) -> int:
        """How many messages stand for all that were taken."""
        return len(self._entries)

    def take(self, envelope: Envelope) -> None:
        """Take a message of iopub.

        Raises:
            ProtocolError: It isn't what its type says.
        """
        handler = self._table.get(envelope.header().msg_type)
        if handler is None:
            return  # what concerns who listens at that time only, such as a debugger's events
        parent = envelope.parent()
        try:
            handler("" if parent is None else parent.msg_id, envelope)
        except msgspec.ValidationError as error:
            raise ProtocolError(f"an output arrived that is none: {error}") from error
        self._make_room()

    def messages(self) -> list[Envelope]:
        """Return the messages that stand for all that were taken."""
        return [entry.message() for entry in self._entries]

    def clear(self) -> None:
        """Forget everything: it has been seen."""
        for entry in list(self._entries):
            self._remove(entry)
        self._cells.clear()
        self.dropped_outputs = self.dropped_lines = 0

    def _on_stream(self, parent: str, envelope: Envelope) -> None:
        content = _read(envelope, _Stream)
        outputs = self._before_output(parent).outputs
        last = outputs[-1] if outputs else None
        if last is None or last.screen is None or last.stream != content.name:
            last = _Entry("stream", parent, envelope, screen=Screen(), stream=content.name)
            self._add_output(last)
        assert last.screen is not None
        last.screen.write(content.text)
        self._reweigh(last)

    def _on_display(self, parent: str, envelope: Envelope) -> None:
        shown = _read(envelope, _Shown)
        self._before_output(parent)
        entry = _Entry(envelope.header().msg_type, parent, envelope, shown=shown)
        self._add_output(entry)
        if shown.display_id:
            self._show_again(shown)
            self._displays[shown.display_id].append(entry)

    def _on_update(self, parent: str, envelope: Envelope) -> None:
        shown = _read(envelope, _Shown)
        if not shown.display_id or self._show_again(shown):
            return
        entry = _Entry("update_display_data", parent, envelope, shown=shown)
        self._updates[shown.display_id] = entry
        self._add(entry)

    def _show_again(self, shown: _Shown) -> bool:
        """Bring what is known by a display id up to date; false when nothing is."""
        update = self._updates.get(shown.display_id)
        entries = [*self._displays.get(shown.display_id, ()), *([] if update is None else [update])]
        for entry in entries:
            assert entry.shown is not None
            entry.shown = msgspec.structs.replace(entry.shown, data=shown.data, metadata=shown.metadata)
            self._reweigh(entry)
        return bool(entries)

    def _on_clear(self, parent: str, envelope: Envelope) -> None:
        cell = self._cells[parent]
        entry = _Entry("clear_output", parent, envelope)
        if cell.clear_pending is not None:
            self._remove(cell.clear_pending)
            cell.clear_pending = None
        if _read(envelope, _Clear).wait:
            cell.clear_pending = entry
            self._add(entry)
        else:
            self._clear_cell(cell)
            self._add_output(entry)

    def _before_output(self, parent: str) -> _Cell:
        cell = self._cells[parent]
        if cell.clear_pending is not None:
            self._clear_cell(cell)
            cell.outputs.append(cell.clear_pending)
            cell.clear_pending = None
        return cell

    def _clear_cell(self, cell: _Cell) -> None:
        for entry in list(cell.outputs):
            self._remove(entry)

    def _on_other_output(self, parent: str, envelope: Envelope) -> None:
        self._before_output(parent)
        self._add_output(_Entry(envelope.header().msg_type, parent, envelope))

    def _on_input(self, parent: str, envelope: Envelope) -> None:
        self._cells[parent] = _Cell()
        self._add(_Entry("execute_input", parent, envelope))

    def _on_status(self, parent: str, envelope: Envelope) -> None:
        if _read(envelope, _State).execution_state != "idle" or parent not in self._cells:
            return
        cell = self._cells[parent]
        if cell.idle is not None:
            self._remove(cell.idle)
        cell.idle = _Entry("status", parent, envelope)
        self._add(cell.idle)

    def _on_comm_open(self, parent: str, envelope: Envelope) -> None:
        message = WidgetMessage.of(envelope)
        entry = _Entry("comm_open", parent, envelope, widget=WidgetState(message))
        self._widgets[message.comm_id] = entry
        self._add(entry)

    def _on_comm_msg(self, parent: str, envelope: Envelope) -> None:
        message = WidgetMessage.of(envelope)
        if not message.is_state:
            if not message.is_custom:
                self._add(_Entry("comm_msg", parent, envelope))
            return  # a word to a view that is there; there was none
        entry = self._widgets.get(message.comm_id)
        if entry is None:  # it was opened while somebody was there
            entry = _Entry("comm_msg", parent, envelope, widget=WidgetState(message))
            self._widgets[message.comm_id] = entry
            self._add(entry)
            return
        assert entry.widget is not None
        entry.widget.update(message)
        self._reweigh(entry)

    def _on_comm_close(self, parent: str, envelope: Envelope) -> None:
        message = WidgetMessage.of(envelope)
        entry = self._widgets.get(message.comm_id)
        if entry is not None:
            self._remove(entry)
        if entry is None or entry.kind != "comm_open":
            self._add(_Entry("comm_close", parent, envelope))

    def _add_output(self, entry: _Entry) -> None:
        self._cells[entry.parent].outputs.append(entry)
        self._add(entry)

    def _add(self, entry: _Entry) -> None:
        self._entries[entry] = None
        entry.weight = 0
        self._reweigh(entry)

    def _reweigh(self, entry: _Entry) -> None:
        weight = entry.weigh()
        self._bytes += weight - entry.weight
        entry.weight = weight

    def _remove(self, entry: _Entry) -> None:
        del self._entries[entry]
        self._bytes -= entry.weight
        cell = self._cells[entry.parent]
        if entry in cell.outputs:
            cell.outputs.remove(entry)
        if cell.idle is entry:
            cell.idle = None
        if entry.shown is not None and entry.shown.display_id:
            known = self._displays[entry.shown.display_id]
            if entry in known:
                known.remove(entry)
            if not known:
                del self._displays[entry.shown.display_id]
            if self._updates.get(entry.shown.display_id) is entry:
                del self._updates[entry.shown.display_id]
        if entry.widget is not None and self._widgets.get(entry.widget.comm_id) is entry:
            del self._widgets[entry.widget.comm_id]

    def _make_room(self) -> None:
        while self._bytes > self._limit_bytes and self._entries:
            oldest = next(iter(self._entries))
            excess = self._bytes - self._limit_bytes
            if oldest.screen is not None and oldest.screen.size > excess and len(oldest.screen) > 1:
                # Some more than must be, so that not every line to come has to make room for itself.
                self.dropped_lines += oldest.screen.drop(max(excess, self._limit_bytes // 10))
                self._reweigh(oldest)
                if self._bytes <= self._limit_bytes:
                    return
            if oldest.kind in OUTPUTS:
                self.dropped_outputs += 1
            self._remove(oldest)
            cell = self._cells[oldest.parent]
            if not cell.outputs and cell.clear_pending is None:
                del self._cells[oldest.parent]


def _read(envelope: Envelope, kind: Any) -> Any:
    try:
        return msgspec.json.decode(envelope.parts[3], type=kind)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"an output arrived that isn't JSON: {error}") from error


def _write_shown(kind: str, shown: _Shown) -> bytes:
    content: dict[str, Any] = {"data": shown.data, "metadata": shown.metadata, "transient": shown.transient or {}}
    if kind == "execute_result":
        content["execution_count"] = shown.execution_count
    return write_json(content)
