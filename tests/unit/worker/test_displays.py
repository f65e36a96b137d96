"""The display publisher of a real ipykernel, taught to look who publishes."""

from __future__ import annotations

import contextvars
import datetime
import json
from typing import Any

import numpy as np
import pytest
from ipykernel.zmqshell import ZMQDisplayPublisher
from jupyter_client.session import Session

from flame_kernel.protocol.calls import Outcome
from flame_kernel.worker import displays
from flame_kernel.worker.streams import Sink
from tests.unit.worker.telling import Told


class Sent(Session):
    """Keeps what would be sent."""

    def send(self, stream: Any, msg_or_type: Any, *args: Any, **kwargs: Any) -> Any:
        stream.append(msg_or_type)


@pytest.fixture
def sent() -> list[Any]:
    return []


@pytest.fixture
def publisher(sent: list[Any]) -> ZMQDisplayPublisher:
    publisher = ZMQDisplayPublisher(session=Sent(key=b""), pub_socket=sent)
    displays.listen(publisher)
    return publisher


def sink(rich: bool) -> tuple[Sink, list[tuple[Outcome, str]]]:
    call = Told()
    return Sink(call, rich), call.said


def test_outside_of_calls_nothing_changes(publisher: ZMQDisplayPublisher, sent: list[Any]) -> None:
    publisher.publish({"text/plain": "1"})
    publisher.clear_output(wait=True)
    assert [message["msg_type"] for message in sent] == ["display_data", "clear_output"]


def test_a_call_that_takes_rich_output_gets_the_message(publisher: ZMQDisplayPublisher, sent: list[Any]) -> None:
    calls, got = sink(rich=True)
    with calls:
        publisher.publish({"text/plain": "1"}, transient={"display_id": "a"}, update=True)
        publisher.clear_output(wait=True)
    assert sent == []
    assert [(stream, json.loads(told)) for stream, told in got] == [
        (
            Outcome.DISPLAY,
            {
                "type": "update_display_data",
                "content": {"data": {"text/plain": "1"}, "metadata": {}, "transient": {"display_id": "a"}},
            },
        ),
        (Outcome.DISPLAY, {"type": "clear_output", "content": {"wait": True}}),
    ]
    publisher.publish({"text/plain": "2"})
    assert len(sent) == 1


def test_a_call_that_takes_text_alone_gets_text(publisher: ZMQDisplayPublisher, sent: list[Any]) -> None:
    calls, got = sink(rich=False)
    with calls:
        calls.write(Outcome.STDOUT, "no line end: ")
        publisher.publish({"text/plain": "1", "text/html": "<b>1</b>"})
        publisher.publish({"text/html": "<b>2</b>"})
        publisher.clear_output()
    assert got == [(Outcome.STDOUT, "no line end: "), (Outcome.STDOUT, "1\n")]
    assert sent == []


def test_what_json_has_no_form_for_is_written_as_jupyter_writes_it(publisher: ZMQDisplayPublisher) -> None:
    calls, got = sink(rich=True)
    when = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    with calls:
        publisher.publish({"image/png": b"\x89PNG", "application/x+json": [np.int64(3), np.float32(0.5), when]})
    ((_, told),) = got
    data = json.loads(told)["content"]["data"]
    assert data["image/png"].strip() == "iVBORw=="
    assert data["application/x+json"][:2] == [3, 0.5]
    assert data["application/x+json"][2].startswith("2026-01-02T00:00:00")


def test_what_can_not_be_written_fails_there_and_leaves_no_hook(
    publisher: ZMQDisplayPublisher, sent: list[Any]
) -> None:
    calls, got = sink(rich=True)
    with calls, pytest.raises(TypeError, match="has no form in JSON"):
        publisher.publish({"application/x+json": object()})
    publisher.publish({"text/plain": "1"})
    assert len(sent) == 1
    assert got == []


def test_a_publisher_without_hooks_is_left_as_it_is() -> None:
    class Other:
        def publish(self) -> None: ...

    other = Other()
    displays.listen(other)
    assert vars(other) == {}


def test_what_is_displayed_after_the_end_of_the_call_is_the_sessions(
    publisher: ZMQDisplayPublisher, sent: list[Any]
) -> None:
    calls, got = sink(rich=True)
    with calls:
        context = contextvars.copy_context()
    context.run(publisher.publish, {"text/plain": "1"})
    assert got == []
    assert len(sent) == 1
