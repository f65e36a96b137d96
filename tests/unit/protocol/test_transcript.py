"""What a transcript gives back leaves nbclient, which writes notebooks, with the same outputs as all it was given."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionComplete

from flame_kernel.errors import ProtocolError
from flame_kernel.protocol.jupyter import Envelope, compose, write_json
from flame_kernel.protocol.transcript import Transcript
from tests.unit.protocol.test_screen import Terminal

CELLS = ("one", "two")
PLENTY = 10_000_000
MODEL = {"_model_module": "@jupyter-widgets/controls", "_model_name": "IntProgressModel"}
ERROR = {"ename": "E", "evalue": "", "traceback": []}


def message(kind: str, content: dict[str, Any], cell: str = "one", buffers: tuple[bytes, ...] = ()) -> Envelope:
    parent = compose("execute_request", {}, session="s", msg_id=cell).parts[0]
    envelope = compose(kind, content, session="s", parent=parent, identities=(kind.encode(),))
    return Envelope(envelope.identities, (*envelope.parts, *buffers))


def stream(text: str, name: str = "stdout", cell: str = "one") -> Envelope:
    return message("stream", {"name": name, "text": text}, cell)


def display(text: str, display_id: str = "", kind: str = "display_data", cell: str = "one") -> Envelope:
    transient = {"display_id": display_id} if display_id else {}
    return message(kind, {"data": {"text/plain": text}, "metadata": {}, "transient": transient}, cell)


def update(text: str, display_id: str, cell: str = "one") -> Envelope:
    return display(text, display_id, "update_display_data", cell)


def clear(wait: bool = False, cell: str = "one") -> Envelope:
    return message("clear_output", {"wait": wait}, cell)


def comm(kind: str, comm_id: str, data: dict[str, Any], buffers: tuple[bytes, ...] = ()) -> Envelope:
    more = {"target_name": "jupyter.widget", "target_module": None} if kind == "comm_open" else {}
    return message(kind, {"comm_id": comm_id, "data": data, **more}, buffers=buffers)


def widget(comm_id: str, state: dict[str, Any], kind: str = "comm_msg", blob: bytes = b"") -> Envelope:
    method = {"method": "update"} if kind == "comm_msg" else {}
    paths = [["blob"]] if blob else []
    state = {**MODEL, **state} if kind == "comm_open" else state
    return comm(kind, comm_id, {**method, "state": state, "buffer_paths": paths}, (blob,) if blob else ())


def coalesced(messages: list[Envelope], limit_bytes: int = PLENTY) -> list[Envelope]:
    transcript = Transcript(limit_bytes)
    for one in messages:
        transcript.take(one)
    return transcript.messages()


class Notebook:
    """A notebook that nbclient fills, a cell for each parent."""

    def __init__(self, messages: list[Envelope]) -> None:
        self.cells = {name: nbformat.v4.new_code_cell() for name in CELLS}
        notebook = nbformat.v4.new_notebook(cells=list(self.cells.values()))
        self.clients = {name: NotebookClient(notebook, record_timing=False) for name in CELLS}
        first = self.clients[CELLS[0]]
        for name in CELLS:  # what waits to be cleared is a client's; all else is common
            self.clients[name]._display_id_map = first._display_id_map
            self.clients[name].widget_state, self.clients[name].widget_buffers = {}, {}
            self.clients[name].comm_objects = {}
            self.clients[name].clear_before_next_output = False
        for one in messages:
            self.take(one)

    def take(self, envelope: Envelope) -> None:
        parent = envelope.parent()
        assert parent is not None
        buffers = [memoryview(part) for part in envelope.parts[4:]]
        told = {
            "msg_type": envelope.header().msg_type,
            "header": {"msg_type": envelope.header().msg_type},
            "parent_header": {"msg_id": parent.msg_id},
            "content": json.loads(bytes(envelope.parts[3])),
            "buffers": buffers,
        }
        with suppress(CellExecutionComplete):
            self.clients[parent.msg_id].process_message(
                nbformat.from_dict(told) | {"buffers": buffers},
                self.cells[parent.msg_id],
                CELLS.index(parent.msg_id),
            )

    @property
    def outputs(self) -> list[list[Any]]:
        return [_comparable(cell.outputs) for cell in self.cells.values()]

    @property
    def widgets(self) -> tuple[dict[str, Any], dict[str, Any]]:
        client = self.clients["one"]
        return client.widget_state, {key: list(value.values()) for key, value in client.widget_buffers.items()}


def _comparable(outputs: list[Any]) -> list[Any]:
    """Return outputs with texts joined, as nbformat's readers do, and as a screen shows them."""
    joined: list[Any] = []
    for output in map(dict, outputs):
        last = joined[-1] if joined else {}
        if output["output_type"] == "stream" and output["name"] == last.get("name"):
            last["text"] += output["text"]
        else:
            joined.append(output)
    return [output | {"text": Terminal(output["text"])} if "text" in output else output for output in joined]


