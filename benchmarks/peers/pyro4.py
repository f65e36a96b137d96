"""Pyro4's Flame, with pickle, as it has to be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import Pyro4
import Pyro4.utils.flame

from benchmarks.far import Far
from benchmarks.peer import Client, Peer
from benchmarks.serving import Server, announce

# A Flame serves modules: what it keeps is in this one.
FAR = Far()


def keep(value: Any) -> None:
    """Keep a value."""
    FAR.keep(value)


def give() -> Any:
    """Return the value that is kept."""
    return FAR.give()


class Pyro4Peer(Peer):
    """Pyro4's Flame."""

    distributions = ("Pyro4", "serpent")
    imports = "Pyro4.utils.flame"

    def start(self, folder: Path) -> None:
        """Start the server."""
        _configure()
        self._server = Server.of("benchmarks.peers.pyro4")
        self._location = f"127.0.0.1:{self._server.words[0]}"

    def stop(self) -> None:
        """End the server."""
        self._server.stop()

    def connect(self) -> Client:
        """Connect."""
        return Pyro4Client(Pyro4.utils.flame.connect(self._location))


class Pyro4Client(Client):
    """A client of Pyro4's Flame.

    Args:
        flame: The Flame.
    """

    def __init__(self, flame: Any) -> None:
        self._flame = flame
        self._sqrt = flame.module("math").sqrt
        self._bytes = flame.builtin("bytes")
        self._far = flame.module("benchmarks.peers.pyro4")

    def call(self) -> Any:
        """Call a function."""
        return self._sqrt(500)

    def evaluate(self, expression: str) -> Any:
        """Evaluate an expression."""
        return self._flame.evaluate(expression)

    def echo(self, data: bytes) -> Any:
        """Send bytes there and back."""
        return self._bytes(data)

    def batch(self, count: int) -> None:
        """Call in one batch."""
        batch = Pyro4.batch(self._flame)
        for _ in range(count):
            batch.invokeModule("math.sqrt", (500,), {})
        for _ in batch():
            pass

    def iterate(self, count: int) -> int:
        """Iterate a generator: a round trip an item."""
        return sum(1 for _ in self._flame.evaluate(f"(n for n in range({count}))"))

    def put(self, value: Any) -> None:
        """Pass an argument."""
        self._far.keep(value)

    def get(self) -> Any:
        """Return a result."""
        return self._far.give()

    def close(self) -> None:
        """Close the connection."""
        self._flame._pyroRelease()


def _configure() -> None:
    Pyro4.config.SERIALIZER = "pickle"
    Pyro4.config.SERIALIZERS_ACCEPTED = {"pickle"}
    Pyro4.config.PICKLE_PROTOCOL_VERSION = 5
    Pyro4.config.FLAME_ENABLED = True


def _serve() -> None:
    _configure()
    daemon = Pyro4.Daemon(host="127.0.0.1", port=0)
    Pyro4.utils.flame.start(daemon)
    announce(daemon.sock.getsockname()[1])
    daemon.requestLoop()


if __name__ == "__main__":
    _serve()
