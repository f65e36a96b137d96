"""The worker's ends of its conversations, without a socket."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

import flame_kernel.worker.callers as callers_module
from flame_kernel.buffers import Buffer
from flame_kernel.errors import UnknownHandle
from flame_kernel.protocol.bundles import bundled
from flame_kernel.protocol.packets import Kind, Packet, decode, encode
from flame_kernel.worker.callers import Caller, Callers

EPOCH = b"e" * 16
ANN, BOB = b"a" * 16, b"b" * 16


class Wire:
    """Keeps what is sent; connections in ``gone`` take nothing."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, Packet]] = []
        self.gone: set[bytes] = set()

    def send(self, frames: Sequence[Buffer]) -> bool:
        peer = bytes(frames[0])
        if peer in self.gone:
            return False
        self.sent.append((peer, decode(frames[1:])))
        return True

    def kinds(self, peer: bytes) -> list[Kind]:
        return [packet.kind for other, packet in self.sent if other == peer]


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def callers(wire: Wire) -> Callers:
    return Callers(wire.send, EPOCH, lambda client: None)


def say(callers: Callers, peer: bytes, kind: Kind, *parts: bytes, number: int = 0, ack: int = 0) -> Any:
    taken = callers.take([peer, *encode(kind, list(parts), number=number, ack=ack)])
    return taken and taken[:2]


def asked(callers: Callers, peer: bytes, number: int) -> Caller:
    caller, message = say(callers, peer, Kind.DATA, b"ask", number=number)
    assert message.number == number
    assert isinstance(caller, Caller)
    return caller


def test_a_greeting_is_answered_with_the_epoch(callers: Callers, wire: Wire) -> None:
    assert say(callers, b"p1", Kind.HELLO, ANN) is None

    ((peer, packet),) = wire.sent
    assert (peer, packet.kind, packet.parts) == (b"p1", Kind.WELCOME, [EPOCH])


def test_a_conversation_that_comes_over_another_connection_has_left_the_one_before(wire: Wire) -> None:
    left: list[bytes] = []
    callers = Callers(wire.send, EPOCH, lambda client: None, hang_up=left.append)
    say(callers, b"p1", Kind.HELLO, ANN)
    say(callers, b"p1", Kind.HELLO, ANN)
    say(callers, b"p2", Kind.HELLO, BOB)
    assert left == []  # else what is still on its way there could be put into memory that is the user's by then

    say(callers, b"p3", Kind.HELLO, ANN)
    assert left == [b"p1"]


def test_each_request_is_given_out_once(callers: Callers) -> None:
    say(callers, b"p1", Kind.HELLO, ANN)
    asked(callers, b"p1", 1)

    assert say(callers, b"p1", Kind.DATA, b"ask", number=1) is None


def test_an_answer_that_found_the_connection_gone_follows_on_the_next(callers: Callers, wire: Wire) -> None:
    say(callers, b"p1", Kind.HELLO, ANN)
    caller = asked(callers, b"p1", 1)
    wire.gone.add(b"p1")
    caller.answer([b"answer"])
    say(callers, b"p2", Kind.HELLO, ANN)

    assert wire.kinds(b"p2") == [Kind.WELCOME, Kind.DATA]
    assert wire.sent[-1][1].ack == 1, "the request has arrived, so it does not run again"


def test_the_connection_that_was_left_is_told_to_greet(callers: Callers, wire: Wire) -> None:
    say(callers, b"p1", Kind.HELLO, ANN)
    say(callers, b"p2", Kind.HELLO, ANN)
    say(callers, b"p1", Kind.PING)

    assert wire.kinds(b"p1") == [Kind.WELCOME, Kind.RESET]


def test_clients_have_conversations_of_their_own(callers: Callers, wire: Wire) -> None:
    say(callers, b"p1", Kind.HELLO, ANN)
    say(callers, b"p2", Kind.HELLO, BOB)
    asked(callers, b"p1", 1)
    asked(callers, b"p2", 1).answer([b"for bob"])

    assert wire.kinds(b"p1") == [Kind.WELCOME]
    assert wire.kinds(b"p2") == [Kind.WELCOME, Kind.DATA]


def test_a_hole_a_ping_and_a_stranger_are_answered(callers: Callers, wire: Wire) -> None:
    say(callers, b"p1", Kind.HELLO, ANN)
    say(callers, b"p1", Kind.PING)
    say(callers, b"p1", Kind.DATA, b"too far", number=3)
    say(callers, b"p9", Kind.DATA, b"ask", number=1)

    assert wire.kinds(b"p1") == [Kind.WELCOME, Kind.PONG, Kind.RESET]
    assert wire.kinds(b"p9") == [Kind.RESET]


def test_an_acknowledgement_lets_answers_go_out_that_waited_for_room(callers: Callers, wire: Wire) -> None:
    say(callers, b"p1", Kind.HELLO, ANN)
    caller = asked(callers, b"p1", 1)
    for _ in range(300):
        caller.answer([b"line"])
    assert wire.kinds(b"p1").count(Kind.DATA) == 256

    say(callers, b"p1", Kind.ACK, ack=256)
    assert wire.kinds(b"p1").count(Kind.DATA) == 300


