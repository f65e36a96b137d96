"""Detach and let a cell run: whoever attaches next is shown what was missed, and asked what the session waits for."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell

from flame_kernel import Flame, Host, connect
from flame_kernel.client.cells.display import Terminal
from tests.integration.servers import FlameServer, Program, flame_command, run_script, until
from tests.integration.work import in_thread

# A client that starts a cell and goes away before it has ended: by a word, or killed.
LEAVE = """
import os, sys, threading
from flame_kernel import connect
target, session, started, how, cell = sys.argv[1:]
flame = connect(target, session=session)
flame.execute("1")
thread = threading.Thread(target=flame.run, args=(cell,), kwargs={"quiet": True, "check": False}, daemon=True)
thread.start()
while not os.path.exists(started):
    threading.Event().wait(0.01)
if how == "killed":
    os.kill(os.getpid(), 9)
flame.close()
"""

CELL = """
import os, pathlib, time
pathlib.Path({started!r}).touch()
while not os.path.exists({gate!r}):
    time.sleep(0.01)
{rest}
"""


@pytest.fixture(scope="module")
def limits() -> dict[str, float]:
    """Who is killed or cut off counts as gone soon."""
    return {"silence_s": 3.0}


@pytest.fixture
def host(client: FlameServer) -> Iterator[Host]:
    with Host(client.address) as host:
        yield host


@pytest.fixture
def leave(client: FlameServer, host: Host, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Start a cell in a session of its own, leave it, and let the rest of it run with nobody there."""
    gate, started = tmp_path / "gate", tmp_path / "started"

    def leave(rest: str, how: str = "closed", until_state: str = "idle", session: str = "left") -> None:
        cell = CELL.format(started=str(started), gate=str(gate), rest=rest)
        environ = client.client_environ()
        done = run_script(LEAVE, environ, client.address, session, str(started), how, cell)
        assert done.returncode == (-signal.SIGKILL if how == "killed" else 0), done.stderr
        until(lambda: info(host, session).clients == 0)
        gate.touch()
        until(lambda: info(host, session).activity == until_state)

    yield leave
    for session in host.sessions():
        host.end(session.name)


def info(host: Host, name: str):
    (found,) = [session for session in host.sessions() if session.name == name]
    return found


