from __future__ import annotations

from typing import Any

import pytest

from flame_kernel.errors import SessionDied
from flame_kernel.kernel.answers import Answers
from flame_kernel.kernel.begun import Begun
from flame_kernel.protocol.jupyter import Channel, Envelope, compose

ERROR = SessionDied("it was killed")


def asked(**content: Any) -> Envelope:
    return compose("execute_request", {"code": "1", **content}, session="frontend", identities=(b"peer",))


def said(request: Envelope, msg_type: str, topic: bytes | None = None, **content: Any) -> Envelope:
    topic = b"kernel.1." + msg_type.encode() if topic is None else topic
    return compose(msg_type, content, session="kernel", parent=request.parts[0], identities=(topic,))


def lost(request: Envelope, *heard: Envelope) -> list[tuple[str, dict[str, Any]]]:
    """Return what a cell is told when its session goes after it has said some things."""
    got: list[Envelope] = []
    answers = Answers(lambda channel, envelope: got.append(envelope))
    for envelope in heard:
        answers.begun.heard(envelope)
    answers.session_lost([(Channel.SHELL, request)], ERROR, b"{}")
    return [(envelope.header().msg_type, envelope.content()) for envelope in got]


def test_what_the_session_has_said_is_not_said_again_and_the_cell_keeps_its_number() -> None:
    cell = asked()
    told = lost(
        cell,
        said(cell, "status", execution_state="busy"),
        said(cell, "execute_input", code="1", execution_count=7),
    )
    assert [kind for kind, _ in told] == ["error", "execute_reply", "status"]
    assert told[1][1]["execution_count"] == 7
    assert told[2][1]["execution_state"] == "idle"


def test_what_it_had_no_time_to_say_is_said() -> None:
    cell = asked()
    told = lost(cell, said(cell, "status", execution_state="busy"))
    assert [kind for kind, _ in told] == ["execute_input", "error", "execute_reply", "status"]
    assert lost(cell)[0] == ("status", {"execution_state": "busy"})
    assert [kind for kind, _ in lost(asked(silent=True))] == ["status", "error", "execute_reply", "status"]


def test_what_was_said_of_others_or_cannot_be_read_does_not_count() -> None:
    cell, other = asked(), asked()
    unreadable = Envelope((b"status",), (b"{}", b"{}", b"{}", b"{"))
    no_object = Envelope((b"status",), (cell.parts[0], cell.parts[0], b"{}", b"[]"))
    told = lost(cell, said(other, "status", execution_state="busy"), unreadable, no_object)
    assert [kind for kind, _ in told] == ["status", "execute_input", "error", "execute_reply", "status"]


@pytest.mark.parametrize("end", ["idle", "another process"])
def test_nothing_is_kept_of_what_has_ended(end: str) -> None:
    begun, cell = Begun(), asked()
    begun.heard(said(cell, "status", execution_state="busy"))
    begun.heard(said(cell, "execute_input", code="1", execution_count=3))
    assert cell in begun
    assert begun.count(cell) == 3
    if end == "idle":
        begun.heard(said(cell, "status", execution_state="idle"))
    else:
        begun.forget()
    assert cell not in begun
    assert begun.count(cell) is None
