"""A worker's socket in this process, and its threads, which end with the test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flame_kernel.transport.shared import SharedSocket, bind_rendezvous


@contextmanager
def rendezvous(path: Path) -> Iterator[tuple[SharedSocket, str]]:
    """Bind a worker's socket; afterwards nothing of it or of the threads that wait on it is left."""
    before = set(threading.enumerate())
    address = f"ipc://{path}"
    shared = bind_rendezvous(address)
    try:
        yield shared, address
    finally:
        context = shared._socket.context
        shared.close()
        for thread in set(threading.enumerate()) - before:
            if thread.name.startswith("flame-call-"):
                thread.join(30)
        shared._wake_in.close()  # in a session these end with the process
        shared._wake_out.close()
        context.destroy(0)
