"""A worker's entrance in this process, and its threads, which end with the test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flame_kernel.transport.entrance import Entrance, open_entrance


@contextmanager
def rendezvous(path: Path) -> Iterator[tuple[Entrance, str]]:
    """Open a worker's entrance; afterwards nothing of it or of the threads that wait there is left."""
    before = set(threading.enumerate())
    address = f"ipc://{path}"
    entrance = open_entrance(address)
    try:
        yield entrance, address
    finally:
        context = entrance.router.context
        entrance.close()
        for thread in set(threading.enumerate()) - before:
            if thread.name.startswith("flame-call-"):
                thread.join(30)
        entrance._wake_in.close()  # in a session these end with the process
        entrance._wake_out.close()
        context.destroy(0)
