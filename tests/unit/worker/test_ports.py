"""The worker's end of forwarded ports, with real sockets and a client that is made of calls."""

from __future__ import annotations

import json
import queue
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest

from flame_kernel.buffers import Buffer
from flame_kernel.errors import ProtocolError
from flame_kernel.protocol.calls import (
    CallAnswer,
    Failure,
    Operation,
    Outcome,
    asked,
    decode_answer,
    encode_request,
)
from flame_kernel.protocol.flows import WINDOW
from flame_kernel.serialize import Parts, dump
from flame_kernel.worker.ports import Ports
from flame_kernel.worker.running import Call
from tests.unit.waiting import eventually


class Client:
    """What the worker knows of a client, and what the client hears."""

    def __init__(self, ports: Ports) -> None:
        self.name = b"c" * 16
        self.there = True
        self._ports = ports
        self._number = 0
        self._heard: queue.SimpleQueue[CallAnswer] = queue.SimpleQueue()

    def reachable(self) -> bool:
        return self.there

    def answer(self, parts: Sequence[Buffer]) -> int:
        self._heard.put(decode_answer(parts))
        return 0

    def ask(self, operation: Operation, *operands: Any, data: Sequence[Buffer] = ()) -> None:
        self._number += 1
        head, *parts = encode_request(operation, *dump(Parts(list(operands), data)), plain=True)
        self._ports.take(Call(self, self._number, asked(bytes(head)), parts))  # type: ignore[arg-type]

    def next(self) -> CallAnswer:
        return self._heard.get(timeout=20)

    def failure(self) -> str:
        answer = self.next()
        assert answer.outcome is Outcome.ERROR
        return Failure.decode(answer.parts[0]).evalue

    def note(self) -> dict[str, int]:
        answer = self.next()
        assert answer.outcome is Outcome.NOTE
        told: dict[str, int] = json.loads(bytes(answer.parts[0]))
        return told

    def silent(self) -> bool:
        return self._heard.empty()


@pytest.fixture
def ports() -> Iterator[Ports]:
    ports = Ports(lease_s=0.02)
    yield ports
    loop = ports._loop
    if loop is not None:  # in a session it ends with the process
        ports.left(b"c" * 16)
        loop.call_soon_threadsafe(lambda: loop.call_later(0.01, loop.stop))
        eventually(lambda: not loop.is_running())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


@pytest.fixture
def client(ports: Ports) -> Client:
    return Client(ports)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(20)
        yield listening


def accepted(client: Client, listening: socket.socket) -> socket.socket:
    client.ask(Operation.CONNECT, 1, "localhost", listening.getsockname()[1])
    own, _ = listening.accept()
    own.settimeout(20)
    return own


def refuses(own: socket.socket) -> bool:
    try:
        own.sendall(b"x")
    except OSError:
        return True
    return False


def test_what_is_said_before_the_connection_is_there_arrives(client: Client, listening: socket.socket) -> None:
    client.ask(Operation.CONNECT, 1, "localhost", listening.getsockname()[1])
    client.ask(Operation.SEND, 1, data=[b"early"])
    client.ask(Operation.SEND, 1, data=[b""])
    own, _ = listening.accept()
    with own:
        assert own.makefile("rb").read() == b"early"
        own.sendall(b"late")
    said = client.next()
    assert (said.outcome, bytes(said.parts[0])) == (Outcome.PIECE, b"late")
    assert (client.next().parts[0], client.next().outcome) == (b"", Outcome.RESULT)


