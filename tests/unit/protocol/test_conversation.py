"""Two ends of a conversation, and everything that a network can do between them."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from flame_kernel.buffers import Buffer
from flame_kernel.protocol.conversation import Conversation, Hole, Message, Missing
from flame_kernel.protocol.delivery import Outbox
from flame_kernel.protocol.frames import CHUNK, pack
from flame_kernel.protocol.packets import Kind, Packet, decode, each, encode

Frames = list[Buffer]


def exchange(sender: Conversation, receiver: Conversation) -> list[object]:
    """Carry over what is due, both ways, and return what came of it at the receiver."""
    events = [receiver.take(decode(frames)) for frames in sender.outgoing()]
    for frames in receiver.outgoing():
        sender.take(decode(frames))
    if receiver.ack_due:
        sender.take(decode(receiver.acknowledge()))
    return events


def test_a_message_arrives_and_is_forgotten() -> None:
    here, there = Conversation(), Conversation()
    here.push([b"a", b"b"])

    assert exchange(here, there) == [Message(1, [b"a", b"b"])]
    assert (here.pending, there.received) == (0, 1)


def test_answers_carry_acknowledgements_so_that_none_is_sent_apart() -> None:
    here, there = Conversation(), Conversation()
    here.push([b"question"])
    for frames in here.outgoing():
        there.take(decode(frames))
    there.push([b"answer"])

    (answer,) = there.outgoing()

    assert decode(answer).ack == 1


def test_a_greeting_acknowledges_so_that_nothing_else_is_due() -> None:
    here, there = Conversation(), Conversation()
    here.push([b"question"])
    for frames in here.outgoing():
        there.take(decode(frames))

    assert decode(there.greeting(Kind.PONG, [])).ack == 1
    assert there.outgoing() == []


def test_a_loss_is_a_hole_and_a_new_start_mends_it() -> None:
    here, there = Conversation(), Conversation()
    here.push([b"1"])
    here.push([b"2"])
    _, second = here.outgoing()

    assert there.take(decode(second)) == Hole()
    here.resume(there.received)

    assert exchange(here, there) == [Message(1, [b"1"]), Message(2, [b"2"])]


def test_messages_go_together_in_as_few_packets_as_hold_them() -> None:
    here, there = Conversation(), Conversation()
    said = [b"a", b"b" * 30_000, b"c", b"d" * 60_000, *[b"e" * 15_000] * 5]
    for part in said:
        here.push([part])
    carried = [decode(frames) for frames in here.outgoing(rows=True)]

    kinds = [Kind.DATA, Kind.DATA, Kind.DATA, Kind.DATA, Kind.ROW, Kind.DATA]
    assert [packet.kind for packet in carried] == kinds
    heard = [there.take(packet) for row in carried for packet in each(row)]
    assert heard == [Message(number, [part]) for number, part in enumerate(said, 1)]


def test_what_could_not_be_kept_is_counted() -> None:
    here, there = Conversation(limit_bytes=2 * len(pack([b"1"])[0])), Conversation()
    for text in (b"1", b"2", b"3", b"4"):
        here.push([text])

    assert exchange(here, there) == [Missing(2), Message(3, [b"3"]), Message(4, [b"4"])]


def test_a_gap_that_was_filled_meanwhile_is_none() -> None:
    there = Conversation()
    there.take(Packet(Kind.DATA, 1, 0, [b"1"]))

    assert there.take(decode(encode(Kind.GAP, number=1))) is None


@pytest.mark.parametrize("parts", [[b"small"], [b"head", bytes(3 * CHUNK)]], ids=["small", "in pieces"])
def test_what_is_said_goes_out_as_what_is_pushed_and_sent(parts: list[bytes]) -> None:
    saying, pushing = Conversation(pieces=True), Conversation(pieces=True)
    for _ in range(3):
        number, packets = saying.say(parts)
        assert pushing.push(parts) == number
        assert [[*map(bytes, frames)] for frames in packets] == [[*map(bytes, frames)] for frames in pushing.outgoing()]
    assert saying.pending == pushing.pending > 0


def test_what_can_not_go_yet_is_kept_when_it_is_said() -> None:
    here, there = Conversation(pieces=True), Conversation(pieces=True)
    here._outbox = Outbox(window_messages=1)
    (first,) = here.say([b"1"])[1]
    assert here.say([b"2"]) == (2, [])
    there.take(decode(first))
    assert here.say([b"3"]) == (3, [])  # behind the one that waits, not before it
    here.take(decode(there.acknowledge()))
    assert [decode(frames).number for frames in here.outgoing()] == [2]


class End:
    """One end, what it says and hears, and what its connection carries to the other."""

    def __init__(
        self, name: str, limit_bytes: int | None, window_messages: int, window_bytes: int, rows: bool, pieces: bool
    ) -> None:
        self.name = name
        self.rows = rows
        self.window_messages = window_messages
        self.window_bytes = window_bytes
        self.conversation = Conversation(pieces=pieces)
        self.conversation._outbox = Outbox(limit_bytes, window_messages=window_messages, window_bytes=window_bytes)
        self.pushed = 0
        self.heard = 0  # the number up to which each message was heard or reported missing
        self.missing = 0
        self.line: deque[Frames] = deque()
        self.open = False  # greeted, and no hole seen since
        self.sent: list[tuple[int, int]] = []  # on this connection: number, bytes

    def send(self) -> None:
        if self.open:
            self.deliver(self.conversation.outgoing(self.rows))

    def deliver(self, packets: list[Frames]) -> None:
        for frames in packets:
            for packet in each(decode(frames)):
                if packet.kind is Kind.DATA:
                    self.sent.append((packet.number, sum(map(len, packet.parts))))
            self.line.append(frames)
        if self.conversation.ack_due:  # as the link's timer does
            self.line.append(self.conversation.acknowledge())


class Network(RuleBasedStateMachine):
    """Pushes, losses, duplicates, holes and cuts in any order; whatever happens, nothing is lost in silence."""

    @initialize(
        limit=st.one_of(st.none(), st.integers(1, 60)),
        window_messages=st.integers(1, 4),
        window_bytes=st.integers(1, 40),
        rows=st.booleans(),
        pieces=st.booleans(),
    )
    def start(self, limit: int | None, window_messages: int, window_bytes: int, rows: bool, pieces: bool) -> None:
        self.client = End("client", None, window_messages, window_bytes, rows, pieces)
        self.server = End("server", limit, window_messages, window_bytes, rows, pieces)
        self.limited = limit is not None
        self.greet()

    def other(self, end: End) -> End:
        return self.server if end is self.client else self.client

    def greet(self) -> None:
        """A new connection, or the old one greeted anew: HELLO, WELCOME, and what follows."""
        for end in (self.client, self.server):
            end.line.clear()
            end.sent.clear()
            end.open = True
        hello = decode(self.client.conversation.greeting(Kind.HELLO, []))
        self.server.conversation.resume(hello.ack)
        welcome = decode(self.server.conversation.greeting(Kind.WELCOME, []))
        self.client.conversation.resume(welcome.ack)
        self.server.send()
        self.client.send()

    def take(self, end: End, frames: Frames) -> None:
        packet = decode(frames)
        for one in each(packet):
            event = end.conversation.take(one)
            if isinstance(event, Hole):
                end.open = False
                break
            self.note(end, event)
        other = self.other(end)
        other.sent = [(number, weight) for number, weight in other.sent if number > end.heard or not end.open]
        end.send()

    def note(self, end: End, event: object) -> None:
        if isinstance(event, Message):
            end.heard += 1
            assert event.number == end.heard
            assert bytes(event.parts[0]).startswith(b"%d " % end.heard)
        elif isinstance(event, Missing):
            assert event.count > 0
            end.heard += event.count
            end.missing += event.count

    ends = st.sampled_from(["client", "server"])

    @rule(name=ends, weight=st.integers(3, 30))
    def push(self, name: str, weight: int) -> None:
        end: End = getattr(self, name)
        end.pushed += 1
        assert end.conversation.push([(b"%d " % end.pushed).ljust(weight, b".")]) == end.pushed
        end.send()

    @rule(name=ends, weight=st.integers(3, 30))
    def say(self, name: str, weight: int) -> None:
        end: End = getattr(self, name)
        if not end.open:
            return
        end.pushed += 1
        number, packets = end.conversation.say([(b"%d " % end.pushed).ljust(weight, b".")])
        assert number == end.pushed
        end.deliver(packets)

    @rule(name=ends)
    def arrive(self, name: str) -> None:
        end: End = getattr(self, name)
        if end.line:
            self.take(self.other(end), end.line.popleft())

    @rule(name=ends)
    def arrive_twice(self, name: str) -> None:
        end: End = getattr(self, name)
        if end.line:
            frames = end.line.popleft()
            self.take(self.other(end), frames)
            self.take(self.other(end), frames)

    @rule(name=ends)
    def arrive_late(self, name: str) -> None:
        end: End = getattr(self, name)
        if len(end.line) > 1:
            end.line.append(end.line.popleft())

    @rule(name=ends)
    def lose(self, name: str) -> None:
        end: End = getattr(self, name)
        if end.line:
            end.line.popleft()

    @rule()
    def cut(self) -> None:
        self.greet()

    @rule()
    def cut_with_packets_of_the_old_connection_still_arriving(self) -> None:
        old = [(end, list(end.line)) for end in (self.client, self.server)]
        self.greet()
        for end, frames in old:
            for late in frames:
                self.take(self.other(end), late)

    @invariant()
    def no_more_than_a_window_is_under_way(self) -> None:
        for end in (getattr(self, "client", None), getattr(self, "server", None)):
            if end is None:
                continue
            assert len(end.sent) <= end.window_messages
            assert sum(weight for _, weight in end.sent[:-1]) < end.window_bytes

    def teardown(self) -> None:
        if not hasattr(self, "client"):
            return
        for _ in range(3):  # a loss may only be noticed by what follows; a cut mends it in any case
            self.greet()
            while self.client.line or self.server.line:
                for end in (self.client, self.server):
                    if end.line:
                        self.take(self.other(end), end.line.popleft())
        assert self.server.heard == self.client.pushed
        assert self.client.heard == self.server.pushed
        assert self.server.missing == 0
        assert self.limited or self.client.missing == 0
        assert self.client.conversation.pending == self.server.conversation.pending == 0


Network.TestCase.settings = settings(max_examples=120, stateful_step_count=40)
TestNetwork = Network.TestCase
