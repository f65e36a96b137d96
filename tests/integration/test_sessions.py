"""Sessions that die, that can't be started, that are restarted: always a clear word, never a hang."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flame_kernel import Flame, connect
from flame_kernel.errors import KernelStartFailed, SessionDied, SessionRestarted, UnknownKernel
from tests.integration.servers import FlameServer, until
from tests.integration.work import quick, taken

MakeServer = Callable[..., FlameServer]

DIED_WITHIN_S = 2.0

WAYS = {
    "os.kill(os.getpid(), 9)": ("SIGKILL", "memory"),
    "os.kill(os.getpid(), 15); time.sleep(60)": ("SIGTERM",),
    "os._exit(3)": ("exit code 3",),
    "ctypes.string_at(0)": ("SIGSEGV",),
}


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(4)
    yield pool
    pool.shutdown(wait=False)


@pytest.mark.parametrize(("way", "words"), WAYS.items(), ids=["kill", "term", "exit", "segfault"])
def test_death_is_told_to_the_running_cell_and_the_pending_call(
    own: Flame, pool: ThreadPoolExecutor, tmp_path: Path, way: str, words: tuple[str, ...]
) -> None:
    waiting = tmp_path / "waiting"

    def dying() -> float:
        if waiting.exists():
            waiting.unlink()
            own.session.restart()
        call = pool.submit(own.execute, f"import pathlib, time\npathlib.Path({str(waiting)!r}).touch()\ntime.sleep(60)")
        until(waiting.exists)
        cell = pool.submit(own.run, f"import ctypes, os, time\n{way}", quiet=True)
        seconds = taken(lambda: [pending.exception(20) for pending in (cell, call)])
        for pending in (cell, call):
            error = pending.exception()
            assert isinstance(error, SessionDied)
            line = str(error)
            assert "\n" not in line
            assert own.session.name in line
            for word in words:
                assert word in line
        return seconds

    quick(DIED_WITHIN_S, dying)
    for attempt in (lambda: own.evaluate("1"), lambda: own.run("1", quiet=True), own.session.interrupt):
        with pytest.raises(SessionDied, match="restart"):
            attempt()
    own.session.restart()
    assert own.evaluate("1 + 1") == 2
    assert own.run("'time' in globals()", quiet=True).value is False


def test_death_in_a_call(own: Flame) -> None:
    assert own.evaluate("1") == 1
    with pytest.raises(SessionDied, match="exit code 4"):
        own.execute("import os; os._exit(4)")
    own.session.restart()
    assert own.evaluate("2") == 2


def test_death_between_calls_is_told_once_more_and_mended_by_a_restart(own: Flame) -> None:
    import os
    import signal

    os.kill(own.evaluate("__import__('os').getpid()"), signal.SIGKILL)
    with pytest.raises(SessionDied, match="SIGKILL"):
        own.evaluate("1", timeout=30)
    own.session.restart()
    assert own.evaluate("2") == 2


def test_dead_session_can_be_closed_and_leaves_nothing(client: FlameServer) -> None:
    flame = connect(client.address)
    with pytest.raises(SessionDied):
        flame.run("import os; os._exit(0)", quiet=True)
    flame.close()
    with connect(client.address) as other:
        until(lambda: flame.session.name not in {info.name for info in other.sessions()})


def test_dead_named_session_can_be_found_and_restarted(client: FlameServer) -> None:
    with connect(client.address, session="mortal") as flame, pytest.raises(SessionDied):
        flame.run("import os; os._exit(1)", quiet=True)
    with connect(client.address, session="mortal") as flame:
        with pytest.raises(SessionDied):
            flame.run("1", quiet=True)
        flame.session.restart()
        assert flame.run("1", quiet=True).value == 1
        flame.session.close()


def test_another_session_notices_nothing(own: Flame, flame: Flame) -> None:
    flame["safe"] = 1
    with pytest.raises(SessionDied):
        own.run("import os; os._exit(1)", quiet=True)
    assert flame["safe"] == 1


def test_sys_exit_in_a_cell_does_not_end_the_session(own: Flame) -> None:
    own["x"] = 1
    result = own.run("import sys; sys.exit(3)", quiet=True, check=False)
    assert isinstance(result.error, SystemExit) or result.error is None
    assert own["x"] == 1


def test_restart_while_another_client_waits(client: FlameServer, pool: ThreadPoolExecutor, tmp_path: Path) -> None:
    waiting = tmp_path / "waiting"
    with connect(client.address, session="two") as one, connect(client.address, session="two") as other:
        assert other.evaluate("1") == 1
        call = pool.submit(
            other.execute, f"import pathlib, time\npathlib.Path({str(waiting)!r}).touch()\ntime.sleep(60)"
        )
        until(waiting.exists)
        one.session.restart()
        with pytest.raises(SessionRestarted):
            call.result(20)
        assert other.evaluate("2") == 2
        one.session.close()


def test_many_restarts(own: Flame) -> None:
    for n in range(3):
        own["n"] = n
        own.session.restart()
        assert own.evaluate("'n' in globals()") is False


# ---------------------------------------------------------------- kernels that can't be had


@pytest.fixture
def kernelspec(folder: Path) -> Callable[[str, list[str]], None]:
    """Give a function that installs a kernelspec where a server of this test finds it."""

    def install(name: str, argv: list[str], language: str = "python") -> None:
        place = folder / "jupyter" / "kernels" / name
        place.mkdir(parents=True)
        (place / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": name, "language": language}))

    return install


def test_kernels_that_can_not_be_started(lone_server: MakeServer, folder: Path, kernelspec) -> None:
    kernelspec("missing", ["/no/such/program", "{connection_file}"])
    kernelspec("hasty", [sys.executable, "-c", "raise SystemExit(5)"])
    kernelspec("crashing", [sys.executable, "-c", "import os; os.kill(os.getpid(), 6)"])
    kernelspec("silent", [sys.executable, "-c", "import threading; threading.Event().wait()"])
    server = lone_server(limits={"start_s": 10}, JUPYTER_PATH=str(folder / "jupyter"))
    with connect(server.invite) as flame:
        assert {"missing", "hasty", "crashing", "silent"} <= {kernel.name for kernel in flame.kernels()}
    expected = {
        "missing": "/no/such/program",
        "hasty": "exit code 5",
        "crashing": "SIGABRT",
        "silent": "no sign of life for 10 s",
    }
    for name, words in expected.items():
        with pytest.raises(KernelStartFailed) as caught:
            connect(server.address, kernel=name, session="same")
        assert repr(name) in str(caught.value)
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(UnknownKernel, match="silent"):
        connect(server.address, kernel="unheard-of")
    until(lambda: not server.kernels())
    with connect(server.address, session="same") as flame:  # the name was not used up
        assert flame.evaluate("1") == 1
        assert len(flame.sessions()) == 1


def test_restart_that_fails_is_told(lone_server: MakeServer, folder: Path, kernelspec) -> None:
    broken = folder / "broken"
    code = (
        f"import os, sys; os.path.exists({str(broken)!r}) and sys.exit(6)\n"
        "from ipykernel.kernelapp import launch_new_instance; launch_new_instance()"
    )
    kernelspec("fragile", [sys.executable, "-c", code, "-f", "{connection_file}"])
    server = lone_server(JUPYTER_PATH=str(folder / "jupyter"))
    with connect(server.invite, kernel="fragile") as flame:
        assert flame.evaluate("1") == 1
        broken.touch()
        with pytest.raises(KernelStartFailed, match="exit code 6"):
            flame.session.restart()
        with pytest.raises(SessionDied):
            flame.run("1", quiet=True)
        broken.unlink()
        flame.session.restart()
        assert flame.evaluate("2") == 2


def test_limit_of_sessions(lone_server: MakeServer) -> None:
    from flame_kernel.errors import LimitExceeded

    server = lone_server(limits={"sessions": 1})
    with connect(server.invite) as flame:
        with pytest.raises(LimitExceeded, match=r"limits\.sessions"):
            connect(server.address)
        assert flame.evaluate("1") == 1


STUBBORN = """
import pathlib, signal, subprocess
child = subprocess.Popen(["sleep", "60"], start_new_session=True)
was = signal.signal(signal.SIGINT, lambda *_: pathlib.Path({pressed!r}).touch())  # and goes on, wherever it was
pathlib.Path({started!r}).touch()
child.wait()
signal.signal(signal.SIGINT, was)
"over"
"""


def test_a_second_interrupt_reaches_what_a_cell_started_in_a_group_of_its_own(
    own: Flame, pool: ThreadPoolExecutor, tmp_path: Path
) -> None:
    started, pressed = tmp_path / "started", tmp_path / "pressed"
    cell = pool.submit(own.run, STUBBORN.format(started=str(started), pressed=str(pressed)), quiet=True)
    until(started.exists)
    own.session.interrupt()
    until(pressed.exists)
    assert own.evaluate("child.poll()") is None

    own.session.interrupt()

    assert cell.result(30).value == "over"
