"""What every transport does: over ZeroMQ, and in memory; and what only the one in memory can do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Protocol

import pytest
import zmq

from flame_kernel.buffers import OWN_FRAME, Buffer
from flame_kernel.transport.dialler import ZmqDialler
from flame_kernel.transport.interface import Cause, Dialler, Endpoint, Listener
from flame_kernel.transport.listener import ZmqListener, server_socket
from flame_kernel.transport.memory import Network
from tests.unit.waiting import settled


class Recorder:
    """Either end: keeps what it is told, and lets others wait for it."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.peers: list[bytes] = []
        self.users: list[bytes] = []
        self._changed = asyncio.Event()

    def on_up(self) -> None:
        self._note("up")

    def on_down(self, cause: Cause) -> None:
        self._note(cause)

    def on_frames(self, *args: Any) -> None:
        if len(args) == 3:
            self.peers.append(args[0])
            self.users.append(args[1]().user)
        self._note([bytes(frame) for frame in args[-1]])

    def _note(self, what: Any) -> None:
        self.told.append(what)
        self._changed.set()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


class Transport(Protocol):
    def listen(self, events: Any) -> Listener: ...
    def dialler(self, events: Any) -> Dialler: ...


class OverZmq:
    def __init__(self, context: zmq.Context[Any], path: Path) -> None:
        self._context = context
        self._endpoint = Endpoint(f"ipc://{path}", "test")

    def listen(self, events: Any) -> Listener:
        socket = server_socket(self._context)
        socket.bind(self._endpoint.address)
        return ZmqListener(socket, events)

    def dialler(self, events: Any) -> Dialler:
        return ZmqDialler(self._context, self._endpoint, events)


class Pair:
    """A listener and a dialler of one transport."""

    def __init__(self, transport: Transport) -> None:
        self.server, self.client = Recorder(), Recorder()
        self.listener = transport.listen(self.server)
        self.dialler = transport.dialler(self.client)

    async def up(self) -> bytes:
        """Connect, and return the connection's name."""
        self.dialler.dial()
        await self.client.until(lambda: self.client.told)
        assert self.client.told == ["up"]
        self.dialler.send([b"hello"])
        await self.server.until(lambda: self.server.peers)
        return self.server.peers[-1]


@pytest.fixture(params=["zmq", "memory"])
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Pair]:
    context: zmq.Context[Any] = zmq.Context()
    pair = Pair(OverZmq(context, tmp_path / "s") if request.param == "zmq" else Network())
    yield pair
    pair.dialler.close()
    pair.listener.close()
    context.destroy(0)


async def test_frames_arrive_whole_and_in_order_both_ways(pair: Pair) -> None:
    peer = await pair.up()
    sent = [[b"%d" % number, b"x" * (OWN_FRAME if number % 3 else 0)] for number in range(20)]
    for frames in sent:
        pair.dialler.send(frames)
        assert pair.listener.send(peer, frames)

    await pair.server.until(lambda: len(pair.server.told) == 21)
    await pair.client.until(lambda: len(pair.client.told) == 21)
    assert pair.server.told[1:] == pair.client.told[1:] == sent


async def test_nothing_is_told_from_within_a_call(pair: Pair) -> None:
    peer = await pair.up()
    told = len(pair.server.told) + len(pair.client.told)
    pair.dialler.send([b"a"])
    pair.listener.send(peer, [b"b"])
    pair.dialler.dial()

    assert len(pair.server.told) + len(pair.client.told) == told


async def test_a_connection_that_is_not_there_takes_nothing(pair: Pair) -> None:
    await pair.up()

    assert not pair.listener.send(b"\0none", [b"a"])


async def test_dialling_again_is_a_new_connection(pair: Pair) -> None:
    first = await pair.up()
    pair.dialler.dial()
    await pair.client.until(lambda: pair.client.told.count("up") == 2)
    pair.dialler.send([b"again"])
    await pair.server.until(lambda: len(pair.server.peers) == 2)

    assert pair.server.peers[1] != first
    assert pair.server.peers[1].startswith(b"\0")


async def test_nothing_is_told_after_closing(pair: Pair) -> None:
    peer = await pair.up()
    pair.listener.send(peer, [b"late"])
    pair.dialler.close()
    pair.dialler.send([b"later"])
    await settled()

    assert pair.client.told == ["up"]


# ---- in memory only


@pytest.fixture
async def network() -> Network:
    return Network()


@pytest.fixture
async def ends(network: Network) -> Pair:
    return Pair(network)


async def test_a_cut_loses_what_is_under_way_and_gives_a_new_name(network: Network, ends: Pair) -> None:
    first = await ends.up()
    ends.dialler.send([b"lost"])
    ends.listener.send(first, [b"lost"])
    network.cut()
    assert not ends.listener.send(first, [b"too late"])
    await ends.client.until(lambda: len(ends.client.told) == 3)
    ends.dialler.send([b"after"])
    await settled()

    assert ends.client.told == ["up", Cause.LOST, "up"]
    assert ends.server.told == [[b"hello"], [b"after"]]
    assert ends.server.peers[1] != first


async def test_a_cut_before_it_was_up_is_told_once_and_comes_up_once(network: Network, ends: Pair) -> None:
    ends.dialler.dial()
    network.cut()
    await settled()

    assert ends.client.told == [Cause.LOST, "up"]


async def test_a_black_hole_is_silent_until_it_is_healed(network: Network, ends: Pair) -> None:
    peer = await ends.up()
    ends.dialler.send([b"lost"])
    network.black_hole()
    assert ends.listener.send(peer, [b"lost"])
    ends.dialler.dial()
    await settled()
    assert ends.client.told == ["up"]

    network.heal()
    await settled()
    assert ends.client.told == ["up", "up"]
    assert ends.server.told == [[b"hello"]]


async def test_a_refused_attempt_is_told_once_and_succeeds_when_admitted(network: Network, ends: Pair) -> None:
    network.refuse(Cause.NO_ANSWER)
    ends.dialler.dial()
    await settled()
    assert ends.client.told == [Cause.NO_ANSWER]

    network.admit()
    await settled()
    assert ends.client.told == [Cause.NO_ANSWER, "up"]


async def test_packets_are_held_lost_and_doubled_one_way(network: Network, ends: Pair) -> None:
    peer = await ends.up()
    network.to_server.hold()
    network.to_client.lose = 1
    for text in (b"1", b"2"):
        ends.dialler.send([text])
        ends.listener.send(peer, [text])
    await settled()
    assert ends.server.told == [[b"hello"]]
    assert ends.client.told == ["up", [b"2"]]

    network.to_server.release()
    network.to_client.copies = 2
    ends.listener.send(peer, [b"3"])
    await settled()
    assert ends.server.told[1:] == [[b"1"], [b"2"]]
    assert ends.client.told[2:] == [[b"3"], [b"3"]]


async def test_what_arrives_does_not_change_when_the_sender_changes_it(ends: Pair) -> None:
    await ends.up()
    buffer: Buffer = bytearray(b"before")
    ends.dialler.send([b"", buffer])
    buffer[:] = b"after!"  # type: ignore[index]
    await settled()

    assert ends.server.told[-1] == [b"", b"before"]


async def test_the_listener_is_told_the_key_of_the_dialler(network: Network) -> None:
    server = Recorder()
    network.listen(server)
    client = Recorder()
    dialler = network.dialler(client, b"key")
    dialler.dial()
    await settled()
    dialler.send([b"hello"])
    await settled()

    assert server.users == [b"key"]
