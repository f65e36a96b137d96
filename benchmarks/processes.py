"""Processes that belong together: all have a mark in their environment, which children inherit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import psutil

MARK = "FLAME_BENCHMARK"


def family(mark: str) -> list[psutil.Process]:
    """Return the living processes that have a mark."""
    return list(_marked(mark))


def end_family(mark: str) -> None:
    """Kill whoever has a mark: servers of a peer whose process did not come to its end, kernels that outlive theirs."""
    processes = family(mark)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, 5)


def _marked(mark: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                yield process
