"""A session outlives its server: killed or stopped, and started again at the same place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import psutil
import pytest

from flame_kernel import Flame, Host, connect
from flame_kernel.errors import SessionDied, UnknownSession
from tests.integration.relay import Relay
from tests.integration.servers import PATIENCE_S, FlameServer, pair, until
from tests.integration.work import WAIT_FOR, in_thread, wait_until_set
from tests.ports import free_port

End = Callable[[FlameServer], object]

ENDS: list[End] = [FlameServer.kill, FlameServer.terminate]
NAMES = ["killed", "stopped"]


@pytest.fixture
def server(lone_server: Callable[..., FlameServer]) -> FlameServer:
    """A server that is found again at its port, which this process is paired with."""
    server = lone_server("-p", str(free_port()))
    pair(server.invite)
    return server


@pytest.fixture
def flame(server: FlameServer) -> Iterator[Flame]:
    """A session that is not private."""
    with connect(server.address, session="work") as flame:
        flame.execute(WAIT_FOR)
        yield flame


@pytest.mark.parametrize("end", ENDS, ids=NAMES)
def test_variables_and_the_process_stay(server: FlameServer, flame: Flame, end: End) -> None:
    flame.run("x = 41", quiet=True)
    pid = flame.evaluate("__import__('os').getpid()")
    end(server)
    server.start()

    assert flame.run("x + 1", quiet=True).value == 42
    assert flame.evaluate("__import__('os').getpid()") == pid
    with connect(server.address, session="work") as other:
        assert other["x"] == 41


@pytest.mark.parametrize("end", ENDS, ids=NAMES)
def test_a_cell_that_runs_goes_on_and_its_reply_arrives(
    server: FlameServer, flame: Flame, end: End, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    running = in_thread(flame.run, f"began = True\nwait_for({str(gate)!r})\nprint('late')\n'value'", quiet=True)
    wait_until_set(flame, "began")
    with redirect_stderr(StringIO()) as told:
        end(server)
        server.start()
        until(lambda: "started again" in told.getvalue())
        gate.touch()
        result = running.result(30)

    assert result.value == "value"
    assert [output["text"] for output in result.outputs if output["output_type"] == "stream"] == ["late\n"]


@pytest.mark.parametrize("code", ["7 * 6", "1 // 0"])
def test_a_cell_that_ended_while_there_was_no_server_is_told_how(
    server: FlameServer, flame: Flame, tmp_path: Path, code: str
) -> None:
    gate, over = tmp_path / "gate", tmp_path / "over"
    cell = f"began = True\nwait_for({str(gate)!r})\nprint('lost')\n{code}"
    flame.execute(
        "import threading\ndef tell():\n    import time\n"
        "    while 'began' not in globals() or get_ipython().flame_endings.report([began]) == '{}':\n"
        f"        time.sleep(0.01)\n    open({str(over)!r}, 'w').close()"
    )
    cell = cell.replace("began = True", "began = get_ipython().get_parent()['header']['msg_id']")
    running = in_thread(flame.run, cell, quiet=True, check=False)
    wait_until_set(flame, "began")
    flame.execute("threading.Thread(target=tell).start()")
    server.kill()
    gate.touch()
    until(over.exists)
    server.start()
    result = running.result(30)

    assert (result.error is None) == (code == "7 * 6")
    assert result.error is None or isinstance(result.error, ZeroDivisionError)
    assert flame.run("'next'", quiet=True).value == "next"


def test_output_that_nobody_has_read_is_there_after_a_restart(server: FlameServer, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    count = 300
    cell = f"began = True\nwait_for({str(gate)!r})\nfor n in range({count}): print('line', n, '.' * 1000, flush=True)"
    with Relay(server.port) as relay:
        pair(server.fresh_invite(relay.port))
        with (
            connect(relay.address, session="work") as flame,
            connect(server.address, session="work") as witness,
        ):
            flame.execute(WAIT_FOR)
            running = in_thread(flame.run, cell, quiet=True)
            wait_until_set(flame, "began")
            relay.refuse()
            gate.touch()
            witness.run("pass", quiet=True)  # the cell before it has ended by then
            server.kill()
            server.start()
            relay.heal()
            text = "".join(output.get("text", "") for output in running.result(30).outputs)

    assert [line for line in text.splitlines() if line.startswith("line")] == [
        f"line {n} {'.' * 1000}" for n in range(count)
    ]


def test_a_session_that_died_meanwhile_says_so_and_can_be_restarted(server: FlameServer, flame: Flame) -> None:
    (kernel,) = server.kernels()
    server.kill()
    kernel.kill()
    psutil.wait_procs([kernel], PATIENCE_S)
    server.start()

    with pytest.raises(SessionDied, match="no server was there"):
        flame.run("1", quiet=True)
    flame.session.restart()
    assert flame.evaluate("1") == 1


def test_interrupt_restart_and_death_of_an_adopted_process(server: FlameServer, flame: Flame) -> None:
    server.kill()
    server.start()
    running = in_thread(flame.run, "began = True\nimport time\nwhile True: time.sleep(0.1)", quiet=True)
    wait_until_set(flame, "began")
    flame.session.interrupt()
    with pytest.raises(KeyboardInterrupt):
        running.result(30)
    flame.session.restart()
    assert flame.evaluate("'began' in globals()") is False
    server.kill()
    server.start()
    with pytest.raises(SessionDied, match="how is not known"):
        flame.run("import os; os._exit(3)", quiet=True)


def test_a_session_that_was_closed_does_not_come_back(server: FlameServer, flame: Flame) -> None:
    flame.session.close()
    server.kill()
    server.start()

    assert server.kernels() == []
    with connect(server.address, session="work") as again:
        assert again.evaluate("'WAIT_FOR' in globals()") is False


def test_a_private_session_waits_for_its_client_only_for_a_while(lone_server: Callable[..., FlameServer]) -> None:
    server = lone_server("-p", str(free_port()), limits={"lease_s": 4, "silence_s": 3})
    with Relay(server.port) as relay, connect(server.fresh_invite(relay.port)) as flame:
        flame["x"] = 1
        server.kill()
        server.start()
        assert flame["x"] == 1
        server.kill()
        relay.refuse()
        server.start()
        until(lambda: not server.kernels())


def test_a_conversation_that_the_server_never_had_is_refused(server: FlameServer, flame: Flame) -> None:
    server.terminate()
    for record in server.home.glob("state/sessions/*/*/session.json"):
        for path in record.parent.iterdir():
            if path.suffix != ".json":
                path.unlink()
    server.start()

    with pytest.raises(UnknownSession, match="work"):
        flame.run("1", quiet=True)


@pytest.mark.parametrize("end", ENDS, ids=NAMES)
def test_what_nobody_had_seen_is_still_there_for_the_next_client(server: FlameServer, end: End, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with (
        Relay(server.port) as relay,
        connect(server.fresh_invite(relay.port), session="missed") as flame,
        Host(server.address) as host,
    ):
        flame.execute(WAIT_FOR)
        in_thread(
            flame.run, f"began = True\nwait_for({str(gate)!r})\nprint('missed')\nname = input('who? ')", quiet=True
        )
        wait_until_set(flame, "began")
        relay.refuse()
        gate.touch()
        until(lambda: host.sessions()[0].activity == "waiting for input")
        end(server)
        server.start()
        with Host(server.address) as again, again.attach("missed") as next_client:
            (session,) = again.sessions()
            assert session.unseen == 1
            missed = next_client.missed(quiet=True)
            assert missed.outputs[0]["text"] == "missed\n"
            if end is FlameServer.terminate:
                assert session.activity == "waiting for input"
                assert missed.question == "who? "
            next_client.answer("ada")
            next_client.run("1", quiet=True)
            assert next_client["name"] == "ada"
        relay.heal()
