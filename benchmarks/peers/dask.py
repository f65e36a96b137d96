"""Dask: a scheduler and a worker, the scheduler in a process of its own as in a cluster."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

from distributed import Client as DaskDriver
from distributed import LocalCluster

from benchmarks.peer import Client, Peer
from benchmarks.serving import Server, announce


class DaskPeer(Peer):
    """Dask."""

    distributions = ("distributed",)
    imports = "distributed"

    def start(self, folder: Path) -> None:
        """Start scheduler and worker."""
        self._server = Server.of("benchmarks.peers.dask")
        self._address = self._server.words[0]

    def stop(self) -> None:
        """End them."""
        self._server.stop()

    def connect(self) -> Client:
        """Connect."""
        return DaskClient(DaskDriver(self._address, set_as_default=False))


class DaskClient(Client):
    """A client of Dask.

    Args:
        client: Its own.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._kept: Any = None

    def call(self) -> Any:
        """Submit a task and wait for its result."""
        return self._run(math.sqrt, 500)

    def evaluate(self, expression: str) -> Any:
        """Submit an expression."""
        return self._run(eval, expression)

    def echo(self, data: bytes) -> Any:
        """Send bytes there and back."""
        return self._run(bytes, data)

    def pipeline(self, count: int) -> None:
        """Submit many tasks."""
        self._client.gather(self._client.map(math.sqrt, [500] * count, pure=False))

    def put(self, value: Any) -> None:
        """Scatter straight to the worker."""
        self._kept = self._client.scatter(value, direct=True, hash=False)

    def get(self) -> Any:
        """Gather straight from the worker."""
        return self._client.gather(self._kept, direct=True)

    def close(self) -> None:
        """Close the connection."""
        self._kept = None
        self._client.close()

    def _run(self, function: Any, *arguments: Any) -> Any:
        return self._client.submit(function, *arguments, pure=False).result()


def _serve() -> None:
    with LocalCluster(n_workers=1, threads_per_worker=8, processes=True, dashboard_address=None) as cluster:
        announce(cluster.scheduler_address)
        threading.Event().wait()


if __name__ == "__main__":
    _serve()
