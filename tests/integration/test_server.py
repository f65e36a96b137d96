"""`flame-server` as whoever starts it meets it: what it prints, how it refuses, how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from flame_kernel import connect
from flame_kernel.errors import ServerUnreachable
from tests.integration.servers import (
    PATIENCE_S,
    RUNNING,
    FlameServer,
    Program,
    clean_environ,
    end_all,
    flame_command,
    pair,
    until,
)

MakeServer = Callable[..., FlameServer]


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line with which a command refused."""
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


# ---------------------------------------------------------------- enabling


@pytest.mark.parametrize("word", [None, "", "false", "0", "no", "Off"])
def test_it_is_off_until_it_is_enabled(folder: Path, word: str | None) -> None:
    environ = clean_environ(folder) if word is None else clean_environ(folder, FLAME_ENABLED=word)
    line = refused(flame_command(environ, "serve", "-p", "0"))
    assert "FLAME_ENABLED=true" in line
    assert "--enable" in line
    assert not any(folder.iterdir())


def test_an_unknown_word_is_an_error(folder: Path) -> None:
    line = refused(flame_command(clean_environ(folder, FLAME_ENABLED="perhaps"), "serve", "-p", "0"))
    assert "'perhaps'" in line
    assert "true" in line


@pytest.mark.parametrize("word", ["true", "YES"])
def test_a_word_in_the_environment_enables_it(folder: Path, word: str) -> None:
    starts(clean_environ(folder, FLAME_ENABLED=word))


def test_the_file_enables_it(folder: Path) -> None:
    config = folder / "config"
    config.mkdir(mode=0o700)
    (config / "server.toml").write_text("enabled = true\n")
    starts(clean_environ(folder))


def test_a_broken_file_is_an_error(folder: Path) -> None:
    config = folder / "config"
    config.mkdir(mode=0o700)
    file = config / "server.toml"
    for text, complaint in (("enabled = ", "TOML"), ("colour = 1", "colour"), ("port = 'x'", "port")):
        file.write_text(text)
        line = refused(flame_command(clean_environ(folder), "serve", "-p", "0", "--enable"))
        assert str(file) in line
        assert complaint in line


def starts(environ: dict[str, str]) -> None:
    program = Program([sys.executable, "-m", "flame_kernel", "serve", "-p", "0"], environ)
    try:
        program.wait_for(RUNNING)
        program.signal(signal.SIGINT)
        assert program.wait() == 0
    finally:
        program.kill()


# ---------------------------------------------------------------- what it prints, how it ends


def test_it_says_where_it_listens_who_is_admitted_and_how_to_pair(folder: Path) -> None:
    command = Path(sys.executable).with_name("flame-server")
    program = Program([str(command), "-p", "0"], clean_environ(folder, FLAME_ENABLED="true"))
    try:
        program.wait_for(RUNNING)
        listening, admitted, invite, running = program.out
        port = re.fullmatch(r"listening on 127\.0\.0\.1:(\d+), encrypted; key SHA256:\S+", listening)[1]
        assert admitted == "admitted: nobody yet"
        assert re.fullmatch(rf"invite \(works once, for an hour\): flame://127\.0\.0\.1:{port}/#\S+", invite)
        assert running == RUNNING
        assert program.err == []
    finally:
        program.kill()


def test_who_was_paired_is_admitted(lone_server: MakeServer) -> None:
    server = lone_server()
    pair(server.invite)
    server.stop()
    server.start()
    assert any(line.startswith("admitted: ") and "admin" in line for line in server.program.out)
    pair(server.invite)


def test_the_invite_of_a_server_on_all_interfaces_names_the_host(lone_server: MakeServer) -> None:
    server = lone_server("-H", "0.0.0.0", "-p", "0")

    assert server.invite.startswith(f"flame://{socket.gethostname()}:{server.port}/#")


def test_quiet_prints_nothing(folder: Path) -> None:
    path = folder / "quiet.sock"
    program = Program(
        [sys.executable, "-m", "flame_kernel", "serve", "--enable", "-q", "-u", str(path)], clean_environ(folder)
    )
    try:
        until(path.exists)
        with connect(str(path)) as flame:
            assert flame.evaluate("1") == 1
        program.signal(signal.SIGTERM)
        assert program.wait() == 0
        assert program.out == []
    finally:
        program.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_end_it_and_leave_its_sessions(lone_server: MakeServer, number: signal.Signals) -> None:
    server = lone_server()
    with connect(server.invite, session="one"):
        (kernel,) = server.kernels()
        server.program.signal(number)
        assert server.program.wait() == 0
        assert server.program.err == []
        assert kernel.is_running()


