from __future__ import annotations

from typing import Any

import nbformat
import pytest

from flame_kernel.client.cells.cells import Cell, CellResult, Cells, follow, request_for
from flame_kernel.errors import SessionDied, SessionRestarted
from flame_kernel.protocol.jupyter import Channel, Envelope, compose


class Recorder:
    """A display that keeps what it is told to show."""

    def __init__(self) -> None:
        self.shown: list[tuple[Any, ...]] = []

    def stream(self, name: str, text: str) -> None:
        self.shown.append(("stream", name, text))

    def data(self, content: dict[str, Any], update: bool) -> None:
        self.shown.append(("data", content["data"], update))

    def clear(self, wait: bool) -> None:
        self.shown.append(("clear", wait))

    def ask(self, prompt: str, password: bool) -> str:
        self.shown.append(("ask", prompt, password))
        return "answer"


REPLY = (Channel.SHELL, "execute_reply", {"status": "ok", "execution_count": 1})
IDLE = (Channel.IOPUB, "status", {"execution_state": "idle"})


def stream(text: str, name: str = "stdout") -> tuple[Channel, str, dict[str, Any]]:
    return Channel.IOPUB, "stream", {"name": name, "text": text}


def display(text: str, kind: str = "display_data", display_id: str = "") -> tuple[Channel, str, dict[str, Any]]:
    content: dict[str, Any] = {"data": {"text/plain": text}, "metadata": {}}
    if kind == "execute_result":
        content["execution_count"] = 1
    if display_id:
        content["transient"] = {"display_id": display_id}
    return Channel.IOPUB, kind, content


def clear(wait: bool) -> tuple[Channel, str, dict[str, Any]]:
    return Channel.IOPUB, "clear_output", {"wait": wait}


def followed(*said: tuple[Channel, str, dict[str, Any]], show_result: bool = True) -> tuple[Cell, Recorder]:
    cell, shown = Cell(request_for("code", silent=False, store_history=True)), Recorder()
    for channel, kind, content in (*said, REPLY, IDLE):
        cell.arrived.put((channel, compose(kind, content, session="s")))
    follow(cell, shown, lambda request, text: None, cell.arrived.get_nowait, show_result)
    return cell, shown


def texts(cell: Cell) -> list[str]:
    return [output.get("text") or output["data"]["text/plain"] for output in cell.outputs]


def test_outputs_are_collected_and_shown_in_order() -> None:
    cell, shown = followed(stream("a"), display("b"), display("c", "execute_result"))

    assert texts(cell) == ["a", "b", "c"]
    assert [entry[0] for entry in shown.shown] == ["stream", "data", "data"]


def test_pieces_of_one_stream_are_one_output() -> None:
    cell, _ = followed(stream("a"), stream("b"), stream("c", "stderr"), stream("d"))

    assert texts(cell) == ["ab", "c", "d"]


@pytest.mark.parametrize(("show_result", "count"), [(True, 1), (False, 0)])
def test_the_result_is_shown_if_wanted_and_kept_in_any_case(show_result: bool, count: int) -> None:
    cell, shown = followed(display("r", "execute_result"), show_result=show_result)

    assert len(shown.shown) == count
    assert CellResult(cell.outputs).result == {"text/plain": "r"}


def test_clearing_takes_effect_at_once_or_with_what_follows() -> None:
    assert texts(followed(stream("a"), clear(False))[0]) == []
    assert texts(followed(stream("a"), clear(True))[0]) == ["a"]
    assert texts(followed(stream("a"), clear(True), stream("b"))[0]) == ["b"]


def test_an_update_changes_the_display_that_it_names() -> None:
    cell, shown = followed(
        display("1", display_id="x"), display("2", display_id="y"), display("3", "update_display_data", "x")
    )

    assert texts(cell) == ["3", "2"]
    assert shown.shown[-1] == ("data", {"text/plain": "3"}, True)


def test_an_error_is_an_output() -> None:
    content = {"ename": "E", "evalue": "no", "traceback": ["tb"]}
    cell, _ = followed((Channel.IOPUB, "error", content))

    assert cell.outputs == [{"output_type": "error", **content}]


def test_outputs_are_what_a_notebook_file_holds() -> None:
    error = {"ename": "E", "evalue": "no", "traceback": ["tb"]}
    cell, _ = followed(
        stream("a"),
        display("b", display_id="x"),
        display("c", "execute_result"),
        display("d", "update_display_data", "x"),
        (Channel.IOPUB, "error", error),
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("code", outputs=cell.outputs)])

    nbformat.validate(notebook)
    assert texts(Cell(cell.request, outputs=cell.outputs[:3])) == ["a", "d", "c"]


