from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame_kernel.buffers import OWN_FRAME
from flame_kernel.errors import ProtocolError
from flame_kernel.protocol.frames import CHUNK, MAX_PARTS, pack, unpack

small = st.binary(max_size=64)
large = st.integers(0, 3).map(lambda extra: b"x" * (OWN_FRAME + extra))
parts_of_all_sizes = st.lists(st.one_of(small, large), max_size=12)


@given(parts=parts_of_all_sizes, prefix=small)
def test_what_is_packed_comes_out_again(parts: list[bytes], prefix: bytes) -> None:
    assert unpack(pack(parts, prefix), len(prefix)) == parts


@given(frames=st.lists(st.binary(max_size=80), max_size=4), offset=st.integers(0, 20))
def test_arbitrary_frames_give_parts_or_a_protocol_error(frames: list[bytes], offset: int) -> None:
    try:
        parts = unpack(frames, offset)
    except ProtocolError:
        return
    assert all(isinstance(part, bytes | memoryview) for part in parts)


@given(parts=parts_of_all_sizes, data=st.data())
def test_damaged_frames_never_give_more_than_was_sent(parts: list[bytes], data: st.DataObject) -> None:
    frames = [bytes(frame) for frame in pack(parts)]
    which = data.draw(st.integers(0, len(frames) - 1))
    where = data.draw(st.integers(0, max(0, min(len(frames[which]), 100) - 1)))
    frames[which] = frames[which][:where] + data.draw(small) + frames[which][where + 1 :]
    try:
        out = unpack(frames)
    except ProtocolError:
        return
    assert sum(map(len, out)) <= sum(map(len, frames))


def test_small_parts_share_one_frame() -> None:
    assert len(pack([b"a"] * 100)) == 1


def test_a_large_part_travels_as_it_is() -> None:
    large = bytearray(OWN_FRAME)

    frames = pack([b"head", large])

    assert frames[1] is large


def test_a_very_large_part_travels_in_chunks_that_are_views_of_it() -> None:
    large = bytes(CHUNK) + b"the end"

    _, *chunks = pack([large])

    assert [len(chunk) for chunk in chunks] == [CHUNK, 7]
    assert all(isinstance(chunk, memoryview) and chunk.obj is large for chunk in chunks)
    assert unpack(pack([b"a", large, b"b"])) == [b"a", large, b"b"]


@pytest.mark.parametrize("chunks", [[b"abc", b""], [b"ab"], [b"abcd"], [b"ab", b"cd"]])
def test_chunks_that_do_not_add_up_are_refused(chunks: list[bytes]) -> None:
    with pytest.raises(ProtocolError):
        unpack([b"\0\1" + (1 << 63 | 3).to_bytes(8, "big"), *chunks])


def test_parts_are_views_of_what_arrived() -> None:
    large = bytes(OWN_FRAME)

    (part,) = unpack(pack([large]))

    assert part.obj is large


def test_the_limit_of_parts_holds_both_ways() -> None:
    assert len(unpack(pack([b""] * MAX_PARTS))) == MAX_PARTS
    with pytest.raises(ProtocolError, match="limit is 4096"):
        pack([b""] * (MAX_PARTS + 1))
    with pytest.raises(ProtocolError, match="limit is 4096"):
        unpack([(MAX_PARTS + 1).to_bytes(2, "big") + bytes(8 * (MAX_PARTS + 1))])


@pytest.mark.parametrize(
    ("frames", "complaint"),
    [
        ([], "without frames"),
        ([b""], "cut short"),
        ([b"\0\2" + bytes(8)], "cut short"),
        ([b"\0\1" + (5).to_bytes(8, "big") + b"four"], "cut short"),
        ([b"\0\1" + (1 << 63 | 3).to_bytes(8, "big")], "frame missing"),
        ([b"\0\1" + (1 << 63 | 3).to_bytes(8, "big"), b"four"], "not as long as announced"),
        ([b"\0\0", b"extra"], "more bytes than announced"),
        ([b"\0\0extra"], "more bytes than announced"),
    ],
)
def test_frames_that_contradict_their_table_are_refused(frames: list[bytes], complaint: str) -> None:
    with pytest.raises(ProtocolError, match=complaint):
        unpack(frames)
