"""Calls over a real socket to a gate and a worker that run in this process."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from flame_kernel.client.calls.lane import Lane, Lanes
from flame_kernel.client.calls.ways import DIRECT, THROUGH_SERVER, Ways
from flame_kernel.client.links.background import BackgroundLoop
from flame_kernel.errors import FlameTimeout, LinkLost
from flame_kernel.protocol import messages
from flame_kernel.protocol.calls import Operation, Outcome, encode_request
from flame_kernel.security.admission import Admission
from flame_kernel.security.authorized import AuthorizedKeys
from flame_kernel.security.invite_book import InviteBook
from flame_kernel.serialize import dump, load
from flame_kernel.server.access import Access
from flame_kernel.server.audit import Audit
from flame_kernel.server.config import Direct, Limits
from flame_kernel.server.direct import DirectLanes
from flame_kernel.server.doorkeeper import Doorkeeper
from flame_kernel.server.gate import Gate
from flame_kernel.server.listing import Lister
from flame_kernel.server.requests import Requests
from flame_kernel.transport.entrance import stream_address
from flame_kernel.transport.interface import Endpoint
from flame_kernel.transport.listener import ZmqListener, server_socket
from flame_kernel.worker.main import Worker
from flame_kernel.worker.operations import Operations
from tests.unit.fake_sessions import NOW, FakeRegistry
from tests.unit.rendezvous import rendezvous
from tests.unit.waiting import eventually


class Place:
    """A server on a unix socket with one session, whose worker has a namespace of its own."""

    def __init__(self, folder: Path, worker_address: str) -> None:
        self.folder = folder
        self.worker_address = worker_address
        self.endpoint = Endpoint(f"ipc://{folder / 's'}", "here")
        self.client_context: zmq.Context[Any] = zmq.Context()
        self.server_context: zmq.Context[Any] = zmq.Context()
        self.loop = BackgroundLoop("gate")
        self.loop.run(self.open())

    async def open(self) -> None:
        authorized, invites = AuthorizedKeys(self.folder / "authorized_keys"), InviteBook(self.folder / "invites")
        admission = Admission(authorized, invites, lambda: NOW, lambda report: None)
        registry: Any = FakeRegistry(self.worker_address)
        await registry.obtain("", messages.Hello((1,), messages.LANE_SESSION, session="work"))
        doorkeeper = Doorkeeper(admission, authorized, invites, "here", lambda: NOW)
        clock = asyncio.get_running_loop().time
        access, audit = Access(registry, authorized, "here"), Audit(lambda record: None, lambda: NOW)
        requests = Requests(
            access, Lister("gpu1", lambda session: None), audit, registry.find, registry.find, lambda: None
        )
        limits = Limits(journal_bytes=1_000_000)
        direct = DirectLanes(Direct(), self.server_context, access, audit)
        self.gate = Gate(doorkeeper, access, requests, audit, self.server_context, "here", limits, clock, direct)
        listening = server_socket(self.server_context)
        listening.bind(self.endpoint.address)
        self.gate.listener = ZmqListener(listening, self.gate)

    async def shut(self) -> None:
        self.gate.close()
        assert self.gate.listener is not None
        self.gate.listener.close()

    def close(self) -> None:
        self.client_context.destroy(0)
        self.loop.run(self.shut())
        self.loop.close()
        self.server_context.destroy(0)


@pytest.fixture(scope="module")
def namespace() -> dict[str, Any]:
    return {}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, namespace: dict[str, Any]) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("lane")
    with rendezvous(folder / "w") as (entrance, address):
        Worker(entrance, Operations(namespace)).start()
        place = Place(folder, address)
        yield place
        place.close()


@pytest.fixture(params=[THROUGH_SERVER, DIRECT, "direct, over a stream"])
def ways(place: Place, request: pytest.FixtureRequest) -> Ways:
    """What is promised of a lane holds whichever way it goes."""
    ways = Ways(place.endpoint)
    if request.param != THROUGH_SERVER:
        address = place.worker_address
        ways.offer(Endpoint(address if request.param == DIRECT else stream_address(address), "here"))
    return ways


@pytest.fixture
def lanes(place: Place, ways: Ways) -> Iterator[Lanes]:
    lanes = lanes_over(place, ways)
    before = ways.link.way
    yield lanes
    lanes.close()
    assert before == THROUGH_SERVER  # nothing was known yet
    assert ways.link.way == (DIRECT if ways.to_try() else THROUGH_SERVER)


def lanes_over(place: Place, ways: Ways) -> Lanes:
    return Lanes(lambda wake: Lane(place.client_context, place.endpoint, "work", False, b"c" * 16, wake, ways=ways))


def evaluate(lanes: Lanes, expression: str, timeout: float | None = 10.0) -> Any:
    answer = lanes.call(Operation.EVALUATE, (expression,), timeout, lambda stream, text: None)
    assert answer.outcome is Outcome.RESULT
    return load(answer.format, answer.parts)


def test_one_lane_serves_one_call_after_the_other(lanes: Lanes) -> None:
    assert [evaluate(lanes, f"{number} + 1") for number in range(20)] == list(range(1, 21))
    assert len(lanes._idle) == 1


class Out:
    """What the kernel has as stdout."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass


