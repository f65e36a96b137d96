"""What a front end and the magics say to each other while a cell runs: questions, the stop button, updates."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conformance.frontend import Frontend, Message
from tests.integration.local_notebook import LocalKernel
from tests.integration.relay import Relay
from tests.integration.servers import FlameServer


def updates(frontend: Frontend) -> list[Message]:
    return [message for message in frontend.messages if message.kind == "update_display_data"]


def test_input_asks_in_the_notebook(frontend: Frontend) -> None:
    cell = frontend.start("%%flame\nname = input('name? ')\nprint(f'hello {name}')\nname")
    question = frontend.wait_for(cell, "input_request")
    assert question.content == {"prompt": "name? ", "password": False}
    frontend.reply_input(question, "ada")
    answer = frontend.finish(cell)
    assert (answer.text(), answer.value) == ("hello ada\n", "'ada'")


def test_a_password_is_asked_for_as_one(frontend: Frontend) -> None:
    cell = frontend.start("%%flame\nimport getpass\nlen(getpass.getpass('secret: '))")
    question = frontend.wait_for(cell, "input_request")
    assert question.content == {"prompt": "secret: ", "password": True}
    frontend.reply_input(question, "hush")
    assert frontend.finish(cell).value == "4"


def test_the_stop_button_ends_a_question(kernel: LocalKernel, frontend: Frontend) -> None:
    cell = frontend.start("%%flame\ninput('name? ')")
    frontend.wait_for(cell, "input_request")
    kernel.interrupt()
    assert frontend.finish(cell).reply["ename"] == "KeyboardInterrupt"
    assert frontend.execute("%%flame\n1 + 1").value == "2"


@pytest.mark.parametrize("code", ["len?", "import textwrap\ntextwrap.dedent??", "%pinfo len"])
def test_help_appears_in_the_front_ends_pager(frontend: Frontend, code: str) -> None:
    (here,) = frontend.execute(code).reply["payload"]
    (there,) = frontend.execute(f"%%flame\n{code}").reply["payload"]
    assert there["source"] == "page"
    assert there == here


def test_quiet_cells_show_no_help(frontend: Frontend) -> None:
    assert frontend.execute("%%flame --quiet\nlen?").reply["payload"] == []


def test_a_cell_that_is_offered_is_the_front_ends_next_one(frontend: Frontend, tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text("x = 1\n")
    for code in (f"%load {tmp_path / 'work.py'}", "get_ipython().set_next_input('y = 2')"):
        (here,) = frontend.execute(code).reply["payload"]
        (there,) = frontend.execute(f"%%flame\n{code}").reply["payload"]
        assert there["source"] == "set_next_input"
        assert there["replace"] == here["replace"]
        assert there["text"].splitlines()[-1] == here["text"].splitlines()[-1]


def test_what_would_end_the_front_end_does_not(frontend: Frontend) -> None:
    answer = frontend.execute("%%flame\nget_ipython().payload_manager.write_payload({'source': 'ask_exit'})")
    assert (answer.reply["status"], answer.reply["payload"]) == ("ok", [])


def test_the_stop_button_twice_leaves_the_session_which_goes_on(
    kernel: LocalKernel, frontend: Frontend, server: FlameServer, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    frontend.execute(f"%flame_connect {server.address} -n stubborn")
    cell = frontend.start(
        "%%flame -t stubborn\nimport os, signal, time\nsignal.signal(signal.SIGINT, lambda *_: print('not me'))\n"
        f"print('begun')\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\nprint('ended')"
    )
    frontend.wait_text(cell, "begun")
    kernel.interrupt()
    frontend.wait_text(cell, "not me")
    kernel.interrupt()
    reply = frontend.finish(cell).reply
    assert reply["ename"] == "CellLeft"
    told = re.fullmatch(
        r"CellLeft: left session '(.*)', which goes on until somebody ends it \(flame kill \S+ \1\); (.*) comes back",
        "".join(reply["traceback"]),
    )
    assert told
    ended = frontend.execute("%%flame -t stubborn\n1")
    assert ended.reply["evalue"] == f"the connection 'stubborn' has ended: {told[2]} connects again"
    back = frontend.start(f"{told[2]} -f")
    gate.touch()
    assert "ended" in frontend.finish(back).text()
    assert frontend.execute("%flame -t stubborn 1 + 1").value == "2"
    frontend.execute("%flame_disconnect --kill stubborn")


def test_the_display_of_a_cell_in_the_background_changes_in_place(frontend: Frontend) -> None:
    frontend.execute("%%flame\nimport threading\ngo = threading.Event()")
    cell = frontend.execute("%%flame --bg\nprint('first')\ngo.wait()\nprint('last')")
    shown = next(message for message in cell if message.kind == "display_data")
    display_id = shown.content["transient"]["display_id"]

    def latest() -> str:
        found = [m.content for m in updates(frontend) if m.content["transient"]["display_id"] == display_id]
        return found[-1]["data"]["text/plain"] if found else ""

    frontend.execute("%flame go.set()")
    frontend.wait(lambda: "done after" in latest())
    assert latest().splitlines()[1:] == ["first", "last"]
    assert latest().startswith("[cell 1 on here: done after")


def test_a_cell_in_the_background_can_ask_nothing(frontend: Frontend) -> None:
    frontend.execute("%%flame --bg\ninput('name? ')")
    assert frontend.execute("%flame_result").reply["ename"] == "StdinNotImplementedError"


def test_threads_that_outlive_their_cell_print_in_its_place(frontend: Frontend) -> None:
    cell = frontend.execute(
        "%%flame\nimport threading\ngo = threading.Event()\n"
        "def late():\n    go.wait()\n    print('late')\nthreading.Thread(target=late).start()"
    )
    frontend.execute("%flame go.set()")
    frontend.wait_text(cell[0].parent_id, "late\n")


def test_a_link_that_is_lost_and_found_again_says_so_in_place(
    kernel: LocalKernel, frontend: Frontend, server: FlameServer
) -> None:
    with Relay(server.port) as relay:
        connected = frontend.execute(f"%flame_connect {server.fresh_invite(relay.port)} -n relayed")
        assert connected.reply["status"] == "ok", connected.reply
        cell = frontend.start("%%flame -t relayed\nfor n in range(2): print(input('go? '))")
        question = frontend.wait_for(cell, "input_request")
        relay.refuse()
        lost = frontend.wait_for(cell, "display_data")
        assert lost.content["data"]["text/plain"] == f"[flame] link to {relay.address} lost, the session goes on …"
        relay.heal()
        found = frontend.wait_for(cell, "update_display_data")
        assert found.content["transient"] == lost.content["transient"]
        assert re.fullmatch(
            rf"\[flame\] link to {re.escape(relay.address)} was lost; back after \d+ s",
            found.content["data"]["text/plain"],
        )
        frontend.reply_input(question, "1")
        frontend.wait(lambda: len([m for m in frontend.answer(cell) if m.kind == "input_request"]) == 2)
        second = [message for message in frontend.answer(cell) if message.kind == "input_request"]
        frontend.reply_input(second[-1], "2")
        assert frontend.finish(cell).text() == "1\n2\n"
        frontend.execute("%flame_disconnect relayed")


def test_help_of_a_cell_in_the_background_appears_with_its_result(frontend: Frontend) -> None:
    frontend.execute("%%flame --bg\nlen?")
    for _ in range(2):
        (page,) = frontend.execute("%flame_result").reply["payload"]
        assert "Return the number of items" in page["data"]["text/plain"]
