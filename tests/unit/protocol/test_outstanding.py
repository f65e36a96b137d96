from __future__ import annotations

from flame_kernel.protocol.jupyter import Channel, Envelope, compose
from flame_kernel.protocol.outstanding import Outstanding


def asked(outstanding: Outstanding, msg_type: str = "execute_request") -> Envelope:
    request = compose(msg_type, {}, session="s")
    outstanding.asked(Channel.SHELL, request, request.header())
    return request


def test_a_request_is_there_until_its_reply_passes_by() -> None:
    outstanding = Outstanding()
    first, second = asked(outstanding), asked(outstanding, "kernel_info_request")
    asked(outstanding, "comm_msg")  # which no kernel replies to

    assert [envelope.header() for _, envelope in outstanding.all()] == [first.header(), second.header()]
    assert outstanding.cells() == {first.header().msg_id}
    reply = compose("execute_reply", {}, session="k", parent=first.parts[0])
    assert outstanding.replied(reply) is not None
    assert outstanding.replied(reply) is None
    assert [envelope.header() for _, envelope in outstanding.take_all()] == [second.header()]
    assert not outstanding.any


def test_what_a_process_took_with_it_leaves_what_was_asked_since() -> None:
    outstanding = Outstanding()
    lost, later = asked(outstanding), asked(outstanding)

    (taken,) = outstanding.take({lost.header().msg_id, "unheard-of"})
    assert taken[1].header() == lost.header()
    assert [envelope.header() for _, envelope in outstanding.all()] == [later.header()]
