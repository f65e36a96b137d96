from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from flame_kernel.protocol import messages
from flame_kernel.protocol.conversation import Conversation, Message
from flame_kernel.protocol.delivery import Outbox
from flame_kernel.protocol.frames import pack, unpack
from flame_kernel.protocol.jupyter import Channel, Envelope, compose, to_link
from flame_kernel.server import journal as journals
from flame_kernel.server.journal import Journal, names
from tests.unit.protocol.test_conversation import End, Frames, Network

NAME = "a1"


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal.begin(tmp_path, NAME, "ada@laptop")


def again(folder: Path) -> tuple[Journal, Any]:
    """Read a journal as the next server does."""
    journal = Journal(folder, NAME)
    return journal, journal.restore()


def request(msg_type: str = "execute_request", content: Any = None) -> Envelope:
    return compose(msg_type, content or {"code": "1"}, session="s", identities=(b"front",))


def test_what_was_written_is_read_again(journal: Journal, tmp_path: Path) -> None:
    written = [[b"one"], [b"", memoryview(b"two"), bytearray(b"three")], []]
    for number, parts in enumerate(written, 1):
        assert journal.put(number, pack(parts))
    read, kept = again(tmp_path)

    assert (kept.client, kept.received, kept.first, kept.weights) == (
        "ada@laptop",
        0,
        1,
        [len(pack(parts)[0]) for parts in written],
    )
    for one in (journal, read):
        assert [[bytes(part) for part in unpack(one.get(number))] for number in (1, 2, 3)] == [
            [bytes(part) for part in parts] for parts in written
        ]


def test_what_is_forgotten_is_not_there_any_more_once_its_segment_is_full(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "_FULL_BYTES", 100)
    for number in range(1, 11):
        journal.put(number, pack([b"." * 50]))
    journal.forget(7)

    _, kept = again(tmp_path)
    assert kept.first in (7, 8)
    assert kept.first + len(kept.weights) == 11


def test_a_journal_whose_client_has_everything_stays_small(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "_TIDY_BYTES", 1_000)
    for number in range(1, 101):
        journal.put(number, pack([b"." * 90]))
        journal.forget(number)

    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 2_000
    assert len(list(tmp_path.iterdir())) == 1
    _, kept = again(tmp_path)
    assert kept.first + len(kept.weights) == 101


