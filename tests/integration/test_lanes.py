"""Lanes keep out of each other's way: uploads, interrupts and small calls; slow clients and fast ones; many at once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from statistics import median

import pytest

from flame_kernel import Flame, Host, connect
from flame_kernel.errors import SessionDied
from tests.integration.relay import Relay
from tests.integration.servers import FlameServer, Program, until
from tests.integration.work import in_thread, quick, taken, wait_until_set

LINK_BYTES_PER_S = 3_000_000
AT_MOST_S = 1.0


@pytest.fixture
def narrow(client: FlameServer, relay: Relay) -> Iterator[Flame]:
    """A session behind a link of 3 MB/s, whose session link and one calls lane are up."""
    with connect(relay.address) as flame:
        flame["x"] = 1
        relay.throttle(LINK_BYTES_PER_S, shared=True)
        yield flame
        relay.heal()


def test_interrupts_and_small_calls_are_quick_while_an_upload_fills_the_link(narrow: Flame, relay: Relay) -> None:
    upload = in_thread(narrow.__setitem__, "data", bytes(60_000_000))  # twenty seconds of it
    narrow.execute("")  # a lane of its own, which is set up once

    def interrupting() -> float:
        narrow.execute("globals().pop('spinning', None)")
        cell = in_thread(narrow.run, "spinning = True\nwhile True: pass", quiet=True, check=False)
        wait_until_set(narrow, "spinning")
        seconds = taken(lambda: (narrow.session.interrupt(), cell.result(30)))
        assert isinstance(cell.result().error, KeyboardInterrupt)
        return seconds

    calls = [taken(lambda: narrow.evaluate("x")) for _ in range(10)]
    quick(AT_MOST_S, interrupting)

    assert not upload.done(), "the link was not full all the time"
    assert median(calls) < AT_MOST_S
    relay.heal()
    upload.result(60)
    assert narrow.evaluate("len(data)") == 60_000_000


def test_small_calls_are_quick_while_a_download_fills_the_link(narrow: Flame, relay: Relay) -> None:
    narrow.execute("data = bytes(60_000_000)")
    narrow.evaluate("1")
    download = in_thread(narrow.__getitem__, "data")
    narrow.execute("")

    calls = [taken(lambda: narrow.evaluate("x")) for _ in range(10)]

    assert not download.done()
    assert median(calls) < AT_MOST_S
    relay.heal()
    assert len(download.result(60)) == 60_000_000


# ---------------------------------------------------------------- a client that does not read

WATCH = """
import sys
from flame_kernel import connect
flame = connect(sys.argv[1], session="shared")
flame.evaluate("1")
print("server is running.", flush=True)
sys.stdin.readline()
shown = flame.follow(quiet=True)
print("still there", flush=True)
sys.stdin.readline()
"""


def test_a_client_that_stops_reading_slows_itself_only(client: FlameServer) -> None:
    with connect(client.address, session="shared") as flame, Host(client.address) as host:
        program = Program([sys.executable, "-c", WATCH, client.address], client.client_environ(), gated=True)
        try:
            program.wait_for("server is running.")
            program.signal(signal.SIGSTOP)
            lines = "for n in range(20000): print(n, '.' * 1000)"  # more than any buffer on the way holds
            text = flame.run(lines, quiet=True).outputs[0]["text"]
            assert [line.partition(" ")[0] for line in text.splitlines()] == [str(n) for n in range(20_000)]
            assert median(taken(lambda: flame.evaluate("n")) for _ in range(5)) < AT_MOST_S
            assert median(taken(host.sessions) for _ in range(5)) < AT_MOST_S
            program.signal(signal.SIGCONT)
            program.go()
            program.wait_for("still there")
        finally:
            program.signal(signal.SIGCONT)
            program.kill()
        flame.session.close()


# ---------------------------------------------------------------- several clients, several lanes


def test_death_reaches_every_client_and_every_lane_within_two_seconds(client: FlameServer) -> None:
    with (
        connect(client.address, session="mortal") as one,
        connect(client.address, session="mortal") as two,
        connect(client.address, session="mortal") as three,
        Host(client.address) as host,
    ):

        def dying() -> float:
            one.execute("import time\nstarted = []")
            wait = "started.append(1); time.sleep(60)"
            pending = [in_thread(flame.execute, wait) for flame in (one, one, two, three)]
            pending.append(in_thread(one.run, wait, quiet=True))
            pending.append(in_thread(three.follow, quiet=True, forever=True))
            until(lambda: three.evaluate("len(started)") == 5)
            pending.append(in_thread(two.run, "print('waits in the queue')", quiet=True))
            until(lambda: three._connection._overheard is not None)
            pid = one.evaluate("__import__('os').getpid()")

            seconds = taken(lambda: (os.kill(pid, signal.SIGKILL), [future.exception(20) for future in pending]))
            for future in pending:
                with pytest.raises(SessionDied, match="SIGKILL"):
                    future.result()
            host.restart("mortal")
            return seconds

        quick(2.0, dying)
        assert [flame.evaluate("1 + 1") for flame in (one, two, three)] == [2, 2, 2]
        one.session.close()


def test_clients_of_one_session_each_get_their_own_answers(client: FlameServer) -> None:
    with connect(client.address, session="two") as one, connect(client.address, session="two") as two:
        clients = {"one": one, "two": two}
        cells = [in_thread(flame.run, f"print('for {name}'); '{name}'", quiet=True) for name, flame in clients.items()]
        calls = [in_thread(flame.evaluate, f"'{name}'") for name, flame in clients.items()]
        assert [cell.result(30).value for cell in cells] == ["one", "two"]
        assert [cell.result().outputs[0]["text"] for cell in cells] == ["for one\n", "for two\n"]
        assert [call.result(30) for call in calls] == ["one", "two"]
        one.session.close()
