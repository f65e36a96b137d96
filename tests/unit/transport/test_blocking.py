"""A connection for a caller that waits: what ends its wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import zmq

from flame_kernel.errors import FlameTimeout, LinkLost
from flame_kernel.transport.blocking import Connection, Wake
from flame_kernel.transport.interface import Endpoint


@pytest.fixture
def context() -> Iterator[zmq.Context[Any]]:
    context: zmq.Context[Any] = zmq.Context()
    yield context
    context.destroy(0)


@pytest.fixture
def wake() -> Iterator[Wake]:
    wake = Wake()
    yield wake
    wake.close()


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"ipc://{tmp_path / 's'}"


@pytest.fixture
def router(context: zmq.Context[Any], address: str) -> zmq.Socket[bytes]:
    router = context.socket(zmq.ROUTER)
    router.linger = 0
    router.bind(address)
    return router


@pytest.fixture
def connection(context: zmq.Context[Any], router: Any, address: str, wake: Wake) -> Iterator[Connection]:
    connection = Connection(context, Endpoint(address, "here"), wake)
    connection.wait_until_up(time.monotonic() + 10)
    yield connection
    connection.close()


def waiting(connection: Connection) -> Future[Any]:
    with_one = ThreadPoolExecutor(1)
    future = with_one.submit(connection.receive, None)
    with_one.shutdown(wait=False)
    end = time.monotonic() + 30
    between = threading.Event()
    while not connection.waiting:
        assert time.monotonic() < end
        between.wait(0.001)
    return future


def test_a_message_ends_the_wait(connection: Connection, router: Any) -> None:
    future = waiting(connection)
    connection.send([b"there"])
    name, said = router.recv_multipart()
    assert said == b"there"
    router.send_multipart([name, b"and", b"back"])
    assert [bytes(frame) for frame in future.result(30)] == [b"and", b"back"]


def test_a_cut_ends_the_wait_by_itself(connection: Connection, router: Any) -> None:
    future = waiting(connection)
    router.close()
    assert future.result(30) is None
    assert connection.gone
    assert connection.receive(None) is None


def test_a_ring_ends_the_wait_and_is_heard_once(connection: Connection, wake: Wake) -> None:
    future = waiting(connection)
    wake.ring()
    wake.ring()
    assert future.result(30) is None
    assert not connection.gone
    wake.hush()
    assert connection.receive(time.monotonic() + 0.01) is None  # the time is up; nothing rings any more


def test_the_end_ends_every_wait(connection: Connection, wake: Wake) -> None:
    future = waiting(connection)
    wake.end()
    with pytest.raises(LinkLost, match="connect again"):
        future.result(30)
    with pytest.raises(LinkLost):
        connection.receive(None)


def test_a_ring_that_is_put_off_rings_again(wake: Wake) -> None:
    wake.ring()
    wake.put_off()
    wake.ring_again()
    wake.wait()  # would wait for ever
    wake.hush()
    wake.ring_again()
    poller = zmq.Poller()
    poller.register(wake, zmq.POLLIN)
    assert poller.poll(10) == []


def test_what_never_comes_up_times_out(context: zmq.Context[Any], address: str, wake: Wake) -> None:
    connection = Connection(context, Endpoint(address, "here"), wake)
    try:
        with pytest.raises(FlameTimeout, match="here can't be reached"):
            connection.wait_until_up(time.monotonic() + 0.05)
    finally:
        connection.close()
