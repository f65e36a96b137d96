"""A session that takes its time: nobody waits for what can go on alone, and nothing is left that nobody wants."""

import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conformance.kernels import Home, command_of, running, value_of
from tests.integration.servers import until

# Waits for a file before it becomes a kernel.
SLOW = "import pathlib, sys, time\nwhile not pathlib.Path({gate!r}).exists(): time.sleep(0.02)\n"
BECOME = "from ipykernel.kernelapp import launch_new_instance; launch_new_instance()"


@pytest.fixture
def slow_home() -> Iterator[tuple[Home, Path]]:
    """A home whose default kernel starts when a file is there."""
    home = Home()
    gate = home.path / "gate"
    spec = home.path / "jupyter" / "kernels" / "slow"
    spec.mkdir(parents=True)
    argv = [sys.executable, "-c", SLOW.format(gate=str(gate)) + BECOME, "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "slow", "language": "python"}))
    home.environ |= {"JUPYTER_PATH": str(home.path / "jupyter"), "FLAME_KERNEL": "slow"}
    try:
        yield home, gate
    finally:
        home.close()


def sessions(home: Home) -> list[psutil.Process]:
    return [process for process in home.processes() if BECOME in " ".join(command_of(process))]


def test_shut_down_while_the_session_starts_leaves_no_session(slow_home: tuple[Home, Path]) -> None:
    home, gate = slow_home
    with running(home) as kernel:
        until(lambda: sessions(home))
        assert kernel.shut_down()["status"] == "ok"
        gate.touch()
        until(lambda: not sessions(home))


def test_the_signal_that_jupyter_sends_when_a_shut_down_takes_long_leaves_no_session(
    slow_home: tuple[Home, Path],
) -> None:
    home, gate = slow_home
    with running(home) as kernel:
        until(lambda: sessions(home))
        front = kernel.frontend
        front.send("shutdown_request", {"restart": False}, "control")
        front.ask("interrupt_request", channel="control")  # when this is answered, that has arrived
        assert kernel.kill(signal.SIGTERM) == 0
        gate.touch()
        until(lambda: not sessions(home))


def test_a_bridge_that_is_told_to_end_while_the_session_starts_ends_at_once(slow_home: tuple[Home, Path]) -> None:
    home, gate = slow_home
    with running(home) as kernel:
        until(lambda: sessions(home))
        assert kernel.kill(signal.SIGTERM) == 0
        assert kernel.log.read_text() == ""
        gate.touch()
        with running(home, again=kernel) as next_one:
            assert value_of(next_one.frontend, "1 + 1") == "2"


def test_a_bridge_that_is_killed_while_the_session_starts_finds_it_later(slow_home: tuple[Home, Path]) -> None:
    home, gate = slow_home
    with running(home) as kernel:
        until(lambda: sessions(home))
        [process] = sessions(home)
        kernel.kill()
        gate.touch()
        with running(home, again=kernel) as next_one:
            assert value_of(next_one.frontend, "__import__('os').getpid()") == str(process.pid)


def test_a_restart_does_not_wait_for_the_new_process(slow_home: tuple[Home, Path]) -> None:
    home, gate = slow_home
    gate.touch()
    with running(home) as kernel:
        old = int(value_of(kernel.frontend, "__import__('os').getpid()"))
        gate.unlink()
        begun = time.monotonic()
        assert kernel.shut_down(restart=True) == {"status": "ok", "restart": True}
        assert time.monotonic() - begun < 3  # the bridge gives a server that hangs four
        assert not psutil.pid_exists(old)
        with running(home, again=kernel) as next_one:
            front = next_one.frontend
            cell = front.start("'x' in globals()")
            gate.touch()
            answer = front.finish(cell)
            assert answer.value == "False"
            assert [m.kind for m in front.messages if m.kind in ("error", "stream")] == []


def test_an_interrupt_reaches_cells_that_wait_for_the_session(slow_home: tuple[Home, Path]) -> None:
    home, gate = slow_home
    with running(home) as kernel:
        front = kernel.frontend
        first, second = front.start("x = 1"), front.start("x = 2")
        until(lambda: sessions(home))
        assert front.ask("interrupt_request", channel="control").reply == {"status": "ok"}
        assert "interrupted while session" in front.finish(first).reply["evalue"]
        assert front.finish(second).reply["status"] == "aborted"
        gate.touch()
        assert value_of(front, "'x' in globals()") == "False"


def test_what_the_kernel_is_is_the_sessions_to_say_when_its_server_is_there(slow_home: tuple[Home, Path]) -> None:
    home, gate = slow_home
    with running(home) as kernel:
        front = kernel.frontend
        asked = front.send("kernel_info_request")
        until(lambda: sessions(home))
        with pytest.raises(AssertionError):
            front.finish(asked, timeout=12)
        gate.touch()
        assert front.finish(asked).reply["implementation"] == "ipython"