def test_requests_without_a_reply_outlive_their_segment(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, waiting = request(), request("kernel_info_request", {})
    journal.taken(1, to_link(Channel.SHELL, answered))
    journal.taken(2, to_link(Channel.CONTROL, waiting))
    journal.taken(3, [messages.TOPIC, messages.encode(messages.Interrupt(1))])
    journal.taken(4, to_link(Channel.SHELL, compose("comm_msg", {}, session="s")))
    reply = compose("execute_reply", {}, session="k", parent=answered.parts[0], identities=answered.identities)
    journal.outstanding.replied(reply)
    journal.put(1, pack(to_link(Channel.SHELL, reply)))
    monkeypatch.setattr(journals, "_TIDY_BYTES", 1)
    journal.forget(1)  # which begins a new segment
    read, kept = again(tmp_path)

    assert kept.received == 4
    for one in (journal, read):
        ((channel, envelope),) = one.outstanding.all()
        assert (channel, envelope.identities, bytes(envelope.parts[0])) == (
            Channel.CONTROL,
            (b"front",),
            bytes(waiting.parts[0]),
        )


def test_a_reply_is_found_when_the_journal_is_read(journal: Journal, tmp_path: Path) -> None:
    asked = request()
    journal.taken(1, to_link(Channel.SHELL, asked))
    read, _ = again(tmp_path)
    assert len(read.outstanding.all()) == 1
    read.put(1, pack(to_link(Channel.SHELL, compose("execute_reply", {}, session="k", parent=asked.parts[0]))))

    assert again(tmp_path)[0].outstanding.all() == []


@given(cut=st.integers(1, 10_000))
def test_a_record_that_was_being_written_is_as_if_it_never_was(cut: int) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        journal = Journal.begin(folder, NAME, "ada@laptop")
        (path,) = folder.iterdir()
        ends = [path.stat().st_size]
        for number in range(1, 6):
            journal.put(number, pack([b"%d" % number * 50, b"end"]))
            ends.append(path.stat().st_size)
        size = max(ends[0], ends[-1] - cut)
        os.truncate(path, size)
        read, kept = again(folder)
        whole = sum(end <= size for end in ends) - 1

        assert len(kept.weights) == whole
        assert read.put(whole + 1, pack([b"next"]))
        assert unpack(again(folder)[0].get(whole + 1)) == [b"next"]
    finally:
        shutil.rmtree(folder)


def test_without_room_everything_stays_in_memory(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = Outbox(shelf=journal, memory_bytes=1)
    outbox.push([b"on the shelf"])

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwritev", full)
    outbox.push([b"in memory"])
    monkeypatch.undo()
    outbox.push([b"in memory too, for the numbers have to be dense"])

    assert [bytes(message.parts[0])[:2] for message in outbox.due()] == [b"on", b"in", b"in"]  # type: ignore[union-attr]
    outbox.acknowledge(3)
    assert len(outbox) == 0
    assert caplog.text.count("No space left") == 1


def test_what_was_removed_can_still_be_sent(journal: Journal, tmp_path: Path) -> None:
    outbox = Outbox(shelf=journal, memory_bytes=0)
    outbox.push([b"last words"])
    journal.remove()
    outbox.push([b"the very last"])

    assert list(tmp_path.iterdir()) == []
    assert [bytes(message.parts[0]) for message in outbox.due()] == [b"last words", b"the very last"]  # type: ignore[union-attr]


def test_a_message_in_more_parts_than_the_system_takes_at_once(journal: Journal, tmp_path: Path) -> None:
    parts = [b"%05d" % number * 4_000 for number in range(1_200)]
    journal.put(1, pack(parts))

    assert unpack(again(tmp_path)[0].get(1)) == parts


def test_conversations_are_found_by_their_names(journal: Journal, tmp_path: Path) -> None:
    Journal.begin(tmp_path, "b2", "bob")
    (tmp_path / "session.json").touch()

    assert names(tmp_path) == {NAME, "b2"}


class Restarts(Network):
    """The network of conversations, with a server that is killed now and then."""

    @initialize(
        limit=st.one_of(st.none(), st.integers(1, 60)),
        window_messages=st.integers(1, 4),
        window_bytes=st.integers(1, 40),
        memory=st.integers(0, 50),
        full=st.integers(60, 300),
        tidy=st.integers(60, 300),
    )
    def start(  # type: ignore[override]
        self, limit: int | None, window_messages: int, window_bytes: int, memory: int, full: int, tidy: int
    ) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(journals, "_FULL_BYTES", full)
        self.patch.setattr(journals, "_TIDY_BYTES", tidy)
        self.limit = limit
        self.memory = memory
        self.journal = Journal.begin(self.folder, NAME, "ada")
        # There is neither on a session lane.
        super().start(limit, window_messages, window_bytes, rows=False, pieces=False)
        self.begin(self.server)

    def begin(self, end: End) -> None:
        end.conversation = Conversation()
        end.conversation._outbox = Outbox(
            self.limit,
            shelf=self.journal,
            memory_bytes=self.memory,
            window_messages=end.window_messages,
            window_bytes=end.window_bytes,
        )

    def take(self, end: End, frames: Frames) -> None:
        before = end.conversation.take

        def taken(packet: Any) -> Any:
            event = before(packet)
            if end is self.server and isinstance(event, Message):
                self.journal.taken(event.number, event.parts)
            return event

        end.conversation.take = taken  # type: ignore[method-assign]
        try:
            super().take(end, frames)
        finally:
            del end.conversation.take

    @rule()
    def the_server_is_killed_and_started_again(self) -> None:
        self.journal = Journal(self.folder, NAME)
        kept = self.journal.restore()
        self.begin(self.server)
        self.server.conversation.restore(kept.received, kept.first, kept.weights)
        self.greet()

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            if hasattr(self, "folder"):
                self.patch.undo()
                shutil.rmtree(self.folder)


Restarts.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestRestarts = Restarts.TestCase
