"""The state of a widget: what its model's messages come to, as the widgets' messaging protocol defines them.

A state's values are kept as they came, unread: only which keys there are, and which buffers belong to them, matters.
"""

from __future__ import annotations

from typing import Any

import msgspec

from flame_kernel.buffers import Buffer, size_of
from flame_kernel.errors import ProtocolError
from flame_kernel.protocol.jupyter import Envelope, write_json

_STATE_METHODS = frozenset({"update", "echo_update"})

Path = tuple[str | int, ...]


class _Content(msgspec.Struct, frozen=True):
    comm_id: str
    data: msgspec.Raw = msgspec.Raw(b"{}")
    target_name: str | None = None
    target_module: str | None = None


class _Data(msgspec.Struct, frozen=True):
    method: str | None = None
    state: dict[str, msgspec.Raw] | None = None
    buffer_paths: tuple[Path, ...] = ()


class WidgetMessage:
    """A comm_open, comm_msg or comm_close.

    Args:
        content: Its content.
        fields: Its data as a whole, where that is an object.
        data: What a widget's data have in them.
        buffers: Its buffers.
    """

    def __init__(
        self, content: _Content, fields: dict[str, msgspec.Raw], data: _Data, buffers: tuple[Buffer, ...]
    ) -> None:
        self.comm_id = content.comm_id
        self.content = content
        self.fields = fields
        self.data = data
        self.buffers = buffers

    @classmethod
    def of(cls, envelope: Envelope) -> WidgetMessage:
        """Read it.

        Raises:
            ProtocolError: It isn't one.
        """
        try:
            content = msgspec.json.decode(envelope.parts[3], type=_Content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ProtocolError(f"a message of a comm arrived that can't be read: {error}") from error
        try:
            fields = msgspec.json.decode(content.data, type=dict[str, msgspec.Raw])
            data = msgspec.json.decode(content.data, type=_Data)
        except msgspec.ValidationError:  # no widget's: other comms carry what they like
            fields, data = {}, _Data()
        return cls(content, fields, data, tuple(envelope.parts[4:]))

    @property
    def is_state(self) -> bool:
        """Whether it changes a widget's state."""
        return self.data.method in _STATE_METHODS and self.data.state is not None

    @property
    def is_custom(self) -> bool:
        """Whether it's a widget's word to its views."""
        return self.data.method == "custom"


class WidgetState:
    """A widget's state, or what has changed of it.

    Args:
        first: The message that began it.
    """

    def __init__(self, first: WidgetMessage) -> None:
        self._content = first.content
        self._fields = first.fields
        self._state: dict[str, msgspec.Raw] | None = None if first.data.state is None else {}
        self._buffers: dict[Path, Buffer] = {}
        self._others = first.buffers if first.data.state is None else ()
        self.comm_id = first.comm_id
        self.size = 0
        self.update(first)

    def update(self, message: WidgetMessage) -> None:
        """Take a change."""
        if message.data.state:
            self._state = {**(self._state or {}), **message.data.state}
            changed = message.data.state
            self._buffers = {path: buffer for path, buffer in self._buffers.items() if path[0] not in changed}
            self._buffers.update(zip(message.data.buffer_paths, message.buffers, strict=False))
        values = sum(len(name) + len(value) for name, value in (self._state or {}).items())
        self.size = values + size_of((*self._buffers.values(), *self._others))
        if self._state is None:
            self.size += len(self._content.data)

    def content(self) -> bytes:
        """Return the content of one message that says all of it."""
        content: dict[str, Any] = {"comm_id": self.comm_id, "data": self._content.data}
        if self._state is not None:
            content["data"] = {**self._fields, "state": self._state, "buffer_paths": list(self._buffers)}
        if self._content.target_name is not None:
            content |= {"target_name": self._content.target_name, "target_module": self._content.target_module}
        return write_json(content)

    def buffers(self) -> list[Buffer]:
        """Return the buffers of that message."""
        return [*self._buffers.values(), *self._others]
