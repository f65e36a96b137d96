"""How a lane gets to its session's worker: straight where that comes up soon, else through the server.

Both are attempts at the same thing, and nobody waits for the worse to fail: an attempt straight to the worker that
takes its time goes on beside the connection through the server, and takes its place once it's up.
"""

from __future__ import annotations

import errno
import time

import zmq

from flame_kernel.client.calls.ways import Ways
from flame_kernel.errors import LimitExceeded
from flame_kernel.protocol.streamed import Place, nowhere
from flame_kernel.transport.blocking import ZmqConnection
from flame_kernel.transport.interface import Connection, Endpoint
from flame_kernel.transport.stream import SCHEME
from flame_kernel.transport.streaming import StreamConnection
from flame_kernel.transport.waking import Wake

# How long a caller waits to hear where the worker is, when the server has said that it will tell: a moment as a rule,
# and calling through the server meanwhile would cost it a connection that is of no use a moment later.
_TOLD_S = 0.1

# How long a caller waits for the way straight to the worker before it takes the one through the server, in seconds;
# how long the attempt may go on beside that.
_PATIENCE_S = 0.25
_ATTEMPT_S = 5.0


class Approach:
    """Makes the connections of one lane, one thread's at a time.

    Args:
        context: The ZeroMQ context.
        ways: The ways to the worker, which the client's lanes share.
        wake: Rung to end a wait.
        place: Tells where a large frame shall be put that comes, for connections that can do that.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        ways: Ways,
        wake: Wake,
        place: Place = nowhere,
    ) -> None:
        self._place = place
        self._context = context
        self._ways = ways
        self._wake = wake
        self._attempt: Connection | None = None  # straight to the worker
        self._until = 0.0

    def is_direct(self, connection: Connection) -> bool:
        """Tell whether a connection leads straight to the worker."""
        return connection.endpoint is not self._ways.server

    def connection(self) -> Connection:
        """Begin a connection: straight to the worker where that comes up soon, else through the server.

        Raises:
            FlameError: Nobody shall connect any more.
        """
        self._ways.require_open()
        patience = 0.0
        if self._attempt is None:
            direct = self._ways.to_try(_TOLD_S)
            if direct is not None:
                self._begin(direct)
                patience = _PATIENCE_S
        attempt = self._attempt
        if attempt is not None:
            if attempt.comes_up(patience):
                self._attempt = None
                return attempt
            if attempt.gone:
                self._give_up()
        return self._connect(self._ways.server)

    def took(self, connection: Connection) -> None:
        """Note that a connection has been made use of."""
        self._ways.took(connection.endpoint)

    def improved(self, connection: Connection) -> bool:
        """Tell whether :meth:`connection` has a better one by now; if not, begin to try. Nothing is waited for."""
        if connection.endpoint is not self._ways.server:  # as mostly, and asked before each call
            return False
        if self._attempt is None:
            direct = self._ways.to_try()
            if direct is not None:
                self._begin(direct)
        elif self._attempt.comes_up(0):
            return True
        elif self._attempt.gone or time.monotonic() >= self._until:
            self._give_up()
        return False

    def lost(self, connection: Connection) -> None:
        """Note that a connection is gone; if it went straight to the worker, the next does not."""
        if self.is_direct(connection):
            self._ways.failed(connection.endpoint)

    def close(self) -> None:
        """End what is being tried."""
        if self._attempt is not None:
            self._attempt.close()
            self._attempt = None

    def _connect(self, endpoint: Endpoint) -> Connection:
        try:
            if endpoint.address.startswith(SCHEME):
                return StreamConnection(endpoint, self._wake, self._place)
            return ZmqConnection(self._context, endpoint, self._wake)
        except zmq.ZMQError as error:
            if error.errno != errno.EMFILE:
                raise
            raise LimitExceeded(
                "this process has as many files open as it may (ulimit -n), some of them for each thread that calls at "
                "the same time; raise the limit, or call from fewer threads"
            ) from None

    def _begin(self, direct: Endpoint) -> None:
        self._attempt = self._connect(direct)
        self._until = time.monotonic() + _ATTEMPT_S

    def _give_up(self) -> None:
        if self._attempt is not None:
            self._ways.failed(self._attempt.endpoint)
            self.close()
