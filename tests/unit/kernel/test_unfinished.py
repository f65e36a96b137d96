from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from flame_kernel.kernel.unfinished import Unfinished
from flame_kernel.protocol.jupyter import Channel, Envelope, compose


def asked(**content: Any) -> Envelope:
    return compose("execute_request", {"code": "", **content}, session="frontend")


def heard(request: Envelope, status: str = "ok") -> list[tuple[Channel, Envelope, Envelope | None]]:
    """What ends a cell."""
    parent = request.parts[0]
    reply = compose("execute_reply", {"status": status}, session="kernel", parent=parent)
    idle = compose("status", {"execution_state": "idle"}, session="kernel", parent=parent)
    return [(Channel.SHELL, reply, request), (Channel.IOPUB, idle, None)]


async def outcome(requests: list[Envelope], events: list[tuple[Channel, Envelope, Envelope | None]]) -> bool:
    unfinished = Unfinished()
    waiting = asyncio.create_task(unfinished.wait({request.header().msg_id for request in requests}))
    await asyncio.sleep(0)
    for event in events:
        assert not waiting.done()
        unfinished.heard(*event)
        await asyncio.sleep(0)
    return await asyncio.wait_for(waiting, 30)


async def test_without_cells_nothing_is_waited_for() -> None:
    assert await outcome([], [])


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
async def test_all_cells_have_both_replied_and_gone_idle_in_any_order(order: tuple[int, ...]) -> None:
    first, second = asked(), asked()
    events = heard(first) + heard(second)
    assert await outcome([first, second], [events[n] for n in order])


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("status", "stop_on_error", "runs"),
    [("error", True, False), ("error", False, True), ("aborted", False, False), ("ok", True, True)],
)
async def test_a_cell_that_fails_aborts_what_is_behind_it(
    status: str, stop_on_error: bool, runs: bool, turned: bool
) -> None:
    request = asked(stop_on_error=stop_on_error)
    events = heard(request, status)
    assert await outcome([request], events[::-1] if turned else events) is runs


async def test_a_session_that_is_gone_aborts_what_is_behind_its_cells() -> None:
    unfinished, request = Unfinished(), asked()
    waiting = asyncio.create_task(unfinished.wait({request.header().msg_id}))
    await asyncio.sleep(0)
    unfinished.give_up()
    assert await asyncio.wait_for(waiting, 30) is False
