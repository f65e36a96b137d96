"""Scale: what sessions cost that nobody uses, and what many clients and large messages do to a call."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Mapping

import psutil

from benchmarks.calm import LOOKS_UNTIL_IDLE, until_calm
from benchmarks.effort import Effort
from benchmarks.measure.calls import echoes_of
from benchmarks.subject import Subject
from benchmarks.timing import median_of

_MEGABYTE = 1_000_000


def idle(subject: Subject, effort: Effort) -> Mapping[str, float]:
    """Watch the server while its sessions do nothing."""
    figures: dict[str, float] = {}
    for count in effort.sessions:
        sessions = subject.peer.sessions(count)
        server = psutil.Process(sessions.server)
        until_calm(sessions.server, effort.settle_s, LOOKS_UNTIL_IDLE)
        figures[f"cpu_{count}"] = _cpu_percent(server, effort.idle_s)
        figures[f"server_{count}"] = server.memory_info().rss / _MEGABYTE
        figures["session"] = statistics.median(psutil.Process(pid).memory_info().rss for pid in sessions.kernels)
    figures["session"] /= _MEGABYTE
    return figures


def crowds(subject: Subject, effort: Effort) -> Mapping[str, float]:
    """Count the echoes of few and of many clients."""
    return {f"crowd_{count}": echoes_of(subject.peer, count, effort) for count in effort.crowds}


def sizes(subject: Subject, effort: Effort) -> Mapping[str, float]:
    """Time echoes of little and of much."""
    figures: dict[str, float] = {}
    for size in effort.sizes:
        data = os.urandom(size)
        assert len(subject.client.echo(data)) == size, "the echo differs"
        figures[f"size_{size}"] = median_of(lambda data=data: subject.client.echo(data), 100, effort.seconds) * 1e3  # type: ignore[misc]
    return figures


def backlogs(subject: Subject, effort: Effort) -> Mapping[str, float]:
    """Have sessions say little and much to nobody."""
    figures: dict[str, float] = {}
    for size in effort.backlogs:
        backlog = subject.peer.backlog(size)
        figures[f"journal_{size}"] = backlog.journal_s * 1e3
        figures[f"journal_server_{size}"] = backlog.server_bytes / _MEGABYTE
        figures[f"unseen_{size}"] = backlog.unseen_s * 1e3
    return figures


def _cpu_percent(process: psutil.Process, seconds: float) -> float:
    before, begun = process.cpu_times(), time.monotonic()
    threading.Event().wait(seconds)
    after, ended = process.cpu_times(), time.monotonic()
    used = after.user + after.system - before.user - before.system
    return 100 * max(0.0, used) / (ended - begun)
