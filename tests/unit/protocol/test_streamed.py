"""Messages over a stream: whatever the pieces in which it comes, the same messages come out."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame_kernel.buffers import OWN_FRAME
from flame_kernel.errors import ProtocolError
from flame_kernel.protocol.streamed import MAX_FRAME_BYTES, MAX_FRAMES, Incoming, table

FRAMES = st.one_of(
    st.binary(max_size=40),
    st.integers(-2, 40_000).map(lambda more: b"x" * (OWN_FRAME + more)),
)
MESSAGES = st.lists(st.lists(FRAMES, min_size=1, max_size=5), max_size=6)
SIZES = st.lists(st.one_of(st.integers(1, 30), st.integers(1, 70_000)), max_size=50)


def stream_of(messages: Sequence[Sequence[bytes]]) -> bytes:
    return b"".join(table(frames) + b"".join(frames) for frames in messages)


def put(incoming: Incoming, data: bytes) -> int:
    """Give what comes next to whoever wants it, as a socket would; return how much that was."""
    if not incoming.missing:
        incoming.feed(data)
        return len(data)
    room = incoming.room
    count = min(len(room), len(data))
    room[:count] = data[:count]
    incoming.filled(count)
    return count


@given(MESSAGES, SIZES)
def test_the_same_messages_come_out_in_whatever_pieces_they_come(messages: list[list[bytes]], sizes: list[int]) -> None:
    stream = stream_of(messages)
    incoming = Incoming()
    position = 0
    pieces = cycle([*sizes, 70_000])  # all drawn at once, which is quicker; a large one, lest a long stream takes long
    while position < len(stream):
        position += put(incoming, stream[position : position + next(pieces)])
    assert [[bytes(frame) for frame in frames] for frames in incoming.whole] == messages


def test_small_frames_are_bytes_and_large_ones_can_be_written_to() -> None:
    incoming = Incoming()
    incoming.feed(stream_of([[b"a", bytes(OWN_FRAME)]]))
    small, large = incoming.whole[0]
    assert type(small) is bytes
    assert isinstance(large, memoryview)
    assert not large.readonly


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (struct.pack("!I", 0) + bytes(8), "0 frames"),
        (struct.pack("!I", MAX_FRAMES + 1) + bytes(8), f"{MAX_FRAMES + 1} frames"),
        (struct.pack("!IQ", 1, MAX_FRAME_BYTES + 1), "bytes came over a stream"),
        (b"GET / HTTP/1.1\r\n\r\n", "frames came over a stream"),
    ],
    ids=["none", "too many", "too large", "another language"],
)
def test_what_is_no_message_is_refused(head: bytes, why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        Incoming().feed(head)


def test_what_is_only_announced_takes_no_memory() -> None:
    incoming = [Incoming() for _ in range(64)]
    for one in incoming:
        one.feed(struct.pack("!IQ", 1, MAX_FRAME_BYTES))
    assert all(len(one.room) == MAX_FRAME_BYTES for one in incoming)
