"""What is typed in the lines of the magics: variables, quotes, options, and what is refused in one line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conformance.frontend import Frontend
from tests.integration.local_notebook import LocalKernel, LocalNotebook, text, value
from tests.integration.servers import FlameServer

# ---------------------------------------------------------------- what is to come later


def test_a_cell_in_the_background_brings_its_variables_with_its_result(notebook: LocalNotebook, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    waits = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
    told = text(notebook.run(f"%%flame --bg -o late,there=other -O future\n{waits}late, other = 5, 6"))
    number = re.fullmatch(r"\[flame\] late, there: not fetched yet; comes with (%flame_result \d+)\n", told)[1]
    notebook.run("%flame_result --now")
    gate.touch()
    notebook.run("future.result()")
    # Done, but nobody has asked for it: nothing changes in the notebook behind its user's back.
    assert value(notebook.run("{'late', 'there'} & {*globals()}")) == "set()"
    notebook.run(number)
    assert value(notebook.run("late, there")) == "(5, 6)"
    notebook.run("late = 'mine'")
    notebook.run(number)
    assert value(notebook.run("late")) == "'mine'"  # it comes once


def test_a_failed_cell_in_the_background_brings_nothing(notebook: LocalNotebook) -> None:
    notebook.run("%%flame --bg -o half\nhalf = 1\n1 / 0")
    assert "ZeroDivisionError" in notebook.fails("%flame_result")
    assert value(notebook.run("'half' in globals()")) == "False"


def test_a_cell_that_outlasts_its_timeout_says_that_its_variables_are_to_come(
    notebook: LocalNotebook, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    waits = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
    notebook.fails(f"%%flame --timeout 0.2 -o slow\n{waits}slow = 7")
    number = re.fullmatch(r"\[flame\] slow: not fetched yet; comes with (.*)\n", text(notebook.outputs))[1]
    gate.touch()
    notebook.run(number)
    assert value(notebook.run("slow")) == "7"


def test_variables_of_several_come_when_all_are_done(
    notebook: LocalNotebook, server: FlameServer, tmp_path: Path
) -> None:
    notebook.run(f"%flame_connect {server.address} -n there")
    for name in ("here", "there"):
        notebook.run(f"%%flame -t {name}\nname = {name!r}")
    gate = tmp_path / "gate"
    told = text(
        notebook.run(
            "%%flame -t here,there --bg -o made\nimport os, time\n"
            f"while name == 'there' and not os.path.exists({str(gate)!r}): time.sleep(0.01)\nmade = name * 2"
        )
    )
    first, second = re.findall(r"%flame_result \d+", told)
    assert text(notebook.run(first)) == "[flame] made: not fetched yet, as the cell still runs on there\n"
    gate.touch()
    notebook.run(second)
    assert value(notebook.run("made")) == "{'here': 'herehere', 'there': 'therethere'}"
    notebook.run("%flame_disconnect there")


# ---------------------------------------------------------------- variables in lines


def test_variables_are_expanded_in_lines_but_not_in_expressions(notebook: LocalNotebook, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    notebook.run(f"folder = {str(tmp_path)!r}; name, number, where = 'number', 3, 'here'")
    notebook.run("%flame_put -q $folder/a.txt {folder + '/sent'}/")
    assert (tmp_path / "sent" / "a.txt").read_text() == "a"
    notebook.run("%flame_get -q -t $where {folder}/sent/a.txt $folder/back.txt")
    assert (tmp_path / "back.txt").read_text() == "a"
    notebook.run("%flame_push $name {name}=again")
    notebook.run("%flame_pull pulled=$name")
    assert value(notebook.run("pulled")) == "3"
    assert value(notebook.run("%%flame -t $where -i {name} -o other={name}\n'$name {name}'")) == "'$name {name}'"
    assert value(notebook.run("other")) == "3"
    assert value(notebook.run("%flame -t $where ('$name', {number})")) == "('$name', {3})"
    notebook.run("def send(inside):\n    local = inside\n    %flame_push -t $local name\nsend('here')")
    assert value(notebook.run("%flame name")) == "'number'"
    assert "no connection named 'nowhere'" in notebook.fails("where = 'nowhere'\n%flame_disconnect $where")


def test_a_path_whose_braces_name_nothing_stays_as_it_is(notebook: LocalNotebook, tmp_path: Path) -> None:
    strange = tmp_path / "{no_such_name}$neither.txt"
    strange.write_text("as it is")
    notebook.run(f"%flame_put -q {strange} {tmp_path}/there/")
    assert (tmp_path / "there" / strange.name).read_text() == "as it is"


def test_variables_go_there_by_another_name(notebook: LocalNotebook) -> None:
    notebook.run("mine, second = 11, 12")
    assert (
        value(notebook.run("%%flame -i mine=theirs -i 'second, mine=third'\ntheirs, second, third")) == "(11, 12, 11)"
    )


def test_quotes_are_not_part_of_a_name(notebook: LocalNotebook, server: FlameServer) -> None:
    notebook.run(f'%flame_connect "{server.address}" -n "in quotes"')
    rows = notebook.run("%flame_status")[0].data["text/plain"]
    assert re.search(r"^\s+in quotes\s", rows, re.MULTILINE)
    assert value(notebook.run("%flame -t 'in quotes' 'x'")) == "'x'"
    notebook.run("%flame_disconnect 'in quotes'")
    notebook.run(f'%flame_connect {server.address} -n ""')
    assert '""' not in notebook.run("%flame_status")[0].data["text/plain"]


# ---------------------------------------------------------------- what is refused


def test_what_can_not_be_pushed_is_named(notebook: LocalNotebook) -> None:
    notebook.run("import threading\nfine, lock = 1, threading.Lock()")
    shown = notebook.fails("%flame_push fine lock")
    assert re.fullmatch(
        r"SerializationError: 'lock' \(_thread\.lock\) can't cross by value: cannot pickle '_thread.lock' object", shown
    )
    assert "'lock' (_thread.lock) can't cross" in notebook.fails("%%flame -i fine,lock\n1")


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("%flame_push fine=1", "'1' in 'fine=1' is no variable's name"),
        ("%flame_push fine=a.b", "'a.b' in 'fine=a.b' is no variable's name"),
        ("%flame_pull a.b", "'a.b' is no variable's name"),
        ("%%flame -i fine=a.b\n1", "'a.b' in 'fine=a.b' is no variable's name"),
        ("%%flame -o 1x\nprint('ran')", "'1x' is no variable's name"),
        ("%%flame -O 1x\nprint('ran')", "'1x' is no variable's name"),
        ("%flame_forward 99999", "99999 is no port: they are numbered from 1 to 65535"),
        ("%flame_forward 8787:70000", "70000 is no port"),
        ("%flame_forward 0", "0 is no port"),
        ("%flame -o fine fine", "-o belongs to %%flame cells; NAME = %flame EXPRESSION keeps the value"),
        ("%flame --bg 1 + 1", "--bg belongs to %%flame cells; %%flame --bg runs a cell in the background"),
    ],
)
def test_what_is_typed_wrong_is_told_in_one_line(notebook: LocalNotebook, code: str, told: str) -> None:
    notebook.run("fine = 1")
    shown = notebook.misuses(code)
    assert shown.startswith(f"UsageError: {told}")
    assert shown.count("\n") == 1
    assert text(notebook.outputs) == ""


def test_making_an_unknown_connection_the_default_starts_nothing(notebook: LocalNotebook, server: FlameServer) -> None:
    before = server.kernels()
    shown = notebook.fails("%flame_connect --default -n typo")
    assert shown.startswith("ConnectError: there is no connection named 'typo'; there are: here")
    assert "\n" not in shown
    assert server.kernels() == before
    assert value(notebook.run("%flame 1 + 1")) == "2"


# ---------------------------------------------------------------- options of expressions

WAITS = "__import__('threading').Event().wait(5)"


def test_options_of_an_expression(notebook: LocalNotebook, server: FlameServer) -> None:
    assert notebook.run("%flame --quiet 1 + 1") == []
    assert value(notebook.run("%flame --timeout 50 -t here 1 + 1")) == "2"
    assert re.fullmatch(r"FlameTimeout: .* within 0\.2 s.*", notebook.fails(f"%flame --timeout 0.2 {WAITS}"))
    notebook.run(f"%flame_connect {server.address} -n there")
    assert value(notebook.run("%flame -t here,there --timeout 50 1 + 1")) == "{'here': 2, 'there': 2}"
    shown = notebook.fails(f"%flame -t here,there --timeout 0.2 {WAITS}")
    assert shown == "TimeoutError: no answer from all of here, there within 0.2 s; the calls go on there"
    notebook.run("%flame_disconnect there")
    assert "usage: %flame [-t NAMES]" in notebook.misuses("%flame --timeout soon 1 + 1")
    assert "there is no expression" in notebook.misuses("%flame -t here")


# ---------------------------------------------------------------- questions, and the stop button


def shown_error(frontend: Frontend, code: str) -> str:
    (error,) = (message.content for message in frontend.execute(code) if message.kind == "error")
    return "\n".join(error["traceback"])


def test_an_expression_that_asks_says_why_it_can_not(frontend: Frontend) -> None:
    assert shown_error(frontend, "%flame input('who? ')") == (
        "EOFError: input() can't ask in an expression, which is a call; a %%flame cell can"
    )
    # What ends otherwise is the user's own affair.
    assert "Ran out of input" in shown_error(frontend, "%flame __import__('pickle').loads(b'')")


def test_a_cell_in_the_background_or_on_several_that_asks_says_why_it_can_not(
    frontend: Frontend, server: FlameServer
) -> None:
    told = "StdinNotImplementedError: input() can't ask in a cell that runs in the background or on several sessions"
    frontend.execute("%%flame --bg\ninput('who? ')")
    assert shown_error(frontend, "%flame_result").startswith(told)
    frontend.execute(f"%flame_connect {server.address} -n there")
    shown = shown_error(frontend, "%%flame -t here,there\ninput('who? ')")
    assert shown.count(told) == 2
    assert "does not support input" not in shown
    frontend.execute("%flame_disconnect there")


def test_the_stop_button_twice_on_an_expression_says_how_to_come_back_to_it(
    kernel: LocalKernel, frontend: Frontend, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    frontend.execute(
        "%%flame\nimport os, time\ndef stubborn():\n    while True:\n        try:\n            print('begun')\n"
        f"            while not os.path.exists({str(gate)!r}): time.sleep(0.01)\n            return\n"
        "        except KeyboardInterrupt: print('not me')"
    )
    cell = frontend.start("%flame stubborn()")
    frontend.wait_text(cell, "begun")
    kernel.interrupt()
    frontend.wait_text(cell, "not me")
    kernel.interrupt()
    reply = frontend.finish(cell).reply
    gate.touch()
    told = re.fullmatch(
        r"KeyboardInterrupt: gave up waiting: the call goes on in session '(\S+)'; here stays usable, and "
        r"%flame_attach (\S+) \S+ -n here attaches to it from another notebook",
        "\n".join(reply["traceback"]),
    )
    assert told
    assert told[1] == told[2]
    assert frontend.execute("%flame 1 + 1").value == "2"
