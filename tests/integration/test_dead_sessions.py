"""A session whose process has ended is kept for those who were away, but not for ever, and takes nobody's place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flame_kernel import Host, connect
from flame_kernel.errors import LimitExceeded, SessionDied
from tests.integration.servers import FlameServer, until


def die(server: FlameServer, *sessions: str) -> None:
    for session in sessions:
        with connect(server.address, session=session) as flame, pytest.raises(SessionDied):
            flame.execute("__import__('os')._exit(3)")


def states(host: Host) -> dict[str, str]:
    return {info.name: info.state for info in host.sessions()}


def test_dead_sessions_take_nobodys_place_until_they_are_restarted(with_limits: Callable[..., FlameServer]) -> None:
    server = with_limits(lease_s=1.0, sessions=2)
    die(server, "a", "b")
    with Host(server.address) as host:
        assert states(host) == {"a": "dead", "b": "dead"}
        until(lambda: all(info.ends_in for info in host.sessions()))
        with connect(server.address) as flame, connect(server.address, session="named") as other:
            assert (flame.evaluate("1"), other.evaluate("2")) == (1, 2)
            with pytest.raises(LimitExceeded, match="runs 2 sessions already"):
                connect(server.address)
            with pytest.raises(LimitExceeded, match="runs 2 sessions already"):
                host.restart("a")
            assert states(host)["a"] == "dead"
            other.session.close()
            host.restart("a")
            assert states(host)["a"] == "ready"


def test_a_dead_session_ends_when_nobody_came_for_it_and_a_living_one_stays(
    with_limits: Callable[..., FlameServer],
) -> None:
    server = with_limits(lease_s=1.0, away_s=2.0)
    connect(server.address, session="living").close()
    with Host(server.address) as host, connect(server.address, session="mortal") as flame:
        with pytest.raises(SessionDied):
            flame.execute("__import__('os')._exit(3)")
        assert {info.name: info.ends_in for info in host.sessions()} == {"living": None, "mortal": None}
        flame.close()
        until(lambda: states(host) == {"living": "ready"})
    assert len(records(server)) == 1


def test_the_oldest_dead_sessions_make_room_for_others(with_limits: Callable[..., FlameServer]) -> None:
    server = with_limits(lease_s=1.0, sessions=2)
    with Host(server.address) as host:
        die(server, "first", "second", "third")
        until(lambda: states(host) == {"second": "dead", "third": "dead"})
    assert len(records(server)) == 2


def records(server: FlameServer) -> list[Path]:
    return list((server.home / "state" / "sessions").glob("*/*/session.json"))
