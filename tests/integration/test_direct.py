"""Calls straight to the session's own process, past the server: on the same machine."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flame_kernel import Flame, connect
from flame_kernel.errors import SessionDied, SessionError, SessionRestarted
from tests.integration.servers import FlameServer, clean_environ, short_folder, until
from tests.integration.work import in_thread, wait_until_set


@pytest.fixture(scope="module")
def here(module_environ: pytest.MonkeyPatch) -> Iterator[FlameServer]:
    """A server on a unix socket, and this process as its user."""
    with short_folder() as folder, FlameServer(folder, "-u", str(folder / "sock")) as server:
        module_environ.setenv("FLAME_HOME", str(server.client_home))
        yield server


def socket_of(server: FlameServer) -> str:
    return server.options[1]


def goes_direct(flame: Flame) -> None:
    """Make calls until they go straight to the session."""

    def direct() -> bool:
        flame.evaluate("1")
        return flame.link.way == "direct"

    until(direct)


def goes_ahead_directly(flame: Flame) -> None:
    """Make calls that nobody waits for until they go straight to the session; they have a lane of their own."""

    def direct() -> bool:
        flame.submit("1").result(20)
        talk = flame._connection.calls._pipeline._talk
        return talk._connection is not None and talk._approach.is_direct(talk._connection)

    until(direct)


@contextmanager
def suspended(server: FlameServer) -> Iterator[None]:
    """Keep the server from doing anything."""
    assert server.program is not None
    server.program.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.program.signal(signal.SIGCONT)


@pytest.fixture
def near(here: FlameServer) -> Iterator[Flame]:
    with connect(socket_of(here)) as flame:
        yield flame


def test_the_server_has_no_part_in_calls_values_files_and_futures(
    here: FlameServer, near: Flame, tmp_path: Path
) -> None:
    goes_direct(near)
    goes_ahead_directly(near)
    with suspended(here):
        assert near.evaluate("6 * 7") == 42
        near["x"] = bytes(1_000_000)
        assert len(near["x"]) == 1_000_000
        assert near.submit("2 ** 10").result(20) == 1024
        near.sendfile(str(tmp_path / "file"), b"content")
        with pytest.raises(ZeroDivisionError):
            near.evaluate("1 / 0")
    assert (tmp_path / "file").read_bytes() == b"content"
    assert near.link.way == "direct"
    assert near.link.address.startswith(f"unix://{here.home / 'run'}/")


def test_a_restart_ends_the_calls_under_way_and_those_that_follow_are_direct_again(near: Flame) -> None:
    near.evaluate("1")
    pending = in_thread(near.execute, "import time\nstarted = 1\ntime.sleep(60)")
    wait_until_set(near, "started")
    near.session.restart()
    with pytest.raises(SessionRestarted):
        pending.result(20)
    assert near.evaluate("'started' in globals()") is False
    goes_direct(near)


def test_a_death_is_told_to_calls_under_way_and_to_those_that_follow(near: Flame) -> None:
    pid = near.evaluate("__import__('os').getpid()")
    pending = in_thread(near.execute, "import time\nstarted = 1\ntime.sleep(60)")
    ahead = near.submit("__import__('time').sleep(60)")
    wait_until_set(near, "started")
    os.kill(pid, signal.SIGKILL)
    for waiting in (pending, ahead):
        with pytest.raises(SessionDied, match="SIGKILL"):
            waiting.result(20)
    with pytest.raises(SessionDied, match="SIGKILL"):
        near.evaluate("1")


def test_calls_under_way_in_a_session_that_is_closed_end_with_it(here: FlameServer) -> None:
    with connect(socket_of(here), session="short") as one, connect(socket_of(here), session="short") as two:
        pending = in_thread(one.execute, "import time\nstarted = 1\ntime.sleep(60)")
        wait_until_set(two, "started")
        two.session.close()
        with pytest.raises(SessionError):
            pending.result(20)


def test_it_can_be_turned_off(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = folder / "s" / "config"
    home.mkdir(parents=True, mode=0o700)
    home.parent.chmod(0o700)
    (home / "server.toml").write_text("[direct]\nenabled = false\n[limits]\nwarm = 0\n")
    with FlameServer(folder, "-u", str(folder / "sock")) as server:
        monkeypatch.setenv("FLAME_HOME", clean_environ(server.client_home)["FLAME_HOME"])
        with connect(socket_of(server)) as flame:
            assert flame.evaluate("6 * 7") == 42
            assert flame.link.way == "through the server"
            assert flame.link.address == f"ipc://{folder / 'sock'}"
