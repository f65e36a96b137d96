from __future__ import annotations

import pytest

from flame_kernel.errors import ProtocolError
from flame_kernel.protocol.delivery import Gap, Inbox, Numbered, Outbox


def due(outbox: Outbox) -> list[int | str]:
    """Take what is due: numbers of messages, and ``gap n``."""
    return [f"gap {item.number}" if isinstance(item, Gap) else item.number for item in outbox.due()]


def filled(count: int, limit_bytes: int | None = None, window_messages: int = 256, window_bytes: int = 1000) -> Outbox:
    outbox = Outbox(limit_bytes, window_messages=window_messages, window_bytes=window_bytes)
    for _ in range(count):
        outbox.push([b"12345", b"67890"])  # ten bytes
    return outbox


def test_messages_are_numbered_from_one_and_due_once() -> None:
    outbox = Outbox()

    assert (outbox.push([b"a"]), outbox.push([b"b"])) == (1, 2)
    assert outbox.due() == [Numbered(1, [b"a"]), Numbered(2, [b"b"])]
    assert outbox.due() == []


def test_what_is_acknowledged_is_let_go() -> None:
    outbox = filled(3)
    due(outbox)

    outbox.acknowledge(2)

    assert (len(outbox), outbox.kept_bytes, outbox.last) == (1, 10, 3)


def test_what_has_arrived_leaves_room_for_as_much_again() -> None:
    outbox = Outbox(window_messages=2, window_bytes=100)
    for number in range(1, 12, 2):
        outbox.push([b"1" * 60])
        outbox.push([b"2" * 60])
        assert [message.number for message in outbox.due()] == [number, number + 1]
        assert outbox.due() == []
        outbox.acknowledge(number + 1)
        assert (len(outbox), outbox.kept_bytes) == (0, 0)


def test_what_may_go_at_once_passes_through() -> None:
    outbox = Outbox(window_messages=2)
    assert [outbox.pass_through([b"a"], 1), outbox.pass_through([b"b"], 1)] == [1, 2]
    assert outbox.pass_through([b"c"], 1) == 0  # beyond the window
    assert (len(outbox), outbox.last, outbox.due()) == (2, 2, [])
    outbox.push([b"c"])
    outbox.acknowledge(1)
    assert outbox.pass_through([b"d"], 1) == 0  # behind what waits
    assert [message.number for message in outbox.due()] == [3]
    outbox.resume(1)
    assert outbox.pass_through([b"d"], 1) == 0  # behind what has to be sent again
    assert [message.parts for message in outbox.due()] == [[b"b"], [b"c"]]


def test_nothing_passes_through_where_what_is_kept_is_bounded() -> None:
    assert Outbox(limit_bytes=100).pass_through([b"a"], 1) == 0


def test_an_old_acknowledgement_changes_nothing() -> None:
    outbox = filled(3)
    due(outbox)
    outbox.acknowledge(2)

    outbox.acknowledge(1)

    assert len(outbox) == 1


def test_what_was_never_sent_cannot_be_acknowledged() -> None:
    outbox = filled(3, window_messages=2)
    due(outbox)

    with pytest.raises(ProtocolError, match="message 3 was acknowledged, but 2 is the last that was sent"):
        outbox.acknowledge(3)
    with pytest.raises(ProtocolError):
        outbox.resume(3)


def test_a_new_connection_begins_after_what_has_arrived() -> None:
    outbox = filled(4)
    due(outbox)

    outbox.resume(2)

    assert due(outbox) == [3, 4]


def test_the_window_counts_messages() -> None:
    outbox = filled(5, window_messages=2)

    assert due(outbox) == [1, 2]
    outbox.acknowledge(1)
    assert due(outbox) == [3]
    outbox.acknowledge(3)
    assert due(outbox) == [4, 5]


def test_the_window_counts_bytes() -> None:
    outbox = filled(5, window_bytes=20)

    assert due(outbox) == [1, 2]
    outbox.acknowledge(1)
    assert due(outbox) == [3]


def test_a_message_larger_than_the_window_goes_out_alone() -> None:
    outbox = Outbox(window_bytes=10)
    outbox.push([b"x" * 100])
    outbox.push([b"y"])

    assert due(outbox) == [1]
    outbox.acknowledge(1)
    assert due(outbox) == [2]


def test_a_new_connection_has_the_whole_window() -> None:
    outbox = filled(5, window_messages=2)
    due(outbox)

    outbox.resume(0)

    assert due(outbox) == [1, 2]


def test_the_oldest_make_room_and_the_gap_is_told() -> None:
    outbox = filled(5, limit_bytes=20)

    assert (len(outbox), outbox.kept_bytes) == (2, 20)
    assert due(outbox) == ["gap 3", 4, 5]
    assert due(outbox) == []


def test_the_newest_message_is_kept_however_large() -> None:
    outbox = filled(2, limit_bytes=20)

    outbox.push([b"x" * 1000])

    assert due(outbox) == ["gap 2", 3]


def test_what_made_room_while_under_way_is_a_gap_only_if_it_did_not_arrive() -> None:
    outbox = filled(2, limit_bytes=20)
    assert due(outbox) == [1, 2]
    outbox.push([b"12345", b"67890"])  # 1 is under way and no longer kept

    assert due(outbox) == [3]
    outbox.resume(0)
    assert due(outbox) == ["gap 1", 2, 3]
    outbox.resume(1)
    assert due(outbox) == [2, 3]


def test_what_makes_room_while_under_way_stays_under_way() -> None:
    outbox = filled(2, limit_bytes=20, window_messages=2)
    assert due(outbox) == [1, 2]
    for _ in range(10):
        outbox.push([b"12345", b"67890"])

    assert due(outbox) == [], "a reader that takes nothing is sent nothing beyond the window, gaps included"
    outbox.acknowledge(1)
    assert due(outbox) == ["gap 10", 11]


def test_what_makes_room_while_under_way_counts_its_bytes() -> None:
    outbox = filled(2, limit_bytes=20, window_bytes=20)
    assert due(outbox) == [1, 2]
    outbox.push([b"12345", b"67890"])

    assert due(outbox) == []
    outbox.acknowledge(1)
    assert due(outbox) == [3]


def test_a_gap_is_told_again_on_a_new_connection_until_it_is_acknowledged() -> None:
    outbox = filled(3, limit_bytes=10)
    assert due(outbox) == ["gap 2", 3]

    outbox.resume(0)
    assert due(outbox) == ["gap 2", 3]
    outbox.acknowledge(2)
    outbox.resume(2)
    assert due(outbox) == [3]


def test_messages_arrive_once_in_order() -> None:
    inbox = Inbox()

    assert [inbox.accept(n) for n in (1, 2, 2, 1, 4, 3)] == [1, 1, 0, 0, None, 1]
    assert inbox.received == 3


def test_of_a_row_those_that_have_not_come_yet_are_acted_on() -> None:
    inbox = Inbox(received=3)

    assert [inbox.accept(first, 4) for first in (1, 1, 3, 8, 7)] == [1, 0, 2, None, 4]
    assert inbox.received == 10


def test_a_gap_counts_only_what_had_not_arrived() -> None:
    inbox = Inbox(received=3)

    assert (inbox.skip(2), inbox.skip(5), inbox.skip(5)) == (0, 2, 0)
    assert inbox.accept(6) == 1


def test_an_acknowledgement_is_due_until_it_is_said() -> None:
    inbox = Inbox()
    assert not inbox.ack_due

    inbox.accept(1)
    assert inbox.ack_due
    assert inbox.acknowledgement() == 1
    assert not inbox.ack_due
