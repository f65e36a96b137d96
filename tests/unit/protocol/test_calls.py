from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame_kernel.errors import ProtocolError
from flame_kernel.protocol.bundles import bundled
from flame_kernel.protocol.calls import (
    Failure,
    Operation,
    Outcome,
    asked,
    call_number,
    decode_answer,
    decode_answers,
    decode_requests,
    encode_answer,
    encode_request,
    message_of,
)

some_parts = st.lists(st.binary(max_size=20), max_size=4)
form = st.integers(0, 255)


flag = st.booleans()
number = st.integers(1, 2**53)


@given(sent=st.tuples(st.sampled_from(Operation), form, flag, flag, flag), parts=some_parts, message=number)
def test_a_request_comes_out_as_it_went_in(
    sent: tuple[Operation, int, bool, bool, bool], parts: list[bytes], message: int
) -> None:
    operation, form, plain, oneway, rich = sent
    ((call, head, operands),) = decode_requests(message, encode_request(operation, form, parts, plain, oneway, rich))

    assert (call, asked(bytes(head)), operands) == (call_number(message), sent, parts)


@given(requests=st.lists(st.tuples(st.sampled_from(Operation), st.binary(max_size=20)), max_size=200), message=number)
def test_requests_of_a_bundle_are_numbered_by_their_places(
    requests: list[tuple[Operation, bytes]], message: int
) -> None:
    found = []
    for parts, count in bundled([encode_request(operation, 1, [operand]) for operation, operand in requests]):
        read = decode_requests(message, parts)
        assert [call for call, _, _ in read] == [call_number(message, place) for place in range(count)]
        assert {message_of(call) for call, _, _ in read} == {message}
        found += [(asked(bytes(head)).operation, *operands) for _, head, operands in read]
    assert found == requests


@given(answers=st.lists(st.tuples(st.sampled_from(Outcome), number, st.binary(max_size=20)), max_size=200))
def test_answers_of_a_bundle_come_out_as_they_went_in(answers: list[tuple[Outcome, int, bytes]]) -> None:
    messages = bundled([encode_answer(outcome, call, 1, [value]) for outcome, call, value in answers])
    read = [answer for parts, _ in messages for answer in decode_answers(parts)]

    assert [(answer.outcome, answer.call, *answer.parts) for answer in read] == answers


@given(outcome=st.sampled_from(Outcome), call=st.integers(0, 2**64 - 1), form=form, parts=some_parts)
def test_an_answer_comes_out_as_it_went_in(outcome: Outcome, call: int, form: int, parts: list[bytes]) -> None:
    sent = encode_answer(outcome, call, form, parts)
    answer = decode_answer(sent)

    assert decode_answers(sent) == [answer]
    assert (answer.outcome, answer.call, answer.format, answer.parts) == (outcome, call, form, parts)


@given(parts=some_parts)
def test_arbitrary_parts_are_read_or_refused(parts: list[bytes]) -> None:
    for read in (decode_answer, decode_answers):
        with contextlib.suppress(ProtocolError):
            read(parts)
    with contextlib.suppress(ProtocolError):
        for _, head, _ in decode_requests(1, parts):
            asked(bytes(head))


@given(ename=st.text(), evalue=st.text(), traceback=st.text())
def test_a_failure_comes_out_as_it_went_in(ename: str, evalue: str, traceback: str) -> None:
    failure = Failure(ename, evalue, traceback)

    assert Failure.decode(failure.encode()) == failure


def test_a_message_with_lone_surrogates_crosses() -> None:
    failure = Failure("UnicodeError", "file-\udcff", "")

    assert Failure.decode(memoryview(failure.encode())) == failure


@given(data=st.binary(max_size=40))
def test_arbitrary_bytes_are_a_failure_or_a_protocol_error(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        Failure.decode(data)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"null", b'{"ename": "E"}', b"\xff", b"[" * 100_000], ids=lambda data: repr(data[:8])
)
def test_what_is_no_failure_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Failure.decode(data)


def test_the_numbers_on_the_wire_do_not_change_by_accident() -> None:
    assert {operation.name: operation.value for operation in Operation} == {
        "EVALUATE": 1,
        "EXECUTE": 2,
        "CALL": 3,
        "GET": 4,
        "PUSH": 5,
        "PULL": 6,
        "OUTCOME": 7,
        "PING": 8,
        "DELETE": 32,
        "NAMES": 33,
        "REFER": 34,
        "OPERATE": 35,
        "DESCRIBE": 36,
        "NEXT": 37,
        "CLOSE": 38,
        "BATCH": 39,
        "HOLD": 40,
        "RELEASE": 41,
        "INTERRUPT": 42,
        "SO_FAR": 43,
        "ABOUT": 44,
        "PULL_UP_TO": 45,
        "FIND": 64,
        "WHERE": 65,
        "READ": 66,
        "SUMS": 67,
        "BEGIN": 68,
        "WRITE": 69,
        "FINISH": 70,
        "SAVE": 71,
        "DISCARD": 72,
        "FOLDERS": 73,
        "LINKS": 74,
        "SETTLE": 75,
        "SENDMODULE": 76,
        "GETMODULE": 77,
        "CONNECT": 96,
        "LISTEN": 97,
        "ACCEPT": 98,
        "SEND": 99,
        "CREDIT": 100,
        "ABANDON": 101,
    }
    assert [(outcome.name, outcome.value) for outcome in Outcome] == [
        ("RESULT", 1),
        ("ERROR", 2),
        ("STDOUT", 3),
        ("STDERR", 4),
        ("REFERENCE", 5),
        ("PIECE", 6),
        ("NOTE", 7),
        ("DISPLAY", 8),
    ]
