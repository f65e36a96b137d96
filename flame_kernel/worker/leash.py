"""A kernel that no session needs ends with its server, however that ends: nothing is left that nobody looks after."""

from __future__ import annotations

import glob
import os
import select
import socket
import threading


def tie(server: int, host: str, record: str, leavings: str) -> None:
    """End this process when the server ends, unless a session's record is there by then: the next server takes over.

    Args:
        server: The server's process id.
        host: The server's host; a kernel that was started elsewhere can't see it.
        record: The file that tells that a session needs this process.
        leavings: The files to remove with it, as a pattern.
    """
    if host != socket.gethostname() or not hasattr(os, "pidfd_open"):
        return
    try:
        descriptor = os.pidfd_open(server)
    except OSError:
        return  # another container's: its process ids are not ours
    threading.Thread(target=_wait, args=(descriptor, record, leavings), name="flame-leash", daemon=True).start()


def _wait(descriptor: int, record: str, leavings: str) -> None:
    ended = select.poll()
    ended.register(descriptor, select.POLLIN)
    ended.poll()
    os.close(descriptor)
    if not os.path.exists(record):
        for path in glob.glob(leavings):
            os.unlink(path)
        os._exit(0)  # threads of the user's may never end by themselves
