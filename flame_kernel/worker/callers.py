"""The worker's ends of its conversations with clients: each request once, each answer kept until it has arrived.

A client has a conversation for each of its lanes; what the session holds for it belongs to the client.
"""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import MutableMapping, Sequence
from typing import Any, Callable

from flame_kernel.buffers import Buffer
from flame_kernel.errors import FlameError, ProtocolError, SessionRestarted, UnknownHandle
from flame_kernel.protocol.bundles import bundled, is_bundle
from flame_kernel.protocol.conversation import Conversation, Hole, Message
from flame_kernel.protocol.packets import Kind, Packet, decode, encode
from flame_kernel.worker.admitted import Admitted, Authority

# A client that vanished without a BYE leaves its conversation behind; beyond this many the oldest goes.
MAX_CALLERS = 1_000

# In Python 3.11 looking up an enum's member takes as long as a small call.
_PING, _HELLO, _BYE = Kind.PING, Kind.HELLO, Kind.BYE

# Answers wait for others to go with them no longer than this after the last that went, in seconds.
_AT_LATEST_S = 0.001

Sender = Callable[[Sequence[Buffer]], bool]


class Caller:
    """One conversation with a client.

    Args:
        send: Sends frames to a connection; false when it's gone.
        name: The conversation's name.
        client: The client's name, the same on all its lanes.
    """

    def __init__(self, send: Sender, name: bytes, client: bytes) -> None:
        self.name = name
        self.client = client
        self._send = send
        self._ended: list[Sequence[Buffer]] = []  # answers that wait for others, to go together
        self._ended_kept: dict[int, Any] = {}  # by call: the value of one of these
        self._kept: dict[int, tuple[int, Any]] = {}  # by call: the number of its answer, and its value
        self._lock = threading.Lock()
        self._conversation = Conversation(pieces=True)
        self._peer: bytes | None = None
        self._sent_at = 0.0
        self._bundles = False  # whether the client reads bundles: it has sent one
        self.quick: bool | None = None  # whether its latest call was; ``None`` before there was one
        self.authority = Authority(b"")  # that of the latest connection, which tells what the client may do

    def greet(self, peer: bytes, authority: Authority, received: int, epoch: bytes) -> None:
        """Go on, over a new connection.

        Args:
            peer: The connection.
            authority: What tells what it may do.
            received: The highest number the client has received.
            epoch: What tells this process from an earlier one of the same session.

        Raises:
            ProtocolError: The client acknowledges what was never sent.
        """
        with self._lock:
            self._conversation.resume(received)
            self._peer, self.authority = peer, authority
            self._send([peer, *self._conversation.greeting(Kind.WELCOME, [epoch])])
            self._flush()

    def take(self, packet: Packet) -> Message | None:
        """Take a packet of the client's.

        Args:
            packet: DATA, ACK or PING.

        Returns:
            Its next message; ``None`` where there's none.

        Raises:
            ProtocolError: It acknowledges what was never sent, or can't be read.
        """
        with self._lock:
            conversation = self._conversation
            event = conversation.take(packet)
            if isinstance(event, Hole):
                if self._peer is not None:
                    self._send([self._peer, *encode(Kind.RESET)])
                return None
            if packet.kind is _PING and self._peer is not None:
                self._send([self._peer, *conversation.greeting(Kind.PONG, [])])
            elif self._ended or conversation.anything_due:
                # The acknowledgement may have made room for answers that wait; and who says much that isn't answered
                # waits for ours.
                self._flush()
        if not isinstance(event, Message):
            return None
        if not self._bundles and is_bundle(event.parts):
            self._bundles = True
        return event

    def place(self, frames: Sequence[Buffer], length: int) -> memoryview | None:
        r"""Return where a large frame of the client's shall be put; asked by the thread that :meth:`take`\ s."""
        return self._conversation.place(frames, length)

    def answer(self, parts: Sequence[Buffer]) -> int:
        """Send an answer; it's kept until the client has it.

        Returns:
            The answer's number.
        """
        with self._lock:
            return self._say(parts)

    def end(self, call: int, parts: Sequence[Buffer], kept: Sequence[Any], later: bool) -> bool:
        """Send a call's last answer.

        Args:
            call: The call's number.
            parts: The answer.
            kept: Its value, to be kept until the client goes on, as it may be unable to load it; or nothing.
            later: Whether more answers follow at once, with which it may go.

        Returns:
            Whether :meth:`flush` has to follow.
        """
        with self._lock:
            together = self._bundles and (later or self._ended)
            if not together:
                number = self._say(parts)
                if kept:
                    self._kept[call] = (number, kept[0])
                return False
            self._ended.append(parts)
            if kept:
                self._ended_kept[call] = kept[0]
            if later and time.monotonic() - self._sent_at < _AT_LATEST_S:
                return True
            self._flush()
        return False

    def flush(self) -> None:
        """Send the answers that wait for it."""
        with self._lock:
            self._flush()

    def kept(self, call: int) -> Any:
        """Return the value of an earlier call.

        Raises:
            UnknownHandle: It wasn't kept: it was too large, or the client has gone on.
        """
        with self._lock:
            found = self._kept.pop(call, None)
        if found is None:
            raise UnknownHandle(
                "the value can't be loaded by this client and is too large to be kept; flame.ref(…) gives a handle"
            )
        return found[1]

    def forget_kept(self, ack: int) -> None:
        """Let go of the values whose answers the client has, and has done with."""
        if self._kept:
            with self._lock:
                done = [call for call, (number, _) in self._kept.items() if number <= ack]
                gone = [self._kept.pop(call) for call in done]
            del gone  # not under the lock: a finalizer may do anything

    def reachable(self) -> bool:
        """Tell whether a connection leads to the client now."""
        with self._lock:
            if self._peer is not None and not self._send([self._peer, *encode(Kind.ACK)]):
                self._peer = None
            return self._peer is not None

    def _say(self, parts: Sequence[Buffer]) -> int:
        if self._peer is None or self._ended:
            number = self._conversation.push(parts)
            self._flush()
            return number
        number, packets = self._conversation.say(parts)
        self._send_all(packets)
        return number

    def _flush(self) -> None:
        if self._peer is None:
            return
        if self._ended:
            for parts, _ in bundled(self._ended):
                number = self._conversation.push(parts)
            self._ended.clear()
            if self._ended_kept:
                self._kept.update((call, (number, value)) for call, value in self._ended_kept.items())
                self._ended_kept.clear()
        self._send_all(self._conversation.outgoing())

    def _send_all(self, packets: Sequence[Sequence[Buffer]]) -> None:
        for frames in packets:
            assert self._peer is not None
            if not self._send([self._peer, *frames]):
                # The connection is gone; what was not acknowledged goes out again when the client greets.
                self._peer = None
                return
            self._sent_at = time.monotonic()