def test_nobody_can_connect_from_another_address(lone_server: MakeServer) -> None:
    server = lone_server()
    listening = [
        connection.laddr.ip
        for connection in psutil.Process(server.program.process.pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert [address.removeprefix("::ffff:") for address in listening] == ["127.0.0.1"]


# ---------------------------------------------------------------- addresses


def test_port_in_use(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused(flame_command(clean_environ(folder), "serve", "--enable", "-p", str(port)))
    assert f"127.0.0.1:{port}" in line
    assert "-p" in line


def test_address_that_is_not_ours(folder: Path) -> None:
    line = refused(flame_command(clean_environ(folder), "serve", "--enable", "-p", "0", "-H", "192.0.2.1"))
    assert "192.0.2.1" in line


def test_unix_socket(lone_server: MakeServer, folder: Path) -> None:
    path = folder / "flame.sock"
    server = lone_server("-u", str(path))
    assert server.program.out[0] == f"listening on {path}, for this user only"
    assert server.port == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with connect(str(path)) as flame, connect(f"unix:{path}") as other:
        assert flame.evaluate("6 * 7") == 42
        assert str(path) in repr(other)
    second = flame_command(clean_environ(server.home), "serve", "--enable", "-u", str(path))
    assert str(path) in refused(second)
    with connect(str(path)) as flame:
        assert flame.evaluate("1") == 1
    server.stop()
    assert not path.exists()
    with pytest.raises(ServerUnreachable, match="flame-server -u"):
        connect(str(path))
    server.start()


def test_unix_socket_that_a_killed_server_left_is_taken_over(lone_server: MakeServer, folder: Path) -> None:
    path = folder / "flame.sock"
    server = lone_server("-u", str(path))
    server.program.kill()
    assert path.exists()
    server.start()
    with connect(str(path)) as flame:
        assert flame.evaluate("1") == 1


def test_unix_socket_path_that_is_too_long(folder: Path) -> None:
    path = folder / ("long" * 30)
    assert "path" in refused(flame_command(clean_environ(folder), "serve", "--enable", "-u", str(path))).lower()


def test_unix_socket_in_a_folder_of_everyone(folder: Path) -> None:
    common = folder / "common"
    common.mkdir()
    common.chmod(0o777)
    line = refused(flame_command(clean_environ(folder), "serve", "--enable", "-u", str(common / "s")))
    assert "chmod" in line


# ---------------------------------------------------------------- key files


@pytest.mark.parametrize("name", ["server.key", "authorized_keys"])
def test_key_file_that_others_can_read(lone_server: MakeServer, name: str) -> None:
    server = lone_server()
    pair(server.invite)
    server.stop()
    path = server.home / "config" / name
    path.chmod(0o644)
    line = refused(flame_command(clean_environ(server.home), "serve", "--enable", "-p", "0"))
    assert f"chmod 600 {path}" in line
    path.chmod(0o600)
    server.start()


def test_client_key_that_others_can_read(lone_server: MakeServer) -> None:
    from flame_kernel.errors import KeyFileError

    server = lone_server()
    pair(server.invite)
    for name in ("client.key", "known_hosts"):
        path = server.client_home / "config" / name
        path.chmod(0o640)
        with pytest.raises(KeyFileError, match=f"chmod 600 {re.escape(str(path))}"):
            connect(server.address)
        path.chmod(0o600)
    pair(server.address)


def test_damaged_key_file(folder: Path) -> None:
    key = folder / "mine.key"
    key.write_text("not a key\n")
    key.chmod(0o600)
    line = refused(flame_command(clean_environ(folder), "serve", "--enable", "-p", "0", "-k", str(key)))
    assert str(key) in line


def test_key_file_is_made_where_it_is_wanted(lone_server: MakeServer, folder: Path) -> None:
    key = folder / "mine.key"
    server = lone_server("-p", "0", "-k", str(key))
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    pair(server.invite)
    for path in (server.home / "config").iterdir():
        assert path.name == "server.toml" or stat.S_IMODE(path.stat().st_mode) == 0o600


# ---------------------------------------------------------------- sessions and their surroundings


def test_kernels_know_nothing_of_what_the_server_was_told(lone_server: MakeServer) -> None:
    server = lone_server(JPY_PARENT_PID="1", FLAME_SESSION="outer", FLAME_HOST="nowhere", MY_OWN="kept")
    with connect(server.invite) as flame:
        environ = flame.evaluate("dict(__import__('os').environ)")
        assert environ["MY_OWN"] == "kept"
        assert not {"JPY_PARENT_PID", "FLAME_SESSION", "FLAME_HOST"} & environ.keys()
        assert flame.evaluate("__import__('os').getcwd()") == os.path.expanduser("~")


def test_runtime_files_are_private_and_go_with_their_session(lone_server: MakeServer) -> None:
    server = lone_server()
    run = server.home / "run"
    with connect(server.invite) as flame:
        assert stat.S_IMODE(run.stat().st_mode) & 0o777 == 0o700
        assert list(run.glob("*.json"))
        flame.session.close()
    assert [path for path in run.iterdir() if not path.name.startswith("control-")] == []


def test_a_client_that_is_killed_leaves_no_kernel_behind(lone_server: MakeServer, folder: Path) -> None:
    server = lone_server(limits={"lease_s": 4, "silence_s": 3})
    pair(server.invite)
    code = (
        "import sys, threading; from flame_kernel import connect\n"
        "flame = connect(sys.argv[1]); print(flame.module('os').getpid()); print('ready'); threading.Event().wait()"
    )
    script = Program([sys.executable, "-c", code, server.address], server.client_environ())
    script.wait_for("ready")
    kernel = psutil.Process(int(script.out[0]))
    script.kill()
    kernel.wait(PATIENCE_S)
    assert not end_all(server.client_home)
