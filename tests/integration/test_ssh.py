"""`connect("ssh://…")` through a real sshd: no port, no pairing, and nothing lost when ssh ends."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import psutil
import pytest

from flame_kernel import Flame, Host, connect
from flame_kernel.client.links.ssh import tunnel
from flame_kernel.client.links.ssh.local import LocalEnd
from flame_kernel.errors import (
    ConfigurationError,
    ConnectError,
    FlameTimeout,
    HostKeyChanged,
    HostUnknown,
    KeyRefused,
    NotInstalled,
    NotPermitted,
    ServerUnreachable,
)
from tests.conformance.kernels import Home, running
from tests.integration.servers import PATIENCE_S, Program, flame_command, short_folder, until
from tests.integration.sshd import Sshd
from tests.integration.work import in_thread

# Says when it's half-way, goes on, and waits for the test before the last part.
CELL = """
import os, time
for n in range(300):
    print("line", n, flush=True)
    if n == 100:
        open({half!r}, "w").close()
    if n == 200:
        while not os.path.exists({last!r}):
            time.sleep(0.01)
"""
LINES = "".join(f"line {n}\n" for n in range(300))

# Tells that it was interrupted, and waits for a line from the terminal.
# Another thread tells, so that an interrupt finds the main thread where it sleeps, not where it prints.
PATIENT = """
import threading, time
try:
    threading.Thread(target=print, args=("ready",), kwargs={"flush": True}).start()
    time.sleep(100)
except KeyboardInterrupt:
    print("interrupted", flush=True)
print("then", input("go? "), flush=True)
"""


@pytest.fixture(scope="module")
def sshd(module_environ: pytest.MonkeyPatch) -> Iterator[Sshd]:
    """The module's sshd, with this process as a client that may log in."""
    with short_folder() as folder, Sshd(folder) as sshd:
        module_environ.setenv("FLAME_HOME", str(sshd.client_home))
        module_environ.setenv("FLAME_SSH", sshd.ssh)
        yield sshd


@pytest.fixture(scope="module")
def flame(sshd: Sshd) -> Iterator[Flame]:
    """A session over there that all tests share; it also keeps the server up."""
    with connect("ssh://far") as flame:
        yield flame
    until(lambda: not sshd.clients())


def names(host: Host) -> list[str]:
    return [session.name for session in host.sessions()]


def server_of(flame: Flame) -> int:
    return flame.module("os").getppid()


def refused(target: str) -> ConnectError:
    """Connect, and return the error that this has to give: one line."""
    with pytest.raises(ConnectError) as caught:
        connect(target, timeout=20).close()
    assert "\n" not in str(caught.value)
    return caught.value


def others_gone(sshd: Sshd) -> list[psutil.Process]:
    """Wait until the ssh of the session that all share is the only one; another may take a moment to end."""
    until(lambda: len(sshd.clients()) == 1)
    return sshd.clients()


def listening(process: psutil.Process) -> list[object]:
    return [connection for connection in process.net_connections() if connection.status == psutil.CONN_LISTEN]


# ---------------------------------------------------------------- the way there


def test_it_starts_the_users_server_there_and_opens_no_port(sshd: Sshd, flame: Flame) -> None:
    (server,) = sshd.servers()
    (ssh,) = others_gone(sshd)
    assert server_of(flame) == server.pid
    assert listening(server) == listening(ssh) == []


def test_cells_and_calls_run_there(flame: Flame) -> None:
    assert flame.evaluate("6 * 7") == 42
    assert flame.run("x = 20; x + 1", quiet=True).value == 21
    assert len(flame.builtin("bytes")(3 * 2**20)) == 3 * 2**20
    assert flame.module("os").getcwd() == str(Path.home())  # where a login begins, not where this client works
    assert "ssh://far" in repr(flame)


