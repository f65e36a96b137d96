"""Scale: what sessions cost that nobody uses."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Mapping

import psutil

from benchmarks.calm import until_calm
from benchmarks.effort import Effort
from benchmarks.subject import Subject

_MEGABYTE = 1_000_000


def idle(subject: Subject, effort: Effort) -> Mapping[str, float]:
    """Watch the server while its sessions do nothing."""
    figures: dict[str, float] = {}
    for count in effort.sessions:
        sessions = subject.peer.sessions(count)
        server = psutil.Process(sessions.server)
        until_calm(sessions.server, effort.settle_s)
        figures[f"cpu_{count}"] = _cpu_percent(server, effort.idle_s)
        figures[f"server_{count}"] = server.memory_info().rss / _MEGABYTE
        figures["session"] = statistics.median(psutil.Process(pid).memory_info().rss for pid in sessions.kernels)
    figures["session"] /= _MEGABYTE
    return figures


def _cpu_percent(process: psutil.Process, seconds: float) -> float:
    before, begun = process.cpu_times(), time.monotonic()
    threading.Event().wait(seconds)
    after, ended = process.cpu_times(), time.monotonic()
    used = after.user + after.system - before.user - before.system
    return 100 * max(0.0, used) / (ended - begun)
