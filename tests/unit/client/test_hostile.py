"""Whatever a session answers, the caller gets a value or an error of ours, and nothing is unpickled unasked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flame_kernel.client.calls.calls import Calls
from flame_kernel.client.calls.ways import Ways
from flame_kernel.errors import FlameError, ProtocolError, SerializationError
from flame_kernel.protocol.calls import CallAnswer, Failure, Outcome, decode_answer
from flame_kernel.protocol.references import Reference
from flame_kernel.serialize import dump
from flame_kernel.transport.interface import Endpoint

lasting = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])


class NoPlace:
    endpoint = Endpoint("ipc:///nowhere", "here")
    session = "work"
    where = "here, session 'work'"
    conversation = ""
    most_bytes = 0
    ways = Ways(endpoint)

    def require_calls(self) -> None:
        pass

    def show(self, stream: Outcome, text: str) -> None:
        pass

    def later(self, seconds: float, function: Callable[[], object]) -> None:
        pass


@pytest.fixture(params=[True, False], ids=["plain", "pickle"])
def calls(request: pytest.FixtureRequest) -> Iterator[Calls]:
    with zmq.Context() as context:
        calls = Calls(context, NoPlace(), request.param)
        calls._pipeline = None
        yield calls
        calls.finish(FlameError("over"))
        calls.close()


@lasting
@given(parts=st.lists(st.binary(max_size=30), max_size=4))
def test_answers_that_are_none(parts: list[bytes]) -> None:
    try:
        decode_answer(parts)
    except ProtocolError:
        return


@lasting
@given(
    outcome=st.sampled_from([Outcome.RESULT, Outcome.ERROR, Outcome.REFERENCE]),
    form=st.integers(1, 255),
    parts=st.lists(st.binary(max_size=40), max_size=3),
)
def test_answers_full_of_junk(calls: Calls, outcome: Outcome, form: int, parts: list[bytes]) -> None:
    calls.finish(FlameError("no thread is started for a reference"))
    try:
        settled = calls.settle(CallAnswer(outcome, form, 1, parts))
    except ProtocolError:
        return  # of an ERROR whose description can't be read
    assert settled is None or settled[1] is None or isinstance(settled[1], FlameError)


references = st.fixed_dictionaries(
    {},
    optional={
        name: st.none() | st.integers() | st.text(max_size=8) | st.lists(st.integers(), max_size=2)
        for name in ("epoch", "number", "kind", "type", "preview")
    },
)


@lasting
@given(fields=references)
def test_references_that_are_none(fields: dict[str, Any]) -> None:
    try:
        reference = Reference.decode(json.dumps(fields).encode())
    except ProtocolError:
        return
    assert type(reference.number) is int
    assert all(type(text) is str for text in (reference.epoch, reference.kind, reference.type, reference.preview))


def test_a_plain_client_unpickles_no_exception_and_no_value(tmp_path: Any) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return open, (str(tmp_path / "unpickled"), "w")

    form, parts = dump(Trap())
    with zmq.Context() as context:
        calls = Calls(context, NoPlace(), plain=True)
        _, error = calls.settle(CallAnswer(Outcome.RESULT, form, 1, parts)) or (None, None)
        assert isinstance(error, SerializationError)
        described = Failure("ValueError", "no", "Traceback").encode()
        _, error = calls.settle(CallAnswer(Outcome.ERROR, form, 1, [described, *parts])) or (None, None)
        assert type(error) is ValueError
        calls.close()
    assert not (tmp_path / "unpickled").exists()
