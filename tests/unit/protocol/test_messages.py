from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame_kernel.errors import ProtocolError, UnknownSession
from flame_kernel.protocol import messages
from flame_kernel.protocol.messages import Hello, Refusal, Welcome

REQUESTS: list[Any] = [
    messages.Interrupt(1),
    messages.Restart(2),
    messages.Close(3),
    messages.ListSessions(4),
    messages.ListKernels(5),
]
ANSWERS: list[Any] = [
    messages.Done(
        1,
        sessions=(messages.SessionInfo("work", "python3", "ready", 7, 1.5, 2),),
        kernels=(messages.KernelInfo("ir", "R", "R"),),
    ),
    messages.Failed(2, Refusal("limit", "too many")),
    messages.Died("it was killed"),
    messages.Restarted(9),
    messages.Ended(),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_a_request_comes_out_as_it_went_in(request_: Any) -> None:
    assert messages.decode_request(messages.encode(request_)) == request_


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: type(answer).__name__)
def test_an_answer_comes_out_as_it_went_in(answer: Any) -> None:
    assert messages.decode_answer(messages.encode(answer)) == answer


def test_greetings_come_out_as_they_went_in() -> None:
    hello = Hello(versions=(1, 2), lane="session", attachment="ab", session="work", resumed=True, client="ada@laptop")
    welcome = Welcome(version=1, host="gpu1", session="work", calls=True, pid=4)

    assert messages.decode(messages.encode(hello), Hello) == hello
    assert messages.decode(messages.encode(welcome), Welcome) == welcome


def test_fields_of_a_newer_version_are_passed_over() -> None:
    assert messages.decode(b'{"version":1,"colour":"red"}', Welcome) == Welcome(version=1)


def test_a_refusal_is_the_error_that_it_stands_for() -> None:
    error = Refusal.of(UnknownSession("no session 'x'")).error()

    assert type(error) is UnknownSession
    assert str(error) == "no session 'x'"


DAMAGED = [
    b"",
    b"{",
    b"null",
    b"[]",
    b'{"type":"unknown","id":1}',
    b'{"type":"interrupt","id":"1"}',
    b'"\xff"',
    b'{"code":"\xff"}',
]
TOO_DEEP = b'{"version":1,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.mark.parametrize("data", [*DAMAGED, TOO_DEEP], ids=lambda data: repr(data[:30]))
@pytest.mark.parametrize("kind", [Hello, Welcome, Refusal, messages.Request, messages.Answer])
def test_what_is_no_message_is_a_protocol_error(data: bytes, kind: Any) -> None:
    with pytest.raises(ProtocolError):
        messages.decode(data, kind)


@given(data=st.binary(max_size=60))
def test_arbitrary_bytes_are_a_message_or_a_protocol_error(data: bytes) -> None:
    for kind in (Hello, Welcome, Refusal):
        with contextlib.suppress(ProtocolError):
            assert isinstance(messages.decode(data, kind), msgspec.Struct)
