"""A client's end of a forwarded connection, with a session that says what it likes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from flame_kernel.client.calls.tunnel import Tunnel
from flame_kernel.errors import FlameError, ForwardError, LinkLost
from flame_kernel.protocol.calls import CallAnswer, Failure, Operation, Outcome
from flame_kernel.protocol.flows import WINDOW
from flame_kernel.serialize import Format, Parts


class Way:
    """Keeps what is said; what is called on the pipeline's thread is called at once."""

    def __init__(self) -> None:
        self.said: list[tuple[Operation, list[Any]]] = []
        self.complaints: list[str] = []
        self.forgotten: list[Tunnel] = []
        self.closed = False

    def ask(self, operation: Operation, operands: Parts, waiter: Tunnel) -> None:
        if self.closed:
            raise LinkLost("closed")
        self.say(operation, operands)

    def say(self, operation: Operation, operands: Parts) -> None:
        self.said.append((operation, operands.value))

    def call(self, function: Callable[[], object]) -> None:
        function()

    def forget(self, tunnel: Tunnel) -> None:
        self.forgotten.append(tunnel)

    def complain(self, tunnel: Tunnel, error: FlameError) -> None:
        self.complaints.append(str(error))


@pytest.fixture
def way() -> Way:
    return Way()


@pytest.fixture
def tunnel(way: Way) -> Tunnel:
    tunnel = Tunnel(way, 7)
    tunnel.open(Operation.CONNECT, "localhost", 80)
    return tunnel


def answer(outcome: Outcome, *parts: bytes, form: Format = Format.JSON) -> CallAnswer:
    return CallAnswer(outcome, form, 1, parts)


def failed(error: FlameError) -> CallAnswer:
    return answer(Outcome.ERROR, Failure("ForwardError", str(error), "", error.code).encode())


NONSENSE = [
    answer(Outcome.PIECE, bytes(WINDOW + 1)),
    answer(Outcome.NOTE),
    answer(Outcome.NOTE, b"{"),
    answer(Outcome.NOTE, b"[]"),
    answer(Outcome.NOTE, b'{"credit": "1"}'),
    answer(Outcome.NOTE, b'{"credit": true}'),
    answer(Outcome.NOTE, b'{"credit": 0}'),
    answer(Outcome.NOTE, b'{"credit": 1}'),  # the window is untouched
    answer(Outcome.NOTE, b'{"arrived": 1}'),
    answer(Outcome.NOTE, b"\x80\x05N.", form=Format.PICKLE),
    answer(Outcome.ERROR),
    answer(Outcome.ERROR, b"nothing"),
    answer(Outcome.RESULT, b"null"),  # with nothing said before
]


@pytest.mark.parametrize("nonsense", NONSENSE, ids=[str(number) for number in range(len(NONSENSE))])
def test_a_session_that_makes_no_sense_costs_the_connection_alone(
    way: Way, tunnel: Tunnel, nonsense: CallAnswer
) -> None:
    assert tunnel.on_answer(nonsense)

    assert tunnel.stream.over
    assert way.said == [(Operation.CONNECT, [7, "localhost", 80]), (Operation.ABANDON, [7])]
    assert way.forgotten == [tunnel]
    tunnel.on_answer(nonsense)  # does nothing any more
    assert len(way.said) == 2


def test_what_could_not_be_reached_is_complained_of(way: Way, tunnel: Tunnel) -> None:
    tunnel.on_answer(failed(ForwardError("localhost:80: Connection refused")))

    assert way.complaints == ["localhost:80: Connection refused"]
    assert tunnel.stream.over


def test_what_was_reached_and_is_reset_is_not(way: Way, tunnel: Tunnel) -> None:
    tunnel.on_answer(answer(Outcome.PIECE, b"hello"))
    tunnel.on_answer(failed(ForwardError("Connection reset by peer")))

    assert way.complaints == []
    assert tunnel.stream.over


def test_a_session_that_is_gone_ends_it(way: Way, tunnel: Tunnel) -> None:
    tunnel.on_failed(LinkLost("gone"))

    assert tunnel.stream.over
    assert way.complaints == []


def test_one_that_is_opened_too_late_ends_at_once(way: Way) -> None:
    way.closed = True
    tunnel = Tunnel(way, 7)
    tunnel.open(Operation.CONNECT, "localhost", 80)

    assert tunnel.stream.over


async def test_a_socket_that_comes_after_the_end_is_closed(way: Way, tunnel: Tunnel) -> None:
    tunnel.on_failed(LinkLost("gone"))
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        transport, _ = await asyncio.get_running_loop().create_connection(lambda: tunnel.stream, "127.0.0.1", port)
        assert transport.is_closing()
