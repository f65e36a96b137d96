"""Starts: how long until there is a first result."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

from benchmarks.effort import Effort
from benchmarks.peer import Client, Kernel
from benchmarks.subject import Subject
from benchmarks.timing import time_of


def settle(subject: Subject, effort: Effort) -> Mapping[str, float]:
    """Wait until a server has done what its start, or the round before, left it to do."""
    subject.peer.settle(effort.settle_s)
    return {}


def connect(subject: Subject, effort: Effort) -> Mapping[str, float]:
    """Time from nothing to a first result, where all is up on the far side."""
    return {"connect": _first_result(subject.peer.connect)}


def new_session(subject: Subject, effort: Effort) -> Mapping[str, float]:
    """Time from nothing to a first result of a session that is new."""
    subject.peer.settle(effort.settle_s)
    return {"connect_new": _first_result(subject.peer.connect_new)}


def kernel(subject: Subject, effort: Effort) -> Mapping[str, float]:
    """Time from nothing to a kernel's first reply."""
    kernels: list[Kernel] = []
    subject.peer.settle(effort.settle_s)

    def first_reply() -> None:
        kernels.append(subject.peer.start_kernel())
        kernels[0].cell("1")

    taken = time_of(first_reply)
    kernels[0].close()
    return {"start": taken * 1e3}


def imports(subject: Subject, effort: Effort) -> Mapping[str, float]:
    """Time what a client imports, beyond Python's own start."""
    bare, whole = [], []
    for _ in range(effort.starts):
        bare.append(_run([sys.executable, "-c", "pass"], effort))
        whole.append(_run([sys.executable, "-c", f"import {subject.peer.imports}"], effort))
    return {"import": min(whole) - min(bare)}


def command(subject: Subject, effort: Effort) -> Mapping[str, float]:
    """Time the command line's help."""
    line = subject.peer.help_command()
    return {"help": min(_run(line, effort) for _ in range(effort.starts))}


def _first_result(connect: Callable[[], Client]) -> float:
    clients: list[Client] = []

    def first_result() -> None:
        clients.append(connect())
        clients[0].evaluate("2 ** 10")

    taken = time_of(first_result)
    clients[0].close()
    return taken * 1e3


def _run(command: Sequence[str], effort: Effort) -> float:
    # A pipe, whose end tells at once that the process ends: for an end alone Python looks every 50 ms by then.
    def run() -> None:
        subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=effort.patience_s)

    return time_of(run) * 1e3
