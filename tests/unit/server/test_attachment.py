from __future__ import annotations

from collections.abc import Sequence

import pytest

from flame_kernel.buffers import Buffer
from flame_kernel.errors import ProtocolError
from flame_kernel.protocol import messages
from flame_kernel.protocol.delivery import ACK_MESSAGES
from flame_kernel.protocol.frames import pack
from flame_kernel.protocol.messages import Welcome
from flame_kernel.protocol.packets import Kind, Packet, decode
from flame_kernel.server.attachment import Attachment

WELCOME = Welcome(version=1, session="work")


class Wire:
    """A connection to a client, which keeps what is sent over it until it breaks."""

    def __init__(self) -> None:
        self.sent: list[Packet] = []
        self.broken = False

    def send(self, frames: Sequence[Buffer]) -> bool:
        if not self.broken:
            self.sent.append(decode(frames))
        return not self.broken

    @property
    def kinds(self) -> list[Kind]:
        return [packet.kind for packet in self.sent]

    @property
    def texts(self) -> list[bytes]:
        return [bytes(packet.parts[0]) for packet in self.sent if packet.kind is Kind.DATA]


def attached(limit_bytes: int = 1_000) -> tuple[Attachment, Wire]:
    attachment, wire = Attachment("a1", "ada@laptop", limit_bytes), Wire()
    attachment.connect(wire.send, 0, WELCOME)
    return attachment, wire


def test_a_client_is_welcomed_before_anything_else() -> None:
    attachment, wire = Attachment("a1", "ada@laptop", 1_000), Wire()
    attachment.deliver([b"early"])
    assert not attachment.connected

    attachment.connect(wire.send, 0, WELCOME)

    assert attachment.connected
    assert wire.kinds == [Kind.WELCOME, Kind.DATA]
    assert messages.decode(wire.sent[0].parts[0], Welcome) == WELCOME


@pytest.mark.parametrize(("rows", "kinds"), [(False, [Kind.DATA, Kind.DATA]), (True, [Kind.ROW])], ids=["no", "yes"])
def test_what_leaves_together_goes_in_a_row_to_who_reads_rows(rows: bool, kinds: list[Kind]) -> None:
    attachment, wire = Attachment("a1", "ada@laptop", 1_000), Wire()
    attachment.deliver([b"1"])
    attachment.deliver([b"2"])

    attachment.connect(wire.send, 0, WELCOME, rows)

    assert wire.kinds == [Kind.WELCOME, *kinds]


def test_what_came_while_the_client_was_away_follows_on_the_next_connection() -> None:
    attachment, wire = attached()
    attachment.deliver([b"1"])
    wire.broken = True
    attachment.deliver([b"2"])
    assert not attachment.connected

    again = Wire()
    attachment.connect(again.send, 1, WELCOME)

    assert again.texts == [b"2"]


def test_what_there_was_no_room_for_is_told_as_a_gap() -> None:
    attachment, wire = attached(limit_bytes=2 * len(pack([b"1"])[0]))
    wire.broken = True
    for text in (b"1", b"2", b"3", b"4"):
        attachment.deliver([text])

    again = Wire()
    attachment.connect(again.send, 0, WELCOME)

    assert again.kinds == [Kind.WELCOME, Kind.GAP, Kind.DATA, Kind.DATA]
    assert again.sent[1].number == 2


def test_each_request_is_taken_once() -> None:
    attachment, _ = attached()
    request = Packet(Kind.DATA, 1, 0, [b"run"])

    assert attachment.take(request) == [b"run"]
    assert attachment.take(request) is None


def test_requests_that_nothing_answers_are_acknowledged_before_the_window_is_full() -> None:
    attachment, wire = attached()
    for number in range(1, ACK_MESSAGES + 1):
        attachment.take(Packet(Kind.DATA, number, 0, [b"run"]))

    assert (wire.sent[-1].kind, wire.sent[-1].ack) == (Kind.ACK, ACK_MESSAGES)


def test_a_ping_is_answered_with_what_was_received() -> None:
    attachment, wire = attached()
    attachment.take(Packet(Kind.DATA, 1, 0, [b"run"]))
    attachment.take(Packet(Kind.PING))

    assert (wire.sent[-1].kind, wire.sent[-1].ack) == (Kind.PONG, 1)


def test_a_hole_asks_once_for_a_new_start_and_sends_nothing_until_it_comes() -> None:
    attachment, wire = attached()

    assert attachment.take(Packet(Kind.DATA, 2, 0, [b"too far"])) is None
    assert attachment.take(Packet(Kind.DATA, 3, 0, [b"too far"])) is None
    attachment.deliver([b"later"])
    assert wire.kinds == [Kind.WELCOME, Kind.RESET]

    attachment.connect(wire.send, 0, WELCOME)
    assert wire.texts == [b"later"]


def test_an_old_connection_that_goes_takes_nothing_from_the_new_one() -> None:
    attachment, old = attached()
    new = Wire()
    old_send, new_send = old.send, new.send
    attachment.connect(old_send, 0, WELCOME)
    attachment.connect(new_send, 0, WELCOME)

    attachment.disconnect(old_send)
    assert attachment.connected
    attachment.disconnect(new_send)
    assert not attachment.connected


def test_what_the_server_tells_is_a_message_with_the_flame_topic() -> None:
    attachment, wire = attached()
    attachment.tell(messages.Died("it was killed"))

    topic, told = wire.sent[-1].parts
    assert topic == messages.TOPIC
    assert messages.decode_answer(bytes(told)) == messages.Died("it was killed")


def test_a_client_that_acknowledges_what_was_never_sent_breaks_the_protocol() -> None:
    attachment, wire = attached()

    with pytest.raises(ProtocolError):
        attachment.take(Packet(Kind.ACK, 0, 1))
    with pytest.raises(ProtocolError):
        attachment.connect(wire.send, 1, WELCOME)