TEXTS = st.sampled_from(["a", "bc\n", "\r", "\r10 %", "\r\n", "|\b", "longer\rx"])
NAMES = st.sampled_from(["stdout", "stderr"])
IDS = {"one": "x", "two": "y"}  # a display stays in the cell where it was first shown

MESSAGES = st.one_of(
    st.builds(stream, TEXTS, NAMES, st.sampled_from(CELLS)),
    st.builds(stream, TEXTS, NAMES),
    st.builds(lambda text, cell: display(text, cell=cell), st.sampled_from("pq"), st.sampled_from(CELLS)),
    st.builds(lambda text, cell: display(text, IDS[cell], cell=cell), st.sampled_from("pqr"), st.sampled_from(CELLS)),
    st.builds(update, st.sampled_from("stuv"), st.sampled_from("xy"), st.sampled_from(CELLS)),
    st.builds(clear, st.booleans(), st.sampled_from(CELLS)),
    st.builds(
        lambda cell: message("error", {"ename": "E", "evalue": "", "traceback": []}, cell), st.sampled_from(CELLS)
    ),
    st.builds(lambda cell: message("execute_input", {"code": "1", "execution_count": 1}, cell), st.sampled_from(CELLS)),
    st.builds(lambda state: message("status", {"execution_state": state}), st.sampled_from(["busy", "idle"])),
)


@given(st.lists(MESSAGES, max_size=40), st.integers(0, 40))
def test_the_outputs_are_the_same_whatever_was_seen_before(messages: list[Envelope], cut: int) -> None:
    seen, missed = messages[:cut], messages[cut:]

    assert Notebook([*seen, *coalesced(missed)]).outputs == Notebook(messages).outputs


@given(st.lists(MESSAGES, max_size=30))
def test_what_was_coalesced_can_be_taken_again(messages: list[Envelope]) -> None:
    once = coalesced(messages)

    assert Notebook(coalesced(once)).outputs == Notebook(once).outputs
    assert len(coalesced(once)) <= len(once) <= len(messages)


VALUES = st.fixed_dictionaries({}, optional={"value": st.integers(0, 3), "max": st.integers(0, 3)})
WIDGETS = st.one_of(
    st.builds(lambda name, state: widget(name, state, "comm_open"), st.sampled_from("mn"), VALUES),
    st.builds(widget, st.sampled_from("mn"), VALUES),
    st.builds(lambda name, blob: widget(name, {"blob": None}, blob=blob), st.sampled_from("mn"), st.binary(min_size=1)),
    st.builds(lambda name: comm("comm_msg", name, {"method": "custom", "content": {}}), st.sampled_from("mn")),
)


@given(st.lists(WIDGETS, max_size=30), st.integers(0, 30))
def test_widgets_end_in_the_same_state(messages: list[Envelope], cut: int) -> None:
    opens = [widget(name, {"value": 0}, "comm_open") for name in "mn"]
    seen, missed = [*opens, *messages[:cut]], messages[cut:]
    again = [one for one in missed if one.header().msg_type != "comm_open"]

    assert Notebook([*seen, *coalesced(again)]).widgets == Notebook([*seen, *again]).widgets
    assert len(coalesced(again)) <= len(opens)


def test_a_new_client_can_rebuild_a_widget_from_one_message() -> None:
    messages = [
        widget("m", {"value": 0, "max": 9, "blob": None}, "comm_open", b"old"),
        *(widget("m", {"value": n}) for n in range(10)),
        widget("m", {"blob": None}, blob=b"new"),
        comm("comm_msg", "m", {"method": "custom", "content": {"draw": 1}}),
    ]

    (opened,) = coalesced(messages)

    content = opened.content()
    assert opened.header().msg_type == "comm_open"
    assert content["target_name"] == "jupyter.widget"
    assert content["data"] == {"state": {**MODEL, "value": 9, "max": 9, "blob": None}, "buffer_paths": [["blob"]]}
    assert [bytes(part) for part in opened.parts[4:]] == [b"new"]


def test_a_widget_that_was_closed_is_gone() -> None:
    opened, closed = widget("m", {"value": 0}, "comm_open"), comm("comm_close", "m", {})

    assert coalesced([opened, widget("m", {"value": 1}), closed]) == []
    assert [one.header().msg_type for one in coalesced([widget("m", {"value": 1}), closed])] == ["comm_close"]


