"""`connect()` with nothing: the server that the client starts on this machine by itself."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flame_kernel import connect
from flame_kernel.client.links.embedded import log_path, socket_path, start
from flame_kernel.errors import ServerUnreachable
from flame_kernel.security.folders import Folders, private
from tests.conformance.kernels import command_of
from tests.integration.servers import Program, clean_environ, end_all, processes_of, until


@pytest.fixture
def home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home whose embedded server, if it is started, has to end by itself."""
    for name in ("FLAME_HOST", "FLAME_SESSION", "FLAME_KERNEL", "FLAME_ENABLED"):
        monkeypatch.delenv(name, raising=False)
    home = folder / "h"
    monkeypatch.setenv("FLAME_HOME", str(home))
    yield home
    left = end_all(home)
    assert not left, f"the embedded server did not end by itself: {left}"


def servers(home: Path) -> list[psutil.Process]:
    return [process for process in processes_of(home) if "--embedded" in command_of(process)]


def test_it_starts_and_only_its_user_can_reach_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAME_ENABLED", "false")  # which is about servers that others can reach
    with connect() as flame:
        assert flame.evaluate("6 * 7") == 42
        assert len(servers(home)) == 1
        for place in (home / "run", home / "state"):
            assert stat.S_IMODE(place.stat().st_mode) & 0o777 == 0o700
        sockets = [path for path in (home / "run").iterdir() if path.is_socket()]
        assert sockets
        assert stat.S_IMODE((home / "run" / "embedded.sock").stat().st_mode) == 0o600
        (server,) = servers(home)
        assert not any(connection.status == psutil.CONN_LISTEN for connection in server.net_connections())
        assert os.getsid(server.pid) != os.getsid(0)  # so that Ctrl-C in the client's terminal does not reach it


def test_it_ends_with_its_last_session(home: Path) -> None:
    first = connect()
    second = connect(session="kept")
    (server,) = servers(home)
    first.close()
    assert second.evaluate("1") == 1
    second.close()  # a named session stays, and the server with it
    with connect(session="kept") as again:
        assert servers(home) == [server]
        again.session.close()
    server.wait(30)
    until(lambda: not (home / "run" / "embedded.sock").exists())


def test_two_clients_that_start_at_once_share_one(home: Path) -> None:
    code = (
        "import sys; from flame_kernel import connect\n"
        "print('ready'); sys.stdin.readline()\n"
        "with connect(session='shared') as flame:\n"
        "    print(flame.module('os').getpid()); print(flame.module('os').getppid()); print('done')\n"
    )
    clients = [Program([sys.executable, "-c", code], clean_environ(home), gated=True) for _ in range(3)]
    try:
        for client in clients:
            client.wait_for("ready")
        for client in clients:
            client.go()
        for client in clients:
            client.wait_for("done")
            assert client.wait() == 0, client.err
        assert len({tuple(client.out) for client in clients}) == 1
        assert len(servers(home)) == 1
    finally:
        for client in clients:
            client.kill()
    with connect(session="shared") as flame:  # it has outlived those who started it
        flame.session.close()


async def test_one_that_was_about_to_end_does_not_keep_the_next_away(home: Path) -> None:
    folders = Folders.find(os.environ)
    private(folders.runtime)
    with socket.socket(socket.AF_UNIX) as ending:
        ending.bind(str(socket_path(folders)))
        ending.listen()
        starting = asyncio.ensure_future(start(folders, 30.0))
        accepted, _ = await asyncio.to_thread(ending.accept)  # the new server's question whether there is another one
        accepted.close()
        ending.close()
        await starting
    assert "another server listens at" in log_path(folders).read_text()
    with connect() as flame:
        assert flame.evaluate("6 * 7") == 42


async def test_why_it_does_not_start_is_told_in_one_line(home: Path) -> None:
    folders = Folders.find(os.environ)
    private(folders.config)
    (folders.config / "server.toml").write_text("[limits]\nsessions = -1\n")
    told = r"^the embedded server could not be started \(exit code \d\); see .*log$"
    with pytest.raises(ServerUnreachable, match=told):
        await start(folders, 30.0)
