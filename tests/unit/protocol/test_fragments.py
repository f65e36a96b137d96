"""Large messages of a calls lane travel in several."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame_kernel.buffers import Buffer
from flame_kernel.errors import ProtocolError
from flame_kernel.protocol.conversation import Conversation, Message
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


def test_the_number_of_the_last_piece_is_the_whole_messages() -> None:
    here, there, assembler = Conversation(), Conversation(), Assembler()
    numbers = [here.push(message) for message in split([b"head", bytes(3 * CHUNK)])]

    events = [there.take(decode(frames)) for frames in here.outgoing()]

    taken = [(event.number, assembler.take(event.parts)) for event in events if isinstance(event, Message)]
    assert [number for number, whole in taken if whole is not None] == [numbers[-1]]


def test_a_cut_in_the_middle_costs_only_what_was_under_way() -> None:
    here, there, assembler = Conversation(), Conversation(), Assembler()
    parts = [b"head", bytes(range(256)) * (6 * CHUNK // 256)]
    for message in split(parts):
        here.push(message)
    first, *lost = here.outgoing()
    events = [there.take(decode(first))]
    here.resume(there.received)  # all but the first was cut off
    again = here.outgoing()
    assert len(again) == len(lost)
    events += [there.take(decode(frames)) for frames in again]

    taken = [assembler.take(event.parts) for event in events if isinstance(event, Message)]

    assert [whole for whole in taken if whole is not None] == [parts]
