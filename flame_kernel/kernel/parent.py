"""The process that started us: when it's gone without a word, nobody will ever end us."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Where the system can't tell when a process ends, how often to look, in seconds.
_LOOK_EVERY_S = 1.0


@contextmanager
def when_parent_ends(act: Callable[[], None]) -> Iterator[None]:
    """Do something when the parent process ends, inside an event loop.

    Args:
        act: What to do, in the loop.
    """
    loop = asyncio.get_running_loop()
    parent = os.getppid()
    if not hasattr(os, "pidfd_open"):
        watch = asyncio.create_task(_look(parent, act))
        try:
            yield
        finally:
            watch.cancel()
        return
    descriptor = os.pidfd_open(parent)

    def ended() -> None:
        loop.remove_reader(descriptor)
        act()

    loop.add_reader(descriptor, ended)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def _look(parent: int, act: Callable[[], None]) -> None:
    while os.getppid() == parent:  # noqa: ASYNC110  # the system has no event for it here
        await asyncio.sleep(_LOOK_EVERY_S)
    act()
