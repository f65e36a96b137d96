"""The worker's ends of its conversations with clients: each request once, each answer kept until it has arrived."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import MutableMapping, Sequence
from typing import Callable

from flame_kernel.buffers import Buffer
from flame_kernel.errors import FlameError, ProtocolError, SessionRestarted
from flame_kernel.protocol.conversation import Conversation, Hole, Message
from flame_kernel.protocol.packets import Kind, Packet, decode, encode

# A client that vanished without a BYE leaves its conversation behind; beyond this many the oldest goes.
MAX_CALLERS = 1_000

Sender = Callable[[Sequence[Buffer]], bool]


class Caller:
    """One client, as the worker knows it.

    Args:
        send: Sends frames to a connection; false when it's gone.
    """

    def __init__(self, send: Sender) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._conversation = Conversation()
        self._peer: bytes | None = None
        self.over = b""  # the name of the latest connection, which tells what the client may do

    def greet(self, peer: bytes, received: int, epoch: bytes) -> None:
        """Go on, over a new connection.

        Args:
            peer: The connection.
            received: The highest number the client has received.
            epoch: What tells this process from an earlier one of the same session.

        Raises:
            ProtocolError: The client acknowledges what was never sent.
        """
        with self._lock:
            self._conversation.resume(received)
            self._peer = self.over = peer
            self._send([peer, *self._conversation.greeting(Kind.WELCOME, [epoch])])
            self._flush()

    def take(self, packet: Packet) -> Message | None:
        """Take a packet of the client's.

        Args:
            packet: DATA, ACK or PING.

        Returns:
            Its next request, or ``None``.

        Raises:
            ProtocolError: It acknowledges what was never sent.
        """
        with self._lock:
            event = self._conversation.take(packet)
            if isinstance(event, Hole) and self._peer is not None:
                self._send([self._peer, *encode(Kind.RESET)])
            elif packet.kind is Kind.PING and self._peer is not None:
                self._send([self._peer, *self._conversation.greeting(Kind.PONG, [])])
            elif self._conversation.pending:
                self._flush()  # the acknowledgement may have made room for answers that wait
            return event if isinstance(event, Message) else None

    def answer(self, parts: Sequence[Buffer]) -> None:
        """Send an answer; it's kept until the client has it."""
        with self._lock:
            self._conversation.push(parts)
            self._flush()

    def _flush(self) -> None:
        if self._peer is None:
            return
        for frames in self._conversation.outgoing():
            if not self._send([self._peer, *frames]):
                # The connection is gone; what was not acknowledged goes out again when the client greets.
                self._peer = None
                return


class Callers:
    """All clients of a worker.

    Args:
        send: Sends frames; the first is the connection's name.
        epoch: What tells this process from an earlier one of the same session.
    """

    def __init__(self, send: Sender, epoch: bytes) -> None:
        self._send = send
        self._epoch = epoch
        self._by_id: OrderedDict[bytes, Caller] = OrderedDict()
        self._by_peer: dict[bytes, Caller] = {}

    def take(self, frames: Sequence[Buffer]) -> tuple[Caller, Message] | None:
        """Take what arrived, and deal with all of it but new requests.

        Args:
            frames: The connection's name, then a packet.

        Returns:
            The client and its next request, or ``None`` when there's nothing to do.
        """
        peer = bytes(frames[0])
        try:
            return self._take(peer, decode(frames[1:]))
        except FlameError as error:
            self._send([peer, *encode(Kind.REFUSED, [_refusal(error)])])
            return None

    def _take(self, peer: bytes, packet: Packet) -> tuple[Caller, Message] | None:
        if packet.kind is Kind.HELLO:
            self._greet(peer, packet)
            return None
        caller = self._by_peer.get(peer)
        if caller is None:
            self._send([peer, *encode(Kind.RESET)])
            return None
        if packet.kind is Kind.BYE:
            self._forget(caller)
            return None
        message = caller.take(packet)
        return None if message is None else (caller, message)

    def _greet(self, peer: bytes, packet: Packet) -> None:
        if len(packet.parts) != 1 or len(packet.parts[0]) != 16:
            raise ProtocolError("a greeting arrived that this version of Flame can't read")
        name = bytes(packet.parts[0])
        caller = self._by_id.get(name)
        if caller is None:
            if packet.ack:  # it has heard from the process before this one
                raise SessionRestarted("the session was restarted while the call ran")
            caller = self._by_id[name] = Caller(self._send)
            if len(self._by_id) > MAX_CALLERS:
                self._forget(next(iter(self._by_id.values())))
        self._by_id.move_to_end(name)
        for stale in [key for key, value in self._by_peer.items() if value is caller]:
            del self._by_peer[stale]
        self._by_peer[peer] = caller
        caller.greet(peer, packet.ack, self._epoch)

    def _forget(self, caller: Caller) -> None:
        tables: tuple[MutableMapping[bytes, Caller], ...] = (self._by_id, self._by_peer)
        for table in tables:
            for key in [key for key, value in table.items() if value is caller]:
                del table[key]


def _refusal(error: FlameError) -> bytes:
    return json.dumps({"code": error.code, "message": str(error)}).encode("utf-8")