class Callers:
    """All clients of a worker.

    Args:
        send: Sends frames; the first is the connection's name.
        epoch: What tells this process from an earlier one of the same session.
        on_gone: Called with the name of a client that has left.
        on_ended: Called with the name of a conversation that has ended.
        admitted: Who may come over TCP.
        hang_up: Called with the name of a connection that its conversation has left for another.
    """

    def __init__(
        self,
        send: Sender,
        epoch: bytes,
        on_gone: Callable[[bytes], None],
        on_ended: Callable[[bytes], None] = lambda name: None,
        admitted: Admitted | None = None,
        hang_up: Callable[[bytes], None] = lambda peer: None,
    ) -> None:
        self._hang_up = hang_up
        self._admitted = admitted or Admitted()
        self._send = send
        self._epoch = epoch
        self._on_gone = on_gone
        self._on_ended = on_ended
        self._by_id: OrderedDict[bytes, Caller] = OrderedDict()
        self._by_peer: dict[bytes, Caller] = {}

    def reachable(self, client: bytes) -> bool:
        """Tell whether a connection leads to a client now."""
        return any(caller.reachable() for caller in list(self._by_id.values()) if caller.client == client)

    def place(self, peer: bytes, frames: Sequence[Buffer], length: int) -> memoryview | None:
        """Return where a large frame shall be put that comes over a connection, if that is known.

        Args:
            peer: The connection's name.
            frames: The frames of its packet that have come already.
            length: How long it is, in bytes.
        """
        caller = self._by_peer.get(peer)
        return None if caller is None else caller.place(frames, length)

    def take(
        self, frames: Sequence[Buffer], origin: Callable[[bytes], Authority] = Authority
    ) -> tuple[Caller, Message, int] | None:
        """Take what arrived, and deal with all of it but a message.

        Args:
            frames: The connection's name, then a packet.
            origin: Returns, given the connection's name, what tells what it may do; asked when it greets.

        Returns:
            A new message: the conversation, the message, and what the packet acknowledges; ``None`` where there's none.
        """
        peer = bytes(frames[0])
        try:
            packet = decode(frames[1:])
            kind = packet.kind
            if kind is _HELLO:
                self._greet(peer, packet, origin(peer))
                return None
            caller = self._by_peer.get(peer)
            if caller is None or not self._admitted.holds(caller.authority):
                self._send([peer, *encode(Kind.RESET)])
                return None
            if kind is _BYE:
                self._forget(caller)
                return None
            message = caller.take(packet)
            return None if message is None else (caller, message, packet.ack)
        except FlameError as error:
            self._send([peer, *encode(Kind.REFUSED, [_refusal(error)])])
            return None

    def _greet(self, peer: bytes, packet: Packet, authority: Authority) -> None:
        if len(packet.parts) not in (1, 2) or any(len(part) != 16 for part in packet.parts):
            raise ProtocolError("a greeting arrived that this version of Flame can't read")
        name, client = bytes(packet.parts[0]), bytes(packet.parts[-1])
        caller = self._by_id.get(name)
        if caller is None:
            if packet.ack:  # it has heard from the process before this one
                raise SessionRestarted("the session was restarted while the call ran")
            caller = self._by_id[name] = Caller(self._send, name, client)
            if len(self._by_id) > MAX_CALLERS:
                self._forget(next(iter(self._by_id.values())))
        self._by_id.move_to_end(name)
        for stale in [key for key, value in self._by_peer.items() if value is caller]:
            del self._by_peer[stale]
            if stale != peer:
                self._hang_up(stale)
        self._by_peer[peer] = caller
        caller.greet(peer, authority, packet.ack, self._epoch)

    def _forget(self, caller: Caller) -> None:
        tables: tuple[MutableMapping[bytes, Caller], ...] = (self._by_id, self._by_peer)
        for table in tables:
            for key in [key for key, value in table.items() if value is caller]:
                del table[key]
        self._on_ended(caller.name)
        if not any(other.client == caller.client for other in self._by_id.values()):
            self._on_gone(caller.client)


def _refusal(error: FlameError) -> bytes:
    return json.dumps({"code": error.code, "message": str(error)}).encode("utf-8")
