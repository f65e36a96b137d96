"""What the session has said of requests it isn't through with, so that it isn't said again when the session goes."""

from __future__ import annotations

from flame_kernel.errors import ProtocolError
from flame_kernel.protocol.jupyter import INPUT, Envelope, is_mark


class Begun:
    """Knows which requests the session has begun with, and the numbers of the cells among them."""

    def __init__(self) -> None:
        self._counts: dict[str, int | None] = {}

    def heard(self, envelope: Envelope) -> None:
        """Take note of what the session says on iopub; what neither begins nor ends a request is not decoded."""
        if not is_mark(envelope):
            return
        try:
            parent, content = envelope.parent(), envelope.content()
        except ProtocolError:
            return
        if parent is None or not isinstance(content, dict):
            return
        if envelope.topic.endswith(INPUT):
            self._counts[parent.msg_id] = content.get("execution_count")
        elif content.get("execution_state") == "busy":
            self._counts.setdefault(parent.msg_id, None)
        elif content.get("execution_state") == "idle":
            self._counts.pop(parent.msg_id, None)

    def __contains__(self, request: Envelope) -> bool:
        """Tell whether the session has said that it's at a request."""
        return request.header().msg_id in self._counts

    def count(self, request: Envelope) -> int | None:
        """Return the number that the session has given a cell, ``None`` when it has shown none."""
        return self._counts.get(request.header().msg_id)

    def forget(self) -> None:
        """Begin anew, with another process."""
        self._counts.clear()
