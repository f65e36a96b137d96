"""One end of a forwarded TCP connection: its socket here, and whoever passes pieces on to the other end.

Sockets and streams belong to one asyncio loop, on a thread of its own: bulk data must not delay what else goes on.
"""

from __future__ import annotations

import asyncio
import socket as sockets
import struct
from contextlib import suppress
from typing import Any, Protocol, cast

from flame_kernel.buffers import Buffer
from flame_kernel.errors import ProtocolError
from flame_kernel.protocol.flows import FLOW, WINDOW, Allowance, FlowEvent, FlowState, Receipts
from flame_kernel.protocol.link import Machine

# What is read from a socket at once, in bytes.
PIECE_BYTES = 128 * 1024

# Half a window, so that a far end that has used up its credit always gets more as soon as half of it has left.
_HELD_AT_MOST = WINDOW // 2

_RST_ON_CLOSE = struct.pack("ii", 1, 0)


class Far(Protocol):
    """The way to the other end; every method is called in the loop."""

    def send(self, piece: bytes) -> None:
        """Pass on what came from the socket; an empty piece says that nothing more will come."""

    def credit(self, count: int) -> None:
        """Let the other end send so many bytes more."""

    def over(self, error: Exception | None) -> None:
        """The socket is closed: after all had been said in both directions, or by an error. Called once."""


class Stream(asyncio.BufferedProtocol):
    """The end that has the socket.

    Args:
        far: The way to the other end; ``None`` as long as there's none: nothing is read until :meth:`begin`.
    """

    def __init__(self, far: Far | None = None) -> None:
        self._far = far
        self._transport: asyncio.Transport | None = None
        self._flow = Machine(FLOW, FlowState.OPEN)
        self._allowance = Allowance()
        self._receipts = Receipts()
        self._room = bytearray(PIECE_BYTES)
        self._early: list[Buffer] = []  # what came before the socket was connected
        self._unsent: list[bytes] = []  # what was read before there was a way to the other end
        self._reading = True
        self._over = False
        self._gone: Exception | None = None

    @property
    def over(self) -> bool:
        """Whether the socket is closed."""
        return self._over

    @property
    def ended(self) -> bool:
        """Whether all has been said in both directions; some of it may still be on its way into the socket."""
        return self._flow.state is FlowState.ENDED

    def begin(self, far: Far) -> None:
        """Read from the socket from now on."""
        self._far = far
        for piece in self._unsent:
            far.send(piece)
        self._unsent.clear()
        if self._over:
            far.over(self._gone)
        else:
            self._turn_reading()

    def take(self, piece: Buffer) -> None:
        """Write what came from the other end; an empty piece ends this direction.

        Raises:
            ProtocolError: The other end does not keep to its credit, or says something after its end.
        """
        if self._over:
            return
        size = memoryview(piece).nbytes
        if not size:
            self._flow.fire(FlowEvent.FAR_END)
        elif not self._flow.allows(FlowEvent.FAR_END):
            raise ProtocolError("something came on a stream after its end")
        self._receipts.took(size)
        if self._transport is None:
            self._early.append(piece)
        else:
            self._write(self._transport, piece)

    def grant(self, count: int) -> None:
        """Take note of the other end's credit.

        Raises:
            ProtocolError: It's more than the window has room for.
        """
        self._allowance.grant(count)
        self._turn_reading()

    def abort(self, error: Exception | None = None) -> None:
        """Close the socket at once, so that whoever is at its other end sees a reset rather than an end.

        Args:
            error: Why; told to the far end.
        """
        if self._over:
            return
        if self._transport is not None:
            _reset(self._transport)
        self._end(error or ConnectionAbortedError("the connection was given up"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is connected."""
        self._transport = cast("asyncio.Transport", transport)
        if self._over:
            _reset(self._transport)
            return
        self._transport.set_write_buffer_limits(high=_HELD_AT_MOST, low=_HELD_AT_MOST)
        self._turn_reading()
        early, self._early = self._early, []
        for piece in early:
            self._write(self._transport, piece)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to read into: no more than may be sent on."""
        return memoryview(self._room)[: min(len(self._room), self._allowance.left)]

    def buffer_updated(self, nbytes: int) -> None:
        """Something was read."""
        self._allowance.spend(nbytes)
        self._turn_reading()
        self._say(bytes(memoryview(self._room)[:nbytes]))

    def eof_received(self) -> bool:
        """The socket's other end says no more; whether to keep the other direction open."""
        if self._over:
            return False
        still_open = self._flow.fire(FlowEvent.NEAR_END) is not FlowState.ENDED
        self._say(b"")
        return still_open

    def resume_writing(self) -> None:
        """What was written has left, but for half a window."""
        self._pay()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed."""
        self._transport = None
        if not self._over:
            ended = self._flow.state is FlowState.ENDED
            self._end(None if ended else exc or ConnectionResetError("the connection was closed"))

    def _say(self, piece: bytes) -> None:
        if self._far is None:
            self._unsent.append(piece)
        else:
            self._far.send(piece)

    def _write(self, transport: asyncio.Transport, piece: Buffer) -> None:
        if memoryview(piece).nbytes:
            transport.write(piece)
            self._pay()
        elif self._flow.state is FlowState.ENDED:
            transport.close()  # after what is still to be written
        else:
            with suppress(OSError):  # it was closed meanwhile, of which connection_lost tells
                transport.write_eof()

    def _pay(self) -> None:
        if self._transport is None or self._far is None or self._over:
            return
        count = self._receipts.due(self._transport.get_write_buffer_size())
        if count:
            self._far.credit(count)

    def _turn_reading(self) -> None:
        """Read from the socket if what is read can be sent on."""
        wanted = self._far is not None and self._allowance.left > 0
        if self._transport is None or wanted is self._reading:
            return
        self._reading = wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _end(self, error: Exception | None) -> None:
        self._over = True
        self._gone = error
        self._early.clear()
        if self._far is not None:
            self._far.over(error)


def _reset(transport: asyncio.Transport) -> None:
    own: Any = transport.get_extra_info("socket")
    with suppress(OSError, AttributeError):
        own.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, _RST_ON_CLOSE)
    transport.abort()
