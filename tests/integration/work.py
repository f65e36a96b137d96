"""Work that goes on in a session while a test does something else."""

from __future__ import annotations

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


def wait_until_set(flame: Flame, name: str) -> None:
    """Wait until a name is in the session's namespace."""
    flame.execute(
        f"import time\nend = time.monotonic() + 20\nwhile {name!r} not in globals():\n"
        "    assert time.monotonic() < end\n    time.sleep(0.01)"
    )
