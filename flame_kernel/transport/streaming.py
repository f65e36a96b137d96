"""A client's connection over a stream, to a worker on the same machine, for a caller that waits.

A round trip over ZeroMQ wakes four of its threads besides the two that have something to say; here those two are all.
"""

from __future__ import annotations

import select
import time
from collections.abc import Sequence

from flame_kernel.buffers import Buffer
from flame_kernel.errors import FlameTimeout, ProtocolError
from flame_kernel.protocol.streamed import Place, nowhere
from flame_kernel.transport.interface import Endpoint
from flame_kernel.transport.stream import Stream, connect
from flame_kernel.transport.waking import Wake, left_ms


class StreamConnection:
    """One connection; see :class:`flame_kernel.transport.interface.Connection`.

    Args:
        endpoint: Where to, ``unix://path``.
        wake: Rung, from any thread, to end a wait.
        place: Tells where a large frame shall be put that comes.
    """

    def __init__(self, endpoint: Endpoint, wake: Wake, place: Place = nowhere) -> None:
        self.endpoint = endpoint
        self.gone = False
        self.waiting = False
        self._wake = wake
        self._stream: Stream | None = None
        self._poll = select.poll()
        self._poll.register(wake, select.POLLIN)
        try:
            self._stream = connect(endpoint.address, place)
        except OSError:
            self.gone = True
        else:
            self._poll.register(self._stream, select.POLLIN)

    def wait_until_up(self, deadline: float | None) -> None:
        """Nothing is waited for: it's up, or gone."""
        self._wake.require_use(self.endpoint.name)
        if self.gone:
            raise FlameTimeout(f"{self.endpoint.name} can't be reached")

    def comes_up(self, within_s: float) -> bool | None:
        """Tell whether it's connected; that is known at once."""
        return not self.gone

    def send(self, frames: Sequence[Buffer]) -> None:
        """Send a message; what can't be sent is dropped, which ``receive`` tells of."""
        stream = self._stream
        if stream is None or self.gone:
            return
        try:
            stream.send(frames)
        except OSError:
            self.gone = True

    def receive(self, deadline: float | None) -> list[Buffer] | None:
        """Wait for a message."""
        stream, wake = self._stream, self._wake
        while stream is not None and not self.gone:
            if wake.ended:  # also while messages keep coming
                wake.require_use(self.endpoint.name)
            if not stream.whole:
                self.waiting = True
                ready = self._poll.poll(None if deadline is None else left_ms(deadline))
                self.waiting = False
                if not ready:
                    if deadline is not None and time.monotonic() >= deadline:
                        return None
                    continue
                if len(ready) == 1 and ready[0][0] != stream.fileno():
                    wake.require_use(self.endpoint.name)
                    return None
            try:
                frames = stream.receive()
            except (OSError, ProtocolError):
                self.gone = True
                return None
            if frames is not None:
                return frames
        return None

    def close(self, linger_ms: int = 0) -> None:
        """Close it; what the other end has not taken yet may take a while."""
        stream, self._stream = self._stream, None
        self.gone = True
        if stream is not None:
            stream.close(linger_ms / 1000)
