"""Pyro5 with msgpack, its fastest serializer; it has no arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import Pyro5.api

from benchmarks.far import Far
from benchmarks.peer import Client, NotOffered, Peer
from benchmarks.serving import Server, announce


class Pyro5Peer(Peer):
    """Pyro5."""

    distributions = ("Pyro5", "msgpack")
    imports = "Pyro5.api"

    def start(self, folder: Path) -> None:
        """Start the server."""
        Pyro5.api.config.SERIALIZER = "msgpack"
        self._server = Server.of("benchmarks.peers.pyro5")
        self._uri = self._server.words[0]

    def stop(self) -> None:
        """End the server."""
        self._server.stop()

    def connect(self) -> Client:
        """Connect."""
        return Pyro5Client(Pyro5.api.Proxy(self._uri))


class Pyro5Client(Client):
    """A client of Pyro5.

    Args:
        proxy: The proxy of the served object.
    """

    def __init__(self, proxy: Any) -> None:
        self._proxy = proxy

    def call(self) -> Any:
        """Call a method."""
        return self._proxy.sqrt(500)

    def evaluate(self, expression: str) -> Any:
        """Call a method that evaluates."""
        return self._proxy.evaluate(expression)

    def echo(self, data: bytes) -> Any:
        """Send bytes there and back."""
        return self._proxy.echo(data)

    def batch(self, count: int) -> None:
        """Call in one batch."""
        batch = Pyro5.api.BatchProxy(self._proxy)
        for _ in range(count):
            batch.sqrt(500)
        for _ in batch():
            pass

    def iterate(self, count: int) -> int:
        """Iterate a generator: a round trip an item."""
        return sum(1 for _ in self._proxy.items(count))

    def put(self, value: Any) -> None:
        """Pass an argument."""
        if isinstance(value, np.ndarray):
            raise NotOffered
        self._proxy.keep(value)

    def get(self) -> Any:
        """Return a result."""
        return self._proxy.give()

    def close(self) -> None:
        """Close the connection."""
        self._proxy._pyroRelease()


def _serve() -> None:
    daemon = Pyro5.api.Daemon(host="127.0.0.1", port=0)
    announce(daemon.register(Pyro5.api.expose(Far)()))
    daemon.requestLoop()


if __name__ == "__main__":
    _serve()
