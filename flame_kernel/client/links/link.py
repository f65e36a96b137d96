"""A link to a server: one numbered conversation, carried on over as many connections as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from flame_kernel.buffers import Buffer
from flame_kernel.errors import FlameError, KeyRefused, ProtocolError
from flame_kernel.protocol import messages, packets
from flame_kernel.protocol.conversation import Conversation, Hole, Message, Missing
from flame_kernel.protocol.link import LINK, LinkEvent, LinkState, Machine
from flame_kernel.protocol.packets import Kind, Packet
from flame_kernel.transport.interface import Cause, Dialler, DiallerEvents

PING_EVERY_S = 5.0
SILENCE_S = 15.0

# To a server that soon lets go of who is silent signs of life go more often: so many in that time, but no faster than
# this, in seconds.
_PINGS_IN_SILENCE = 3
_FASTEST_PING_S = 0.1

# How long an acknowledgement may wait for something to ride along with.
ACK_AFTER_S = 0.02


class LinkEvents(Protocol):
    """What a link tells."""

    def on_open(self, welcome: messages.Welcome) -> None:
        """It's open, for the first time or again."""

    def on_message(self, parts: Sequence[Buffer]) -> None:
        """The server's next message: each once, in order."""

    def on_missing(self, count: int) -> None:
        """So many messages will never come, because there was no room to keep them while the link was down."""

    def on_down(self, cause: Cause) -> None:
        """A connection ended or an attempt failed; the link goes on trying."""

    def on_ended(self, error: FlameError) -> None:
        """The link is over."""


