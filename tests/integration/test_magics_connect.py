"""Connecting a notebook, and what it's told about its connections."""

from __future__ import annotations

import ast
import platform
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.homes import short_home
from tests.integration.local_notebook import LocalNotebook, text, value
from tests.integration.servers import FlameServer, until


@pytest.mark.parametrize(
    ("code", "usage"),
    [
        ("%%flame --frobnicate\n1", "usage: %%flame [-t NAMES]"),
        ("%%flame 1 + 1\n1", "usage: %%flame [-t NAMES]"),
        ("%flame_connect --frobnicate", "usage: %flame_connect [-n NAME]"),
        ("%flame_disconnect a b", "usage: %flame_disconnect [--kill] [NAME]"),
        ("%flame_status please", "usage: %flame_status"),
        ("%flame_result 99", "usage: %flame_result [--now] [number]"),
        ("%flame_attach", "usage: %flame_attach"),
        ("%flame_connect 'no end", "usage: %flame_connect"),
    ],
)
def test_what_is_typed_wrong_is_told_how_it_is_right(notebook: LocalNotebook, code: str, usage: str) -> None:
    shown = notebook.misuses(code)
    assert shown.startswith("UsageError: ")
    assert usage in shown


def test_every_magic_has_help(notebook: LocalNotebook) -> None:
    found = notebook.run(
        "magics = get_ipython().magics_manager.magics\n"
        "{'%' * (kind == 'cell') + name: f.__doc__ for kind, all in magics.items() for name, f in all.items() "
        "if name.startswith('flame')}"
    )
    helps: dict[str, str] = ast.literal_eval(value(found))
    assert {"flame", "%flame", "flame_connect", "flame_status", "flame_result", "flame_attach"} <= set(helps)
    for name, told in helps.items():
        assert told.startswith(f"::\n\n  %{name}"), name
        assert "Example::" in told, name


def test_connecting_shows_a_card(notebook: LocalNotebook, server: FlameServer) -> None:
    (card,) = notebook.run(f"%flame_connect {server.address} -n carded")
    assert card.output_type == "execute_result"
    for wanted in ("host", platform.node(), server.address, platform.python_version(), "memory", "private", "link"):
        assert wanted in card.data["text/html"], wanted
        assert wanted in card.data["text/plain"], wanted
    assert card.data["text/html"].startswith("<table")
    assert "differs" not in card.data["text/plain"]
    assert value(notebook.run("%flame_disconnect carded\n'done'")) == "'done'"


def test_several_connections_and_their_default(notebook: LocalNotebook, server: FlameServer) -> None:
    before = {process.pid for process in server.kernels()}
    notebook.run(f"%flame_connect {server.address} --name second")
    assert len({process.pid for process in server.kernels()} - before) == 1
    notebook.run("here = %flame __import__('os').getpid()")
    notebook.run("there = %flame -t second __import__('os').getpid()")
    assert value(notebook.run("here != there")) == "True"
    (status,) = notebook.run("%flame_status")
    assert re.search(r"^\*\s+here\s", status.data["text/plain"], re.MULTILINE)
    assert re.search(rf"^\s+second\s+{server.address}\s.*link up", status.data["text/plain"], re.MULTILINE)
    assert status.data["text/html"].count("<tr>") == 3
    assert notebook.run("%flame")[0].data == status.data
    notebook.run("%flame_connect -n second --default")
    assert value(notebook.run("%flame __import__('os').getpid() == " + value(notebook.run("there")))) == "True"
    assert "disconnected from second" in text(notebook.run("%flame_disconnect"))
    assert value(notebook.run("%flame __import__('os').getpid() == " + value(notebook.run("here")))) == "True"
    assert "no connection named 'third'; there are: here" in notebook.fails("%%flame -t third\n1")


def test_a_server_that_is_named_twice_is_one_connection_and_a_session_of_its_own_another(
    notebook: LocalNotebook, server: FlameServer
) -> None:
    before = len(server.kernels())
    for _ in range(2):
        notebook.run(f"%flame_connect {server.address}")
    notebook.run(f"%flame_connect {server.address} -s named")
    until(lambda: len(server.kernels()) == before + 2)
    rows = notebook.run("%flame_status")[0].data["text/plain"]
    host = platform.node()
    assert re.search(rf"^\s+{host}\s", rows, re.MULTILINE)
    assert re.search(rf"^\s+{server.address}\s.*\snamed\s", rows, re.MULTILINE)
    notebook.run(f"%flame_disconnect {host}")
    shown = text(notebook.run(f"%flame_disconnect {server.address}"))
    assert f"session 'named' goes on; %flame_connect {server.address} -s named -n {server.address}" in shown
    again = shown.rpartition("; ")[2].removesuffix(" connects again\n")
    notebook.run(again)
    assert "session 'named' has ended" in text(notebook.run(f"%flame_disconnect --kill {server.address}"))
    until(lambda: len(server.kernels()) == before)