def test_the_clients_key_is_enrolled_and_keeps_a_role_that_it_was_given(
    sshd: Sshd, flame: Flame, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLAME_HOME", str(folder / "other"))
    keys = sshd.home / "config" / "authorized_keys"
    before = keys.read_text()
    with Host("ssh://far") as other:
        assert len(other.sessions()) == 0  # another key sees its own sessions only
    (enrolled,) = keys.read_text().removeprefix(before).splitlines()
    assert enrolled.startswith("admin flame-curve25519 ")
    keys.write_text(before + enrolled.replace("admin", "observe") + "\n")
    with pytest.raises(NotPermitted, match="observe"):
        connect("ssh://far")
    keys.write_text(before)


def test_a_second_connection_finds_the_same_server_and_calls_ssh_once(
    sshd: Sshd, flame: Flame, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = sshd.folder / "called"
    wrapper = sshd.folder / "my ssh"
    wrapper.write_text(f'#!/bin/sh\necho "$@" >>"{called}"\necho Welcome\nexec {sshd.ssh} "$@"\n')
    wrapper.chmod(0o755)  # it says something on stdout first, as some logins do
    monkeypatch.setenv("FLAME_SSH", f"'{wrapper}' -4")  # a program with a space in its name, and an option
    with Host("ssh://far") as second:
        assert names(second) == [flame.session.name]
    (call,) = called.read_text().splitlines()
    assert call.startswith("-4 ")
    assert "BatchMode=yes" in call  # nobody can answer


def test_an_address_with_user_and_port_through_a_jump_host(sshd: Sshd, flame: Flame) -> None:
    with Host(f"ssh://{psutil.Process().username()}@jump:{sshd.port}") as host:
        assert names(host) == [flame.session.name]


def test_a_master_of_the_users_own_is_used_and_keeps_nothing(sshd: Sshd, flame: Flame) -> None:
    only = others_gone(sshd)
    told = ["-o", "PermitLocalCommand=yes", "-o", "LocalCommand=echo ready"]
    master = Program([*sshd.ssh.split(), "-M", *told, "-N", "shared"], sshd.environ())
    admitted = sshd.folder / "authorized_keys"
    keys = admitted.read_text()
    try:
        master.wait_for("ready")
        admitted.write_text("")  # nobody can log in any more
        with Host("ssh://shared") as second:
            assert names(second) == [flame.session.name]
        until(lambda: len(sshd.clients()) == len(only) + 1)
        process = psutil.Process(master.process.pid)
        assert [socket for socket in process.net_connections("unix") if socket.laddr]  # it can be seen
        until(lambda: not [socket for socket in process.net_connections("unix") if "/run/ssh-" in socket.laddr])
    finally:
        admitted.write_text(keys)
        master.kill()


def test_a_python_over_there_can_be_named(sshd: Sshd, flame: Flame) -> None:
    python = Path(sys.executable)
    for path in (python, python.parent.parent):  # itself, and its environment
        with Host(f"ssh://far{path}") as host:
            assert names(host) == [flame.session.name]
    error = refused("ssh://far/usr/bin/env")  # no Python, or one without remote-flame
    assert isinstance(error, NotInstalled)
    assert "/usr/bin/env" in str(error)


def test_commands_take_it(sshd: Sshd, flame: Flame, tmp_path: Path) -> None:
    listed = flame_command(sshd.environ(), "ls", "ssh://far")
    assert flame.session.name in listed.stdout, listed.stderr
    evaluated = flame_command(sshd.environ(FLAME_HOST="ssh://far"), "eval", "-s", flame.session.name, "6 * 7")
    assert evaluated.stdout == "42\n", evaluated.stderr
    environ = sshd.environ(JUPYTER_DATA_DIR=str(tmp_path))
    installed = flame_command(environ, "install", "--host", "ssh://ada@far:22")
    assert installed.returncode == 0, installed.stderr
    kernelspec = tmp_path / "kernels" / "flame-ssh-ada-far-22" / "kernel.json"
    assert json.loads(kernelspec.read_bytes())["argv"][-2:] == ["--host", "ssh://ada@far:22"]


def test_a_port_of_the_loopback_interface_where_ssh_has_no_unix_sockets(
    flame: Flame, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tcp(LocalEnd):
        @classmethod
        def fresh(cls, folder: Path, unix: bool = False) -> LocalEnd:
            return LocalEnd.fresh(folder, unix=False)

    monkeypatch.setattr(tunnel, "LocalEnd", Tcp)
    with Host("ssh://far") as second:
        assert names(second) == [flame.session.name]


def test_listing_sessions_starts_no_server(sshd: Sshd) -> None:
    with short_folder() as folder:
        elsewhere = sshd.bin / "elsewhere"
        elsewhere.write_text(f'#!/bin/sh\nFLAME_HOME={folder}/h exec {sys.executable} "$@"\n')
        elsewhere.chmod(0o755)
        with pytest.raises(ServerUnreachable, match="there are no sessions on"):
            Host(f"ssh://far{elsewhere}")


# ---------------------------------------------------------------- cuts


def test_nothing_is_lost_when_ssh_ends_in_a_cell(sshd: Sshd, flame: Flame, tmp_path: Path) -> None:
    half, last = tmp_path / "half", tmp_path / "last"
    cell = in_thread(flame.run, CELL.format(half=str(half), last=str(last)), quiet=True)
    until(half.exists)
    old = others_gone(sshd)
    sshd.cut()
    until(lambda: [process for process in sshd.clients() if process not in old])
    last.touch()
    assert "".join(output["text"] for output in cell.result(PATIENCE_S).outputs) == LINES
    assert flame.evaluate("n") == 299


def test_nothing_is_lost_when_sshd_is_away_for_a_while(sshd: Sshd, flame: Flame, tmp_path: Path) -> None:
    half, last = tmp_path / "half", tmp_path / "last"
    cell = in_thread(flame.run, CELL.format(half=str(half), last=str(last)), quiet=True)
    until(half.exists)
    sshd.stop()
    called = in_thread(flame.evaluate, "6 * 7")
    last.touch()
    sshd.start()
    assert "".join(output["text"] for output in cell.result(PATIENCE_S).outputs) == LINES
    assert called.result(PATIENCE_S) == 42


def test_a_notebook_that_moves_there_and_loses_ssh_in_a_cell(sshd: Sshd, flame: Flame, tmp_path: Path) -> None:
    half, last = tmp_path / "half", tmp_path / "last"
    home = Home()
    try:
        with running(home, FLAME_SSH=sshd.ssh) as kernel:
            front = kernel.frontend
            front.execute("%flame_connect ssh://far")
            assert front.execute("import os; os.getppid()").value == str(server_of(flame))
            cell = front.send("execute_request", {"code": CELL.format(half=str(half), last=str(last)), "silent": False})
            until(half.exists)
            (ssh,) = [process for process in sshd.clients() if process.ppid() == kernel.process.pid]
            ssh.kill()
            last.touch()
            assert front.finish(cell).text() == LINES
            kernel.shut_down()
    finally:
        assert home.close() == []
    others_gone(sshd)


def test_a_server_that_was_killed_there_is_started_again_and_goes_on(sshd: Sshd, flame: Flame) -> None:
    flame["x"] = 5
    (server,) = sshd.servers()
    server.kill()
    assert flame.run("x + 1", quiet=True, timeout=PATIENCE_S).value == 6
    assert sshd.servers() != [server]


def test_a_key_that_ssh_refuses_after_a_cut_ends_the_connection_and_says_why(sshd: Sshd, flame: Flame) -> None:
    admitted = sshd.folder / "authorized_keys"
    keys = admitted.read_text()
    before = others_gone(sshd)
    with connect("ssh://far", session=flame.session.name) as doomed:
        (ssh,) = [process for process in sshd.clients() if process not in before]
        admitted.write_text("")
        try:
            ssh.kill()
            until(lambda: doomed.closed)
        finally:
            admitted.write_text(keys)
        with pytest.raises(KeyRefused, match="Permission denied"):
            doomed.run("1")


# ---------------------------------------------------------------- a terminal


def test_on_a_terminal_ssh_may_ask_and_keeps_out_of_the_way_of_ctrl_c(sshd: Sshd, flame: Flame, tmp_path: Path) -> None:
    script = tmp_path / "patient.py"
    script.write_text(PATIENT)
    before = others_gone(sshd)
    arguments = ["-m", "flame_kernel", "run", "-H", "ssh://new", "-s", flame.session.name, str(script)]
    with pexpect.spawn(sys.executable, arguments, env=sshd.environ(), timeout=PATIENCE_S, encoding="utf-8") as terminal:
        terminal.expect("continue connecting")
        terminal.sendline("yes")
        terminal.expect("ready")
        (ssh,) = [process for process in sshd.clients() if process not in before]
        terminal.sendintr()
        terminal.expect("interrupted")
        terminal.expect(r"go\? ")
        assert ssh.is_running()
        terminal.sendline("on")
        terminal.expect("then on")
        terminal.expect(pexpect.EOF)
    assert terminal.exitstatus == 0


# ---------------------------------------------------------------- what can go wrong


def test_a_key_that_is_refused(sshd: Sshd) -> None:
    error = refused("ssh://refused")
    assert isinstance(error, KeyRefused)
    assert "ssh-add" in str(error)
    assert "Permission denied (publickey)" in str(error)


def test_an_unknown_host_key(sshd: Sshd) -> None:
    error = refused("ssh://stranger")
    assert isinstance(error, HostUnknown)
    assert "'ssh stranger'" in str(error)


def test_a_host_key_that_has_changed(sshd: Sshd) -> None:
    known = sshd.folder / "known_hosts"
    right = known.read_text()
    other = (sshd.folder / "other.pub").read_text().split()[1]
    known.write_text(" ".join([*right.split()[:2], other]) + "\n")
    try:
        assert isinstance(refused("ssh://far"), HostKeyChanged)
    finally:
        known.write_text(right)


def test_no_such_host_and_nobody_there(sshd: Sshd) -> None:
    assert "Could not resolve hostname" in str(refused("ssh://no-such-host.invalid"))
    assert "Connection refused" in str(refused("ssh://far:1"))


def test_no_ssh_at_all(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAME_SSH", "no-such-program -v")
    with pytest.raises(ConfigurationError, match="no program 'no-such-program'"):
        connect("ssh://far")


def test_forwarding_that_sshd_does_not_allow(sshd: Sshd, flame: Flame) -> None:
    keys = sshd.folder / "authorized_keys"
    before = keys.read_text()
    keys.write_text(f"restrict {before}")
    try:
        error = refused("ssh://far")
    finally:
        keys.write_text(before)
    assert isinstance(error, ServerUnreachable)
    assert "AllowStreamLocalForwarding" in str(error)


def test_an_ssh_that_says_nothing_is_given_up_in_time_with_all_that_it_started(
    sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = sshd.folder / "silent"
    silent.write_text(f"#!/bin/sh\ntail -f {silent} >/dev/null\n")
    silent.chmod(0o755)
    monkeypatch.setenv("FLAME_SSH", str(silent))
    with pytest.raises(FlameTimeout, match=r"ssh did not get to ssh://far within 0\.5 s"):
        connect("ssh://far", timeout=0.5)
    tail = ["tail", "-f", str(silent)]
    until(lambda: not [process for process in psutil.process_iter(["cmdline"]) if process.info["cmdline"] == tail])


def test_a_host_without_remote_flame_and_what_to_do(sshd: Sshd) -> None:
    (sshd.bin / "flame").unlink()
    try:
        error = refused("ssh://far")
    finally:
        sshd.install_flame()
    assert isinstance(error, NotInstalled)
    assert "far has no remote-flame" in str(error)
    assert "flame ssh-install ssh://far" in str(error)


# ---------------------------------------------------------------- what is left


def test_nothing_is_left_of_a_connection(sshd: Sshd, flame: Flame) -> None:
    before = others_gone(sshd)
    with Host("ssh://far"):
        assert len(sshd.clients()) == len(before) + 1
    until(lambda: sshd.clients() == before)
    until(lambda: len(list((sshd.client_home / "run").glob("ssh-*"))) == len(before))


def test_ssh_ends_with_a_client_that_was_killed(sshd: Sshd, flame: Flame) -> None:
    before = others_gone(sshd)
    code = "from flame_kernel import Host; host = Host('ssh://far'); print('ready'); input()"
    client = Program([sys.executable, "-c", code], sshd.environ(), gated=True)
    try:
        client.wait_for("ready")
        assert len(sshd.clients()) == len(before) + 1
        os.kill(client.process.pid, signal.SIGKILL)
    finally:
        client.kill()
        assert client.process.stdin is not None
        client.process.stdin.close()
    until(lambda: sshd.clients() == before)
