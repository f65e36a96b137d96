"""Waiting until a server has done what earlier work left it to do, such as starting a kernel for whoever comes next."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import psutil

# How long a look takes, and how many in a row have to see nothing.
_LOOK_S = 0.1
_LOOKS = 3

# A server starts a kernel for whoever comes next some time after the last one came: a server that idles has done so.
LOOKS_UNTIL_IDLE = 35

# The CPU time that counts as nothing: the clock's own tick, in seconds.
_TICK_S = 0.011


def until_calm(pid: int, at_most_s: float, in_a_row: int = _LOOKS) -> None:
    """Wait until a process and its descendants use no CPU, or the time is up.

    Args:
        pid: The process.
        at_most_s: How long to wait, in seconds.
        in_a_row: How many looks, a tenth of a second each, have to see nothing.
    """
    looks = 0
    end = time.monotonic() + at_most_s
    before = _used(pid)
    while looks < in_a_row and time.monotonic() < end:
        threading.Event().wait(_LOOK_S)
        used = _used(pid)
        looks = looks + 1 if abs(used - before) < _TICK_S else 0
        before = used


def _used(pid: int) -> float:
    total = 0.0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for member in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):  # it ended meanwhile
                times = member.cpu_times()
                total += times.user + times.system
    return total
