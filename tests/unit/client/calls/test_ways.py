"""What a server may say of where the worker is, and when a way that failed is tried again."""

from __future__ import annotations

import pytest

from flame_kernel.client.calls.ways import Told, Ways
from flame_kernel.errors import LinkLost
from flame_kernel.protocol.messages import Direct, Welcome
from flame_kernel.transport.interface import Endpoint

KEY = "0123456789012345678901234567890123456789"
TCP = Endpoint("tcp://gpu1:9999", "gpu1:9999", b"S" * 40, b"P" * 40, b"C" * 40)
UNIX = Endpoint("ipc:///run/flame/embedded.sock", "this machine")
TUNNEL = Endpoint("ipc:///tmp/tunnel", "gpu1", b"S" * 40, b"P" * 40, b"C" * 40)
HERE = Welcome(1, worker="unix:///run/flame/abc-ws")


def found(server: Endpoint, *told: object) -> Endpoint | None:
    return Ways(server, lambda: told).to_try()  # type: ignore[arg-type,return-value]


def test_over_tcp_it_is_a_port_of_the_servers_own_host_with_the_clients_own_key() -> None:
    direct = found(TCP, Welcome(1), Direct(50_000, KEY))

    assert direct == Endpoint("tcp://gpu1:50000", "gpu1:9999", KEY.encode(), TCP.public, TCP.secret)
    six = Endpoint("tcp://[::1]:9999", "there", b"S" * 40)
    assert found(six, None, Direct(50_000, KEY)).address == "tcp://[::1]:50000"


def test_on_the_same_machine_it_is_the_workers_socket() -> None:
    assert found(UNIX, HERE, None) == Endpoint("unix:///run/flame/abc-ws", "this machine")


@pytest.mark.parametrize("server", [TCP, TUNNEL], ids=["tcp", "tunnel"])
def test_a_server_elsewhere_has_no_say_in_which_socket_is_opened_here(server: Endpoint) -> None:
    assert found(server, HERE, None) is None


@pytest.mark.parametrize("worker", ["", "tcp://elsewhere:1", "inproc://x"])
def test_what_is_no_unix_socket_is_none(worker: str) -> None:
    assert found(UNIX, Welcome(1, worker=worker), Direct(50_000, KEY)) is None


@pytest.mark.parametrize(("port", "key"), [(0, KEY), (-1, KEY), (70_000, KEY), (1, ""), (1, KEY[1:]), (1, "é" * 40)])
def test_what_cannot_be_is_not_tried(port: int, key: str) -> None:
    assert found(TCP, Welcome(1), Direct(port, key)) is None


def test_a_promise_to_say_where_the_worker_is_is_waited_for_once() -> None:
    told: list[Told] = [(Welcome(1, direct=True), None)]
    waits: list[float] = []
    ways = Ways(TCP, lambda: told[0], wait=waits.append)

    assert ways.to_try() is None
    assert waits == []
    assert ways.to_try(0.5) is None
    assert ways.to_try(0.5) is None
    assert waits == [0.5]


def test_what_is_said_meanwhile_is_tried_at_once() -> None:
    told: list[Told] = [(Welcome(1, direct=True), None)]

    def wait(seconds: float) -> None:
        told[0] = (told[0][0], Direct(50_000, KEY))

    direct = Ways(TCP, lambda: told[0], wait=wait).to_try(0.5)
    assert direct is not None
    assert direct.address == "tcp://gpu1:50000"


@pytest.mark.parametrize("welcome", [None, Welcome(1)], ids=["none", "no-promise"])
def test_nothing_is_waited_for_without_a_promise(welcome: Welcome | None) -> None:
    def wait(seconds: float) -> None:
        raise AssertionError("it waits")

    assert Ways(TCP, lambda: (welcome, None), wait=wait).to_try(0.5) is None


def test_a_way_that_failed_is_tried_again_later_and_later_and_at_once_when_the_server_names_one() -> None:
    now, told = [0.0], [(Welcome(1), Direct(50_000, KEY))]

    def latest() -> Told:
        return told[0]

    ways = Ways(TCP, latest, clock=lambda: now[0])
    waits = []
    for _ in range(6):
        direct = ways.to_try()
        assert direct is not None
        ways.failed(direct)
        ways.failed(direct)  # of several lanes at the same time each says so
        since = now[0]
        while ways.to_try() is None:
            now[0] += 1
        waits.append(now[0] - since)
    assert waits == [5, 10, 20, 40, 60, 60]

    ways.failed(direct)
    assert ways.to_try() is None
    told[0] = (told[0][0], Direct(50_001, KEY))
    assert ways.to_try().address == "tcp://gpu1:50001"
    ways.failed(direct)  # the one before
    assert ways.to_try() is not None


def test_what_is_over_is_not_connected_again() -> None:
    over: list[LinkLost | None] = [None]
    ways = Ways(TCP, over=lambda: over[0])
    ways.require_open()
    over[0] = LinkLost("closed")
    with pytest.raises(LinkLost, match="closed"):
        ways.require_open()
