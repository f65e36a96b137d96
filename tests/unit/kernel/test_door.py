from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flame_kernel.client.links.target import Embedded
from flame_kernel.kernel.answers import Answers
from flame_kernel.kernel.door import Door, Goal
from flame_kernel.protocol.jupyter import Channel, Envelope, compose


class Connector:
    """Fails as no connector should."""

    async def open(self, *arguments: Any) -> Any:
        await asyncio.sleep(0)
        raise ZeroDivisionError("a mistake in the program")

    def leave(self) -> None:
        """Nothing is left."""


class Events:
    """Nobody is told."""


async def test_a_mistake_while_opening_is_one_line_in_the_cell_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    got: list[tuple[Channel, Envelope]] = []
    answers = Answers(lambda channel, envelope: got.append((channel, envelope)))
    door = Door(Connector(), Events(), answers, Goal(Embedded(), "transit", ""))  # type: ignore[arg-type]
    door.open()
    request = compose("execute_request", {"code": "1"}, session="frontend")
    door.ask(Channel.SHELL, request, request.header())
    await asyncio.wait_for(door.settled(5), 5)

    [error] = [envelope.content() for _, envelope in got if envelope.header().msg_type == "error"]
    assert error["evalue"] == "session 'transit' could not be opened: ZeroDivisionError('a mistake in the program')"
    assert "Traceback" in caplog.text
    assert door.session is None