def test_who_says_goodbye_is_forgotten(callers: Callers, wire: Wire) -> None:
    say(callers, b"p1", Kind.HELLO, ANN)
    say(callers, b"p1", Kind.BYE)

    assert (callers._by_id, callers._by_peer) == ({}, {})


def test_the_oldest_conversation_makes_room(callers: Callers, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers_module, "MAX_CALLERS", 2)
    for number in range(3):
        say(callers, b"p%d" % number, Kind.HELLO, bytes([number]) * 16)

    assert len(callers._by_id) == len(callers._by_peer) == 2
    assert b"\0" * 16 not in callers._by_id


def test_who_has_heard_from_an_earlier_process_is_told_of_the_restart(callers: Callers, wire: Wire) -> None:
    say(callers, b"p1", Kind.HELLO, ANN, ack=3)

    ((_, packet),) = wire.sent
    assert packet.kind is Kind.REFUSED
    assert json.loads(bytes(packet.parts[0]))["code"] == "session-restarted"


@pytest.mark.parametrize(
    "frames", [[], [b"junk"], encode(Kind.HELLO), encode(Kind.HELLO, [b"short"])], ids=["no", "junk", "empty", "short"]
)
def test_what_is_no_packet_or_no_greeting_is_refused(callers: Callers, wire: Wire, frames: list[Buffer]) -> None:
    assert not callers.take([b"p1", *frames])

    assert wire.kinds(b"p1") == [Kind.REFUSED]


def test_acknowledging_what_was_never_sent_is_refused(callers: Callers, wire: Wire) -> None:
    say(callers, b"p1", Kind.HELLO, ANN)
    say(callers, b"p1", Kind.ACK, ack=1)

    assert wire.kinds(b"p1") == [Kind.WELCOME, Kind.REFUSED]


def test_much_that_is_not_answered_is_acknowledged(callers: Callers, wire: Wire) -> None:
    say(callers, ANN, Kind.HELLO, bytes(16))
    for number in range(1, 257):  # as many as may be under way
        asked(callers, ANN, number)

    assert max(packet.ack for _, packet in wire.sent) > 200


def bundle_of(*texts: bytes) -> list[Buffer]:
    ((parts, _),) = bundled([[b"h", text] for text in texts])
    return list(parts)


def test_a_bundle_is_taken_once_and_answered_in_bundles(
    callers: Callers, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callers_module, "_AT_LATEST_S", 60.0)
    say(callers, b"p1", Kind.HELLO, ANN)
    asked_for = bundle_of(b"one", b"two", b"three")
    caller, message = say(callers, b"p1", Kind.DATA, *asked_for, number=1)

    assert message.parts == asked_for
    assert say(callers, b"p1", Kind.DATA, *asked_for, number=1) is None
    caller.answer([b"printed"])  # goes at once, and what comes soon after it waits
    wire.sent.clear()
    assert caller.end(1, [b"h", b"1"], (), later=True)
    assert caller.end(2, [b"h", b"2"], (), later=True)
    assert wire.sent == []
    assert not caller.end(3, [b"h", b"3"], (), later=False)
    ((_, packet),) = wire.sent
    assert (packet.kind, packet.number, packet.parts) == (Kind.DATA, 2, bundle_of(b"1", b"2", b"3"))


def test_who_sends_no_bundles_is_sent_none(callers: Callers, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers_module, "_AT_LATEST_S", 60.0)
    say(callers, b"p1", Kind.HELLO, ANN)
    caller = asked(callers, b"p1", 1)
    caller.answer([b"printed"])
    assert not caller.end(1, [b"h", b"1"], (), later=True)
    wire.gone.add(b"p1")
    for number in (2, 3):
        caller.end(number, [b"h", b"%d" % number], (), later=False)
    wire.gone.clear()
    say(callers, b"p2", Kind.HELLO, ANN, ack=2)
    assert [packet.parts for peer, packet in wire.sent if peer == b"p2"] == [[EPOCH], [b"h", b"2"], [b"h", b"3"]]


def test_values_of_answers_that_went_together_are_kept_until_that_is_acknowledged(
    callers: Callers, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callers_module, "_AT_LATEST_S", 60.0)
    say(callers, b"p1", Kind.HELLO, ANN)
    caller, _ = say(callers, b"p1", Kind.DATA, *bundle_of(b"one", b"two"), number=1)
    caller.answer([b"printed"])
    first, second, third = object(), object(), object()
    assert caller.end(7, [b"h", b"1"], (first,), later=True)
    assert not caller.end(8, [b"h", b"2"], (second,), later=False)
    assert not caller.end(9, [b"h", b"3"], (third,), later=False)
    assert [packet.number for _, packet in wire.sent[1:]] == [1, 2, 3]

    caller.forget_kept(1)
    assert caller.kept(7) is first
    caller.forget_kept(2)
    with pytest.raises(UnknownHandle):
        caller.kept(8)
    assert caller.kept(9) is third
