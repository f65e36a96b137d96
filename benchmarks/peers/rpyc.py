"""RPyC in classic mode, tuned: no delay, no compression, large reads and writes, and functions looked up once."""

from __future__ import annotations

import socket
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import rpyc
from rpyc.core.channel import Channel
from rpyc.core.service import ClassicService
from rpyc.core.stream import SocketStream
from rpyc.utils.classic import deliver, obtain
from rpyc.utils.server import ThreadedServer

from benchmarks.peer import Client, Peer
from benchmarks.serving import Server, announce


class RpycPeer(Peer):
    """RPyC."""

    distributions = ("rpyc",)
    imports = "rpyc"

    def start(self, folder: Path) -> None:
        """Start the server."""
        _tune()
        self._server = Server.of("benchmarks.peers.rpyc")
        self._port = int(self._server.words[0])

    def stop(self) -> None:
        """End the server."""
        self._server.stop()

    def connect(self) -> Client:
        """Connect."""
        stream = SocketStream.connect("127.0.0.1", self._port, nodelay=True)
        return RpycClient(rpyc.classic.connect_stream(stream))


class RpycClient(Client):
    """A client of RPyC.

    Args:
        connection: Its connection.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._array = False

    @cached_property
    def _sqrt(self) -> Any:
        return self._connection.modules.math.sqrt

    @cached_property
    def _echo(self) -> Any:
        return self._connection.builtins.bytes

    def call(self) -> Any:
        """Call a function."""
        return self._sqrt(500)

    def evaluate(self, expression: str) -> Any:
        """Evaluate an expression."""
        return self._connection.eval(expression)

    def echo(self, data: bytes) -> Any:
        """Send bytes there and back."""
        return self._echo(data)

    def pipeline(self, count: int) -> None:
        """Call asynchronously."""
        sqrt = rpyc.async_(self._sqrt)
        for result in [sqrt(500) for _ in range(count)]:
            result.value  # noqa: B018  it waits

    def iterate(self, count: int) -> int:
        """Iterate a reference to a generator: a round trip an item."""
        return sum(1 for _ in self._connection.eval(f"(n for n in range({count}))"))

    def put(self, value: Any) -> None:
        """Set a variable; what is not immutable has to be delivered."""
        self._array = isinstance(value, np.ndarray)
        self._connection.namespace["kept"] = deliver(self._connection, value) if self._array else value

    def get(self) -> Any:
        """Read the variable."""
        kept = self._connection.namespace["kept"]
        return obtain(kept) if self._array else kept

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _tune() -> None:
    Channel.COMPRESSION_THRESHOLD = 1 << 40
    SocketStream.MAX_IO_CHUNK = 8 * 1024 * 1024


def _serve() -> None:
    _tune()
    config = {"allow_pickle": True, "sync_request_timeout": 60}
    server = ThreadedServer(ClassicService, hostname="127.0.0.1", port=0, protocol_config=config)
    server.listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # connections inherit it
    announce(server.port)
    server.start()


if __name__ == "__main__":
    _serve()
