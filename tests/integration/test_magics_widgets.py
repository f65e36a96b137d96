"""Widgets of a remote cell in a local notebook: models, messages and buffers go both ways."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.frontend import Answer, Frontend, Message
from tests.integration.local_notebook import LocalKernel
from tests.integration.servers import FlameServer

VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(scope="module")
def frontend(server: FlameServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Frontend]:
    environ = server.client_environ(IPYTHONDIR=str(tmp_path_factory.mktemp("ipython")))
    kernel = LocalKernel(environ, f"%flame_connect {server.invite}", "%%flame\nimport ipywidgets as widgets")
    yield kernel.frontend
    kernel.close()


def opened(answer: Answer, model: str) -> Message:
    (found,) = (
        message
        for message in answer
        if message.kind == "comm_open" and message.content["data"]["state"]["_model_name"] == model
    )
    return found


def send(frontend: Frontend, comm_id: str, data: dict[str, Any], *buffers: bytes) -> str:
    return frontend.send("comm_msg", {"comm_id": comm_id, "data": data}, buffers=buffers)


def states(frontend: Frontend, comm_id: str) -> list[dict[str, Any]]:
    return [
        message.content["data"].get("state", {})
        for message in frontend.messages
        if message.kind == "comm_msg" and message.content["comm_id"] == comm_id
    ]


def test_a_slider_moves_both_ways(frontend: Frontend) -> None:
    cell = frontend.execute(
        "%%flame\nmoved = []\nslider = widgets.IntSlider(3)\n"
        "def on_move(change):\n    moved.append(change.new)\n    print('moved to', change.new)\n"
        "slider.observe(on_move, 'value')\ndisplay(slider)"
    )
    model = opened(cell, "IntSliderModel")
    comm_id = model.content["comm_id"]
    assert model.content["target_name"] == "jupyter.widget"
    assert model.metadata["version"]
    (view,) = (message.content["data"][VIEW] for message in cell if message.kind == "display_data")
    assert view["model_id"] == comm_id

    move = send(frontend, comm_id, {"method": "update", "state": {"value": 7}, "buffer_paths": []})
    frontend.wait_text(move, "moved to 7\n")  # what the callback prints belongs to the front end's message
    assert frontend.execute("%flame (slider.value, moved)").value == "(7, [7])"

    frontend.execute("%%flame\nslider.value = 9")
    frontend.wait(lambda: {"value": 9} in states(frontend, comm_id))


def test_an_echo_names_the_message_that_it_echoes(frontend: Frontend) -> None:
    cell = frontend.execute("%%flame\ntext = widgets.Text()\ntext")
    comm_id = opened(cell, "TextModel").content["comm_id"]
    assert [message.content["data"][VIEW]["model_id"] for message in cell if message.kind == "execute_result"] == [
        comm_id
    ]
    sent = send(frontend, comm_id, {"method": "update", "state": {"value": "typed"}, "buffer_paths": []})
    frontend.wait(lambda: any(message.kind == "comm_msg" for message in frontend.answer(sent)))
    echo = next(message for message in frontend.answer(sent) if message.kind == "comm_msg")
    assert echo.content["data"]["method"] == "echo_update"
    assert echo.content["data"]["state"] == {"value": "typed"}


def test_buffers_are_whole_both_ways(frontend: Frontend) -> None:
    cell = frontend.execute("%%flame\npicture = widgets.Image(value=bytes(range(256)) * 1000, format='png')")
    model = opened(cell, "ImageModel")
    assert model.content["data"]["buffer_paths"] == [["value"]]
    assert model.buffers == (bytes(range(256)) * 1000,)
    upload = b"\x00\xff" * 100_000
    send(
        frontend,
        model.content["comm_id"],
        {"method": "update", "state": {}, "buffer_paths": [["value"]]},
        upload,
    )
    # A cell waits for its turn behind the message.
    assert frontend.execute("%%flame\nbytes(picture.value) == b'\\x00\\xff' * 100_000").value == "True"


def test_a_button_is_clicked(frontend: Frontend) -> None:
    cell = frontend.execute(
        "%%flame\nbutton = widgets.Button(description='go')\nbutton.on_click(lambda one: print('clicked'))"
    )
    comm_id = opened(cell, "ButtonModel").content["comm_id"]
    click = send(frontend, comm_id, {"method": "custom", "content": {"event": "click"}})
    frontend.wait_text(click, "clicked\n")


def test_tqdm_moves(frontend: Frontend) -> None:
    cell = frontend.execute("%%flame\nfrom tqdm.notebook import tqdm\nfor n in tqdm(range(5), mininterval=0): pass")
    comm_id = opened(cell, "FloatProgressModel").content["comm_id"]
    values = [state["value"] for state in states(frontend, comm_id) if "value" in state]
    assert values[-1] == 5
    assert len(values) > 1


def test_an_output_widget_captures_the_outputs_of_its_cell(frontend: Frontend) -> None:
    cell = frontend.execute("%%flame\nout = widgets.Output()\nwith out:\n    print('inside')\nprint('outside')")
    comm_id = opened(cell, "OutputModel").content["comm_id"]
    said = [
        message.content["data"]["state"]["msg_id"] if message.kind == "comm_msg" else message.content["text"]
        for message in cell
        if message.kind == "stream" or (message.kind == "comm_msg" and message.content["comm_id"] == comm_id)
    ]
    # The front end captures what belongs to this message, and the notebook's cell is the one that it knows.
    assert said == [cell[0].parent_id, "inside\n", "", "outside\n"]


def test_a_widget_is_closed_there_and_here(frontend: Frontend) -> None:
    cell = frontend.execute("%%flame\nshort = widgets.Text()")
    comm_id = opened(cell, "TextModel").content["comm_id"]
    closed = frontend.execute("%%flame\nshort.close()")
    frontend.wait(
        lambda: any(
            m.kind == "comm_close" and m.content["comm_id"] == comm_id for m in frontend.answer(closed[0].parent_id)
        )
    )
    cell = frontend.execute("%%flame\nother = widgets.Text()")
    comm_id = opened(cell, "TextModel").content["comm_id"]
    frontend.send("comm_close", {"comm_id": comm_id, "data": {}})
    there = f"%%flame\n{comm_id!r} in __import__('comm').get_comm_manager().comms"
    assert frontend.execute(there).value == "False"


def test_a_widget_whose_session_is_gone_says_so(frontend: Frontend) -> None:
    cell = frontend.execute("%%flame\nleft = widgets.Text()")
    comm_id = opened(cell, "TextModel").content["comm_id"]
    frontend.execute("%flame_restart")
    sent = send(frontend, comm_id, {"method": "update", "state": {"value": "x"}, "buffer_paths": []})
    frontend.wait(lambda: frontend.answer(sent).text("stderr"))
    assert "leads nowhere any more: its session was restarted" in frontend.answer(sent).text("stderr")