def test_other_comms_keep_what_they_say() -> None:
    opened = message("comm_open", {"comm_id": "c", "target_name": "mine", "data": {"hello": 1}}, buffers=(b"b",))
    said = [message("comm_msg", {"comm_id": "c", "data": data}) for data in ({"n": 1}, [2], "three")]

    first, *others = coalesced([opened, *said])

    assert first.content() == opened.content() | {"target_module": None}
    assert [bytes(part) for part in first.parts[4:]] == [b"b"]
    assert others == said


def test_rewriting_and_updating_take_no_room() -> None:
    transcript = Transcript(20_000)
    transcript.take(display("0", "x"))
    for n in range(5_000):
        transcript.take(stream(f"\r{n}"))
        transcript.take(update(str(n), "x"))
        transcript.take(update(str(n), "seen before"))
        transcript.take(widget("m", {"value": n, "blob": None}, blob=bytes(100)))
        transcript.take(clear(wait=True, cell="two"))
        transcript.take(stream(str(n), cell="two"))

    assert (transcript.dropped_outputs, transcript.dropped_lines) == (0, 0)
    assert len(transcript) == 4


def test_what_is_kept_is_bounded_and_what_went_is_counted() -> None:
    transcript = Transcript(20_000)
    for n in range(1_000):
        transcript.take(display(f"{n} {'.' * 100}"))

    kept = [one.content()["data"]["text/plain"].split()[0] for one in transcript.messages()]
    assert kept == [str(n) for n in range(1_000 - len(kept), 1_000)]
    assert transcript.dropped_outputs == 1_000 - len(kept)
    assert 20 < len(kept) < 200


def test_of_a_long_text_the_last_lines_stay() -> None:
    transcript = Transcript(20_000)
    for n in range(10_000):
        transcript.take(stream(f"line {n}\n"))

    (only,) = transcript.messages()
    lines = only.content()["text"].splitlines()
    assert lines == [f"line {n}" for n in range(10_000 - len(lines), 10_000)]
    assert transcript.dropped_lines == 10_000 - len(lines)
    assert 500 < len(lines) < 2_000
    assert transcript.dropped_outputs == 0


def test_clearing_forgets_everything() -> None:
    transcript = Transcript(1_000)
    for one in (stream("a" * 2_000), display("d", "x"), update("u", "y"), widget("m", {"value": 1}), clear(wait=True)):
        transcript.take(one)
    transcript.clear()

    assert (len(transcript), transcript.messages(), transcript.dropped_outputs) == (0, [], 0)
    transcript.take(update("u", "x"))
    assert len(transcript.messages()) == 1


def test_headings_and_ends_of_cells_stay_with_their_outputs() -> None:
    messages = [
        message("status", {"execution_state": "busy"}),
        message("execute_input", {"code": "f()", "execution_count": 3}),
        stream("x"),
        message("status", {"execution_state": "idle"}),
        message("status", {"execution_state": "idle"}, "two"),  # of a completion, say
    ]

    assert [one.header().msg_type for one in coalesced(messages)] == ["execute_input", "stream", "status"]


def test_messages_keep_their_headers_and_topics() -> None:
    first = stream("a")
    (kept,) = coalesced([first, stream("b")])

    assert kept.identities == first.identities
    assert kept.parts[:3] == first.parts[:3]
    assert kept.content() == {"name": "stdout", "text": "ab"}


@pytest.mark.parametrize("kind", ["stream", "display_data", "clear_output", "comm_open", "status"])
@pytest.mark.parametrize("content", [b"{", b"[]", b'{"text": 1}', b'{"wait": 3, "execution_state": 4, "data": 5}'])
def test_what_is_no_message_is_refused_and_changes_nothing(kind: str, content: bytes) -> None:
    transcript = Transcript(1_000)
    damaged = message(kind, {})
    damaged = Envelope(damaged.identities, (*damaged.parts[:3], content))
    with suppress(ProtocolError):
        transcript.take(damaged)

    assert all(bytes(one.parts[3]) == content for one in transcript.messages())
    transcript.take(stream("fine"))
    assert transcript.messages()[-1].parts[3] == write_json({"name": "stdout", "text": "fine"})


def test_buffers_of_widgets_are_the_last_ones() -> None:
    notebook = Notebook(coalesced([widget("m", {"value": 1}, "comm_open"), widget("m", {"blob": None}, blob=b"12")]))

    assert notebook.widgets[1]["m"][0]["data"] == base64.b64encode(b"12").decode()


def test_a_buffer_goes_when_its_place_in_the_state_holds_something_else() -> None:
    opened = widget("m", {"blob": None}, "comm_open", b"old")

    (kept,) = coalesced([opened, widget("m", {"blob": 3})])

    assert kept.content()["data"]["buffer_paths"] == []
    assert kept.parts[4:] == ()