@pytest.mark.parametrize("how", ["closed", "killed"])
def test_the_next_client_is_shown_the_final_state(
    leave: Callable[..., None], host: Host, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    leave(
        "from IPython.display import display, clear_output\n"
        "for n in range(101): print(f'\\r{n} %', end='', flush=True)\n"
        "print()\n"
        "shown = display({'text/plain': 'first'}, raw=True, display_id=True)\n"
        "for n in range(50): shown.update({'text/plain': f'update {n}'}, raw=True)\n"
        "6 * 7",
        how,
    )
    assert info(host, "left").unseen == 3

    with host.attach("left") as flame:
        assert flame.unseen == 3
        missed = flame.missed()
        assert flame.missed(quiet=True).outputs == []

    (cell,) = missed.cells
    assert cell.code.strip().startswith("import os, pathlib, time")
    assert (cell.execution_count, cell.running) == (1, False)
    texts = [output["text"] if "text" in output else output["data"]["text/plain"] for output in cell.outputs]
    assert texts == ["\r100 %\n", "update 49", "42"]
    for output in cell.outputs:
        nbformat.validate(output, "output", version=4)
    shown = capsys.readouterr().out
    assert "In [1]: " in shown
    assert shown.endswith("\r100 %\nupdate 49\n42\n")
    assert info(host, "left").unseen == 0


def test_what_was_cleared_is_gone_and_errors_are_there(leave: Callable[..., None], host: Host) -> None:
    leave(
        "from IPython.display import clear_output\n"
        "for n in range(20):\n    clear_output(wait=True); print('round', n, flush=True)\n"
        "1 / 0"
    )
    with host.attach("left") as flame:
        outputs = flame.missed(quiet=True).outputs

    assert [output["output_type"] for output in outputs] == ["stream", "error"]
    assert outputs[0]["text"] == "round 19\n"
    assert outputs[1]["ename"] == "ZeroDivisionError"


def test_a_widget_can_be_rebuilt(leave: Callable[..., None], host: Host) -> None:
    leave(
        "import ipywidgets\nbar = ipywidgets.IntProgress(max=200)\ndisplay(bar)\nfor n in range(201): bar.value = n\n"
    )
    with host.attach("left") as flame:
        missed = flame.missed(quiet=True)
        (view,) = [output["data"]["application/vnd.jupyter.widget-view+json"] for output in missed.outputs]
        (model,) = [model for model in missed.widgets.values() if model["model_name"] == "IntProgressModel"]

    assert missed.widgets[view["model_id"]] is model
    assert (model["state"]["value"], model["state"]["max"]) == (200, 200)
    notebook = nbformat.v4.new_notebook(
        metadata={"widgets": {"application/vnd.jupyter.widget-state+json": {"state": missed.widgets}}}
    )
    nbformat.validate(notebook)


def test_it_stays_for_the_next_client_when_it_is_to_be_kept(leave: Callable[..., None], host: Host) -> None:
    leave("print('once')")
    with host.attach("left") as flame:
        first = flame.missed(quiet=True, keep=True)
        again = flame.missed(quiet=True)

    assert [output["text"] for output in first.outputs] == ["once\n"]
    assert first.outputs == again.outputs


def test_a_client_that_comes_back_to_its_own_conversation_leaves_nothing_unseen(
    client: FlameServer, relay, tmp_path: Path
) -> None:
    started, gate = tmp_path / "started", tmp_path / "gate"
    with connect(relay.address, session="back") as flame, Host(client.address) as host:
        cell = CELL.format(started=str(started), gate=str(gate), rest="for n in range(20): print(n)")
        running: Future = in_thread(flame.run, cell, quiet=True)
        until(started.exists)
        relay.refuse()
        until(lambda: info(host, "back").clients == 0)
        gate.touch()
        until(lambda: info(host, "back").unseen == 1)
        relay.heal()
        text = running.result(30).outputs[0]["text"]
        assert text.splitlines() == [str(n) for n in range(20)]
        assert info(host, "back").unseen == 0
        flame.session.close()


def test_of_too_much_the_last_stays_and_the_rest_is_counted(
    lone_server: Callable[..., FlameServer], tmp_path: Path
) -> None:
    said = tmp_path / "said"
    server = lone_server(limits={"missed_bytes": 20_000})
    with connect(server.invite, session="chatty") as flame, Host(server.address) as host:
        flame.run(
            "import threading\ngo = threading.Event()\ndef say():\n    go.wait()\n"
            "    for n in range(5000): print('line', n)\n    print('end', flush=True)\n"
            f"    open({str(said)!r}, 'w').close()\n"
            "speaker = threading.Thread(target=say); speaker.start()"
        )
        other = run_script(
            "import sys; from flame_kernel import connect\n"
            "flame = connect(sys.argv[1], session='chatty')\nflame.execute('import threading; "
            "threading.Timer(1, go.set).start()')",
            server.client_environ(),
            server.address,
        )
        assert other.returncode == 0, other.stderr
        flame.close()
        until(said.exists)
        until(lambda: info(host, "chatty").unseen)
        with host.attach("chatty") as again:
            missed = again.missed(quiet=True)
            host.end("chatty")

    lines = missed.outputs[0]["text"].splitlines()
    assert missed.dropped_lines + len(lines) <= 5001
    assert missed.dropped_lines > 1000
    assert lines[-1] in ("end", "line 4999") or lines[-1].startswith("line")
    assert len(lines) < 3000


# ---------------------------------------------------------------- input()


def test_input_waits_for_whoever_comes_back(leave: Callable[..., None], host: Host) -> None:
    leave("name = input('who? ')\nprint('hello', name)", until_state="waiting for input")

    with host.attach("left") as flame:
        assert flame.missed(quiet=True).question == "who? "
        flame.answer("ada")
        until(lambda: info(host, "left").activity == "idle")  # what it shows meanwhile waits for who follows
        assert flame.follow(quiet=True).outputs[0]["text"] == "hello ada\n"
        assert not flame.follow(quiet=True).outputs
        assert flame["name"] == "ada"


def test_a_question_that_is_asked_later_reaches_who_follows(
    leave: Callable[..., None], host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = tmp_path / "later"
    leave(
        f"while not os.path.exists({str(later)!r}): time.sleep(0.01)\nname = input('who? ')\nprint('hello', name)",
        until_state="busy",
    )
    asked = []

    def ask(self: Terminal, prompt: str, password: bool) -> str:
        asked.append((prompt, password))
        return "eve"

    monkeypatch.setattr(Terminal, "ask", ask)  # there is no keyboard in a test
    with host.attach("left") as flame:
        following = in_thread(flame.follow, quiet=True)
        until(lambda: info(host, "left").clients == 1)
        later.touch()
        missed = following.result(30)

    assert asked == [("who? ", False)]
    assert missed.outputs[-1]["text"].endswith("hello eve\n")


def test_an_interrupt_takes_the_question_back(leave: Callable[..., None], host: Host) -> None:
    leave("input('who? ')", until_state="waiting for input")
    host.interrupt("left")
    until(lambda: info(host, "left").activity == "idle")

    with host.attach("left") as flame:
        missed = flame.missed(quiet=True)
    assert missed.question is None
    assert missed.outputs[-1]["ename"] == "KeyboardInterrupt"


# ---------------------------------------------------------------- following


def test_following_shows_what_others_run(client: FlameServer, host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    with connect(client.address, session="watched") as flame, host.attach("watched") as watcher:
        following = in_thread(watcher.follow, forever=True)
        until(lambda: watcher._connection._overheard is not None)
        flame.run("print('seen by both')", quiet=True)
        until(lambda: "seen by both" in capsys.readouterr().out)
        flame.session.close()
        with pytest.raises(Exception, match="was closed"):
            following.result(30)


def test_following_an_idle_session_returns_at_once(own: Flame) -> None:
    assert not own.follow(quiet=True)


def test_death_of_the_session_ends_following(leave: Callable[..., None], host: Host) -> None:
    from flame_kernel.errors import SessionDied

    leave("while True: time.sleep(0.01)", until_state="busy")
    with host.attach("left") as flame:
        following = in_thread(flame.follow, quiet=True)
        until(lambda: flame._connection._overheard is not None)
        os.kill(info(host, "left").pid, signal.SIGKILL)
        with pytest.raises(SessionDied, match="SIGKILL"):
            following.result(30)
    assert "SIGKILL" in info(host, "left").cause


# ---------------------------------------------------------------- the command and the magics


def test_flame_attach_shows_what_was_missed_and_what_comes_until_ctrl_c(
    leave: Callable[..., None], client: FlameServer, host: Host
) -> None:
    leave("for n in range(11): print(f'\\r{n}', end='', flush=True)\nprint(' missed')")
    command = [sys.executable, "-m", "flame_kernel", "attach", client.address, "left"]
    program = Program(command, client.client_environ())
    try:
        program.wait_for("10 missed")
        with connect(client.address, session="left") as flame:
            flame.run("print('live')", quiet=True)
        program.wait_for("live")
        program.signal(signal.SIGINT)
        assert program.wait() == 0
    finally:
        program.kill()
    told = "\n".join(program.err)
    assert "[attached to 'left'" in told
    assert f"flame attach {client.address} left comes back" in told
    assert info(host, "left").state == "ready"


def test_flame_attach_to_nothing_is_one_line(client: FlameServer) -> None:
    done = flame_command(client.client_environ(), "attach", client.address, "no such thing")

    assert done.returncode == 1
    assert "there is no session 'no such thing'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert client.kernels() == []


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    shell.extension_manager.load_extension("flame_magics")
    yield shell
    shell.extension_manager.unload_extension("flame_magics")
    InteractiveShell.clear_instance()


def test_the_magics_list_sessions_and_attach(
    leave: Callable[..., None], client: FlameServer, shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    leave("for n in range(11): print(f'\\r{n}', end='', flush=True)\nprint(' missed')")

    listed = shell.run_line_magic("flame_sessions", client.address)
    assert [session.name for session in listed] == ["left"]
    assert "left" in str(listed)
    assert "<td>left</td>" in listed._repr_html_()

    shell.run_line_magic("flame_connect", f"{client.address} -s left")
    assert "nobody has seen 1 outputs of session 'left': %flame_attach left shows them" in capsys.readouterr().out
    shell.run_line_magic("flame_attach", "left")
    assert capsys.readouterr().out.endswith("\r10 missed\n")
    assert shell.run_line_magic("flame", "6 * 7") == 42
