"""zerorpc: gevent, msgpack, ZeroMQ; it has no arrays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zerorpc

from benchmarks.far import Far
from benchmarks.peer import Client, NotOffered, Peer
from benchmarks.serving import Server, announce

_ASYNC = {"async": True}  # the name is a word of the language by now


class ZerorpcPeer(Peer):
    """zerorpc."""

    distributions = ("zerorpc", "gevent", "msgpack")
    imports = "zerorpc"

    def start(self, folder: Path) -> None:
        """Start the server."""
        self._server = Server.of("benchmarks.peers.zerorpc")
        self._address = self._server.words[0]

    def stop(self) -> None:
        """End the server."""
        self._server.stop()

    def connect(self) -> Client:
        """Connect; a context for each, because gevent's loops belong to threads."""
        return ZerorpcClient(zerorpc.Client(self._address, context=zerorpc.Context(), heartbeat=None, timeout=60))


class ZerorpcClient(Client):
    """A client of zerorpc.

    Args:
        client: Its own.
    """

    def __init__(self, client: Any) -> None:
        self.errors = (zerorpc.RemoteError,)
        self._client = client

    def call(self) -> Any:
        """Call a function."""
        return self._client.sqrt(500)

    def evaluate(self, expression: str) -> Any:
        """Call a function that evaluates."""
        return self._client.evaluate(expression)

    def echo(self, data: bytes) -> Any:
        """Send bytes there and back."""
        return self._client.echo(data)

    def pipeline(self, count: int) -> None:
        """Call asynchronously."""
        for result in [self._client("sqrt", 500, **_ASYNC) for _ in range(count)]:
            result.get()

    def iterate(self, count: int) -> int:
        """Iterate a stream."""
        return sum(1 for _ in self._client.items(count))

    def put(self, value: Any) -> None:
        """Pass an argument."""
        if isinstance(value, np.ndarray):
            raise NotOffered
        self._client.keep(value)

    def get(self) -> Any:
        """Return a result."""
        return self._client.give()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


class _Served(Far):
    @zerorpc.stream  # type: ignore[untyped-decorator]
    def items(self, count: int) -> Iterator[int]:
        """Give many items as a stream."""
        yield from range(count)


def _serve() -> None:
    server = zerorpc.Server(_Served(), heartbeat=None)
    server.bind("tcp://127.0.0.1:0")
    announce(server._events._socket.last_endpoint.decode())
    server.run()


if __name__ == "__main__":
    _serve()
