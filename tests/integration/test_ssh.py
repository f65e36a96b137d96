"""`connect("ssh://…")` through a real sshd: no port, no pairing, and nothing lost when ssh ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flame_kernel import Flame, Host, connect
from flame_kernel.errors import (
    ConfigurationError,
    ConnectError,
    HostKeyChanged,
    HostUnknown,
    KeyRefused,
    NotInstalled,
    ServerUnreachable,
)
from tests.conformance.kernels import Home, running
from tests.integration.servers import flame_command, short_folder, until
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


def refused(target: str) -> ConnectError:
    with pytest.raises(ConnectError) as caught:
        connect(target, timeout=20)
    assert "\n" not in str(caught.value)
    return caught.value


# ---------------------------------------------------------------- the way there


def test_it_starts_the_users_server_there_without_a_port(sshd: Sshd, flame: Flame) -> None:
    (server,) = sshd.servers()
    assert flame.module("os").environ["FLAME_HOME"] == str(sshd.home)
    assert not any(connection.status == psutil.CONN_LISTEN for connection in server.net_connections())
    (ssh,) = sshd.clients()
    assert not any(connection.status == psutil.CONN_LISTEN for connection in ssh.net_connections())


def test_cells_and_calls_run_there(flame: Flame) -> None:
    assert flame.evaluate("6 * 7") == 42
    assert flame.run("x = 20; x + 1", quiet=True).value == 21
    assert len(flame.builtin("bytes")(3 * 2**20)) == 3 * 2**20
    assert "ssh://far" in repr(flame)


def test_the_clients_key_is_enrolled_and_a_role_that_it_was_given_stays(sshd: Sshd, flame: Flame) -> None:
    own = flame_command(sshd.environ(), "keys", "own").stdout.split()[1]
    keys = sshd.home / "config" / "authorized_keys"
    assert keys.read_text().count(own) == 1
    before = keys.read_text()
    keys.write_text(before.replace("admin ", "observe "))
    try:
        with pytest.raises(ConnectError if False else Exception, match="observe"):
            connect("ssh://far")
    finally:
        keys.write_text(before)


def test_a_second_connection_finds_the_same_server_and_calls_ssh_once(sshd: Sshd, flame: Flame) -> None:
    called = sshd.folder / "called"
    wrapper = sshd.folder / "my ssh"
    wrapper.write_text(f'#!/bin/sh\necho "$@" >>"{called}"\nexec {sshd.ssh} "$@"\n')
    wrapper.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLAME_SSH", f"'{wrapper}' -v")  # a program with a space in its name, and an option
        with connect("ssh://far") as second:
            assert second.module("os").getppid() == flame.module("os").getppid()
        until(lambda: len(sshd.clients()) == 1)
    (call,) = called.read_text().splitlines()
    assert call.startswith("-v -T ")


def test_an_address_with_user_and_port_through_a_jump_host(sshd: Sshd, flame: Flame) -> None:
    with connect(f"ssh://{psutil.Process().username()}@jump:{sshd.port}") as jumped:
        assert jumped.module("os").getppid() == flame.module("os").getppid()


def test_a_python_over_there_can_be_named(sshd: Sshd, flame: Flame) -> None:
    python = Path(os.sys.executable)
    for path in (python, python.parent.parent):  # itself, and its environment
        with Host(f"ssh://far{path}") as host:
            assert [session.name for session in host.sessions()] == [flame.session.name]
    assert isinstance(refused("ssh://far/usr/bin/python3"), NotInstalled)


def test_commands_take_it(sshd: Sshd, flame: Flame) -> None:
    listed = flame_command(sshd.environ(), "ls", "ssh://far")
    assert flame.session.name in listed.stdout, listed.stderr
    evaluated = flame_command(sshd.environ(FLAME_HOST="ssh://far"), "eval", "6 * 7")
    assert evaluated.stdout == "42\n", evaluated.stderr


def test_a_port_of_the_loopback_interface_where_ssh_has_no_unix_sockets(
    sshd: Sshd, flame: Flame, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flame_kernel.client.ssh import tunnel
    from flame_kernel.client.ssh.local import LocalEnd

    monkeypatch.setattr(
        tunnel, "LocalEnd", type("Tcp", (LocalEnd,), {"fresh": lambda folder: LocalEnd.fresh(folder, unix=False)})
    )
    with connect("ssh://far") as second:
        assert second.evaluate("1 + 1") == 2


# ---------------------------------------------------------------- cuts


def test_nothing_is_lost_when_ssh_ends_in_a_cell(sshd: Sshd, flame: Flame, tmp_path: Path) -> None:
    half, last = tmp_path / "half", tmp_path / "last"
    running_cell = in_thread(flame.run, CELL.format(half=str(half), last=str(last)), quiet=True)
    until(half.exists)
    old = sshd.clients()
    sshd.cut()
    until(lambda: [process for process in sshd.clients() if process not in old])
    last.touch()
    assert "".join(output["text"] for output in running_cell.result(30).outputs) == LINES
    assert flame.evaluate("n") == 299


def test_nothing_is_lost_when_sshd_is_away_for_a_while(sshd: Sshd, flame: Flame, tmp_path: Path) -> None:
    half, last = tmp_path / "half", tmp_path / "last"
    running_cell = in_thread(flame.run, CELL.format(half=str(half), last=str(last)), quiet=True)
    until(half.exists)
    sshd.stop()
    called = in_thread(flame.evaluate, "6 * 7")
    last.touch()
    sshd.start()
    assert "".join(output["text"] for output in running_cell.result(30).outputs) == LINES
    assert called.result(30) == 42


def test_a_notebook_through_ssh(sshd: Sshd, flame: Flame, tmp_path: Path) -> None:
    half, last = tmp_path / "half", tmp_path / "last"
    home = Home()
    try:
        with running(home, FLAME_HOST="ssh://far", FLAME_SSH=sshd.ssh) as kernel:
            front = kernel.frontend
            assert front.execute("import os; os.getppid()").value == str(flame.module("os").getppid())
            cell = front.send("execute_request", {"code": CELL.format(half=str(half), last=str(last)), "silent": False})
            until(half.exists)
            sshd.cut()
            last.touch()
            assert front.finish(cell).text() == LINES
            kernel.shut_down()
    finally:
        assert home.close() == []
    until(lambda: len(sshd.clients()) == 1)


def test_a_session_is_kept_and_found_again(sshd: Sshd, flame: Flame) -> None:
    with connect("ssh://far", session="kept") as first:
        first["x"] = 5
    with connect("ssh://far", session="kept") as again:
        assert again["x"] == 5
        again.session.close()


def test_a_key_that_ssh_refuses_after_a_cut_ends_the_connection_with_its_reason(sshd: Sshd, flame: Flame) -> None:
    admitted = sshd.folder / "authorized_keys"
    keys = admitted.read_text()
    with connect("ssh://far") as doomed:
        (ssh,) = [
            process
            for process in sshd.clients()
            if process.create_time() == max(map(psutil.Process.create_time, sshd.clients()))
        ]
        admitted.write_text("")
        try:
            ssh.kill()
            with pytest.raises(KeyRefused, match="Permission denied"):
                doomed.run("1", quiet=True, timeout=30)
        finally:
            admitted.write_text(keys)


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


def test_a_host_without_remote_flame_and_what_to_do(sshd: Sshd) -> None:
    (sshd.bin / "flame").unlink()
    try:
        error = refused("ssh://far")
    finally:
        sshd.install_flame()
    assert isinstance(error, NotInstalled)
    assert "far has no remote-flame" in str(error)
    assert "flame ssh-install ssh://far" in str(error)


def test_listing_sessions_starts_no_server(sshd: Sshd) -> None:
    with short_folder() as folder:
        (folder / "s").mkdir()
        empty = sshd.bin / "empty"
        empty.write_text(f'#!/bin/sh\nFLAME_HOME={folder}/s exec {os.sys.executable} "$@"\n')
        empty.chmod(0o755)
        with pytest.raises(ServerUnreachable, match="there are no sessions on"):
            Host(f"ssh://far{empty}")


def test_nothing_is_left_of_ssh(sshd: Sshd) -> None:
    with connect("ssh://far"):
        assert sshd.clients()
    until(lambda: not [process for process in sshd.clients() if process.ppid() != os.getpid()])
    sockets = list((sshd.client_home / "run").glob("ssh-*"))
    until(lambda: len(list((sshd.client_home / "run").glob("ssh-*"))) <= 1)
    assert len(sockets) <= 2
