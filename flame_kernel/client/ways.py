"""Which way a client's calls go: straight to the session's worker when it can be reached, else through the server.

The server says where the worker is. Nobody waits long for that way: while it isn't there, or not known yet, calls go
through the server, and lanes go over to it once it's up. A conversation does not notice, since its numbers outlive
connections.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from flame_kernel.errors import FlameError
from flame_kernel.transport.interface import Endpoint

DIRECT = "direct"
THROUGH_SERVER = "through the server"

_UNIX = "ipc://"

# A way that came to nothing is tried again after so long, in seconds, and twice as long each time.
_AGAIN_FROM_S = 5.0
_AGAIN_TO_S = 60.0


@dataclass(frozen=True)
class LinkInfo:
    """How calls travel.

    Attributes:
        way: ``"direct"``, to the session's own process, or ``"through the server"``.
        address: Where the connection leads.

    Example:
        >>> print(LinkInfo("direct", "tcp://gpu1:50000"))
        direct, tcp://gpu1:50000
    """

    way: str
    address: str

    def __str__(self) -> str:
        return f"{self.way}, {self.address}"


class Ways:
    """What one client knows of the ways to its session's worker; its threads share it.

    Args:
        server: Where the server is, and the keys.
        over: Tells why nobody shall connect any more, ``None`` while they may.
        clock: The time, in seconds.
    """

    def __init__(
        self,
        server: Endpoint,
        over: Callable[[], FlameError | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.server = server
        self._over = over
        self._clock = clock
        self._lock = threading.Lock()
        self._direct: Endpoint | None = None
        self._again = 0.0
        self._again_after_s = _AGAIN_FROM_S
        self.link = LinkInfo(THROUGH_SERVER, server.address)

    def offer(self, direct: Endpoint | None) -> None:
        """Take note of where the worker is; what was tried before says nothing about that.

        Args:
            direct: Its own endpoint, ``None`` when it has none.
        """
        with self._lock:
            self._direct = direct
            self._again, self._again_after_s = 0.0, _AGAIN_FROM_S

    def on_welcome(self, worker: str) -> None:
        """Take note of what the server said in its welcome, after each cut too.

        Args:
            worker: The unix socket at which the worker waits, ``ipc://path``; empty when it's not for this client.
        """
        # A path means something on this machine only: a server elsewhere has no say in what is opened here.
        if self.server.address.startswith(_UNIX) and worker.startswith(_UNIX):
            self.offer(Endpoint(worker, self.server.name))

    def again(self) -> None:
        """Take note that the session has a new process: what was tried before says nothing about it."""
        self.offer(self._direct)

    def to_try(self) -> Endpoint | None:
        """Return the worker's own endpoint if it's worth an attempt now."""
        direct = self._direct
        return direct if direct is not None and self._clock() >= self._again else None

    def failed(self, direct: Endpoint) -> None:
        """Note that the worker could not be reached directly, or not for long: not to be tried again for a while."""
        with self._lock:
            if direct == self._direct and self._clock() >= self._again:
                self._again = self._clock() + self._again_after_s
                self._again_after_s = min(2 * self._again_after_s, _AGAIN_TO_S)

    def took(self, endpoint: Endpoint) -> None:
        """Note which way a lane is connected."""
        if self.link.address != endpoint.address:
            way = THROUGH_SERVER if endpoint is self.server else DIRECT
            self.link = LinkInfo(way, endpoint.address)

    def require_open(self) -> None:
        """Raise an error if nobody shall connect any more."""
        error = self._over()
        if error is not None:
            raise error