def test_a_magic_on_a_connection_that_ended_says_how_to_reconnect(notebook: LocalNotebook, server: FlameServer) -> None:
    flame = f"%flame_connect {server.address} -n ended -s ended"
    notebook.run(flame + "\n%flame_disconnect ended --kill")
    notebook.run(f"ended = {flame}")
    notebook.run("ended.session.close()")
    again = f"%flame_connect {server.address} -s ended -n ended"
    assert notebook.fails("%%flame -t ended\n1") == (
        f"ConnectError: the connection 'ended' has ended: {again} connects again"
    )
    assert f"ended: {again}" in notebook.run("%flame_status")[0].data["text/plain"]
    notebook.run(again)
    assert value(notebook.run("%flame -t ended 1 + 1")) == "2"
    notebook.run("%flame_disconnect --kill ended")


def test_a_session_is_listed_interrupted_and_restarted(notebook: LocalNotebook, tmp_path: Path) -> None:
    assert "python3" in value(notebook.run("%flame_sessions"))
    begun = tmp_path / "begun"
    notebook.run(f"%%flame --bg -O spinning\nopen({str(begun)!r}, 'w').close()\nwhile True: pass")
    until(begun.exists)
    notebook.run("%flame_interrupt")
    assert "KeyboardInterrupt" in notebook.fails("%flame_result")
    notebook.run("%%flame\nkept = 1")
    assert "has a new process; its variables are gone" in text(notebook.run("%flame_restart"))
    assert "NameError" in notebook.fails("%flame kept")


def test_without_a_connection_a_cell_uses_the_server_of_this_machine_if_asked(server: FlameServer) -> None:
    with short_home() as home:
        notebook = LocalNotebook(server.client_environ(home))
        try:
            notebook.run("%load_ext flame_magics")
            assert "not connected: %flame_connect HOST first" in notebook.run("%flame")[0].data["text/plain"]
            assert notebook.fails("%%flame\n1") == "ConnectError: not connected: %flame_connect HOST first"
            notebook.run("%config FlameMagics.embedded = True")
            assert value(notebook.run("%%flame\n6 * 7")) == "42"
            assert "embedded" in notebook.run("%flame_status")[0].data["text/plain"]
        finally:
            notebook.close()


def test_unloading_ends_private_sessions(server: FlameServer, tmp_path: Path) -> None:
    before = {process.pid for process in server.kernels()}
    cells = [
        "%load_ext flame_magics",
        f"%flame_connect {server.fresh_invite()}",
        "pid = %flame __import__('os').getpid()\nprint(pid)",
        "%unload_ext flame_magics\nprint('flame_connect' in get_ipython().magics_manager.magics['line'])",
        "%load_ext flame_magics",
        "%flame_status",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=60).execute(env=server.client_environ(tmp_path / "home"))
    assert int(notebook.cells[2].outputs[0].text) not in before
    assert notebook.cells[3].outputs[0].text == "False\n"
    assert "not connected" in notebook.cells[5].outputs[0].data["text/plain"]
    until(lambda: {process.pid for process in server.kernels()} <= before)


def test_the_extension_is_loaded_by_configuration(server: FlameServer, tmp_path: Path) -> None:
    profile = tmp_path / "ipython" / "profile_default"
    profile.mkdir(parents=True)
    (profile / "ipython_config.py").write_text(
        "c.InteractiveShellApp.extensions = ['flame_magics']\nc.FlameMagics.pull_limit = 5\n"
    )
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("%flame_status"), nbformat.v4.new_code_cell("%config FlameMagics.pull_limit")]
    )
    NotebookClient(notebook, timeout=60).execute(env=server.client_environ(IPYTHONDIR=str(tmp_path / "ipython")))
    assert "not connected" in notebook.cells[0].outputs[0].data["text/plain"]
    assert notebook.cells[1].outputs[0].data["text/plain"] == "5"