def test_a_question_is_put_to_the_user_and_answered() -> None:
    cell, shown = Cell(request_for("input()", silent=False, store_history=True)), Recorder()
    answers: list[tuple[str, str]] = []
    said = [(Channel.STDIN, "input_request", {"prompt": "name? ", "password": True}), IDLE, REPLY]
    for channel, kind, content in said:
        cell.arrived.put((channel, compose(kind, content, session="s")))

    def answer(request: Envelope, text: str) -> None:
        answers.append((request.header().msg_type, text))

    follow(cell, shown, answer, cell.arrived.get_nowait, True)

    assert shown.shown == [("ask", "name? ", True)]
    assert answers == [("input_request", "answer")]


def test_a_cell_has_begun_when_the_kernel_shows_it_not_when_it_is_busy() -> None:
    cell = Cell(request_for("code", silent=False, store_history=True))
    seen: list[bool] = []

    def take() -> Any:
        seen.append(cell.begun)
        return cell.arrived.get_nowait()

    for channel, kind, content in (
        (Channel.IOPUB, "status", {"execution_state": "busy"}),
        (Channel.IOPUB, "execute_input", {"code": "code", "execution_count": 1}),
        REPLY,
        IDLE,
    ):
        cell.arrived.put((channel, compose(kind, content, session="s")))
    follow(cell, Recorder(), lambda request, text: None, take, show_result=True)

    assert seen == [False, False, True, True]


def test_reply_and_idle_may_come_in_either_order() -> None:
    cell = Cell(request_for("code", silent=False, store_history=True))
    assert not cell.done
    cell.idle = True
    assert not cell.done
    cell.reply = {}
    assert cell.done


def test_messages_go_to_the_cell_they_are_about() -> None:
    cells = Cells()
    ours, theirs = (Cell(request_for("code", silent=False, store_history=True)) for _ in range(2))
    msg_id = cells.begin(ours)
    for cell in (ours, theirs):
        cells.on_jupyter(Channel.IOPUB, compose("status", {}, session="s", parent=cell.request.parts[0]))
    cells.on_jupyter(Channel.IOPUB, compose("status", {}, session="s"))
    cells.end(msg_id)
    cells.on_jupyter(Channel.IOPUB, compose("status", {}, session="s", parent=ours.request.parts[0]))

    assert (ours.arrived.qsize(), theirs.arrived.qsize()) == (1, 0)


def test_a_session_that_dies_ends_every_cell() -> None:
    cells = Cells()
    cell = Cell(request_for("code", silent=False, store_history=True))
    cells.begin(cell)
    cells.fail(SessionDied("it was killed"))

    with pytest.raises(SessionDied, match="it was killed"):
        follow(cell, Recorder(), lambda request, text: None, cell.arrived.get_nowait, True)


def test_the_request_asks_the_worker_to_keep_the_outcome() -> None:
    envelope = request_for("1 + 1", silent=True, store_history=False)

    assert envelope.content()["code"] == "1 + 1"
    assert (envelope.content()["silent"], envelope.content()["store_history"]) == (True, False)
    assert bytes(envelope.parts[2]) == b'{"flame":true}'


def test_a_restart_ends_the_cells_that_went_with_the_old_process_only() -> None:
    cells = Cells()
    lost, later = (Cell(request_for("1", silent=False, store_history=True)) for _ in range(2))
    msg_ids = [cells.begin(cell) for cell in (lost, later)]
    cells.fail_some([msg_ids[0], "unheard-of"], SessionRestarted("restarted"))

    assert isinstance(lost.arrived.get_nowait(), SessionRestarted)
    assert later.arrived.empty()


def test_what_was_printed_before_a_question_is_shown_before_it() -> None:
    cell, shown = Cell(request_for("code", silent=False, store_history=True)), Recorder()
    question = {"prompt": "which? ", "password": False}
    said = [
        (Channel.STDIN, "input_request", question),  # it overtook what was printed before it
        (Channel.IOPUB, "stream", {"name": "stdout", "text": "a or b\n"}),
        REPLY,
        IDLE,
    ]
    for channel, kind, content in said:
        cell.arrived.put((channel, compose(kind, content, session="s")))
    follow(cell, shown, lambda request, text: None, cell.arrived.get_nowait, True)

    assert [entry[0] for entry in shown.shown] == ["stream", "ask"]
