"""Sessions that nobody comes back to, and those that take too much memory, are ended; no process is orphaned."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from flame_kernel import Host, connect
from flame_kernel.errors import ConfigurationError, SessionDied
from tests.integration.relay import Relay
from tests.integration.servers import FlameServer, run_script, until
from tests.integration.work import in_thread

LIMIT = 400_000_000

KILLED = """
import os, sys
from flame_kernel import connect
flame = connect(sys.argv[1], session=sys.argv[2] or None)
flame.execute("import subprocess; child = subprocess.Popen(['sleep', '1000'])")
print(flame.evaluate("[os.getpid(), child.pid]" if flame.execute("import os") is None else ""), flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.fixture(scope="module")
def limits() -> dict[str, float]:
    """Who is cut off counts as gone soon."""
    return {"silence_s": 3.0}


def left_by_a_killed_client(server: FlameServer, session: str = "") -> list[int]:
    done = run_script(KILLED, server.client_environ(), server.address, session)
    return [int(pid) for pid in done.stdout.strip().strip("[]").split(",")]


def test_a_private_session_whose_client_was_killed_is_ended_and_the_listing_says_when(
    with_limits: Callable[..., FlameServer],
) -> None:
    server = with_limits(lease_s=4.0, silence_s=3.0)
    pids = left_by_a_killed_client(server)
    assert all(map(psutil.pid_exists, pids))

    with Host(server.address) as host:
        until(lambda: host.sessions() and host.sessions()[0].ends_in is not None)
        (session,) = host.sessions()
        assert (session.private, session.clients) == (True, 0)
        assert session.ends_in is not None
        assert 0 <= session.ends_in <= 4.0
        assert "in " in str(host.sessions())
        until(lambda: not host.sessions())
    until(lambda: not any(map(psutil.pid_exists, pids)))


def test_a_named_session_stays_unless_it_has_a_lease(with_limits: Callable[..., FlameServer]) -> None:
    server = with_limits(lease_s=1.0, named_lease_s=4.0, silence_s=3.0)
    private = left_by_a_killed_client(server)
    until(lambda: not any(map(psutil.pid_exists, private)))
    pids = left_by_a_killed_client(server, "named")

    with Host(server.address) as host:
        until(lambda: host.sessions()[0].ends_in is not None)
        (session,) = host.sessions()
        assert (session.name, session.private) == ("named", False)
        until(lambda: not host.sessions())
    until(lambda: not any(map(psutil.pid_exists, pids)))


def test_a_client_gives_its_named_session_a_lease_which_outlives_the_server(
    with_limits: Callable[..., FlameServer],
) -> None:
    server = with_limits(lease_s=1.0)
    with connect(server.address, session="short", lease=2.0), Host(server.address) as host:
        connect(server.address, session="long").close()
        ends = {session.name: session.ends_in for session in host.sessions()}
        assert ends == {"short": None, "long": None}
    server.kill()
    server.start()  # at another free port, as the next of its kind
    with Host(server.invite) as host:
        until(lambda: [session.name for session in host.sessions()] == ["long"])


def test_a_lease_is_a_time(client: FlameServer) -> None:
    with pytest.raises(ConfigurationError, match="above 0, not -1"):
        connect(client.address, lease=-1)


def test_a_private_session_ends_at_once_with_its_client(client: FlameServer) -> None:
    with connect(client.address) as flame:
        pid = flame.evaluate("__import__('os').getpid()")
    until(lambda: not psutil.pid_exists(pid))  # its lease would last for a minute


def test_a_private_session_waits_for_a_client_that_was_cut_off(client: FlameServer, relay: Relay) -> None:
    with connect(relay.address) as flame, Host(client.address) as host:
        flame["x"] = 1
        relay.refuse()
        until(lambda: host.sessions()[0].ends_in is not None)
        relay.heal()
        assert flame["x"] == 1
        until(lambda: host.sessions()[0].ends_in is None)


def test_a_session_that_takes_too_much_memory_is_ended_with_the_reason(with_limits: Callable[..., FlameServer]) -> None:
    server = with_limits(session_bytes=LIMIT, lease_s=1.0)
    with connect(server.address, session="greedy") as flame, connect(server.address, session="modest") as other:
        other["safe"] = b"x" * (LIMIT // 4)
        cell = in_thread(flame.run, f"hoard = b'x' * {LIMIT}\nimport time\nwhile True: time.sleep(0.01)", quiet=True)
        with pytest.raises(SessionDied, match=r"limits\.session_bytes") as caught:
            cell.result(30)
        assert "MiB of memory" in str(caught.value)
        assert "\n" not in str(caught.value)
        with Host(server.address) as host:
            states = {session.name: (session.state, session.cause) for session in host.sessions()}
        assert states["greedy"][0] == "dead"
        assert "limits.session_bytes" in states["greedy"][1]
        assert len(other["safe"]) == LIMIT // 4
        flame.session.restart()
        assert flame.evaluate("1") == 1


def test_what_a_session_has_started_counts_too_and_ends_with_it(
    with_limits: Callable[..., FlameServer], tmp_path: Path
) -> None:
    server = with_limits(session_bytes=LIMIT, lease_s=1.0)
    hoarder = f"import time; data = b'x' * {LIMIT}; time.sleep(1000)"
    with connect(server.address, session="parent") as flame:
        flame.execute("import subprocess")
        child = flame.evaluate(f"(child := subprocess.Popen([{sys.executable!r}, '-c', {hoarder!r}])).pid")
        with pytest.raises(SessionDied, match=r"limits\.session_bytes"):
            flame.run("import time\nwhile True: time.sleep(0.01)", quiet=True)
        until(lambda: not psutil.pid_exists(child))
