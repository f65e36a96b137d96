"""Large messages of a calls lane travel in several."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame_kernel.buffers import OWN_FRAME, Buffer
from flame_kernel.errors import ProtocolError
from flame_kernel.protocol.conversation import Conversation, Event, Message
from flame_kernel.protocol.fragments import WHOLE, Assembler, split
from flame_kernel.protocol.frames import CHUNK, MAX_PARTS
from flame_kernel.protocol.packets import decode

MARK = b"\0"


def opening(*lengths: int) -> list[Buffer]:
    return [MARK + b"".join(length.to_bytes(8, "big") for length in lengths)]


def assembled(messages: Sequence[Sequence[Buffer]]) -> Sequence[Buffer] | None:
    assembler = Assembler()
    *before, last = messages
    for message in before:
        assert assembler.take(message) is None
    return assembler.take(last)


part = st.one_of(
    st.binary(max_size=20),
    st.integers(0, 3 * CHUNK).map(bytes),
    st.sampled_from([CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK]).map(bytearray),
)


@given(parts=st.lists(part, min_size=1, max_size=8).map(lambda parts: [b"head", *parts]))
def test_what_is_split_comes_together_again(parts: list[Buffer]) -> None:
    messages = split(parts)

    assert assembled(messages) == parts
    assert all(sum(map(len, message)) <= WHOLE for message in messages)


@given(
    lengths=st.lists(st.integers(0, 9), max_size=6),
    sent=st.lists(st.one_of(st.just([MARK]), st.lists(st.binary(max_size=9), max_size=4)), max_size=6),
)
def test_arbitrary_pieces_give_what_was_announced_or_a_protocol_error(
    lengths: list[int], sent: list[list[bytes]]
) -> None:
    assembler = Assembler()
    try:
        whole = assembler.take(opening(*lengths))
        for chunks in sent:
            if whole is not None:
                break
            whole = assembler.take([MARK, *chunks])
    except ProtocolError:
        return
    if whole is not None:
        assert list(map(len, whole)) == lengths
        assert b"".join(whole) == b"".join(b"".join(chunks) for chunks in sent)[: sum(lengths)]


def test_a_small_message_is_passed_on_as_it_is() -> None:
    parts = [b"head", bytes(WHOLE - 4)]

    assert split(parts) == [parts]
    assert Assembler().take(parts) is parts


def test_pieces_are_views_of_what_is_sent() -> None:
    large = bytearray(4 * CHUNK)

    messages = split([b"head", large])

    assert sum(chunk.obj is large for message in messages for chunk in message if isinstance(chunk, memoryview)) == 5


def test_many_parts_are_not_too_many_for_a_piece() -> None:
    parts = [b"p" * 600] * MAX_PARTS

    messages = split(parts)

    assert assembled(messages) == parts
    assert max(map(len, messages)) <= MAX_PARTS


def test_bytes_come_as_bytes_and_what_can_be_written_to_as_such() -> None:
    whole = assembled(split([b"head", bytes(2 * CHUNK), bytearray(2 * CHUNK)]))

    assert whole is not None
    assert type(whole[1]) is bytes
    writable = memoryview(whole[2])
    writable[:3] = b"new"
    assert bytes(writable[:4]) == b"new\0"


@pytest.mark.parametrize("size", [2 * CHUNK, 32 * CHUNK])
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_a_value_is_put_together_in_its_own_memory(size: int, kind: type) -> None:
    messages = split([b"head", kind(size)])
    tracemalloc.start()
    try:
        whole = assembled(messages)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert whole is not None
    assert peak < size + CHUNK


def test_a_size_that_is_only_claimed_takes_nobody_down() -> None:
    assembler = Assembler()
    assembler.take(opening(2**62))

    with pytest.raises(ProtocolError, match="no memory"):
        assembler.take([MARK, b"piece"])


def speaking(parts: Sequence[Buffer]) -> tuple[Conversation, Conversation]:
    """Return both ends of a conversation, in one of which a message has been said."""
    here, there = Conversation(pieces=True), Conversation(pieces=True)
    here.push(parts)
    return here, there


def wholes(events: Iterable[Event | None]) -> list[Sequence[Buffer]]:
    return [event.parts for event in events if isinstance(event, Message)]


def test_the_number_of_the_last_piece_is_the_whole_messages() -> None:
    here, there = speaking([b"head", bytes(3 * CHUNK)])

    events = [there.take(decode(frames)) for frames in here.outgoing()]

    assert [event.number for event in events if isinstance(event, Message)] == [5]
    assert events[:-1] == [None] * 4


def test_a_cut_in_the_middle_costs_only_what_was_under_way() -> None:
    parts = [b"head", bytes(range(256)) * (6 * CHUNK // 256)]
    here, there = speaking(parts)
    first, *lost = here.outgoing()
    events = [there.take(decode(first))]
    here.resume(there.received)  # all but the first was cut off
    again = here.outgoing()
    assert len(again) == len(lost)
    events += [there.take(decode(frames)) for frames in again]

    assert wholes(events) == [parts]


def arrived(conversation: Conversation, packet: Sequence[Buffer]) -> list[Buffer]:
    """Return a packet as a stream receives it: a large frame in the place that is known for it."""
    frames: list[Buffer] = []
    for frame in packet:
        place = conversation.place(frames, len(frame)) if len(frame) >= OWN_FRAME else None
        if place is not None:
            place[:] = frame
        frames.append(memoryview(bytes(frame)) if place is None else place)
    return frames


@given(
    parts=st.lists(part, min_size=1, max_size=8).map(lambda parts: [b"head", *parts]),
    cuts=st.lists(st.integers(0, 12), max_size=4),
)
def test_chunks_may_be_put_in_their_place_before_their_message_is_taken(parts: list[Buffer], cuts: list[int]) -> None:
    here, there = speaking(parts)
    events: list[Event | None] = []
    while packets := here.outgoing():
        cut = min(cuts.pop() if cuts else len(packets), len(packets))
        for packet in packets[:cut]:
            events.append(there.take(decode(arrived(there, packet))))  # noqa: PERF401  # what is asked depends on it
        if cut < len(packets):
            # The next came half, over a connection that ended then; all of it comes again over another.
            for place in (there.place(packets[cut][:1], len(frame)) for frame in packets[cut][1:]):
                if place is not None:
                    place[: len(place) // 2] = b"x" * (len(place) // 2)
            here.resume(there.received)
        else:
            here.take(decode(there.acknowledge()))

    assert wholes(events) == [parts]


def test_a_chunk_that_was_put_in_its_place_is_not_moved() -> None:
    here, there = speaking([b"head", bytearray(2 * CHUNK)])
    packets = here.outgoing()
    there.take(decode(packets[0]))  # the opening
    there.take(decode(packets[1]))  # the head, and what goes with it
    lent = there.place(packets[2][:1], len(packets[2][1]))
    assert lent is not None
    lent[:3] = b"abc"
    there.take(decode([packets[2][0], lent]))
    whole = there.take(decode(packets[3]))

    assert isinstance(whole, Message)
    assert b"abc" in bytes(whole.parts[1])  # nothing else ever said so
    with pytest.raises(ValueError, match="released"):  # else what is handed over as bytes would have to be a copy
        lent[0]


def test_no_place_is_known_for_what_is_not_the_next_piece() -> None:
    here, there = speaking([b"head", bytearray(3 * CHUNK)])
    packets = here.outgoing()
    size = len(packets[2][1])
    assert there.place(packets[2][:1], size) is None  # nothing of it has begun
    there.take(decode(packets[0]))
    there.take(decode(packets[1]))

    assert there.place(packets[3][:1], size) is None  # not its turn
    assert there.place(packets[1][:1], size) is None  # it has come
    assert there.place(packets[2][:1], size - 1) is None  # not what it announces
    assert there.place(packets[2], size) is None  # one more frame
    assert there.place([b"\0"], size) is None
    assert there.place([], size) is None
    assert there.place(packets[2][:1], size) is not None
