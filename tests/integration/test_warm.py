"""Kernels that are up before anybody asks: who gets one has what a fresh one gives, and none outlives its server."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from flame_kernel import connect
from flame_kernel.errors import FlameError
from tests.integration.servers import PATIENCE_S, FlameServer, pair, until
from tests.integration.work import in_thread
from tests.ports import free_port

MakeServer = Callable[..., FlameServer]


@pytest.fixture
def server(lone_server: MakeServer) -> FlameServer:
    """A server with a warm kernel."""
    server = lone_server("-p", str(free_port()), limits={"warm": 1})
    pair(server.invite)
    until(lambda: len(server.kernels()) == 1 and worker_is_up(server))
    return server


def worker_is_up(server: FlameServer) -> bool:
    return any((server.home / "run").glob("*-w"))


def test_a_session_gets_the_warm_kernel_and_another_takes_its_place(server: FlameServer) -> None:
    (warm,) = server.kernels()
    with connect(server.address, session="work") as flame:
        assert flame.evaluate("__import__('os').getpid()") == warm.pid
        assert flame.evaluate("__import__('os').getcwd()") == str(Path.home())
        assert flame.run("1", quiet=True).execution_count == 1
        until(lambda: len(server.kernels()) == 2)
        assert [session.name for session in flame.sessions()] == ["work"]
        flame.session.restart()
        assert flame.evaluate("__import__('os').getcwd()") == str(Path.home())
        flame.session.close()


@pytest.mark.parametrize("end", [FlameServer.kill, FlameServer.terminate], ids=["killed", "stopped"])
def test_it_ends_with_the_server_but_a_session_does_not(
    server: FlameServer, end: Callable[[FlameServer], object]
) -> None:
    with connect(server.address, session="work") as flame:
        pid = flame.evaluate("__import__('os').getpid()")
        until(lambda: len(server.kernels()) == 2 and len(list((server.home / "run").glob("*-w"))) == 2)
    end(server)

    until(lambda: [kernel.pid for kernel in server.kernels()] == [pid])
    kernels = {path.name[:12] for path in (server.home / "run").iterdir() if not path.name.startswith("control")}
    assert len(kernels) == 1  # and leaves nothing behind
    server.start()


def test_one_that_dies_is_not_given_to_anybody(server: FlameServer) -> None:
    (warm,) = server.kernels()
    warm.kill()
    psutil.wait_procs([warm], PATIENCE_S)

    with connect(server.address) as flame:
        assert flame.evaluate("1 + 1") == 2


def test_a_session_on_this_machine_works_in_the_client_s_folder(
    lone_server: MakeServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = lone_server("-u", str(folder / "s.sock"), limits={"warm": 1})
    until(lambda: worker_is_up(server))
    monkeypatch.chdir(folder)

    with connect(str(folder / "s.sock")) as flame:
        assert os.path.samefile(flame.evaluate("__import__('os').getcwd()"), folder)
        assert os.path.samefile(flame.evaluate("__import__('os').environ['PWD']"), folder)


def test_a_kernel_that_an_earlier_server_was_starting_is_ended_by_the_next(
    lone_server: MakeServer, folder: Path
) -> None:
    silent = folder / "jupyter" / "kernels" / "silent"
    silent.mkdir(parents=True)
    argv = [sys.executable, "-c", "import threading; threading.Event().wait()", "ipykernel"]
    (silent / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "silent", "language": "python"}))
    server = lone_server("-p", str(free_port()), JUPYTER_PATH=str(folder / "jupyter"))
    pair(server.invite)
    asked = in_thread(connect, server.address, kernel="silent", timeout=6)
    until(lambda: list(server.home.glob("state/sessions/*/*/kernel.json")))
    server.kill()
    (left,) = server.kernels()
    server.start()

    psutil.wait_procs([left], PATIENCE_S)
    assert not left.is_running()
    with pytest.raises(FlameError):
        asked.result(30)
