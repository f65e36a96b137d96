"""Looking on: what everything that runs in a session shows, whoever started it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

from flame_kernel.protocol.jupyter import Channel, Envelope

_OUTPUTS = frozenset({"stream", "display_data", "execute_result", "error"})

# What may wait for somebody who looks away, in outputs; then the oldest go.
_WAITING = 10_000


class Watches:
    """Those who look on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[queue.Queue[dict[str, Any] | None]] = []

    def begin(self) -> Iterator[dict[str, Any]]:
        """Return an iterator over the outputs from now on, as nbformat 4 writes them; it ends with the connection."""
        waiting: queue.Queue[dict[str, Any] | None] = queue.Queue(_WAITING)
        with self._lock:
            self._open.append(waiting)
        return iter(waiting.get, None)

    def on_jupyter(self, channel: Channel, envelope: Envelope) -> None:
        """Take what the kernel says."""
        if not self._open or channel is not Channel.IOPUB:
            return
        kind = envelope.header().msg_type
        if kind in _OUTPUTS:
            content = {key: value for key, value in envelope.content().items() if key != "transient"}
            self._put({"output_type": kind, **content})

    def end(self) -> None:
        """Nothing more will come."""
        self._put(None)

    def _put(self, output: dict[str, Any] | None) -> None:
        with self._lock:
            for waiting in self._open:
                while True:
                    try:
                        waiting.put_nowait(output)
                        break
                    except queue.Full:
                        waiting.get_nowait()
