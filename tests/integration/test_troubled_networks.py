"""What networks and laptops do to connections, for a cell and a call at once: every line once, and each runs once."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from flame_kernel import Flame, Host, connect
from tests.integration.relay import Relay
from tests.integration.servers import FlameServer, Program, until
from tests.integration.work import in_thread

LINES = 400
CELL = (
    "import pathlib, os, time\nran = globals().get('ran', 0) + 1\n"
    "for n in range(400):\n    print('line', n, flush=True)\n    time.sleep(0.01)\n"
    "    if n == 50: pathlib.Path({started!r}).touch()\n"
    "    while n == 200 and not os.path.exists({gate!r}): time.sleep(0.01)\n"
    "'end'"
)
CALL = """
count = 0
def slow():
    import os, time
    global count
    count += 1
    while not os.path.exists({gate!r}):
        time.sleep(0.01)
    print("from the call")
    return "value"
"""
BLACK_HOLE_S = 20.0


class Work:
    """A cell and a call that are under way until they are let go."""

    def __init__(self, flame: Flame, folder: Path) -> None:
        self.flame = flame
        self.started, self.gate = folder / "started", folder / "gate"
        flame.execute(CALL.format(gate=str(self.gate)))
        self.call: Future = in_thread(flame.evaluate, "slow()")
        self.cell: Future = in_thread(
            flame.run, CELL.format(started=str(self.started), gate=str(self.gate)), quiet=True
        )
        until(self.started.exists)
        until(lambda: flame["count"] == 1)

    def is_whole(self) -> None:
        self.gate.touch()
        result = self.cell.result(60)
        assert result.outputs[0]["text"].splitlines() == [f"line {n}" for n in range(LINES)]
        assert result.value == "end"
        assert self.call.result(60) == "value"
        assert (self.flame["ran"], self.flame["count"]) == (1, 1)


@pytest.fixture
def far(client: FlameServer, relay: Relay) -> Iterator[Flame]:
    with connect(relay.address) as flame:
        yield flame
        relay.heal()


@pytest.fixture
def work(far: Flame, tmp_path: Path) -> Work:
    return Work(far, tmp_path)


def wait_for(seconds: float) -> None:
    threading.Event().wait(seconds)


def test_a_black_hole_of_twenty_seconds(work: Work, relay: Relay) -> None:
    relay.black_hole()
    wait_for(BLACK_HOLE_S)
    relay.heal()
    work.is_whole()


def test_five_cuts(work: Work, relay: Relay) -> None:
    for _ in range(5):
        before = relay.connections
        relay.cut()
        until(lambda: relay.connections > before)  # noqa: B023  # used up within the round
    work.is_whole()


def test_another_address_each_time(work: Work, relay: Relay) -> None:
    for last in (2, 3, 4):
        before = relay.connections
        relay.come_from(f"127.0.0.{last}")
        until(lambda: relay.connections >= before + 2)  # noqa: B023  # as above
    work.is_whole()


def test_new_connections_that_arrive_before_the_old_ones_end(work: Work, relay: Relay, client: FlameServer) -> None:
    for _ in range(3):
        before = relay.connections
        relay.cut_near_the_client()
        until(lambda: relay.connections >= before + 2)  # noqa: B023  # as above
    work.is_whole()


def test_cuts_in_the_middle_of_every_handshake(work: Work, relay: Relay) -> None:
    before = relay.connections
    relay.cut_new_after(500, connections=6)
    relay.cut()
    until(lambda: relay.connections >= before + 8)
    work.is_whole()


# A client as a process of its own, which can be put to sleep as a laptop is.
SLEEPER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from flame_kernel import connect
from tests.integration.test_troubled_networks import Work
flame = connect(sys.argv[1], session="asleep")
work = Work(flame, Path(sys.argv[2]))
print("server is running.", flush=True)
sys.stdin.readline()
work.is_whole()
print("whole", flush=True)
flame.session.close()
"""


@pytest.fixture
def impatient(with_limits: Callable[..., FlameServer]) -> FlameServer:
    """A server that lets go of silent connections soon: some seconds here stand for an hour."""
    return with_limits(silence_s=3.0)


def test_a_client_that_slept_for_longer_than_the_server_waits(impatient: FlameServer, tmp_path: Path) -> None:
    # Neither end looks at the wall clock: to both an hour in which the clock jumps is silence, as this is.
    root = str(Path(__file__).resolve().parents[2])
    command = [sys.executable, "-c", SLEEPER, impatient.address, str(tmp_path), root]
    program = Program(command, impatient.client_environ(), gated=True)
    try:
        program.wait_for("server is running.")
        program.signal(signal.SIGSTOP)
        with Host(impatient.address) as host:
            until(lambda: host.sessions()[0].clients == 0)
            assert host.sessions()[0].activity == "busy"
        program.signal(signal.SIGCONT)
        program.go()
        program.wait_for("whole", timeout=60)
        assert program.wait() == 0
    finally:
        program.signal(signal.SIGCONT)
        program.kill()