def test_a_service_that_reads_gets_credit_for_its_client(client: Client, listening: socket.socket) -> None:
    with accepted(client, listening) as own:
        for _ in range(8):
            client.ask(Operation.SEND, 1, data=[bytes(WINDOW // 8)])
        left = WINDOW
        while left:
            left -= len(own.recv(left))
        assert client.note()["credit"] >= WINDOW // 2


def test_a_service_is_read_up_to_the_window(client: Client, listening: socket.socket) -> None:
    with accepted(client, listening) as own:
        own.setblocking(False)
        came = 0
        with suppress(BlockingIOError):
            while True:
                own.send(bytes(65536))
        while came < WINDOW:
            came += len(client.next().parts[0])
        assert came == WINDOW
        assert client.silent()
        client.ask(Operation.CREDIT, 1, 10)
        assert len(client.next().parts[0]) == 10


@pytest.mark.parametrize(
    ("operation", "operands", "data"),
    [
        pytest.param(Operation.SEND, [1], [bytes(WINDOW + 1)], id="more than the window"),
        pytest.param(Operation.SEND, [1], [b"", b"x"], id="something after the end"),
        pytest.param(Operation.SEND, [1], [b"", b""], id="a second end"),
        pytest.param(Operation.CREDIT, [1, WINDOW], [], id="too much credit"),
        pytest.param(Operation.CREDIT, [1, -1], [], id="less credit"),
    ],
)
def test_a_client_that_breaks_the_rules_loses_the_stream(
    client: Client, listening: socket.socket, operation: Operation, operands: list[Any], data: list[bytes]
) -> None:
    with accepted(client, listening) as own:
        client.ask(operation, *operands, data=data)
        assert re.search("came (for|on) a stream|not allowed", client.failure())
        eventually(lambda: refuses(own))


@pytest.mark.parametrize(
    "operands",
    [
        [],
        [1],
        [1, "localhost"],
        [1, "localhost", "80"],
        ["1", "localhost", 80],
        [1, "localhost", 80, 1],
        [True, "a", 1],
    ],
)
def test_operands_of_the_wrong_kind_are_refused(client: Client, operands: list[Any]) -> None:
    with pytest.raises(ProtocolError, match="without what connect needs"):
        client.ask(Operation.CONNECT, *operands)


def test_a_stream_is_begun_once(client: Client, listening: socket.socket) -> None:
    with accepted(client, listening):
        client.ask(Operation.CONNECT, 1, "localhost", 1)
        assert "there already" in client.failure()


def test_what_is_said_to_nobody_is_dropped(client: Client, listening: socket.socket) -> None:
    client.ask(Operation.SEND, 9, data=[b"x"])
    client.ask(Operation.CREDIT, 9, 1)
    client.ask(Operation.ABANDON, 9)
    client.ask(Operation.ACCEPT, 1, 9, 9)
    assert client.failure() == "who had connected is gone"


@pytest.mark.parametrize(
    ("host", "port"), [("localhost", 0), ("localhost", 99999), ("a" * 64, 80), ("no such.host", 80)]
)
def test_what_can_not_be_reached_is_said_in_one_line(client: Client, host: str, port: int) -> None:
    client.ask(Operation.CONNECT, 1, host, port)
    assert client.failure().startswith(f"{host}:{port}: ")


def test_who_connects_is_told_of_and_taken(client: Client) -> None:
    client.ask(Operation.LISTEN, 1, "127.0.0.1", 0, True)
    port = client.note()["port"]
    with socket.create_connection(("127.0.0.1", port), timeout=20) as own:
        own.sendall(b"hello")
        client.ask(Operation.ACCEPT, 2, 1, client.note()["arrived"])
        assert bytes(client.next().parts[0]) == b"hello"
        client.ask(Operation.SEND, 2, data=[b"hi"])
        assert own.recv(2) == b"hi"
        client.ask(Operation.ABANDON, 1)
        assert client.next().outcome is Outcome.RESULT
        client.ask(Operation.SEND, 2, data=[b"still"])
        assert own.recv(5) == b"still"


def test_what_listens_for_a_client_that_stays_away_ends(client: Client) -> None:
    client.ask(Operation.LISTEN, 1, "127.0.0.1", 0, True)
    port = client.note()["port"]
    client.there = False

    assert client.next().outcome is Outcome.RESULT
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=20)


def test_a_conversation_that_ends_takes_its_streams_with_it(
    ports: Ports, client: Client, listening: socket.socket
) -> None:
    with accepted(client, listening) as own:
        ports.left(client.name)
        eventually(lambda: refuses(own))
