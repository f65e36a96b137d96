"""Waiting for what is to become true: in an event loop without letting time pass, or on other threads."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable


async def until(condition: Callable[[], object], at_most_s: float = 30.0) -> None:
    """Let the event loop go on until a condition holds; for a loop in which something happens at every turn."""
    async with asyncio.timeout(at_most_s):
        while not condition():  # noqa: ASYNC110  # conditions are about plain objects, which have no events
            await asyncio.sleep(0)


async def settled(turns: int = 50) -> None:
    """Let the event loop go on until everything that was on its way in memory has arrived."""
    for _ in range(turns):
        await asyncio.sleep(0)


def eventually(condition: Callable[[], object], at_most_s: float = 30.0) -> None:
    """Wait until a condition holds that other threads bring about, and of which nothing tells."""
    end = time.monotonic() + at_most_s
    between = threading.Event()
    while not condition():
        assert time.monotonic() < end, f"it did not come true within {at_most_s:g} s"
        between.wait(0.005)
