from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame_kernel.errors import ProtocolError
from flame_kernel.protocol.packets import MAGIC, Kind, decode, encode

numbers = st.integers(0, 2**64 - 1)


@given(kind=st.sampled_from(Kind), number=numbers, ack=numbers, parts=st.lists(st.binary(max_size=40), max_size=5))
def test_what_is_encoded_comes_out_again(kind: Kind, number: int, ack: int, parts: list[bytes]) -> None:
    packet = decode(encode(kind, parts, number=number, ack=ack))

    assert (packet.kind, packet.number, packet.ack, packet.parts) == (kind, number, ack, parts)


@given(frames=st.lists(st.binary(max_size=60), max_size=3), head=st.booleans())
def test_arbitrary_frames_give_a_packet_or_a_protocol_error(frames: list[bytes], head: bool) -> None:
    if head and frames:  # past the magic byte, where the parser goes on
        frames[0] = bytes([MAGIC]) + frames[0]
    try:
        packet = decode(frames)
    except ProtocolError:
        return
    assert packet.kind in Kind


@pytest.mark.parametrize(
    ("frames", "complaint"),
    [
        ([], "without frames"),
        ([b"\xf1\4"], "shorter than its head"),
        ([b"\xf2\4" + bytes(18)], "wire format 1"),
        ([b"\xf1\x63" + bytes(18)], "unknown kind 99"),
    ],
)
def test_what_is_no_packet_is_refused_with_a_reason(frames: list[bytes], complaint: str) -> None:
    with pytest.raises(ProtocolError, match=complaint):
        decode(frames)


def test_the_wire_format_does_not_change_by_accident() -> None:
    assert encode(Kind.DATA, [b"ab", b"c"], number=2, ack=3) == [
        b"\xf1\x04" + b"\0" * 7 + b"\2" + b"\0" * 7 + b"\3" + b"\0\2" + b"\0" * 7 + b"\2" + b"\0" * 7 + b"\1" + b"abc"
    ]
    assert {kind.name: kind.value for kind in Kind} == {
        "HELLO": 1,
        "WELCOME": 2,
        "REFUSED": 3,
        "DATA": 4,
        "ACK": 5,
        "GAP": 6,
        "PING": 7,
        "PONG": 8,
        "RESET": 9,
        "BYE": 10,
        "ROW": 11,
    }