class Link:
    """The client's end.

    Args:
        make_dialler: Makes the transport, given who is told of what happens on it.
        hello: What to say first.
        events: Who is told of what happens on the link.
        server: What to call the server in messages.
        ping_every_s: How often a sign of life is asked for, in seconds, unless the server waits for less long.
        silence_s: After how long without one the connection is given up, in seconds.
    """

    def __init__(
        self,
        make_dialler: Callable[[DiallerEvents], Dialler],
        hello: messages.Hello,
        events: LinkEvents,
        server: str,
        ping_every_s: float = PING_EVERY_S,
        silence_s: float = SILENCE_S,
    ) -> None:
        self._dialler = make_dialler(self)
        self._hello = hello
        self._events = events
        self._server = server
        self._ping_every_s = ping_every_s
        self._silence_s = silence_s
        self._loop = asyncio.get_running_loop()
        self._machine = Machine(LINK, LinkState.DOWN)
        self._conversation = Conversation()
        self._heard = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._ack_timer: asyncio.TimerHandle | None = None
        self._table = {
            Kind.WELCOME: self._on_welcome,
            Kind.REFUSED: self._on_refused,
            Kind.RESET: self._on_reset,
            Kind.DATA: self._on_numbered,
            Kind.ROW: self._on_numbered,
            Kind.GAP: self._on_numbered,
            Kind.ACK: self._on_numbered,
            Kind.PONG: self._on_numbered,
        }

    @property
    def state(self) -> LinkState:
        """Where it stands."""
        return self._machine.state

    def start(self) -> None:
        """Begin to dial."""
        self._machine.fire(LinkEvent.DIAL)
        self._dialler.dial()
        self._tick()

    def send(self, parts: Sequence[Buffer]) -> None:
        """Send a message; while the link is down it waits."""
        self._conversation.push(parts)
        self._flush()

    def close(self, leave: bool) -> None:
        """End the link.

        Args:
            leave: Whether to tell the server that this client does not come back, so that nothing is kept for it.
        """
        if self._machine.state is LinkState.ENDED:
            return
        if leave and self._machine.state in (LinkState.GREETING, LinkState.OPEN):
            self._dialler.send(self._conversation.greeting(Kind.BYE, []))
        self._end(LinkEvent.CLOSE, linger_ms=1_000)

    def on_up(self) -> None:
        """The transport is connected: greet."""
        if self._machine.allows(LinkEvent.UP):
            self._machine.fire(LinkEvent.UP)
            self._greet()

    def on_down(self, cause: Cause) -> None:
        """The transport is not connected; it tries again by itself."""
        if self._machine.state is LinkState.ENDED:
            return
        if cause is Cause.KEY_REFUSED:
            self._end(LinkEvent.REFUSED)
            self._events.on_ended(
                KeyRefused(f"{self._server} does not admit this client's key; pair with a fresh invite (flame invite)")
            )
            return
        self._machine.fire(LinkEvent.LOST)
        self._machine.fire(LinkEvent.DIAL)
        self._events.on_down(cause)

    def on_frames(self, frames: list[Buffer]) -> None:
        """A packet arrived."""
        if self._machine.state is LinkState.ENDED:
            return
        self._heard = self._loop.time()
        try:
            packet = packets.decode(frames)
            handler = self._table.get(packet.kind)
            if handler is not None:
                handler(packet)
        except ProtocolError as error:
            if self._machine.allows(LinkEvent.CLOSE):
                self._end(LinkEvent.CLOSE)
                self._events.on_ended(error)

    def _on_welcome(self, packet: Packet) -> None:
        if self._machine.state is LinkState.OPEN:
            # The answer to an earlier HELLO opened it: what was sent since may have come too early to be taken.
            self._conversation.resume(packet.ack)
            self._flush()
            return
        if not self._machine.allows(LinkEvent.WELCOME):
            return
        welcome = messages.decode(_only(packet), messages.Welcome)
        self._machine.fire(LinkEvent.WELCOME)
        self._conversation.resume(packet.ack)
        self._hello = msgspec.structs.replace(self._hello, resumed=True, session=welcome.session)
        self._heed(welcome.silence_s)
        self._events.on_open(welcome)
        self._flush()

    def _on_refused(self, packet: Packet) -> None:
        refusal = messages.decode(_only(packet), messages.Refusal)
        self._end(LinkEvent.REFUSED)
        self._events.on_ended(refusal.error())

    def _on_reset(self, packet: Packet) -> None:
        if self._machine.allows(LinkEvent.RESET):
            self._machine.fire(LinkEvent.RESET)
            self._greet()

    def _on_numbered(self, packet: Packet) -> None:
        for one in packets.each(packet):
            event = self._conversation.take(one)
            if isinstance(event, Message):
                self._events.on_message(event.parts)
            elif isinstance(event, Missing):
                self._events.on_missing(event.count)
            elif isinstance(event, Hole):
                if self._machine.state is LinkState.OPEN:
                    self._machine.fire(LinkEvent.RESET)
                    self._greet()
                break
            if self._machine.state is LinkState.ENDED:  # whoever was told has closed it
                return
        self._flush()

    def _heed(self, silence_s: float) -> None:
        if 0 < silence_s < self._ping_every_s * _PINGS_IN_SILENCE:
            self._ping_every_s = max(_FASTEST_PING_S, silence_s / _PINGS_IN_SILENCE)
            assert self._timer is not None
            self._timer.cancel()
            self._timer = self._loop.call_later(self._ping_every_s, self._tick)

    def _greet(self) -> None:
        self._heard = self._loop.time()
        self._dialler.send(self._conversation.greeting(Kind.HELLO, [messages.encode(self._hello)]))

    def _flush(self) -> None:
        if self._machine.state is LinkState.OPEN:
            for frames in self._conversation.outgoing():
                self._dialler.send(frames)
            if self._conversation.ack_due and self._ack_timer is None:
                self._ack_timer = self._loop.call_later(ACK_AFTER_S, self._acknowledge)

    def _acknowledge(self) -> None:
        self._ack_timer = None
        if self._machine.state is LinkState.OPEN and self._conversation.ack_due:
            self._dialler.send(self._conversation.acknowledge())

    def _tick(self) -> None:
        self._timer = self._loop.call_later(self._ping_every_s, self._tick)
        if self._machine.state not in (LinkState.OPEN, LinkState.GREETING):
            return
        if self._loop.time() - self._heard > self._silence_s:
            # The network swallows everything, or this machine slept: a new connection tells which.
            self.on_down(Cause.LOST)
            if self._machine.allows(LinkEvent.UP):  # else whoever was told has closed it
                self._dialler.dial()
        else:
            self._dialler.send(self._conversation.greeting(Kind.PING, []))

    def _end(self, event: LinkEvent, linger_ms: int = 0) -> None:
        self._machine.fire(event)
        for timer in (self._timer, self._ack_timer):
            if timer is not None:
                timer.cancel()
        self._dialler.close(linger_ms)


def _only(packet: Packet) -> bytes:
    return bytes(packet.parts[0]) if packet.parts else b""
