"""A server that puts itself in the background, and says so only once it listens."""

from __future__ import annotations

import os
from collections.abc import Callable


def in_background(run: Callable[[Callable[[], None]], int]) -> int:
    """Run a server in a process of its own that outlives this one.

    Args:
        run: Runs the server, calls what it's given once it listens, and returns its exit status.

    Returns:
        0 in this process once the server listens; its exit status if it ends before. In the server's process, its exit
        status.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os.setsid()

        def ready() -> None:
            os.write(writing, b"\0")
            os.close(writing)

        return run(ready)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        if pipe.read(1):
            return 0
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) or 1
