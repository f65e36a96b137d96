"""Which way a client's calls go: straight to the session's worker when it can be reached, else through the server.

The server says where the worker is. Nobody waits long for that way: while it isn't there, or not known yet, calls go
through the server, and lanes go over to it once it's up. A conversation does not notice, since its numbers outlive
connections.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from flame_kernel.errors import FlameError
from flame_kernel.protocol.messages import Direct, Welcome
from flame_kernel.transport.interface import Endpoint
from flame_kernel.transport.stream import SCHEME

DIRECT = "direct"
THROUGH_SERVER = "through the server"

_UNIX = "ipc://"

# A public key in Z85: 40 of its characters.
_KEY = re.compile(r"[0-9A-Za-z.:+=^!/*?&<>()\[\]{}@%$#-]{40}")

# A way that came to nothing is tried again after so long, in seconds, and twice as long each time.
_AGAIN_FROM_S = 5.0
_AGAIN_TO_S = 60.0


Told = tuple[Welcome | None, Direct | None]


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
        told: Tells what the server has said of where the worker is: with its latest welcome, and since.
        over: Tells why nobody shall connect any more, ``None`` while they may.
        clock: The time, in seconds.
        wait: Waits, for so many seconds at most, until the server has said something since its welcome.
    """

    def __init__(
        self,
        server: Endpoint,
        told: Callable[[], Told] = lambda: (None, None),
        over: Callable[[], FlameError | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] = lambda seconds: None,
    ) -> None:
        self._wait = wait
        self._waited = False
        self.server = server
        self._told = told
        self._heard: Told = (None, None)
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

    def again(self) -> None:
        """Take note that the session has a new process: what was tried before says nothing about it."""
        self.offer(self._direct)

    def to_try(self, within_s: float = 0.0) -> Endpoint | None:
        """Return the worker's own endpoint if it's worth an attempt now.

        Args:
            within_s: How long to wait if the server has promised to say where it is, in seconds; it's waited for once.
        """
        told = self._told()
        if within_s and not self._waited and told[1] is None and told[0] is not None and told[0].direct:
            self._waited = True
            self._wait(within_s)
            told = self._told()
        if told[0] is not self._heard[0] or told[1] is not self._heard[1]:
            self._heard = told
            self.offer(_worker(self.server, *told))
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


def _worker(server: Endpoint, welcome: Welcome | None, direct: Direct | None) -> Endpoint | None:
    """Return where the worker is, as far as the server may say so: on this machine, or at the server's own host."""
    if server.address.startswith(_UNIX):
        if server.server_key:
            return None  # a tunnel to another machine, whose paths mean nothing here
        at = welcome.worker if welcome is not None else ""
        return Endpoint(at, server.name) if at.startswith(SCHEME) else None
    if direct is None or not 0 < direct.port < 65536 or not _KEY.fullmatch(direct.key):
        return None
    host = server.address.rpartition(":")[0]
    return Endpoint(f"{host}:{direct.port}", server.name, direct.key.encode("ascii"), server.public, server.secret)
