"""ipyparallel: a controller and one engine."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import ipyparallel

from benchmarks.peer import Client, Kernel, Peer


class IpyparallelPeer(Peer):
    """ipyparallel."""

    distributions = ("ipyparallel",)
    imports = "ipyparallel"

    def start(self, folder: Path) -> None:
        """Start controller and engine."""
        os.environ["IPYTHONDIR"] = str(folder)
        self._cluster = ipyparallel.Cluster(n=1, ipython_dir=str(folder), log_level=40)
        self._cluster.start_cluster_sync()
        client = self._driver()
        client.close()

    def stop(self) -> None:
        """End them."""
        self._cluster.stop_cluster_sync()

    def connect(self) -> Client:
        """Connect."""
        return IpyparallelClient(self._driver())

    def kernel(self) -> Kernel:
        """Return the engine."""
        return Engine(self._driver())

    def _driver(self) -> Any:
        client = self._cluster.connect_client_sync()
        client.wait_for_engines(1, timeout=60, interactive=False)
        return client


class IpyparallelClient(Client):
    """A client of ipyparallel.

    Args:
        client: Its own.
    """

    def __init__(self, client: Any) -> None:
        self.errors = (ipyparallel.RemoteError,)
        self._client = client
        self._view = client[0]

    def call(self) -> Any:
        """Call a function."""
        return self._view.apply_sync(math.sqrt, 500)

    def evaluate(self, expression: str) -> Any:
        """Evaluate an expression."""
        return self._view.apply_sync(eval, expression)

    def echo(self, data: bytes) -> Any:
        """Send bytes there and back."""
        return self._view.apply_sync(bytes, data)

    def pipeline(self, count: int) -> None:
        """Call asynchronously."""
        for result in [self._view.apply_async(math.sqrt, 500) for _ in range(count)]:
            result.get()

    def put(self, value: Any) -> None:
        """Push a variable."""
        self._view.push({"kept": value}, block=True)

    def get(self) -> Any:
        """Pull it."""
        return self._view.pull("kept", block=True)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


class Engine(Kernel):
    """An engine that runs cells.

    Args:
        client: A connection of its own.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._view = client[0]

    def cell(self, code: str) -> None:
        """Run a cell to its reply and the end of its output."""
        result = self._view.execute(code, silent=False, block=False)
        result.get()
        result.wait_for_output(60)

    def close(self) -> None:
        """Close the connection; the engine goes on."""
        self._client.close()