def test_a_call_that_prints_more_than_a_window_is_answered(lanes: Lanes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Out())
    printed: list[str] = []
    code = "for i in range(1000): print(i)"
    answer = lanes.call(Operation.EXECUTE, (code,), 20.0, lambda stream, text: printed.append(text))

    assert answer.outcome is Outcome.RESULT
    assert "".join(printed) == "".join(f"{number}\n" for number in range(1000))


def test_a_call_that_prints_more_bytes_than_a_window_is_answered(lanes: Lanes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Out())
    printed: list[int] = []
    code = "for i in range(3): print('x' * 20_000_000)"
    answer = lanes.call(Operation.EXECUTE, (code,), 20.0, lambda stream, text: printed.append(len(text)))

    assert answer.outcome is Outcome.RESULT
    assert sum(printed) == 3 * 20_000_001


def test_the_answer_of_a_call_that_was_given_up_is_dropped(lanes: Lanes, namespace: dict[str, Any]) -> None:
    namespace["may_end"] = threading.Event()
    with pytest.raises(FlameTimeout, match=r"no answer from here within 0.1 s; the call goes on there"):
        evaluate(lanes, "may_end.wait(30)", timeout=0.1)
    namespace["may_end"].set()

    assert evaluate(lanes, "'next'") == "next"
    assert len(lanes._idle) == 1


def test_calls_on_several_threads_run_side_by_side(lanes: Lanes, namespace: dict[str, Any]) -> None:
    namespace["together"] = threading.Barrier(4)
    got: list[Any] = []
    threads = [threading.Thread(target=lambda: got.append(evaluate(lanes, "together.wait(30)"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(got) == [0, 1, 2, 3]


def test_large_values_cross_both_ways(lanes: Lanes) -> None:
    large = b"x" * 40_000_000
    lanes.call(Operation.PUSH, ("large", large), 20.0, lambda stream, text: None)

    assert evaluate(lanes, "large") == large


def test_a_lane_whose_connection_is_gone_comes_back_and_the_call_runs_once(
    lanes: Lanes, namespace: dict[str, Any]
) -> None:
    namespace["runs"] = []
    evaluate(lanes, "1")
    (lane,) = lanes._idle
    lane.talk.drop()

    assert evaluate(lanes, "runs.append(1) or len(runs)") == 1


@pytest.mark.parametrize("ways", [THROUGH_SERVER], indirect=True)
def test_a_lane_that_the_server_has_forgotten_is_taken_in_again(lanes: Lanes, place: Place) -> None:
    assert evaluate(lanes, "1") == 1

    async def forget() -> None:
        for name, peer in list(place.gate._peers.items()):
            place.gate._forget(name, peer)

    place.loop.run(forget())
    assert evaluate(lanes, "2") == 2


def test_nothing_is_called_after_closing(lanes: Lanes) -> None:
    evaluate(lanes, "1")
    lanes.close()

    with pytest.raises(LinkLost, match="was closed; connect again"):
        evaluate(lanes, "1")


# ---------------------------------------------------------------- from one way to the other


def nowhere(place: Place) -> Endpoint:
    return Endpoint(f"ipc://{place.folder / 'nowhere'}", "here")


def test_a_worker_that_cannot_be_reached_is_called_through_the_server(place: Place) -> None:
    ways = Ways(place.endpoint)
    ways.offer(nowhere(place))
    lanes = lanes_over(place, ways)

    assert evaluate(lanes, "1") == 1
    assert str(ways.link) == f"through the server, {place.endpoint.address}"
    assert ways.to_try() is None  # for a while
    lanes.close()


def test_a_way_that_does_not_answer_is_not_waited_for(place: Place) -> None:
    ways = Ways(place.endpoint)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connections come up there, and nobody says anything
        ways.offer(Endpoint(f"tcp://127.0.0.1:{silent.getsockname()[1]}", "here"))
        lanes = lanes_over(place, ways)

        assert evaluate(lanes, "1", timeout=30.0) == 1
        assert ways.link.way == THROUGH_SERVER
        lanes.close()


def test_calls_run_once_each_and_in_order_while_their_lane_goes_from_one_way_to_the_other(
    place: Place, namespace: dict[str, Any]
) -> None:
    now = [0.0]
    ways = Ways(place.endpoint, clock=lambda: now[0])
    lanes = lanes_over(place, ways)
    namespace["runs"], ran, taken = [], iter(range(1_000_000)), set()

    def call() -> str:
        number = next(ran)
        assert evaluate(lanes, f"runs.append({number}) or len(runs)") == number + 1
        taken.add(ways.link.way)
        return ways.link.way

    assert call() == THROUGH_SERVER
    for _ in range(3):
        ways.offer(Endpoint(place.worker_address, "here"))
        eventually(lambda: call() == DIRECT)
        (lane,) = lanes._idle
        connection = lane.talk._connection
        assert connection is not None
        # As if the network had ended it, with a call's answer on its way.
        lane.talk.push(encode_request(Operation.EVALUATE, *dump((f"runs.append({next(ran)})",), False), False))
        lane.talk.flush()
        connection.gone = True
        assert call() == THROUGH_SERVER
        assert ways.to_try() is None
        now[0] += 1000
        assert ways.to_try() is not None
        eventually(lambda: call() == DIRECT)  # by itself, once the worker can be reached again
    assert namespace["runs"] == list(range(len(namespace["runs"])))
    assert taken == {DIRECT, THROUGH_SERVER}
    assert len(lanes._idle) == 1
    lanes.close()
