"""Transfers are for those whose role allows them; the role stands in the name of the server's socket."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import zmq

from flame_kernel.errors import NotPermitted
from flame_kernel.protocol import calls, packets
from flame_kernel.protocol.calls import Operation, Outcome
from flame_kernel.protocol.packets import Kind
from flame_kernel.server.relay import Relay
from flame_kernel.worker import permits
from flame_kernel.worker.main import Worker
from flame_kernel.worker.operations import Operations
from tests.unit.rendezvous import rendezvous


@pytest.mark.parametrize("peer", [b"files:12345678", b"admin:12345678", b"\0:abc", b"\0files"])
def test_who_may_transfer(peer: bytes) -> None:
    for operation in Operation:
        permits.require(peer, operation)


@pytest.mark.parametrize("peer", [b"execute:12345678", b"observe:12345678", b":12345678", b"executefiles:1"])
def test_who_may_not(peer: bytes) -> None:
    permits.require(peer, Operation.EVALUATE)
    permits.require(peer, Operation.SENDMODULE)
    for operation in (Operation.FIND, Operation.WRITE, Operation.SETTLE):
        with pytest.raises(NotPermitted, match="needs the role files"):
            permits.require(peer, operation)


@pytest.mark.parametrize(("role", "outcome"), [("execute", Outcome.ERROR), ("files", Outcome.RESULT)])
async def test_the_role_reaches_the_worker_with_each_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: str, outcome: Outcome
) -> None:
    monkeypatch.setattr(permits, "FILES", range(Operation.EVALUATE, Operation.EVALUATE + 1))
    context: zmq.Context[Any] = zmq.Context()
    with rendezvous(tmp_path / "w") as (entrance, address):
        Worker(entrance, Operations({})).start()
        answers: asyncio.Queue[Any] = asyncio.Queue()

        def to_client(frames: Any) -> bool:
            answers.put_nowait(packets.decode(list(frames)))
            return True

        relay = Relay(context, address, to_client, role)
        relay.to_worker(packets.encode(Kind.HELLO, [bytes(16)]))
        assert (await answers.get()).kind is Kind.WELCOME
        request = calls.encode_request(Operation.EVALUATE, 2, [b'["1"]'], plain=True)
        relay.to_worker(packets.encode(Kind.DATA, request, number=1))
        while (packet := await answers.get()).kind is not Kind.DATA:
            pass
        answer = calls.decode_answer(packet.parts)
        assert answer.outcome is outcome
        if outcome is Outcome.ERROR:
            assert json.loads(bytes(answer.parts[0]))["ename"] == "NotPermitted"
        relay.close()
    context.destroy(0)
