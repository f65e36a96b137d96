"""A server's sessions without being in one: the `Host`, and the commands that are thin layers over it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from flame_kernel import Host, connect
from flame_kernel.errors import ConnectError, SessionError, SessionRestarted, UnknownSession
from tests.integration.relay import Relay
from tests.integration.servers import FlameServer, clean_environ, flame_command, until
from tests.integration.work import in_thread, wait_until_set


@pytest.fixture(scope="module")
def limits() -> dict[str, float]:
    """Who is cut off counts as gone soon."""
    return {"silence_s": 3.0}


@pytest.fixture
def host(client: FlameServer) -> Iterator[Host]:
    with Host(client.address) as host:
        yield host
        for session in host.sessions():
            with suppress(UnknownSession):  # a private one ends by itself
                host.end(session.name)


def names(host: Host) -> list[str]:
    return [session.name for session in host.sessions()]


def test_no_session_is_started_to_look_at_them(client: FlameServer, host: Host) -> None:
    assert list(host.sessions()) == []
    assert "python3" in {kernel.name for kernel in host.kernels()}
    done = flame_command(client.client_environ(), "kernels", client.address)
    assert "python3" in done.stdout
    assert client.kernels() == []


def test_a_listing_says_what_a_session_is_and_does(client: FlameServer, host: Host, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with connect(client.address, session="work") as flame, connect(client.address):
        flame["big"] = bytes(50_000_000)
        named, private = host.sessions(memory=True)
        assert (named.name, named.kernel, named.host, named.state) == ("work", "python3", host.name, "ready")
        assert (named.clients, len(named.names), named.private, named.unseen) == (1, 1, False, 0)
        assert (named.activity, named.ends_in, named.cause) == ("idle", None, "")
        assert named.started > psutil.boot_time()
        assert named.pid == flame.evaluate("__import__('os').getpid()")
        assert private.private
        assert private.name.startswith("private-")
        assert named.memory is not None
        assert private.memory is not None
        assert named.memory > private.memory + 40_000_000
        assert all(session.memory is None for session in host.sessions())  # nobody asked

        cell = in_thread(flame.run, f"import os\nwhile not os.path.exists({str(gate)!r}): pass", quiet=True)
        until(lambda: host.sessions()[0].activity == "busy")
        gate.touch()
        cell.result(30)
        until(lambda: host.sessions()[0].activity == "idle")


def test_memory_counts_what_a_session_has_started(client: FlameServer, host: Host) -> None:
    with connect(client.address, session="parent") as flame:
        before = host.sessions(memory=True)[0].memory
        flame.execute(
            "import subprocess, sys\nchild = subprocess.Popen([sys.executable, '-c', "
            "'data = b\"x\" * 60_000_000; print(1, flush=True); input()'], "
            "stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
            "child.stdout.readline()"
        )
        after = host.sessions(memory=True)[0].memory
        flame.execute("child.kill(); child.communicate()")
    assert before is not None
    assert after is not None
    assert after > before + 50_000_000


def test_sessions_are_ended_and_restarted_by_name(client: FlameServer, host: Host) -> None:
    with connect(client.address, session="one") as flame:
        flame["x"] = 1
        host.restart("one")
        assert flame.run("'x' in globals()", quiet=True).value is False
        host.end("one")
        until(lambda: flame.closed)
    assert names(host) == []
    for act in (host.end, host.restart, host.interrupt, host.detach, lambda name: host.rename(name, "other")):
        with pytest.raises(UnknownSession, match="there is no session 'one'"):
            act("one")


def test_who_comes_while_a_session_is_being_ended_gets_a_new_one(client: FlameServer, host: Host) -> None:
    for _ in range(3):
        with connect(client.address, session="again") as flame:
            flame["x"] = 1
            ending = in_thread(host.end, "again")
            until(lambda: flame.closed)
        with connect(client.address, session="again", timeout=20) as flame:
            ending.result(30)
            assert flame.run("'x' in globals()", quiet=True).value is False


def test_a_cell_is_interrupted_by_the_session_s_name(client: FlameServer, host: Host) -> None:
    with connect(client.address, session="busy") as flame:
        cell = in_thread(flame.run, "spinning = True\nwhile True: pass", quiet=True, check=False)
        wait_until_set(flame, "spinning")  # a kernel is busy before it heeds a signal
        until(lambda: host.sessions()[0].activity == "busy")
        host.interrupt("busy")
        assert isinstance(cell.result(20).error, KeyboardInterrupt)


def test_a_key_sees_its_own_sessions_only(client: FlameServer, host: Host, folder: Path) -> None:
    with connect(client.address, session="mine"):
        stranger = clean_environ(folder / "stranger")
        invite = client.fresh_invite()
        assert flame_command(stranger, "ls", invite).stdout.strip() == "no sessions"
        done = flame_command(stranger, "kill", client.address, "mine")
        assert (done.returncode, done.stdout) == (1, "")
        assert "there is no session 'mine' that belongs to this key" in done.stderr
        assert names(host) == ["mine"]


# ---------------------------------------------------------------- names


def test_a_session_has_one_name_at_a_time_and_goes_on_under_the_new_one(client: FlameServer, host: Host) -> None:
    with connect(client.address, session="old") as flame, connect(client.address, session="taken"):
        flame["x"] = 1
        flame.session.rename("new")
        until(lambda: flame.session.name == "new")
        assert names(host) == ["taken", "new"]
        assert flame["x"] == 1
        for name in ("taken", "", " ", "a\nb", "x" * 101, "a/b"):
            with pytest.raises(SessionError):
                flame.session.rename(name)
        with pytest.raises(UnknownSession):
            host.attach("old")
        with connect(client.address, session="old") as other:  # the name is free
            assert other.evaluate("'x' in globals()") is False
            assert flame["x"] == 1


@pytest.mark.parametrize("name", [" ", "a\nb", "x" * 101, "a/b", "../x", "/", "nobody@laptop/lab"])
def test_no_session_is_started_under_what_is_no_name(client: FlameServer, host: Host, name: str) -> None:
    with pytest.raises(SessionError, match="is no name for a session") as refused:
        connect(client.address, session=name)
    assert "\n" not in str(refused.value)
    assert names(host) == []


def test_a_client_that_was_away_finds_its_renamed_session(client: FlameServer, host: Host, relay: Relay) -> None:
    with connect(relay.address, session="before") as flame:
        flame["x"] = 1
        relay.refuse()
        until(lambda: host.sessions()[0].clients == 0)
        host.rename("before", "after")
        with connect(client.address, session="before"):  # takes the old name
            relay.heal()
            assert flame.run("x", quiet=True).value == 1
            assert flame.session.name == "after"


def test_a_private_session_that_is_renamed_or_detached_stays(client: FlameServer, host: Host) -> None:
    with connect(client.address) as flame:
        flame["x"] = 1
        flame.session.rename("kept")
    with connect(client.address) as flame:
        flame["x"] = 2
        private = flame.session.name
        flame.session.detach()
        assert flame.closed
    assert names(host) == ["kept", private]
    for name, x in (("kept", 1), (private, 2)):
        with host.attach(name) as flame:
            assert flame["x"] == x
    assert [session.ends_in for session in host.sessions()] == [None, None]


def test_detaching_sends_all_clients_away_and_the_session_goes_on(client: FlameServer, host: Host) -> None:
    with connect(client.address, session="shared") as one, connect(client.address, session="shared") as other:
        one["x"] = 1
        cell = in_thread(other.run, "import time\nwhile True: time.sleep(0.01)", quiet=True)
        until(lambda: host.sessions()[0].activity == "busy")
        host.detach("shared")
        with pytest.raises(SessionError, match="detached"):
            cell.result(20)
        until(lambda: one.closed)
        with pytest.raises(SessionError, match="which goes on; connect again"):
            one.evaluate("x")
    (session,) = host.sessions()
    assert (session.clients, session.activity) == (0, "busy")
    with host.attach("shared") as flame:
        assert flame["x"] == 1


# ---------------------------------------------------------------- the lane itself


def test_a_request_over_a_cut_is_answered_and_carried_out_once(client: FlameServer, relay: Relay) -> None:
    with connect(client.address, session="cut") as flame, Host(relay.address) as far:
        pid = far.sessions()[0].pid
        relay.refuse()
        restart = in_thread(far.restart, "cut")
        before = relay.connections
        until(lambda: relay.connections > before)
        assert not restart.done()
        relay.heal()
        restart.result(30)
        new = far.sessions()[0].pid
        assert new != pid
        relay.cut()
        assert far.sessions()[0].pid == new
        flame.session.close()


def test_a_host_that_is_closed_or_not_there_says_so(client: FlameServer, tmp_path: Path) -> None:
    host = Host(client.address)
    host.close()
    host.close()
    with pytest.raises(ConnectError, match="was closed"):
        host.sessions()
    with pytest.raises(ConnectError, match="no Flame server listens"):
        Host(str(tmp_path / "no.sock"))


def test_an_embedded_server_is_not_started_to_be_looked_at(folder: Path) -> None:
    environ = clean_environ(folder)
    done = flame_command(environ, "ls")

    assert done.returncode == 1
    assert "there are no sessions on this machine" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_sessions_of_the_embedded_server_are_found_without_naming_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAME_HOME", str(folder))
    monkeypatch.delenv("FLAME_HOST", raising=False)
    with connect(session="here") as flame:
        environ = clean_environ(folder)
        assert "here" in flame_command(environ, "ls").stdout
        assert flame_command(environ, "rename", "here", "there").returncode == 0
        assert flame.sessions()[0].name == "there"
        assert flame_command(environ, "kill", "there").returncode == 0


# ---------------------------------------------------------------- commands


@pytest.fixture
def command(client: FlameServer) -> Callable[..., str]:
    """Run a `flame` command on the server, which must go well, and return what it prints."""

    def run(name: str, *arguments: str) -> str:
        done = flame_command(client.client_environ(FLAME_HOST=""), name, client.address, *arguments)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    return run


def test_the_commands(client: FlameServer, host: Host, command: Callable[..., str]) -> None:
    assert command("ls") == "no sessions\n"
    with connect(client.address, session="a") as flame, connect(client.address, session="b"):
        heading, first, second = command("ls").splitlines()
        assert heading.split() == ["NAME", "KERNEL", "HOST", "STATE", "SINCE", "CLIENTS", "UNSEEN", "MEMORY", "ENDS"]
        assert first.split()[:4] == ["a", "python3", host.name, "idle"]
        assert first.endswith("never")
        assert " MiB " in first
        assert second.startswith("b ")
        found = json.loads(command("ls", "--json"))
        assert [(session["name"], session["clients"]) for session in found] == [("a", 1), ("b", 1)]

        flame["x"] = 1
        cell = in_thread(flame.run, "spinning = True\nwhile True: pass", quiet=True, check=False)
        wait_until_set(flame, "spinning")
        until(lambda: host.sessions()[0].activity == "busy")
        assert command("interrupt", "a") == ""
        assert isinstance(cell.result(20).error, KeyboardInterrupt)
        command("rename", "a", "c")
        assert names(host) == ["b", "c"]
        pending = in_thread(flame.execute, "begun = True\nimport time; time.sleep(60)")
        wait_until_set(flame, "begun")
        command("restart", "c")
        with pytest.raises(SessionRestarted):
            pending.result(20)
        command("detach", "c")
        until(lambda: flame.closed)
        command("kill", "c")
        assert names(host) == ["b"]
        with connect(client.address):
            assert len(command("kill", "--all").splitlines()) == 2
    assert names(host) == []
    until(lambda: client.kernels() == [])


@pytest.mark.parametrize(
    "arguments",
    [["kill"], ["kill", "a", "b", "c"], ["rename", "a"], ["attach"], ["kill", "a", "b", "--all"]],
    ids=" ".join,
)
def test_a_command_that_names_no_session_says_how(client: FlameServer, arguments: list[str]) -> None:
    done = flame_command(client.client_environ(), *arguments)

    assert done.returncode == 2
    assert "[HOST]" in done.stderr
    assert "Traceback" not in done.stderr


def test_flame_host_is_where_the_commands_look(client: FlameServer, host: Host) -> None:
    with connect(client.address, session="a"):
        done = flame_command(client.client_environ(FLAME_HOST=client.address), "kill", "a")
    assert (done.returncode, done.stderr) == (0, "")
    assert names(host) == []
