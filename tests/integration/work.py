"""Work that goes on in a session while a test does something else."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from flame_kernel import Flame

# Waits in the session for a file that the test makes, so that the test decides when something ends there.
WAIT_FOR = """
def wait_for(path):
    import os, time
    while not os.path.exists(path):
        time.sleep(0.01)
"""


def in_thread(work: Callable[..., Any], *arguments: Any, **keywords: Any) -> Future[Any]:
    """Start work on a thread and return its future."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(work, *arguments, **keywords)
    finally:
        pool.shutdown(wait=False)


def taken(work: Callable[[], object]) -> float:
    """Return how long something takes, in seconds."""
    start = time.monotonic()
    work()
    return time.monotonic() - start


def quick(within_s: float, measured: Callable[[], float], rounds: int = 5) -> None:
    """Make sure that something takes no longer than it may.

    A busy machine holds this process up, or the one that is measured, for longer than any promise allows; not each
    time, as something that waits for a timeout does.

    Args:
        within_s: How long it may take, in seconds.
        measured: Does it once, and returns how long it took. What else it checks has to hold each time.
        rounds: How often it may be done.
    """
    times: list[float] = []
    while not times or times[-1] >= within_s:
        assert len(times) < rounds, f"it takes {times} s instead of {within_s:g}"
        times.append(measured())


def wait_until_set(flame: Flame, name: str) -> None:
    """Wait until a name is in the session's namespace."""
    flame.execute(
        f"import time\nend = time.monotonic() + 20\nwhile {name!r} not in globals():\n"
        "    assert time.monotonic() < end\n    time.sleep(0.01)"
    )
