"""What runs in a session on a host of the cluster: Dask's scheduler, or its nannies, on an event loop of their own.

It's imported in the session's environment, so it needs distributed as it is there, and Python 3.9. A nanny starts its
worker as a process of its own and starts it again when it dies, also while no client is there.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import sys
import threading
from collections.abc import Coroutine, Mapping
from contextvars import Context
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import dask.config
import distributed
from dask.system import CPU_COUNT
from distributed.core import Status
from distributed.security import Security
from distributed.system import MEMORY_LIMIT

# What has to be the same on all nodes for what they send each other to load.
PACKAGES = ("dask", "distributed", "cloudpickle")

# A nanny that is about to have a worker.
_COMING = (Status.created, Status.init, Status.starting)

# How long a nanny and its worker may take to end by themselves, in seconds.
_CLOSING_S = 5.0


class Node:
    """The part of a cluster that one session holds; all methods may be called from any thread, and wait.

    Attributes:
        notes: What the cluster's client wrote down here, for one that comes back.
        security: The fields of its ``Security``, for the same; in memory only.
    """

    def __init__(self) -> None:
        self.notes: dict[str, Any] = {}
        self.security: dict[str, Any] = {}
        self.scheduler: Any = None
        self.nannies: dict[str, Any] = {}
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="dask-node", daemon=True).start()

    def facts(self) -> dict[str, Any]:
        """Return what a client wants to know of the host."""
        return {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "cores": CPU_COUNT,
            "memory": MEMORY_LIMIT,
            "versions": versions(),
        }

    def note(self, notes: Mapping[str, Any], security: Mapping[str, Any]) -> None:
        """Keep what a client that comes back needs to know."""
        self.notes, self.security = dict(notes), dict(security)

    def start_scheduler(
        self, security: Mapping[str, Any], config: Mapping[str, Any], options: Mapping[str, Any], timeout: float
    ) -> dict[str, Any]:
        """Start the scheduler, unless there is one.

        Args:
            security: The fields of the cluster's ``Security``.
            config: The client's Dask configuration.
            options: Of ``distributed.Scheduler``.
            timeout: How long it may take, in seconds.

        Returns:
            Its ``address``, and its dashboard's port.
        """
        found: dict[str, Any] = self._run(self._start_scheduler(security, config, options), timeout)
        return found

    async def _start_scheduler(
        self, security: Mapping[str, Any], config: Mapping[str, Any], options: Mapping[str, Any]
    ) -> dict[str, Any]:
        if not self.schedules():
            dask.config.update(dask.config.config, config)
            scheduler = distributed.Scheduler(security=Security(**security), **options)
            self.scheduler = await scheduler
            _admit_observers(self.scheduler)
        return {"address": self.scheduler.address, "dashboard": self.scheduler.service_ports.get("dashboard", 0)}

    def start_worker(
        self,
        name: str,
        scheduler: str,
        security: Mapping[str, Any],
        config: Mapping[str, Any],
        options: Mapping[str, Any],
        timeout: float,
    ) -> str:
        """Start a nanny with its worker, unless one of that name is running.

        Args:
            name: The worker's name.
            scheduler: The scheduler's address.
            security: The fields of the cluster's ``Security``.
            config: The client's Dask configuration.
            options: Of ``distributed.Nanny`` and ``Worker``.
            timeout: How long it may take, in seconds.

        Returns:
            The worker's address.
        """
        return str(self._run(self._start_worker(name, scheduler, security, config, options), timeout))

    async def _start_worker(
        self,
        name: str,
        scheduler: str,
        security: Mapping[str, Any],
        config: Mapping[str, Any],
        options: Mapping[str, Any],
    ) -> str:
        nanny = self.nannies.get(name)
        if nanny is None or nanny.status != Status.running:
            nanny = distributed.Nanny(
                scheduler, name=name, security=Security(**security), config=dict(config), **options
            )
            self.nannies[name] = nanny
            try:
                await nanny
            except BaseException:
                del self.nannies[name]
                await nanny.close(timeout=_CLOSING_S)
                raise
        return str(nanny.worker_address)

    def close_worker(self, name: str) -> None:
        """End a nanny and its worker, if there's one of that name."""
        self._run(self._close_worker(name), 3 * _CLOSING_S)

    async def _close_worker(self, name: str) -> None:
        nanny = self.nannies.pop(name, None)
        if nanny is not None:
            await nanny.close(timeout=_CLOSING_S)

    def schedules(self) -> bool:
        """Tell whether the scheduler runs here."""
        return self.scheduler is not None and self.scheduler.status == Status.running

    def workers(self) -> dict[str, bool]:
        """Return whose nannies run here, by name, and whether the worker's process is there.

        One that is missing was told to end, by a client or the scheduler; else its nanny would bring it back.
        """
        return {
            name: nanny.is_alive() or nanny.status in _COMING
            for name, nanny in list(self.nannies.items())
            if nanny.status == Status.running or nanny.status in _COMING
        }

    def _run(self, work: Coroutine[Any, Any, Any], timeout: float) -> Any:
        async def within() -> Any:
            return await asyncio.wait_for(work, timeout)

        # In a context of its own: what Dask says later is no output of the call that started it.
        return Context().run(asyncio.run_coroutine_threadsafe, within(), self._loop).result()


def _admit_observers(scheduler: Any) -> None:
    """Let any number of clusters' objects watch a scheduler: of Dask's own the last one takes the others' place."""
    subscribe = scheduler.subscribe_worker_status
    numbers = itertools.count(1)

    def subscribe_worker_status(comm: Any) -> Any:
        answer = subscribe(comm)
        observer = scheduler.plugins.pop("worker-status")
        observer.name = f"worker-status-{next(numbers)}"
        scheduler.plugins[observer.name] = observer
        return answer

    scheduler.handlers["subscribe_worker_status"] = subscribe_worker_status


def versions() -> dict[str, str]:
    """Return the versions that should be the same on all nodes; Python's without what makes no difference."""
    found = {"Python": "{}.{}".format(*sys.version_info[:2])}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found


def unreachable(address: str, timeout: float) -> str:
    """Tell why an address of Dask's can't be reached from here; empty when it can.

    Args:
        address: Such as ``tls://10.0.0.1:8786``.
        timeout: How long to try, in seconds.
    """
    host, _, port = address.partition("://")[2].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout).close()
    except OSError as error:
        return str(error)
    return ""
