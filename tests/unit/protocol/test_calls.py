from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame_kernel.errors import ProtocolError
from flame_kernel.protocol.calls import (
    Failure,
    Operation,
    Outcome,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)

some_parts = st.lists(st.binary(max_size=20), max_size=4)
form = st.integers(0, 255)


@given(operation=st.sampled_from(Operation), form=form, parts=some_parts, plain=st.booleans())
def test_a_request_comes_out_as_it_went_in(operation: Operation, form: int, parts: list[bytes], plain: bool) -> None:
    request = decode_request(encode_request(operation, form, parts, plain))

    assert (request.operation, request.format, request.operands, request.plain) == (operation, form, parts, plain)


@given(outcome=st.sampled_from(Outcome), call=st.integers(0, 2**64 - 1), form=form, parts=some_parts)
def test_an_answer_comes_out_as_it_went_in(outcome: Outcome, call: int, form: int, parts: list[bytes]) -> None:
    answer = decode_answer(encode_answer(outcome, call, form, parts))

    assert (answer.outcome, answer.call, answer.format, answer.parts) == (outcome, call, form, parts)


@given(parts=some_parts)
def test_arbitrary_parts_are_read_or_refused(parts: list[bytes]) -> None:
    for read in (decode_request, decode_answer):
        with contextlib.suppress(ProtocolError):
            read(parts)


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
