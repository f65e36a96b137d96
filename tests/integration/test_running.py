"""Cells that run while this side does something else, and cells on several sessions, from Python."""

from __future__ import annotations

import html
import threading
from pathlib import Path

import pytest

from flame_kernel import CellGoesOn, CellsFailed, Flame, Group, connect, is_remote
from flame_kernel.errors import FlameTimeout, LinkLost
from tests.integration.servers import FlameServer


def until_gate(gate: Path) -> str:
    return f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\n"


def test_a_cell_is_started_and_waited_for_later(flame: Flame, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    future = flame.start(f"{until_gate(gate)}print('done')\n6 * 7")
    assert not future.done()
    assert future.cell is None
    gate.touch()
    assert future.result(30).value == 42
    assert future.outputs[0]["text"] == "done\n"
    assert "done after" in repr(future)


def test_the_exception_of_a_started_cell_is_its_own(flame: Flame) -> None:
    future = flame.start("print('before')\n1 / 0")
    with pytest.raises(ZeroDivisionError):
        future.result(30)
    assert future.cell is not None
    assert future.cell.outputs[0]["text"] == "before\n"
    assert "failed after" in repr(future)
    assert "ZeroDivisionError" in repr(future)


def test_cancelling_a_cell_interrupts_it_even_before_its_turn(flame: Flame, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    first = flame.start(f"{until_gate(gate)}'first'")
    second = flame.start("while True: pass")
    assert second.cancel()
    assert not second.running()
    gate.touch()
    assert first.result(30).value == "first"
    with pytest.raises(KeyboardInterrupt):
        second.result(30)
    assert not second.cancel()


def test_showing_a_cell_shows_what_there_is_and_what_comes(
    flame: Flame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = tmp_path / "gate"
    future = flame.start(f"print('first')\n{until_gate(gate)}print('second')\n'value'")
    threading.Thread(target=gate.touch).start()
    assert future.show().value == "value"
    assert capsys.readouterr().out == "first\nsecond\n"


def test_a_cell_that_outlasts_its_timeout_can_be_followed_on(flame: Flame, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with pytest.raises(CellGoesOn, match=r"did not end within 0\.1 s; it goes on") as late:
        flame.run(f"{until_gate(gate)}print('done')\n'value'", timeout=0.1, quiet=True)
    assert isinstance(late.value, FlameTimeout)
    gate.touch()
    assert late.value.cell.result(30).value == "value"


def test_a_cell_whose_connection_is_closed_ends_as_that_says(client: FlameServer) -> None:
    flame = connect(client.address)
    future = flame.start("import time\nwhile True: time.sleep(0.01)")
    flame.close()
    with pytest.raises(LinkLost, match="was closed"):
        future.result(30)


def test_a_group_runs_at_the_same_time(flame: Flame, own: Flame, tmp_path: Path) -> None:
    group = Group({"a": flame, "b": own})
    group.push("folder", str(tmp_path))
    result = group.run(
        "import os, pathlib, time\nfolder = pathlib.Path(folder)\n(folder / str(os.getpid())).touch()\n"
        "while len(list(folder.iterdir())) < 2: time.sleep(0.01)\nos.getpid()",
        quiet=True,
    )
    assert result.value == group.evaluate("os.getpid()")
    assert len(set(result.value.values())) == 2
    assert result.errors == {}
    assert list(group.pull("folder")) == ["a", "b"]


def test_what_a_group_shows_is_grouped(flame: Flame, own: Flame, capsys: pytest.CaptureFixture[str]) -> None:
    Group({"a": flame, "b": own}).run("print('one')\nprint('two')")
    assert capsys.readouterr().out == "[a]\none\ntwo\n[b]\none\ntwo\n"


def test_one_of_a_group_that_fails_or_is_gone_takes_none_with_it(client: FlameServer, flame: Flame, own: Flame) -> None:
    gone = connect(client.address)
    group = Group({"gone": gone, "a": flame, "b": own})
    gone.close()
    flame["n"], own["n"] = 0, 2
    with pytest.raises(CellsFailed, match=r"failed on gone, a \(2 of 3\)") as failed:
        group.run("4 / n", quiet=True)
    result = failed.value.result
    assert result["b"].value == 2
    assert result.value == {"b": 2}
    assert {name: type(error) for name, error in result.errors.items()} == {"gone": LinkLost, "a": ZeroDivisionError}
    shown = "\n".join(failed.value._render_traceback_())
    assert shown.count("division by zero") == 1
    assert f"gone:\nLinkLost: this connection to {client.address} was closed" in shown


def test_about_the_machine_and_its_card(flame: Flame) -> None:
    about = flame.about()
    assert about.pid == flame.evaluate("__import__('os').getpid()")
    assert about.executable == flame.evaluate("__import__('sys').executable")
    assert about.folder == flame.evaluate("__import__('os').getcwd()")
    assert 0 < about.round_trip < 30
    card = flame._repr_mimebundle_()
    for value in (about.host, about.python, flame.session.name, flame.session.address):
        assert value in card["text/plain"]
        assert html.escape(value) in card["text/html"]


def test_a_card_of_a_closed_connection_tells_what_is_known(client: FlameServer) -> None:
    flame = connect(client.address)
    flame.close()
    card = flame._repr_mimebundle_()
    assert "closed" in card["text/plain"]
    assert "python " not in card["text/plain"]


def test_what_is_larger_than_a_limit_is_pulled_as_a_handle(flame: Flame) -> None:
    flame["data"] = b"x" * 1000
    assert flame.pull("data", limit=2000) == b"x" * 1000
    handle = flame.pull("data", limit=900)
    assert is_remote(handle)
    assert len(handle) == 1000
    assert not is_remote(flame.pull("data"))
    flame.execute("import threading; lock = threading.Lock()")
    assert is_remote(flame.pull("lock", limit=900))
    with pytest.raises(NameError, match="no_such_name"):
        flame.pull("no_such_name", limit=1)


def test_help_is_printed_where_there_is_no_pager(flame: Flame, capsys: pytest.CaptureFixture[str]) -> None:
    flame.run("len?")
    assert "Return the number of items" in capsys.readouterr().out
    flame.run("get_ipython().set_next_input('x = 1')")
    assert capsys.readouterr().out == "x = 1\n"
    flame.run("len?", quiet=True)
    assert capsys.readouterr().out == ""
    future = flame.start("len?")
    future.result(60)
    assert capsys.readouterr().out == ""
    future.show()
    assert "Return the number of items" in capsys.readouterr().out
    Group({"a": flame}).run("len?")
    assert "Return the number of items" in capsys.readouterr().out
